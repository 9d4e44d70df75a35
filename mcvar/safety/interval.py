"""Intervals for means of skewed values: weights of crashes always are."""

import numpy as np

from mcvar._typing import FloatArray
from mcvar.result import ConfidenceInterval, interval_widths


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
    """Hall's confidence interval for the mean of skewed values.

    Parameters
    ----------
    mean, standard_error : float
    skewness : float
        Of the values over √n, see `relative_skewness`; 0 gives Student's interval.
    df, level : float

    Examples
    --------
    >>> low, high = skewed_interval(1.0, 0.1, 0.2, 999, 0.90)
    >>> round(low, 3), round(high, 3)
    (0.853, 1.191)
    """
    below, above = interval_widths(standard_error, df, level, skewness)
    return ConfidenceInterval(float(mean - below), float(mean + above))
