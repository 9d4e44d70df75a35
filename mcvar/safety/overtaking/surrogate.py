"""Surrogates of the overtaking scenario: tabulated drivers, solved by dynamic programming."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Any

import numpy as np

from mcvar._checks import as_finite_array, known_name
from mcvar._jit import overtaking as kernel
from mcvar._typing import FloatArray, IntArray
from mcvar.safety.overtaking.drivers import Driver
from mcvar.safety.proposal import AdversarialProposal


class NaturalisticBehaviour:
    """Naturalistic probabilities of the background vehicle's 32 actions.

    Examples
    --------
    >>> from mcvar.safety.overtaking import NaturalisticBehaviour
    >>> p = NaturalisticBehaviour()([5.0, 25.0, 20.0, 100.0, 0.0, 1.0, 3.0])
    >>> p.shape, round(float(p.sum()), 12)
    ((32,), 1.0)
    """

    version = "overtaking behaviour 1"

    def batch(self, states: FloatArray) -> FloatArray:
        """Probabilities at ``states (m, 7)``, shape (m, 32)."""
        p = np.empty((len(states), kernel.N_ACTIONS))
        kernel.probabilities(states, p)
        return p

    def __call__(self, state: Any) -> FloatArray:
        """Probabilities at one state, shape (32,)."""
        return np.asarray(self.batch(np.asarray(state, dtype=float)[np.newaxis])[0])


class _LaneChangePhase:
    """Index 0 before the lane change, 1 after it."""

    def batch(self, states: FloatArray) -> IntArray:
        return states[:, kernel.PHASE].astype(np.int64)

    def __call__(self, state: Any) -> int:
        return int(state[kernel.PHASE])


lane_change_phase = _LaneChangePhase()


class DriverTable:
    """Surrogate: a driver by its table, and the crash probabilities that follow from it.

    Parameters
    ----------
    following : ndarray
        Acceleration at the nodes of `following_nodes`.
    free : ndarray
        Acceleration at the nodes of `free_nodes`, without a leader.
    name : str
        For the log.

    Examples
    --------
    >>> from mcvar.safety.overtaking import DriverTable
    >>> surrogate = DriverTable.of(lambda v, gap, closing: -0.5 * closing, "linear")
    >>> close = [5.0, 25.0, 20.0, 100.0, 0.0, 1.0, 3.0]
    >>> bool(surrogate(close, 0) > surrogate(close, 30))
    True
    """

    def __init__(self, following: FloatArray, free: FloatArray, name: str) -> None:
        following, free = as_finite_array("following", following), as_finite_array("free", free)
        expected = following_nodes()[0].shape, free_nodes().shape
        if (following.shape, free.shape) != expected:
            raise ValueError(
                f"the tables have shapes {following.shape} and {free.shape}; expected "
                f"{expected[0]} and {expected[1]}, as following_nodes() and free_nodes()."
            )
        self.following, self.free, self.name = following, free, name
        # Single precision, which fits the processor's caches and is finer than the grid is.
        shape = kernel.N_DECISIONS + 1, kernel.N_BEHIND
        self._behind = np.empty(shape, dtype=np.float32)
        self._passing = np.empty((shape[0], kernel.N_PASSING), dtype=np.float32)
        self._following = following.ravel().astype(np.float32)
        kernel.solve(self._following, self.free, self._passing, self._behind)

    @classmethod
    def of(cls, driver: Driver, name: str) -> "DriverTable":
        """Tabulate `driver`."""
        speed, gap, closing = following_nodes()
        following = np.array(
            [
                driver(*node)
                for node in zip(speed.ravel(), gap.ravel(), closing.ravel(), strict=True)
            ]
        )
        free = np.array([driver(v, np.inf, 0.0) for v in free_nodes()])
        return cls.clipped(following.reshape(speed.shape), free, name)

    @classmethod
    def clipped(cls, following: FloatArray, free: FloatArray, name: str) -> "DriverTable":
        """Build from accelerations, held within what the vehicle can do."""
        bounds = kernel.HARDEST, kernel.STRONGEST
        return cls(np.clip(following, *bounds), np.clip(free, *bounds), name)

    @property
    def version(self) -> str:
        """Name and a digest of the table."""
        import hashlib

        content = self.following.tobytes() + self.free.tobytes()
        return f"{self.name}@{hashlib.sha256(content).hexdigest()[:12]}"

    def batch(self, states: FloatArray) -> FloatArray:
        """Q at ``states (m, 7)`` and all actions, shape (m, 32)."""
        out = np.empty((len(states), kernel.N_ACTIONS))
        kernel.challenge(states, self._following, self.free, self._passing, self._behind, out)
        return out

    def __call__(self, state: Any, a: Any) -> Any:
        """Probability of a crash after action(s) `a` at `state`."""
        return self.batch(np.asarray(state, dtype=float)[np.newaxis])[0][a]


def following_nodes() -> tuple[FloatArray, FloatArray, FloatArray]:
    """Speed, gap and closing speed at the nodes of a following table, each (gaps, speeds, ..)."""
    root, speed, closing = np.meshgrid(
        _nodes(kernel.ROOT_GAPS), _nodes(kernel.SPEEDS), _nodes(kernel.CLOSINGS), indexing="ij"
    )
    return speed, root**2, closing


def free_nodes() -> FloatArray:
    """Speeds of the table without a leader."""
    return _nodes(kernel.SPEEDS)


def _nodes(grid: tuple[int, float, float]) -> FloatArray:
    n, first, spacing = grid
    return np.asarray(first + spacing * np.arange(n), dtype=np.float64)


def intelligent_driver(headway: float, comfortable: float, hardest: float) -> Driver:
    """Return an intelligent-driver model that brakes at `hardest` m/s² at most."""

    def driver(speed: float, gap: float, closing_speed: float) -> float:
        a = kernel.intelligent_driver(
            speed, gap, closing_speed, 30.0, headway, 1.5, comfortable, 2.0
        )
        return float(max(a, -hardest))

    return driver


#: The surrogates registered before any vehicle is tested: headway (s), comfortable and hardest
#: braking (m/s²).
REGISTERED = MappingProxyType({"usual": (1.2, 2.0, 4.0), "strong": (1.2, 2.0, 6.0)})
_solved: dict[str, DriverTable] = {}


def registered(names: Sequence[str]) -> list[DriverTable]:
    """Return registered surrogates, solved once per process, on as many threads as there are."""
    missing = [known_name("surrogate", name, REGISTERED) for name in names if name not in _solved]
    with ThreadPoolExecutor(max(len(missing), 1)) as pool:
        tables = pool.map(
            lambda name: DriverTable.of(intelligent_driver(*REGISTERED[name]), name), missing
        )
        _solved.update(zip(missing, tables, strict=True))
    return [_solved[name] for name in names]


def overtaking_proposal(
    surrogates: Sequence[str | Any] = ("usual", "strong"),
    epsilon: float | Sequence[float] | Callable[[Any], float] = (0.7, 0.3),
    **options: Any,
) -> AdversarialProposal:
    """Return a proposal for the overtaking scenario.

    Parameters
    ----------
    surrogates : sequence of str or surrogates
        Names in `REGISTERED`, or surrogates of your own.
    epsilon : float or sequence
        Before and after the lane change.
    **options
        As of `AdversarialProposal`.

    Examples
    --------
    >>> from mcvar.safety.overtaking import overtaking_proposal
    >>> overtaking_proposal([], 0.1).shares.tolist()
    [1.0]
    """
    tables = iter(registered([q for q in surrogates if isinstance(q, str)]))
    found = [next(tables) if isinstance(q, str) else q for q in surrogates]
    return AdversarialProposal(
        NaturalisticBehaviour(), found, epsilon, phase=lane_change_phase, **options
    )
