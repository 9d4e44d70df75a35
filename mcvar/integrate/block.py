"""One block of a run: draw, evaluate, sum. A function of the block's place alone."""

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from mcvar._checks import as_count
from mcvar._typing import FloatArray
from mcvar.draws import Draws
from mcvar.execution import Key
from mcvar.integrate.crossfit import Model
from mcvar.integrate.integrand import Integrand, Signature
from mcvar.integrate.packing import pack, unpack
from mcvar.integrate.sums import n_sampled
from mcvar.integrate.values import BlockSums, Layout, Measure, Thresholds
from mcvar.samplers import (
    CHUNK,
    INDEPENDENT,
    BlockedStream,
    Blocks,
    Sampler,
    Stream,
    stream_seed,
)
from mcvar.targets import Product, Target

_REPLICATES = Blocks(2**10, 4)  # they share the work out already
_ONE_BY_ONE = Blocks(2**5, 32, 2**12)  # a Python function of one point is seldom fast
_MOST_STREAMS = 64  # kept open
_FUSED = 2**16  # values of a compiled integrand that are summed together


def blocks_for(integrand: Integrand, sampler: Sampler, batch_size: int | None) -> Blocks:
    """Blocks of a run; `batch_size` is what the user wants, if anything."""
    if batch_size is not None:
        size = as_count("batch_size", batch_size)
        size += -size % sampler.unit
        return Blocks(size, most=size)
    if not (integrand.is_vectorized or integrand.is_compiled):
        return _ONE_BY_ONE
    return _REPLICATES if sampler.replicated else INDEPENDENT


def cut(blocks: Blocks, replicate: int, start: int, stop: int) -> Iterator[Key]:
    """Yield the blocks of draws start .. stop − 1; the first and last may be cut short.

    >>> from mcvar.samplers import Blocks
    >>> [key.size for key in cut(Blocks(256, 8), 0, 4000, 5000)]
    [96, 512, 392]
    """
    while start < stop:
        end = min(blocks.at(start)[1], stop)
        yield Key(replicate, start, end - start)
        start = end


class Streams:
    """The streams of a run's replicates; each is opened where it is first asked for.

    Parameters
    ----------
    sampler : Sampler
    target : Target
    seed : int
    place : int
        Place of these streams among those of the run.
    size : int
        Draws of a replicate.
    compiled : bool
        Whether kernels make the draws, where they can: sooner, for loading Numba.
    """

    def __init__(
        self, sampler: Sampler, target: Target, seed: int, place: int, size: int, *, compiled: bool
    ):
        self._sampler, self._target, self._seed, self._size = sampler, target, seed, size
        self._place = place
        self._compiled = compiled
        self._open: dict[tuple[int, int], Stream] = {}

    def at(self, key: Key) -> Stream:
        """Stream of the key's replicate; no two threads have the same."""
        place = threading.get_ident(), key.replicate
        stream = self._open.get(place)
        if stream is None:
            seed = stream_seed(self._seed, self._place, key.replicate)
            stream = self._sampler.open(self._target, self._size, seed)
            if self._compiled and isinstance(stream, BlockedStream):
                stream.compile()
            self._open[place] = stream
            while len(self._open) > _MOST_STREAMS:
                self._open.pop(next(iter(self._open)), None)
        return stream

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_open": {}}


@dataclass(frozen=True, eq=False)
class Summing:
    """How rows of a block are made of values and summed up.

    Attributes
    ----------
    measure : Measure
    layout : Layout
    covariance : bool
    models : tuple of Model
        Fitted controls by fold; none where values are summed as they are.
    pivot : ndarray, shape (m,), or float
        About which weighted values are summed.
    thresholds : Thresholds or None
        Beyond which rows belong to the largest so far.
    """

    measure: Measure
    layout: Layout
    covariance: bool
    models: tuple[Model, ...] = ()
    pivot: FloatArray | float = 0.0
    thresholds: Thresholds | None = None

    def __call__(self, values: FloatArray, draws: Draws, replicate: int, start: int) -> BlockSums:
        """Sums over values (n, m) at draws `start` and after of a replicate."""
        about = values - self.pivot if self.measure.self_normalized else values
        adjusted = None
        if self.models:
            fold = replicate % len(self.models) if self.layout.replicated else 0
            adjusted = self.models[fold].adjust(draws, about)
        columns = values.shape[1] + self.measure.self_normalized
        sample = n_sampled(columns, self.layout.replicated)
        return BlockSums.of(
            about,
            draws,
            self.measure,
            self.layout,
            adjusted=adjusted,
            group=replicate if self.layout.replicated else 0,
            pivot=self.pivot,
            covariance=self.covariance,
            sample=max(sample - start, 0),
            thresholds=self.thresholds,
        )


class Part(NamedTuple):
    """Result of a block: its sums, or its draws with values (n, m) where a control needs them."""

    signature: Signature
    sums: BlockSums | None
    draws: Draws | None
    values: FloatArray | None


