"""VectorSteinKernel: identities with the scalar control, dense oracle, odd tasks, wrong input."""

import numpy as np
import pytest

from mcvar.control import SteinKernel, VectorSteinKernel
from mcvar.control.kernels import Gaussian, InverseMultiquadric, Matern
from mcvar.control.task_covariance import _Likelihood
from mcvar.control.task_systems import OwnDraws
from tests.joint.cases import EXACT, south

RANK_ONE = np.outer([1.0, 1.3], [1.0, 1.3])


@pytest.mark.parametrize("degree", [None, 2])
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("b", ["learn", [[3.0]]])
def test_one_task_equals_the_scalar_control(order, degree, b):
    x, y, s = south(0)
    options = {"order": order, "polynomial_degree": degree, "ridge": 1e-6}
    scalar = SteinKernel(Gaussian(1.5), **options).fit(x[0], y[0], s[0])
    joint = VectorSteinKernel(Gaussian(1.5), task_covariance=b, **options).fit(x[:1], y[:1], s[:1])
    np.testing.assert_allclose(joint.mean_, [scalar.mean_], rtol=1e-9)
    new = x[1], s[1] * 1.25
    np.testing.assert_allclose(joint.predict(0, *new), scalar.predict(*new), rtol=1e-7, atol=1e-7)


def test_unrelated_tasks_are_scalar_controls():
    x, y, s = south(1, (30, 20))
    # In common coordinates: those of each task differ from them by location and scale.
    joint = VectorSteinKernel(Gaussian(1.0), task_covariance=np.diag([1.0, 5.0]), ridge=1e-6)
    joint.fit(x, y, s)
    root = joint.coordinates_.root[0, 0]
    for t in range(2):
        alone = SteinKernel(Gaussian(root), ridge=1e-6, standardise=None).fit(x[t], y[t], s[t])
        assert joint.mean_[t] == pytest.approx(alone.mean_, rel=1e-9)


def naive_kernel(x, s, y, r, length):
    """First order, Gaussian, one pair of points."""
    difference = x - y
    a = 1 / length**2
    k = np.exp(-a * difference @ difference)
    mixed = 2 * a * len(x) - 4 * a**2 * difference @ difference
    return k * (mixed + 2 * a * s @ difference - 2 * a * r @ difference + s @ r)


def test_mixed_targets_against_dense_algebra():
    x, y, s = south(2, (12, 7), dimensions=2)
    b, ridge, length = np.array([[1.0, 0.8], [0.8, 1.7]]), 1e-3, 1.7
    control = VectorSteinKernel(Gaussian(length), task_covariance=b, ridge=ridge).fit(x, y, s)
    z = [control.coordinates_.points(p) for p in x]
    r = [control.coordinates_.scores(p) for p in s]
    rows = [(t, z[t][i], r[t][i], y[t][i]) for t in range(2) for i in range(len(x[t]))]
    matrix = np.array(
        [[b[t, u] * naive_kernel(p, g, q, h, length) for u, q, h, _ in rows] for t, p, g, _ in rows]
    )
    task = np.array([t for t, *_ in rows])
    noise = np.array([ridge * np.diagonal(matrix)[task == t].mean() for t in range(2)])
    phi, values = np.eye(2)[task], np.array([v for *_, v in rows]) / control.unit_[task]
    # One system for constants and coefficients, without any elimination.
    full = np.block([[matrix + np.diag(noise[task]), phi], [phi.T, np.zeros((2, 2))]])
    solved = np.linalg.solve(full, np.r_[values, 0, 0])
    np.testing.assert_allclose(control.mean_, control.unit_ * solved[-2:], rtol=1e-10)
    predicted = control.unit_[task] * (matrix @ solved[:-2] + phi @ solved[-2:])
    for t in range(2):
        np.testing.assert_allclose(
            control.predict(t, x[t], s[t]), predicted[task == t], rtol=1e-9, atol=1e-9
        )


