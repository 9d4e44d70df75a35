"""POT's function, number for number, from the fast engine.

Two lines move a program over::

    - from ot import sliced_wasserstein_distance
    + from mcvar.sliced import sliced_wasserstein_distance
"""

from typing import Any, Literal, overload

import numpy as np

from mcvar._checks import as_count, as_finite_array
from mcvar._typing import FloatArray
from mcvar.sliced.blocks import costs_by_blocks
from mcvar.sliced.distance import as_exponent
from mcvar.sliced.projection import Pair, as_cloud


@overload
def sliced_wasserstein_distance(
    X_s: Any,
    X_t: Any,
    a: Any = None,
    b: Any = None,
    n_projections: int = 50,
    p: float = 2,
    projections: Any = None,
    seed: "int | np.random.RandomState | None" = None,
    log: Literal[False] = False,
    scaler: Any = None,
) -> float: ...


@overload
def sliced_wasserstein_distance(
    X_s: Any,
    X_t: Any,
    a: Any = None,
    b: Any = None,
    n_projections: int = 50,
    p: float = 2,
    projections: Any = None,
    seed: "int | np.random.RandomState | None" = None,
    *,
    log: Literal[True],
    scaler: Any = None,
) -> tuple[float, dict[str, FloatArray]]: ...


def sliced_wasserstein_distance(
    X_s: Any,
    X_t: Any,
    a: Any = None,
    b: Any = None,
    n_projections: int = 50,
    p: float = 2,
    projections: Any = None,
    seed: "int | np.random.RandomState | None" = None,
    log: bool = False,
    scaler: Any = None,
) -> float | tuple[float, dict[str, FloatArray]]:
    """Return what ``ot.sliced_wasserstein_distance`` returns for the same arguments.

    Plain Monte Carlo and no error bar, as there; `mcvar.sliced_wasserstein` does better. Unlike
    POT it refuses what POT answers wrongly: weights that do not sum to one, NaN, and projections
    that are not unit vectors.

    Parameters
    ----------
    X_s, X_t : array_like, shapes (n_s, d) and (n_t, d)
        The points.
    a, b : array_like, shapes (n_s,) and (n_t,), optional
        Weights, non-negative and summing to one; uniform by default.
    n_projections : int
        Number of random directions.
    p : float
        Exponent, at least 1.
    projections : array_like, shape (d, L), optional
        Unit columns to use instead of random ones.
    seed : int, RandomState or None
        Seed of the directions; the same directions as POT's for the same seed.
    log : bool
        Whether to return the directions and the cost of each as well.
    scaler : object with ``transform``, or callable, optional
        Applied to both clouds first.

    Returns
    -------
    distance : float
    log : dict, only if ``log=True``
        ``projections`` (d, L) and ``projected_emds`` (L,), W_p^p along each.

    Raises
    ------
    ValueError
        See above.

    References
    ----------
    Flamary et al., "POT: Python Optimal Transport", JMLR 22 (2021); Bonneel et al. (2015), eq. 8.

    Examples
    --------
    >>> import numpy as np
    >>> from mcvar.sliced import sliced_wasserstein_distance
    >>> x = np.random.default_rng(0).normal(size=(20, 5))
    >>> sliced_wasserstein_distance(x, x, seed=0)
    0.0
    """
    exponent = as_exponent(p)
    if scaler is not None:
        change = getattr(scaler, "transform", scaler)
        if not callable(change):
            raise TypeError(f"scaler must have transform() or be callable, got {scaler!r}.")
        X_s, X_t = change(X_s), change(X_t)
    pair = Pair(as_cloud("X_s", X_s, a, "a"), as_cloud("X_t", X_t, b, "b"), exponent)
    if projections is None:
        columns = random_projections(pair.ndim, as_count("n_projections", n_projections), seed)
    else:
        columns = unit_columns(projections, pair.ndim)
    costs = costs_by_blocks(pair.costs, columns.T, pair.n, None)
    distance = float(costs.mean() ** (1 / exponent))
    if log:
        return distance, {"projections": columns, "projected_emds": costs}
    return distance


def random_projections(
    d: int, n: int, seed: "int | np.random.RandomState | None" = None
) -> FloatArray:
    """Return unit columns (d, n) made from NumPy's legacy generator, as POT makes them."""
    # POT's numbers come from this generator, which is why the package's own `rng` is not used.
    state = seed if isinstance(seed, np.random.RandomState) else np.random.RandomState(seed)
    normal = state.randn(d, n)
    return np.asarray(normal / np.sqrt(np.sum(normal**2, axis=0, keepdims=True)))


def unit_columns(projections: Any, d: int) -> FloatArray:
    """Check directions given as columns (d, L)."""
    columns = as_finite_array("projections", projections)
    if columns.ndim != 2 or columns.shape[0] != d or columns.shape[1] == 0:
        raise ValueError(
            f"projections must have shape (d, L) with d = {d} and L >= 1, got {columns.shape}."
        )
    length = np.linalg.norm(columns, axis=0)
    tolerance = 1e-5 if np.asarray(projections).dtype == np.float32 else 1e-8
    worst = int(np.abs(length - 1).argmax())
    if abs(length[worst] - 1) > tolerance:
        raise ValueError(
            f"projections must have unit columns; column {worst} has length {length[worst]:.6g}."
        )
    return columns
