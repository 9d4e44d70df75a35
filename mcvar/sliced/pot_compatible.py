"""POT's functions, number for number, from the fast engine.

Two lines move a program over::

    - from ot import sliced_wasserstein_distance
    + from mcvar.sliced import sliced_wasserstein_distance

Arrays are answered with a number of their dtype, and tensors of PyTorch with a tensor that autograd
goes through. Arrays of POT's other backends are handed on to POT.
"""

from typing import Any

import numpy as np

from mcvar._checks import as_count, as_finite_array, known_name
from mcvar._typing import FloatArray
from mcvar.sliced.blocks import costs_by_blocks
from mcvar.sliced.directions import directions, spiral
from mcvar.sliced.distance import as_exponent
from mcvar.sliced.labels import aligned
from mcvar.sliced.projection import Pair, as_cloud, is_tensor

_SAMPLING = ("uniform", "orthogonal", "qsw", "rqsw")


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
    *,
    sampling_slices: str = "uniform",
) -> Any:
    """Return what ``ot.sliced_wasserstein_distance`` returns for the same arguments.

    Plain Monte Carlo and no error bar, as there; `mcvar.sliced_wasserstein` does better. Unlike
    POT it refuses what POT answers wrongly: weights that do not sum to one, NaN, and projections
    that are not unit vectors.

    Parameters
    ----------
    X_s, X_t : array_like or Tensor, shapes (n_s, d) and (n_t, d)
        The points.
    a, b : array_like or Tensor, shapes (n_s,) and (n_t,), optional
        Weights, non-negative and summing to one; uniform by default.
    n_projections : int
        Number of random directions.
    p : float
        Exponent, at least 1.
    projections : array_like or Tensor, shape (d, L), optional
        Unit columns to use instead of random ones.
    seed : int, RandomState or None
        Seed of the directions; the same directions as POT's for the same seed.
    log : bool
        Whether to return the directions and the cost of each as well.
    scaler : object with ``transform``, or callable, optional
        Applied to both clouds first.
    sampling_slices : {"uniform", "orthogonal", "qsw", "rqsw"}
        Independent directions; orthogonal frames; in d = 3 the generalised spiral as it is, and
        turned at random.

    Returns
    -------
    distance : number of the dtype of the points, or Tensor
    log : dict, only if ``log=True``
        ``projections`` (d, L) and ``projected_emds`` (L,), W_p^p along each.

    Raises
    ------
    ValueError
        See above; arrays of different kinds.

    References
    ----------
    Flamary et al., "POT: Python Optimal Transport", JMLR 22 (2021); Bonneel et al. (2015), eq. 8;
    Nguyen, Bariletto & Ho, ICLR 2024 ("qsw", "rqsw").

    Examples
    --------
    >>> import numpy as np
    >>> from mcvar.sliced import sliced_wasserstein_distance
    >>> x = np.random.default_rng(0).normal(size=(20, 5))
    >>> float(sliced_wasserstein_distance(x, x, seed=0))
    0.0
    """
    slices = (n_projections, projections, seed, sampling_slices)
    costs, columns, exponent = _projected(X_s, X_t, a, b, p, scaler, slices)
    distance = costs.mean() ** (1 / exponent)
    return (distance, {"projections": columns, "projected_emds": costs}) if log else distance


def max_sliced_wasserstein_distance(
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
) -> Any:
    """Return what ``ot.max_sliced_wasserstein_distance`` returns: the maximum over directions.

    The maximum over random directions is a poor lower bound of that over all of them:
    `mcvar.sliced.max_sliced_wasserstein` climbs.

    Parameters
    ----------
    X_s, X_t, a, b, n_projections, p, projections, seed, log, scaler
        As in `mcvar.sliced.sliced_wasserstein_distance`.

    Returns
    -------
    distance : number of the dtype of the points, or Tensor
    log : dict, only if ``log=True``

    References
    ----------
    Deshpande et al., "Max-sliced Wasserstein distance and its use for GANs", CVPR 2019, eq. 9.

    Examples
    --------
    >>> import numpy as np
    >>> from mcvar.sliced import max_sliced_wasserstein_distance
    >>> x = np.random.default_rng(0).normal(size=(20, 5))
    >>> bool(max_sliced_wasserstein_distance(x, x + 1, seed=0) < np.sqrt(5))
    True
    """
    slices = (n_projections, projections, seed, "uniform")
    costs, columns, exponent = _projected(X_s, X_t, a, b, p, scaler, slices)
    distance = costs.max() ** (1 / exponent)
    return (distance, {"projections": columns, "projected_emds": costs}) if log else distance


