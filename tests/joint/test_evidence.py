"""Evidence of a conjugate normal model, whose value is known."""

import numpy as np
import pytest
from scipy import stats

import mcvar

DATA, LADDER = 1.3, np.linspace(0, 1, 7) ** 2


def ladder_of_draws(seed, n=20):
    """Power posteriors of one normal observation under a standard normal prior."""
    rng = np.random.default_rng(seed)
    # Precision 1 + t, mean t y / (1 + t).
    x = [
        LADDER[i] * DATA / (1 + LADDER[i]) + rng.standard_normal((n, 1)) / np.sqrt(1 + LADDER[i])
        for i in range(len(LADDER))
    ]
    values = [stats.norm.logpdf(DATA, p[:, 0], 1) for p in x]
    return values, [DATA - p for p in x], [-p for p in x], x


EXACT = stats.norm.logpdf(DATA, 0, np.sqrt(2))


@pytest.mark.parametrize("order", [1, 2])
def test_conjugate_model(order):
    found = mcvar.evidence(*ladder_of_draws(1), LADDER, order=order)
    # E_t log L and its variance are rational in t: their quadrature's error is known.
    v, m = 1 / (1 + LADDER), LADDER * DATA / (1 + LADDER)
    means = -0.5 * np.log(2 * np.pi) - 0.5 * ((DATA - m) ** 2 + v)
    variances = (DATA - m) ** 2 * v + v**2 / 2
    gaps = np.diff(LADDER)
    rule = (gaps * (means[1:] + means[:-1]) / 2).sum()
    if order == 2:
        rule -= (gaps**2 * np.diff(variances)).sum() / 12
    np.testing.assert_allclose(found.means.value, means, atol=2e-2)
    assert found.value == pytest.approx(rule, abs=5e-3)
    assert found.value == pytest.approx(EXACT, abs={1: 2e-2, 2: 5e-3}[order])
    assert "7 temperatures" in repr(found)


def test_far_better_than_plain_means():
    values, *rest = ladder_of_draws(2)
    found = mcvar.evidence(values, *rest, LADDER)
    assert np.median(found.means.variance_reduction) > 50
    low, high = found.confidence_interval()
    assert low < found.value < high
    assert (found.status == "suspect") == bool(found.means.reasons or found.variances.reasons)
    assert found.status in repr(found)


def test_picture_of_what_tasks_share():
    pytest.importorskip("matplotlib", reason="needs the extra plot")
    ax = mcvar.evidence(*ladder_of_draws(3), LADDER, order=1).means.plot()
    shown = ax.images[0].get_array()
    np.testing.assert_allclose(np.diagonal(shown), 1)
    assert shown[0, 1] == pytest.approx(np.exp(-0.25))
    assert [tick.get_text() for tick in ax.get_yticklabels()] == [str(t) for t in range(7)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperatures": LADDER[::-1]}, "must rise from 0 to 1"),
        ({"temperatures": LADDER[1:]}, "must rise from 0 to 1"),
        ({"temperatures": [0.0, 1.0]}, "7 entries for 2 temperatures"),
        ({"order": 3}, "order must be 1 or 2"),
        ({"control": "best"}, "control must be 'auto'"),
        ({"grad_log_prior": [np.zeros((20, 2))] * 7}, "grad_log_likelihood.0. has shape"),
    ],
)
def test_wrong_input(change, message):
    values, likelihood, prior, x = ladder_of_draws(3)
    given = {
        "log_likelihood": values,
        "grad_log_likelihood": likelihood,
        "grad_log_prior": prior,
        "x": x,
        "temperatures": LADDER,
    }
    with pytest.raises(ValueError, match=message):
        mcvar.evidence(**(given | change))
