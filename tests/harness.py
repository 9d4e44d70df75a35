"""One statistical harness for every estimator: unbiased, covering, never worse than plain.

Each check repeats ``run(seed) -> Estimate`` over seeds 0, 1, ... and rejects a right estimator
with probability `FALSE_POSITIVE` at most (over all components together), so that a suite of a
thousand checks on new seeds fails once in a thousand times.
"""

from collections.abc import Callable

import numpy as np
from scipy import stats

from mcvar import Estimate

FALSE_POSITIVE = 1e-6
Run = Callable[[int], Estimate]


def check_unbiased(run: Run, exact, repeats: int) -> None:
    """Test that the mean of repeated estimates is `exact`, by Student's t.

    False positives: 1e-6 for normal estimates. Power: a bias of b standard deviations of one
    estimate shifts the statistic by b √repeats; it is found with probability 99 % from
    b = (t + 2.33)/√repeats, t the critical value. At 100 repeats t = 5.2: b = 0.76; at 200, 0.52;
    at 400, 0.37.
    """
    values = np.stack([np.atleast_1d(run(seed).value) for seed in range(repeats)])
    exact = np.broadcast_to(exact, values.shape[1:])
    gap = values.mean(axis=0) - exact
    error = values.std(axis=0, ddof=1) / np.sqrt(repeats)
    threshold = stats.t.isf(FALSE_POSITIVE / 2 / len(exact), repeats - 1)
    # Estimates that are exact but for rounding have a spread that says nothing.
    rounding = 1e-12 * np.maximum(np.abs(exact), np.abs(values).max(axis=0))
    wrong = np.abs(gap) > threshold * error + rounding
    assert not wrong.any(), (
        f"biased: mean {values.mean(axis=0)} of {repeats} runs, exact {exact}, "
        f"{gap / np.maximum(error, 1e-300)} standard errors"
    )


def check_coverage(
    run: Run, exact, level: float, repeats: int, *, upper: float | None = None
) -> float:
    """Test that intervals of the nominal 95 % cover `exact` with probability `level` or more.

    The count is accepted within exact binomial bounds: false positives 1e-6 where the coverage is
    `level` (and `upper`, where an upper bound is given). At 200 repeats and level 0.95 the least
    count accepted is 173: intervals that cover 80 % of the time are rejected with probability
    98 %, those that cover 75 % always. Returns the observed coverage of the worst component.
    """
    exact = np.atleast_1d(exact)
    hits = np.zeros(len(exact), dtype=int)
    for seed in range(repeats):
        low, high = run(seed).confidence_interval(0.95)
        slack = 1e-12 * np.abs(exact)
        hits += (np.atleast_1d(low) - slack <= exact) & (exact <= np.atleast_1d(high) + slack)
    rate = FALSE_POSITIVE / len(exact)
    least = stats.binom.ppf(rate, repeats, level)
    assert (hits >= least).all(), f"{hits} of {repeats} intervals cover; expected >= {least}"
    if upper is not None:
        most = stats.binom.isf(rate, repeats, upper)
        assert (hits <= most).all(), f"{hits} of {repeats} intervals cover; expected <= {most}"
    return float(hits.min() / repeats)


def check_never_worse(run: Run, exact, plain_variance, bound: float, repeats: int) -> np.ndarray:
    """Test that the mean squared error is at most `bound` times that of plain Monte Carlo.

    `plain_variance` is the exact variance of plain Monte Carlo with the same number of
    evaluations. Squared errors over it have a chi-square law with `repeats` degrees of freedom
    for normal estimates: false positives 1e-6 for an estimator exactly `bound` times worse. At
    100 repeats the margin is 1.79; an estimator 2.6 times worse than the bound is rejected with
    probability 99 %. Returns the observed ratios.
    """
    squares = sum((np.atleast_1d(run(seed).value) - exact) ** 2 for seed in range(repeats))
    ratio = squares / repeats / plain_variance
    margin = stats.chi2.isf(FALSE_POSITIVE / len(np.atleast_1d(ratio)), repeats) / repeats
    assert (ratio <= bound * margin).all(), (
        f"mean squared error {ratio} times that of plain Monte Carlo; "
        f"expected <= {bound} x {margin:.3g}"
    )
    return ratio
