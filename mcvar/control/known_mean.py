"""Controls of the user's own: functions whose expectation is known."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mcvar._checks import as_finite_array, as_real_array
from mcvar._typing import FloatArray
from mcvar.control.base import LinearControl
from mcvar.exceptions import NonFiniteError
from mcvar.result import Estimate


class KnownMean(LinearControl):
    """Features h(x) with known expectation.

    Parameters
    ----------
    h : callable, (n, d) -> (n,) or (n, k)
        One or many features, evaluated at the integrand's points.
    mean : float or array_like, shape (k,); Estimate; or tuple (mean, covariance)
        What ``estimate(h, target)`` converges to: the expectation under a law, the integral over
        a box. An `mcvar.Estimate` of it, from other draws, or means (k,) with their covariance
        (k, k): coefficients and error bar then account for the error of the mean.

    Raises
    ------
    ControlMeanError
        From `estimate`, where the sample mean of h contradicts `mean` (p < 1e-7).

    References
    ----------
    Glasserman, *Monte Carlo Methods in Financial Engineering* (2003), section 4.1.

    Notes
    -----
    With a mean of covariance V the coefficients are B = (S_hh + nV)⁻¹ S_hy, and BᵀVB is added to
    the variance. An estimated mean must come from other draws than the estimate that it serves;
    `estimate` sees to that for its own, whatever `rng`.

    Examples
    --------
    exp(x) on (0, 1) with its first Taylor terms as control:

    >>> import numpy as np, mcvar
    >>> taylor = mcvar.control.KnownMean(lambda x: x[:, 0] + x[:, 0] ** 2 / 2, 1 / 2 + 1 / 6)
    >>> est = mcvar.estimate(lambda x: np.exp(x[:, 0]), [(0, 1)], n=1000, rng=1,
    ...                      sampler="montecarlo", control=taylor)
    >>> bool(est.variance_reduction > 100), abs(est.value - (np.e - 1)) < 1e-2
    (True, True)

    A mean that is an estimate itself, of many cheap evaluations:

    >>> cheap = mcvar.estimate(lambda x: x[:, 0] ** 2, [(0, 1)], n=2**14, rng=1)
    >>> control = mcvar.control.KnownMean(lambda x: x[:, 0] ** 2, cheap)
    >>> est = mcvar.estimate(lambda x: np.exp(x[:, 0]), [(0, 1)], n=200, rng=1,
    ...                      sampler="montecarlo", control=control)
    >>> bool(est.variance_reduction > 5)
    True
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
        """Stated means, shape (k,)."""
        mean = self.mean
        if isinstance(mean, Estimate):
            mean = mean.value
        elif _is_pair(mean):
            mean = mean[0]
        return np.atleast_1d(as_finite_array("mean", mean)).ravel()

    def feature_mean_covariance(self) -> FloatArray | None:
        """Covariance (k, k) of the stated means; None where they are exact."""
        if isinstance(self.mean, Estimate):
            covariance = self.mean.covariance
            if covariance is None:
                covariance = np.diag(np.atleast_1d(self.mean.standard_error) ** 2)
        elif _is_pair(self.mean):
            covariance = self.mean[1]
        else:
            return None
        found = np.atleast_2d(as_finite_array("covariance of the mean", covariance))
        k = len(self.feature_mean())
        if found.shape != (k, k) or (np.diagonal(found) < 0).any():
            raise ValueError(
                f"the covariance of the mean has shape {found.shape} and a least variance of "
                f"{np.diagonal(found).min():.3g} for {k} mean(s); expected ({k}, {k}), with no "
                "negative number on its diagonal."
            )
        return found

    def describe(self) -> str:
        """Name the function and the number of features."""
        name = getattr(self.h, "__name__", type(self.h).__name__)
        k = len(self.feature_mean())
        return f"KnownMean({name}), {k} feature{'s' if k > 1 else ''}"

    @property
    def n_features(self) -> int:
        """Number of features k."""
        return len(self.feature_mean())


def _is_pair(mean: Any) -> bool:
    """Whether a mean came with its covariance matrix, rather than as two means."""
    return isinstance(mean, tuple) and len(mean) == 2 and np.ndim(mean[1]) == 2
