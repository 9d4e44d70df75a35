"""Projected clouds: sort along many directions, then pair up the quantiles.

W_p^p between two projected clouds is an integral over quantile levels, so all the work is
sorting. A block of directions times the cloud gives contiguous rows, sorted in place by a compiled
distribution sort without the GIL. Blocks are fixed in advance, so that any number of threads gives
the same bits; they bound the memory.
"""

import sys
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from mcvar._checks import as_finite_array, as_points, check_magnitude
from mcvar._jit.sorting import accumulate_rows, sort_carrying_rows, sort_long_rows, sort_rows
from mcvar._jit.wasserstein import equal_costs, pattern_costs, uniform_pattern, weighted_costs
from mcvar._typing import FloatArray
from mcvar.exceptions import MagnitudeError

#: float32 or float64, shape (L, n): projections.
Rows: TypeAlias = npt.NDArray[Any]

#: Writes the costs of sorted rows of two clouds.
Comparison: TypeAlias = "Callable[[SortedRows, SortedRows, FloatArray], None]"

_BLOCK = 2**18  # projections in flight per thread and cloud: 2 MB, which the cache holds
_RANGE = {4: 18, 8: 140}  # orders of magnitude of numbers of 4 and 8 bytes that can be squared
_COARSEST = 1e-2  # spacing of numbers over the extent of clouds
_WHOLE = 2**53  # whole numbers up to which floating point tells one from the next
_LONG = 2**18  # points whose cells no longer fit the cache
_LONG_DIGITS = 13  # bits a pass: cells then far outnumber the points
_MOVES = 8  # insertion moves per point before a comparison sort is the better way to finish


@dataclass(frozen=True, eq=False)
class Cloud:
    """A weighted point cloud, ready to be projected.

    Attributes
    ----------
    columns : ndarray, shape (d, n)
        The points, of dtype float32 or float64, in either order in memory.
    weights : ndarray, shape (n,), or None
        Positive weights with sum 1; None for uniform weights.
    """

    columns: Rows
    weights: FloatArray | None = None

    @property
    def n(self) -> int:
        """Number of points."""
        return int(self.columns.shape[1])

    @property
    def ndim(self) -> int:
        """Dimension d."""
        return int(self.columns.shape[0])

    @cached_property
    def largest(self) -> float:
        """Largest coordinate in size; NaN where there is one."""
        return float(max(self.columns.max(), -self.columns.min()))

    @cached_property
    def mean(self) -> FloatArray:
        """Weighted mean, shape (d,)."""
        if self.weights is None:
            return np.asarray(self.columns.mean(axis=1, dtype=np.float64))
        return np.asarray(self.columns @ self.weights)

    @cached_property
    def covariance(self) -> FloatArray:
        """Weighted covariance, normalised by the total weight, shape (d, d)."""
        centred = self.columns - self.mean[:, np.newaxis]
        if self.weights is None:
            return np.asarray(centred @ centred.T / self.n)
        return np.asarray((centred * self.weights) @ centred.T)


@dataclass(frozen=True, eq=False)
class SortedRows:
    """Projections of a cloud sorted along each direction, with cumulative weights if it has any.

    Attributes
    ----------
    values : ndarray, shape (L, n)
    levels : ndarray, shape (L, n), or None
    """

    values: Rows
    levels: FloatArray | None

    def __getitem__(self, rows: slice) -> "SortedRows":
        return SortedRows(self.values[rows], None if self.levels is None else self.levels[rows])


def as_cloud(name: str, points: Any, weights: Any = None, weight_name: str = "a") -> Cloud:
    """Check points (n, d) and weights (n,), and return them as a cloud.

    Raises
    ------
    ValueError
        Points that are not finite or not of shape (n, d); weights that are negative, of the
        wrong shape, or do not sum to one.
    """
    _refuse_tensor(name, points)
    try:
        array = np.asarray(points)
    except ValueError:
        array = as_points(name, points)  # raises, and says what it is
    if array.dtype.kind in "iu" and array.size and _exceeds(array):
        raise MagnitudeError(
            f"{name} holds integers beyond 2**53, which floating-point numbers do not tell apart; "
            "subtract an offset from all clouds first."
        )
    if array.dtype not in (np.float32, np.float64) or array.ndim != 2 or not array.size:
        array = as_points(name, points)
    cloud = Cloud(array.T)
    if not np.isfinite(cloud.largest) or np.ma.is_masked(points):
        as_points(name, points)  # raises, and says where
    most = 10.0 ** _RANGE[array.dtype.itemsize]
    if not 1 / most <= cloud.largest <= most:
        check_magnitude(f"points of {name}", array, most)
    if weights is None:
        return cloud
    mass = as_finite_array(weight_name, weights)
    if mass.shape != (len(array),):
        raise ValueError(
            f"{weight_name} must have shape ({len(array)},), one weight per point of {name}, "
            f"got {mass.shape}."
        )
    if (mass < 0).any():
        worst = int(mass.argmin())
        raise ValueError(f"{weight_name} holds {mass[worst]} at index {worst}; weights are >= 0.")
    total = float(mass.sum())
    tolerance = 1e-4 if np.asarray(weights).dtype == np.float32 else 1e-6
    if abs(total - 1) > tolerance:
        raise ValueError(
            f"{weight_name} sums to {total:.10g}; expected weights that sum to 1 "
            f"({weight_name} / {weight_name}.sum())."
        )
    if (mass == mass[0]).all():
        return cloud
    heavy = mass > 0
    if not heavy.all():
        array, mass = array[heavy], mass[heavy]
    return Cloud(array.T, mass / mass.sum())


