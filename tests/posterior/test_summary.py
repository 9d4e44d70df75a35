"""summary(): numbers against exact ones, forms of the table, warnings, real posteriors."""

import functools

import numpy as np
import pytest
from scipy import stats

import mcvar
from mcvar.control import SteinPolynomial
from tests import posterior_cases
from tests.harness import check_coverage, check_never_worse, check_unbiased


def lognormal(seed, chains=4, draws=75):
    u = np.random.default_rng(seed).normal(0.5, 0.4, size=(chains, draws, 1))
    return u, -(u - 0.5) / 0.16


SIGMA = stats.lognorm(0.4, scale=np.exp(0.5))


def test_statistics_of_the_table():
    @functools.cache
    def run(seed):
        return mcvar.summary(*lognormal(seed), constrained=np.exp, names=["sigma"])

    def mean(seed):
        row = run(seed)["sigma"]
        return mcvar.Estimate(
            value=row.controlled_mean, standard_error=row.controlled_se, n=300, df=run(seed).df[0]
        )

    def sd(seed):
        row = run(seed)["sigma"]
        return mcvar.Estimate(value=row.controlled_sd, standard_error=row.controlled_sd_se, n=300)

    check_unbiased(mean, SIGMA.mean(), 15)
    check_coverage(mean, SIGMA.mean(), 0.85, 15)
    check_never_worse(mean, SIGMA.mean(), SIGMA.var() / 300, 0.01, 15)
    check_coverage(sd, SIGMA.std(), 0.8, 15)
    check_never_worse(sd, SIGMA.std(), SIGMA.var() / 600, 0.05, 15)


def test_columns_say_what_they_mean():
    u, s = lognormal(1)
    table = mcvar.summary(u, s, constrained=np.exp, names=["sigma"], control=SteinPolynomial(2))
    sigma, row = np.exp(u).ravel(), table["sigma"]
    assert row.mean == pytest.approx(sigma.mean())
    assert row.sd == pytest.approx(sigma.std(ddof=1))
    assert row.mcse == pytest.approx(sigma.std() / np.sqrt(300), rel=0.4)
    assert row.gain == pytest.approx((row.mcse / row.controlled_se) ** 2)
    assert row.equivalent_draws == pytest.approx((row.sd / row.controlled_se) ** 2)
    low, high = table.confidence_interval(0.9)
    half = stats.t(table.df[0]).ppf(0.95) * row.controlled_se
    assert high[0] - low[0] == pytest.approx(2 * half)
    assert table.control == ("SteinPolynomial(2)",)
    with pytest.raises(KeyError, match="no row 'tau'; there are sigma"):
        table["tau"]
    with pytest.raises(ValueError, match="read-only"):
        table.mean[0] = 0.0


def test_weights_known_up_to_a_constant():
    rng = np.random.default_rng(2)
    u = rng.normal(0.5, 0.6, size=(1, 800, 1))
    w = 1e8 * stats.norm.pdf(u, 0.5, 0.4) / stats.norm.pdf(u, 0.5, 0.6)
    table = mcvar.summary(u, -(u - 0.5) / 0.16, weights=w[..., 0], control=SteinPolynomial(2))
    # Each distinct column of the table is that of the target, not of the draws.
    assert table.controlled_mean[0] == pytest.approx(0.5, abs=1e-9)
    assert table.controlled_sd[0] == pytest.approx(0.4, abs=1e-6)
    assert table.mean[0] == pytest.approx(0.5, abs=5 * table.mcse[0])
    assert table.sd[0] == pytest.approx(0.4, abs=0.05)


def test_moments_that_do_not_exist_end_in_a_warning():
    x = np.random.default_rng(3).standard_t(1.2, size=(4, 500, 1))
    table = mcvar.summary(x, -2.2 * x / (1.2 + x**2))
    assert "may not exist" in table.warnings[0]
    assert "x[0] *" in repr(table)
    draws = mcvar.Draws(x.reshape(-1, 1), grad_logpdf=(-2.2 * x / (1.2 + x**2)).reshape(-1, 1))
    assert mcvar.estimate(draws.x[:, 0], draws).status == "suspect"


