"""Kernels compiled, interpreted, and against their slow twins."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
import naive_sliced

from mcvar._jit import sorting, wasserstein
from mcvar.sliced.projection import Cloud, sort_projections, uniform_levels

MODES = pytest.mark.parametrize("mode", ["compiled", "python"])


def kernel(function, mode):
    return function if mode == "compiled" else function.py_func


def as_bits(values):
    return values.view(f"i{values.itemsize}")


def rows(n, kind, dtype=np.float64, count=3):
    rng = np.random.default_rng(n)
    values = {
        "normal": rng.normal(size=(count, n)),
        "ties": rng.integers(0, 5, size=(count, n)).astype(float),
        "equal": np.full((count, n), 2.5),
        "negative zero": rng.choice([0.0, -0.0, 1e-30], size=(count, n)),
        "far": 1e9 + rng.normal(size=(count, n)),
        "sorted": np.sort(rng.normal(size=(count, n)), axis=1),
    }[kind]
    return np.ascontiguousarray(values, dtype=dtype)


@MODES
@pytest.mark.parametrize("kind", ["normal", "ties", "equal", "negative zero", "far", "sorted"])
@pytest.mark.parametrize("n", [1, 2, 3, 100])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sort_rows(mode, kind, n, dtype):
    values = rows(n, kind, dtype)
    expected = values.copy()
    naive_sliced.sort_rows(expected)
    long = values.copy()
    assert kernel(sorting.sort_rows, mode)(values, as_bits(values), 64, 100 * n) == -1
    np.testing.assert_array_equal(values, expected)
    assert kernel(sorting.sort_long_rows, mode)(long, as_bits(long), 6, 100 * n) == -1
    np.testing.assert_array_equal(long, expected)


@MODES
@pytest.mark.parametrize("kind", ["normal", "equal", "far"])
def test_sorting_keeps_labels_with_their_values(mode, kind):
    values, weights = rows(50, kind), np.random.default_rng(0).dirichlet(np.ones(50))
    levels, before = np.empty_like(values), values.copy()
    sort = kernel(sorting.sort_carrying_rows, mode)
    assert sort(values, as_bits(values), weights, 32, 5000, levels) == -1
    kernel(sorting.accumulate_rows, mode)(levels)
    assert (levels[:, -1] == 1).all()
    carried = np.diff(levels, prepend=0)
    for row in range(len(values)):
        assert (np.diff(values[row]) >= 0).all()
        for value in np.unique(before[row]):
            mass = weights[before[row] == value].sum()
            assert carried[row][values[row] == value].sum() == pytest.approx(mass, abs=1e-13)


@MODES
@pytest.mark.parametrize("name", ["sort_rows", "sort_long_rows", "sort_carrying_rows"])
def test_sorting_gives_up_on_heavy_tails_and_on_ranges_without_a_scale(mode, name):
    weights = np.random.default_rng(1).random(400)

    def sort(values, digits, most_moves):
        function = kernel(getattr(sorting, name), mode)
        if name == "sort_long_rows":
            return function(values, as_bits(values), digits, most_moves)
        if name == "sort_rows":
            return function(values, as_bits(values), 4**digits, most_moves)
        some, levels = weights[: values.shape[1]], np.empty(values.shape)
        row = function(values, as_bits(values), some, 4**digits, most_moves, levels)
        assert sorted(levels[row]) == sorted(some)
        return row

    crowd = rows(400, "normal")
    crowd[1] = np.random.default_rng(3).normal(size=400) * 1e-9
    crowd[1, 0] = 1e9
    before = crowd[1].copy()
    assert sort(crowd, 4, 400) == 1
    assert sorted(before) == sorted(crowd[1])
    assert sort(np.array([[0.0, 1e-320]]), 4, 100) == 0
    with np.errstate(over="ignore"):
        assert sort(np.array([[-1e308, 1e308]]), 4, 100) == 0


@pytest.mark.parametrize("weighted", [False, True])
def test_rows_the_kernel_gives_up_on_are_sorted_all_the_same(weighted):
    rng = np.random.default_rng(4)
    # Cauchy tails squeeze nearly all values into one cell.
    points = np.tan(np.pi * (rng.random((3, 20_000)) - 0.5)) ** 5
    weights = rng.random(20_000)
    cloud = Cloud(points, weights / weights.sum() if weighted else None)
    theta = np.concatenate([np.eye(3), -np.eye(3)])
    found = sort_projections(cloud, theta)
    order = np.argsort(theta @ points, axis=1)
    np.testing.assert_array_equal(found.values, np.sort(theta @ points, axis=1))
    if weighted:
        levels = np.cumsum(cloud.weights[order], axis=1)
        np.testing.assert_allclose(found.levels, levels, rtol=0, atol=1e-13)
        assert (found.levels[:, -1] == 1).all()


@MODES
@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("n", [1, 3, 300])
def test_equal_costs(mode, p, n):
    x, y = np.sort(rows(n, "normal")), np.sort(rows(n, "far") - 1e9)
    out = np.empty(3)
    kernel(wasserstein.equal_costs, mode)(x, y, p, out)
    weights = np.full(n, 1 / n)
    expected = [naive_sliced.cost(x[k], y[k], weights, weights, p) for k in range(3)]
    np.testing.assert_allclose(out, expected, rtol=1e-12)


@MODES
@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 7), (6, 4), (5, 7), (300, 131)])
def test_pattern_costs(mode, n, m):
    i_of, j_of, mass = kernel(wasserstein.uniform_pattern, mode)(n, m)
    np.testing.assert_allclose(np.bincount(i_of, mass), 1 / n, rtol=1e-13)
    np.testing.assert_allclose(np.bincount(j_of, mass), 1 / m, rtol=1e-13)
    x, y = np.sort(rows(n, "normal")), np.sort(rows(m, "normal"))
    out = np.empty(3)
    kernel(wasserstein.pattern_costs, mode)(x, y, i_of, j_of, mass, 2.0, out)
    expected = [naive_sliced.uniform_cost(x[k], y[k], 2) for k in range(3)]
    np.testing.assert_allclose(out, expected, rtol=1e-13)


@MODES
@pytest.mark.parametrize("p", [1.0, 2.0, 2.5])
@pytest.mark.parametrize(("n", "m"), [(1, 5), (40, 40), (30, 300)])
def test_weighted_costs(mode, p, n, m):
    rng = np.random.default_rng(5)
    x, y = np.sort(rows(n, "normal")), np.sort(rows(m, "normal"))
    a, b = rng.dirichlet(np.ones(n), 3), rng.dirichlet(np.ones(m), 3)
    u, v = np.cumsum(a, axis=1), np.cumsum(b, axis=1)
    u[:, -1] = v[:, -1] = 1.0
    out = np.empty(3)
    kernel(wasserstein.weighted_costs, mode)(x, u, y, v, p, out)
    expected = [naive_sliced.cost(x[k], y[k], a[k], b[k], p) for k in range(3)]
    np.testing.assert_allclose(out, expected, rtol=1e-10)
    kernel(wasserstein.weighted_costs, mode)(x, uniform_levels(n), y, v, p, out)
    even = np.full(n, 1 / n)
    expected = [naive_sliced.cost(x[k], y[k], even, b[k], p) for k in range(3)]
    np.testing.assert_allclose(out, expected, rtol=1e-10)