def is_tensor(value: Any) -> bool:
    """Whether a value is a tensor of PyTorch, without importing it."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _refuse_tensor(name: str, points: Any) -> None:
    if is_tensor(points) and (
        points.requires_grad or points.device.type != "cpu" or "float16" in str(points.dtype)
    ):
        raise TypeError(
            f"{name} is a tensor of {points.dtype} on {points.device}"
            f"{' that requires a gradient' if points.requires_grad else ''}; for tensors there is "
            f"mcvar.torch.SlicedWassersteinLoss, or pass {name}.detach().cpu().float()."
        )


def _exceeds(array: npt.NDArray[Any]) -> bool:
    return int(array.max()) > _WHOLE or int(array.min()) < -_WHOLE


def check_extent(raw: Collection[Cloud], centred: Iterable[Cloud], p: float) -> None:
    """Refuse clouds whose distances overflow or vanish when they are raised to the power p.

    And those that lie so far from zero that their numbers do not resolve them. Distances vanish
    where points are small as they came; once `centred`, points may be zero.
    """
    most = 10.0 ** (_RANGE[8] / p)
    least = max(cloud.largest for cloud in raw)
    reach = max(cloud.largest for cloud in centred)
    if reach > most or 0 < least < 1 / most:
        raise MagnitudeError(
            f"points reach {reach:.3g} in size, and with p = {p:g} the squares of the costs are "
            f"beyond floating-point numbers; expected a size between {1 / most:.2g} and "
            f"{most:.2g}: change units."
        )
    furthest = max(raw, key=lambda cloud: cloud.largest)
    spacing = float(np.spacing(furthest.columns.dtype.type(furthest.largest)))
    if spacing > _COARSEST * reach > 0:
        raise MagnitudeError(
            f"points reach {furthest.largest:.3g}, where numbers of {furthest.columns.dtype} are "
            f"{spacing:.2g} apart, and the clouds extend over {reach:.3g} only; subtract an offset "
            "from both before they are rounded."
        )


class Pair:
    """Two clouds of the same dimension, and the cost of a direction between them.

    Parameters
    ----------
    x, y : Cloud
    p : float
        Exponent of the cost, at least 1.
    """

    def __init__(self, x: Cloud, y: Cloud, p: float) -> None:
        if x.ndim != y.ndim:
            raise ValueError(
                f"X and Y must have the same dimension, got points in {x.ndim} and {y.ndim}."
            )
        if x.columns.dtype != y.columns.dtype:
            wide = np.float64
            x = Cloud(x.columns.astype(wide), x.weights)
            y = Cloud(y.columns.astype(wide), y.weights)
        # A common shift changes no distance, and keeps digits where clouds lie far from zero.
        raw = (x, y)
        shift = ((x.mean + y.mean) / 2)[:, np.newaxis].astype(x.columns.dtype)
        self.x = Cloud(x.columns - shift, x.weights)
        self.y = Cloud(y.columns - shift, y.weights)
        check_extent(raw, (self.x, self.y), p)
        self.p = p
        self._compare = comparison(self.x, self.y, p)

    @property
    def ndim(self) -> int:
        """Dimension d."""
        return self.x.ndim

    def costs(self, directions: FloatArray) -> FloatArray:
        """Return W_p^p along each of the unit vectors ``directions (L, d)``, shape (L,).

        All their projections are in memory at once: `blocks.costs_by_blocks` bounds that.
        """
        out = np.empty(len(directions))
        sorted_x, sorted_y = (sort_projections(cloud, directions) for cloud in (self.x, self.y))
        self._compare(sorted_x, sorted_y, out)
        return out

    def costs_and_forms(self, directions: FloatArray) -> FloatArray:
        """Return costs, θ·Δ and the variances of both projected clouds, shape (4, L)."""
        out = np.empty((4, len(directions)))
        out[1] = directions @ (self.x.mean - self.y.mean)
        rows = [project(cloud, directions) for cloud in (self.x, self.y)]
        for k, cloud in enumerate((self.x, self.y)):
            out[2 + k] = row_variances(cloud, directions, rows[k])[1]
        sorted_x = sort_in_place(rows[0], self.x.weights)
        sorted_y = sort_in_place(rows[1], self.y.weights)
        self._compare(sorted_x, sorted_y, out[0])
        return out

    def __getstate__(self) -> dict[str, Any]:
        return {"x": self.x, "y": self.y, "p": self.p}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._compare = comparison(self.x, self.y, self.p)

    @property
    def n(self) -> int:
        """Points of the larger cloud."""
        return max(self.x.n, self.y.n)


def for_blocks(task: Callable[[slice], None], rows: int, n: int, workers: int) -> None:
    """Run `task` on blocks of directions that depend on the sizes alone, never on `workers`."""
    blocks = blocks_of(rows, n)
    if workers == 1 or len(blocks) == 1:
        for rows_of_block in blocks:
            task(rows_of_block)
        return
    with ThreadPoolExecutor(min(workers, len(blocks))) as pool:
        for _ in pool.map(task, blocks):
            pass


def blocks_of(rows: int, n: int) -> list[slice]:
    """Split `rows` directions into blocks that suit clouds of n points."""
    step = max(1, _BLOCK // n)
    return [slice(first, min(first + step, rows)) for first in range(0, rows, step)]


def sort_projections(cloud: Cloud, directions: FloatArray) -> SortedRows:
    """Project a cloud on ``directions (L, d)`` and sort each row."""
    return sort_in_place(project(cloud, directions), cloud.weights)


def project(cloud: Cloud, directions: FloatArray) -> Rows:
    """Project a cloud on ``directions (L, d)``, shape (L, n)."""
    return np.asarray(np.asarray(directions, dtype=cloud.columns.dtype) @ cloud.columns)


def row_variances(cloud: Cloud, directions: FloatArray, rows: Rows) -> tuple[Rows, FloatArray]:
    """Return the cloud's projections centred at their mean, (L, n), and their variances, (L,)."""
    centred = rows - (directions @ cloud.mean.astype(directions.dtype))[:, np.newaxis]
    centred = centred.astype(rows.dtype, copy=False)
    if cloud.weights is None:
        return centred, np.einsum("ij,ij->i", centred, centred) / cloud.n
    return centred, np.asarray((centred**2) @ cloud.weights)


