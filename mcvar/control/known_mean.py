"""Controls of the user's own: functions whose expectation is known."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mcvar._checks import as_finite_array, as_real_array
from mcvar._typing import FloatArray
from mcvar.control.base import LinearControl
from mcvar.exceptions import NonFiniteError


class KnownMean(LinearControl):
    """Features h(x) with known expectation.

    Parameters
    ----------
    h : callable, (n, d) -> (n,) or (n, k)
        One or many features, evaluated at the integrand's points.
    mean : float or array_like, shape (k,)
        What ``estimate(h, target)`` converges to: the expectation under a law, the integral over
        a box.

    Raises
    ------
    ControlMeanError
        From `estimate`, where the sample mean of h contradicts `mean` (p < 1e-7).

    References
    ----------
    Glasserman, *Monte Carlo Methods in Financial Engineering* (2003), section 4.1.

    Examples
    --------
    exp(x) on (0, 1) with its first Taylor terms as control:

    >>> import numpy as np, mcvar
    >>> taylor = mcvar.control.KnownMean(lambda x: x[:, 0] + x[:, 0] ** 2 / 2, 1 / 2 + 1 / 6)
    >>> est = mcvar.estimate(lambda x: np.exp(x[:, 0]), [(0, 1)], n=1000, rng=1,
    ...                      sampler="montecarlo", control=taylor)
    >>> bool(est.variance_reduction > 100), abs(est.value - (np.e - 1)) < 1e-2
    (True, True)
    """

    def __init__(self, h: Callable[[Any], Any], mean: Any) -> None:
        self.h = h
        self.mean = mean

    def features(self, x: FloatArray) -> FloatArray:
        """Evaluate h."""
        values = as_real_array("h(x)", self.h(x))
        values = values[:, np.newaxis] if values.ndim == 1 else values
        mean = self.feature_mean()
        if values.shape != (len(x), len(mean)):
            raise ValueError(
                f"h(x) has shape {values.shape} for {len(x)} points and {len(mean)} known "
                f"mean(s); expected ({len(x)}, {len(mean)})."
            )
        with np.errstate(over="ignore", invalid="ignore"):
            total = values.sum()
        if not np.isfinite(total) and not np.isfinite(values).all():
            i, j = (int(index) for index in np.argwhere(~np.isfinite(values))[0])
            raise NonFiniteError(
                f"control h returned {values[i, j]} at x = {x[i]}; expected finite numbers."
            )
        return values

    def feature_mean(self) -> FloatArray:
        """Return the stated means, shape (k,)."""
        return np.atleast_1d(as_finite_array("mean", self.mean)).ravel()

    def describe(self) -> str:
        """Name the function and the number of features."""
        name = getattr(self.h, "__name__", type(self.h).__name__)
        k = len(self.feature_mean())
        return f"KnownMean({name}), {k} feature{'s' if k > 1 else ''}"

    @property
    def n_features(self) -> int:
        """Number of features k."""
        return len(self.feature_mean())
