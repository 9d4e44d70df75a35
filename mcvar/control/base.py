"""Controls: regressors whose prediction has a known expectation.

Any scikit-learn regressor that sets `mean_`, the exact expectation of its prediction, in ``fit``
is a control. Those that are linear in fixed features derive from `LinearControl`: the engine then
works from the features' moments, in memory that does not grow with the number of draws.
"""

from abc import abstractmethod
from typing import Any, Literal

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from mcvar._checks import as_points, as_real_array
from mcvar._typing import FloatArray
from mcvar.moments import Moments
from mcvar.targets import Target


class LinearControl(RegressorMixin, BaseEstimator):
    """A control linear in features of known expectation.

    Subclasses define `features`, `feature_mean` and `n_features`. ``fit`` and ``predict`` serve
    whoever uses the control as a scikit-learn regressor; `estimate` reads the features themselves.

    Attributes
    ----------
    law : {"target", "draws"}
        Under which law `feature_mean` holds: that of the target, or the one that draws are made
        from where the two differ (weighted draws).
    ridge : float
        Penalty on the squared coefficients.
    mean_by_design : bool
        Whether `feature_mean` holds for any target, rather than being stated by a user: what
        cannot be wrong is not tested against samples.
    coef_, intercept_, mean_ : ndarray
        After ``fit``: coefficients, intercept, and the exact expectation of the prediction.
    """

    law: Literal["target", "draws"] = "target"
    ridge: float = 0.0
    mean_by_design: bool = False

    @abstractmethod
    def features(self, x: FloatArray) -> FloatArray:
        """Return the features at ``x (n, d)``, shape (n, k)."""

    @abstractmethod
    def feature_mean(self) -> FloatArray | float:
        """Return their known expectations, shape (k,)."""

    @property
    @abstractmethod
    def n_features(self) -> int:
        """Number of features k."""

    def for_target(self, target: Target) -> "LinearControl":
        """Return this control, ready for draws from `target`."""
        return self

    def describe(self) -> str:
        """Say in a few words what this control is."""
        return repr(self)

    @property
    def needs_training(self) -> bool:
        """Whether features or penalty are still to be chosen, on draws spent for that alone."""
        return False

    def trained(self, x: FloatArray, y: FloatArray) -> "LinearControl":
        """Choose features and penalty from draws ``x (n, d)`` and values ``y (n, m)``."""
        return self

    def fit(self, X: Any, y: Any) -> "LinearControl":
        """Fit by least squares with an intercept.

        Parameters
        ----------
        X : array_like, shape (n, d)
        y : array_like, shape (n,) or (n, m)
        """
        x, values = as_points("X", X), as_real_array("y", y)
        columns = values.reshape(len(x), -1)
        chosen = self.trained(x, columns) if self.needs_training else self
        moments = Moments.of(columns, chosen.features(x))
        coefficients = moments.coefficients(chosen.ridge)
        intercept = moments.residual(coefficients)[0]
        shape = values.shape[1:]
        self._fitted_by = chosen
        self.n_features_in_ = x.shape[1]
        self.coef_ = coefficients.reshape(-1, *shape)
        self.intercept_ = intercept.reshape(shape)
        mean = np.broadcast_to(chosen.feature_mean(), (moments.k,))
        self.mean_ = self.intercept_ + mean @ self.coef_
        return self

    def predict(self, X: Any) -> FloatArray:
        """Return the prediction at ``X (n, d)``."""
        check_is_fitted(self, "coef_")
        return np.asarray(
            self.intercept_ + self._fitted_by.features(as_points("X", X)) @ self.coef_
        )
