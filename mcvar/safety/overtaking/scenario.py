"""The overtaking scenario as a simulator."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from numbers import Real
from typing import Any

import numpy as np

from mcvar._checks import as_count, as_number
from mcvar._jit import overtaking as kernel
from mcvar._typing import FloatArray, IntArray
from mcvar.safety.batch import Batch
from mcvar.safety.estimation import crude_rate
from mcvar.safety.identity import identity
from mcvar.safety.overtaking.drivers import Driver, compiled_where_possible, load_driver
from mcvar.safety.overtaking.surrogate import NaturalisticBehaviour
from mcvar.safety.proposal import AdversarialProposal
from mcvar.safety.rate import CrashRate

_PART = 1_000_000  # naturalistic scenarios with a stream of their own
_SLOW_PART = 1_000


class Overtaking:
    """Batch simulator: a background vehicle overtakes the automated one, cuts in and may brake.

    Parameters
    ----------
    driver : callable or str
        The automated vehicle: ``driver(speed, gap, closing_speed) -> acceleration`` in SI units,
        asked five times a second. `gap` is the bumper-to-bumper distance to the vehicle ahead,
        infinite without one. Plain Python, compiled with Numba where that is possible, or jitted
        already. Or ``path/to/file.py:function``, or a name in `DRIVERS`.

    Notes
    -----
    Accelerations are held between −8 and 3 m/s², what tyres and engine allow. The scenario lasts
    20 decisions of 1 s of the background vehicle, or until a crash, or until it is 100 m ahead.

    Examples
    --------
    >>> from mcvar.safety.overtaking import Overtaking
    >>> def careless(speed, gap, closing_speed):
    ...     return 0.0
    >>> Overtaking(careless).version.startswith("Overtaking 1, careless")
    True
    """

    state_names = (
        "gap (m)",
        "speed (m/s)",
        "BV speed (m/s)",
        "gap to leader (m)",
        "acceleration (m/s²)",
        "cut in",
        "time (s)",
    )

    def __init__(self, driver: Driver | str) -> None:
        if isinstance(driver, str):
            self._source: Any = driver
            self.driver, name = load_driver(driver)
        elif callable(driver):
            self._source = driver
            self.driver = driver
            name = identity(driver)
        else:
            raise TypeError(f"driver must be callable or file.py:function, got {driver!r}.")
        self.version = f"Overtaking 1, {name}"
        self.driver = compiled_where_possible(self.driver)
        self.is_compiled = hasattr(self.driver, "py_func")

    def __reduce__(self) -> Any:
        return Overtaking, (self._source,)

    @property
    def chunk(self) -> int:
        """Scenarios that are run at once."""
        return 1000 if self.is_compiled else 50

    def warm_up(self) -> None:
        """Compile what runs scenarios."""
        if self.is_compiled:
            nothing = np.empty((0, kernel.N_STATE))
            rows = np.empty(0, dtype=np.int64)
            self._second(nothing, rows, rows, np.empty(0))

    def initial_states(self, rng: np.random.Generator, n: int) -> FloatArray:
        """First states of `n` scenarios, shape (n, 7)."""
        return first_states(rng.random((n, 4)))

    def __call__(self, batch: Batch) -> None:
        """Run the scenarios of `batch`."""
        states = first_states(batch.uniforms(4))
        closest = np.full(batch.n, np.inf)
        rows = np.arange(batch.n)
        while len(rows):
            action = batch.decide(states[rows], rows)
            self._second(states, rows, action, closest)
            crash = (states[rows, kernel.PHASE] == 1) & (states[rows, kernel.GAP] <= 0)
            over = (
                crash
                | (states[rows, kernel.GAP] > kernel.EXIT_GAP)
                | (states[rows, kernel.TIME] >= kernel.N_DECISIONS)
            )
            done = rows[over]
            batch.finish(done, crash[over], states[done], closest[done])
            rows = rows[~over]

    def _second(
        self, states: FloatArray, rows: IntArray, action: IntArray, closest: FloatArray
    ) -> None:
        """Play one decision of scenarios `rows`, in place."""
        if self.is_compiled:
            bad = np.empty(kernel.N_STATE)
            if kernel.compiled(self.driver)[0](states, rows, action, closest, bad) >= 0:
                raise _not_a_number(bad)
            return
        cut_in = action == kernel.CUT_IN
        states[rows[cut_in], kernel.PHASE] = 1.0
        bv_acceleration = np.where(cut_in, 0.0, kernel.LEAST + kernel.STEP * action)
        running = np.ones(len(rows), dtype=bool)
        acceleration = np.empty(len(rows))
        for _ in range(kernel.SUBSTEPS):
            for i in np.flatnonzero(running).tolist():
                s = states[rows[i]]
                if s[kernel.PHASE] == 1:
                    speed, gap = float(s[kernel.SPEED]), float(s[kernel.GAP])
                    a = self.driver(speed, gap, speed - float(s[kernel.BV_SPEED]))
                else:
                    a = self.driver(float(s[kernel.SPEED]), np.inf, 0.0)
                if not isinstance(a, Real):
                    raise TypeError(f"the driver returned {a!r}; expected an acceleration in m/s².")
                acceleration[i] = a
                if not np.isfinite(acceleration[i]):
                    raise _not_a_number(s)
            kernel.advance_rows(states, rows, acceleration, bv_acceleration, closest, running)
        states[rows, kernel.TIME] += 1.0


def crude_run(
    driver: Driver | str,
    n: int,
    seed: int = 0,
    *,
    confidence: float = 0.90,
    threads: int | None = None,
    progress: Callable[[int], Any] | None = None,
) -> CrashRate:
    """Estimate the crash rate from `n` naturalistic scenarios, in compiled loops.

    Parameters
    ----------
    driver : callable or str
        As of `Overtaking`; one that Numba cannot compile takes 50 times longer.
    n : int
    seed : int
    confidence : float
    threads : int, optional
        As many as there are processors by default; the result does not depend on it.
    progress : callable, optional
        Told numbers of scenarios as they are done.

    Raises
    ------
    ValueError
        A driver that returns NaN; what it raises itself is passed on.

    Examples
    --------
    >>> from mcvar.safety.overtaking import crude_run
    >>> crude_run("sluggish", 10_000, seed=1).scenarios
    10000
    """
    n, seed, simulator = as_count("n", n), as_count("seed", seed, 0), Overtaking(driver)
    threads = None if threads is None else as_count("threads", threads)
    if not 0 < as_number("confidence", confidence) < 1:
        raise ValueError(f"confidence must lie in (0, 1), got {confidence!r}.")
    if not simulator.is_compiled:
        crashes = _crashes_one_by_one(simulator, n, seed, progress)
        return crude_rate(crashes, n, confidence)
    run = kernel.compiled(simulator.driver)[1]

    def part(index: int) -> int:
        sequence = np.random.SeedSequence(seed, spawn_key=(index,))
        size = min(_PART, n - index * _PART)
        bad = np.empty(kernel.N_STATE)
        crashes, done = run(np.random.Generator(np.random.SFC64(sequence)), size, bad)
        if done < size:
            raise _not_a_number(bad)
        if progress is not None:
            progress(size)
        return int(crashes)

    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        return crude_rate(sum(pool.map(part, range(-(-n // _PART)))), n, confidence)


def _crashes_one_by_one(
    simulator: Overtaking, n: int, seed: int, progress: Callable[[int], Any] | None
) -> int:
    naturalistic = AdversarialProposal(NaturalisticBehaviour())
    crashes = 0
    for first in range(0, n, _SLOW_PART):
        batch = Batch(naturalistic, seed, range(first, min(first + _SLOW_PART, n)))
        simulator(batch)
        crashes += sum(record.crash for record in batch.records())
        if progress is not None:
            progress(batch.n)
    return crashes


def first_states(u: FloatArray) -> FloatArray:
    """First states from uniforms ``u (n, 4)``, shape (n, 7)."""
    states = np.empty((len(u), kernel.N_STATE))
    for row, own in zip(states, u, strict=True):
        kernel.begin(own, row)
    return states


def _not_a_number(s: FloatArray) -> ValueError:
    speed, gap, other = s[kernel.SPEED], s[kernel.GAP], s[kernel.BV_SPEED]
    arguments = (
        f"speed={speed:.4g}, gap={gap:.4g}, closing_speed={speed - other:.4g}"
        if s[kernel.PHASE] == 1
        else f"speed={speed:.4g}, gap=inf, closing_speed=0"
    )
    return ValueError(
        f"the driver returned nan or infinity at {arguments}; expected an acceleration in m/s²."
    )
