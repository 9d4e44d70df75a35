"""Posterior draws in all the forms users have them, and every form that cannot be used."""

import numpy as np
import pytest

import mcvar
from mcvar.control import SteinPolynomial

CHAINS, DRAWS = 4, 50
FAST = SteinPolynomial(1)


def posterior(seed=1):
    """Draws of u = (mu, log sigma) and their scores; sigma = exp(u₂) is what users want."""
    u = np.random.default_rng(seed).standard_normal((CHAINS, DRAWS, 2)) * [1.0, 0.3]
    return u, -u / np.array([1.0, 0.09])


def summary(*args, **options):
    return mcvar.summary(*args, **{"control": FAST, **options})


def reference():
    u, s = posterior()
    x = np.stack([u[..., 0], np.exp(u[..., 1])], axis=-1)
    return summary(u, s, constrained=x, names=["mu", "sigma"])


def check_same(table, names=("mu", "sigma")):
    assert table.names == names
    expected = reference()
    np.testing.assert_allclose(table.controlled_mean, expected.controlled_mean, rtol=1e-12)
    np.testing.assert_allclose(table.controlled_se, expected.controlled_se, rtol=1e-9)


def test_a_function_of_the_draws_in_place_of_constrained_values():
    u, s = posterior()

    def to_sigma(x):
        return np.stack([x[:, 0], np.exp(x[:, 1])], axis=1)

    check_same(summary(u, s, constrained=to_sigma, names=["mu", "sigma"]))
    check_same(summary(u, s, constrained=lambda x: {"mu": x[:, 0], "sigma": np.exp(x[:, 1])}))


def test_dicts_of_variables():
    u, s = posterior()
    draws = {"mu": u[..., 0], "sigma": u[..., 1]}
    scores = {"mu": s[..., 0], "sigma": s[..., 1]}
    found = summary(draws, scores, constrained=lambda p: {**p, "sigma": np.exp(p["sigma"])})
    check_same(found)
    check_same(
        summary(
            {
                "posterior": {"mu": u[..., 0], "sigma": np.exp(u[..., 1])},
                "sample_stats": {"unconstrained_draw": u, "gradient": s},
            }
        )
    )


def groups():
    u, s = posterior()
    xarray = pytest.importorskip("xarray", reason="needs the extra arviz")
    dims = ("chain", "draw")
    values = {"mu": (dims, u[..., 0]), "sigma": (dims, np.exp(u[..., 1]))}
    stats = {
        "gradient": ((*dims, "unconstrained_parameter"), s),
        "unconstrained_draw": ((*dims, "unconstrained_parameter"), u),
    }
    return xarray, xarray.Dataset(values), xarray.Dataset(stats)


def test_inference_data():
    arviz = pytest.importorskip("arviz", reason="needs the extra arviz")
    if "InferenceData" not in vars(arviz):  # hasattr would make version 1 warn
        pytest.skip("this ArviZ has no InferenceData: version 1 uses DataTree")
    _, values, stats = groups()
    check_same(summary(arviz.InferenceData(posterior=values, sample_stats=stats)))


def test_data_tree():
    xarray, values, stats = groups()
    tree = xarray.DataTree.from_dict({"posterior": values, "sample_stats": stats})
    check_same(summary(tree))
    # Dimensions may come in any order.
    turned = values.transpose("draw", "chain")
    check_same(summary(xarray.DataTree.from_dict({"posterior": turned, "sample_stats": stats})))


def test_components_are_named_by_their_coordinates():
    xarray = pytest.importorskip("xarray", reason="needs the extra arviz")
    u, s = posterior()
    school = xarray.DataArray(
        u, dims=("chain", "draw", "school"), coords={"school": ["Eton", "Rugby"]}
    )
    table = summary(xarray.Dataset({"theta": school}), s)
    assert table.names == ("theta[Eton]", "theta[Rugby]")
    assert summary(u, s).names == ("x[0]", "x[1]")
    assert summary({"a": u[..., 0], "b": u[..., 1]}, s, names=["b"]).names == ("b",)


def test_functions_of_named_variables():
    u, s = posterior()
    table = summary(
        {"mu": u[..., 0], "eta": u[..., 1:]},
        s,
        functions={
            "P(mu>0)": lambda p: p["mu"] > 0,
            "shifted": lambda p: p["eta"] + np.array([1.0]),
        },
    )
    assert table.names == ("mu", "eta[0]", "P(mu>0)", "shifted[0]")
    assert table["P(mu>0)"].mean == pytest.approx((u[..., 0] > 0).mean(), rel=1e-12)
    assert table["shifted[0]"].controlled_mean == pytest.approx(1.0, abs=1e-9)