def _projected(
    X_s: Any, X_t: Any, a: Any, b: Any, p: Any, scaler: Any, slices: tuple[Any, ...]
) -> tuple[Any, Any, float]:
    """Return costs (L,), directions (d, L) and the exponent, in the kind of the points."""
    exponent = as_exponent(p)
    if scaler is not None:
        change = getattr(scaler, "transform", scaler)
        if not callable(change):
            raise ValueError(f"scaler must be None, callable or have transform(), got {scaler!r}.")
        X_s, X_t = change(X_s), change(X_t)
    X_t = aligned("X_t", X_t, X_s, "X_s")
    arrays = [value for value in (X_s, X_t, a, b, slices[1]) if value is not None]
    tensors = [is_tensor(value) for value in arrays]
    if any(tensors):
        if not all(tensors):
            kinds = sorted({type(value).__name__ for value in arrays})
            raise ValueError(f"points, weights and projections must be of one kind, got {kinds}.")
        return (*_of_tensors(X_s, X_t, a, b, exponent, slices), exponent)
    pair = Pair(as_cloud("X_s", X_s, a, "a"), as_cloud("X_t", X_t, b, "b"), exponent)
    columns = _columns(pair.ndim, slices)
    costs = costs_by_blocks(pair.costs, columns.T, pair.n, None)
    dtype = pair.x.columns.dtype
    return costs.astype(dtype), columns.astype(dtype, copy=False), exponent


def _columns(d: int, slices: tuple[Any, ...]) -> FloatArray:
    n_projections, projections, seed, sampling = slices
    if projections is not None:
        return unit_columns(projections, d)
    n = as_count("n_projections", n_projections)
    known_name("sampling_slices", sampling, _SAMPLING)
    if sampling == "uniform":
        return random_projections(d, n, seed)
    if sampling != "orthogonal" and d != 3:
        raise ValueError(f"sampling_slices={sampling!r} is for points in d = 3, got d = {d}.")
    if sampling == "qsw":
        return spiral(n, 3).T
    state = seed if isinstance(seed, np.random.RandomState) else np.random.RandomState(seed)
    kind = "orthogonal" if sampling == "orthogonal" else "spiral"
    return directions(n, d, kind, int(state.randint(2**31))).T


def _of_tensors(
    x: Any, y: Any, a: Any, b: Any, p: float, slices: tuple[Any, ...]
) -> tuple[Any, Any]:
    from mcvar.sliced.tensors import centred, projected_costs, torch

    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(
            "X_s and X_t must have shapes (n, d) with the same d, got "
            f"{tuple(x.shape)} and {tuple(y.shape)}."
        )
    if x.dtype != y.dtype or x.device != y.device:
        raise ValueError(
            f"X_s and X_t differ: {x.dtype} on {x.device}, and {y.dtype} on {y.device}."
        )
    for name, weights in (("a", a), ("b", b)):
        if weights is not None and abs(float(weights.detach().sum()) - 1) > 1e-4:
            raise ValueError(f"{name} sums to {float(weights.sum()):.10g}; expected 1.")
    columns = slices[1]
    if columns is None and slices[3] == "uniform":
        from ot.backend import get_backend
        from ot.sliced import get_random_projections

        columns = get_random_projections(
            x.shape[1], slices[0], slices[2], backend=get_backend(x), type_as=x
        )
    elif columns is None:
        columns = torch.as_tensor(_columns(x.shape[1], slices)).to(x)
    x, y = centred(x, y)
    return projected_costs(columns.T @ x.T, columns.T @ y.T, a, b, p), columns


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
