"""Campaign: scenarios run, logged and averaged, resumable at any moment."""

import itertools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mcvar._checks import as_count, as_finite_array, import_extra
from mcvar.safety import workers
from mcvar.safety.adapt import Adaptation
from mcvar.safety.batch import Record
from mcvar.safety.identity import identity
from mcvar.safety.log import Log
from mcvar.safety.logged import LoggedScenarios
from mcvar.safety.proposal import AdversarialProposal, ProposalError, what_went_wrong
from mcvar.safety.rate import CrashRate
from mcvar.safety.simulate import check_simulator, chunk_size, play
from mcvar.safety.stop import RelativeHalfWidth

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COMMIT_EVERY = 1.0  # seconds of simulation that a kill may cost
_FREE_DRAWS = {True: 20_000, False: 1_000}  # of the first state: many where states go in batches
_HOPELESS = 100  # scenarios all of which failed, after which no more are tried
_INITIAL = 2  # stream of the free draws, apart from those of scenarios


class Replay(NamedTuple):
    """A scenario run again.

    Attributes
    ----------
    record, logged : Record
        Now, and in the log.
    same : bool
        Whether states, actions and outcome agree bit for bit.
    """

    record: Record
    logged: Record
    same: bool


class Campaign:
    """Scenarios of one simulator under one proposal, in a log.

    Everything random about scenario k follows from (seed, k), so results depend neither on the
    number of workers nor on when the campaign was interrupted.

    Parameters
    ----------
    simulator : callable, or object with reset and step
        See `mcvar.safety.simulate`. Its attribute `version` tells one simulator from another in
        the log. With ``initial_states(rng, n) -> (n, S)`` the first state becomes a control.
    proposal : AdversarialProposal
        What is sampled at first.
    store : str or Path, optional
        The log. One that exists is gone on with. In memory by default.
    seed : int
    executor : int or concurrent.futures.Executor, optional
        Number of worker processes, or an executor of your own. In this process by default, where
        a simulator that hangs or dies takes the campaign along (not what was logged).
    adapt : Adaptation, optional
        Refits of the proposal between batches.
    timeout : float, optional
        Seconds that one scenario (one chunk, for batch simulators) may take; it then becomes a
        row of status "timeout". Needs worker processes: one, where `executor` is None.

    Raises
    ------
    LogError
        A log of another campaign, or a damaged one.

    Examples
    --------
    >>> from mcvar import safety
    >>> chain = safety.GapChain()
    >>> proposal = safety.AdversarialProposal(chain.actions, [chain.surrogate], epsilon=0.5)
    >>> campaign = safety.Campaign(chain, proposal, seed=1)
    >>> rate = campaign.run(stop=safety.RelativeHalfWidth(0.1), progress=False)
    >>> low, high = rate.confidence_interval(0.9)
    >>> rate.scenarios, bool(abs(rate.value / chain.rate - 1) < 1e-9)
    (200, True)
    """

    def __init__(
        self,
        simulator: Any,
        proposal: AdversarialProposal,
        store: str | Path | None = None,
        seed: int = 0,
        executor: int | Executor | None = None,
        *,
        adapt: Adaptation | None = None,
        timeout: float | None = None,
    ) -> None:
        check_simulator(simulator)
        if not isinstance(proposal, AdversarialProposal):
            raise TypeError(f"proposal must be an AdversarialProposal, got {proposal!r}.")
        if isinstance(executor, bool) or not isinstance(executor, int | Executor | None):
            raise TypeError(f"executor must be a number or an Executor, got {executor!r}.")
        if isinstance(executor, Executor) and timeout is not None:
            raise ValueError("timeout needs worker processes of the campaign: executor=2, say.")
        if timeout is not None and not timeout > 0:
            raise ValueError(f"timeout must be positive, got {timeout!r}.")
        self.simulator, self.proposal = simulator, proposal
        self.seed = as_count("seed", seed, 0)
        self.adapt = adapt
        self._executor = as_count("executor", executor) if isinstance(executor, int) else executor
        self._timeout = timeout
        self._proposals = [proposal]
        self._log = Log(store)
        self._log.identify(
            {
                "simulator": identity(simulator),
                "seed": self.seed,
                "proposal": proposal.describe(),
                "adapt": None if adapt is None else adapt.describe(),
                "state_names": list(getattr(simulator, "state_names", ())),
            }
        )
        self._logged = LoggedScenarios(self._log)

    @property
    def scenarios(self) -> int:
        """Number of scenarios in the log."""
        return self._log.count()

    def close(self) -> None:
        """Close the log."""
        self._log.close()

    def run(
        self,
        stop: RelativeHalfWidth | None = None,
        max_scenarios: int = 100_000,
        progress: bool | None = None,
    ) -> CrashRate:
        """Run scenarios until `stop` is met or `max_scenarios` are in the log.

        A simulator that fails in each of a hundred scenarios is not asked for more.

        Parameters
        ----------
        stop : RelativeHalfWidth, optional
        max_scenarios : int
            Those of earlier runs included.
        progress : bool, optional
            Whether to show a bar (extra "progress"); by default, where it is installed.

        Returns
        -------
        CrashRate

        Raises
        ------
        LogError
            Another process runs this campaign.
        OSError
            The disk is full; what was committed is safe.
        ProposalError
            Probabilities or challenges that are none; the message names scenario and state.
        """
        most = as_count("max_scenarios", max_scenarios, 2)
        if stop is not None and not isinstance(stop, RelativeHalfWidth):
            raise TypeError(
                f"stop must be a RelativeHalfWidth, such as RelativeHalfWidth(0.3), got {stop!r}."
            )
        update, close_bar = _bar(most, self.scenarios, progress)
        pool = self._start_workers()
        try:
            with self._log.writing():
                self._log.begin_session()
                while True:
                    n = self.scenarios
                    self._catch_up(n)
                    spent = self._log.proposals()[-1].first
                    if stop and stop.is_look(n - spent) and stop.met(self._look(stop)):
                        break
                    if n >= most or (n >= _HOPELESS and self._all_failed()):
                        break
                    ends = [most, _HOPELESS] if n < _HOPELESS else [most]
                    if self.adapt is not None:
                        ends += [boundary for boundary in self.adapt.after if boundary > n]
                    if stop is not None:
                        ends.append(spent + stop.next_look(n - spent))
                    self._run_scenarios(n, min(ends), pool, update)
        finally:
            if isinstance(pool, workers.Workers):
                pool.close()
            close_bar()
        return self._look(stop)

    def _look(self, stop: RelativeHalfWidth | None) -> CrashRate:
        return self.estimate(confidence=0.90 if stop is None else stop.confidence)

    def _all_failed(self) -> bool:
        sample = self._logged.sample()[0]
        return bool(sample.unknown.all())

    def _start_workers(self) -> "workers.Workers | Executor | None":
        if isinstance(self._executor, int):
            return workers.Workers(self._executor, self._timeout)
        if self._timeout is not None:
            return workers.Workers(1, self._timeout)
        return self._executor

    def _run_scenarios(self, n: int, end: int, pool: Any, update: Callable[[int], None]) -> None:
        """Run scenarios n .. end − 1 and log them, in their order."""
        index, proposal = len(self._proposals) - 1, self._proposals[-1]
        job = self.simulator, proposal, self.seed, _chunks(n, end, chunk_size(self.simulator))
        if pool is None:
            found = workers.in_process(*job)
        elif isinstance(pool, workers.Workers):
            found = pool.run(*job)
        else:
            found = workers.with_executor(pool, *job)
        waiting: list[Record] = []
        last = time.monotonic()
        try:
            for records in found:
                waiting += records
                update(len(records))
                if time.monotonic() - last > _COMMIT_EVERY:
                    done, waiting = waiting, []
                    self._log.append(done, index)
                    last = time.monotonic()
        finally:  # an interrupt, or a proposal that is wrong, loses nothing of what was done
            self._log.append(waiting, index)

    def _catch_up(self, n: int) -> None:
        """Have the proposals that `n` scenarios have led to, refitting where it is time."""
        if not self._log.proposals():
            self._log.add_proposal(0, 0, self._described(self.proposal))
        if self.adapt is None:
            return
        for index, boundary in enumerate(self.adapt.after, start=1):
            if n >= boundary and len(self._proposals) == index:
                rounds = [
                    (used, list(self._log.read(first, last)))
                    for used, first, last in zip(
                        self._proposals,
                        [0, *self.adapt.after],
                        self.adapt.after[:index],
                        strict=False,
                    )
                ]
                fitted = self.adapt.refit(self.proposal, self._proposals[-1], rounds)
                self._log.add_proposal(index, boundary, self._described(fitted))
                self._proposals.append(fitted)

    def _described(self, proposal: AdversarialProposal) -> dict[str, Any]:
        return proposal.describe() | {"initial": self._initial(proposal)}

    def _initial(self, proposal: AdversarialProposal) -> dict[str, Any] | None:
        """V_j at the first state over free draws of it: its mean, and the mean's covariance."""
        draw = getattr(self.simulator, "initial_states", None)
        if draw is None or not proposal.surrogates:
            return None
        asked = (proposal.actions, *proposal.surrogates)
        n = _FREE_DRAWS[all(hasattr(thing, "batch") for thing in asked)]
        key = np.random.SeedSequence(self.seed).generate_state(2, np.uint64)
        rng = np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, _INITIAL]))
        try:
            states = as_finite_array("initial_states(rng, n)", draw(rng, n))
            if states.ndim != 2 or len(states) != n:
                raise ValueError(
                    f"initial_states(rng, n) has shape {states.shape}; expected ({n}, S)."
                )
            v = proposal.criticality(states)
        except Exception as error:
            raise ProposalError(
                f"before scenario {self.scenarios}, among free draws of the first state: "
                f"{what_went_wrong(error)}"
            ) from error
        covariance = np.atleast_2d(np.cov(v, rowvar=False)) / n
        return {"mean": v.mean(axis=0).tolist(), "covariance": covariance.tolist()}

    def estimate(
        self, control: str = "auto", *, confidence: float = 0.90, strata: str = "first"
    ) -> CrashRate:
        """Estimate the crash rate: a pure function of the log.

        Parameters are those of `mcvar.safety.estimate`.
        """
        return self._logged.estimate(control, confidence=confidence, strata=strata)

    def replay(self, scenario: int) -> Replay:
        """Run a logged scenario again and compare.

        Raises
        ------
        ValueError
            A number that is not in the log.
        """
        scenario = as_count("scenario", scenario, 0)
        if scenario >= self.scenarios:
            raise ValueError(
                f"scenario {scenario} is not in {self._log}, which holds {self.scenarios}; "
                "expected one of them, counted from 0."
            )
        (logged,) = self._log.read(scenario, scenario + 1)
        self._catch_up(self.scenarios)
        used = [proposal for proposal in self._log.proposals() if proposal.first <= scenario]
        (record,) = play(self.simulator, self._proposals[used[-1].number], self.seed, [scenario])
        same = (
            record.crash == logged.crash
            and record.status == logged.status
            and np.array_equal(record.states, logged.states)
            and np.array_equal(record.action, logged.action)
        )
        return Replay(record, logged, bool(same))

    def plot(
        self, ax: "Axes | None" = None, *, control: str = "auto", level: float = 0.90
    ) -> "Axes":
        """Draw the rate and its interval against the number of scenarios averaged.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.
        control : str
            As in `estimate`.
        level : float
            Confidence level of the band.

        Raises
        ------
        LogError
            No scenario has been run yet.
        """
        from mcvar.safety.pictures import rate_over_scenarios

        return rate_over_scenarios(self._logged.history(control), level, ax)

    def report(self, path: str | Path, control: str = "auto") -> None:
        """Write the report, one HTML file."""
        from mcvar.safety.report import write_report

        write_report(self._log, path, control)

    def check_threshold(self, scenarios: int = 1_000, factor: float = 0.1) -> CrashRate:
        """Estimate the rate with a threshold `factor` times as high, in fresh scenarios.

        They are not logged. A rate well above the campaign's says that crashes hide below the
        threshold.
        """
        proposal = self._proposals[-1]
        lower = proposal.replace(threshold=proposal.threshold * factor)
        campaign = Campaign(self.simulator, lower, seed=self.seed + 1)
        try:
            return campaign.run(max_scenarios=scenarios, progress=False)
        finally:
            campaign.close()


def _chunks(n: int, end: int, size: int) -> Sequence[Sequence[int]]:
    """Cut n .. end − 1 at multiples of `size`, wherever the campaign was interrupted."""
    cuts = [n, *range((n // size + 1) * size, end, size), end]
    return [range(low, high) for low, high in itertools.pairwise(cuts)]


def _bar(
    total: int, done: int, progress: bool | None
) -> tuple[Callable[[int], Any], Callable[[], None]]:
    """Return update and close functions of a tqdm bar, or of nothing."""
    if progress is None:
        try:
            import tqdm  # noqa: F401
        except ImportError:
            progress = False
        else:
            progress = True
    if not progress:
        return (lambda _: None), (lambda: None)
    bar = import_extra("tqdm", "progress").tqdm(
        total=total, initial=min(done, total), unit=" scenarios", disable=None
    )
    return bar.update, bar.close