def sort_in_place(rows: Rows, weights: FloatArray | None) -> SortedRows:
    """Sort each of ``rows (L, n)`` of projections of points with ``weights (n,)``."""
    if weights is not None:
        levels = sort_carrying(rows, weights)
        accumulate_rows(levels)
        return SortedRows(rows, levels)
    n = rows.shape[1]
    bits = _bits(rows)

    def sort(done: int) -> int:
        if n > _LONG:
            return int(sort_long_rows(rows[done:], bits[done:], _LONG_DIGITS, _MOVES * n))
        return int(sort_rows(rows[done:], bits[done:], _cells(n), _MOVES * n))

    _sort_all(len(rows), sort, lambda row: rows[row].sort())
    return SortedRows(rows, None)


def sort_carrying(rows: Rows, labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Sort ``rows (L, n)`` in place; return their values' ``labels (n,)`` in order, (L, n)."""
    n = rows.shape[1]
    bits, carried = _bits(rows), np.empty(rows.shape, labels.dtype)

    def sort(done: int) -> int:
        parts = rows[done:], bits[done:], labels, _cells(n), _MOVES * n, carried[done:]
        return int(sort_carrying_rows(*parts))

    def compare(row: int) -> None:
        order = np.argsort(rows[row])
        rows[row], carried[row] = rows[row][order], carried[row][order]

    _sort_all(len(rows), sort, compare)
    return carried


def _sort_all(rows: int, sort: Callable[[int], int], compare: Callable[[int], None]) -> None:
    """Sort by distribution from row to row; by comparison those that it gives up on."""
    done = 0
    while done < rows and (given_up := sort(done)) >= 0:
        # Heavy tails crowd this row's values into few cells.
        compare(done + given_up)
        done += given_up + 1


def _bits(rows: Rows) -> npt.NDArray[Any]:
    return rows.view(np.int32 if rows.itemsize == 4 else np.int64)


def _cells(n: int) -> int:
    """Cells for n values: a power of two, one to two for each."""
    return 1 << int(n).bit_length()


def comparison(x: Cloud, y: Cloud, p: float) -> Comparison:
    """Return the function that writes the costs of sorted rows of two clouds like these."""
    if x.weights is None and y.weights is None:
        if x.n == y.n:
            return lambda sx, sy, out: equal_costs(sx.values, sy.values, p, out)
        i_of, j_of, mass = uniform_pattern(x.n, y.n)
        return lambda sx, sy, out: pattern_costs(sx.values, sy.values, i_of, j_of, mass, p, out)
    x_uniform, y_uniform = uniform_levels(x.n), uniform_levels(y.n)

    def compare(sx: SortedRows, sy: SortedRows, out: FloatArray) -> None:
        x_levels = x_uniform if sx.levels is None else sx.levels
        y_levels = y_uniform if sy.levels is None else sy.levels
        weighted_costs(sx.values, x_levels, sy.values, y_levels, p, out)

    return compare


def uniform_levels(n: int) -> FloatArray:
    """Cumulative weights of n equally heavy points, shape (1, n)."""
    return (np.arange(1, n + 1) / n)[np.newaxis]
