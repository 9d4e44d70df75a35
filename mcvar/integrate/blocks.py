"""Cutting a run into the blocks that are drawn, evaluated and summed as one task each."""

from collections.abc import Iterator

from mcvar._checks import as_count
from mcvar.execution import Key
from mcvar.integrate.integrand import Integrand
from mcvar.samplers import INDEPENDENT, Blocks, Sampler

_REPLICATES = Blocks(2**10, 4)  # they share the work out already
_ONE_BY_ONE = Blocks(2**5, 32, 2**12)  # a Python function of one point is seldom fast


def blocks_for(integrand: Integrand, sampler: Sampler, batch_size: int | None) -> Blocks:
    """Return the blocks of a run; `batch_size` is what the user wants, if anything."""
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
