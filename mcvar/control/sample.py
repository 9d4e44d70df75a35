"""The draws that a kernel control is fitted on: checked, and merged where they coincide."""

from typing import Any, NamedTuple

import numpy as np
from scipy import linalg
from scipy.spatial.distance import pdist

from mcvar._checks import as_finite_array, as_points, check_magnitude
from mcvar._typing import FloatArray, IntArray
from mcvar.control.stein_polynomial_features import Indices, stein_features


class Sample(NamedTuple):
    """Distinct draws: x, s (n, d), y (n, m), and weights (n,) of mean one or None."""

    x: FloatArray
    s: FloatArray
    y: FloatArray
    weights: FloatArray | None

    @property
    def n(self) -> int:
        """Number of draws."""
        return len(self.x)

    def rows(self, rows: Any) -> "Sample":
        """Return some of the draws."""
        weights = None if self.weights is None else self.weights[rows]
        return Sample(self.x[rows], self.s[rows], self.y[rows], weights)

    @property
    def root_weights(self) -> FloatArray:
        """Square roots of the weights, shape (n, 1)."""
        w = np.ones(self.n) if self.weights is None else self.weights
        return np.asarray(np.sqrt(w)[:, np.newaxis])


def checked_sample(
    x: Any, y: Any, grad_logpdf: Any, sample_weight: Any, *, merge: bool = True
) -> Sample:
    """Return the draws, merged where they coincide, or say what is wrong with the input."""
    points, scores = points_and_scores(x, grad_logpdf)
    n = len(points)
    values = as_finite_array("y", y)
    if values.ndim not in (1, 2) or len(values) != n or 0 in values.shape:
        raise ValueError(f"y has shape {values.shape} for {n} draws; expected ({n},) or ({n}, m).")
    check_magnitude("y", values)
    for name, array in (("draws", points), ("scores", scores)):
        check_magnitude(name, array)
    weights = None if sample_weight is None else checked_weights(sample_weight, n)
    columns = values.reshape(n, -1)
    if not merge:
        return Sample(points, scores, columns, weights)
    return _merged(points, scores, columns, weights)


def points_and_scores(x: Any, grad_logpdf: Any) -> tuple[FloatArray, FloatArray]:
    """Return draws and scores as (n, d), or say what is wrong with them."""
    points, scores = as_points("X", x), as_points("grad_logpdf", grad_logpdf)
    if points.shape != scores.shape:
        raise ValueError(
            f"grad_logpdf has shape {scores.shape}; expected that of X, {points.shape}."
        )
    return points, scores


def checked_weights(weights: Any, n: int) -> FloatArray:
    """Return weights of mean one."""
    w = as_finite_array("sample_weight", weights)
    if w.shape != (n,) or (w < 0).any() or not w.any():
        raise ValueError(
            f"sample_weight must be {n} non-negative numbers, not all zero; got shape {w.shape}"
            + (f" and least value {w.min():.3g}." if w.size else ".")
        )
    return np.asarray(w / w.mean())


def _merged(x: FloatArray, s: FloatArray, y: FloatArray, weights: FloatArray | None) -> Sample:
    """Drop draws of weight zero and merge those that coincide, by averages.

    The weight of a merged point is an average as well: a repeated point says nothing new.
    """
    if weights is not None:
        seen = weights > 0
        x, s, y, weights = x[seen], s[seen], y[seen], weights[seen]
        weights = weights / weights.mean()
    # Draws with a density rarely agree in one coordinate: a sort of it settles most cases.
    if len(np.unique(x[:, 0])) == len(x):
        return Sample(x, s, y, weights)
    _, first, group, counts = np.unique(
        x, axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    order = np.argsort(first)  # of first appearance: the time of a chain
    group = np.argsort(order)[group.ravel()]

    def averaged(rows: FloatArray) -> FloatArray:
        total = np.zeros((len(first), rows.shape[1]))
        np.add.at(total, group, rows)
        return np.asarray(total / counts[order][:, np.newaxis])

    mean_weights = None if weights is None else averaged(weights[:, np.newaxis])[:, 0]
    return Sample(x[first[order]], averaged(s), averaged(y), mean_weights)


def polynomial_part(x: FloatArray, s: FloatArray, indices: Indices) -> FloatArray:
    """Return the constant and the Stein features, shape (n, 1 + k)."""
    ones = np.ones((len(x), 1))
    return np.column_stack([ones, stein_features(x, s, indices)]) if indices else ones


def orthonormal(phi: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return Q and R of ``phi = Q R``, refusing columns that depend on one another."""
    q, r = linalg.qr(phi, mode="economic")
    size = np.linalg.norm(phi, axis=0)
    dependent = np.abs(np.diagonal(r)) < 1e-11 * np.maximum(size, np.finfo(float).tiny)
    if dependent.any():
        raise ValueError(
            f"the polynomial part is singular: {int(dependent.sum())} of {phi.shape[1]} columns "
            "depend on the others. Lower polynomial_degree, or check that the scores vary."
        )
    return np.asarray(q), np.asarray(r)


def check_enough_points(n: int, columns: int) -> None:
    """Refuse fewer distinct draws than the unpenalised part and two residuals need."""
    if n < columns + 2:
        raise ValueError(
            f"{n} distinct draws are too few for a kernel and {columns} unpenalised columns; "
            f"expected at least {columns + 2}. Draw more, or lower polynomial_degree."
        )


def evenly(n: int, most: int) -> IntArray:
    """Return indices of at most `most` of n rows, evenly spread."""
    if n <= most:
        return np.arange(n)
    return np.linspace(0, n - 1, most).round().astype(np.int64)


def median_distance(x: FloatArray) -> float:
    """Return the median distance between at most 300 of the points."""
    return float(np.median(pdist(x[evenly(len(x), 300)])))
