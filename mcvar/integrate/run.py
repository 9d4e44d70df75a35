"""Drawing, evaluating and tallying, chunk by chunk."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mcvar._checks import import_extra
from mcvar.draws import Draws
from mcvar.exceptions import MagnitudeError
from mcvar.integrate.integrand import Integrand, OutsideSupportError
from mcvar.integrate.tally import MomentTally, Tally
from mcvar.moments import Moments
from mcvar.samplers import BLOCK, CHUNK, BlockedStream, Plan, Sampler, Stream, stream_seed
from mcvar.targets import Product, Target

_WORTH_COMPILING = 2**20  # draws
_FUSED_TILE = 1024  # points whose sums are centred together
MAIN = 0  # place of the estimate's own draws among a run's streams; training uses 1, 2, ...


class Run:
    """The estimate's own draws, made in a fixed order and added to a tally.

    Every replicate is one stream with its own seed, read in chunks; memory does not depend on
    the number of draws.
    """

    def __init__(
        self,
        integrand: Integrand,
        sampler: Sampler,
        target: Target,
        tally: Tally,
        seed: int,
        *,
        n: int,
        on_progress: Callable[[int], Any],
    ) -> None:
        self._integrand = integrand
        self._sampler = sampler
        self._target = target
        self._tally = tally
        self._seed = seed
        self._on_progress = on_progress
        self._draws_only = isinstance(tally, MomentTally) and tally.features.control is None
        # Loading Numba pays only in long runs that do little else than draw.
        self._compiles = n >= _WORTH_COMPILING and self._draws_only
        self._streams: list[Stream] = []
        self._done: list[int] = []
        self._waiting: list[tuple[int, Draws, OutsideSupportError]] = []

    def advance(self, plan: Plan) -> None:
        """Draw whatever `plan` asks for beyond what is there."""
        for replicate in range(plan.replicates):
            if replicate == len(self._streams):
                seed = stream_seed(self._seed, MAIN, replicate)
                stream = self._sampler.open(self._target, plan.size, seed)
                if self._compiles and isinstance(stream, BlockedStream):
                    stream.compile()
                self._streams.append(stream)
                self._done.append(0)
            self._extend(replicate, plan.size)
            if not self._sampler.extensible:
                self._streams[replicate] = _finished
        if self._waiting:
            raise self._waiting[0][2]

    def _extend(self, replicate: int, size: int) -> None:
        stream = self._streams[replicate]
        fused = self._is_fused(stream)
        step = BLOCK if fused else CHUNK
        while (start := self._done[replicate]) < size:
            # Chunks end at multiples of `step`, so that no chunk straddles two seeds.
            count = min(size, (start // step + 1) * step) - start
            if fused:
                self._fused_chunk(stream, start, count)
            else:
                where = f"draws {start}-{start + count - 1} of replicate {replicate}"
                self._tally_chunk(replicate, stream(start, count), where)
            self._done[replicate] += count
            self._on_progress(count)

    def _tally_chunk(self, replicate: int, draws: Draws, where: str) -> None:
        try:
            values = self._integrand(draws, where)
        except OutsideSupportError as error:
            self._waiting.append((replicate, draws, error))
            return
        # Chunks before the first point in the support are all zeros, now of a known width.
        for earlier, empty, _ in self._waiting:
            self._tally.add(earlier, empty, np.zeros((empty.n, values.shape[1])))
        self._waiting.clear()
        self._tally.add(replicate, draws, values)

    def _is_fused(self, stream: Stream) -> bool:
        """Whether sampling, integrand and sums can run in one compiled loop."""
        return (
            self._integrand.is_compiled
            and isinstance(stream, BlockedStream)
            and isinstance(self._target, Product)
            and self._target.is_box
            and self._draws_only
            and not self._tally.covariance
        )

    def _fused_chunk(self, stream: Stream, start: int, count: int) -> None:
        from mcvar._jit.montecarlo import fused_loop

        assert isinstance(stream, BlockedStream)
        assert isinstance(self._target, Product)
        assert isinstance(self._tally, MomentTally)
        self._integrand.check_compiled(self._target.low + 0.382 * self._target.side)
        loop = fused_loop(self._integrand.function, self._target.ndim, self._target.is_unit)
        words = stream.words(start)
        mean, squares, largest, bad = loop(
            words, self._target.low, self._target.side, count, _FUSED_TILE
        )
        self._integrand.n_evaluations += count
        if bad >= 0:
            self._replay(words, start, bad, min(_FUSED_TILE, count - bad))
        moments = Moments(
            count, np.array([mean]), np.array([squares]), np.empty((0, 1)), np.empty((0, 0))
        )
        self._tally.note(count, np.array([largest]))
        self._tally.merge(0, moments)

    def _replay(self, words: Any, start: int, first: int, count: int) -> None:
        """Make the points of a tile with a non-finite sum again, and name the culprit."""
        from mcvar._jit.montecarlo import fill_points

        assert isinstance(self._target, Product)
        u = np.empty((self._target.ndim, first + count))
        fill_points(words, u)
        x = self._target.from_uniform(u[:, first:].T)
        self._integrand(Draws.unchecked(x=x), f"the draws from number {start + first} on")
        raise MagnitudeError(
            f"the square of the integrand overflows among draws {start + first}-"
            f"{start + first + count - 1}; rescale the integrand."
        )


def _finished(start: int, count: int) -> Draws:
    raise AssertionError("a replicate that cannot grow was asked for more draws")


def progress_bar(show: bool, total: int) -> tuple[Callable[[int], Any], Callable[[], Any]]:
    """Return update and close functions of a tqdm bar, or of nothing."""
    if not show:
        return lambda count: None, lambda: None
    bar = import_extra("tqdm", "progress").tqdm(total=total, unit="draw", unit_scale=True)
    return bar.update, bar.close
