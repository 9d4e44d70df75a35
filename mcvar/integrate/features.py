"""Features of expectation zero under the law that draws are made from."""

from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from mcvar._typing import FloatArray
from mcvar.draws import Draws
from mcvar.moments import Moments, total
from mcvar.targets import Target

if TYPE_CHECKING:
    from mcvar.control import LinearControl


def is_linear(control: Any) -> "TypeGuard[LinearControl]":
    """Whether `control` is linear in features of known mean.

    Told by what it offers, not by its class: scikit-learn, from which the class derives, is loaded
    only where a control is used.
    """
    if isinstance(control, type):
        raise TypeError(
            f"control must be an object, got the class {control.__name__}; give "
            f"{control.__name__}(...)."
        )
    return callable(getattr(control, "features", None)) and hasattr(control, "feature_mean")


class ZeroMeanFeatures:
    """Turns a linear control and a sampler's own known-mean functions into regression features.

    With likelihood-ratio weights w the feature is w h(x) − E h, which has expectation zero under
    the law of the draws; with weights known only up to a constant, w (h(x) − E h). `own` says
    whether to use the functions of known mean that the draws bring along.
    """

    def __init__(
        self, control: "LinearControl | None", target: Target, *, own: bool = True
    ) -> None:
        self.control = control
        self.own = own
        self._target = target
        self._mass = target.mass
        self._self_normalized = target.self_normalized

    @property
    def n_stated(self) -> int:
        """Number of leading features whose mean a user states; those of samplers hold by design."""
        if self.control is None or not self.control.mean_is_stated:
            return 0
        return self.control.n_features

    def is_empty(self, draws: Draws) -> bool:
        """Whether there is nothing to regress on."""
        return self.control is None and not (self.own and draws.zero_mean is not None)

    def coefficients(self, parts: list[Moments]) -> FloatArray:
        """Fit the features to the values as the control wants it: a `combine.Solver`."""
        return total(parts).coefficients() if self.control is None else self.control.solve(parts)

    def __call__(self, draws: Draws) -> FloatArray | None:
        """Return features (n, k), or None where there are none."""
        own = draws.zero_mean if self.own else None
        if self.control is None:
            return own
        known = self._known(self.control, draws)
        return known if own is None else np.concatenate([known, own], axis=1)

    def _known(self, control: "LinearControl", draws: Draws) -> FloatArray:
        score = (self._score(draws),) if control.needs_score else ()
        features, mean = control.features(draws.x, *score), control.feature_mean()
        weights = draws.weights
        if weights is None or control.law == "draws":
            return _shifted(features, np.asarray(mean) / self._mass)
        if self._self_normalized:
            return weights[:, np.newaxis] * _shifted(features, mean)
        return _shifted(weights[:, np.newaxis] * features, np.asarray(mean) / self._mass)

    def _score(self, draws: Draws) -> FloatArray:
        return self._target.grad_logpdf(draws.x) if draws.grad_logpdf is None else draws.grad_logpdf


def _shifted(features: FloatArray, mean: FloatArray | float) -> FloatArray:
    return features - mean if np.any(mean) else features
