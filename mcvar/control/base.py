"""Controls: regressors whose prediction has a known expectation.

Any scikit-learn regressor that sets `mean_`, the exact expectation of its prediction, in ``fit``
is a control. Those that are linear in fixed features derive from `LinearControl`: the engine then
works from the features' moments, in memory that does not grow with the number of draws.
"""

from abc import abstractmethod
from typing import Any, Literal, Self

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from mcvar._checks import as_points, as_real_array
from mcvar._typing import FloatArray
from mcvar.exceptions import MagnitudeError
from mcvar.moments import Moments, total
from mcvar.targets import Target

_PARTS = 5  # of the draws given to fit(), for penalties chosen by cross-validation


class ScoreAware(RegressorMixin):
    """A scikit-learn regressor whose prediction may need the score ∇ log π at the points."""

    def score(self, X: Any, y: Any, sample_weight: Any = None, grad_logpdf: Any = None) -> float:
        """Return R² of the prediction at ``X (n, d)``, with the scores there where it needs them.

        The variance that a control leaves is 1 − R² times that of the values.
        """
        from sklearn.metrics import r2_score

        score = () if grad_logpdf is None else (grad_logpdf,)
        return float(r2_score(y, self.predict(X, *score), sample_weight=sample_weight))


class LinearControl(ScoreAware, BaseEstimator):
    """A control linear in features of known expectation.

    Subclasses define `features`, `feature_mean` and `n_features`. ``fit`` and ``predict`` serve
    whoever uses the control as a scikit-learn regressor; `estimate` reads the features themselves.

    Attributes
    ----------
    law : {"target", "draws"}
        Under which law `feature_mean` holds: that of the target, or the one that draws are made
        from where the two differ (weighted draws).
    mean_is_stated : bool
        Whether the means are what somebody says, rather than a theorem, and are put to the test.
    needs_score : bool
        Whether the features take the score ∇ log π at the points as a second argument.
    ridge : float
        Penalty on the squared coefficients.
    coef_, intercept_, mean_ : ndarray
        After ``fit``: coefficients, intercept, and the exact expectation of the prediction.

    Examples
    --------
    A control of your own says features and their means; it is a scikit-learn regressor for that:

    >>> import numpy as np, mcvar
    >>> class Cosines(mcvar.control.LinearControl):
    ...     n_features = 3
    ...     def features(self, x):
    ...         return np.cos(2 * np.pi * x[:, :1] * np.arange(1, 4))
    ...     def feature_mean(self):
    ...         return np.zeros(3)
    >>> x = np.random.default_rng(1).uniform(size=(500, 1))
    >>> y = 1 + np.cos(2 * np.pi * x[:, 0])
    >>> float(Cosines().fit(x, y).mean_), round(Cosines().fit(x, y).score(x, y), 6)
    (1.0, 1.0)
    """

    law: Literal["target", "draws"] = "target"
    mean_is_stated: bool = True
    needs_score: bool = False
    ridge: float = 0.0

    @abstractmethod
    def features(self, x: FloatArray) -> FloatArray:
        """Return the features at ``x (n, d)``, shape (n, k)."""

    @abstractmethod
    def feature_mean(self) -> FloatArray | float:
        """Return their known expectations, shape (k,)."""

    def feature_mean_covariance(self) -> FloatArray | None:
        """Covariance (k, k) of those expectations where they are estimates; None: exact."""
        return None

    @property
    @abstractmethod
    def n_features(self) -> int:
        """Number of features k."""

    def for_target(self, target: Target) -> "LinearControl":
        """Return this control, ready for draws from `target`."""
        return self

    def for_draws(self, x: FloatArray) -> "LinearControl":
        """Return this control, scaled to draws ``x (n, d)`` whose values it has not seen."""
        return self

    def solve(self, parts: list[Moments]) -> FloatArray:
        """Return coefficients (k, m) from the moments of parts of a sample.

        Penalties that are chosen by cross-validation use the parts as its folds.
        """
        return total(parts).coefficients(self.ridge)

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

    def fit(self, X: Any, y: Any, grad_logpdf: Any = None) -> Self:
        """Fit with an intercept.

        Parameters
        ----------
        X : array_like, shape (n, d)
        y : array_like, shape (n,) or (n, m)
        grad_logpdf : array_like, shape (n, d), optional
            Scores at X, for controls that need them.
        """
        x, values = as_points("X", X), as_real_array("y", y)
        if values.ndim not in (1, 2) or len(values) != len(x) or 0 in values.shape:
            raise ValueError(
                f"y has shape {values.shape} for {len(x)} points; expected ({len(x)},) or "
                f"({len(x)}, m)."
            )
        columns = values.reshape(len(x), -1)
        score = self._score(x, grad_logpdf)
        chosen = self.trained(x, columns) if self.needs_training else self.for_draws(x)
        with np.errstate(over="ignore", invalid="ignore"):  # sums of squares tell, below
            features = chosen.features(x, *score)
        split = _PARTS if len(x) >= 2 * _PARTS else 1
        parts = [Moments.of(columns[i::split], features[i::split]) for i in range(split)]
        coefficients = chosen.solve(parts)
        intercept = total(parts).residual(coefficients)[0]
        shape = values.shape[1:]
        self._fitted_by = chosen
        self.n_features_in_ = x.shape[1]
        self.coef_ = coefficients.reshape(-1, *shape)
        self.intercept_ = intercept.reshape(shape)
        mean = np.broadcast_to(chosen.feature_mean(), (features.shape[1],))
        self.mean_ = self.intercept_ + mean @ self.coef_
        return self

    def predict(self, X: Any, grad_logpdf: Any = None) -> FloatArray:
        """Return the prediction at ``X (n, d)``, with the scores there where they are needed."""
        check_is_fitted(self, "coef_")
        x = as_points("X", X)
        with np.errstate(over="ignore", invalid="ignore"):
            features = self._fitted_by.features(x, *self._score(x, grad_logpdf))
            prediction = np.asarray(self.intercept_ + features @ self.coef_)
        if not np.isfinite(prediction).all():
            raise MagnitudeError(
                f"the prediction overflows at points that reach {np.abs(x).max():.3g} in size."
            )
        return prediction

    def _score(self, x: FloatArray, grad_logpdf: Any) -> tuple[FloatArray, ...]:
        """Return the score as the further arguments of `features`: one, or none."""
        if not self.needs_score:
            return ()
        if grad_logpdf is None:
            raise TypeError(f"{type(self).__name__} needs grad_logpdf, the score ∇ log π at X.")
        score = as_points("grad_logpdf", grad_logpdf)
        if score.shape != x.shape:
            raise ValueError(f"grad_logpdf has shape {score.shape}; expected that of X, {x.shape}.")
        return (score,)
