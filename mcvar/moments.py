"""Mergeable joint moments of values and features, and the regression that lives in them.

A linear control needs nothing of the draws but their joint first and second moments. These add
up, so folds, blocks, strata and replicates are all the same operation, and memory is O(k²)
whatever the number of draws.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import linalg

from mcvar._typing import FloatArray
from mcvar.exceptions import MagnitudeError


@dataclass(frozen=True, eq=False)
class Moments:
    """Centred second moments of m values and k features over n draws.

    Attributes
    ----------
    n : int
        Number of draws.
    mean : ndarray, shape (m + k,)
        Means of the values, then of the features.
    values : ndarray, shape (m,) or (m, m)
        Centred sums of squares of the values; all products where covariances were asked for.
    cross : ndarray, shape (k, m)
        Centred sums of products of features and values.
    features : ndarray, shape (k, k)
        Centred sums of products of the features.

    Notes
    -----
    ``a + b`` are the moments of the two samples together (Chan, Golub & LeVeque 1983,
    eq. 2.1). The sum is exact up to rounding, and associative up to rounding.

    Examples
    --------
    >>> import numpy as np
    >>> y = np.arange(6.0)[:, None]
    >>> whole, parts = Moments.of(y), Moments.of(y[:2]) + Moments.of(y[2:])
    >>> float(whole.values[0]), float(parts.values[0])
    (17.5, 17.5)
    """

    n: int
    mean: FloatArray
    values: FloatArray
    cross: FloatArray
    features: FloatArray

    @classmethod
    def of(
        cls, values: FloatArray, features: FloatArray | None = None, *, covariance: bool = False
    ) -> "Moments":
        """Return the moments of ``values (n, m)`` and ``features (n, k)``, float64 arrays.

        Raises
        ------
        MagnitudeError
            Squares that are not finite: NaN or infinity in the arrays, or numbers too large.
        ValueError, TypeError
            What is no array, is empty, or does not agree in n.
        """
        n, _ = _shape("values", values)
        if features is not None and _shape("features", features, least=0)[0] != n:
            raise ValueError(f"features have {len(features)} rows; expected {n}, as the values.")
        with np.errstate(over="ignore", invalid="ignore"):
            found = cls._of(values, features, covariance)
        for name, squares in (("values", found.values), ("features", found.features)):
            of_each = squares if squares.ndim == 1 else np.diagonal(squares)
            if not np.isfinite(of_each).all():
                raise MagnitudeError(
                    f"the squares of column {int(np.argmin(np.isfinite(of_each)))} of the {name} "
                    "are not finite: it holds NaN or infinity, or needs other units."
                )
        return found

    @classmethod
    def _of(cls, values: FloatArray, features: FloatArray | None, covariance: bool) -> "Moments":
        n, m = values.shape
        mean = np.add.reduce(values, axis=0) / n
        centred = values - mean
        own = centred.T @ centred if covariance else np.einsum("ij,ij->j", centred, centred)
        if features is None:
            return cls(n, mean, own, np.empty((0, m)), np.empty((0, 0)))
        feature_mean = features.mean(axis=0)
        centred_features = features - feature_mean
        return cls(
            n,
            np.concatenate([mean, feature_mean]),
            own,
            centred_features.T @ centred,
            centred_features.T @ centred_features,
        )

    def __add__(self, other: "Moments") -> "Moments":
        n = self.n + other.n
        shift = other.mean - self.mean
        share = self.n * other.n / n
        value_shift, feature_shift = shift[: self.m], shift[self.m :]
        if self.values.ndim == 1:
            between = share * value_shift**2
        else:
            between = share * np.outer(value_shift, value_shift)
        mean = self.mean + shift * (other.n / n)
        values = self.values + other.values + between
        if self.k == 0:
            return Moments(n, mean, values, self.cross, self.features)
        return Moments(
            n,
            mean,
            values,
            self.cross + other.cross + share * np.outer(feature_shift, value_shift),
            self.features + other.features + share * np.outer(feature_shift, feature_shift),
        )

    def arrays(self, name: str) -> dict[str, npt.NDArray[Any]]:
        """Return everything as arrays, under names that begin with `name`."""
        return {f"{name}.{field}": np.asarray(value) for field, value in vars(self).items()}

    @classmethod
    def from_arrays(cls, name: str, arrays: Mapping[str, npt.NDArray[Any]]) -> "Moments | None":
        """Return what `arrays` gave under this name, or None where it did not."""
        if f"{name}.n" not in arrays:
            return None
        n, *sums = (arrays[f"{name}.{field.name}"] for field in fields(cls))
        return cls(int(n), *sums)

    @property
    def m(self) -> int:
        """Number of values."""
        return len(self.values)

    @property
    def k(self) -> int:
        """Number of features."""
        return len(self.features)

    @property
    def value_mean(self) -> FloatArray:
        """Means of the values, shape (m,)."""
        return self.mean[: self.m]

    @property
    def feature_mean(self) -> FloatArray:
        """Means of the features, shape (k,)."""
        return self.mean[self.m :]

    def coefficients(self, ridge: float = 0.0) -> FloatArray:
        """Least-squares coefficients (k, m) of the values on the features, with an intercept.

        `ridge` is the penalty on Σβ² in units of the sum of squares, as scikit-learn's alpha.
        """
        gram = self.features if ridge == 0 else self.features + ridge * np.eye(self.k)
        return solve_normal_equations(gram, self.cross)

    def residual(self, coefficients: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and centred sum of squares of ``values - features @ coefficients``.

        Returns
        -------
        mean : ndarray, shape (m,)
        squares : ndarray, shape (m,) or (m, m)
        """
        mean = self.value_mean - self.feature_mean @ coefficients
        if self.k == 0:
            return mean, self.values
        fitted = self.features @ coefficients
        if self.values.ndim == 1:
            explained = np.einsum("km,km->m", coefficients, 2 * self.cross - fitted)
            return mean, np.maximum(self.values - explained, 0.0)
        mixed = coefficients.T @ self.cross
        return mean, self.values - mixed - mixed.T + coefficients.T @ fitted


