"""pandas and xarray: their tables go in wherever arrays do, and results come out as tables."""

import numpy as np
import pytest

import mcvar
from mcvar.control import SteinPolynomial

pandas = pytest.importorskip("pandas", reason="needs the extra `arviz`")
xarray = pytest.importorskip("xarray", reason="needs the extra `arviz`")

RNG = np.random.default_rng(1)
X = RNG.standard_normal((400, 2))
Y = np.exp(X[:, 0] / 2) + X[:, 1]
FRAME = pandas.DataFrame(X, columns=["mu", "tau"], index=RNG.permutation(400) + 1000)
SERIES = pandas.Series(Y, index=FRAME.index, name="cost")
ARRAY = xarray.DataArray(X, dims=("draw", "parameter"), coords={"parameter": ["mu", "tau"]})


def same(found, expected):
    # Tables keep columns together, arrays rows: sums differ in the last bits.
    assert found.value == pytest.approx(expected.value, rel=1e-12)
    assert found.standard_error == pytest.approx(expected.standard_error, rel=1e-12)


@pytest.mark.parametrize("x", [FRAME, ARRAY], ids=["pandas", "xarray"])
@pytest.mark.parametrize("values", [SERIES, xarray.DataArray(Y, dims="draw"), SERIES.tolist()])
def test_draws_and_values(x, values):
    expected = mcvar.estimate(Y, mcvar.Draws(X, grad_logpdf=-X), control=SteinPolynomial(2))
    draws = mcvar.Draws(x, grad_logpdf=-x)
    same(mcvar.estimate(values, draws, control=SteinPolynomial(2)), expected)


def test_weights_and_labels_by_position_not_by_index():
    weights = pandas.Series(RNG.exponential(size=400), index=FRAME.index[::-1])
    expected = mcvar.Draws(X, weights=weights.to_numpy(), self_normalized=True)
    found = mcvar.Draws(FRAME, weights=weights, self_normalized=True)
    same(mcvar.estimate(SERIES, found, control=None), mcvar.estimate(Y, expected, control=None))
    chain = np.repeat(np.arange(4), 100)
    expected = mcvar.estimate(Y, mcvar.Draws(X, chain=chain), control=None)
    found = mcvar.estimate(SERIES, mcvar.Draws(FRAME, chain=pandas.Series(chain)), control=None)
    same(found, expected)


def test_labels_that_are_words_are_told_how_to_become_numbers():
    words = pandas.Series(np.repeat(["a", "b"], 200)).astype("category")
    with pytest.raises(ValueError, match=r"strata must be whole-number labels.*np\.unique") as told:
        mcvar.Draws(FRAME, strata=words)
    assert "return_inverse=True" in str(told.value)
    numbers = np.unique(words, return_inverse=True)[1]
    assert mcvar.Draws(FRAME, strata=numbers).strata.max() == 1


def test_missing_values_are_located():
    values = SERIES.astype("Float64")
    same(
        mcvar.estimate(values, mcvar.Draws(FRAME), control=None),
        mcvar.estimate(Y, mcvar.Draws(X), control=None),
    )
    values.iloc[3] = pandas.NA
    with pytest.raises(ValueError, match=r"holds nan at index \(3,\)"):
        mcvar.estimate(values, mcvar.Draws(FRAME), control=None)


def test_integrands_that_return_tables():
    def moments(x):
        frame = pandas.DataFrame(x, columns=["a", "b"])
        return pandas.DataFrame({"ab": frame["a"] * frame["b"], "exp": np.exp(frame["a"])})

    est = mcvar.estimate(moments, [(0, 1)] * 2, n=2**12, rng=1)
    np.testing.assert_allclose(est.value, [1 / 4, np.e - 1], rtol=1e-4)


def test_a_table_of_bounds_is_a_box():
    bounds = pandas.DataFrame({"low": [0.0, 1.0], "high": [2.0, 3.0]}, index=["a", "b"])
    est = mcvar.estimate(lambda x: x[:, 0] * x[:, 1], bounds, n=2**12, rng=1)
    assert est.value == pytest.approx(8, rel=1e-4)


def test_clouds_of_points():
    expected = mcvar.sliced_wasserstein(X, X + 1, rng=1)
    assert mcvar.sliced_wasserstein(FRAME, FRAME + 1, rng=1).value == pytest.approx(
        expected.value, rel=1e-12
    )
    assert mcvar.sliced_wasserstein(ARRAY, ARRAY + 1, rng=1).value == expected.value


def test_a_summary_comes_out_as_both():
    chains = X.reshape(4, 100, 2)
    table = mcvar.summary(chains, -chains, names=["mu", "tau"], control=SteinPolynomial(1))
    frame = table.to_pandas()
    assert frame.index.tolist() == ["mu", "tau"]
    assert frame.index.name == "parameter"
    assert frame.dtypes["gain"] == np.float64
    assert frame.loc["tau", "controlled_mean"] == table["tau"].controlled_mean
    dataset = table.to_xarray()
    assert set(dataset.data_vars) == set(frame.columns)
    assert dataset["mcse"].sel(parameter="mu").item() == table["mu"].mcse
    back = dataset.to_dataframe()[frame.columns]
    pandas.testing.assert_frame_equal(back, frame, check_dtype=False)