@pytest.mark.parametrize("order", [1, 2])
def test_predictions_have_the_expectation_they_state(order):
    x, y, s = south(3)
    control = VectorSteinKernel(Gaussian(2.0), order, task_covariance=RANK_ONE, ridge=1e-4)
    control.fit(x, y, s)
    nodes, weights = np.polynomial.hermite_e.hermegauss(150)
    for t, variance in enumerate((1.0, 1.25)):
        points = np.sqrt(variance) * nodes[:, np.newaxis]
        mean = weights @ control.predict(t, points, -points / variance) / weights.sum()
        assert mean == pytest.approx(control.mean_[t], abs=1e-9)


@pytest.mark.parametrize("kernel", [Gaussian(), Matern(), InverseMultiquadric()])
def test_gradient_of_the_likelihood(kernel):
    x, y, s = south(4, (9, 7))
    task = np.repeat([0, 1], [9, 7])
    phi = np.eye(2)[task] / np.sqrt([9, 7])
    values = np.concatenate(y) / 2
    tasks = OwnDraws(np.concatenate(x), np.concatenate(s), values, phi, task)
    start = np.array([[1.0, 0.5], [0.5, 1.0]])
    problem = _Likelihood(
        tasks, kernel, 1, 1.2, np.array([1e-2, 1e-1]), start, free_ridge=True, free_covariance=True
    )
    theta = problem.start + 0.1
    gradient = problem(theta)[1]
    for i, unit in enumerate(np.eye(len(theta)) * 1e-5):
        slope = (problem(theta + unit)[0] - problem(theta - unit)[0]) / 2e-5
        assert gradient[i] == pytest.approx(slope, rel=2e-3, abs=2e-3)


def test_likelihood_against_dense_algebra():
    x, y, s = south(5, (6, 5))
    task = np.repeat([0, 1], [6, 5])
    phi = np.eye(2)[task] / np.sqrt([6, 5])
    tasks = OwnDraws(np.concatenate(x), np.concatenate(s), np.concatenate(y), phi, task)
    b, ridges = np.array([[1.0, 0.4], [0.4, 2.0]]), np.array([1e-2, 3e-2])
    problem = _Likelihood(
        tasks, Gaussian(1.3), 1, 1.3, ridges, b, free_ridge=False, free_covariance=False
    )
    z, r = tasks.x, tasks.s
    k = np.array(
        [[naive_kernel(z[i], r[i], z[j], r[j], 1.3) for j in range(11)] for i in range(11)]
    )
    unit = np.array([np.diagonal(k)[task == t].mean() for t in range(2)])
    a = b[np.ix_(task, task)] * (k + np.diag((ridges * unit)[task]))
    # Contrasts free of constants have likelihoods that need no restriction.
    contrasts = np.linalg.svd(phi.T)[2][2:]
    projected = contrasts @ a @ contrasts.T
    quadratic = (contrasts @ tasks.y) @ np.linalg.solve(projected, contrasts @ tasks.y)
    expected = 0.5 * (9 * np.log(quadratic) + np.linalg.slogdet(projected)[1])
    assert problem(np.empty(0))[0] == pytest.approx(expected, rel=1e-9)


def test_learned_covariance_finds_what_tasks_share():
    x, y, s = south(6, (40, 40))
    related = VectorSteinKernel().fit(x, y, s).task_covariance_
    correlation = related[0, 1] / np.sqrt(related[0, 0] * related[1, 1])
    assert correlation > 0.8
    flipped = VectorSteinKernel().fit(x, [y[0], -y[1]], s).task_covariance_
    assert flipped[0, 1] / np.sqrt(flipped[0, 0] * flipped[1, 1]) < -0.8
    assert np.diagonal(related).mean() == pytest.approx(1.0)


def test_draws_of_a_related_task_help():
    errors = {"joint": [], "alone": []}
    for seed in range(6):
        x, y, s = south(seed, (60, 12))
        errors["joint"].append(VectorSteinKernel().fit(x, y, s).mean_[1] - EXACT[1])
        errors["alone"].append(SteinKernel().fit(x[1], y[1], s[1]).mean_ - EXACT[1])
    assert np.abs(errors["joint"]).mean() < 0.7 * np.abs(errors["alone"]).mean()


