"""Odd tasks through the front door: each is a correct answer or a clear error."""

import numpy as np
import pytest

import mcvar
from mcvar.control import VectorSteinKernel, VectorSteinPolynomial
from mcvar.control.kernels import Gaussian
from tests.joint.cases import as_tasks, south

FIXED = {"kernel": Gaussian(1.0), "ridge": 1e-4}
CONTROLS = [VectorSteinKernel(Gaussian()), VectorSteinPolynomial(3)]


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("far", [30.0, 1e4])
def test_tasks_without_any_overlap(control, far):
    rng = np.random.default_rng(1)
    x = [rng.standard_normal((36, 1)), far + rng.standard_normal((30, 1))]
    y = [np.exp(x[0][:, 0] / 2), np.exp((x[1][:, 0] - far) / 2) + 1]
    joint = mcvar.estimate_jointly(as_tasks(x, y, [-x[0], far - x[1]]), control)
    np.testing.assert_allclose(joint.value, np.exp(1 / 8) + np.array([0, 1]), atol=0.02)
    assert (joint.variance_reduction > 20).all()


@pytest.mark.parametrize("control", CONTROLS)
def test_identical_tasks_have_identical_estimates(control):
    x, y, s = south(2, (36, 36))
    draws = mcvar.Draws(x[0], grad_logpdf=s[0])
    joint = mcvar.estimate_jointly([(y[0], draws), (y[0], draws)], control)
    assert joint.value[0] == pytest.approx(joint.value[1], rel=1e-6)
    assert 0.5 < joint.covariance[0, 1] / joint.covariance[0, 0] < 1 + 1e-9
    b = joint.task_covariance
    assert b[0, 1] / np.sqrt(b[0, 0] * b[1, 1]) > 0.9


def test_a_covariance_of_rank_one():
    tasks = as_tasks(*south(3, (24, 24)))
    control = VectorSteinKernel(**FIXED, task_covariance=np.outer([1, 2], [1, 2]))
    joint = mcvar.estimate_jointly(tasks, control, folds=3)
    assert np.isfinite(joint.value).all()
    np.testing.assert_array_equal(joint.task_covariance, [[1, 2], [2, 4]])


@pytest.mark.parametrize(
    ("b", "message"),
    [
        ([[1.0, 2.0], [2.0, 1.0]], "indefinite"),
        ([[1.0, 0.0], [0.0, 0.0]], "on its diagonal for task 1"),
        ([[1.0, np.nan], [np.nan, 1.0]], "expected finite numbers"),
        (np.eye(3), r"shape \(3, 3\); expected \(2, 2\)"),
        ([1.0, 1.0], r"shape \(2,\); expected \(2, 2\)"),
    ],
)
def test_covariances_that_are_none(b, message):
    with pytest.raises(ValueError, match=message):
        mcvar.estimate_jointly(
            as_tasks(*south(4, (12, 12))), VectorSteinKernel(**FIXED, task_covariance=b)
        )


@pytest.mark.parametrize("control", CONTROLS)
def test_one_task_and_a_task_of_three_draws(control):
    x, y, s = south(5, (36, 3))
    alone = mcvar.estimate_jointly(as_tasks(x, y, s)[:1], control)
    assert alone.value.shape == (1,)
    assert abs(alone.value[0] - 2) < 5 * max(alone.standard_error[0], 0.05)
    both = mcvar.estimate_jointly(as_tasks(x, y, s), control)
    assert np.isfinite(both.standard_error).all()


def test_scores_of_another_shape_or_target():
    x, y, s = south(6, (60, 60), dimensions=2)
    with pytest.raises(ValueError, match="grad_logpdf has shape"):
        mcvar.Draws(x[0], grad_logpdf=s[0][:, :1])
    with pytest.raises(ValueError, match=r"entry 1 of tasks has values of shape \(60, 0\)"):
        mcvar.estimate_jointly([as_tasks(x, y, s)[0], (np.empty((60, 0)), as_tasks(x, y, s)[1][1])])
    wrong = [s[0], -s[1]]  # of the wrong sign
    with pytest.raises(mcvar.ScoreError):
        mcvar.estimate_jointly(as_tasks(x, y, wrong), VectorSteinPolynomial(2))


def test_more_observations_than_memory_name_what_scales():
    x = np.random.default_rng(1).normal(size=(2, 60, 1))
    own = VectorSteinKernel(max_memory=8.0 * 100**2)
    with pytest.raises(MemoryError, match=r"120 draws takes .* VectorSteinPolynomial"):
        own.fit(x, np.cos(x[..., 0]), -x)
    # Where tasks share their draws, their number does not count.
    same = np.stack([x[0], x[0]])
    assert np.isfinite(own.fit(same, np.cos(same[..., 0]), -same).mean_).all()
