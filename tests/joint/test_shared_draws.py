"""Tasks on the same draws: one small system for all of them, and leaving draws out."""

import tracemalloc

import numpy as np
import pytest

import mcvar
from mcvar.control import VectorSteinKernel
from mcvar.control.kernels import Gaussian, InverseMultiquadric
from mcvar.control.sample import checked_sample
from mcvar.control.stein_gram import SteinGram
from mcvar.control.task_systems import OwnDraws, SharedDraws
from mcvar.integrate.crossfit import CrossFit
from mcvar.joint.estimation import _out_of_fold, _shrunken
from mcvar.joint.tasks import TaskGroup
from tests.joint.cases import south


def related(n, tasks, seed=0):
    """Values of tasks at the same two-dimensional draws."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 2))
    return x, [np.exp(np.sin(x @ rng.normal(size=2))) for _ in range(tasks)], -x


def covariance(tasks, rank, seed=0):
    root = np.random.default_rng(seed).normal(size=(tasks, rank))
    return root @ root.T


@pytest.mark.parametrize("degree", [None, 1])
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("rank", [1, 3])
def test_one_small_system_equals_the_large_one(order, degree, rank):
    x, y, s = related(40, 3)
    control = VectorSteinKernel(
        Gaussian(1.5), order, degree, task_covariance=covariance(3, rank), ridge=1e-4
    )
    control.fit([x] * 3, y, [s] * 3)
    assert len(control.weights_) == 40
    new = x[:5] + 0.3
    shared = control.mean_, [control.predict(t, new, -new) for t in range(3)]
    # The same in another order of the draws is not seen to be shared.
    turned = [x, x[::-1], x]
    control.fit(turned, [y[0], y[1][::-1], y[2]], [-p for p in turned])
    assert len(control.weights_) == 120
    np.testing.assert_allclose(shared[0], control.mean_, rtol=1e-9)
    for t in range(3):
        np.testing.assert_allclose(shared[1][t], control.predict(t, new, -new), rtol=1e-7)


@pytest.mark.parametrize("order", [1, 2])
def test_likelihood_and_gradient_equal_those_of_the_large_system(order):
    rng = np.random.default_rng(3)
    n, count = 15, 3
    x, y = rng.normal(size=(n, 2)), rng.normal(size=(n, count))
    phi = np.linalg.qr(np.column_stack([np.ones(n), x]))[0]
    gram = SteinGram(InverseMultiquadric(1.2), order)
    shared = SharedDraws(x, -x, y, phi)
    own = OwnDraws(
        np.tile(x, (count, 1)),
        np.tile(-x, (count, 1)),
        y.T.ravel(),
        np.kron(np.eye(count), phi),
        np.repeat(np.arange(count), n),
    )
    b, noise = covariance(count, 3), np.array([0.3, 0.1, 0.7])
    found, expected = (each.terms(each.matrices(gram), b, noise) for each in (shared, own))
    for some, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(some, other, rtol=1e-9)


def test_learning_on_shared_draws():
    x = np.random.default_rng(0).standard_normal((80, 2))
    slopes = np.array([[0.5, 0.0], [0.0, 0.6], [0.4, 0.4], [-0.5, 0.2]])
    y = [np.exp(x @ slope) for slope in slopes]
    control = VectorSteinKernel().fit([x] * 4, y, [-x] * 4)
    np.testing.assert_allclose(control.mean_, np.exp((slopes**2).sum(axis=1) / 2), atol=2e-3)
    assert np.diagonal(control.task_covariance_).mean() == pytest.approx(1.0)
    assert "320 points of 4 tasks" in control.describe()


def test_memory_is_that_of_one_task():
    n = 700
    x, y, s = related(n, 10)
    control = VectorSteinKernel(Gaussian(1.5), task_covariance=covariance(10, 10), ridge=1e-3)
    control.fit([x[:50]] * 10, [values[:50] for values in y], [s[:50]] * 10)
    tracemalloc.start()
    control.fit([x] * 10, y, [s] * 10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * 8 * n**2


def test_no_ridge_takes_the_large_system():
    x, y, s = related(20, 2)
    control = VectorSteinKernel(Gaussian(0.5), task_covariance=np.eye(2), ridge=0)
    control.fit([x] * 2, y, [s] * 2)
    assert len(control.weights_) == 40
    np.testing.assert_allclose(control.predict(1, x, s), y[1], rtol=1e-6)
    learned = VectorSteinKernel(ridge=0).fit([x] * 2, y, [s] * 2)
    assert (learned.ridge_ == 0).all()


@pytest.mark.parametrize("degree", [None, 1])
def test_leaving_out_equals_fits_without_the_draw(degree):
    x, y, s = south(4, (9, 7), dimensions=2)
    control = VectorSteinKernel(
        Gaussian(1.5),
        polynomial_degree=degree,
        task_covariance=[[1.0, 0.6], [0.6, 2.0]],
        ridge=1e-2,
    ).fit(x, y, s)
    together = [np.arange(9), np.array([0, 20, 21, 22, 23, 24, 25])]
    residual, mean, mean_of_all = control.leave_one_out(x, y, s, together)
    np.testing.assert_allclose(mean_of_all, control.mean_, rtol=1e-9)
    for number in (3, 0, 22):
        held_out = [group == number for group in together]
        rest = _RefitAt(control)
        rest.fit(
            *([part[~mask] for part, mask in zip(p, held_out, strict=True)] for p in (x, y, s))
        )
        for t, mask in enumerate(held_out):
            if mask.any():
                found = y[t][mask] - rest.predict(t, x[t][mask], s[t][mask])
                np.testing.assert_allclose(residual[t][mask], found, rtol=1e-7, atol=1e-9)
                np.testing.assert_allclose(mean[t][mask], rest.mean_[t], rtol=1e-9)


class _RefitAt(VectorSteinKernel):
    """Solves anew, at coordinates, units and noises of another fit."""

    def __init__(self, other):
        super().__init__(**other.get_params())
        vars(self).update(vars(other))

    def fit(self, x, y, s):
        samples = self._standardised(
            [checked_sample(*each, None) for each in zip(x, y, s, strict=True)]
        )
        observations = OwnDraws.of(samples, self.indices_, self.unit_)[0]
        units = observations.mean_by_task(
            self.gram_.diagonal(self.gram_.at(observations.x, observations.s))
        )
        self.ridge_ = self.noise_ / units / np.diagonal(self.task_covariance_)
        self._solve(samples)
        return self


def test_no_value_has_a_say_in_its_own_prediction():
    """What is added to a value stays in its row: neither fit nor hyper-parameters know it."""
    x, y, s = south(5, (20, 15))
    labels = [np.arange(20) % 4, np.arange(15) % 4]

    def rows(values):
        sheets = [
            TaskGroup(v[:, np.newaxis], mcvar.Draws(p, grad_logpdf=g), (t,))
            for t, (p, v, g) in enumerate(zip(x, values, s, strict=True))
        ]
        return _out_of_fold(VectorSteinKernel(), sheets, labels, 4).by_draws

    before = rows(y)
    moved = [y[0].copy(), y[1]]
    moved[0][6] += 1.5
    after = rows(moved)
    assert after[0].rows[6, 0] - before[0].rows[6, 0] == pytest.approx(1.5, rel=1e-6)
    assert np.abs(after[0].rows[[2, 10], 0] - before[0].rows[[2, 10], 0]).min() > 0


def test_value_is_that_of_all_draws_within_one_standard_error():
    rows = np.random.default_rng(6).normal(size=(50, 3))
    bar = rows.std(axis=0, ddof=1) / np.sqrt(50)
    corrected = CrossFit(rows, (), ("",) * 3, np.zeros(3), np.zeros(3))
    means = rows.mean(axis=0) + np.array([0.5, -3.0, 1e9]) * bar
    moved = (_shrunken(means, corrected).rows - rows) / bar
    np.testing.assert_allclose(moved, np.tile([0.5, -1 / 3, 1e-9], (50, 1)), rtol=1e-6)
