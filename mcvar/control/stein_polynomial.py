"""Polynomial Stein controls: what the score makes of polynomials integrates to zero."""

from math import comb
from typing import Any, Literal

import numpy as np
from sklearn.base import clone

from mcvar._checks import as_count, as_number, known_name
from mcvar._typing import FloatArray
from mcvar.control import penalties
from mcvar.control.base import LinearControl
from mcvar.control.standardise import Coordinates
from mcvar.control.stein_polynomial_features import langevin_indices, stein_features
from mcvar.moments import Moments, total
from mcvar.targets import Target

_MOST_FEATURES = 5000
_HIGHEST_AUTOMATIC = 4
_SCALING_DRAWS = 1024  # of a target, to centre and scale by


class SteinPolynomial(LinearControl):
    """Langevin Stein operator of all polynomials up to a total degree (zero-variance control).

    For a polynomial P and the score s = ∇ log π, ΔP + s·∇P has expectation zero. Degree 1 gives
    the scores themselves. Least squares is exact for polynomial integrands of that degree under
    normal targets. Known as ZV-CV, ZVMC, control variates by Stein's method.

    Parameters
    ----------
    degree : int or "auto"
        Total degree; "auto" raises it until the out-of-fold variance of the integrand rises.
    penalty : {None, "ridge", "lasso", "elasticnet"}
        None: least squares. "ridge": penalty by generalised cross-validation. "lasso",
        "elasticnet": penalties by cross-validation over folds. All from moments, for every
        integrand its own.
    l1_ratio : float
        Share of the absolute penalty in the elastic net.
    standardise : {"auto", "cholesky", "sd", None}
        Coordinates of the polynomials: the draws have mean zero and unit covariance there, or
        unit variances, or are left alone, which makes the features of the papers. "auto" is
        "cholesky" without absolute penalties, and "sd" with them: a rotation would cost sparsity.

    Attributes
    ----------
    coordinates_ : Coordinates
        Of a copy that has seen draws: their location and root.

    References
    ----------
    Mira, Solgi & Imparato, "Zero variance Markov chain Monte Carlo for Bayesian estimators",
    Statistics and Computing 23 (2013), eq. 6; South, Oates, Mira & Drovandi, "Regularized
    zero-variance control variates", Bayesian Analysis 18 (2023), section 3.

    Examples
    --------
    The second moment of a normal law from 100 draws, exactly:

    >>> import numpy as np, mcvar
    >>> x = np.random.default_rng(1).normal(3.0, 2.0, size=(100, 1))
    >>> draws = mcvar.Draws(x, grad_logpdf=-(x - 3.0) / 4.0)
    >>> est = mcvar.estimate(x[:, 0] ** 2, draws, control=mcvar.control.SteinPolynomial(2))
    >>> abs(est.value - 13.0) < 1e-9
    True
    """

    mean_is_stated = False
    needs_score = True

    def __init__(
        self,
        degree: int | Literal["auto"] = 2,
        penalty: Literal["ridge", "lasso", "elasticnet"] | None = None,
        l1_ratio: float = 0.5,
        standardise: Literal["auto", "cholesky", "sd"] | None = "auto",
    ) -> None:
        self.degree = degree
        self.penalty = penalty
        self.l1_ratio = l1_ratio
        self.standardise = standardise

    def for_target(self, target: Target) -> "SteinPolynomial":
        """Return a copy scaled to trial draws of the target."""
        if self._is_automatic:
            raise ValueError(
                "degree='auto' chooses among draws that exist; give a degree for a target."
            )
        return self.for_draws(target.random(_SCALING_DRAWS, np.random.default_rng(0)).x)

    def for_draws(self, x: FloatArray) -> "SteinPolynomial":
        """Return a copy that centres and scales by these draws."""
        if self.penalty is not None:
            known_name("penalty", self.penalty, ("ridge", "lasso", "elasticnet"))
        if not 0 < as_number("l1_ratio", self.l1_ratio) <= 1:
            raise ValueError(f"l1_ratio must lie in (0, 1], got {self.l1_ratio!r}.")
        as_count("degree", self.degree)
        bound: SteinPolynomial = clone(self)
        kind = self.standardise
        if kind is not None:
            known_name("standardise", kind, ("auto", "cholesky", "sd"))
        if kind == "auto":
            kind = "sd" if self.penalty in ("lasso", "elasticnet") else "cholesky"
        bound.coordinates_ = Coordinates.of(x, None, kind)
        if bound.n_features > _MOST_FEATURES:
            raise ValueError(
                f"degree {self.degree} in {x.shape[1]} dimensions makes {bound.n_features} "
                f"features; at most {_MOST_FEATURES} are supported. Lower the degree."
            )
        return bound

    def of_degrees(self, ndim: int, most_features: int) -> "list[SteinPolynomial]":
        """Return copies of degree 1, 2, ... while they make at most so many features."""
        degrees = range(1, _HIGHEST_AUTOMATIC + 1)
        fitting = [q for q in degrees if comb(ndim + q, q) - 1 <= most_features]
        return [clone(self).set_params(degree=q) for q in fitting]

    @property
    def _is_automatic(self) -> bool:
        return isinstance(self.degree, str) and self.degree == "auto"

    @property
    def n_features(self) -> int:
        """Number of features k = C(d + degree, degree) − 1."""
        return comb(len(self.coordinates_.location) + int(self.degree), int(self.degree)) - 1

    def features(self, x: FloatArray, *score: FloatArray) -> FloatArray:
        """Evaluate ΔP + s·∇P in standardised coordinates, shape (n, k)."""
        z, s = self.coordinates_.points(x), self.coordinates_.scores(score[0])
        return stein_features(z, s, langevin_indices(x.shape[1], int(self.degree)))

    def feature_mean(self) -> float:
        """Zero, by Stein's identity."""
        return 0.0

    def solve(self, parts: list[Moments]) -> FloatArray:
        """Fit by least squares or with the penalty."""
        if self.penalty == "ridge":
            return penalties.ridge(total(parts))
        if self.penalty is None:
            return super().solve(parts)
        l1_ratio = 1.0 if self.penalty == "lasso" else self.l1_ratio
        return penalties.elastic_net(parts, l1_ratio)

    def fit(self, X: Any, y: Any, grad_logpdf: Any = None) -> "SteinPolynomial":
        """Fit on draws X with values y and scores `grad_logpdf`."""
        if self._is_automatic:
            raise ValueError(
                "degree='auto' is chosen by mcvar.estimate out of fold; give a degree to fit()."
            )
        super().fit(X, y, grad_logpdf)
        return self

    def describe(self) -> str:
        """Name degree and penalty."""
        penalty = f", {self.penalty!r}" if self.penalty else ""
        return f"SteinPolynomial({self.degree!r}{penalty})"