def test_one_chain_may_come_without_its_axis():
    u, s = posterior()
    assert summary(u[0], s[0]).chains == 1


U, S = posterior()


@pytest.mark.parametrize(
    ("args", "options", "message"),
    [
        ((U,), {}, "grad_logpdf is missing.* nutpie.*jax.grad.*BridgeStan"),
        ((U, S[:2]), {}, r"grad_logpdf has shape \(2, 50, 2\); expected that of x, \(4, 50, 2\)"),
        ((U[0, 0], S[0, 0]), {}, r"x has shape \(2,\); expected \(chains, draws, d\)"),
        (([U[0], U[1, :9]], S), {}, r"x holds chains of unequal lengths \[50, 9\]"),
        ((np.where(U > 2, np.nan, U), S), {}, "x holds nan at index"),
        ((U, np.where(U > 2, np.inf, S)), {}, "grad_logpdf holds inf at index"),
        ((U * [1, 0], S), {}, "coordinate 1 of the draws is constant"),
        ((U[..., [0, 0]], S), {}, "coordinates 0 and 1"),
        ((U[:, :1], S[:, :1]), {}, "4 draws are too few for 5 folds"),
        ((U, S), {"names": ["a"]}, "names has 1 entries"),
        ((U, S), {"names": ["a", "a"]}, r"\(1 distinct\); expected 2"),
        ((U, S), {"constrained": U[:2]}, r"expected \(4, 50, k\)"),
        ((U, S), {"constrained": lambda x: x[:3]}, r"constrained\(x\) has shape \(3, 2\)"),
        ((U, S), {"weights": np.ones(7)}, r"weights have shape \(7,\); expected \(4, 50\)"),
        ((U, S), {"functions": {"f": lambda p: p["y"]}}, "function 'f' asks for 'y'; there are x"),
        ((U, S), {"functions": {"f": lambda p: p["x"].mean()}}, r"f has shape \(\); expected"),
        ((U, S), {"functions": {"x": lambda p: p["x"]}}, "has the name of a variable"),
        (({"a": U[..., 0]}, S), {}, "have 2 coordinates and the posterior 1 values per draw"),
        (({"a": U[..., 0], "b": U[:, :9, 1]}, S), {}, r"b has shape \(4, 9\).* as a has"),
        (({"a": U},), {}, "no gradients: .* sample_stats is missing"),
        (({"a": U}, {"b": S}), {}, r"disagree on \['a', 'b'\]"),
        (({"a": U}, S), {"names": ["b"]}, "no variable 'b'; there are a"),
        (({"sample_stats": {"grad": S}},), {}, "'sample_stats' and no group 'posterior'"),
        (({"posterior": {"a": U}, "sample_stats": {"lp": U}},), {}, r"sample_stats holds \['lp'\]"),
        (({"posterior": {}, "sample_stats": {"grad": S}},), {}, "holds no variables"),
    ],
)
def test_what_cannot_be_used_is_told(args, options, message):
    with pytest.raises(ValueError, match=message):
        summary(*args, **options)


def test_types_that_cannot_be_used_are_told():
    with pytest.raises(TypeError, match="functions must be a dict"):
        summary(U, S, functions=[np.exp])
    with pytest.raises(TypeError, match="constrained must give a dict"):
        summary({"a": U}, S, constrained=lambda p: p["a"])
    with pytest.raises(TypeError, match="give the object"):
        summary(U, S, control="SteinKernel")


def test_an_arviz_object_without_the_group():
    xarray, values, stats = groups()
    with pytest.raises(ValueError, match="no group 'posterior'; expected both"):
        summary(xarray.DataTree.from_dict({"sample_stats": stats}))
    tree = xarray.DataTree.from_dict({"posterior": values})
    with pytest.raises(ValueError, match=r"sample_stats is missing.*store_gradient=True"):
        summary(tree)
    with pytest.raises(ValueError, match="expected 'chain' and 'draw' too"):
        summary(values.isel(chain=0), S)


def test_gradients_of_the_unconstrained_scale_with_constrained_draws():
    rng = np.random.default_rng(2)
    u = rng.standard_normal((4, 500, 1))
    with pytest.raises(mcvar.ScoreError, match="scores on the unconstrained scale look like this"):
        summary({"sigma": np.exp(u)}, -u)