class BlockJob:
    """Draw blocks of a run, evaluate the integrand there and sum up: an `execution.Job`.

    Parameters
    ----------
    integrand : Integrand
    target : Target
    streams : Streams
    summing : Summing or None
        None: return the draws and values themselves.
    keeps_points : bool
        Whether points are needed after the integrand has seen them.
    with_gradients : bool
        Whether ∇ log π is needed at the draws.
    """

    def __init__(
        self,
        integrand: Integrand,
        target: Target,
        streams: Streams,
        summing: Summing | None,
        *,
        keeps_points: bool,
        with_gradients: bool,
    ) -> None:
        self._integrand = integrand
        self._target = target
        self._streams = streams
        self._summing = summing
        self._keeps_points = keeps_points
        self._with_gradients = with_gradients

    def __call__(self, key: Key, given: None = None) -> Part:
        """Sums over one block, or its draws and values."""
        stream = self._streams.at(key)
        words = self._words(stream, key)
        if words is not None:
            return self._fused(key, words)
        chunks = [
            key._replace(start=start, size=min(CHUNK, key.stop - start))
            for start in range(key.start, key.stop, CHUNK)
        ]
        return _joined([self._chunk(stream, chunk) for chunk in chunks])

    def _chunk(self, stream: Stream, chunk: Key) -> Part:
        draws = stream(chunk.start, chunk.size)
        if self._with_gradients and draws.grad_logpdf is None:
            draws = replace(draws, grad_logpdf=self._target.grad_logpdf(draws.x))
        seen = draws
        if self._keeps_points:
            # The function may overwrite its argument.
            seen = Draws.unchecked(x=draws.x.copy(order="K"), weights=draws.weights)
        values, signature = self._integrand(seen, chunk)
        if self._summing is None:
            # It may also return memory that it uses again.
            return Part(signature, None, draws, np.array(values))
        return Part(
            signature, self._summing(values, draws, chunk.replicate, chunk.start), None, None
        )

    def input(self, key: Key) -> None:
        """Blocks are determined by their keys alone."""

    def pack(self, result: Part) -> dict[str, Any]:
        """A result as named arrays."""
        return pack((tuple(result.signature), *result[1:]))

    def unpack(self, arrays: Mapping[str, Any]) -> Part:
        """The result that `pack` was given."""
        signature, *rest = unpack(arrays)
        return Part(Signature(*signature), *rest)

    def _words(self, stream: Stream, key: Key) -> Any:
        """State of a generator where draws and integrand can be one compiled loop."""
        if (
            self._integrand.is_compiled
            and isinstance(stream, BlockedStream)
            and isinstance(self._target, Product)
            and self._target.is_box
            and self._summing is not None
            and not self._summing.models
        ):
            if self._integrand.signature is None:
                self._integrand.check_compiled(self._target.low + 0.382 * self._target.side)
            return stream.words(key.start, key.stop)
        return None

    def _fused(self, key: Key, words: Any) -> Part:
        from mcvar._jit.montecarlo import fused_loop

        target, summing = self._target, self._summing
        assert isinstance(target, Product)
        assert summing is not None
        loop = fused_loop(self._integrand.function, target.ndim, target.is_unit)
        sums: BlockSums | None = None
        state = words.copy()
        values = np.empty((min(_FUSED, key.size), 1))
        for start in range(key.start, key.stop, _FUSED):
            count = min(_FUSED, key.stop - start)
            before = state.copy()
            loop(state, target.low, target.side, values[:count, 0])
            if not np.isfinite(values[:count, 0] @ values[:count, 0]):
                self._replay(before, key._replace(start=start, size=count))
            # Sums of values need no points; there are none.
            draws = Draws.unchecked(x=values[:count])
            own = summing(values[:count], draws, key.replicate, start)
            sums = own if sums is None else sums + own
        return Part(Signature(1, True), sums, None, None)

    def _replay(self, words: Any, chunk: Key) -> None:
        """Make the points of a chunk with a non-finite sum again, and report the first bad one."""
        from mcvar._jit.montecarlo import fill_points

        u = np.empty((self._target.n_uniform, chunk.size))
        fill_points(words, u)
        self._integrand(Draws.unchecked(x=self._target.from_uniform(u.T)), chunk)


def _joined(parts: list[Part]) -> Part:
    """Parts of one block as one."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    if first.sums is None:
        draws = Draws.stacked([part.draws for part in parts if part.draws is not None])
        values = np.concatenate([part.values for part in parts if part.values is not None])
        return Part(first.signature, None, draws, values)
    sums = first.sums
    for part in parts[1:]:
        assert part.sums is not None
        sums = sums + part.sums
    return Part(first.signature, sums, None, None)


class ValuesJob:
    """The integrand at blocks of given points: an `execution.Job`."""

    def __init__(self, integrand: Integrand, x: FloatArray, where: str, *, whole: bool) -> None:
        self._integrand = integrand
        self._x: FloatArray | None = x
        self._where = where
        self._whole = whole

    def __call__(self, key: Key, given: FloatArray) -> tuple[FloatArray, Signature]:
        """Values (n, m) at the points of a block."""
        where = self._where if self._whole else f"{self._where} {key.start}-{key.stop - 1}"
        values, signature = self._integrand.at(given, where)
        return np.array(values), signature

    def input(self, key: Key) -> FloatArray:
        """Points of a block."""
        assert self._x is not None
        # The layout in memory, on which the bits of linear algebra depend, is the same everywhere;
        # and the function may overwrite its argument.
        return np.array(self._x[key.start : key.stop], order="F")

    def pack(self, result: tuple[FloatArray, Signature]) -> dict[str, Any]:
        """A result as named arrays."""
        return pack((result[0], tuple(result[1])))

    def unpack(self, arrays: Mapping[str, Any]) -> tuple[FloatArray, Signature]:
        """The result that `pack` was given."""
        values, signature = unpack(arrays)
        return values, Signature(*signature)

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_x": None}  # workers are given the rows of their block
