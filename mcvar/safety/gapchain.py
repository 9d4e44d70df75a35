"""A finite Markov chain of gaps whose crash rate is known exactly: an oracle.

A follower's gap to its leader shrinks or grows by what the leader does, step by step; at zero
they collide. Every randomness lies in the leader's action, so that with the exact table as
surrogate the value control leaves no variance at all.
"""

from typing import Any

import numpy as np

from mcvar._checks import as_count, as_number
from mcvar._typing import FloatArray, IntArray
from mcvar.safety.batch import Batch


class _Actions:
    """Naturalistic probabilities of the four actions."""

    version = "gap chain behaviour 1"

    def __init__(self, p: FloatArray) -> None:
        self._p = p

    def __call__(self, state: Any) -> FloatArray:
        return np.asarray(self._p[int(state[0])])

    def batch(self, states: FloatArray) -> FloatArray:
        return np.asarray(self._p[states[:, 0].astype(np.int64)])


class _Exact:
    """The exact probability of a crash after an action."""

    version = "exact"

    def __init__(self, v: FloatArray, following: IntArray) -> None:
        self._v, self._next = v, following

    def __call__(self, state: Any, a: Any) -> FloatArray:
        gap, t = int(state[0]), int(state[1])
        return np.asarray(self._v[t + 1][self._next[gap, a]])

    def batch(self, states: FloatArray) -> FloatArray:
        gap, t = states[:, 0].astype(np.int64), states[:, 1].astype(np.int64)
        return np.asarray(self._v[t[:, np.newaxis] + 1, self._next[gap]])


class GapChain:
    """Batch simulator of the gap chain; state (gap, time).

    `actions` and `surrogate` are its naturalistic behaviour and its exact surrogate.

    Parameters
    ----------
    brake : float
        Scale of the probability of braking; the crash rate falls steeply with it.
    steps : int
        Decisions per scenario.
    start : int
        Gap at the start, from 1 to `size`.
    size : int
        Greatest gap.

    Examples
    --------
    >>> chain = GapChain()
    >>> 1e-7 < chain.rate < 1e-4
    True
    >>> float(chain.actions([8, 0]).sum())
    1.0
    """

    #: What each action adds to the gap: braking hard, braking, keeping, pulling away.
    moves = np.array([-3, -1, 0, 1])

    def __init__(
        self, brake: float = 0.01, steps: int = 12, start: int = 8, size: int = 12
    ) -> None:
        self.brake = as_number("brake", brake)
        if not 0 < self.brake <= 0.25:
            raise ValueError(f"brake must lie in (0, 0.25], got {brake!r}.")
        self.steps = as_count("steps", steps)
        self.size = as_count("size", size)
        self.start = as_count("start", start)
        if self.start > self.size:
            raise ValueError(f"start must be at most size, {size}, got {start}.")
        gap = np.arange(self.size + 1)
        # The closer, the more careful: leaders brake less and pull away more.
        hard = self.brake * (0.3 + 0.7 * gap / self.size)
        soft = 2 * hard
        away = np.full(len(gap), 0.3)
        self._p = np.stack([hard, soft, 1 - hard - soft - away, away], axis=1)
        self._next = np.clip(gap[:, np.newaxis] + self.moves, 0, self.size)
        self._v = self._solve()
        self.actions = _Actions(self._p)
        self.surrogate = _Exact(self._v, self._next)

    @property
    def version(self) -> str:
        """Name and parameters."""
        return f"GapChain(brake={self.brake}, steps={self.steps}, start={self.start})"

    def _solve(self) -> FloatArray:
        """Crash probability by steps done and gap, (steps + 1, size + 1), backwards in time."""
        v = np.zeros((self.steps + 1, self.size + 1))
        v[:, 0] = 1.0
        for t in reversed(range(self.steps)):
            v[t, 1:] = (self._p * v[t + 1][self._next]).sum(axis=1)[1:]
        return v

    @property
    def rate(self) -> float:
        """The exact crash rate."""
        return float(self._v[0, self.start])

    def initial_states(self, rng: np.random.Generator, n: int) -> FloatArray:
        """First states of `n` scenarios."""
        return np.tile([float(self.start), 0.0], (n, 1))

    def __call__(self, batch: Batch) -> None:
        """Run the scenarios of `batch`."""
        gap = np.full(batch.n, self.start)
        rows = np.arange(batch.n)
        for t in range(self.steps):
            states = np.column_stack([gap[rows], np.full(len(rows), t)])
            gap[rows] = self._next[gap[rows], batch.decide(states, rows)]
            over = (gap[rows] == 0) | (t + 1 == self.steps)
            ended = rows[over]
            batch.finish(
                ended, gap[ended] == 0, np.column_stack([gap[ended], np.full(len(ended), t + 1)])
            )
            rows = rows[~over]
            if not len(rows):
                return
