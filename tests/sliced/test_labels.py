"""Labelled clouds: coordinates are matched by name."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import mcvar
from mcvar.exceptions import MagnitudeError
from mcvar.sliced import (
    SlicedReference,
    barycenter,
    gradient_flow,
    max_sliced_wasserstein,
    pairwise_sliced_wasserstein,
    sliced_wasserstein_distance,
    sliced_wasserstein_gradient,
)

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(30, 3)) * [1, 5, 25], RNG.normal(size=(20, 3)) * [1, 5, 25]

VERBS = {
    "distance": lambda x, y: mcvar.sliced_wasserstein(x, y, rng=0).value,
    "gradient": lambda x, y: sliced_wasserstein_gradient(x, y, rng=0).value,
    "pot": lambda x, y: sliced_wasserstein_distance(x, y, seed=0),
    "maximum": lambda x, y: max_sliced_wasserstein(x, y, rng=0, restarts=1).value,
    "pairwise": lambda x, y: pairwise_sliced_wasserstein([x, y], rng=0)[0, 1],
    "reference": lambda x, y: SlicedReference(x, rng=0).distance(y),
    "flow": lambda x, y: gradient_flow(x, y, 1, 0.1, rng=0).history[0],
    "barycenter": lambda x, y: barycenter([x, y], steps=1, rng=0).history[0],
}


@pytest.mark.parametrize("verb", VERBS)
def test_columns_in_any_order(verb):
    x, y = (pd.DataFrame(values, columns=list("abc")) for values in (X, Y))
    assert VERBS[verb](x, y[["c", "a", "b"]]) == pytest.approx(VERBS[verb](X, Y), rel=1e-12)
    with pytest.raises(ValueError, match=r"expected the same names"):
        VERBS[verb](x, y.rename(columns={"a": "z"}))


def test_xarray_by_dimensions_and_labels():
    x = xr.DataArray(X, dims=("draw", "axis"), coords={"axis": list("abc")})
    y = xr.DataArray(Y, dims=("point", "axis"), coords={"axis": list("abc")})
    expected = mcvar.sliced_wasserstein(X, Y, rng=0).value
    for other in (y, y.T, y[:, [2, 0, 1]], y.drop_vars("axis").T):
        assert mcvar.sliced_wasserstein(x, other, rng=0).value == pytest.approx(expected, rel=1e-12)
    with pytest.raises(ValueError, match="the dimension of X's coordinates"):
        mcvar.sliced_wasserstein(x, y.rename(axis="other"), rng=0)
    with pytest.raises(ValueError, match="expected the same names"):
        mcvar.sliced_wasserstein(x, y.assign_coords(axis=list("abz")), rng=0)


def test_numbers_and_names_of_pot():
    found = mcvar.sliced_wasserstein(X, Y, rng=4, n=32)
    assert float(found) == found.value
    assert mcvar.sliced_wasserstein(X, Y, seed=4, n_projections=32).value == found.value
    one, two = (
        mcvar.sliced_wasserstein(X, Y, seed=np.random.RandomState(4)).value for _ in range(2)
    )
    assert one == two
    with pytest.raises(ValueError, match="rng or seed, not both"):
        mcvar.sliced_wasserstein(X, Y, seed=1, rng=1)


@pytest.mark.parametrize("n", [1, 2, 7, 10, 13, 37, 127, 300])
@pytest.mark.parametrize("d", [2, 3, 5, 17, 200])
def test_n_directions_are_n(n, d):
    x, y = RNG.normal(size=(2, 400, d))
    for method in ("auto", "orthogonal"):
        found = mcvar.sliced_wasserstein(x, y, n=n, method=method, control=None, rng=0)
        assert found.n == len(found.directions) == n


def test_coordinates_that_numbers_do_not_resolve():
    far = np.array([[10**16 + 1, 0], [10**16 + 3, 0]])
    with pytest.raises(MagnitudeError, match="integers beyond 2"):
        mcvar.sliced_wasserstein(far, far)
    with pytest.raises(MagnitudeError, match="subtract an offset"):
        mcvar.sliced_wasserstein(X + 1e16, Y + 1e16)
    narrow = X.astype(np.float32) + np.float32(1e7)
    with pytest.raises(MagnitudeError, match="float32 are 1 apart"):
        mcvar.sliced_wasserstein(narrow, narrow[:20])
