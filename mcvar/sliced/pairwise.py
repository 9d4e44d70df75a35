"""All distances among K clouds from K sorts a direction instead of K(K − 1).

Every pair shares the directions, and every direction has the same weight. SW_2 over a fixed set
of directions is a distance in a Hilbert space (of quantile functions), so that exp(−γ SW_2²) is a
positive definite kernel exactly, which no control variate would leave intact.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mcvar._checks import as_count, root_entropy
from mcvar._typing import FloatArray, Seed
from mcvar.sliced.blocks import costs_by_blocks, opened, stored_seed
from mcvar.sliced.design import lay_out
from mcvar.sliced.distance import as_exponent
from mcvar.sliced.labels import aligned
from mcvar.sliced.projection import (
    Cloud,
    as_cloud,
    check_extent,
    comparison,
    sort_projections,
)


def pairwise_sliced_wasserstein(
    clouds: Sequence[Any],
    weights: Sequence[Any] | None = None,
    p: float = 2,
    n: int = 128,
    method: str = "auto",
    *,
    rng: Seed = None,
    workers: int = 1,
    executor: Any = None,
    checkpoint: Any = None,
) -> FloatArray:
    """Return the matrix of sliced Wasserstein distances among K clouds.

    Parameters
    ----------
    clouds : sequence of array_like, shapes (n_k, d)
        The clouds, of any sizes.
    weights : sequence of array_like or None, optional
        Weights of each cloud; None for uniform ones.
    p : float
        Exponent, at least 1.
    n : int
        Directions, the same for every pair.
    method : str
        How directions are made, as in `mcvar.sliced_wasserstein`.
    rng : int, Generator, SeedSequence or None
        Source of randomness (SPEC 7).
    workers : int
        Threads over blocks of directions; results are the same for any number.
    executor : concurrent.futures.Executor or int, optional
        In place of threads, as in `mcvar.estimate`.
    checkpoint : path, optional
        A file that keeps the costs of finished blocks, as in `mcvar.estimate`.

    Returns
    -------
    ndarray, shape (K, K)
        Symmetric, with a zero diagonal.

    Raises
    ------
    ValueError
        Clouds of different dimension, or anything `mcvar.sliced_wasserstein` refuses.

    References
    ----------
    Kolouri, Zou & Rohde, "Sliced Wasserstein kernels for probability distributions", CVPR 2016,
    theorem 5.

    Examples
    --------
    >>> import numpy as np, mcvar
    >>> rng = np.random.default_rng(0)
    >>> clouds = [rng.normal(k, 1.0, size=(100 + k, 3)) for k in range(3)]
    >>> matrix = mcvar.sliced.pairwise_sliced_wasserstein(clouds, rng=1)
    >>> bool(matrix[0, 1] < matrix[0, 2]), matrix.shape
    (True, (3, 3))
    """
    p = as_exponent(p)
    ready = _as_clouds(clouds, weights, p)
    count, d = len(ready), ready[0].ndim
    design = lay_out("montecarlo" if d == 1 else method, 1 if d == 1 else as_count("n", n), d)
    root = root_entropy(stored_seed(checkpoint, rng))
    theta = design.draw(root)
    collection = _Collection(ready, p)
    problem = {"method": method, "p": p, "clouds": ready}
    # All K clouds are in memory at once: blocks shrink accordingly.
    total = sum(cloud.n for cloud in ready)
    with opened(workers, executor, checkpoint, problem, root) as runner:
        costs = costs_by_blocks(collection.costs, theta, total, runner)
    matrix = np.zeros((count, count))
    for k, (i, j) in enumerate(collection.pairs):
        matrix[i, j] = matrix[j, i] = costs[k].mean() ** (1 / p)
    return matrix


class _Collection:
    """K clouds, and the costs of a direction between any two of them."""

    def __init__(self, clouds: list[Cloud], p: float) -> None:
        self.clouds, self.p = clouds, p
        self.pairs = [(i, j) for i in range(len(clouds)) for j in range(i)]
        self._compare = [comparison(clouds[i], clouds[j], p) for i, j in self.pairs]

    def __reduce__(self) -> Any:
        return _Collection, (self.clouds, self.p)

    def costs(self, directions: FloatArray) -> FloatArray:
        """Return W_p^p of every pair along ``directions (L, d)``, shape (pairs, L)."""
        out = np.empty((len(self.pairs), len(directions)))
        ordered = [sort_projections(cloud, directions) for cloud in self.clouds]
        for k, (i, j) in enumerate(self.pairs):
            self._compare[k](ordered[i], ordered[j], out[k])
        return out


def _as_clouds(clouds: Any, weights: Any, p: float) -> list[Cloud]:
    """Check the clouds, give them one dtype, and centre them together."""
    both: tuple[tuple[str, Any], ...] = (("clouds", clouds), ("weights", weights))
    for name, given in both:
        if given is not None and (
            np.ndim(given) == 0
            if isinstance(given, np.ndarray)
            else not isinstance(given, Sequence)
        ):
            raise TypeError(f"{name} must be a sequence, one entry per cloud, got {given!r}.")
    if len(clouds) == 0:
        raise ValueError("clouds is empty; expected at least one array of shape (n, d).")
    if weights is not None and len(weights) != len(clouds):
        raise ValueError(f"weights has {len(weights)} entries for {len(clouds)} clouds.")
    ready = [
        as_cloud(
            f"clouds[{k}]",
            aligned(f"clouds[{k}]", points, clouds[0], "clouds[0]"),
            None if weights is None else weights[k],
            f"weights[{k}]",
        )
        for k, points in enumerate(clouds)
    ]
    dims = sorted({cloud.ndim for cloud in ready})
    if len(dims) > 1:
        raise ValueError(f"clouds must have the same dimension, got {dims}.")
    dtype = np.result_type(*(cloud.columns.dtype for cloud in ready))
    centre = np.mean([cloud.mean for cloud in ready], axis=0)[:, np.newaxis].astype(dtype)
    centred = [Cloud(cloud.columns.astype(dtype) - centre, cloud.weights) for cloud in ready]
    check_extent(ready, centred, p)
    return centred
