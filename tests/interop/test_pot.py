"""POT: its function and ours can take each other's place, arguments and all."""

import inspect

import numpy as np
import ot
import pytest

from mcvar.sliced import sliced_wasserstein_distance

RNG = np.random.default_rng(1)
X, Y = RNG.normal(size=(60, 3)), RNG.normal(1, 2, size=(40, 3))
A = RNG.dirichlet(np.ones(60))


def program(sliced_wasserstein_distance):
    """What somebody wrote for POT."""
    plain = sliced_wasserstein_distance(X, Y, seed=0)
    positional = sliced_wasserstein_distance(X, Y, A, None, 20, 1, None, 7)
    value, log = sliced_wasserstein_distance(X, Y, n_projections=11, seed=3, log=True)
    again = sliced_wasserstein_distance(X, Y, projections=log["projections"])
    return np.array([plain, positional, value, again, *log["projected_emds"]])


def test_a_program_gives_the_same_numbers():
    np.testing.assert_allclose(
        program(sliced_wasserstein_distance), program(ot.sliced_wasserstein_distance), rtol=1e-10
    )


def test_every_argument_of_theirs_is_one_of_ours():
    ours = inspect.signature(sliced_wasserstein_distance).parameters
    theirs = inspect.signature(ot.sliced_wasserstein_distance).parameters
    assert list(ours)[: len(theirs)] == list(theirs)
    for name, parameter in theirs.items():
        assert ours[name].default == parameter.default


class Scaler:
    def transform(self, x):
        return x * [1.0, 0.5, 0.1]


@pytest.mark.parametrize("scaler", [Scaler(), Scaler().transform], ids=["object", "function"])
def test_a_scaler_goes_first(scaler):
    scaled = sliced_wasserstein_distance(X, Y, seed=0, scaler=scaler)
    change = Scaler().transform
    assert scaled == sliced_wasserstein_distance(change(X), change(Y), seed=0)
    if "scaler" in inspect.signature(ot.sliced_wasserstein_distance).parameters:
        theirs = ot.sliced_wasserstein_distance(X, Y, seed=0, scaler=scaler)
        assert scaled == pytest.approx(theirs, rel=1e-10)


def test_a_scaler_that_is_none():
    with pytest.raises(ValueError, match="scaler must be None, callable or have transform"):
        sliced_wasserstein_distance(X, Y, scaler="standard")
