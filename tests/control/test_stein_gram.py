"""Stein kernel matrices against the definition of the operators, for every base kernel."""

import numpy as np
import pytest
from scipy import integrate, stats

from mcvar._jit import stein
from mcvar.control import kernels, stein_gram
from mcvar.control.stein_gram import SteinGram
from tests import naive_stein

SCALE = 1.3
KERNELS = {
    "gaussian": (kernels.Gaussian(SCALE), naive_stein.gaussian),
    "matern52": (kernels.Matern(SCALE), naive_stein.matern52),
    "matern92": (kernels.Matern(SCALE, nu=4.5), naive_stein.matern92),
    "rational": (kernels.RationalQuadratic(SCALE, alpha=1.5), naive_stein.rational_quadratic),
    "multiquadric": (kernels.InverseMultiquadric(SCALE), naive_stein.inverse_multiquadric),
    "product": (kernels.Product(SCALE, a=0.3), naive_stein.product),
}


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", KERNELS)
def test_matrix_is_the_operator_on_the_kernel(name, order):
    kernel, function = KERNELS[name]
    rng = np.random.default_rng(1)
    x, s = rng.normal(size=(4, 2)), rng.normal(size=(4, 2))
    gram = SteinGram(kernel, order)
    operator = naive_stein.first_order if order == 1 else naive_stein.second_order
    expected = np.empty((4, 4))
    for i in range(4):
        for j in range(4):
            expected[i, j] = operator(
                lambda p, q: function(p, q, naive_stein.LONG(SCALE)),
                *(np.asarray(part, naive_stein.LONG) for part in (x[i], s[i], x[j], s[j])),
            )
    # Half-integer Matérn kernels have no fifth derivative at distance zero: coarser differences.
    smooth = not name.startswith("matern")
    found = gram.matrix(gram.at(x, s))
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7 if smooth else 0.15)
    off = ~np.eye(4, dtype=bool)
    np.testing.assert_allclose(found[off], expected[off], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("order", [1, 2])
def test_diagonal_is_the_limit_of_the_matrix(name, order):
    rng = np.random.default_rng(2)
    x, s = rng.normal(size=(5, 3)), rng.normal(size=(5, 3))
    gram = SteinGram(KERNELS[name][0], order)
    near = gram.cross(gram.at(x, s), gram.at(x + 1e-7, s))
    np.testing.assert_allclose(gram.diagonal(gram.at(x, s)), np.diagonal(near), rtol=1e-5)


@pytest.mark.parametrize("d", [1, 3])
def test_second_order_gaussian_has_its_published_form(d):
    rng = np.random.default_rng(3)
    x, s = rng.normal(size=(150, d)), rng.normal(size=(150, d))
    gram = SteinGram(kernels.Gaussian(0.8), order=2)
    expected = naive_stein.gaussian_second_order_matrix(x, s, 0.8)
    np.testing.assert_allclose(
        gram.matrix(gram.at(x, s)), expected, atol=1e-13 * np.abs(expected).max()
    )


@pytest.mark.parametrize("order", [1, 2])
def test_tiles_and_layouts_do_not_show(order):
    rng = np.random.default_rng(4)
    x, s = rng.normal(size=(700, 2)), rng.normal(size=(700, 2))
    gram = SteinGram(kernels.RationalQuadratic(1.0), order)
    points = gram.at(np.asfortranarray(x), s[::-1][::-1])
    whole = gram.matrix(points)
    np.testing.assert_allclose(gram.cross(points, points), whole, rtol=1e-9, atol=1e-9)
    single = gram.cross(points.part(slice(650, 651)), points.part(slice(100, 600)))
    np.testing.assert_allclose(single[0], whole[650, 100:600], rtol=1e-9, atol=1e-10)
    assert np.linalg.eigvalsh(whole).min() > -1e-9 * np.trace(whole)


@pytest.mark.parametrize("order", [1, 2])
def test_kernels_as_python_agree(order):
    rng = np.random.default_rng(5)
    x, s = rng.normal(size=(6, 2)), rng.normal(size=(6, 2))
    gram = SteinGram(kernels.Product(1.0), order)
    rows, columns = gram.at(x[:4], s[:4]), gram.at(x[2:], s[2:])
    expected = gram.cross(rows, columns)
    kernel = stein.first_order if order == 1 else stein.second_order
    p, q = 4, 4
    left, right = (np.vstack([part.both[:, 0], part.both[:, 1]]) for part in (rows, columns))
    t = ((rows.both[:, np.newaxis, 0] - columns.both[:, 0]) ** 2).sum(axis=2)
    kappa = np.empty((5 if order == 2 else 3, p, q))
    gram.kernel.profile(t, kappa)
    out = np.empty((p, q))
    extra = (rows.c, columns.c) if order == 2 else ()
    kernel.py_func(
        t, kappa, left @ right.T, rows.own, columns.own, rows.g, columns.g, *extra, 2, out
    )
    np.testing.assert_allclose(out, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", KERNELS)
def test_slope_is_that_of_differences(name, order):
    kernel = KERNELS[name][0]
    rng = np.random.default_rng(6)
    x, s = rng.normal(size=(90, 2)), rng.normal(size=(90, 2))
    gram = SteinGram(kernel, order)
    matrix, slope = gram.matrix_and_slope(gram.at(x, s))
    sides = []
    for step in (1e-5, -1e-5):
        moved = kernels.with_length_scale(kernel, SCALE * np.exp(step), exactly=True)
        moved = SteinGram(moved, order)
        sides.append(moved.matrix(moved.at(x, s)))
    np.testing.assert_array_equal(matrix, gram.matrix(gram.at(x, s)))
    difference = (sides[0] - sides[1]) / 2e-5
    np.testing.assert_allclose(slope, difference, atol=1e-8 * np.abs(slope).max())


@pytest.mark.parametrize("order", [1, 2])
def test_slope_as_python_agrees(order, monkeypatch):
    rng = np.random.default_rng(7)
    x, s = rng.normal(size=(5, 2)), rng.normal(size=(5, 2))
    gram = SteinGram(kernels.Product(1.0), order)
    compiled = gram.matrix_and_slope(gram.at(x, s))[1]
    value, slope = stein_gram._kernels(order)
    monkeypatch.setattr(stein_gram, "_kernels", lambda _: (value.py_func, slope.py_func))
    np.testing.assert_allclose(gram.matrix_and_slope(gram.at(x, s))[1], compiled, rtol=1e-12)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", KERNELS)
def test_expectation_is_zero_under_the_target(name, order):
    law = stats.t(6)
    gram = SteinGram(KERNELS[name][0], order)
    centre = gram.at(np.array([[0.4]]), np.array([[-0.7]]))

    def integrand(value):
        x = np.array([[value]])
        score = -7 * x / (6 + x**2)
        return gram.cross(gram.at(x, score), centre)[0, 0] * law.pdf(value)

    parts = [(-np.inf, -5), (-5, 0.4), (0.4, 5), (5, np.inf)]
    total = sum(integrate.quad(integrand, a, b, epsabs=1e-10)[0] for a, b in parts)
    assert abs(total) < 1e-7


def test_kernels_say_what_is_wrong():
    with pytest.raises(ValueError, match="length_scale must be a positive number, got -1"):
        kernels.Gaussian(-1)
    with pytest.raises(ValueError, match=r"nu must be 2.5 or 4.5, got 1.5"):
        kernels.Matern(nu=1.5)
    with pytest.raises(TypeError, match="is the class Gaussian"):
        kernels.as_kernel(kernels.Gaussian)
    with pytest.raises(TypeError, match=r"must be one of mcvar\.control\.kernels"):
        kernels.as_kernel("gaussian")
