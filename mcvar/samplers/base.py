"""Sampler: how draws are made, as independent draws or as independent randomisations."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from mcvar._checks import as_count, root_entropy
from mcvar._typing import FloatArray, Seed
from mcvar.draws import Draws
from mcvar.targets import Target

CHUNK = 16_384  # rows evaluated at a time: fits the cache, and amortises Python's overhead
REPLICATES = 8  # independent randomisations behind a t interval
MOST_SIZE = 2**30  # points of one Sobol' sequence before it repeats itself
MIN_SIZE = 4  # fewest points in a randomisation that still deserves the name

#: Values of the integrand, weights included, at draws spent on training: shape (n, m).
Evaluate = Callable[[Draws], FloatArray]


class Stream(Protocol):
    """One replicate's draws: ``stream(start, count)`` returns rows of it.

    They depend on `start` and `count` alone, so that blocks of them may be made anywhere, in any
    order.

    Examples
    --------
    >>> import numpy as np
    >>> from mcvar.samplers import Sobol
    >>> from mcvar.targets import as_target
    >>> stream = Sobol().open(as_target([(0, 1)] * 2), 8, np.random.SeedSequence(1))
    >>> stream(0, 4).x.shape, stream(4, 4).x.shape
    ((4, 2), (4, 2))
    """

    def __call__(self, start: int, count: int) -> Draws:
        """Return draws start .. start + count - 1."""


@dataclass(frozen=True)
class Plan:
    """How n evaluations are laid out: `replicates` of `size` draws each.

    Examples
    --------
    >>> import mcvar
    >>> plan = mcvar.samplers.Sobol().plan(10_000)
    >>> plan, plan.n
    (Plan(replicates=9, size=1024), 9216)
    """

    replicates: int
    size: int

    @property
    def n(self) -> int:
        """Evaluations in all."""
        return self.replicates * self.size


@dataclass(frozen=True)
class Prepared:
    """What a sampler becomes after training on a few draws.

    Attributes
    ----------
    sampler, target
        What the estimate's own draws are made by, and from.
    spent : int
        Evaluations that training took.
    warnings : tuple of str
        Reasons to suspect the training, in prose.
    description : str
        What was chosen, where the sampler's name does not say it all.

    Examples
    --------
    Most samplers need no training, and stay what they are:

    >>> import numpy as np
    >>> from mcvar.samplers import Sobol
    >>> from mcvar.targets import as_target
    >>> goal = as_target([(0, 1)])
    >>> ready = Sobol().prepare(goal, lambda draws: draws.x, 1000, np.random.SeedSequence(1))
    >>> ready.target is goal, ready.spent
    (True, 0)
    """

    sampler: "Sampler"
    target: Target
    spent: int = 0
    warnings: tuple[str, ...] = ()
    description: str = ""


class Sampler(ABC):
    """A recipe for draws from any target.

    Attributes
    ----------
    name : str
        What users write in ``sampler=``.
    replicated : bool
        False: draws (or units of `unit` consecutive draws) are independent. True: only whole
        replicates are, and the error bar comes from their spread.
    extensible : bool
        Whether a replicate grows by appending draws; otherwise more replicates are added.
    unit : int
        Consecutive draws that are averaged before they count as independent.

    Notes
    -----
    Draws that a user looks at:

    >>> import mcvar
    >>> draws = mcvar.samplers.Sobol().draw([(0, 1), (0, 1)], 64, rng=1)
    >>> draws.x.shape, draws.replicate.max()
    ((64, 2), np.int64(7))
    """

    name: ClassVar[str]
    replicated: ClassVar[bool] = True
    extensible: ClassVar[bool] = False
    unit: ClassVar[int] = 1

    @abstractmethod
    def plan(self, n: int) -> Plan:
        """Lay out at most n evaluations; ValueError where n is too small."""

    @abstractmethod
    def open(self, target: Target, size: int, seed: np.random.SeedSequence) -> Stream:
        """Start one replicate of `size` draws with its own seed."""

    def prepare(
        self, target: Target, evaluate: Evaluate, n: int, seed: np.random.SeedSequence
    ) -> Prepared:
        """Train on at most a part of the n evaluations; the default needs no training."""
        return Prepared(self, target)

    def draw(self, target: object, n: int, *, rng: Seed = None) -> Draws:
        """Return all draws at once, labelled by what is independent: replicates, or units.

        Parameters
        ----------
        target : target
            Anything `estimate` accepts.
        n : int
            Draws wanted; the most that the layout allows up to n are made.
        rng : int, Generator, SeedSequence or None
            Source of randomness.

        Raises
        ------
        TypeError
            Samplers that learn from an integrand.
        """
        from mcvar.targets import as_target

        count, root = as_count("n", n), root_entropy(rng)
        prepared = self.prepare(as_target(target), self._no_integrand, count, stream_seed(root, 1))
        sampler, goal = prepared.sampler, prepared.target
        plan = sampler.plan(count)
        parts = [
            sampler.open(goal, plan.size, stream_seed(root, 0, r))(0, plan.size)
            for r in range(plan.replicates)
        ]
        size = plan.size if sampler.replicated else sampler.unit
        labels = np.arange(plan.n) // size if size > 1 else None
        return Draws.stacked(parts, replicate=labels)

    def _no_integrand(self, draws: Draws) -> FloatArray:
        raise TypeError(
            f"sampler {self.name!r} learns from an integrand, which draw() does not have; "
            "use estimate(), or a sampler that does not learn."
        )


@dataclass
class UniformStream:
    """A stream made of uniforms: remembers nothing but how to make them."""

    target: Target
    uniforms: Callable[[int, int], FloatArray]

    def __call__(self, start: int, count: int) -> Draws:
        """Return draws start .. start + count - 1."""
        return self.target.transport(self.uniforms(start, count))


def stream_seed(root: int, *key: int) -> np.random.SeedSequence:
    """Return the seed of one stream of a run: a pure function of the root and its place.

    Examples
    --------
    >>> from mcvar.samplers import stream_seed
    >>> stream_seed(1, 0, 3).spawn_key
    (0, 3)
    """
    return np.random.SeedSequence(root, spawn_key=key)


def power_of_two_plan(n: int, replicates: int = REPLICATES) -> Plan:
    """Split n into at least `replicates` replicates of the largest power of two that fits.

    Nets lose their balance at other sizes, so what a power of two leaves over goes into further
    replicates: 10,000 draws are 9 replicates of 1024.
    """
    if n < replicates * MIN_SIZE:
        raise ValueError(
            f"n={n} is too small for {replicates} independent randomisations of at least "
            f"{MIN_SIZE} points; expected n >= {replicates * MIN_SIZE}."
        )
    size = min(1 << ((n // replicates).bit_length() - 1), MOST_SIZE)
    return Plan(n // size, size)


def needs_uniforms(sampler: str, target: Target) -> None:
    """Refuse targets that can only be drawn from at random."""
    if target.n_uniform == 0:
        raise TypeError(
            f"sampler={sampler!r} needs a map from uniforms, which {target!r} lacks; "
            "use sampler='montecarlo'."
        )
