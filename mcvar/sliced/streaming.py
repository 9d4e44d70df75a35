"""StreamingSliced: distances between clouds that arrive in batches and do not fit in memory.

Each direction keeps a quantile sketch of either cloud. All directions see the same points, so that
their sketches fill and compact together: a level is one array, and compaction one sort of its
rows. Memory is O(directions · capacity · log(points/capacity)), whatever the number of points.
"""

from typing import Any

import numpy as np

from mcvar._checks import as_count, root_entropy
from mcvar._jit.wasserstein import weighted_costs
from mcvar._typing import FloatArray, Seed
from mcvar.samplers import stream_seed
from mcvar.sliced.crossfit import Choice, crossfit
from mcvar.sliced.design import lay_out
from mcvar.sliced.distance import as_exponent, report
from mcvar.sliced.projection import SortedRows, as_cloud, check_extent, sort_in_place
from mcvar.sliced.result import SlicedWasserstein

_COMPACTION = 2  # stream of the coins, apart from those of the directions and their reference


class StreamingSliced:
    """Sliced Wasserstein distance between two streams of points, from mergeable sketches.

    Parameters
    ----------
    n : int
        Directions, at most.
    d : int
        Dimension of the points.
    capacity : int
        Points that a level of a sketch holds, at least 8. Ranks are known to about 1/capacity of
        the number of points; while a cloud has fewer points the distance is exact for it.
    p : float
        Exponent, at least 1.
    method : str
        How directions are made, as in `mcvar.sliced_wasserstein`.
    shard : int
        Number of this part of a run that is split: parts with the same `rng` share directions,
        and need different coins.
    rng : int, Generator, SeedSequence or None
        Source of randomness (SPEC 7). Parts that are to be merged need the same int.

    Notes
    -----
    The error bar of `estimate` is that of the directions. Errors of the sketches come on top: in
    W_2², about the mean squared error of their quantiles, of order 1/capacity².

    References
    ----------
    Karnin, Lang & Liberty, "Optimal quantile approximation in streams", FOCS 2016, section 3
    (compactors with random parity; levels here have equal capacities, as in Agarwal et al.,
    "Mergeable summaries", PODS 2012, section 3.2).

    Examples
    --------
    >>> import numpy as np, mcvar
    >>> rng = np.random.default_rng(0)
    >>> stream = mcvar.sliced.StreamingSliced(64, 3, rng=1).update(Y=rng.normal(size=(5000, 3)))
    >>> for batch in range(20):
    ...     _ = stream.update(rng.normal(1.0, 1.0, size=(1000, 3)))
    >>> round(stream.distance(), 1), stream.n_x, stream.n_y
    (1.0, 20000, 5000)
    """

    def __init__(
        self,
        n: int,
        d: int,
        capacity: int = 512,
        p: float = 2,
        method: str = "auto",
        *,
        shard: int = 0,
        rng: Seed = None,
    ) -> None:
        self._root = root_entropy(rng)
        d = as_count("d", d)
        self._design = lay_out("montecarlo" if d == 1 else method, as_count("n", n), d)
        if d == 1:
            self._design = lay_out("montecarlo", 1, 1)
        self._theta = self._design.draw(self._root)
        self.p = as_exponent(p)
        capacity = as_count("capacity", capacity, 8)
        coins = np.random.default_rng(
            stream_seed(self._root, _COMPACTION, as_count("shard", shard, 0))
        )
        self._x = _Sketches(len(self._theta), capacity, coins)
        self._y = _Sketches(len(self._theta), capacity, coins)

    @property
    def n_x(self) -> int:
        """Points of X so far."""
        return self._x.n

    @property
    def n_y(self) -> int:
        """Points of Y so far."""
        return self._y.n

    def update(self, X: Any = None, Y: Any = None) -> "StreamingSliced":
        """Add points to either cloud, shapes (k, d); returns this object."""
        d = self._theta.shape[1]
        for name, batch, sketches in (("X", X, self._x), ("Y", Y, self._y)):
            if batch is None:
                continue
            cloud = as_cloud(name, batch)
            if cloud.ndim != d:
                raise ValueError(f"{name} must have points in {d} dimensions, got {cloud.ndim}.")
            check_extent((cloud,), (cloud,), self.p)
            sketches.add(self._theta, cloud.columns)
        return self

    def merge(self, other: "StreamingSliced") -> "StreamingSliced":
        """Add all that `other` has seen, which stays as it is; returns this object."""
        if not isinstance(other, StreamingSliced):
            raise TypeError(f"only another StreamingSliced can be merged, got {other!r}.")
        if not np.array_equal(self._theta, other._theta):
            raise ValueError("sketches merge along the same directions: give both the same rng.")
        if (self.p, self._x.capacity) != (other.p, other._x.capacity):
            raise ValueError(
                f"p and capacity must agree: {self.p:g}, {self._x.capacity} here and "
                f"{other.p:g}, {other._x.capacity} there."
            )
        self._x.merge(other._x)
        self._y.merge(other._y)
        return self

    def distance(self) -> float:
        """Return SW_p between what X and Y have seen."""
        return self.estimate().value

    def estimate(self) -> SlicedWasserstein:
        """Return the distance with the error bar of its directions."""
        for name, seen in (("X", self.n_x), ("Y", self.n_y)):
            if not seen:
                raise ValueError(f"no points of {name} so far: update({name}=points) first.")
        x, y = self._x.sorted(), self._y.sorted()
        f = np.empty(len(self._theta))
        weighted_costs(x.values, x.levels, y.values, y.levels, self.p, f)
        outcome = crossfit(f, self._theta, self._design.sizes, (Choice(),))
        return report(
            outcome, "none", f, self._theta.copy(), self._design, self.p, self._root, "completed"
        )


