"""ArviZ: what its converters make goes in as it is; what ArviZ itself computes agrees."""

import numpy as np
import pytest

import mcvar
from mcvar.control import SteinPolynomial

arviz = pytest.importorskip("arviz", reason="needs the extra `arviz`")

CHAINS, DRAWS = 4, 250
RNG = np.random.default_rng(1)
U = RNG.standard_normal((CHAINS, DRAWS, 3))  # mu, and two group effects, on the scale of sampling


def from_dict(groups):
    """Version 1 of ArviZ takes the groups as one dict, older ones as keywords."""
    if "InferenceData" in vars(arviz):  # hasattr would make version 1 warn
        return arviz.from_dict(**groups, coords={"group": ["A", "B"]}, dims={"theta": ["group"]})
    return arviz.from_dict(groups, coords={"group": ["A", "B"]}, dims={"theta": ["group"]})


@pytest.fixture(scope="module")
def idata():
    posterior = {"mu": 2 + 3 * U[..., 0], "theta": np.exp(0.3 * U[..., 1:])}
    stats = {"gradient": -U, "unconstrained_draw": U, "diverging": np.zeros((CHAINS, DRAWS), bool)}
    return from_dict({"posterior": posterior, "sample_stats": stats})


def test_names_values_and_truth(idata):
    table = mcvar.summary(idata, control=SteinPolynomial(2))
    assert table.names == ("mu", "theta[A]", "theta[B]")
    exact = [2, np.exp(0.045), np.exp(0.045)]
    assert (np.abs(table.controlled_mean - exact) < 4 * table.controlled_se + 1e-12).all()
    assert (table.gain > 10).all()


def test_plain_columns_are_those_of_arviz(idata):
    table = mcvar.summary(idata, control=SteinPolynomial(1)).to_pandas()
    theirs = arviz.summary(idata, var_names=["mu", "theta"], round_to="none")
    np.testing.assert_allclose(table["mean"], theirs["mean"].astype(float), rtol=1e-10)
    np.testing.assert_allclose(table["sd"], theirs["sd"].astype(float), rtol=1e-2)
    # Of independent draws; ours allows for the tail and for what batches show.
    ratio = table["mcse"] / theirs["mcse_mean"].astype(float)
    assert ((ratio > 0.75) & (ratio < 1.6)).all()


def test_functions_see_variables_as_arviz_names_them(idata):
    table = mcvar.summary(
        idata,
        functions={"ratio": lambda p: p["theta"][..., 0] / p["theta"][..., 1]},
        control=SteinPolynomial(2),
    )
    row = table["ratio"]
    assert abs(row.controlled_mean - np.exp(0.09)) < 4 * row.controlled_se


def test_without_gradients_it_says_where_they_come_from():
    bare = from_dict({"posterior": {"mu": U[..., 0], "theta": U[..., 1:]}})
    with pytest.raises(ValueError, match=r"nutpie.*store_gradient.*BlackJAX"):
        mcvar.summary(bare)
