"""sliced_wasserstein_gradient(): how the distance changes as the points move, in closed form.

Along a direction θ the match between sorted projections does not change with small moves, so that
∂W_p^p/∂x_i is θ times the pull on point i (`mcvar._jit.pulls`). Averages over directions of costs
and pulls are unbiased for SW_p^p and its gradient. For p = 2 the expanded Gaussian approximation
(`mcvar.sliced.expansion`) serves both: along a direction its pulls are linear in the projections.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from mcvar._checks import as_count, as_finite_array, known_name, root_entropy
from mcvar._jit.pulls import equal_pulls, pattern_pulls, weighted_pulls
from mcvar._jit.sorting import accumulate_rows
from mcvar._jit.wasserstein import uniform_pattern
from mcvar._typing import FloatArray, Seed
from mcvar.samplers import stream_seed
from mcvar.sliced.design import best_kind
from mcvar.sliced.directions import KINDS, draw_directions, independent_directions
from mcvar.sliced.distance import as_exponent
from mcvar.sliced.expansion import Expansion, Forms, affordable_order
from mcvar.sliced.labels import aligned
from mcvar.sliced.projection import (
    Pair,
    as_cloud,
    blocks_of,
    project,
    row_variances,
    sort_carrying,
    sort_in_place,
    uniform_levels,
)

#: Values (1 or 3, L) and the sum (n, d) of weighted pulls times directions, of a block.
Slopes: TypeAlias = Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]


class SlicedGradient(NamedTuple):
    """A value and its gradient.

    Attributes
    ----------
    value : float
        Estimate of SW_p^p, or of SW_p with ``root=True``.
    gradient : ndarray, shape (n_x, d)
        Its derivative with respect to the points of X.

    Examples
    --------
    >>> import numpy as np, mcvar
    >>> rng = np.random.default_rng(1)
    >>> x, y = rng.normal(size=(50, 2)), rng.normal(1.0, 1.0, size=(40, 2))
    >>> value, gradient = mcvar.sliced.sliced_wasserstein_gradient(x, y, rng=1)
    >>> bool(value > 0), gradient.shape
    (True, (50, 2))
    """

    value: float
    gradient: FloatArray


def sliced_wasserstein_gradient(
    X: Any,
    Y: Any,
    a: Any = None,
    b: Any = None,
    p: float = 2,
    n: int = 128,
    method: str = "auto",
    control: str | None = "auto",
    *,
    directions: Any = None,
    root: bool = False,
    rng: Seed = None,
    workers: int = 1,
) -> SlicedGradient:
    """Estimate SW_p^p between two clouds and its gradient in the points of the first.

    Parameters
    ----------
    X, Y : array_like, shapes (n_x, d) and (n_y, d)
        The points; ``(n_x,)`` is read as points on a line.
    a, b : array_like, shapes (n_x,) and (n_y,), optional
        Weights, non-negative and summing to one; uniform by default.
    p : float
        Exponent, at least 1; at p = 1 the result is a subgradient.
    n : int
        Directions: one randomly turned set, since no error bar is asked for.
    method : {"auto", "montecarlo", "orthogonal", "sobol", "spiral", "bank"}
        How directions are made, as in `mcvar.sliced_wasserstein`.
    control : {"auto", None, "full"}
        The Gaussian approximation, for p = 2, expanded to the order that costs less than a quarter
        of the rest. "auto" uses it but on spread-out sets in d <= 3, which leave it nothing to do.
    directions : array_like, shape (L, d), optional
        Unit vectors to use as they are, instead of drawing; no control then unless asked for.
    root : bool
        Whether to return SW_p and its gradient instead of SW_p^p (biased, as any root of an
        unbiased estimate is). The gradient is zero where the distance is.
    rng : int, Generator, SeedSequence or None
        Source of randomness (SPEC 7).
    workers : int
        Threads over blocks of directions; results are the same for any number.

    Returns
    -------
    SlicedGradient
        The pair ``value, gradient``; both float64.

    Raises
    ------
    ValueError, TypeError
        Anything `mcvar.sliced_wasserstein` refuses; the control with p other than 2.

    References
    ----------
    Bonneel, Rabin, Peyré & Pfister, "Sliced and Radon Wasserstein barycenters of measures",
    J. Math. Imaging Vis. 51 (2015), eq. 14.

    Examples
    --------
    >>> import numpy as np, mcvar
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(500, 3)), rng.normal(2.0, 1.0, size=(400, 3))
    >>> value, gradient = mcvar.sliced.sliced_wasserstein_gradient(x, y, rng=1)
    >>> gradient.shape, bool((gradient.sum(axis=0) < 0).all())  # X should move up
    ((500, 3), True)
    """
    p = as_exponent(p)
    stem = root_entropy(rng)
    pair = Pair(as_cloud("X", X, a, "a"), as_cloud("Y", aligned("Y", Y, X), b, "b"), p)
    workers = as_count("workers", workers)
    known_name("method", method, ("auto", *KINDS))
    if control is not None:
        known_name("control", control, ("auto", "full"))
    if control == "full" and p != 2:
        raise ValueError(f"control='full' has a linear gradient for p = 2 only, got p={p:g}.")
    if directions is None:
        rng = np.random.default_rng(stream_seed(stem, 0, 0))
        theta, chosen = draw(as_count("n", n), pair, method, control, rng)
    else:
        theta, chosen = as_unit_vectors(directions, pair.ndim), control == "full"
    return gradient_along(pair, theta, chosen, root, workers, a=a)


def gradient_along(
    pair: Pair,
    theta: FloatArray,
    control: bool,
    root: bool = False,
    workers: int = 1,
    *,
    a: Any = None,
) -> SlicedGradient:
    """Average costs and slopes over ``theta (L, d)``, with the Gaussian control or without.

    `a` are the weights that the points of X were given with, among which zeros.
    """
    expansion = None
    if control and pair.ndim > 1:
        order = affordable_order(pair.x.n, pair.y.n, pair.ndim, len(theta))
        expansion = Expansion(pair, order)
    weights = np.full(len(theta), 1 / len(theta))
    values, slope = _sum_over_blocks(pair, theta, weights, workers, expansion)
    value = plain = float(values[0].mean())
    if expansion is not None:
        value += expansion.mean - float(values[1].mean())
        mass = np.reshape(point_mass(pair), (-1, 1))
        slope += mass * expansion.mean_slope(float(values[2].mean()))
    if root and value < plain / 2:
        # Where clouds nearly agree, a corrected value is noise around zero: not for dividing by.
        value = plain
    found = SlicedGradient(value, of_all_points(slope, a))
    return as_root(found, pair.p) if root else found


def as_root(power: SlicedGradient, p: float) -> SlicedGradient:
    """Turn a value and gradient of SW_p^p into those of SW_p, by the chain rule.

    Where the value is zero, or noise below it, so is the gradient.
    """
    value, gradient = power
    if value <= 0:
        return SlicedGradient(0.0, np.zeros_like(gradient))
    return SlicedGradient(value ** (1 / p), gradient * (value ** (1 / p - 1) / p))


def draw(
    n: int, pair: Pair, method: str, control: str | None, rng: np.random.Generator
) -> tuple[FloatArray, bool]:
    """Return one set of n directions (n, d) for a pair, and whether it takes the control."""
    d = pair.ndim
    if d == 1:
        return np.ones((1, 1)), False
    kind = best_kind(n, d, pair.n) if method == "auto" else method
    chosen = takes_control(kind, d, pair.p, control)
    if kind == "montecarlo":
        return independent_directions(n, d, rng, pair.x.columns.dtype), chosen
    return draw_directions(n, d, kind, rng), chosen


def takes_control(kind: str, d: int, p: float, control: str | None) -> bool:
    """Whether the Gaussian control is asked for, or pays with directions of this kind."""
    # Spread-out sets in d <= 3 integrate the control as well as the distance.
    pays = p == 2 and (d > 3 or kind not in ("spiral", "bank"))
    return control == "full" or (control == "auto" and pays)


def as_unit_vectors(values: Any, d: int) -> FloatArray:
    """Return directions (L, d) checked to be unit vectors."""
    theta = as_finite_array("directions", values)
    if theta.ndim != 2 or theta.shape[1] != d or not len(theta):
        raise ValueError(f"directions must have shape (L, {d}), got {theta.shape}.")
    length = np.linalg.norm(theta, axis=1)
    worst = int(np.abs(length - 1).argmax())
    if abs(length[worst] - 1) > 1e-5:
        raise ValueError(
            f"directions must be unit vectors; number {worst} has length {length[worst]:.6g}."
        )
    return theta


def point_mass(pair: Pair) -> Any:
    """Weight of each point of X: (n,), or a number where all are the same."""
    return 1 / pair.x.n if pair.x.weights is None else pair.x.weights


def of_all_points(gradient: FloatArray, a: Any) -> FloatArray:
    """Put back the points without weight, which nothing pulls: shape (n_x, d)."""
    if a is None or (heavy := np.asarray(a) > 0).all():
        return np.ascontiguousarray(gradient)
    whole = np.zeros((len(heavy), gradient.shape[1]))
    whole[heavy] = gradient
    return whole


def slopes(
    pair: Pair, theta: FloatArray, weights: FloatArray | None = None, workers: int = 1
) -> tuple[FloatArray, FloatArray]:
    """Return costs (L,) along ``theta (L, d)`` and Σ_l weights_l pulls_l θ_l, shape (n, d).

    `weights` (L,) may be None: they are then one, and the sum is a plain one.
    """
    weights = np.ones(len(theta)) if weights is None else weights
    values, total = _sum_over_blocks(pair, theta, weights, workers, None)
    return values[0], total


def _sum_over_blocks(
    pair: Pair, theta: FloatArray, weights: FloatArray, workers: int, expansion: Expansion | None
) -> tuple[FloatArray, FloatArray]:
    """Return costs, with the control its values and ∂T/∂ū, (1 or 3, L), and the sum (n, d)."""
    block = _slopes_of(pair, expansion)
    rows = blocks_of(len(theta), max(pair.x.n, pair.y.n))
    values = np.empty((1 if expansion is None else 3, len(theta)))
    total = np.zeros((pair.x.n, pair.ndim))

    def task(part: slice) -> tuple[FloatArray, FloatArray]:
        return block(theta[part], weights[part])

    def add(parts: Any) -> None:
        # In order, whatever the threads: any number of them gives the same bits.
        for part, (value, slope) in zip(rows, parts, strict=True):
            values[:, part] = value
            np.add(total, slope, out=total)

    if workers == 1 or len(rows) == 1:
        add(map(task, rows))
    else:
        with ThreadPoolExecutor(min(workers, len(rows))) as pool:
            add(pool.map(task, rows))
    return values, total


def _slopes_of(pair: Pair, expansion: Expansion | None) -> Slopes:
    """Return the function that evaluates a block of directions."""
    x, y, p = pair.x, pair.y, pair.p
    uniform = x.weights is None and y.weights is None
    pattern = uniform_pattern(x.n, y.n) if uniform and x.n != y.n else None
    x_uniform, y_uniform = uniform_levels(x.n), uniform_levels(y.n)
    places = np.arange(x.n, dtype=np.int32)
    dtype = x.columns.dtype

    def evaluate(theta: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        theta = theta.astype(dtype, copy=False)
        rows = project(x, theta)
        rows_y = project(y, theta)
        if expansion is not None:
            centred, var_x = row_variances(x, theta, rows)
            _, var_y = row_variances(y, theta, rows_y)
            forms = Forms(theta @ expansion.shift.astype(dtype), var_x, var_y)
        order = sort_carrying(rows, places)
        other = sort_in_place(rows_y, y.weights)
        costs, pulls = np.empty(len(theta)), np.empty((len(theta), x.n), dtype)
        if pattern is not None:
            i_of, j_of, mass = pattern
            pattern_pulls(rows, order, other.values, i_of, j_of, mass, p, costs, pulls)
        elif uniform:
            equal_pulls(rows, order, other.values, p, costs, pulls)
        else:
            x_levels = x_uniform
            if x.weights is not None:
                x_levels = x.weights[order]
                accumulate_rows(x_levels)
            y_levels = y_uniform if other.levels is None else other.levels
            weighted_pulls(rows, x_levels, order, other.values, y_levels, p, costs, pulls)
        values = costs[np.newaxis]
        if expansion is not None:
            of_form, of_mean = expansion.slopes(forms)
            # What the control pulls: 2 w_i [θ·Δ + (1 − 2 ∂T/∂u) θ·(x_i − mean)].
            centred *= (1 - 2 * of_form)[:, np.newaxis].astype(dtype)
            centred += forms.shift[:, np.newaxis].astype(dtype)
            pulls -= centred * np.asarray(2 * point_mass(pair), dtype)
            values = np.stack([costs, expansion.values(forms), of_mean])
        return values, pulls.T @ (theta * weights[:, np.newaxis].astype(dtype))

    return evaluate
