"""Whether scores belong to the draws they came with: Stein's identities, tested.

Under any law with a smooth density that vanishes at the boundary of its support, E s = 0 and
E ψ(y) s' = −E ψ'(y) on the diagonal, for standardised coordinates y, s = ∇ log π and smooth ψ.
With ψ(y) = y that is E (x − μ) s' = −I; a bounded ψ says the same with far less noise where tails
are heavy. Scores of another parametrisation, scale or sign break these identities, and would make
every Stein control wrong.
"""

from typing import NamedTuple

import numpy as np
from scipy import special

from mcvar._typing import FloatArray
from mcvar.draws import Draws
from mcvar.exceptions import ScoreError
from mcvar.integrate.diagnose import UNSEEN
from mcvar.integrate.means import mean_by_design

_CHANCE = 1e-7  # false-alarm probability over all identities together
_NEGLIGIBLE = 1e-3  # relative violation that no estimate would feel
_UNRELATED = 0.3  # factor below which scores belong to other draws
_NEAR = 0.3  # standard deviations
_ALIKE = 0.1  # relative spread within which factors are one factor


class _Tested(NamedTuple):
    """Means of rows, how many standard errors off they are, and which are off beyond chance."""

    mean: FloatArray
    sigmas: FloatArray
    is_wrong: FloatArray


def check_scores(draws: Draws) -> None:
    """Raise ScoreError, with the evidence, where scores contradict Stein's identities.

    Tests have a false-alarm probability of 1e-7 together; their standard errors follow the design
    of the draws (autocorrelation, weights).
    """
    assert draws.grad_logpdf is not None
    n, d = draws.x.shape
    scale = draws.x.std(axis=0)
    scores = draws.grad_logpdf * scale
    y = (draws.x - draws.x.mean(axis=0)) / np.where(scale > 0, scale, 1.0)
    root = np.sqrt(1 + y * y)
    bounded, slope = y / root, root**-3
    # In units of E ψ', so that the diagonal of E ψ s' is minus the factor that scores are off by.
    slope_mean = slope.mean(axis=0)
    tests = d * (d + 2) + 1
    mean = _test(scores, draws, tests)
    moments = []
    for i in range(d):
        rows = bounded[:, i : i + 1] * scores
        rows[:, i] += slope[:, i]
        moments.append(_test(rows / slope_mean[i], draws, tests))
    matrix = _Tested(*(np.stack(rows) for rows in zip(*moments, strict=True)))
    # A factor that all scores share shows in their sum before it shows in any one of them.
    common = _test((bounded * scores + slope) @ (1 / slope_mean / d)[:, np.newaxis], draws, tests)
    # Near their mean, draws on another scale than their scores differ most.
    bump = 1 / np.sqrt(1 + (y / _NEAR) ** 2)
    near = _test(bump * scores - y / _NEAR**2 * bump**3, draws, tests)
    if not any(test.is_wrong.any() for test in (mean, matrix, common, near)):
        return
    raise ScoreError(
        f"grad_logpdf is not the score of the law that the {n} draws come from. "
        + _evidence(mean, matrix, near, bool(common.is_wrong[0]))
        + " Expected ∇ log π(x) in the coordinates of x: for draws on the unconstrained scale "
        "the log-Jacobian of the transform included, and a density that vanishes at the boundary "
        "of its support."
    )


def _test(rows: FloatArray, draws: Draws, tests: int) -> _Tested:
    """Test whether rows (n, d) have mean zero."""
    combined = mean_by_design(rows, draws)
    error = np.sqrt(combined.variance)
    threshold = special.stdtrit(combined.df, 1 - _CHANCE / (2 * tests))
    # A share of further draws as large as the largest may be missing by chance.
    size = np.abs(rows).max(axis=0)
    allowed = np.maximum(threshold * error, np.maximum(UNSEEN / draws.n * size, _NEGLIGIBLE))
    gap = np.abs(combined.mean)
    return _Tested(combined.mean, gap / np.maximum(error, 1e-300), gap > allowed)


def _evidence(mean: _Tested, matrix: _Tested, near: _Tested, all_are_wrong: bool) -> str:
    factors = 1 - np.diagonal(matrix.mean)
    wrong = np.diagonal(matrix.is_wrong)
    sigmas = np.diagonal(matrix.sigmas)
    error = np.abs(1 - factors) / np.maximum(sigmas, 1e-300)
    common = float(np.median(factors))
    apart = np.abs(factors - common)
    if (wrong.mean() > 0.5 or all_are_wrong) and (
        apart < np.maximum(_ALIKE * abs(common), 5 * error)
    ).all():
        if abs(common + 1) < _ALIKE:
            return "Its sign is flipped: E (x - μ) s' is about +I instead of -I; negate it."
        if abs(common) < _UNRELATED:
            return (
                "It has nothing to do with the draws: E (x - μ) s' is about 0 on the diagonal, "
                "not -1; are rows or coordinates in another order?"
            )
        return (
            f"It looks {common:.3g} times too large: E (x - μ) s' is about {-common:.3g} I, not -I."
        )
    if wrong.any():
        j = int(np.where(wrong, sigmas, -1.0).argmax())
        others = ", ".join(str(int(i)) for i in np.flatnonzero(wrong) if i != j)
        also = f" (also coordinates {others})" if others else ""
        return (
            f"In coordinate {j} it looks {factors[j]:.3g} times too large, {sigmas[j]:.3g} "
            f"standard errors from 1{also}. Draws on the constrained scale with scores on the "
            "unconstrained scale look like this."
        )
    if mean.is_wrong.any():
        j = int(np.where(mean.is_wrong, mean.sigmas, -1.0).argmax())
        return (
            f"In coordinate {j} its mean times the standard deviation is {mean.mean[j]:.3g}, "
            f"{mean.sigmas[j]:.3g} standard errors from 0."
        )
    if near.is_wrong.any():
        j = int(np.where(near.is_wrong, near.sigmas, -1.0).argmax())
        return (
            f"In coordinate {j} it is not the slope of the log density near the mean of the draws, "
            f"by {near.sigmas[j]:.3g} standard errors. Draws on the constrained scale with scores "
            "on the unconstrained scale look like this."
        )
    worst = int(np.where(matrix.is_wrong, matrix.sigmas, -1.0).argmax())
    i, j = divmod(worst, len(factors))
    return (
        f"Coordinate {i} and the score of coordinate {j} have a product of mean "
        f"{matrix.mean[i, j]:.3g}, {matrix.sigmas[i, j]:.3g} standard errors from 0; are the "
        "coordinates in another order?"
    )