def _shape(name: str, array: FloatArray, least: int = 1) -> tuple[int, int]:
    if type(array) is not np.ndarray or array.dtype != np.float64:
        kind = getattr(array, "dtype", type(array).__name__)
        raise TypeError(f"{name} must be a float64 array, got {kind}.")
    if array.ndim != 2 or not len(array) or array.shape[1] < least:
        raise ValueError(f"{name} must have shape (n, k) with n, k >= {least}, got {array.shape}.")
    return len(array), array.shape[1]


def total(parts: "list[Moments]") -> Moments:
    """Return the moments of all parts together, merged in their order."""
    merged = parts[0]
    for part in parts[1:]:
        merged = merged + part
    return merged


def added(before: Moments | None, more: Moments | None) -> Moments | None:
    """Return the moments of both, where there are any."""
    if before is None or more is None:
        return more if before is None else before
    return before + more


def solve_normal_equations(gram: FloatArray, cross: FloatArray) -> FloatArray:
    """Solve ``gram @ b = cross`` after scaling to unit diagonal; minimum norm where singular.

    Collinear features (component densities of a mixture always are) leave the fit unchanged
    along their null space, so the minimum-norm answer loses nothing.
    """
    k = len(gram)
    if k == 0:
        return np.zeros_like(cross)
    scale = np.sqrt(np.diagonal(gram))
    # A feature that does not vary in this sample explains nothing: its coefficient is zero.
    inverse = np.divide(1.0, scale, out=np.zeros(k), where=scale > 0)
    correlation = gram * np.outer(inverse, inverse)
    correlation[np.diag_indices(k)] = 1.0
    target = cross * inverse[:, np.newaxis]
    try:
        factor = linalg.cholesky(correlation, lower=True)
        well_conditioned = np.diagonal(factor).min() > 1e-6
    except linalg.LinAlgError:
        well_conditioned = False
    if well_conditioned:
        solution = linalg.cho_solve((factor, True), target)
    else:
        eigenvalues, vectors = linalg.eigh(correlation)
        keep = eigenvalues > k * 1e-12 * eigenvalues[-1]
        solution = (vectors[:, keep] / eigenvalues[keep]) @ (vectors[:, keep].T @ target)
    return np.asarray(solution * inverse[:, np.newaxis])
