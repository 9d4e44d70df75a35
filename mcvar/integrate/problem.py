"""The problem of a call of `estimate`, and its runner: workers, time, checkpoint."""

from dataclasses import dataclass
from typing import Any

from mcvar._checks import as_positive
from mcvar._version import __version__
from mcvar.execution import Checkpoint, Runner, fingerprint, stored_about
from mcvar.integrate.integrand import Integrand
from mcvar.samplers import Sampler
from mcvar.targets import Target


@dataclass(frozen=True)
class Problem:
    """An integral, and how it is to be estimated; not how well, how fast, nor where."""

    integrand: Integrand
    target: Target
    sampler: Sampler
    control: Any
    folds: int
    covariance: bool
    batch_size: int | None
    seed: int

    def about(self, budget: int) -> dict[str, Any]:
        """Return what a checkpoint says of the run, in plain data."""
        function = self.integrand.function
        name = getattr(function, "__qualname__", type(function).__qualname__)
        return {
            "integrand": f"{getattr(function, '__module__', '?')}:{name}",
            "target": _described(self.target),
            "sampler": self.sampler.name,
            "control": _named(self.control),
            "folds": self.folds,
            "batch_size": self.batch_size,
            "seed": self.seed,
            "budget": budget,
            "version": __version__,
        }

    def key(self) -> str:
        """Return a digest that tells this problem from others."""
        return fingerprint(
            self.integrand.function,
            self.integrand.is_vectorized,
            self.target,
            self.sampler,
            self.control,
            self.folds,
            self.covariance,
            self.batch_size,
            self.seed,
        )


def open_runner(
    problem: Problem, budget: int, executor: Any, checkpoint: Any, max_seconds: float | None
) -> tuple[Runner, int]:
    """Runner of the problem's tasks, and the training budget.

    A resumed run has the training budget of its first call: trained otherwise, it would need other
    draws.
    """
    limit = None if max_seconds is None else as_positive("max_seconds", max_seconds)
    if checkpoint is None:
        return Runner(executor, max_seconds=limit, seed=problem.seed), budget
    kept = Checkpoint(checkpoint, problem.key(), problem.about(budget))
    try:
        runner = Runner(executor, kept, max_seconds=limit, seed=problem.seed)
    except BaseException:
        kept.close()
        raise
    return runner, int(kept.about["budget"])


def stored_seed(checkpoint: Any) -> int | None:
    """Return the seed of the run in this file, if there is one."""
    about = None if checkpoint is None else stored_about(checkpoint)
    return None if about is None else about.get("seed")


def _named(control: Any) -> str:
    if isinstance(control, str):
        return control
    return ", ".join(_described(each) for each in control) or "None"


def _described(thing: Any) -> str:
    """A repr that is the same in every process."""
    text = repr(thing)
    return type(thing).__name__ if " at 0x" in text else text