def test_identical_tasks_and_rank_one():
    x, y, s = south(7)
    same = [x[0]] * 2, [y[0]] * 2, [s[0]] * 2
    alone = SteinKernel(Gaussian(1.5), ridge=1e-6).fit(x[0], y[0], s[0])
    twice = VectorSteinKernel(Gaussian(1.5), task_covariance=np.ones((2, 2)), ridge=2e-6)
    # Every observation twice with twice the noise says what one of them says.
    np.testing.assert_allclose(twice.fit(*same).mean_, [alone.mean_] * 2, rtol=1e-7)
    learned = VectorSteinKernel().fit(*same)
    np.testing.assert_allclose(learned.mean_, [learned.mean_[0]] * 2, rtol=1e-5)


def test_a_task_of_three_draws():
    x, y, s = south(8, (60, 3))
    control = VectorSteinKernel().fit(x, y, s)
    assert abs(control.mean_[1] - EXACT[1]) < 1.0
    assert control.n_points_ == 63


def test_values_that_do_not_vary():
    x, y, s = south(9)
    control = VectorSteinKernel().fit(x, [y[0], np.full(30, 4.0)], s)
    assert control.mean_[1] == pytest.approx(4.0, abs=1e-3)


def test_polynomial_part_is_exact_for_polynomials():
    x, _, s = south(10)
    y = [1 + 2 * p[:, 0] + p[:, 0] ** 2 for p in x]
    control = VectorSteinKernel(Gaussian(1.0), polynomial_degree=2, ridge=1e-3).fit(x, y, s)
    np.testing.assert_allclose(control.mean_, [2.0, 2.25], rtol=1e-8)


def test_describe():
    control = VectorSteinKernel(Gaussian(1.0), polynomial_degree=1, ridge=1e-3)
    assert "order 1, polynomial of degree 1" in control.describe()
    x, y, s = south(11)
    assert "60 points of 2 tasks" in control.fit(x, y, s).describe()


def wrong(change):
    x, y, s = south(12, (8, 8), dimensions=2)
    return change(x, y, s)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y, s: (x, y, s[:1]), "2 in X, 2 in y, 1 in grad_logpdf"),
        (lambda x, y, s: ([], [], []), "0 in X"),
        (lambda x, y, s: (x[0], y[0], s[0]), "y holds numbers; expected one array for each task"),
        (lambda x, y, s: (x, y, [s[0], s[1][:, :1]]), "task 1: grad_logpdf has shape"),
        (lambda x, y, s: (x, [y[0], y[1][:5]], s), "task 1: y has shape"),
        (lambda x, y, s: (x, [y[0][:, np.newaxis], y[1]], s), "task 0: y has shape"),
        (
            lambda x, y, s: ([x[0], x[1][:, :1]], y, [s[0], s[1][:, :1]]),
            r"draws in \[2, 1\] dimensions",
        ),
        (lambda x, y, s: ([x[0], x[1][:1]], [y[0], y[1][:1]], [s[0], s[1][:1]]), "task 1: 1 dist"),
    ],
)
def test_wrong_tasks(change, message):
    with pytest.raises(ValueError, match=message):
        VectorSteinKernel().fit(*wrong(change))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task_covariance": np.eye(3)}, r"shape \(3, 3\); expected \(2, 2\)"),
        ({"task_covariance": [[1.0, 2.0], [2.0, 1.0]]}, "indefinite: its least eigenvalue is -1"),
        ({"task_covariance": [[1.0, 0.5], [0.2, 1.0]]}, "not symmetric"),
        ({"task_covariance": [[1.0, 0.0], [0.0, 0.0]]}, "on its diagonal for task 1"),
        ({"task_covariance": "full"}, "task_covariance"),
        ({"order": 3}, "order must be 1 or 2"),
        ({"ridge": -1.0}, "ridge must be"),
        ({"kernel": ()}, "empty sequence"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        VectorSteinKernel(**options).fit(*south(13, (8, 8)))


def test_wrong_prediction():
    control = VectorSteinKernel(Gaussian(1.0), ridge=1e-3).fit(*south(14, (8, 8)))
    with pytest.raises(ValueError, match=r"task must be one of 0, \.\.\., 1, got 2"):
        control.predict(2, np.zeros((1, 1)), np.zeros((1, 1)))
    with pytest.raises(ValueError, match="X has 2 dimensions"):
        control.predict(0, np.zeros((1, 2)), np.zeros((1, 2)))
