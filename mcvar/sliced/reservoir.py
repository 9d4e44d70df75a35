"""ReservoirSliced: directions carried from step to step of an optimisation.

Clouds change little between steps, so that directions along which they differed most still tell
most. A weighted reservoir keeps some, in proportion to their costs. What is done with them is the
objective:

* "unbiased": they are the centres of a proposal. Every step draws fresh uniform directions and
  directions near those kept, and weights all by one over the density of the mixture; no weight
  exceeds n_directions/n_fresh. The mean weight is known to be one, which is used as a control with
  a coefficient from the step before: the estimate of SW_p^p and of its gradient is unbiased.
* "energy": costs at the kept directions and at fresh ones, averaged with weights in proportion to
  the costs themselves. That favours large costs: it overstates SW_p^p (by the factor
  1 + Var f / SW_p^{2p} if all directions were in the reservoir), and is another objective. It is
  what is published as ReSWD.

Neither is a shortcut past good directions: see the benchmarks for how they compare with frames.
"""

from typing import Any

import numpy as np

from mcvar._checks import as_count, as_finite_array, as_number, known_name, root_entropy
from mcvar._jit.reservoir import keep, mixture_density
from mcvar._typing import FloatArray, IntArray, Seed
from mcvar.samplers import stream_seed
from mcvar.sliced.blocks import costs_by_blocks
from mcvar.sliced.design import best_kind
from mcvar.sliced.directions import directions
from mcvar.sliced.distance import as_exponent
from mcvar.sliced.gradient import SlicedGradient, as_unit_vectors, of_all_points, slopes
from mcvar.sliced.projection import Pair, as_cloud

_PEAK = 8.0  # density at the centre of a component, relative to the uniform law
_ARRAYS = ("directions", "costs", "ages", "weights", "gradient")
_STATE = ("steps", "root", "directions", "costs", "ages", "weights", "ess", "value", "gradient")


