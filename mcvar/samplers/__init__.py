"""Samplers: how draws are made."""

from typing import Any

from mcvar._checks import known_name
from mcvar.samplers.auto import Auto
from mcvar.samplers.base import (
    CHUNK,
    Evaluate,
    Plan,
    Prepared,
    Sampler,
    Stream,
    stream_seed,
)
from mcvar.samplers.blocks import Blocks
from mcvar.samplers.importance import Importance
from mcvar.samplers.latin import LatinHypercube
from mcvar.samplers.montecarlo import INDEPENDENT, Antithetic, BlockedStream, MonteCarlo
from mcvar.samplers.qmc import Halton, Lattice, Sobol
from mcvar.samplers.stratified import Stratified
from mcvar.samplers.vegas import Vegas

_BY_NAME: dict[str, type[Sampler]] = {
    sampler.name: sampler
    for sampler in (
        Auto,
        MonteCarlo,
        Antithetic,
        LatinHypercube,
        Sobol,
        Halton,
        Lattice,
        Stratified,
        Importance,
        Vegas,
    )
}


def as_sampler(sampler: Any) -> Sampler:
    """Return a sampler for its name, or the sampler itself.

    Examples
    --------
    >>> from mcvar.samplers import as_sampler
    >>> as_sampler("sobol")
    Sobol(replicates=8)
    """
    if isinstance(sampler, Sampler):
        return sampler
    if isinstance(sampler, str):
        return _BY_NAME[known_name("sampler", sampler, _BY_NAME)]()
    raise TypeError(f"sampler must be a name or a mcvar.samplers.Sampler, got {sampler!r}.")


__all__ = [
    "CHUNK",
    "INDEPENDENT",
    "Antithetic",
    "Auto",
    "BlockedStream",
    "Blocks",
    "Evaluate",
    "Halton",
    "Importance",
    "LatinHypercube",
    "Lattice",
    "MonteCarlo",
    "Plan",
    "Prepared",
    "Sampler",
    "Sobol",
    "Stratified",
    "Stream",
    "Vegas",
    "as_sampler",
    "stream_seed",
]
