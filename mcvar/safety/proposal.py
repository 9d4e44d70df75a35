"""The proposal: which actions of the other road users are sampled, and with what probability."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from mcvar._checks import as_finite_array, as_number
from mcvar._jit import adversary
from mcvar._typing import FloatArray, IntArray
from mcvar.safety.identity import identity


class ProposalError(ValueError):
    """The proposal itself is wrong: probabilities, or a surrogate's challenge.

    Attributes
    ----------
    row : int
        Row of the states it was found at.

    Examples
    --------
    Probabilities of the actions that do not sum to one:

    >>> import numpy as np
    >>> from mcvar.safety import AdversarialProposal, Batch
    >>> batch = Batch(AdversarialProposal(lambda state: [0.5, 0.6]), 1, [0, 1])
    >>> batch.decide(np.zeros((2, 1)))
    Traceback (most recent call last):
    ...
    mcvar.safety.proposal.ProposalError: scenario 0, decision 0: ...
    """

    def __init__(self, message: str, row: int = 0) -> None:
        super().__init__(message)
        self.row = row


def what_went_wrong(error: Exception) -> str:
    """Return the message of an error, with its type where the message may not explain itself."""
    return str(error) if isinstance(error, ProposalError) else f"{type(error).__name__}: {error}"


class Decision(NamedTuple):
    """Actions chosen at m states, and the columns of `adversary.choose` that describe them."""

    action: IntArray
    taken: FloatArray


class AdversarialProposal:
    """A mixture of adversaries, one per surrogate, over naturalistic behaviour.

    At a critical state (where the criticality max_j V_j exceeds `threshold`) adversary j draws
    action a with probability q_j(a|s) = (1 − ε) p(a|s) Q_j(s,a) / V_j(s) + ε p(a|s), elsewhere
    from p itself. One adversary, or with probability `defensive` none, is drawn per scenario, so
    that the likelihood ratio of a whole scenario is p / (α₀ p + Σ_j α_j q_j) <= 1/α₀.

    Parameters
    ----------
    actions : callable
        Naturalistic behaviour: ``actions(state) -> probabilities (A,)`` of A actions. An object
        with a method ``batch(states (m, S)) -> (m, A)`` is asked about many states at once.
    surrogates : sequence of callables
        Challenge of each surrogate: ``Q(state, a) -> P(crash | state, a)`` in [0, 1], where `a`
        is an action's index or all of them, ``arange(A)``. An object with ``batch(states) ->
        (m, A)`` is asked about many states at once. None at all: crude Monte Carlo.
    epsilon : float, sequence of floats or callable
        Naturalistic share ε of each adversary's actions: one number, one per `phase`, or a
        function of the state.
    mixture : sequence of float, optional
        Shares of the surrogates, of sum 1; equal by default.
    defensive : float
        Share α₀ of scenarios without an adversary. It bounds every weight by 1/α₀, whatever the
        surrogates claim; 0 is allowed only where ε > 0, and then the bound is lost.
    threshold : float
        Criticality below which nothing is challenged. Above zero, crashes that surrogates deem
        less likely than that go unseen, without a trace in the error bar: see the flag
        "threshold".
    phase : callable, optional
        ``phase(state) -> int``, an index into `epsilon`.

    Raises
    ------
    ValueError
        Shares that do not sum to 1, ε, defensive or threshold out of range.

    References
    ----------
    Feng, Yan, Sun, Feng & Liu, "Intelligent driving intelligence test for autonomous vehicles
    with naturalistic and adversarial environment", Nature Communications 12 (2021); Owen & Zhou,
    "Safe and effective importance sampling", JASA 95 (2000), for the defensive mixture.

    Examples
    --------
    >>> from mcvar import safety
    >>> proposal = safety.AdversarialProposal(
    ...     lambda state: [0.9, 0.1], [lambda state, a: 0.5 * (a == 1)], epsilon=0.2)
    >>> proposal.shares.tolist()
    [0.1, 0.9]
    """

    def __init__(
        self,
        actions: Callable[[Any], Any],
        surrogates: Sequence[Any] = (),
        epsilon: float | Sequence[float] | Callable[[Any], float] = 0.1,
        mixture: Sequence[float] | None = None,
        defensive: float = 0.1,
        threshold: float = 0.0,
        phase: Callable[[Any], int] | None = None,
    ) -> None:
        try:
            surrogates = tuple(surrogates)
        except TypeError:
            raise TypeError(
                f"surrogates must be a sequence of callables, got {surrogates!r}."
            ) from None
        for name, given in [("actions", actions), *(("surrogates", q) for q in surrogates)]:
            if not (callable(given) or hasattr(given, "batch")):
                raise TypeError(f"{name} must be callable, got {given!r}.")
        self.actions = actions
        self.surrogates = surrogates
        self.epsilon = epsilon if callable(epsilon) else _epsilons(epsilon, phase)
        self.phase = phase
        self.defensive = _share("defensive", defensive)
        self.threshold = as_number("threshold", threshold)
        if not 0 <= self.threshold < 1:
            raise ValueError(f"threshold must lie in [0, 1), got {threshold!r}.")
        self.mixture = self._check_mixture(mixture)
        least = 0.0 if callable(self.epsilon) else float(np.min(self.epsilon))
        if self.surrogates and self.defensive == 0 and least == 0 and not callable(epsilon):
            raise ValueError(
                "epsilon and defensive are both 0: actions that every surrogate deems harmless "
                "would never be sampled, and their crashes would be missed."
            )

    def _check_mixture(self, mixture: Sequence[float] | None) -> FloatArray:
        count = len(self.surrogates)
        if mixture is None:
            return np.full(count, 1 / max(count, 1))
        shares = as_finite_array("mixture", mixture)
        if shares.shape != (count,):
            raise ValueError(f"mixture has {shares.size} shares for {count} surrogates.")
        if (shares < 0).any() or abs(shares.sum() - 1) > 1e-9:
            raise ValueError(f"mixture must be shares of sum 1, got {shares.tolist()}.")
        return shares

    @property
    def shares(self) -> FloatArray:
        """Shares of the components, the naturalistic one first, shape (J + 1,)."""
        if not self.surrogates:
            return np.ones(1)
        return np.concatenate([[self.defensive], (1 - self.defensive) * self.mixture])

    def replace(self, **changes: Any) -> "AdversarialProposal":
        """Return the same proposal with some parameters changed."""
        fields: dict[str, Any] = {
            "actions": self.actions,
            "surrogates": self.surrogates,
            "epsilon": self.epsilon,
            "mixture": self.mixture,
            "defensive": self.defensive,
            "threshold": self.threshold,
            "phase": self.phase,
        }
        return AdversarialProposal(**(fields | changes))

    def describe(self) -> dict[str, Any]:
        """Say what this proposal is, for the log."""
        epsilon = (
            identity(self.epsilon)
            if callable(self.epsilon)
            else np.atleast_1d(self.epsilon).tolist()
        )
        return {
            "actions": identity(self.actions),
            "surrogates": [identity(q) for q in self.surrogates],
            "epsilon": epsilon,
            "phase": None if self.phase is None else identity(self.phase),
            "shares": self.shares.tolist(),
            "threshold": self.threshold,
        }

    def decide(self, states: FloatArray, component: IntArray, u: FloatArray) -> Decision:
        """Sample an action at each of ``states (m, S)``, from uniforms ``u (m,)``.

        Raises
        ------
        ProposalError
            Probabilities that are negative or do not sum to 1, a challenge that is NaN or outside
            [0, 1]; the message holds the state.
        """
        action = np.full(len(states), -1, dtype=np.int64)
        return Decision(action, self._describe_taken(states, action, component, u))

    def taken(self, states: FloatArray, action: IntArray) -> FloatArray:
        """Describe actions that were taken at ``states (m, S)``, whatever proposal took them."""
        unused = np.zeros(len(states))
        return self._describe_taken(states, action.copy(), unused.astype(np.int64), unused)

    def criticality(self, states: FloatArray) -> FloatArray:
        """V_j at ``states (m, S)``, shape (m, J)."""
        n = len(self.surrogates)
        first = np.zeros(len(states), dtype=np.int64)
        return self.taken(states, first)[:, 1 + 2 * n : 1 + 3 * n]

    def _describe_taken(
        self, states: FloatArray, action: IntArray, component: IntArray, u: FloatArray
    ) -> FloatArray:
        p = _ask_actions(self.actions, states)
        m, n_actions = p.shape
        challenge = np.empty((m, len(self.surrogates), n_actions))
        for j, surrogate in enumerate(self.surrogates):
            challenge[:, j] = _ask_surrogate(surrogate, states, n_actions, j)
        taken = np.empty((m, 1 + 4 * len(self.surrogates)))
        code, row, where = adversary.choose(
            p, challenge, self.epsilon_at(states), component, u, self.threshold, action, taken
        )
        if code != adversary.GOOD:
            raise ProposalError(_complaint(code, p, challenge, row, where, states[row]), row)
        return taken

    def epsilon_at(self, states: FloatArray) -> FloatArray:
        """Naturalistic share ε at ``states (m, S)``, shape (m,)."""
        if callable(self.epsilon):
            values = np.array([self.epsilon(state) for state in states], dtype=float)
            if not ((values >= 0) & (values <= 1)).all():
                raise ProposalError(f"epsilon(state) returned {values.tolist()}; expected [0, 1].")
            return values
        if len(self.epsilon) == 1 or self.phase is None:
            return np.full(len(states), self.epsilon[0])
        batch = getattr(self.phase, "batch", None)
        index = batch(states) if batch else [self.phase(state) for state in states]
        return np.asarray(self.epsilon[np.asarray(index, dtype=np.int64)])


def _epsilons(epsilon: Any, phase: Any) -> FloatArray:
    values = np.atleast_1d(as_finite_array("epsilon", epsilon))
    if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"epsilon must lie in [0, 1], got {epsilon!r}.")
    if len(values) > 1 and phase is None:
        raise ValueError(f"epsilon has {len(values)} phases; give phase(state) -> index as well.")
    return values


def _share(name: str, value: float) -> float:
    share = as_number(name, value)
    if not 0 <= share < 1:
        raise ValueError(f"{name} must lie in [0, 1), got {value!r}.")
    return share


def _ask_actions(actions: Any, states: FloatArray) -> FloatArray:
    batch = getattr(actions, "batch", None)
    p = batch(states) if batch else [actions(state) for state in states]
    array = np.asarray(p, dtype=np.float64)
    if array.ndim != 2 or array.shape[0] != len(states) or array.shape[1] == 0:
        raise ProposalError(
            f"actions returned shape {array.shape[1:]} at state {states[0].tolist()}; expected one "
            "probability per action, (A,)."
        )
    return array


def _ask_surrogate(surrogate: Any, states: FloatArray, n_actions: int, j: int) -> Any:
    batch = getattr(surrogate, "batch", None)
    if batch:
        rows = batch(states)
        if np.shape(rows) != (len(states), n_actions):
            raise ProposalError(
                f"surrogate {j} returned shape {np.shape(rows)}; expected one challenge for each "
                f"of {len(states)} states and {n_actions} actions, ({len(states)}, {n_actions})."
            )
        return rows
    every = np.arange(n_actions)
    return np.array([_challenge_row(surrogate, state, every) for state in states])


def _challenge_row(surrogate: Any, state: FloatArray, every: IntArray) -> FloatArray:
    try:
        row = np.asarray(surrogate(state, every), dtype=np.float64)
    except (ValueError, TypeError, IndexError):
        row = np.empty(0)  # a function of one action at a time: its own error shows below
    if row.shape != every.shape:
        row = np.array([float(surrogate(state, int(a))) for a in every])
    return row


def _complaint(
    code: int, p: FloatArray, challenge: FloatArray, row: int, where: int, state: FloatArray
) -> str:
    at = f"at state {np.array2string(state, precision=6, separator=', ')}"
    if code == adversary.BAD_SUM:
        return f"action probabilities sum to {p[row].sum():.9g} {at}; expected 1."
    if code == adversary.BAD_PROBABILITY:
        return f"action {where} has probability {p[row, where]} {at}; expected a number >= 0."
    j, action = divmod(where, p.shape[1])
    return (
        f"surrogate {j} returned {challenge[row, j, action]} for action {action} {at}; "
        "expected a probability in [0, 1]."
    )
