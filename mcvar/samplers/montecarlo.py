"""Independent draws: plain Monte Carlo and antithetic pairs."""

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from mcvar._typing import FloatArray
from mcvar.draws import Draws
from mcvar.samplers.base import CHUNK, Plan, Sampler, Stream, UniformStream, needs_uniforms
from mcvar.targets import Target
from mcvar.targets.base import TINY

BLOCK = 16 * CHUNK  # draws from one generator; seeding one costs some 10 microseconds


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
    """Independent draws whose generator is reseeded every `BLOCK` draws.

    Block b's generator depends on the seed and b alone, so that blocks may later be made
    anywhere, in any order.

    Examples
    --------
    >>> import numpy as np
    >>> from mcvar.samplers import BlockedStream
    >>> from mcvar.targets import as_target
    >>> stream = BlockedStream(as_target([(0, 1)]), np.random.SeedSequence(1))
    >>> stream(0, 3).x.shape
    (3, 1)
    """

    def __init__(self, target: Target, seed: np.random.SeedSequence) -> None:
        self.target = target
        self._seed = seed
        self._block = -1
        self._rng: np.random.Generator
        self._words: npt.NDArray[np.uint64]
        self._compiled = False

    def compile(self) -> None:
        """Draw by a kernel from now on: the same bits, sooner, for loading Numba."""
        self._compiled = type(self.target).random is Target.random

    def __call__(self, start: int, count: int) -> Draws:
        """Return draws start .. start + count - 1, which stay inside one block."""
        if not self._compiled:
            return self.target.random(count, self.generator(start))
        from mcvar._jit.montecarlo import fill_points

        u = np.empty((self.target.n_uniform, count))
        fill_points(self.words(start), u)
        return self.target.transport(u.T)

    def generator(self, start: int) -> np.random.Generator:
        """Return the generator for the draws from `start` on, which stay inside one block."""
        self._enter(start)
        return self._rng

    def words(self, start: int) -> npt.NDArray[np.uint64]:
        """Return SFC64's four words of state, for a kernel to advance instead of the generator."""
        self._enter(start)
        return self._words

    def _enter(self, start: int) -> None:
        block = start // BLOCK
        if block == self._block:
            return
        seed = np.random.SeedSequence(self._seed.entropy, spawn_key=(*self._seed.spawn_key, block))
        bits = np.random.SFC64(seed)
        self._rng = np.random.Generator(bits)
        state: Any = bits.state
        self._words = state["state"]["state"]
        self._block = block


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
        blocks = BlockedStream(target, seed)

        def uniforms(start: int, count: int) -> FloatArray:
            pairs = np.empty((target.n_uniform, count))
            half = blocks.generator(start).random((target.n_uniform, count // 2))
            # SFC64 can return 0 but not 1; 1 - u must not reach 1 either.
            np.maximum(half, TINY, out=half)
            pairs[:, 0::2] = half
            pairs[:, 1::2] = 1 - half
            return pairs.T

        return UniformStream(target, uniforms)
