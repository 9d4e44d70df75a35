"""Independent draws: plain Monte Carlo and antithetic pairs."""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from mcvar.draws import Draws
from mcvar.samplers.base import CHUNK, Plan, Sampler, Stream, needs_uniforms
from mcvar.samplers.blocks import Blocks
from mcvar.targets import Target
from mcvar.targets.base import TINY

INDEPENDENT = Blocks(2**8, 8)  # draws from one generator; seeding one costs some 10 microseconds


class MonteCarlo(Sampler):
    """Independent draws.

    Examples
    --------
    >>> import mcvar
    >>> est = mcvar.estimate(lambda x: x[:, 0], [(0, 1)], n=1000, rng=1,
    ...                      sampler="montecarlo", control=None)
    >>> est.sampler, est.n
    ('montecarlo', 1000)
    """

    name: ClassVar[str] = "montecarlo"
    replicated: ClassVar[bool] = False
    extensible: ClassVar[bool] = True

    def plan(self, n: int) -> Plan:
        """Lay out one replicate of n independent draws."""
        if n < 2:
            raise ValueError(f"n={n} is too small for an error bar; expected n >= 2.")
        return Plan(1, n)

    def open(self, target: Target, size: int, seed: np.random.SeedSequence) -> Stream:
        """Start a stream of independent draws."""
        return BlockedStream(target, seed)


class BlockedStream:
    """Independent draws, from a new generator in every block.

    It depends on the seed and the start of the block alone, so that any draws may be made anywhere,
    in any order; in their order is cheapest.

    Parameters
    ----------
    target : Target
    seed : SeedSequence
    make : callable, optional
        ``make(generator, count)`` returns the next draws; those of the target by default.

    Examples
    --------
    >>> import numpy as np
    >>> from mcvar.samplers import BlockedStream
    >>> from mcvar.targets import as_target
    >>> stream = BlockedStream(as_target([(0, 1)]), np.random.SeedSequence(1))
    >>> stream(0, 3).x.shape
    (3, 1)
    """

    def __init__(
        self,
        target: Target,
        seed: np.random.SeedSequence,
        make: Callable[[np.random.Generator, int], Draws] | None = None,
    ) -> None:
        self.target = target
        self.is_plain = make is None
        self._make = make or (lambda rng, count: target.random(count, rng))
        self._seed = seed
        self._end = 0  # of the block
        self._first = 0  # of the chunk at hand
        self._chunk: Draws | None = None

    def compile(self) -> None:
        """Draw by a kernel from now on: the same bits, sooner, for loading Numba."""
        if not self.is_plain or type(self.target).random is not Target.random:
            return
        from mcvar._jit.montecarlo import fill_points

        owner: np.random.Generator | None = None
        words: Any = None

        def make(rng: np.random.Generator, count: int) -> Draws:
            nonlocal owner, words
            if rng is not owner:  # a block begins; its further chunks go on from the last
                owner, words = rng, _words(rng)
            u = np.empty((self.target.n_uniform, count))
            fill_points(words, u)
            return self.target.transport(u.T)

        self._make = make

    def __call__(self, start: int, count: int) -> Draws:
        """Return draws start .. start + count - 1."""
        parts = []
        while count:
            chunk = self._chunk_at(start)
            skip = start - self._first
            take = min(count, chunk.n - skip)
            # No copy where a whole chunk is asked for, as a rule.
            parts.append(chunk if take == chunk.n else chunk.take(slice(skip, skip + take)))
            start, count = start + take, count - take
        return parts[0] if len(parts) == 1 else Draws.stacked(parts)

    def _chunk_at(self, start: int) -> Draws:
        """Return the chunk that draw `start` is in."""
        if self._chunk is None or not self._first <= start < self._end:
            self._rng, self._first, self._end = self._enter(start)
            self._chunk = self._next()
        while start >= self._first + self._chunk.n:
            self._first += self._chunk.n
            self._chunk = self._next()
        return self._chunk

    def words(self, start: int, stop: int) -> npt.NDArray[np.uint64] | None:
        """Return SFC64's four words of state, for a kernel to make draws start .. stop − 1 from.

        None where these are not the first draws of one block, or not what uniforms become.
        """
        rng, first, end = self._enter(start)
        return _words(rng) if first == start and stop <= end and self.is_plain else None

    def _enter(self, start: int) -> tuple[np.random.Generator, int, int]:
        first, end = INDEPENDENT.at(start)
        seed = np.random.SeedSequence(self._seed.entropy, spawn_key=(*self._seed.spawn_key, first))
        return np.random.Generator(np.random.SFC64(seed)), first, end

    def _next(self) -> Draws:
        return self._make(self._rng, min(CHUNK, self._end - self._first))


def _words(rng: np.random.Generator) -> npt.NDArray[np.uint64]:
    state: Any = rng.bit_generator.state
    words: npt.NDArray[np.uint64] = state["state"]["state"]
    return words


class Antithetic(Sampler):
    """Antithetic pairs u, 1 − u (Hammersley & Morton 1956): exact for odd functions.

    A pair is one independent unit; the error bar comes from the averages of pairs.

    Examples
    --------
    >>> import mcvar
    >>> est = mcvar.estimate(lambda x: x[:, 0] ** 3, [(-1, 1)], n=100, rng=1,
    ...                      sampler="antithetic", control=None)
    >>> abs(est.value) < 1e-12, est.standard_error < 1e-12      # odd: every pair is exact
    (True, True)
    """

    name: ClassVar[str] = "antithetic"
    replicated: ClassVar[bool] = False
    extensible: ClassVar[bool] = True
    unit: ClassVar[int] = 2

    def plan(self, n: int) -> Plan:
        """Lay out n/2 pairs."""
        if n < 4:
            raise ValueError(f"n={n} is too small for two antithetic pairs; expected n >= 4.")
        return Plan(1, n - n % 2)

    def open(self, target: Target, size: int, seed: np.random.SeedSequence) -> Stream:
        """Start a stream whose rows 2i and 2i + 1 are a pair."""
        needs_uniforms(self.name, target)

        def make(rng: np.random.Generator, count: int) -> Draws:
            pairs = np.empty((target.n_uniform, count))
            half = rng.random((target.n_uniform, count // 2))
            # SFC64 can return 0 but not 1; 1 - u must not reach 1 either.
            np.maximum(half, TINY, out=half)
            pairs[:, 0::2] = half
            pairs[:, 1::2] = 1 - half
            return target.transport(pairs.T)

        return BlockedStream(target, seed, make)
