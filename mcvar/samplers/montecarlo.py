"""Independent draws: plain Monte Carlo and antithetic pairs."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from mcvar._typing import FloatArray
from mcvar.draws import Draws
from mcvar.samplers.base import CHUNK, Plan, Sampler, Stream, UniformStream, needs_uniforms
from mcvar.targets import Target

BLOCK = 8 * CHUNK  # draws from one generator; seeding one costs some 10 microseconds
_WORTH_COMPILING = 2**20  # draws


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
        return BlockedStream(target, size, seed)


class BlockedStream:
    """Independent draws whose generator is reseeded every `BLOCK` draws.

    Block b's generator depends on the seed and b alone, so that blocks may later be made
    anywhere, in any order.
    """

    def __init__(self, target: Target, size: int, seed: np.random.SeedSequence) -> None:
        self.target = target
        self._seed = seed
        self._block = -1
        self._rng: np.random.Generator
        # Loading Numba pays for itself only in long runs; the draws are the same bits.
        self._compiled = size >= _WORTH_COMPILING and type(target).random is Target.random

    def __call__(self, start: int, count: int) -> Draws:
        """Return draws start .. start + count - 1, which stay inside one block."""
        if not self._compiled:
            return self.target.random(count, self.generator(start))
        from mcvar._jit.montecarlo import fill_points

        u = np.empty((self.target.n_uniform, count))
        with self.state(start) as words:
            fill_points(words, u)
        return self.target.transport(u.T)

    def generator(self, start: int) -> np.random.Generator:
        """Return the generator for the draws from `start` on, which stay inside one block."""
        block = start // BLOCK
        if block != self._block:
            seed = np.random.SeedSequence(
                self._seed.entropy, spawn_key=(*self._seed.spawn_key, block)
            )
            self._rng = np.random.Generator(np.random.SFC64(seed))
            self._block = block
        return self._rng

    @contextmanager
    def state(self, start: int) -> Iterator[npt.NDArray[np.uint64]]:
        """Lend the four words of SFC64's state to a kernel that advances them."""
        bits = self.generator(start).bit_generator
        state: Any = bits.state
        yield state["state"]["state"]
        bits.state = state


class Antithetic(Sampler):
    """Antithetic pairs u, 1 − u (Hammersley & Morton 1956): exact for odd functions.

    A pair is one independent unit; the error bar comes from the averages of pairs.
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
        blocks = BlockedStream(target, size, seed)

        def uniforms(start: int, count: int) -> FloatArray:
            pairs = np.empty((target.n_uniform, count))
            half = blocks.generator(start).random((target.n_uniform, count // 2))
            # SFC64 can return 0 but not 1; 1 - u must not reach 1 either.
            np.maximum(half, 2.0**-54, out=half)
            pairs[:, 0::2] = half
            pairs[:, 1::2] = 1 - half
            return pairs.T

        return UniformStream(target, uniforms)