class _Sketches:
    """Quantile sketches of one cloud along all directions."""

    def __init__(self, rows: int, capacity: int, coins: np.random.Generator) -> None:
        self.capacity, self._coins = capacity, coins
        self.n = 0
        self.levels = [np.empty((rows, 0))]  # values of level h stand for 2^h points each

    def add(self, theta: FloatArray, columns: Any) -> None:
        """Add points, given dimension-major, a chunk at a time."""
        for first in range(0, columns.shape[1], self.capacity):
            chunk = theta @ columns[:, first : first + self.capacity]
            self.levels[0] = np.concatenate([self.levels[0], chunk], axis=1)
            self.n += chunk.shape[1]
            self._compact()

    def merge(self, other: "_Sketches") -> None:
        """Add the values of another cloud's sketches, level by level."""
        rows = len(self.levels[0])
        while len(self.levels) < len(other.levels):
            self.levels.append(np.empty((rows, 0)))
        for h, values in enumerate(other.levels):
            self.levels[h] = np.concatenate([self.levels[h], values], axis=1)
        self.n += other.n
        self._compact()

    def _compact(self) -> None:
        """Halve every level that is full: every other value, odd or even by a coin, moves up."""
        h = 0
        while h < len(self.levels):
            values = self.levels[h]
            if values.shape[1] >= self.capacity:
                if h + 1 == len(self.levels):
                    self.levels.append(np.empty((len(values), 0)))
                values = sort_in_place(np.ascontiguousarray(values), None).values
                pairs = values.shape[1] // 2
                # One value stays behind where they are odd: it keeps its own weight.
                self.levels[h] = values[:, 2 * pairs :]
                coin = self._coins.integers(0, 2, len(values))
                odd_or_even = values[:, : 2 * pairs].reshape(len(values), pairs, 2)
                risen = odd_or_even[np.arange(len(values)), :, coin]
                self.levels[h + 1] = np.concatenate([self.levels[h + 1], risen], axis=1)
            h += 1

    def sorted(self) -> SortedRows:
        """All values in order along each direction, with their cumulative weights."""
        counts = [values.shape[1] for values in self.levels]
        weights = np.repeat(2.0 ** np.arange(len(counts)), counts) / self.n
        return sort_in_place(np.concatenate(self.levels, axis=1), weights)
