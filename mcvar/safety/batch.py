"""A batch of scenarios under way: chooses their actions and writes down what was chosen."""

from typing import Any, NamedTuple

import numpy as np

from mcvar._checks import as_count, as_real_array
from mcvar._typing import FloatArray, IntArray
from mcvar.safety.proposal import AdversarialProposal, ProposalError, what_went_wrong

_DECISIONS_AHEAD = 32  # uniforms drawn at a time for each scenario
_CHOICES, _SIMULATOR = 0, 1  # streams of a scenario


class Record(NamedTuple):
    """What is known of one scenario.

    Attributes
    ----------
    scenario : int
        Its number in the campaign, from which all its randomness follows.
    component : int
        0 for naturalistic, j for the adversary of surrogate j.
    status : {"ok", "failed", "timeout", "died"}
        Anything but "ok" leaves the outcome unknown.
    crash : bool
    states : ndarray, shape (steps + 1, S)
        State at each decision, and the last one.
    action : ndarray of int, shape (steps,)
    taken : ndarray, shape (steps, 1 + 4 J)
        Columns of `adversary.choose`.
    time_to_collision : float
        Least time to collision in s, infinite or NaN where the simulator gives none.
    seconds : float
        Wall time.
    error : str
        What went wrong.

    Examples
    --------
    >>> import numpy as np
    >>> from mcvar.safety import AdversarialProposal, Batch
    >>> batch = Batch(AdversarialProposal(lambda state: [0.5, 0.5]), 1, [0, 1])
    >>> action = batch.decide(np.zeros((2, 1)))
    >>> batch.finish([0, 1], crash=[True, False], states=np.ones((2, 1)))
    >>> [(record.scenario, record.status, record.crash) for record in batch.records()]
    [(0, 'ok', True), (1, 'ok', False)]
    """

    scenario: int
    component: int
    status: str
    crash: bool
    states: FloatArray
    action: IntArray
    taken: FloatArray
    time_to_collision: float = np.nan
    seconds: float = 0.0
    error: str = ""


