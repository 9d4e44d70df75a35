"""Intervals for means of skewed values: weights of crashes always are."""

import numpy as np
from scipy import special

from mcvar._typing import FloatArray
from mcvar.result import ConfidenceInterval


def relative_skewness(values: FloatArray) -> float:
    """Skewness over √n: how skewed the mean of `values` still is."""
    centred = values - values.mean()
    squares = float(np.mean(centred**2))
    if squares == 0:
        return 0.0
    return float(np.mean((centred / np.sqrt(squares)) ** 3) / np.sqrt(len(values)))


def skewed_interval(
    mean: float, standard_error: float, skewness: float, df: float, level: float
) -> ConfidenceInterval[float]:
    """Return Hall's interval: Student's, of a cubic transform that takes out the skewness.

    Parameters
    ----------
    mean, standard_error : float
    skewness : float
        Of the values over √n, see `relative_skewness`; 0 gives Student's interval.
    df, level : float

    References
    ----------
    Hall, "On the removal of skewness by transformation", Journal of the Royal Statistical Society
    B 54 (1992), eq. 2.4: monotone, with a skewness error of order 1/n.

    Examples
    --------
    >>> low, high = skewed_interval(1.0, 0.1, 0.2, 999, 0.90)
    >>> round(low, 3), round(high, 3)
    (0.853, 1.191)
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie strictly between 0 and 1, got {level!r}.")
    t = special.stdtrit(df, np.array([0.5 - level / 2, 0.5 + level / 2]))
    if abs(skewness) > 1e-9:
        t = 3 / skewness * (np.cbrt(1 + skewness * (t - skewness / 6)) - 1)
    low, high = mean - standard_error * t[::-1]
    return ConfidenceInterval(float(low), float(high))
