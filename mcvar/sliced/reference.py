"""SlicedReference: one cloud projected and sorted once, then compared with many."""

from typing import Any

import numpy as np

from mcvar._checks import as_count, root_entropy
from mcvar._typing import Seed
from mcvar.sliced.controls import PairControls
from mcvar.sliced.design import lay_out
from mcvar.sliced.distance import as_exponent, check_control, combine, report, without_error
from mcvar.sliced.labels import aligned
from mcvar.sliced.projection import (
    Cloud,
    Pair,
    SortedRows,
    as_cloud,
    check_extent,
    comparison,
    for_blocks,
    sort_projections,
)
from mcvar.sliced.result import SlicedWasserstein


class SlicedReference:
    """A cloud that others are compared with, along directions fixed once.

    Its sorted projections stay in memory: n · n_y numbers, twice as many with weights. Every
    comparison then sorts the other cloud only.

    Parameters
    ----------
    Y : array_like, shape (n_y, d)
        The points.
    b : array_like, shape (n_y,), optional
        Weights, non-negative and summing to one; uniform by default.
    p : float
        Exponent, at least 1.
    n : int
        Directions.
    method, control : str
        As in `mcvar.sliced_wasserstein`.
    rng : int, Generator, SeedSequence or None
        Source of randomness (SPEC 7).
    workers : int
        Threads over blocks of directions.

    Notes
    -----
    All comparisons share the directions, so that their errors are dependent: differences between
    them are more accurate than each, and an average over them less than it looks.

    Examples
    --------
    >>> import numpy as np, mcvar
    >>> rng = np.random.default_rng(0)
    >>> target = mcvar.sliced.SlicedReference(rng.normal(size=(500, 3)), rng=1)
    >>> near, far = rng.normal(size=(400, 3)), rng.normal(2.0, 1.0, size=(400, 3))
    >>> target.distance(near) < 0.3 < 1.7 < target.distance(far)
    True
    """

    def __init__(
        self,
        Y: Any,
        b: Any = None,
        p: float = 2,
        n: int = 128,
        method: str = "auto",
        control: Any = "auto",
        *,
        rng: Seed = None,
        workers: int = 1,
    ) -> None:
        cloud = as_cloud("Y", Y, b, "b")
        self._labelled = Y[:0] if hasattr(Y, "columns") or hasattr(Y, "dims") else None
        # Stored around its own centre; others are shifted along with it, which changes nothing.
        self._centre = cloud.mean.astype(cloud.columns.dtype)
        self._cloud = Cloud(cloud.columns - self._centre[:, np.newaxis], cloud.weights)
        self.p = as_exponent(p)
        check_extent((cloud,), (self._cloud,), self.p)
        self._workers = as_count("workers", workers)
        check_control(control)
        self._control = control
        self._root = root_entropy(rng)
        self._design = lay_out(method, as_count("n", n), cloud.ndim, cloud.n)
        if cloud.ndim == 1:
            self._design = lay_out("montecarlo", 1, 1)
        self._theta = self._design.draw(self._root)
        self._sorted = self._sort(self._cloud)

    @property
    def ndim(self) -> int:
        """Dimension d of the points."""
        return self._cloud.ndim

    def distance(self, X: Any, a: Any = None) -> float:
        """Return SW_p to the cloud ``X (n_x, d)`` with weights ``a (n_x,)``."""
        return self.estimate(X, a).value

    def estimate(self, X: Any, a: Any = None) -> SlicedWasserstein:
        """Return the distance to ``X (n_x, d)`` with its error bar."""
        cloud = as_cloud("X", aligned("X", X, self._labelled, "Y"), a, "a")
        if cloud.ndim != self.ndim:
            raise ValueError(f"X must have points in {self.ndim} dimensions, got {cloud.ndim}.")
        cloud = Cloud(
            (cloud.columns - self._centre[:, np.newaxis]).astype(self._cloud.columns.dtype),
            cloud.weights,
        )
        check_extent((cloud,), (cloud,), self.p)
        f = np.empty(len(self._theta))
        compare = comparison(cloud, self._cloud, self.p)

        def block(rows: slice) -> None:
            compare(sort_projections(cloud, self._theta[rows]), self._sorted[rows], f[rows])

        for_blocks(block, len(f), max(cloud.n, self._cloud.n), self._workers)
        if self.ndim == 1:
            return without_error(f, np.ones(1), self._theta.copy(), self.p, self._root)
        pair = Pair(cloud, self._cloud, self.p)
        outcome, described = combine(
            f, self._theta, self._design, self._control, PairControls(pair, self._root, len(f))
        )
        return report(
            outcome, described, f, self._theta.copy(), self._design, self.p, self._root, "completed"
        )

    def _sort(self, cloud: Cloud) -> SortedRows:
        values = np.empty((len(self._theta), cloud.n), dtype=cloud.columns.dtype)
        levels = None if cloud.weights is None else np.empty(values.shape)

        def block(rows: slice) -> None:
            part = sort_projections(cloud, self._theta[rows])
            values[rows] = part.values
            if levels is not None and part.levels is not None:
                levels[rows] = part.levels

        for_blocks(block, len(values), cloud.n, self._workers)
        return SortedRows(values, levels)
