"""Playing scenarios with a simulator, whatever way it is spoken to.

A simulator is one of

* a callable ``simulator(batch)`` that runs the scenarios of a `mcvar.safety.Batch` side by side;
* an object with ``reset(rng) -> state`` and ``step(action) -> (state, done, crash)`` or
  ``(state, done, crash, time_to_collision)``, one scenario at a time;
* a process of its own: `mcvar.safety.SubprocessSimulator`, which is an object of the second kind.

What a simulator does wrong becomes a row of the log, never a scenario less.
"""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from mcvar.safety.batch import Batch, Record
from mcvar.safety.proposal import AdversarialProposal, ProposalError

_MOST_DECISIONS = 100_000  # of one scenario: a simulator beyond it does not end
_MOST_NUMBERS = 1_000_000  # in the states of one scenario, which are kept until it ends


class SimulatorDied(RuntimeError):
    """The simulator is gone in the middle of a scenario.

    Examples
    --------
    >>> import numpy as np
    >>> from mcvar.safety import SubprocessSimulator
    >>> SubprocessSimulator(["no_such_program"]).reset(np.random.default_rng(1))
    Traceback (most recent call last):
    ...
    mcvar.safety.simulate.SimulatorDied: 'no_such_program' cannot be started: ...
    """


class Step(NamedTuple):
    """What a decision led to.

    Attributes
    ----------
    state : sequence of float
        The state at the next decision.
    done : bool
        Whether the scenario is over.
    crash : bool
    time_to_collision : float
        Least time to collision so far in s, NaN where it is not known.

    Examples
    --------
    >>> from mcvar.safety import Step
    >>> Step(state=[30.0, -2.5], done=True, crash=False, time_to_collision=12.0).crash
    False
    """

    state: Any
    done: bool
    crash: bool = False
    time_to_collision: float = np.nan


@runtime_checkable
class StepSimulator(Protocol):
    """One scenario at a time.

    Examples
    --------
    A car that another one follows ever more closely, or not:

    >>> from mcvar import safety
    >>> class Following:
    ...     def reset(self, rng):
    ...         self.gap = rng.uniform(5, 10)
    ...         return [self.gap]
    ...     def step(self, action):        # 0: fall back, 1: come nearer
    ...         self.gap += (1.0, -1.0)[action]
    ...         crash = self.gap < 0
    ...         return safety.Step([self.gap], done=crash or self.gap > 12, crash=crash)
    >>> proposal = safety.AdversarialProposal(lambda state: [0.5, 0.5])
    >>> campaign = safety.Campaign(Following(), proposal, None, seed=1)
    >>> rate = campaign.run(max_scenarios=200, progress=False)
    >>> low, high = rate.confidence_interval(0.9)
    >>> rate.scenarios, bool(0 < low < rate.value < high < 1)
    (200, True)
    """

    def reset(self, rng: np.random.Generator) -> Any:
        """Begin a scenario; return its first state. All randomness comes from `rng`."""

    def step(self, action: int) -> Any:
        """Let other road users take `action`; return a `Step`, or a tuple like it."""


def check_simulator(simulator: Any) -> None:
    """Raise TypeError for what is no simulator."""
    if not (callable(simulator) or isinstance(simulator, StepSimulator)):
        raise TypeError(
            f"simulator must be callable with a Batch or have reset and step, got {simulator!r}."
        )


def chunk_size(simulator: Any) -> int:
    """Scenarios given to a simulator at once: one, or its attribute `chunk` (256 by default)."""
    if isinstance(simulator, StepSimulator):
        return 1
    return int(getattr(simulator, "chunk", 256))


def play(
    simulator: Any, proposal: AdversarialProposal, seed: int, scenarios: Sequence[int]
) -> list[Record]:
    """Run `scenarios`; return a record of each, whatever the simulator does.

    Where a batch of many fails, it is halved until the scenario that fails stands alone.

    Raises
    ------
    ProposalError
        What the proposal finds wrong with itself: no scenario could be right.
    """
    batch = Batch(proposal, seed, scenarios)
    start = time.perf_counter()
    try:
        if isinstance(simulator, StepSimulator):
            _step_through(simulator, batch)
        else:
            simulator(batch)
    except ProposalError:
        raise
    except Exception as error:
        if batch.error is not None:
            raise batch.error from error
        if batch.n > 1:
            half = batch.n // 2
            return [
                record
                for part in (scenarios[:half], scenarios[half:])
                for record in play(simulator, proposal, seed, part)
            ]
        status = "failed"
        if isinstance(error, TimeoutError | SimulatorDied):
            status = "timeout" if isinstance(error, TimeoutError) else "died"
        (record,) = batch.records(time.perf_counter() - start)
        message = f"{type(error).__name__}: {error}"
        states = record.states[: len(record.action)]  # a last one is that of an outcome
        return [record._replace(status=status, crash=False, states=states, error=message)]
    if batch.error is not None:  # a simulator that swallows exceptions does not swallow this
        raise batch.error
    return batch.records(time.perf_counter() - start)


def lost(
    proposal: AdversarialProposal, seed: int, scenario: int, status: str, error: str
) -> Record:
    """Return the record of a scenario of which nothing came back."""
    (record,) = Batch(proposal, seed, [scenario]).records()
    return record._replace(status=status, error=error)


def _step_through(simulator: StepSimulator, batch: Batch) -> None:
    for row in range(batch.n):
        state = simulator.reset(batch.rng(row))
        numbers = 0
        for _ in range(_MOST_DECISIONS):
            states = _as_states(state)
            numbers += states.size
            if numbers > _MOST_NUMBERS:
                raise RuntimeError(
                    f"states of {states.size} numbers make more than {_MOST_NUMBERS:,} in one "
                    "scenario; expected fewer numbers, or an end."
                )
            action = batch.decide(states, [row])
            step = _as_step(simulator.step(int(action[0])))
            state = step.state
            if step.done:
                batch.finish([row], [step.crash], _as_states(state), step.time_to_collision)
                break
        else:
            raise RuntimeError(
                f"no end after {_MOST_DECISIONS} decisions; expected step to say done before."
            )


def _as_states(state: Any) -> Any:
    array = np.asarray(state, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"the state has shape {array.shape}; expected numbers, (S,).")
    return array[np.newaxis]


def _as_step(found: Any) -> Step:
    try:
        step = Step(*found)
    except TypeError:
        raise TypeError(
            f"step returned {found!r}; expected (state, done, crash) or a Step."
        ) from None
    if step.crash and not step.done:
        raise ValueError("step reported a crash but not the end of the scenario (done).")
    for name in ("done", "crash"):
        if not isinstance(getattr(step, name), bool | np.bool_):
            raise TypeError(f"step returned {name}={getattr(step, name)!r}; expected a bool.")
    return step
