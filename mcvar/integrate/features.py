"""Features of expectation zero under the law that draws are made from."""

from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from mcvar._checks import known_name
from mcvar._typing import FloatArray
from mcvar.draws import Draws
from mcvar.integrate.values import Measure
from mcvar.moments import Moments, solve_normal_equations, total

if TYPE_CHECKING:
    from mcvar.control import LinearControl


def is_linear(control: Any) -> "TypeGuard[LinearControl]":
    """Whether `control` is linear in features of known mean.

    Duck-typed, so that scikit-learn, from which the class derives, is imported only where a control
    is used.
    """
    if isinstance(control, type):
        raise TypeError(
            f"control must be an object, got the class {control.__name__}; give "
            f"{control.__name__}(...)."
        )
    return callable(getattr(control, "features", None)) and hasattr(control, "feature_mean")


def check_regressor(control: Any) -> None:
    """Raise TypeError for anything that is neither a control nor a regressor."""
    if isinstance(control, str):
        import mcvar.control

        names = [name for name in mcvar.control.__all__ if name[0].isupper()]
        known_name("control", control, ("auto", *names))
        raise TypeError(
            f"control={control!r} is a name; give the object mcvar.control.{control}(...)."
        )
    if not all(callable(getattr(control, name, None)) for name in ("fit", "predict", "get_params")):
        raise TypeError(
            f"control must be 'auto', None, a control from mcvar.control or a scikit-learn "
            f"regressor with a `mean_`, or a list of these, got {control!r}."
        )
    from sklearn.base import clone

    try:
        clone(control)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"control {control!r} cannot be cloned for each fold: {error}") from error


class ZeroMeanFeatures:
    """Features of a linear control and of the draws themselves, less their expectations.

    With likelihood-ratio weights w the feature is w h(x) − E h, which has expectation zero under
    the law of the draws; with weights known only up to a constant, w (h(x) − E h).

    Parameters
    ----------
    control : LinearControl or None
    measure : Measure
    own : bool
        Whether functions of mean zero that the draws bring along are features too.
    """

    def __init__(
        self, control: "LinearControl | None", measure: Measure, *, own: bool = True
    ) -> None:
        self.control = control
        self.own = own
        self._measure = measure

    @property
    def checks_means(self) -> bool:
        """Whether the means are a user's statement, to be tested, rather than a theorem."""
        return self.control is not None and self.control.mean_is_stated

    def is_empty(self, draws: Draws) -> bool:
        """Whether there is nothing to regress on."""
        return self.control is None and not (self.own and draws.zero_mean is not None)

    @property
    def mean_covariance(self) -> FloatArray | None:
        """Covariance of the means of the control's features; None where these are exact."""
        if self.control is None:
            return None
        covariance = self.control.feature_mean_covariance()
        return None if covariance is None else covariance / self._measure.mass**2

    def coefficients(self, parts: list[Moments], n: int, spread: float = 1.0) -> FloatArray:
        """Coefficients (k, m) of values on features, from moments of parts of a sample.

        Where means have a covariance V, least squares is penalised by it: B = (S_hh + nV)⁻¹ S_hy
        minimises the error of the mean of n draws, that of the known means included.

        Parameters
        ----------
        parts : list of Moments
        n : int
            Draws of the estimate.
        spread : float
            Variance of a mean of draws in units of that of independent draws.
        """
        if self.control is None:
            return total(parts).coefficients()
        covariance = self.mean_covariance
        if covariance is None:
            return self.control.solve(parts)
        merged = total(parts)
        gram = merged.features.copy()
        k = len(covariance)
        gram[:k, :k] += merged.n * n / max(spread, 1e-12) * covariance
        return solve_normal_equations(gram, merged.cross)

    def __call__(self, draws: Draws) -> FloatArray:
        """Features at draws, shape (n, k)."""
        own = draws.zero_mean if self.own else None
        if self.control is None:
            assert own is not None
            return own
        known = self._known(self.control, draws)
        return known if own is None else np.concatenate([known, own], axis=1)

    def _known(self, control: "LinearControl", draws: Draws) -> FloatArray:
        scores = (draws.grad_logpdf,) if control.needs_score else ()
        features = control.features(draws.x, *scores)
        mean, mass, weights = control.feature_mean(), self._measure.mass, draws.weights
        if weights is None or control.law == "draws":
            return _shifted(features, np.asarray(mean) / mass)
        if self._measure.self_normalized:
            return weights[:, np.newaxis] * _shifted(features, mean)
        return _shifted(weights[:, np.newaxis] * features, np.asarray(mean) / mass)


def _shifted(features: FloatArray, mean: FloatArray | float) -> FloatArray:
    return features - mean if np.any(mean) else features
