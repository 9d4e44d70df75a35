"""Sequential use: what was learned of early tasks serves a new one, at the price of a solve."""

import numpy as np
import pytest
from scipy import linalg

import mcvar
from mcvar.control import SteinKernel, VectorSteinKernel, VectorSteinPolynomial
from mcvar.control.kernels import Gaussian, InverseMultiquadric
from mcvar.control.stein_gram import SteinGram
from mcvar.control.task_systems import OwnDraws
from mcvar.control.warm_start import _Further, extend
from tests.joint.cases import EXACT, as_tasks, south

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(60)
GRID = np.stack(np.meshgrid(NODES, NODES), axis=-1).reshape(-1, 2)
SHARES = np.outer(WEIGHTS, WEIGHTS).ravel() / WEIGHTS.sum() ** 2


def family(seed, tasks=5, many=50, few=10):
    """Tasks of one family under normals of several variances; the last has few draws."""
    rng = np.random.default_rng(seed)
    x, y, s, exact = [], [], [], []
    for t in range(tasks):
        a, b, v = rng.uniform(0.8, 1.2), rng.uniform(0.5, 1.5), rng.uniform(0.9, 1.2)

        def f(p, a=a, b=b):
            smooth = a * np.exp(0.5 * p[:, 0]) * np.cos(p[:, 1])
            return smooth + b * np.sin(p.sum(axis=1)) + 0.3 * b * p[:, 0] ** 2

        x.append(np.sqrt(v) * rng.standard_normal((many if t < tasks - 1 else few, 2)))
        y.append(f(x[-1]))
        s.append(-x[-1] / v)
        exact.append(SHARES @ f(np.sqrt(v) * GRID))
    return x, y, s, np.array(exact)


def observations(x, y, s):
    """All tasks as the likelihood takes them, with a constant each."""
    sizes = [len(p) for p in x]
    task = np.repeat(np.arange(len(x)), sizes)
    phi = np.eye(len(x))[task] / np.sqrt(np.array(sizes))
    values = np.concatenate([v / v.std() for v in y])
    return OwnDraws(np.concatenate(x), np.concatenate(s), values, phi, task)


def test_criterion_is_the_restricted_likelihood_of_all_observations():
    x, y, s = south(0, (9, 6))
    tasks = observations([*x, x[0][:5] + 0.1], [*y, y[0][:5] ** 2], [*s, s[0][:5]])
    kernel, ridges = Gaussian(1.3), np.array([1e-2, 3e-2])
    b = np.array([[1.2, 0.5], [0.5, 0.8]])
    gram = SteinGram(kernel, 1)
    matrix = gram.matrix(gram.at(tasks.x, tasks.s))
    problem = _Further(tasks, matrix, ridges, b, None)
    found, expected = [], []
    for theta in (np.array([0.4, -0.3, -1.0, -3.0]), np.array([-0.8, 0.1, -2.0, -5.0])):
        loadings, variance, ridge = problem._read(theta)
        shared = problem.root @ loadings
        whole = np.block([[b, shared[:, np.newaxis]], [shared, variance]])
        assert linalg.eigvalsh(whole)[0] > 0
        away = (theta - problem.centre) / problem.spread
        found.append(problem(theta) - 0.5 * away @ away)
        matrices = tasks.matrices(gram)
        noise = np.append(ridges, ridge) * matrices.units * np.diagonal(whole)
        expected.append(tasks.terms(matrices, whole, noise).value)
    assert found[1] - found[0] == pytest.approx(expected[1] - expected[0], rel=1e-8)


def test_several_further_tasks_leave_a_covariance():
    x, y, s, _ = family(1, tasks=5)
    tasks = observations(x, y, s)
    b = np.array([[1.0, 0.9], [0.9, 1.0]])
    learned = extend(tasks, 1, Gaussian(2.0), np.full(2, 1e-6), b, 1e-6)
    assert learned.covariance.shape == (5, 5)
    np.testing.assert_array_equal(learned.covariance[:2, :2], b)
    np.testing.assert_array_equal(learned.ridges, np.full(5, 1e-6))
    assert linalg.eigvalsh(learned.covariance)[0] > -1e-12
    correlation = learned.covariance[0, 2] / np.sqrt(learned.covariance[2, 2])
    assert correlation > 0.5


def test_the_same_tasks_again_are_but_a_solve():
    x, y, s = south(2)
    control = VectorSteinKernel(warm_start=True).fit(x, y, s)
    first = control.mean_, control.kernel_, control.task_covariance_
    control.fit(x, y, s)
    np.testing.assert_allclose(control.mean_, first[0], rtol=1e-10)
    assert control.kernel_ == first[1]
    np.testing.assert_array_equal(control.task_covariance_, first[2])
    # Without it nothing is kept.
    again = VectorSteinKernel().fit(x, y, s).fit([x[0]], [y[0]], [s[0]])
    assert len(again.mean_) == 1