class Batch:
    """Scenarios that a simulator runs side by side.

    A batch callable gets one: it calls `decide` wherever other road users choose, and `finish`
    for scenarios that end.

    Parameters
    ----------
    proposal : AdversarialProposal
    seed : int
        Seed of the campaign.
    scenarios : sequence of int
        Their numbers; (seed, number) fixes everything random about a scenario.

    Examples
    --------
    >>> from mcvar.safety import AdversarialProposal, Batch
    >>> batch = Batch(AdversarialProposal(lambda state: [0.5, 0.5]), 1, [0, 1, 2])
    >>> batch.n, batch.decide(np.zeros((3, 1))).shape
    (3, (3,))
    """

    def __init__(self, proposal: AdversarialProposal, seed: int, scenarios: Any) -> None:
        self.proposal = proposal
        self.scenarios = _as_rows("scenarios", scenarios)
        self._seed = as_count("seed", seed, 0)
        self._key = np.random.SeedSequence(seed).generate_state(2, np.uint64)
        self._bits = np.random.Philox(key=self._key)
        self._shared = np.random.Generator(self._bits)
        self._start = self._bits.state
        first = self._stream_uniforms(_CHOICES, 1 + _DECISIONS_AHEAD)
        bounds = np.cumsum(proposal.shares)
        self.component = np.minimum(
            np.searchsorted(bounds, first[:, 0], side="right"), len(bounds) - 1
        ).astype(np.int64)
        self._u = first[:, 1:]
        self._used = np.zeros(self.n, dtype=np.int64)
        self._steps: list[tuple[IntArray, FloatArray, IntArray, FloatArray]] = []
        self._finished = np.zeros(self.n, dtype=bool)
        self._crash = np.zeros(self.n, dtype=bool)
        self._closest = np.full(self.n, np.nan)
        self._last: dict[int, FloatArray] = {}
        self.error: ProposalError | None = None

    @property
    def n(self) -> int:
        """Number of scenarios."""
        return len(self.scenarios)

    def rng(self, row: int) -> np.random.Generator:
        """Return the generator of scenario `row` for whatever the simulator draws itself."""
        counter = [0, 0, int(self.scenarios[row]), _SIMULATOR]
        return np.random.Generator(np.random.Philox(key=self._key, counter=counter))

    def uniforms(self, count: int) -> FloatArray:
        """Return the first `count` uniforms of `rng(row)` for every row, shape (n, count)."""
        return self._stream_uniforms(_SIMULATOR, count)

    def _stream_uniforms(self, stream: int, count: int) -> FloatArray:
        out = np.empty((self.n, count))
        state: Any = self._start
        for row, scenario in enumerate(self.scenarios):
            state["state"]["counter"][:] = 0, 0, scenario, stream
            self._bits.state = state
            self._shared.random(out=out[row])
        return out

    def decide(self, states: Any, rows: Any = None) -> IntArray:
        """Choose an action for scenarios `rows` (all by default) at ``states (m, S)``.

        Raises
        ------
        ValueError
            States that are not finite numbers of the shape of those before, or what the proposal
            finds wrong; the message names the scenario.
        """
        rows = np.arange(self.n) if rows is None else self._rows(rows)
        states = as_real_array("states", states).copy()
        self._check_states(states, rows)
        used = self._used[rows]
        most = int(used.max(initial=0))
        if most >= self._u.shape[1]:
            doubled = self._stream_uniforms(_CHOICES, 1 + 2 * self._u.shape[1])
            self._u = doubled[:, 1:]
        u = self._u[rows, used]
        self._used[rows] += 1
        try:
            action, taken = self.proposal.decide(states, self.component[rows], u)
        except Exception as error:
            row = rows[getattr(error, "row", 0)]
            self.error = ProposalError(
                f"scenario {self.scenarios[row]}, decision {self._used[row] - 1}: "
                f"{what_went_wrong(error)}"
            )
            raise self.error from error
        self._steps.append((rows, states, action, taken))
        return action

    def finish(self, rows: Any, crash: Any, states: Any, time_to_collision: Any = np.nan) -> None:
        """Say that scenarios `rows` ended at `states`, with a `crash` or without."""
        rows = self._rows(rows)
        if not len(rows):
            return
        states = as_real_array("states", states).copy()
        self._check_states(states, rows)
        closest = as_real_array("time_to_collision", time_to_collision)
        crashed = as_real_array("crash", crash)
        for name, array in (("crash", crashed), ("time_to_collision", closest)):
            if array.shape not in ((), rows.shape):
                raise ValueError(f"{name} has shape {array.shape} for {len(rows)} scenarios.")
        if not np.isin(crashed, (0, 1)).all():
            raise ValueError(f"crash must be true or false, one per scenario, got {crash!r}.")
        self._crash[rows] = crashed == 1
        self._finished[rows] = True
        self._closest[rows] = closest
        for row, state in zip(rows.tolist(), states, strict=True):
            self._last[row] = state

    def _rows(self, rows: Any) -> IntArray:
        array = _as_rows("rows", rows)
        if len(array) and not (array.min() >= 0 and array.max() < self.n):
            raise ValueError(f"rows are {array.tolist()}; expected numbers from 0 to {self.n - 1}.")
        if len(np.unique(array)) < len(array):
            raise ValueError(f"rows are {array.tolist()}; expected each at most once.")
        return array

    def _check_states(self, states: FloatArray, rows: IntArray) -> None:
        if states.ndim != 2 or len(states) != len(rows) or states.shape[1] == 0:
            raise ValueError(
                f"states have shape {states.shape} for {len(rows)} scenarios; expected (m, S)."
            )
        if self._steps and states.shape[1] != self._steps[0][1].shape[1]:
            raise ValueError(
                f"the state has {states.shape[1]} numbers; expected {self._steps[0][1].shape[1]}, "
                "as at the decisions before."
            )
        bad = np.isnan(states).any(axis=1)
        if bad.any():
            row = int(bad.argmax())
            raise ValueError(f"the state is {states[row].tolist()}; expected numbers, not NaN.")

    def records(self, seconds: float = 0.0) -> list[Record]:
        """Return one record per scenario; those never finished are failures."""
        width = 1 + 4 * len(self.proposal.surrogates)
        n_last = len(self._last)
        last_rows = np.fromiter(self._last, dtype=np.int64, count=n_last)
        parts = [*self._steps]
        if n_last:  # last states go behind a scenario's decisions: the sort below is stable
            unused = np.zeros(n_last, dtype=np.int64), np.zeros((n_last, width))
            parts.append((last_rows, np.stack(list(self._last.values())), *unused))
        if not parts:
            parts = [(last_rows, np.empty((0, 0)), last_rows, np.empty((0, width)))]
        rows, states, action, taken = (np.concatenate(part) for part in zip(*parts, strict=True))
        order = np.argsort(rows, kind="stable")
        states, action, taken = states[order], action[order], taken[order]
        has_last = np.zeros(self.n, dtype=np.int64)
        has_last[last_rows] = 1
        ends = np.cumsum(self._used + has_last)
        starts = ends - self._used - has_last
        found = []
        for row in range(self.n):
            first, end = starts[row], ends[row]
            decided = first + self._used[row]
            ok = bool(self._finished[row])
            found.append(
                Record(
                    scenario=int(self.scenarios[row]),
                    component=int(self.component[row]),
                    status="ok" if ok else "failed",
                    crash=bool(self._crash[row]),
                    states=states[first:end],
                    action=action[first:decided],
                    taken=taken[first:decided],
                    time_to_collision=float(self._closest[row]),
                    seconds=seconds / self.n,
                    error="" if ok else "the simulator returned without finishing the scenario",
                )
            )
        return found


def _as_rows(name: str, values: Any) -> IntArray:
    array = as_real_array(name, values)
    if array.ndim != 1 or not (array == np.floor(array)).all() or (array < 0).any():
        raise ValueError(f"{name} must be whole numbers (m,), got {values!r}.")
    return array.astype(np.int64)
