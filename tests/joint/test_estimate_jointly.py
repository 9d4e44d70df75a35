"""estimate_jointly: bias, coverage, never worse, the guard, shared draws and wrong input."""

from functools import cache

import numpy as np
import pytest

import mcvar
from mcvar.control import SteinKernel, VectorSteinKernel
from mcvar.control.kernels import Gaussian, InverseMultiquadric, Matern
from mcvar.joint import estimation
from mcvar.joint.tasks import read_tasks
from tests.harness import check_coverage, check_never_worse, check_unbiased
from tests.joint.cases import EXACT, VARIANCES, as_tasks, south

REPEATS = 60
# Hyper-parameters that are given spare most of the time; what is learned has its own tests.
GIVEN = VectorSteinKernel(Gaussian(1.0), task_covariance=[[1.0, 0.9], [0.9, 1.0]], ridge=1e-4)
CLOSE = VectorSteinKernel(
    InverseMultiquadric(1.9), task_covariance=[[0.83, 0.962], [0.962, 1.17]], ridge=1e-10
)


@cache
def run(seed):
    return mcvar.estimate_jointly(as_tasks(*south(seed, (24, 24))), GIVEN, folds=4)


@cache
def run_unbiased(seed):
    """The same, without the move towards the fit to all draws."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(estimation, "_shrunken", lambda means, corrected: corrected)
        return mcvar.estimate_jointly(as_tasks(*south(seed, (24, 24))), GIVEN, folds=4)


def test_unbiased():
    check_unbiased(run_unbiased, EXACT, REPEATS)


def test_no_value_is_far_from_an_unbiased_one():
    for seed in range(REPEATS):
        found, unbiased = run(seed), run_unbiased(seed)
        assert (np.abs(found.value - unbiased.value) <= found.standard_error).all()


def test_values_err_less_than_unbiased_ones():
    errors = {"moved": [], "unbiased": []}
    for seed in range(12):
        sheets = read_tasks(as_tasks(*south(seed, (50, 50))))
        labels = [np.arange(50) % 5] * 2
        control = VectorSteinKernel(InverseMultiquadric())
        fits = estimation._out_of_fold(control, sheets, labels, 5)
        moved = [
            estimation._shrunken(fits.means[[t]], part) for t, part in enumerate(fits.by_draws)
        ]
        for name, parts in {"moved": moved, "unbiased": fits.by_draws}.items():
            errors[name].append([part.rows.mean() - EXACT[t] for t, part in enumerate(parts)])
    squares = {name: np.mean(np.square(found), axis=0) for name, found in errors.items()}
    assert (squares["moved"] / squares["unbiased"]).mean() < 0.9


def test_intervals_cover():
    check_coverage(run, EXACT, 0.92, REPEATS)


def test_never_worse_than_plain():
    # Var(1 + x + x² + b(x)) by quadrature, over the draws of a task.
    nodes, weights = np.polynomial.hermite_e.hermegauss(200)
    plain = []
    for variance, (c, b) in zip(VARIANCES, [(1.0, 1.0), (1.5, 1.75)], strict=True):
        x = np.sqrt(variance) * nodes
        f = x + c * x**2 + b * np.sin(np.pi * x) * np.exp(-(x**2))
        share = weights / weights.sum()
        plain.append((share @ f**2 - (share @ f) ** 2) / 24)
    ratio = check_never_worse(run, EXACT, np.array(plain), 1.0, REPEATS)
    assert (ratio < 0.3).all()


@pytest.mark.parametrize(
    "options", [{"kernel": Gaussian(1.0), "ridge": 1e-5}, {"order": 2, "polynomial_degree": 1}]
)
def test_one_task_equals_the_scalar_control(options):
    x, y, s = south(0, (60, 60))
    joint = mcvar.estimate_jointly(as_tasks(x, y, s)[:1], VectorSteinKernel(**options))
    scalar = mcvar.estimate(
        y[0],
        mcvar.Draws(x[0], grad_logpdf=s[0]),
        control=SteinKernel(**({"kernel": (InverseMultiquadric(), Matern())} | options)),
    )
    np.testing.assert_allclose(joint.value, [scalar.value], rtol=1e-14)
    np.testing.assert_allclose(joint.standard_error, [scalar.standard_error], rtol=1e-9)
    assert joint.df[0] == pytest.approx(scalar.df)
    assert joint.control == (scalar.control,)
    np.testing.assert_array_equal(joint.task_covariance, [[1.0]])


def test_unrelated_tasks_are_estimated_as_if_alone():
    """B = I: neither value nor error bar of a task knows the other's values."""
    x, y, s = south(8, (30, 40))
    control = VectorSteinKernel(Gaussian(1.0), task_covariance=np.eye(2), ridge=1e-3)
    joint = mcvar.estimate_jointly(as_tasks(x, y, s), control)
    other = mcvar.estimate_jointly(as_tasks(x, [y[0], np.cos(3 * x[1][:, 0])], s), control)
    np.testing.assert_allclose(joint.value[0], other.value[0], rtol=1e-12)
    np.testing.assert_allclose(joint.standard_error[0], other.standard_error[0], rtol=1e-9)
    assert abs(joint.value[1] - other.value[1]) > 0.1


