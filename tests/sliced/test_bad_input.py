"""Each wrong input is a clear error."""

import numpy as np
import pytest

import mcvar
from mcvar.sliced import (
    SlicedReference,
    max_sliced_wasserstein,
    pairwise_sliced_wasserstein,
    sliced_wasserstein_distance,
    sliced_wasserstein_gaussian,
)

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(20, 3)), RNG.normal(size=(15, 3))
NAN, INF = X.copy(), X.astype(np.float32)
NAN[3, 1], INF[2, 0] = np.nan, np.inf

ENTRIES = {
    "distance": lambda x, y, a, p: mcvar.sliced_wasserstein(x, y, a, p=p),
    "pot": lambda x, y, a, p: sliced_wasserstein_distance(x, y, a, p=p),
    "reference": lambda x, y, a, p: SlicedReference(y, p=p).distance(x, a),
    "pairwise": lambda x, y, a, p: pairwise_sliced_wasserstein([x, y], [a, None], p=p),
    "maximum": lambda x, y, a, p: max_sliced_wasserstein(x, y, a, p=p),
}


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize(
    ("x", "a", "p", "message"),
    [
        (NAN, None, 2, r"nan at index \(3, 1\)"),
        (INF, None, 2, r"inf at index \(2, 0\)"),
        (X, np.full(20, 0.1), 2, "sums to 2"),
        (X, np.r_[np.full(18, 0.1), -0.4, -0.4], 2, "weights are >= 0"),
        (X, np.full(19, 1 / 19), 2, r"must have shape \(20,\)"),
        (X, np.full(20, np.nan), 2, "nan at index"),
        (X[:, :2], None, 2, "dimension"),
        (np.empty((0, 3)), None, 2, r"must have shape \(n, d\)"),
        (X[np.newaxis], None, 2, r"must have shape \(n, d\)"),
        (X, None, 0.5, "p must be a number of at least 1"),
        (X, None, np.nan, "nan"),
    ],
)
def test_values(entry, x, a, p, message):
    with pytest.raises(ValueError, match=message):
        ENTRIES[entry](x, Y, a, p)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n": 0}, ValueError, "n must be at least 1"),
        ({"n": 2.5}, TypeError, "whole number"),
        ({"method": "orthogonol"}, ValueError, "did you mean 'orthogonal'"),
        ({"control": "lover"}, ValueError, "did you mean 'lower'"),
        ({"control": 3}, TypeError, "control must be"),
        ({"control": "lower", "p": 1}, ValueError, "p = 2 only"),
        ({"control": "harmonics", "n": 9}, ValueError, "too few"),
        ({"rtol": 0}, ValueError, "rtol must lie"),
        ({"rtol": 0.1, "n": 1}, ValueError, "at least two directions"),
        ({"workers": 0}, ValueError, "workers must be at least 1"),
        ({"rng": "seed"}, TypeError, "rng must be"),
    ],
)
def test_options(options, error, message):
    with pytest.raises(error, match=message):
        mcvar.sliced_wasserstein(X, Y, **options)


def test_dimensions_beyond_a_control_or_a_design():
    wide = RNG.normal(size=(5, 40))
    with pytest.raises(ValueError, match="d <= 24"):
        mcvar.sliced_wasserstein(wide, wide + 1, control="cumulants")
    with pytest.raises(ValueError, match="d = 2 and 3"):
        mcvar.sliced_wasserstein(wide, wide + 1, method="spiral")


@pytest.mark.parametrize(
    ("projections", "message"),
    [
        (np.eye(4), r"shape \(d, L\) with d = 3"),
        (np.ones(3), r"shape \(d, L\)"),
        (2 * np.eye(3), "unit columns; column 0 has length 2"),
        (np.full((3, 2), np.nan), "nan at index"),
    ],
)
def test_projections(projections, message):
    with pytest.raises(ValueError, match=message):
        sliced_wasserstein_distance(X, Y, projections=projections)


@pytest.mark.parametrize(
    ("moments", "message"),
    [
        (([0, 0], np.eye(2), [0], np.eye(1)), "same shape"),
        (([0, 0], np.eye(3), [0, 0], np.eye(2)), r"C1 must have shape \(2, 2\)"),
        (([0, 0], np.eye(2), [0, 0], [[1, 1], [0, 1]]), "C2 must be symmetric"),
        (([0, 0], -np.eye(2), [0, 0], np.eye(2)), "positive semi-definite"),
    ],
)
def test_gaussian(moments, message):
    with pytest.raises(ValueError, match=message):
        sliced_wasserstein_gaussian(*moments)


def test_collections():
    with pytest.raises(ValueError, match="empty"):
        pairwise_sliced_wasserstein([])
    with pytest.raises(ValueError, match="1 entries for 2 clouds"):
        pairwise_sliced_wasserstein([X, Y], [None])


@pytest.mark.parametrize(("x", "y"), [(X[:1], Y), (X, Y[:1]), (X[:1], Y[:1])])
def test_single_points_are_right(x, y):
    est = mcvar.sliced_wasserstein(x, y, n=256, rng=0)
    expected = ((x[:, np.newaxis] - y[np.newaxis]) ** 2).sum(axis=2).mean() / 3
    assert est.power.value == pytest.approx(expected, rel=1e-8)


def test_duplicate_points_and_constant_clouds():
    x = np.repeat(X[:2], 10, axis=0)
    est = mcvar.sliced_wasserstein(x, X[:2], rng=0)
    assert est.value == pytest.approx(0, abs=1e-7)
    same = mcvar.sliced_wasserstein(np.ones((5, 4)), np.zeros((7, 4)), rng=0)
    assert same.value == pytest.approx(1.0, rel=1e-10)