def test_early_tasks_help_a_new_one_at_the_price_of_a_solve(monkeypatch):
    counted, matrix = [], SteinGram.lower_triangle

    def counting(self, points):
        counted.append(points.n)
        return matrix(self, points)

    monkeypatch.setattr(SteinGram, "lower_triangle", counting)
    errors, kernel = [], InverseMultiquadric()
    for seed in range(3):
        x, y, s, exact = family(seed, tasks=4, many=40)
        early = VectorSteinKernel(kernel, warm_start=True).fit(x[:-1], y[:-1], s[:-1])
        assert len(counted) > 20  # matrices of kernels: a search
        counted.clear()
        warm = early.fit(x, y, s).mean_[-1]
        assert len(counted) <= 3  # to learn of the new task, and to solve
        counted.clear()
        alone = SteinKernel(kernel).fit(x[-1], y[-1], s[-1]).mean_
        errors.append(np.abs([warm - exact[-1], alone - exact[-1]]))
    found, apart = np.mean(errors, axis=0)
    assert found < 0.1 * apart


def test_a_result_to_go_on_from():
    missed, gains = 0, []
    for seed in range(10, 14):
        x, y, s, exact = family(seed, tasks=3, many=30, few=12)
        tasks = as_tasks(x, y, s)
        early = mcvar.estimate_jointly(tasks[:2], VectorSteinKernel(Gaussian()))
        joint = mcvar.estimate_jointly(tasks, warm_start=early)
        assert joint.model.kernel_ == early.model.kernel_
        assert early.model.warm_start is False
        assert joint.task_covariance.shape == (3, 3)
        low, high = joint.confidence_interval()
        missed += int(not low[2] <= exact[2] <= high[2])
        gains.append(joint.variance_reduction[2])
    assert missed <= 1
    assert np.median(gains) > 20
    # And on from there.
    more = mcvar.estimate_jointly([*tasks, tasks[0]], warm_start=joint)
    assert more.value.shape == (4,)


def test_a_new_task_of_three_draws_and_one_without_variation():
    x, y, s = south(3, (60, 3))
    early = VectorSteinKernel(warm_start=True).fit(x[:1], y[:1], s[:1])
    assert abs(early.fit(x, y, s).mean_[1] - EXACT[1]) < 1.0
    early = VectorSteinKernel(warm_start=True).fit(x[:1], y[:1], s[:1])
    assert early.fit(x, [y[0], np.full(3, 4.0)], s).mean_[1] == pytest.approx(4.0, abs=0.1)


def test_polynomials_keep_their_penalty():
    x, y, s, _ = family(4)
    control = VectorSteinPolynomial(2, warm_start=True).fit(x[:-1], y[:-1], s[:-1])
    penalty, location = control.penalty_, control.coordinates_.location
    control.fit(x, y, s)
    assert control.penalty_ == penalty
    np.testing.assert_array_equal(control.coordinates_.location, location)
    tasks = as_tasks(x, y, s)
    early = mcvar.estimate_jointly(tasks[:-1], VectorSteinPolynomial(2))
    joint = mcvar.estimate_jointly(tasks, warm_start=early)
    assert joint.model.penalty_ == early.model.penalty_
    assert joint.value.shape == (5,)


def test_wrong_warm_starts():
    x, y, s, _ = family(5, tasks=3, many=20)
    for kind in (VectorSteinKernel(Gaussian(1.0), warm_start=True), VectorSteinPolynomial(2, 0.1)):
        control = kind.set_params(warm_start=True).fit(x, y, s)
        with pytest.raises(ValueError, match=r"goes on from 3 tasks in 2 dimensions.*got 2 tasks"):
            control.fit(x[:2], y[:2], s[:2])
        with pytest.raises(ValueError, match="got 3 tasks in 1 dimensions"):
            control.fit([p[:, :1] for p in x], y, [p[:, :1] for p in s])
    tasks = as_tasks(x, y, s)
    with pytest.raises(TypeError, match="warm_start must be a JointEstimate"):
        mcvar.estimate_jointly(tasks, warm_start=control)
    joint = mcvar.estimate_jointly(tasks[:2], VectorSteinPolynomial(1))
    with pytest.raises(ValueError, match="give control or warm_start"):
        mcvar.estimate_jointly(tasks, VectorSteinKernel(), warm_start=joint)
    with pytest.raises(ValueError, match="goes on from 2 tasks"):
        mcvar.estimate_jointly(tasks[:1], warm_start=joint)