def test_guard_leaves_a_joint_control_that_harms():
    """Unrelated values that are said to be one and the same spoil the joint control."""
    x, y, s = south(9, (60, 60))
    control = VectorSteinKernel(Gaussian(1.5), task_covariance=np.ones((2, 2)), ridge=1e-8)
    joint = mcvar.estimate_jointly(as_tasks(x, [y[0], np.cos(2 * x[1][:, 0])], s), control)
    assert not any(name.startswith("VectorSteinKernel") for name in joint.control)
    exact = np.array([EXACT[0], np.exp(-2 * VARIANCES[1])])
    assert (joint.variance_reduction > 3).all()
    assert (np.abs(joint.value - exact) < 4 * joint.standard_error + 1e-3).all()


def test_guard_takes_no_control_for_noise():
    rng = np.random.default_rng(1)
    x, y, s = south(1, (60, 60))
    joint = mcvar.estimate_jointly(as_tasks(x, [y[0], rng.standard_normal(60)], s))
    assert joint.control[0] != "none"
    # No control explains noise; what is taken by chance must not cost more than a little.
    assert joint.variance_reduction[1] < 1.5
    assert abs(joint.value[1]) < 5 / np.sqrt(60)


def test_shared_draws_have_a_covariance():
    x, y, s = south(2, (60, 60))
    draws = mcvar.Draws(x[0], grad_logpdf=s[0])
    other = 2 * y[0] + np.abs(x[0][:, 0])
    control = VectorSteinKernel(Gaussian(1.0), task_covariance=np.eye(2) + 0.5, ridge=1e-3)
    wide = mcvar.estimate_jointly([(np.stack([y[0], other], axis=1), draws)], control)
    equal = mcvar.Draws(x[0].copy(), grad_logpdf=s[0].copy())
    apart = mcvar.estimate_jointly([(y[0], draws), (other, equal)], control)
    np.testing.assert_array_equal(wide.value, apart.value)
    assert wide.covariance[0, 1] != 0
    np.testing.assert_allclose(np.sqrt(np.diagonal(wide.covariance)), wide.standard_error)
    own = mcvar.estimate_jointly(as_tasks(x, y, s), control)
    # Tasks with draws of their own share the error of the fits alone.
    assert abs(own.covariance[0, 1]) < 0.9 * own.standard_error.prod()


def test_a_task_of_three_draws():
    joint = mcvar.estimate_jointly(as_tasks(*south(3, (60, 3))))
    low, high = joint.confidence_interval()
    assert np.isfinite([*low, *high]).all()
    assert low[1] < EXACT[1] < high[1]
    assert joint.n == (60, 3)


