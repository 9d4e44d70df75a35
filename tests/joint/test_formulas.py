"""The formulas of Sun, Barp & Briol written out, on a few points, against VectorSteinKernel.

Kernels are differentiated numerically in extended precision, sums are loops, and systems dense.
"""

import numpy as np
import pytest

from mcvar.control import VectorSteinKernel
from mcvar.control.kernels import Gaussian, InverseMultiquadric
from tests import naive_stein
from tests.joint.cases import VARIANCES, south

LENGTH, RIDGE = 1.4, 1e-2
B = np.array([[1.0, 0.7], [0.7, 1.6]])
KERNELS = {
    "gaussian": (Gaussian(LENGTH), naive_stein.gaussian),
    "multiquadric": (InverseMultiquadric(LENGTH), naive_stein.inverse_multiquadric),
}


def stein_kernel(function, order, x, s, y, r):
    """∇_x·∇_y k + s·∇_y k + r·∇_x k + k s·r, or its counterpart of second order."""
    operator = naive_stein.first_order if order == 1 else naive_stein.second_order
    long = (np.asarray(part, naive_stein.LONG) for part in (x, s, y, r))
    return float(operator(lambda p, q: function(p, q, naive_stein.LONG(LENGTH)), *long))


def fitted(kernel, order, dimensions):
    """A control of two tasks of 6 and 4 draws of different targets, and what it was fitted on."""
    x, y, s = south(21, (6, 4), dimensions)
    control = VectorSteinKernel(kernel, order, task_covariance=B, ridge=RIDGE).fit(x, y, s)
    rows = [(t, x[t][i], y[t][i] / control.unit_[t]) for t in range(2) for i in range(len(x[t]))]
    task = np.array([t for t, *_ in rows])
    z = control.coordinates_.points(np.array([p for _, p, _ in rows]))
    # The score of either target at every draw, in the coordinates of the kernel.
    scores = [
        control.coordinates_.scores(np.array([-p / v for _, p, _ in rows])) for v in VARIANCES
    ]
    return control, task, z, scores, np.array([v for *_, v in rows])


@pytest.mark.parametrize("dimensions", [1, 2])
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", KERNELS)
def test_own_task_coefficients(name, order, dimensions):
    """One coefficient for each observation: [K₀(x, y)]_tu of its own task and target."""
    kernel, function = KERNELS[name]
    control, task, z, scores, y = fitted(kernel, order, dimensions)
    n = len(y)
    matrix = np.empty((n, n))
    for i in range(n):
        for j in range(n):
            s, r = scores[task[i]][i], scores[task[j]][j]
            matrix[i, j] = B[task[i], task[j]] * stein_kernel(function, order, z[i], s, z[j], r)
    noise = np.array([RIDGE * np.diagonal(matrix)[task == t].mean() for t in range(2)])
    phi = np.eye(2)[task]
    system = np.block([[matrix + np.diag(noise[task]), phi], [phi.T, np.zeros((2, 2))]])
    solved = np.linalg.solve(system, np.r_[y, 0, 0])
    np.testing.assert_allclose(control.mean_, control.unit_ * solved[-2:], rtol=1e-8)
    np.testing.assert_allclose(control.noise_, noise, rtol=1e-8)

    new, at = np.full(dimensions, 0.3), [np.full(dimensions, -0.3 / v) for v in VARIANCES]
    point = control.coordinates_.points(new[np.newaxis])[0]
    for t in range(2):
        score = control.coordinates_.scores(at[t][np.newaxis])[0]
        value = solved[n + t]
        for j in range(n):
            r = scores[task[j]][j]
            k0 = B[t, task[j]] * stein_kernel(function, order, point, score, z[j], r)
            value += solved[j] * k0
        found = control.predict(t, new[np.newaxis], at[t][np.newaxis])[0]
        assert found == pytest.approx(control.unit_[t] * value, rel=1e-7)


@pytest.mark.parametrize("order", [1, 2])
def test_a_coefficient_for_each_observation_and_task(order):
    """The published parametrisation has T coefficients an observation; its optimum is the same.

    Σ (y − c − f(x))²/noise + |f|² over f = Σ_j K₀(·, x_j) θ_j with vectors θ_j needs the scores of
    all targets at all draws.
    """
    kernel, function = KERNELS["gaussian"]
    control, task, z, scores, y = fitted(kernel, order, 1)
    n = len(y)
    gram = np.empty((n, 2, n, 2))
    for i in range(n):
        for j in range(n):
            for t in range(2):
                for u in range(2):
                    s, r = scores[t][i], scores[u][j]
                    gram[i, t, j, u] = B[t, u] * stein_kernel(function, order, z[i], s, z[j], r)
    gram = gram.reshape(2 * n, 2 * n)
    own = gram[2 * np.arange(n) + task]
    weight, phi = np.diag(1 / control.noise_[task]), np.eye(2)[task]
    normal = np.block(
        [
            [own.T @ weight @ own + gram, own.T @ weight @ phi],
            [phi.T @ weight @ own, phi.T @ weight @ phi],
        ]
    )
    solved = np.linalg.lstsq(normal, np.r_[own.T @ weight @ y, phi.T @ weight @ y], rcond=1e-13)[0]
    np.testing.assert_allclose(control.mean_, control.unit_ * solved[-2:], rtol=1e-6)
    values = control.unit_[task] * (own @ solved[:-2] + phi @ solved[-2:])
    for t in range(2):
        x = control.coordinates_.location + z[task == t] @ control.coordinates_.root.T
        found = control.predict(t, x, -x / VARIANCES[t])
        np.testing.assert_allclose(found, values[task == t], rtol=1e-6)
