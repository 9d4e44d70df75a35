"""Intervals for crude runs: k crashes in n naturalistic scenarios."""

import numpy as np
from scipy import special

from mcvar._checks import as_count, as_number
from mcvar.result import ConfidenceInterval


def clopper_pearson(crashes: int, n: int, level: float = 0.90) -> ConfidenceInterval[float]:
    """Return the exact interval, which never covers less than `level`.

    With no crash it is one-sided, so that its upper limit at 95 % is 3/n, near enough.

    References
    ----------
    Clopper & Pearson, "The use of confidence or fiducial limits", Biometrika 26 (1934); Hanley &
    Lippman-Hand, "If nothing goes wrong, is everything all right?", JAMA 249 (1983).

    Examples
    --------
    >>> round(clopper_pearson(0, 1000, 0.95).high * 1000, 2)
    2.99
    """
    crashes, n = _counts(crashes, n, level)
    tail = (1 - level) / 2
    low = 0.0 if crashes == 0 else float(special.betaincinv(crashes, n - crashes + 1, tail))
    if crashes == n:
        return ConfidenceInterval(float((1 - level) ** (1 / n)), 1.0)
    if crashes == 0:
        return ConfidenceInterval(0.0, float(-np.expm1(np.log1p(-level) / n)))
    return ConfidenceInterval(low, float(special.betaincinv(crashes + 1, n - crashes, 1 - tail)))


def wilson(crashes: int, n: int, level: float = 0.90) -> ConfidenceInterval[float]:
    """Return Wilson's score interval, which covers `level` on average over rates.

    References
    ----------
    Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22
    (1927), eq. 6.

    Examples
    --------
    >>> low, high = wilson(3, 1000, 0.95)
    >>> round(low, 5), round(high, 5)
    (0.00102, 0.00878)
    """
    crashes, n = _counts(crashes, n, level)
    z = float(special.ndtri(0.5 + level / 2))
    p = crashes / n
    centre = p + z**2 / (2 * n)
    half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    scale = 1 + z**2 / n
    low = 0.0 if crashes == 0 else max((centre - half) / scale, 0.0)
    high = 1.0 if crashes == n else min((centre + half) / scale, 1.0)
    return ConfidenceInterval(float(low), float(high))


def _counts(crashes: int, n: int, level: float) -> tuple[int, int]:
    n, crashes = as_count("n", n), as_count("crashes", crashes, 0)
    if crashes > n:
        raise ValueError(f"{crashes} crashes in {n} scenarios; expected at most {n}.")
    if not 0 < as_number("level", level) < 1:
        raise ValueError(f"level must lie strictly between 0 and 1, got {level!r}.")
    return crashes, n