class ReservoirSliced:
    """A sliced Wasserstein loss with a memory of directions.

    Parameters
    ----------
    n_directions : int
        Directions evaluated a step.
    n_fresh : int
        How many of them are fresh, at least one; the reservoir holds as many as the rest.
    objective : {"unbiased", "energy"}
        What is estimated: SW_p^p, or the published self-normalised average with weights in
        proportion to the costs, which overstates it.
    decay : float
        Steps in which the weight of a kept direction falls by the factor e.
    ess_threshold : float
        The reservoir empties when the effective number of its directions falls below this
        fraction of their number; 0 never does.
    p : float
        Exponent, at least 1.
    rng : int, Generator, SeedSequence or None
        Source of randomness (SPEC 7).

    Attributes
    ----------
    directions : ndarray, shape (k, d)
        What the reservoir holds; empty before the first step.
    weights : ndarray, shape (k,)
        Their weights, summing to one.
    ess : float
        Effective number of directions in the reservoir, (Σw)²/Σw².
    steps : int
        Steps taken.

    References
    ----------
    Boss, Engelhardt, Donné & Jampani, "ReSWD: ReSTIR'd, not shaken", arXiv:2510.01061 (2025)
    (reservoir, decay, effective sample size); Efraimidis & Spirakis, "Weighted random sampling
    with a reservoir", Inf. Process. Lett. 97 (2006), algorithm A-Res; Veach & Guibas, "Optimally
    combining sampling techniques", SIGGRAPH 1995, eq. 10 (balance heuristic); Owen & Zhou, "Safe
    and effective importance sampling", JASA 95 (2000), section 3.

    Examples
    --------
    >>> import numpy as np, mcvar
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(200, 3)), rng.normal(1.0, 1.0, size=(200, 3))
    >>> loss = mcvar.sliced.ReservoirSliced(rng=1)
    >>> for step in range(20):
    ...     value, gradient = loss.step(x, y)
    ...     x = x - 30 * gradient
    >>> loss.directions.shape, bool(value < 0.5)
    ((48, 3), True)
    """

    def __init__(
        self,
        n_directions: int = 64,
        n_fresh: int = 16,
        objective: str = "unbiased",
        decay: float = 30.0,
        ess_threshold: float = 0.5,
        *,
        p: float = 2,
        rng: Seed = None,
    ) -> None:
        self.n_directions, self.n_fresh = (
            as_count("n_directions", n_directions),
            as_count("n_fresh", n_fresh),
        )
        if self.n_fresh > self.n_directions:
            raise ValueError(
                f"n_fresh must be at most n_directions={n_directions}, got {n_fresh}: the "
                "reservoir holds the difference."
            )
        self.objective = known_name("objective", objective, ("unbiased", "energy"))
        self.decay = as_number("decay", decay)
        if self.decay <= 0:
            raise ValueError(f"decay must be a positive number of steps, got {decay!r}.")
        self.ess_threshold = as_number("ess_threshold", ess_threshold)
        if not 0 <= self.ess_threshold <= 1:
            raise ValueError(f"ess_threshold must lie between 0 and 1, got {ess_threshold!r}.")
        self.p = as_exponent(p)
        self._root = root_entropy(rng)
        self.steps = 0
        self.reset()

    def reset(self) -> None:
        """Forget all directions, and what the last step found; the random stream goes on."""
        self._empty(0)
        self._value, self._gradient = 0.0, np.empty((0, 0))

    def _empty(self, d: int) -> None:
        self.directions = np.empty((0, d))
        self.weights, self._costs = np.empty(0), np.empty(0)
        self._ages: IntArray = np.empty(0, np.int64)
        self.ess = 0.0

    def step(self, X: Any, Y: Any, a: Any = None, b: Any = None) -> SlicedGradient:
        """Estimate the loss between two clouds and its gradient, and update the reservoir.

        Parameters
        ----------
        X, Y : array_like, shapes (n_x, d) and (n_y, d)
            The points; their numbers may change between steps, d may not.
        a, b : array_like, shapes (n_x,) and (n_y,), optional
            Weights, non-negative and summing to one; uniform by default.

        Returns
        -------
        SlicedGradient
            ``value`` and ``gradient (n_x, d)`` of the objective, in powers: SW_p^p.
        """
        pair = Pair(as_cloud("X", X, a, "a"), as_cloud("Y", Y, b, "b"), self.p)
        if len(self.directions) and pair.ndim != self.directions.shape[1]:
            raise ValueError(
                f"the reservoir holds directions in {self.directions.shape[1]} dimensions, the "
                f"points have {pair.ndim}: reset() it first."
            )
        rng = np.random.default_rng(stream_seed(self._root, 0, self.steps))
        if self.objective == "unbiased":
            theta, found = self._unbiased(pair, rng)
        else:
            theta, found = self._energy(pair, rng)
        value, gradient, costs = found
        self._remember(theta, costs, rng)
        self.steps += 1
        return SlicedGradient(value, of_all_points(gradient, a))

    def _unbiased(
        self, pair: Pair, rng: np.random.Generator
    ) -> tuple[FloatArray, tuple[float, FloatArray, FloatArray]]:
        n, d, held = self.n_directions, pair.ndim, len(self.directions)
        if held and d > 1:
            stretch = _PEAK ** (1 / (d - 1))
            near = _near(self.directions, self.weights, stretch, n - self.n_fresh, rng)
            theta = np.concatenate([_fresh(self.n_fresh, d, rng), near])
            density = np.empty(n)
            mixture_density(theta, self.directions, self.weights, stretch, density)
            share = self.n_fresh / n
            weights = 1 / (n * (share + (1 - share) * density))
        else:
            theta, weights = _fresh(n, d, rng), np.full(n, 1 / n)
        costs, gradient = slopes(pair, theta, weights)
        value = float(weights @ costs)
        excess = float(weights.sum()) - 1
        if self._gradient.shape == gradient.shape:
            # The last step's answers are independent of this step's weights, whose sum is one in
            # expectation: any such coefficient leaves the estimate unbiased, and these are near
            # the best.
            value, gradient = value - excess * self._value, gradient - excess * self._gradient
        self._value, self._gradient = value, gradient
        return theta, (value, gradient, costs)

    def _energy(
        self, pair: Pair, rng: np.random.Generator
    ) -> tuple[FloatArray, tuple[float, FloatArray, FloatArray]]:
        held = len(self.directions)
        fresh = _fresh(self.n_directions - held, pair.ndim, rng)
        theta = np.concatenate([self.directions.reshape(held, pair.ndim), fresh])
        # Stored weights serve the kept, as published; the fresh have the weight of their costs,
        # which are needed first.
        fresh_costs = costs_by_blocks(pair.costs, fresh, pair.n, None)
        mass = np.concatenate([self._costs * np.exp(-self._ages / self.decay), fresh_costs])
        total = float(mass.sum())
        weights = mass / total if total > 0 else np.full(len(theta), 1 / len(theta))
        costs, gradient = slopes(pair, theta, weights)
        return theta[held:], (float(weights @ costs), gradient, fresh_costs)

    def _remember(self, theta: FloatArray, costs: FloatArray, rng: np.random.Generator) -> None:
        size = self.n_directions - self.n_fresh
        if size == 0:
            return
        pool = np.concatenate([self.directions.reshape(-1, theta.shape[1]), theta])
        pool_costs = np.concatenate([self._costs, costs])
        ages = np.concatenate([self._ages + 1, np.zeros(len(theta), np.int64)])
        size = min(size, len(pool))
        kept, weights = np.zeros(size, np.int64), np.zeros(size)
        # 1 − u is never zero, which has no logarithm.
        uniforms = 1 - rng.random(len(pool))
        self.ess = float(keep(pool_costs, ages, uniforms, self.decay, size, kept, weights))
        self.directions, self.weights = pool[kept], weights
        self._costs, self._ages = pool_costs[kept], ages[kept]
        if self.ess < self.ess_threshold * size:
            self._empty(theta.shape[1])

    def get_state(self) -> dict[str, Any]:
        """Return all that the next step depends on, besides the parameters: plain arrays."""
        held = (self.directions, self._costs, self._ages, self.weights, self.ess)
        values = (self.steps, self._root, *held, self._value, self._gradient)
        return {
            name: value.copy() if isinstance(value, np.ndarray) else value
            for name, value in zip(_STATE, values, strict=True)
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from a state that `get_state` returned."""
        if not isinstance(state, dict) or set(state) != set(_STATE):
            found = sorted(state) if isinstance(state, dict) else state
            raise ValueError(f"state must come from get_state: {sorted(_STATE)}, got {found}.")
        held = {name: as_finite_array(name, state[name]).copy() for name in _ARRAYS}
        theta, gradient = held["directions"], held["gradient"]
        each = [held[name].shape for name in ("costs", "ages", "weights")]
        if theta.ndim != 2 or gradient.ndim != 2 or set(each) != {(len(theta),)}:
            shapes = {name: array.shape for name, array in held.items()}
            raise ValueError(f"state's arrays have shapes that disagree: {shapes}.")
        if (k := len(theta)) > self.n_directions - self.n_fresh:
            raise ValueError(
                f"state holds {k} directions, the reservoir at most "
                f"n_directions - n_fresh = {self.n_directions - self.n_fresh}."
            )
        if k:
            as_unit_vectors(theta, theta.shape[1])
        for name in ("costs", "ages", "weights"):
            if (held[name] < 0).any():
                raise ValueError(f"state's {name} must not be negative, got {held[name].min()}.")
        steps, value = as_count("steps", state["steps"], 0), as_number("value", state["value"])
        self._root, self.ess = root_entropy(state["root"]), as_number("ess", state["ess"])
        self.steps, self._value, self._gradient = steps, value, gradient
        self.directions, self._costs, self.weights = theta, held["costs"], held["weights"]
        self._ages = held["ages"].astype(np.int64)


def _fresh(n: int, d: int, rng: np.random.Generator) -> FloatArray:
    """Return n directions, each uniform, as well spread as they come: shape (n, d)."""
    return directions(n, d, best_kind(n, d) if d > 1 else "montecarlo", rng)


def _near(
    centres: FloatArray, weights: FloatArray, stretch: float, n: int, rng: np.random.Generator
) -> FloatArray:
    """Draw n directions from the mixture around `centres` (k, d), components by stratified draws.

    One draw a stratum, in random order or not, has the mixture's law on average over the strata,
    which is all that unbiasedness needs.
    """
    levels = np.cumsum(weights)
    chosen = np.searchsorted(levels, (np.arange(n) + rng.random(n)) / n * levels[-1], "right")
    centre = centres[np.minimum(chosen, len(centres) - 1)]
    z = rng.standard_normal((n, centres.shape[1]))
    z += (stretch - 1) * np.einsum("ij,ij->i", z, centre)[:, np.newaxis] * centre
    return np.asarray(z / np.linalg.norm(z, axis=1, keepdims=True))
