"""Stratified sampling on a grid of cells, proportional or adaptive."""

from typing import ClassVar, Literal

import numpy as np

from mcvar._checks import as_count, as_finite_array, known_name
from mcvar._typing import FloatArray, IntArray
from mcvar.draws import Draws
from mcvar.samplers.base import (
    CHUNK,
    Evaluate,
    Plan,
    Prepared,
    Sampler,
    Stream,
    needs_uniforms,
    power_of_two_plan,
)
from mcvar.targets import Target
from mcvar.targets.base import TINY

_PILOT_SHARE = 8  # Neyman allocation trains on one evaluation in 8
_PILOT_PER_CELL = 8
_FLOOR = 0.1  # least share of proportional allocation in an adaptive one


class Stratified(Sampler):
    """Stratified sampling: the unit cube is cut into equal cells, each with its own draws.

    Parameters
    ----------
    allocation : {"proportional", "neyman"}
        "proportional": as many draws in each cell, on as fine a grid as the draws allow, which
        is never worse than plain Monte Carlo. "neyman": a pilot on an eighth of the draws
        measures the spread in each cell, and cells get draws in proportion to it.
    shares : ndarray, optional
        Share of the draws per cell, in the order of ``numpy.ravel``; set by training.
    bins : tuple of int, optional
        Cells per axis; by default as many as the draws allow, evenly over the axes.

    Notes
    -----
    The error bar comes from 8 or more independent replicates of the whole stratified sample.

    References
    ----------
    Owen, *Monte Carlo theory, methods and examples* (2013), section 8.4; Neyman, "On the two
    different aspects of the representative method", JRSS 97 (1934).

    Examples
    --------
    >>> import numpy as np, mcvar
    >>> est = mcvar.estimate(lambda x: np.exp(-50 * x[:, 0]), [(0, 1), (0, 1)], n=2**14, rng=1,
    ...                      sampler=mcvar.samplers.Stratified("neyman"))
    >>> abs(est.value * 50 - 1) < 0.02
    True
    """

    name: ClassVar[str] = "stratified"

    def __init__(
        self,
        allocation: Literal["proportional", "neyman"] = "proportional",
        shares: FloatArray | None = None,
        bins: tuple[int, ...] | None = None,
    ) -> None:
        self.allocation = known_name("allocation", allocation, ("proportional", "neyman"))
        if bins is not None:
            if not isinstance(bins, tuple | list) or not bins:
                raise TypeError(f"bins must be numbers of cells, one per axis, got {bins!r}.")
            bins = tuple(as_count("bins", count) for count in bins)
        if shares is not None:
            shares = as_finite_array("shares", shares)
            if bins is None or shares.shape != (int(np.prod(bins)),):
                raise ValueError("shares need bins, and one share per cell.")
            if (shares < 0).any() or abs(shares.sum() - 1) > 1e-9:
                raise ValueError(f"shares must be numbers >= 0 of sum 1, got {shares.tolist()}.")
        self.shares = shares
        self.bins = bins

    def plan(self, n: int) -> Plan:
        """Lay out 8 replicates, or more of at most 8,192 draws."""
        # Powers of two, as the default grids have: every cell then gets as many draws.
        size = min(power_of_two_plan(n).size, CHUNK)
        return Plan(n // size, size)

    def open(self, target: Target, size: int, seed: np.random.SeedSequence) -> Stream:
        """Start one stratified sample of `size` draws."""
        needs_uniforms(self.name, target)
        rng = np.random.default_rng(seed)
        bins = self.bins or _bins(size, target.n_uniform)
        if len(bins) != target.n_uniform:
            raise ValueError(f"bins has {len(bins)} axes; expected {target.n_uniform}.")
        cells = int(np.prod(bins))
        if cells > size:
            raise ValueError(
                f"{size} draws a replicate are too few for {cells} cells; expected at least one "
                "for each. Draw more, or lower bins."
            )
        shares = np.full(cells, 1 / cells) if self.shares is None else self.shares
        counts = _allocate(shares, size, rng)
        cell = np.repeat(np.arange(cells), counts)
        weights = (size / cells / counts)[cell]
        even = bool((weights == 1).all())

        position = np.stack(np.unravel_index(cell, bins))
        u = (rng.random(position.shape) + position) / np.array(bins)[:, np.newaxis]

        def stream(start: int, count: int) -> Draws:
            rows = slice(start, start + count)
            draws = target.transport(np.maximum(u[:, rows], TINY).T)
            if even:
                return draws
            own = weights[rows]
            return Draws.unchecked(
                x=draws.x,
                weights=own if draws.weights is None else own * draws.weights,
                zero_mean=draws.zero_mean,
                self_normalized=draws.self_normalized,
            )

        return stream

    def prepare(
        self, target: Target, evaluate: Evaluate, n: int, seed: np.random.SeedSequence
    ) -> Prepared:
        """Measure the spread in each cell, for Neyman allocation."""
        if self.allocation == "proportional" or self.shares is not None:
            return Prepared(self, target)
        needs_uniforms(self.name, target)
        size = self.plan(n).size
        per_cell = _PILOT_PER_CELL
        cells = min(n // _PILOT_SHARE // per_cell, size // 2)
        if cells < 2:
            return Prepared(Stratified(), target)
        bins = _bins(cells, target.n_uniform)
        cells = int(np.prod(bins))
        pilot = Stratified(bins=bins)
        draws = pilot.open(target, cells * per_cell, seed)(0, cells * per_cell)
        values = evaluate(draws)
        if draws.weights is not None:
            values = values * draws.weights[:, np.newaxis]
        spread = values.reshape(cells, per_cell, -1).std(axis=1, ddof=1)
        total = spread.sum(axis=0)
        if not total.any():  # no spread anywhere: there is nothing to allocate by
            return Prepared(Stratified(), target, len(values))
        relative = (spread[:, total > 0] / total[total > 0]).mean(axis=1)
        shares = _FLOOR / cells + (1 - _FLOOR) * relative
        sampler = Stratified("neyman", shares / shares.sum(), bins)
        return Prepared(sampler, target, len(values))


def _bins(cells: int, d: int) -> tuple[int, ...]:
    """Cut the cube into at most `cells` cells by halving, as evenly over the axes as possible."""
    bins = [1] * d
    for step in range(cells.bit_length() - 1):
        bins[step % d] *= 2
    return tuple(bins)


def _allocate(shares: FloatArray, size: int, rng: np.random.Generator) -> IntArray:
    """Round shares to counts of at least one that sum to `size`; remainders fall at random."""
    cells = len(shares)
    wanted = shares * (size - cells)
    counts = np.floor(wanted).astype(np.int64)
    left = size - cells - int(counts.sum())
    remainder = wanted - counts
    if left:
        # Ties are broken at random, so that no corner of the grid is favoured.
        order = np.lexsort((rng.random(cells), -np.round(remainder, 9)))
        counts[order[:left]] += 1
    return np.asarray(counts + 1)
