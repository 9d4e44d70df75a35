"""Gradients against autograd, finite differences and the Gaussian control's own expectation."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1]))
import naive_sliced

from mcvar._jit import pulls, sorting
from mcvar.sliced import directions, sliced_wasserstein, sliced_wasserstein_gradient
from mcvar.sliced.projection import sort_carrying

MODES = pytest.mark.parametrize("mode", ["compiled", "python"])


def kernel(function, mode):
    return function if mode == "compiled" else function.py_func


def clouds(n, m, d, weighted, seed=0):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, d)), rng.normal(0.4, 1.5, size=(m, d))
    a, b = (rng.dirichlet(np.ones(k)) if weighted else None for k in (n, m))
    return x, y, a, b


def mean_cost(x, y, a, b, p, theta):
    """Mean cost along `theta`, one direction and one piece of mass at a time."""
    a, b = (np.full(len(z), 1 / len(z)) if w is None else w for z, w in ((x, a), (y, b)))
    return np.mean([naive_sliced.cost(x @ t, y @ t, a, b, p) for t in theta])


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 8), st.integers(1, 8), st.integers(1, 4), st.booleans(),
    st.sampled_from([1.0, 1.5, 2.0, 3.0]), st.integers(0, 10**6),
)  # fmt: skip
def test_finite_differences(n, m, d, weighted, p, seed):
    x, y, a, b = clouds(n, m, d, weighted, seed)
    theta = directions(5, d, "montecarlo", seed)
    value, gradient = sliced_wasserstein_gradient(x, y, a, b, p, directions=theta, control=None)
    assert value == pytest.approx(mean_cost(x, y, a, b, p, theta), rel=1e-12)
    # Along one line in all the points at once; the match changes at most where it is tied.
    move = np.random.default_rng(seed + 1).normal(size=x.shape)
    step = 1e-6
    ahead, behind = (mean_cost(x + s * move, y, a, b, p, theta) for s in (step, -step))
    slope = (ahead - behind) / (2 * step)
    assert slope == pytest.approx(np.sum(gradient * move), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(("n", "m"), [(60, 60), (60, 45), (1, 5)])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("p", [1, 1.5, 2, 3])
@pytest.mark.parametrize("root", [False, True])
def test_autograd(n, m, weighted, p, root):
    torch = pytest.importorskip("torch")
    x, y, a, b = clouds(n, m, 3, weighted)
    theta = directions(20, 3, "montecarlo", 1)
    moving, fixed, along = (torch.tensor(v) for v in (x, y, theta.T.copy()))
    moving.requires_grad_()
    levels = []
    sorted_values = []
    for points, w in ((moving, a), (fixed, b)):
        values, order = torch.sort(points @ along, dim=0)
        w = np.full(len(points), 1 / len(points)) if w is None else w
        sorted_values.append(values)
        levels.append(np.cumsum(w[order.numpy()], axis=0))
    total = 0.0
    for k in range(theta.shape[0]):
        u, v = (level[:, k] / level[-1, k] for level in levels)
        edges = np.union1d(u, v)
        middle = (edges + np.concatenate([[0], edges[:-1]])) / 2
        mass = torch.tensor(np.diff(edges, prepend=0.0))
        i, j = (np.minimum(np.searchsorted(w, middle), len(w) - 1) for w in (u, v))
        gap = sorted_values[0][i, k] - sorted_values[1][j, k]
        total = total + (mass * gap.abs() ** p).sum() / theta.shape[0]
    total = total ** (1 / p) if root else total
    total.backward()
    found = sliced_wasserstein_gradient(x, y, a, b, p, directions=theta, control=None, root=root)
    expected = moving.grad.numpy()
    assert found.value == pytest.approx(float(total.detach()), rel=1e-12)
    np.testing.assert_allclose(found.gradient, expected, atol=1e-10 * np.abs(expected).max())


@MODES
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 2, 50])
def test_indexed_sort(mode, dtype, n):
    for values in (
        np.random.default_rng(n).normal(size=(3, n)),
        np.random.default_rng(n).integers(0, 4, size=(3, n)),
    ):
        rows = np.ascontiguousarray(values, dtype=dtype)
        before, order = rows.copy(), np.full(rows.shape, -1, np.int32)
        bits = rows.view(f"i{rows.itemsize}")
        places = np.arange(n, dtype=np.int32)
        sort = kernel(sorting.sort_carrying_rows, mode)
        assert sort(rows, bits, places, 64, 100 * n, order) == -1
        np.testing.assert_array_equal(rows, np.sort(before, axis=1))
        np.testing.assert_array_equal(np.take_along_axis(before, order, axis=1), rows)
        np.testing.assert_array_equal(np.sort(order, axis=1)[0], np.arange(n))


def test_heavy_tails_fall_back():
    values = np.exp(np.random.default_rng(0).normal(scale=40, size=3000))
    rows = np.stack([values, values])
    order = sort_carrying(rows, np.arange(3000, dtype=np.int32))
    np.testing.assert_array_equal(rows, np.sort([values, values], axis=1))
    np.testing.assert_array_equal(values[order], rows)


@MODES
@pytest.mark.parametrize("p", [1.0, 2.0, 2.5])
def test_pulls(mode, p):
    x, y, _, _ = clouds(9, 9, 1, True)
    x, y = x.T.copy(), y.T.copy()
    orders = [np.argsort(v).astype(np.int32) for v in (x, y)]
    values = [np.take_along_axis(v, o, axis=1) for v, o in zip((x, y), orders, strict=True)]
    uniform = np.arange(1, 10)[np.newaxis] / 9
    costs, found = np.empty(1), np.empty((1, 9))
    kernel(pulls.equal_pulls, mode)(values[0], orders[0], values[1], p, costs, found)
    gap = values[0] - values[1]
    expected = np.empty((1, 9))
    expected[0, orders[0][0]] = (p * np.sign(gap) * np.abs(gap) ** (p - 1) / 9)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-13)
    assert costs[0] == pytest.approx(np.mean(np.abs(gap) ** p))
    again = np.empty((1, 9))
    weighted = kernel(pulls.weighted_pulls, mode)
    weighted(values[0], uniform, orders[0], values[1], uniform, p, costs, again)
    np.testing.assert_allclose(again, expected, rtol=1e-10)
    everyone = np.arange(9, dtype=np.int32)
    pattern = kernel(pulls.pattern_pulls, mode)
    mass = np.full(9, 1 / 9)
    pattern(values[0], orders[0], values[1], everyone, everyone, mass, p, costs, again)
    np.testing.assert_allclose(again, expected, rtol=1e-13)


@pytest.mark.parametrize("control", [None, "full"])
@pytest.mark.parametrize(("n", "weighted"), [(40, False), (25, True)])
def test_value_and_gradient_are_unbiased(control, n, weighted):
    x, y, a, b = clouds(n, 40, 4, weighted)
    exact = sliced_wasserstein(x, y, a, b, n=2**13, rng=1).power.value
    dense = directions(2**15, 4, "bank", 1)
    exact_gradient = sliced_wasserstein_gradient(x, y, a, b, directions=dense).gradient
    runs = [
        sliced_wasserstein_gradient(x, y, a, b, n=8, method="montecarlo", control=control, rng=s)
        for s in range(400)
    ]
    values = np.array([run.value for run in runs])
    assert abs(values.mean() - exact) < 4.5 * values.std() / 20 + 1e-6 * exact
    gradients = np.array([run.gradient for run in runs])
    z = (gradients.mean(axis=0) - exact_gradient) / (gradients.std(axis=0) / 20)
    assert np.abs(z).max() < 5.5


def test_gaussian_control_reduces_the_variance(mixture):
    x, y = mixture

    def spread(control):
        runs = [
            sliced_wasserstein_gradient(x, y, n=32, method="montecarlo", control=control, rng=s)
            for s in range(30)
        ]
        return np.var([run.gradient for run in runs], axis=0).sum()

    assert spread("full") < 0.5 * spread(None)


def test_points_without_weight_feel_nothing():
    x, y, a, _ = clouds(10, 8, 3, True)
    a[[2, 5]] = 0
    a /= a.sum()
    gradient = sliced_wasserstein_gradient(x, y, a, rng=0).gradient
    assert gradient.shape == (10, 3)
    assert (gradient[[2, 5]] == 0).all()
    assert (gradient[[0, 1]] != 0).all()


def test_equal_clouds_and_flat_clouds():
    x = np.random.default_rng(0).normal(size=(20, 4))
    value, gradient = sliced_wasserstein_gradient(x, x, root=True, rng=0)
    assert value == pytest.approx(0, abs=1e-7)
    assert np.isfinite(gradient).all()
    # One point has no extent: σ_X = 0 along every direction.
    value, gradient = sliced_wasserstein_gradient(x[:1], x, rng=0)
    gap = 2 * (x[0] - x.mean(axis=0)) / 4
    np.testing.assert_allclose(gradient[0], gap, rtol=0.2, atol=0.05)


@pytest.mark.parametrize("weighted", [False, True])
def test_threads_and_dtypes_change_nothing(weighted):
    x, y, a, b = clouds(3000, 2900, 3, weighted)
    options = {"n": 256, "rng": 3}
    one = sliced_wasserstein_gradient(x, y, a, b, **options)
    two = sliced_wasserstein_gradient(x, y, a, b, workers=2, **options)
    assert one.value == two.value
    np.testing.assert_array_equal(one.gradient, two.gradient)
    narrow = sliced_wasserstein_gradient(x.astype("f4"), y.astype("f4"), a, b, **options)
    np.testing.assert_allclose(narrow.gradient, one.gradient, atol=1e-6)