def test_chains():
    rng = np.random.default_rng(4)
    n, steps = 200, rng.standard_normal((2, 200))
    x = np.empty((2, n))
    x[:, 0] = steps[:, 0]
    for i in range(1, n):
        x[:, i] = 0.7 * x[:, i - 1] + np.sqrt(1 - 0.7**2) * steps[:, i]
    chain = np.repeat([0, 1], n // 2)
    tasks = [
        (np.exp(row / 2), mcvar.Draws(row, grad_logpdf=-row[:, np.newaxis], chain=chain))
        for row in x
    ]
    control = VectorSteinKernel(Gaussian(2.0), task_covariance=np.eye(2) + 1, ridge=1e-6)
    joint = mcvar.estimate_jointly(tasks, control)
    assert np.abs(joint.value - np.exp(1 / 8)).max() < 1e-3


def test_error_bars_see_what_close_fits_leave():
    """Out of fold a close fit leaves too little: its own spread over folds is in the bar."""
    covered = []
    for seed in range(12):
        joint = mcvar.estimate_jointly(as_tasks(*south(seed, (50, 50))), CLOSE)
        low, high = joint.confidence_interval(0.95)
        covered.append((low <= EXACT) & (high >= EXACT))
    assert np.mean(covered) >= 0.8


def test_expectations_of_shared_fits_move_together():
    means = np.array([[0.0, 0.0, 1.0, 2.0], [1.0, -2.0, 1.0, 2.0], [2.0, -4.0, 1.0, -4.0]])
    found = estimation._between(means, np.array([0.1, 0.2, 0.3, 0.0]))
    expected = np.zeros((4, 4))
    # The second moves against the first; what does not move, or has no error, shares none.
    expected[0, 1] = expected[1, 0] = -0.1 * 0.2
    np.testing.assert_allclose(found, expected, atol=1e-15)


def test_corrected_values_are_what_is_averaged():
    joint = run(1)
    np.testing.assert_allclose([rows.mean() for rows in joint.corrected], joint.value)
    assert [len(rows) for rows in joint.corrected] == [24, 24]
    with pytest.raises(ValueError, match="read-only"):
        joint.corrected[0][0] = 0.0


def test_random_folds_repeat_by_seed():
    tasks = as_tasks(*south(5, (24, 24)))
    first, again, other = (
        mcvar.estimate_jointly(tasks, GIVEN, folds=3, rng=seed).value for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_result_is_frozen_and_readable():
    joint = run(0)
    with pytest.raises(ValueError, match="read-only"):
        joint.value[0] = 0.0
    text = repr(joint)
    assert text.startswith("JointEstimate(2 tasks, ")
    assert "task 1: " in text
    assert "n=24" in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: [(np.zeros(30), mcvar.Draws(d.x))], "has no score"),
        (
            lambda d: [
                (np.zeros(30), mcvar.Draws(d.x, weights=np.ones(30), grad_logpdf=d.grad_logpdf))
            ],
            "draws with weights",
        ),
        (lambda d: [(np.zeros(29), d)], r"shape \(29,\) for 30 draws"),
        (lambda d: [(np.zeros(2), d.take(np.arange(2)))], "has 2 draws; expected at least 3"),
        (
            lambda d: [
                (np.zeros(30), d),
                (np.zeros(30), mcvar.Draws(np.tile(d.x, 2), grad_logpdf=np.tile(d.x, 2))),
            ],
            "in .1, 2. dimensions|score",
        ),
    ],
)
def test_wrong_tasks(change, message):
    x, _, s = south(6)
    with pytest.raises(ValueError, match=message):
        mcvar.estimate_jointly(change(mcvar.Draws(x[0], grad_logpdf=s[0])))


@pytest.mark.parametrize("tasks", [None, "tasks", [], [np.zeros(3)]])
def test_tasks_of_another_type(tasks):
    with pytest.raises(TypeError, match="tasks"):
        mcvar.estimate_jointly(tasks)


def test_wrong_control():
    with pytest.raises(TypeError, match="VectorSteinKernel"):
        mcvar.estimate_jointly(as_tasks(*south(7)), SteinKernel())
    with pytest.raises(ValueError, match="folds"):
        mcvar.estimate_jointly(as_tasks(*south(7)), folds=1)
