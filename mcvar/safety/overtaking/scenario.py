"""The overtaking scenario as a simulator."""

from typing import Any

import numpy as np

from mcvar._checks import as_count
from mcvar._jit import overtaking as kernel
from mcvar._typing import FloatArray, IntArray
from mcvar.safety.batch import Batch
from mcvar.safety.identity import identity
from mcvar.safety.overtaking.drivers import Driver, load_driver


class Overtaking:
    """Batch simulator: a background vehicle overtakes the automated one, cuts in and may brake.

    Parameters
    ----------
    driver : callable or str
        The automated vehicle: ``driver(speed, gap, closing_speed) -> acceleration`` in SI units,
        asked five times a second; plain Python or Numba-jitted (50 times faster). `gap` is the
        bumper-to-bumper distance to the vehicle ahead, infinite without one. Or
        ``path/to/file.py:function``, or a name in `DRIVERS`.

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
        self._jitted = hasattr(self.driver, "py_func")

    def __reduce__(self) -> Any:
        return Overtaking, (self._source,)

    def initial_states(self, rng: np.random.Generator, n: int) -> FloatArray:
        """First states of `n` scenarios, shape (n, 7)."""
        return _begin(rng.random((n, 4)))

    def __call__(self, batch: Batch) -> None:
        """Run the scenarios of `batch`."""
        states = _begin(batch.uniforms(4))
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
        if self._jitted:
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
                acceleration[i] = a
                if np.isnan(acceleration[i]):
                    raise _not_a_number(s)
            kernel.advance_rows(states, rows, acceleration, bv_acceleration, closest, running)
        states[rows, kernel.TIME] += 1.0


def crude_run(driver: Driver, n: int, seed: int) -> int:
    """Count crashes in `n` naturalistic scenarios, in one compiled loop.

    Parameters
    ----------
    driver : Numba-jitted callable
    n : int
    seed : int

    Raises
    ------
    TypeError
        A driver that is not jitted.
    """
    if not hasattr(driver, "py_func"):
        raise TypeError(
            "crude_run needs a Numba-jitted driver: put @numba.njit above it; plain Python ones "
            "run in a crude campaign, 50 times slower."
        )
    bad = np.empty(kernel.N_STATE)
    rng = np.random.Generator(np.random.SFC64(seed))
    n = as_count("n", n)
    crashes, done = kernel.compiled(driver)[1](rng, n, bad)
    if done < n:
        raise _not_a_number(bad)
    return int(crashes)


def _begin(u: FloatArray) -> FloatArray:
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
    return ValueError(f"the driver returned nan at {arguments}; expected an acceleration in m/s².")

