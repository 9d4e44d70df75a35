"""Polynomial controls in the target's orthonormal basis."""

import warnings
from typing import Any, Literal

import numpy as np
from sklearn.base import clone

from mcvar._checks import as_count, known_name
from mcvar._typing import FloatArray
from mcvar.control.base import LinearControl
from mcvar.targets import ProductBasis, Target
from mcvar.targets.basis import n_total_degree, total_degree_indices

_MANY_FEATURES = 1000  # beyond this a lasso selects before least squares
_MOST_FEATURES = 20_000
_LASSO_ROWS = 4096


class Polynomial(LinearControl):
    """All products of orthonormal polynomials up to a total degree.

    Hermite polynomials for normal targets, Legendre for boxes, Laguerre for gamma, Jacobi for
    beta; for any other marginal, Legendre polynomials of its distribution function. Their
    expectations are exactly zero.

    Parameters
    ----------
    degree : int
        Total degree.
    penalty : {None, "ridge", "lasso"}
        None: least squares, after selection by a lasso where there are over 1,000 features.
        "ridge": scikit-learn's ``RidgeCV`` chooses the penalty. "lasso": scikit-learn's
        ``LassoCV`` selects features, least squares fits them (LSLASSO). What is chosen is chosen
        on draws that the estimate does not use.
    basis : ProductBasis, optional
        Basis to use outside `estimate`, which passes the target's.

    References
    ----------
    Leluc, Portier & Segers, "Control variate selection for Monte Carlo integration",
    Statistics and Computing 31 (2021), Algorithm 2 (LSLASSO).

    Examples
    --------
    >>> import mcvar, scipy.stats
    >>> est = mcvar.estimate(lambda x: x[:, 0] ** 2 + x[:, 1], [scipy.stats.norm(0, 1)] * 2,
    ...                      n=1000, rng=1, sampler="montecarlo",
    ...                      control=mcvar.control.Polynomial(2))
    >>> abs(est.value - 1) < 1e-10
    True
    """

    mean_is_stated = False

    def __init__(
        self,
        degree: int = 2,
        penalty: Literal["ridge", "lasso"] | None = None,
        basis: ProductBasis | None = None,
    ) -> None:
        self.degree = degree
        self.penalty = penalty
        self.basis = basis

    def for_target(self, target: Target) -> "Polynomial":
        """Return a copy in the target's basis."""
        basis = target.basis()
        if basis is None:
            raise TypeError(
                f"{target!r} has no orthonormal basis for Polynomial; use KnownMean, or define "
                "basis() on the target."
            )
        if self.penalty is not None:
            known_name("penalty", self.penalty, ("ridge", "lasso"))
        ndim = len(basis.families)
        degree = as_count("degree", self.degree)
        k = n_total_degree(ndim, degree)
        if k > _MOST_FEATURES:
            raise ValueError(
                f"degree {self.degree} in {ndim} dimensions makes {k} features; "
                f"at most {_MOST_FEATURES} are supported. Lower the degree."
            )
        bound: Polynomial = clone(self)
        bound.basis = basis
        bound.law = "draws" if basis.of_draws else "target"
        bound.indices_ = total_degree_indices(ndim, degree)
        return bound

    @property
    def n_features(self) -> int:
        """Number of features k."""
        return len(self._named())

    def describe(self) -> str:
        """Name degree, penalty and number of features."""
        penalty = f", {self.penalty!r}" if self.penalty else ""
        return f"Polynomial({self.degree}{penalty}), {self.n_features} features"

    @property
    def needs_training(self) -> bool:
        """Whether a penalty is wanted, or there are too many features to do without."""
        chosen = getattr(self, "_is_trained", False)
        return not chosen and (self.penalty is not None or self.n_features > _MANY_FEATURES)

    def trained(self, x: FloatArray, y: FloatArray) -> "Polynomial":
        """Choose the ridge penalty, or the features, on draws spent for that."""
        indices = self._named()
        chosen: Polynomial = clone(self)
        chosen.basis, chosen.law, chosen._is_trained = self.basis, self.law, True
        chosen.indices_ = indices
        phi = self.features(x[:_LASSO_ROWS])
        y = y[:_LASSO_ROWS]
        scale = y.std(axis=0)
        standard = (y - y.mean(axis=0)) / np.where(scale > 0, scale, 1)
        if self.penalty == "ridge":
            from sklearn.linear_model import RidgeCV

            alphas = np.geomspace(1e-6, 1e3, 19) * len(phi)
            chosen.ridge = float(RidgeCV(alphas).fit(phi, standard).alpha_)
        else:
            kept = _lasso_support(phi, standard)
            chosen.indices_ = tuple(indices[j] for j in kept)
        return chosen

    def features(self, x: FloatArray) -> FloatArray:
        """Evaluate the orthonormal polynomials, shape (n, k)."""
        indices = self._named()
        assert self.basis is not None
        return self.basis.features(x, indices) if indices else np.empty((len(x), 0))

    def _named(self) -> tuple[tuple[int, ...], ...]:
        """Indices of the features: all up to the degree until training has chosen among them."""
        if self.basis is None:
            raise TypeError(
                "Polynomial has no basis yet: pass basis=target.basis(), or a target to estimate()."
            )
        if not hasattr(self, "indices_"):
            self.indices_ = total_degree_indices(len(self.basis.families), self.degree)
        return self.indices_

    def feature_mean(self) -> float:
        """Zero: the constant is left out and the rest is orthogonal to it."""
        return 0.0


def _lasso_support(phi: FloatArray, standard: FloatArray) -> list[int]:
    """Features that a cross-validated lasso keeps for any of the values."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LassoCV

    kept: set[int] = set()
    for column in standard.T:
        with warnings.catch_warnings():
            # A path that has not quite converged still ranks features well enough to select.
            warnings.simplefilter("ignore", ConvergenceWarning)
            fit: Any = LassoCV(alphas=30, cv=3, max_iter=300, tol=1e-3).fit(phi, column)
        kept.update(int(j) for j in np.flatnonzero(fit.coef_))
    # Least squares wants several draws a feature: the strongest, where too many are kept.
    most = max(1, len(phi) // 8)
    if len(kept) > most:
        strength = np.abs(phi.T @ standard).max(axis=1)
        kept = set(sorted(kept, key=lambda j: -strength[j])[:most])
    return sorted(kept)
