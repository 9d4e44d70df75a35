"""Polynomial Stein control of several tasks: one choice of features for all of them."""

from collections.abc import Sequence
from math import comb
from typing import Any, Literal

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from mcvar._checks import as_count, known_name
from mcvar._typing import FloatArray
from mcvar.control import penalties
from mcvar.control.sample import points_and_scores
from mcvar.control.standardise import Coordinates
from mcvar.control.stein_polynomial import SteinPolynomial
from mcvar.control.stein_polynomial_features import langevin_indices, stein_features
from mcvar.control.task_samples import check_extends, checked_samples
from mcvar.moments import Moments, total

_MOST_FEATURES = 2000
_PARTS = 5  # of a task's draws, for the penalty
_LEAST_SPLIT = 10  # draws of a task that is left out part by part


class VectorSteinPolynomial(BaseEstimator):
    """Polynomial Stein control of several tasks that use the same few polynomials.

    Every task has draws, a target and coefficients of its own; a penalty on the norm of a
    polynomial's T coefficients (group lasso) takes or leaves it for all tasks at once, so that few
    draws of a task suffice where others tell which polynomials matter. The sibling of
    `VectorSteinKernel` where there are more polynomials than draws and few of them count.

    Parameters
    ----------
    degree : int
        Total degree of the polynomials.
    penalty : float, optional
        λ, for values in units of their task's deviation and features of unit variance; chosen by
        cross-validation over parts of the draws if left out.
    l1_ratio : float
        Share of the group penalty; the rest is a ridge (elastic net).
    standardise : {"sd", "cholesky", None}
        Coordinates of the polynomials: where the draws of all tasks together have unit variances,
        or unit covariance, or as they are. A rotation costs sparsity.
    warm_start : bool
        Whether another ``fit`` keeps coordinates and penalty of the tasks it had, which come first.

    Attributes
    ----------
    mean_ : ndarray, shape (T,)
        Exact expectation of each task's prediction.
    coef_ : ndarray, shape (k, T)
    penalty_ : float
        λ.
    task_covariance_ : ndarray, shape (T, T)
        Products of the tasks' coefficients, for features of unit variance and values in units of
        their deviations.

    References
    ----------
    Obozinski, Taskar & Jordan, "Joint covariate selection and joint subspace selection for multiple
    classification problems", Statistics and Computing 20 (2010); South, Oates, Mira & Drovandi,
    "Regularized zero-variance control variates", Bayesian Analysis 18 (2023), section 3.

    Examples
    --------
    Two of 65 polynomials matter, and the second task has too few draws to tell which:

    >>> import numpy as np, mcvar
    >>> rng = np.random.default_rng(1)
    >>> x = [rng.normal(size=(200, 10)), rng.normal(size=(30, 10))]
    >>> values = [p[:, 0] ** 2 + p[:, 1] for p in x]
    >>> control = mcvar.control.VectorSteinPolynomial(2).fit(x, values, [-p for p in x])
    >>> bool(np.abs(control.mean_ - 1).max() < 0.02)
    True
    """

    needs_score = True

    def __init__(
        self,
        degree: int = 2,
        penalty: float | None = None,
        l1_ratio: float = 1.0,
        standardise: Literal["sd", "cholesky"] | None = "sd",
        warm_start: bool = False,
    ) -> None:
        self.degree = degree
        self.penalty = penalty
        self.l1_ratio = l1_ratio
        self.standardise = standardise
        self.warm_start = warm_start

    def fit(
        self, X: Sequence[Any], y: Sequence[Any], grad_logpdf: Sequence[Any]
    ) -> "VectorSteinPolynomial":
        """Choose the penalty and fit.

        Parameters
        ----------
        X, grad_logpdf : sequences of T array_like, shapes (n_t, d)
            Draws of each task, and its own target's score there.
        y : sequence of T array_like, shapes (n_t,)

        Raises
        ------
        ValueError
            Shapes that disagree, tasks of different dimensions, a degree that makes too many
            features, or fewer than 10 draws of every task where the penalty is to be chosen.
        """
        degree = self._checked_options()
        samples = checked_samples(X, y, grad_logpdf, merge=False)
        d = samples[0].x.shape[1]
        k = comb(d + degree, degree) - 1
        if k > _MOST_FEATURES:
            raise ValueError(
                f"degree {degree} in {d} dimensions makes {k} features; at most {_MOST_FEATURES} "
                "are supported. Lower the degree."
            )
        strength = self.penalty
        if self.warm_start and hasattr(self, "coef_"):
            check_extends(self, len(samples), d)
            strength = float(self.penalty_)
        else:
            self.coordinates_ = Coordinates.of(
                np.concatenate([sample.x for sample in samples]), None, self.standardise
            )
        self.indices_ = langevin_indices(d, degree)
        parts, units = [], np.empty(len(samples))
        for t, sample in enumerate(samples):
            deviation, size = sample.y.std(), np.abs(sample.y).max()
            # Values that do not vary have no unit of their own.
            units[t] = deviation if deviation > 1e-14 * size else 1.0
            features, values = self._features(sample.x, sample.s), sample.y / units[t]
            split = _PARTS if sample.n >= _LEAST_SPLIT else 1
            parts.append([Moments.of(values[i::split], features[i::split]) for i in range(split)])
        coefficients, chosen = penalties.group_elastic_net(parts, self.l1_ratio, strength)
        self.penalty_: float = chosen
        wholes = [total(own) for own in parts]
        constants = [
            float(whole.residual(coefficients[:, [t]])[0][0]) for t, whole in enumerate(wholes)
        ]
        spread = np.stack([np.sqrt(np.diagonal(own.features) / own.n) for own in wholes], axis=1)
        self.task_covariance_ = (spread * coefficients).T @ (spread * coefficients)
        self.n_features_in_ = d
        self.n_points_ = sum(sample.n for sample in samples)
        self.coef_ = units * coefficients
        self.mean_ = units * np.array(constants)
        return self

    def predict(self, task: int, X: Any, grad_logpdf: Any) -> FloatArray:
        """Return the prediction of a task at ``X (n, d)`` with scores ``grad_logpdf (n, d)``."""
        check_is_fitted(self, "coef_")
        count = len(self.mean_)
        task = as_count("task", task, 0)
        if task >= count:
            raise ValueError(f"task must be one of 0, ..., {count - 1}, got {task!r}.")
        x, s = points_and_scores(X, grad_logpdf)
        if x.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {x.shape[1]} dimensions; the control was fitted in {self.n_features_in_}."
            )
        return np.asarray(self.mean_[task] + self._features(x, s) @ self.coef_[:, task])

    def scalar(self) -> SteinPolynomial:
        """Return the control of the same kind for a task on its own."""
        kind: Literal["lasso", "elasticnet"] = "lasso" if self.l1_ratio == 1 else "elasticnet"
        return SteinPolynomial(self.degree, kind, self.l1_ratio, self.standardise)

    def describe(self) -> str:
        """Name the degree and, once fitted, what has been chosen."""
        parts = [str(self.degree)]
        if self.l1_ratio != 1:
            parts.append(f"l1_ratio {self.l1_ratio:g}")
        if hasattr(self, "coef_"):
            used = int((self.coef_ != 0).any(axis=1).sum())
            parts.append(f"{used} of {len(self.coef_)} features")
            parts.append(f"penalty {self.penalty_:.2g}")
            parts.append(f"{self.n_points_} points of {len(self.mean_)} tasks")
        return f"VectorSteinPolynomial({', '.join(parts)})"

    def _features(self, x: FloatArray, s: FloatArray) -> FloatArray:
        z, scores = self.coordinates_.points(x), self.coordinates_.scores(s)
        return stein_features(z, scores, self.indices_)

    def _checked_options(self) -> int:
        if not 0 < self.l1_ratio <= 1:
            raise ValueError(f"l1_ratio must lie in (0, 1], got {self.l1_ratio!r}.")
        if self.penalty is not None and not (np.isfinite(self.penalty) and self.penalty >= 0):
            raise ValueError(f"penalty must be a finite number >= 0, got {self.penalty!r}.")
        if self.standardise is not None:
            known_name("standardise", self.standardise, ("sd", "cholesky"))
        return as_count("degree", self.degree)
