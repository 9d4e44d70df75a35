"""Pictures: what is drawn is what the results say, and odd results do not break them."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

import mcvar
from mcvar import plot
from mcvar._pareto import pareto_tail

mpl = pytest.importorskip("matplotlib", reason="needs the extra plot")
mpl.use("Agg")
from matplotlib import pyplot  # noqa: E402


@pytest.fixture(autouse=True)
def _closed():
    yield
    pyplot.close("all")


def result(value, error, **fields):
    return mcvar.Estimate(value=value, standard_error=error, n=100, **fields)


def bars(ax):
    """Return the ends (k, 2) of horizontal error bars."""
    lines = [line for c in ax.containers for line in c.lines[2]]
    return np.array([segment[:, 0] for line in lines for segment in line.get_segments()])


def markers(ax):
    """Return what each marker line shows: (x, y) arrays."""
    drawn = [line for line in ax.lines if line.get_marker() not in ("None", "|", "")]
    return [(np.asarray(line.get_xdata()), np.asarray(line.get_ydata())) for line in drawn]


def labels(ax):
    return [text.get_text() for text in ax.get_yticklabels()]


def beside(ax):
    return [text.get_text() for text in ax.texts]


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_compare_draws_values_and_intervals():
    plain = result(np.array([7.0, 1.2]), np.array([1.0, 0.1]))
    ours = result(np.array([7.0, 1.01]), np.array([1.0, 1e-9]), df=5)
    given = pyplot.subplots()[1]
    assert plot.compare({"plain": plain}, given) is given
    ax = plot.compare({"plain": plain, "ours": ours}, component=1, level=0.9, reference=1.0)
    ends = [np.array(est.confidence_interval(0.9))[:, 1] for est in (plain, ours)]
    np.testing.assert_allclose(bars(ax), ends, rtol=1e-14)
    assert [float(x[0]) for x, _ in markers(ax)] == [1.2, 1.01]
    assert labels(ax) == ["plain", "ours"]
    assert beside(ax) == ["± 0.16", "± 2e-09"]
    assert legend(ax) == ["reference 1"]
    assert ax.get_xlabel() == "estimate, 90% interval"
    top, bottom = ax.transData.transform([(0, 0), (0, 1)])[:, 1]
    assert top > bottom  # the first row is the upper one


def test_compare_takes_every_result():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 1))
    joint = mcvar.estimate_jointly([(np.sin(x[:, 0]), mcvar.Draws(x, grad_logpdf=-x))] * 2)
    sliced = mcvar.sliced_wasserstein(rng.normal(size=(50, 2)), rng.normal(size=(50, 2)), rng=0)
    rate = mcvar.safety.CrashRate(
        value=2e-6, standard_error=2e-7, scenarios=300, used=300, crashes=80
    )
    results = {"joint": joint, "sliced": sliced, "rate": rate}
    ax = plot.compare(results)
    drawn = [float(x[0]) for x, _ in markers(ax)]
    assert drawn == [joint.value[0], sliced.value, rate.value]


def test_compare_degenerate():
    parts = {
        "exact": result(1.0, 0.0),
        "unknown": result(2.0, np.nan),
        "boundless": result(3.0, np.inf),
        "doubtful": result(1.5, 0.1, status="suspect", reasons=("why",)),
        "no value": result(np.nan, np.nan),
    }
    ax = plot.compare(parts)
    ax.figure.canvas.draw()
    assert beside(ax) == ["± 0", "no interval", "no interval", "± 0.2", "no interval"]
    assert labels(ax)[3] == "doubtful (suspect)"
    assert len(bars(ax)) == 2
    assert labels(plot.compare({"one two " * 10: result(1.0, 1.0)}))[0].count("\n") == 2


def test_compare_refuses():
    with pytest.raises(TypeError, match=r"mapping \{name: result\}, got list"):
        plot.compare([result(1.0, 1.0)])
    with pytest.raises(ValueError, match="one result at least"):
        plot.compare({})
    with pytest.raises(TypeError, match=r"'mean' must be a result with value .* got 3\.0"):
        plot.compare({"mean": 3.0})
    with pytest.raises(ValueError, match="component must be below 1, the number 'a' has, got 1"):
        plot.compare({"a": result(1.0, 1.0)}, component=1)
    with pytest.raises(TypeError, match="ax must be a matplotlib Axes, got 3"):
        plot.compare({"a": result(1.0, 1.0)}, 3)
    with pytest.raises(ValueError, match="level must lie"):
        plot.compare({"a": result(1.0, 1.0)}, level=95)


def test_gain_of_methods():
    parts = {"plain": 1.0, "ours": result(1.0, 0.1, variance_reduction=1234.5), "worse": 0.5}
    ax = plot.gain(parts)
    assert ax.get_xscale() == "log"
    ((x, y),) = markers(ax)
    assert x.tolist() == [1.0, 1234.5, 0.5]
    assert y.tolist() == [0, 1, 2]
    assert labels(ax) == ["plain", "ours", "worse"]
    assert beside(ax) == ["1x", "1,200x", "0.5x"]
    starts = [line.vertices[0, 0] for c in ax.collections for line in c.get_paths()]
    assert starts == [1.0] * 3


def test_gain_of_components():
    est = result(np.zeros(3), np.ones(3), variance_reduction=np.array([2.0, np.inf, 30.0]))
    ax = plot.gain({"ours": est, "theirs": [1.0, 2.0, np.nan]}, names=["a", "b", "c"])
    first, arrow, second = markers(ax)
    assert first[0].tolist() == [2.0, 30.0]
    assert second[0].tolist() == [1.0, 2.0]
    assert arrow[0][0] > 30
    assert arrow[1][0] == first[1][0] + 1
    assert legend(ax) == ["ours", "theirs"]
    assert labels(ax) == ["a", "b", "c"]
    assert labels(plot.gain(est)) == ["component 0", "component 1", "component 2"]


def test_gain_of_a_posterior_summary():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(4, 200, 2))
    table = mcvar.summary(x, -x, names=["mu", "nu"], control=mcvar.control.SteinPolynomial(1))
    ax = plot.gain(table)
    assert labels(ax) == ["mu", "nu"]
    # A linear control leaves nothing but rounding of the mean of a normal law.
    finite = table.gain[np.isfinite(table.gain)]
    np.testing.assert_array_equal(markers(ax)[0][0], finite)


def test_gain_degenerate():
    ax = plot.gain({"exact": np.inf, "lost": 0.0, "unknown": np.nan})
    ax.figure.canvas.draw()
    assert beside(ax) == ["no error", "0x", "not known"]
    inside, beyond, under = markers(ax)
    assert len(inside[0]) == 0
    assert under[0][0] < 1 < beyond[0][0]
    low, high = ax.get_xlim()
    assert low <= under[0][0] < beyond[0][0] < high


def test_gain_refuses():
    with pytest.raises(ValueError, match="must not be negative, got -2"):
        plot.gain({"a": [-2.0, 1.0]})
    with pytest.raises(ValueError, match=r"as many gains in every series, got \{'a': 2, 'b': 1\}"):
        plot.gain({"a": [1.0, 2.0], "b": [1.0]})
    with pytest.raises(ValueError, match="a name for each of 2 rows, got 1"):
        plot.gain([1.0, 2.0], names=["x"])
    with pytest.raises(TypeError, match="gains of 'a' must be numeric"):
        plot.gain({"a": "much"})
    with pytest.raises(ValueError, match="one result at least"):
        plot.gain({})
    with pytest.raises(ValueError, match=r"shape \(k,\)"):
        plot.gain(np.ones((2, 2)))


def test_weights_in_order_with_their_sample_size():
    rng = np.random.default_rng(2)
    w = rng.exponential(size=500)
    draws = mcvar.Draws(rng.normal(size=500), weights=w, self_normalized=True)
    ax = plot.weights(draws)
    size = w.sum() ** 2 / (w**2).sum()
    assert ax.get_title() == f"effective sample size {size:,.0f} of 500"
    (rank, shown), *_ = markers(ax)
    np.testing.assert_allclose(shown, np.sort(w)[::-1][rank - 1] / w.mean(), rtol=1e-12)
    assert rank[0] == 1
    assert rank[-1] == 500
    upright = [line for line in ax.lines if len(set(line.get_xdata())) == 1]
    assert upright[0].get_xdata()[0] == pytest.approx(size)
    same = plot.weights(1e200 * w)
    assert same.get_title() == ax.get_title()


def test_weights_with_a_pareto_tail():
    w = stats.genpareto(0.8).rvs(20_000, random_state=3)
    ax = plot.weights(w)
    tail = next(line for line in ax.lines if "Pareto" in line.get_label())
    index = float(tail.get_label().rpartition(" ")[2])
    assert index == pytest.approx(0.8, abs=0.1)
    # The fit, drawn, lies on the weights.
    rank = np.asarray(tail.get_xdata())
    ratio = tail.get_ydata() * w.mean() / np.sort(w)[::-1][rank - 1]
    assert np.abs(np.log(ratio[rank > 10])).max() < 0.2


def test_tail_quantiles():
    tail = pareto_tail(stats.genpareto(0.3).rvs(50_000, random_state=4), 50_000)
    share = np.array([0.01, 0.5, 1.0])
    law = stats.genpareto(tail.shape, loc=tail.start, scale=tail.scale)
    np.testing.assert_allclose(tail.quantile(share), law.isf(share), rtol=1e-9)
    light = tail._replace(shape=0.0)
    np.testing.assert_allclose(
        light.quantile(share), stats.expon(tail.start, tail.scale).isf(share), rtol=1e-9
    )


@pytest.mark.parametrize(
    ("w", "size", "below"),
    [([1.0], 1, 0), (np.ones(300), 300, 0), ([0.0, 0.0, 2.0], 1, 2), ([1e-300, 1e300], 1, 1)],
)
def test_weights_degenerate(w, size, below):
    ax = plot.weights(w)
    ax.figure.canvas.draw()
    assert ax.get_title() == f"effective sample size {size} of {len(w)}"
    assert (f"({below} of {len(w)} lie below" in ax.get_xlabel()) == (below > 0)
    assert not any("Pareto" in text for text in legend(ax))


def test_weights_refuse():
    with pytest.raises(TypeError, match="have no weights"):
        plot.weights(mcvar.Draws([1.0, 2.0]))
    with pytest.raises(ValueError, match="not be negative, got -1"):
        plot.weights([1.0, -1.0])
    with pytest.raises(ValueError, match="all weights are zero"):
        plot.weights([0.0, 0.0])
    with pytest.raises(ValueError, match="nan at index"):
        plot.weights([1.0, np.nan])
    with pytest.raises(ValueError, match=r"shape \(n,\)"):
        plot.weights(np.ones((2, 2)))


def test_convergence_of_one_look_shows_its_interval():
    ax = plot.convergence([10], [1.0], [0.5], [1.5])
    (interval,) = ax.collections
    np.testing.assert_array_equal(interval.get_segments()[0], [[10, 0.5], [10, 1.5]])
    with pytest.raises(ValueError, match=r"one shape \(looks,\)"):
        plot.convergence([1, 2], [1.0], [0.0], [2.0])


def test_forest_rows_and_shapes():
    ax = plot.forest(["a", "b"], np.array([0.1, -0.1]), np.array([0.2, 0.3]), np.array([0.0, 0.1]))
    np.testing.assert_allclose(bars(ax), [[-0.1, 0.3], [-0.4, 0.2], [0, 0], [-0.1, 0.1]])
    with pytest.raises(ValueError, match=r"shape \(k,\) for 2 names"):
        plot.forest(["a", "b"], np.zeros(2), np.zeros(3), np.zeros(2))


def test_many_rows_in_small_axes_keep_their_labels_apart():
    k = 200
    ax = pyplot.subplots(figsize=(4, 3))[1]
    plot.gain(np.arange(1.0, k + 1), ax, names=[f"theta[{j}]" for j in range(k)])
    assert len(markers(ax)[0][0]) == k
    ax.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in ax.get_yticklabels()]
    assert len(boxes) > 10
    assert all(upper.y0 >= lower.y1 - 1 for upper, lower in itertools.pairwise(boxes))
    assert [t.get_text() for t in ax.get_yticklabels()][1] == f"theta[{ax.get_yticks()[1]}]"


def test_correlations():
    ax = plot.correlations([[4.0, -1.0, 0.0], [-1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    shown = [[1.0, -0.5, 0.0], [-0.5, 1.0, 0.0], [0.0, 0.0, 0.0]]
    np.testing.assert_array_equal(ax.images[0].get_array(), shown)
    assert beside(ax)[:3] == ["1.00", "-0.50", "0.00"]
    assert len(plot.correlations(np.eye(50)).get_xticks()) <= 16
    with pytest.raises(ValueError, match=r"\(T, T\), got \(2, 3\)"):
        plot.correlations(np.ones((2, 3)))
    with pytest.raises(ValueError, match="each of 2 tasks, got 1"):
        plot.correlations(np.eye(2), names=["a"])


def test_sliced_contributions_with_estimate_and_band():
    rng = np.random.default_rng(5)
    est = mcvar.sliced_wasserstein(rng.normal(size=(50, 3)), rng.normal(1, 2, (60, 3)), rng=0)
    ax = est.plot(level=0.8)
    np.testing.assert_array_equal(markers(ax)[0][1], np.sort(est.contributions))
    low, high = est.power.confidence_interval(0.8)
    band = ax.patches[0].get_bbox()
    assert (band.y0, band.y1) == pytest.approx((low, high))
    assert ax.get_ylabel() == "$W_{2}^{2}$ along a direction"


def test_campaign_draws_rate_against_scenarios():
    chain = mcvar.safety.GapChain()
    proposal = mcvar.safety.AdversarialProposal(chain.actions, [chain.surrogate], epsilon=0.5)
    campaign = mcvar.safety.Campaign(chain, proposal, seed=1)
    rate = campaign.run(max_scenarios=300, progress=False)
    given = pyplot.subplots()[1]
    ax = campaign.plot(given, control="none", level=0.8)
    assert ax is given
    x, y = markers(ax)[0]
    raw = campaign.estimate("none")
    assert x[-1] == rate.used
    assert y[-1] == pytest.approx(raw.value)
    low, high = raw.confidence_interval(0.8)
    band = ax.collections[0].get_paths()[0].vertices
    final = band[band[:, 0] == x[-1]][:, 1]
    assert (final.min(), final.max()) == pytest.approx((low, high))
    assert "80% interval" in legend(ax)
    assert ax.get_xlabel() == "scenarios averaged"


def test_anything_with_names_names_rows():
    ax = plot.gain(SimpleNamespace(gain=np.array([1.0, 2.0]), names=("p", "q")))
    assert labels(ax) == ["p", "q"]