def test_chains_that_disagree_end_in_a_warning():
    u, s = lognormal(4)
    y = np.zeros((4, 75))
    y[0] = 1.0
    table = mcvar.summary(u, s, functions={"which": lambda p: y}, control=SteinPolynomial(1))
    assert "have not mixed" in table.warnings[1]
    assert table.warnings[0] == ""


def test_strongly_correlated_coordinates():
    """d = 26, condition number 1e8: whitening makes it as easy as independent coordinates."""
    d, rng = 26, np.random.default_rng(5)
    root = np.linalg.qr(rng.standard_normal((d, d)))[0] * np.geomspace(1, 1e-4, d)
    z = rng.standard_normal((4, 500, d))
    x, s = z @ root.T, -np.linalg.solve(root.T, z.reshape(-1, d).T).T.reshape(z.shape)
    table = mcvar.summary(x, s, control=SteinPolynomial("auto"))
    assert (np.abs(table.controlled_mean) < 1e-8).all()
    np.testing.assert_allclose(table.controlled_sd, np.sqrt((root**2).sum(axis=1)), rtol=1e-6)


def test_tables_for_people():
    u, s = lognormal(6)
    table = mcvar.summary(
        u, s, constrained=np.exp, names=["<b>tau</b>"], control=SteinPolynomial(2)
    )
    text = repr(table)
    assert text.startswith("Posterior summary: 300 draws, 4 chains")
    assert "SteinPolynomial(2)" in text
    assert "&lt;b&gt;" in table._repr_html_()
    many = mcvar.summary(
        u, s, functions={"f": lambda p: p["x"] * np.arange(1, 201)}, control=SteinPolynomial(1)
    )
    assert "more rows" in repr(many)


def test_tables_for_other_libraries():
    pytest.importorskip("xarray", reason="needs the extra arviz")
    pytest.importorskip("pandas", reason="needs the extra arviz")
    u, s = lognormal(7)
    table = mcvar.summary(u, s, names=["u"], control=SteinPolynomial(2))
    frame = table.to_pandas()
    assert frame.loc["u", "controlled_mean"] == table["u"].controlled_mean
    dataset = table.to_xarray()
    assert float(dataset["gain"].sel(parameter="u")) == table["u"].gain
    assert dataset.attrs == {"draws": 300, "chains": 4}


def test_plot_shows_both_intervals():
    pytest.importorskip("matplotlib", reason="needs the extra plot")
    u, s = lognormal(8)
    ax = mcvar.summary(u, s, constrained=np.exp, names=["sigma"], control=SteinPolynomial(2)).plot()
    assert [label.get_text() for label in ax.get_yticklabels()] == ["sigma"]
    assert len(ax.get_legend().get_texts()) == 2


@posterior_cases.needs_data
@pytest.mark.parametrize("name", posterior_cases.NAMES)
def test_real_posteriors(name):
    """Four short chains of real draws: within its error bars, and never worse than the mean."""
    x, s, constrained, names, reference = posterior_cases.load(name)
    chosen = [j for j, parameter in enumerate(names) if parameter in reference]
    exact = np.array([reference[names[j]]["reference"] for j in chosen])
    error = np.array([reference[names[j]]["reference_se"] or 0.0 for j in chosen])
    sd = np.array([reference[names[j]]["posterior_sd"] for j in chosen])
    plain, ours, off = 0.0, 0.0, []
    for first in (0, 4):
        part = slice(first, first + 4), slice(125)
        table = mcvar.summary(
            x[part],
            s[part],
            constrained=constrained[part][..., chosen],
            names=[names[j] for j in chosen],
        )
        plain += ((table.mean - exact) ** 2 / sd**2).mean()
        ours += ((table.controlled_mean - exact) ** 2 / sd**2).mean()
        off.append(np.abs(table.controlled_mean - exact) / np.hypot(table.controlled_se, error))
        # No row's bar is longer than that of its plain mean.
        assert (table.gain >= 1 - 1e-9).all()
    assert ours < 0.5 * plain
    # By Chebyshev's inequality one in 25 at most; all rows of a run are correlated.
    assert np.median(off) < 4
