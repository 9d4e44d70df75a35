"""One block of a run: draw, evaluate, sum. A function of the block's place alone."""

import threading
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from mcvar.draws import Draws
from mcvar.exceptions import MagnitudeError
from mcvar.execution import Key
from mcvar.integrate.integrand import Integrand, Learned, OutsideSupportError
from mcvar.integrate.moment_tally import MomentTally
from mcvar.integrate.tally import Tally
from mcvar.moments import Moments
from mcvar.samplers import CHUNK, BlockedStream, Sampler, Stream, stream_seed
from mcvar.targets import Product, Target

MAIN = 0  # place of the estimate's own draws among a run's streams; training uses 1, 2, ...
_FUSED_TILE = 1024  # points whose sums are centred together
_MOST_STREAMS = 64  # kept open


class Streams:
    """The streams of a run's replicates; each is opened where it is first asked for."""

    def __init__(self, sampler: Sampler, target: Target, seed: int, size: int, *, compiled: bool):
        self._sampler, self._target, self._seed, self._size = sampler, target, seed, size
        self._compiled = compiled
        self._open: dict[tuple[int, int], Stream] = {}

    def at(self, key: Key) -> Stream:
        """Return the stream of the key's replicate; no two threads have the same."""
        place = threading.get_ident(), key.replicate
        stream = self._open.get(place)
        if stream is None:
            seed = stream_seed(self._seed, MAIN, key.replicate)
            stream = self._sampler.open(self._target, self._size, seed)
            if self._compiled and isinstance(stream, BlockedStream):
                stream.compile()
            self._open[place] = stream
            while len(self._open) > _MOST_STREAMS:
                self._open.pop(next(iter(self._open)), None)
        return stream

    def probe(self, key: Key) -> Draws:
        """Return the first draws of a block, to see what draws carry."""
        return self.at(key)(key.start, self._sampler.unit)

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_open": {}}


class Part(NamedTuple):
    """What a block adds to its run.

    Attributes
    ----------
    tally : Tally or None
        Its sums; None where no point lies in the support, and the number of components is not
        known yet.
    learned : Learned
        What it tells of the integrand.
    """

    tally: Tally | None
    learned: Learned


class BlockJob:
    """Draw blocks of a run, evaluate the integrand there and sum up: a `tasks.Job`.

    Parameters
    ----------
    blank : Tally
        What a block is summed in, a copy of which becomes its result.
    """

    def __init__(
        self, integrand: Integrand, target: Target, streams: Streams, blank: Tally
    ) -> None:
        self._integrand = integrand.fresh()
        self._target = target
        self._streams = streams
        self._blank = blank

    def __call__(self, key: Key, given: None = None) -> Part:
        """Return the sums over one block."""
        stream = self._streams.at(key)
        words = self._words(stream, key)
        integrand, tally = self._integrand.fresh(), self._blank.blank()
        if words is not None:
            self._fused(key, words, integrand, tally)
            return Part(tally, integrand.learned)
        waiting: list[Draws] = []
        for start in range(key.start, key.stop, CHUNK):
            chunk = key._replace(start=start, size=min(CHUNK, key.stop - start))
            draws = stream(*chunk[1:])
            try:
                values = integrand(draws, str(chunk))
            except OutsideSupportError:
                waiting.append(draws)
                continue
            # Chunks before the first point in the support are all zeros, now of a known width.
            for empty in waiting:
                tally.add(key.replicate, empty, np.zeros((empty.n, values.shape[1])))
            waiting.clear()
            tally.add(key.replicate, draws, values)
        return Part(None if waiting else tally, integrand.learned)

    def input(self, key: Key) -> None:
        """Blocks are told by their keys alone."""

    def pack(self, result: Part) -> dict[str, Any]:
        """Return a result as named arrays."""
        return result.learned.pack() | ({} if result.tally is None else result.tally.pack())

    def unpack(self, arrays: Mapping[str, Any]) -> Part:
        """Return the result that `pack` was given."""
        tally = self._blank.unpack(arrays) if "n" in arrays else None
        return Part(tally, Learned.unpack(arrays))

    def _words(self, stream: Stream, key: Key) -> Any:
        """Return a generator's state where draws, integrand and sums can be one compiled loop."""
        if (
            self._integrand.is_compiled
            and isinstance(stream, BlockedStream)
            and isinstance(self._target, Product)
            and self._target.is_box
            and draws_only(self._blank)
            and not self._blank.covariance
        ):
            target = self._target
            self._integrand.check_compiled(target.low + 0.382 * target.side)
            return stream.words(key.start, key.stop)
        return None

    def _fused(self, key: Key, words: Any, integrand: Integrand, tally: Tally) -> None:
        from mcvar._jit.montecarlo import fused_loop

        target = self._target
        assert isinstance(target, Product)
        assert isinstance(tally, MomentTally)
        loop = fused_loop(integrand.function, target.ndim, target.is_unit)
        mean, squares, largest, bad = loop(words, target.low, target.side, key.size, _FUSED_TILE)
        integrand.n_evaluations += key.size
        if bad >= 0:
            self._replay(words, integrand, key.start, bad, min(_FUSED_TILE, key.size - bad))
        moments = Moments(
            key.size, np.array([mean]), np.array([squares]), np.empty((0, 1)), np.empty((0, 0))
        )
        tally.note(key.size, np.array([largest]))
        tally.merge(0, moments)

    def _replay(self, words: Any, integrand: Integrand, start: int, first: int, count: int) -> None:
        """Make the points of a tile with a non-finite sum again, and name the culprit."""
        from mcvar._jit.montecarlo import fill_points

        assert isinstance(self._target, Product)
        u = np.empty((self._target.ndim, first + count))
        fill_points(words, u)
        x = self._target.from_uniform(u[:, first:].T)
        integrand(Draws.unchecked(x=x), f"the draws from number {start + first} on")
        raise MagnitudeError(
            f"the square of the integrand overflows among draws {start + first}-"
            f"{start + first + count - 1}; rescale the integrand."
        )


def draws_only(tally: Tally) -> bool:
    """Whether a tally keeps nothing but moments of values."""
    return isinstance(tally, MomentTally) and tally.features.control is None
