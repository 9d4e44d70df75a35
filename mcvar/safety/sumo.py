"""The overtaking scenario in SUMO, through libsumo (extra ``sumo``).

One SUMO simulation per process, as libsumo has it, with a two-lane road of its own for every
scenario of a chunk. SUMO drives the automated vehicle by one of its car-following models, a black
box to the campaign; the background vehicle does what the proposal decides, its leader drives on.
"""

import atexit
import os
import subprocess
import tempfile
from pathlib import Path
from types import MappingProxyType
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np

from mcvar._checks import as_count, import_extra
from mcvar._jit import overtaking as kernel
from mcvar._typing import FloatArray
from mcvar.safety.adapt import Adaptation
from mcvar.safety.batch import Batch
from mcvar.safety.campaign import Campaign
from mcvar.safety.overtaking.identify import identify_driver
from mcvar.safety.overtaking.scenario import Overtaking, first_states
from mcvar.safety.overtaking.surrogate import overtaking_proposal

_LENGTH, _START, _CAR = 3000.0, 600.0, 5.0  # of a road, of the first front bumper, of a car, m

#: Attributes of the automated vehicle's ``vType``: a driver who never brakes harder than 2.6 m/s².
HESITANT = MappingProxyType(
    {"carFollowModel": "IDM", "tau": "1.3", "accel": "1.5", "decel": "2.0", "emergencyDecel": "2.6"}
)

_running: dict[str, Any] = {}  # libsumo holds one simulation per process; whose it is


class SumoOvertaking:
    """Batch simulator of the overtaking scenario in SUMO.

    Parameters
    ----------
    vehicle : dict of str, optional
        Attributes of the automated vehicle's ``vType`` in SUMO; a driver that brakes too softly
        by default.
    roads : int
        Scenarios side by side in the simulation.

    Examples
    --------
    >>> from mcvar.safety.sumo import SumoOvertaking
    >>> SumoOvertaking().chunk
    50
    """

    state_names = Overtaking.state_names

    def __init__(self, vehicle: dict[str, str] | None = None, roads: int = 50) -> None:
        self.vehicle = dict(HESITANT if vehicle is None else vehicle)
        for name, value in self.vehicle.items():
            if not (isinstance(name, str) and name.isidentifier() and isinstance(value, str)):
                raise TypeError(
                    f"vehicle must map names of vType attributes to text, got {name!r}: {value!r}."
                )
        self.chunk = as_count("roads", roads)

    @property
    def version(self) -> str:
        """What the log knows it by."""
        libsumo = import_extra("libsumo", "sumo")
        vehicle = " ".join(f"{name}={value}" for name, value in sorted(self.vehicle.items()))
        return f"SUMO overtaking 1, {libsumo.getVersion()[1]}, {vehicle}"

    def initial_states(self, rng: np.random.Generator, n: int) -> FloatArray:
        """First states of `n` scenarios, shape (n, 7)."""
        return first_states(rng.random((n, 4)))

    def warm_up(self) -> None:
        """Start the simulation."""
        _simulation(self.vehicle, self.chunk)

    def __call__(self, batch: Batch) -> None:
        """Run the scenarios of `batch`, each on its road."""
        if batch.n > self.chunk:
            raise ValueError(
                f"a batch has {batch.n} scenarios for {self.chunk} roads; expected at most as many."
            )
        sumo = _simulation(self.vehicle, self.chunk)
        states = first_states(batch.uniforms(4))
        _place(sumo, states)
        closest = np.full(batch.n, np.inf)
        rows = np.arange(batch.n)
        while len(rows):
            action = batch.decide(states[rows], rows)
            _second(sumo, states, rows, action, closest)
            crash = (states[rows, kernel.PHASE] == 1) & (states[rows, kernel.GAP] <= 0)
            over = (
                crash
                | (states[rows, kernel.GAP] > kernel.EXIT_GAP)
                | (states[rows, kernel.TIME] >= kernel.N_DECISIONS)
            )
            batch.finish(rows[over], crash[over], states[rows[over]], closest[rows[over]])
            rows = rows[~over]


def sumo_campaign(
    store: str | Path | None = None,
    seed: int = 0,
    executor: int | None = None,
    vehicle: dict[str, str] | None = None,
    *,
    crude: bool = False,
) -> Campaign:
    """Return the overtaking study in SUMO: surrogates first, then the driver as identified.

    Parameters
    ----------
    store, seed, executor
        As of `mcvar.safety.Campaign`; with worker processes, each runs a simulation of its own.
    vehicle : dict of str, optional
        As of `SumoOvertaking`.
    crude : bool
        Whether scenarios are naturalistic, to check a rate.
    """
    simulator = SumoOvertaking(vehicle)
    if crude:
        return Campaign(simulator, overtaking_proposal([]), store, seed, executor)
    adapt = Adaptation((100,), identify_driver, mixture=False)
    return Campaign(simulator, overtaking_proposal(), store, seed, executor, adapt=adapt)


def _place(sumo: Any, states: FloatArray) -> None:
    """Put the vehicles of every scenario where its first state has them."""
    for i, s in enumerate(states.tolist()):
        bumper = _START + s[kernel.GAP] + _CAR
        for kind, lane, position, speed in (
            ("av", 0, _START, s[kernel.SPEED]),
            ("bv", 1, bumper, s[kernel.BV_SPEED]),
            ("leader", 1, bumper + s[kernel.LEADER_GAP] + _CAR, kernel.LEADER_SPEED),
        ):
            sumo.vehicle.moveTo(f"{kind}{i}", f"road{i}_{lane}", position)
            sumo.vehicle.setPreviousSpeed(f"{kind}{i}", speed)
        sumo.vehicle.setSpeed(f"leader{i}", kernel.LEADER_SPEED)


def _second(sumo: Any, states: FloatArray, rows: Any, action: Any, closest: FloatArray) -> None:
    """Play one decision of scenarios `rows`, in place."""
    vehicle = sumo.vehicle
    running = dict(zip(rows.tolist(), action.tolist(), strict=True))
    for i, a in running.items():
        if a == kernel.CUT_IN:
            states[i, kernel.PHASE] = 1.0
            vehicle.moveTo(f"bv{i}", f"road{i}_0", vehicle.getLanePosition(f"bv{i}"))
            vehicle.setPreviousSpeed(f"bv{i}", float(states[i, kernel.BV_SPEED]))
    for _ in range(kernel.SUBSTEPS):
        for i, a in running.items():
            wish = 0.0 if a == kernel.CUT_IN else kernel.LEAST + kernel.STEP * a
            speed = max(float(states[i, kernel.BV_SPEED]) + wish * kernel.DT, 0.0)
            s = states[i]
            if s[kernel.PHASE] == 0 and s[kernel.LEADER_GAP] < 1.0:
                speed = min(speed, kernel.LEADER_SPEED)
            vehicle.setSpeed(f"bv{i}", speed)
        sumo.simulationStep()
        for i in list(running):
            s = states[i]
            before, front = s[kernel.SPEED], vehicle.getLanePosition(f"bv{i}")
            s[kernel.SPEED] = vehicle.getSpeed(f"av{i}")
            s[kernel.BV_SPEED] = vehicle.getSpeed(f"bv{i}")
            s[kernel.ACCELERATION] = (s[kernel.SPEED] - before) / kernel.DT
            s[kernel.GAP] = front - _CAR - vehicle.getLanePosition(f"av{i}")
            if s[kernel.PHASE] == 0:
                gap = vehicle.getLanePosition(f"leader{i}") - _CAR - front
                s[kernel.LEADER_GAP] = max(gap, 0.5)
                continue
            closing = s[kernel.SPEED] - s[kernel.BV_SPEED]
            if closing > 0:
                closest[i] = min(closest[i], max(s[kernel.GAP], 0.0) / closing)
            if s[kernel.GAP] <= 0:
                del running[i]
    states[rows, kernel.TIME] += 1.0


def _simulation(vehicle: dict[str, str], roads: int) -> Any:
    """Return this process's simulation, started or changed to `vehicle` where need be."""
    libsumo = import_extra("libsumo", "sumo")
    wanted = (tuple(sorted(vehicle.items())), roads, os.getpid())
    if _running.get("wanted") == wanted:
        return libsumo
    if _running:
        libsumo.close()
    else:
        atexit.register(libsumo.close)
    with tempfile.TemporaryDirectory() as folder:
        network, routes = _network(Path(folder), roads), Path(folder) / "routes.xml"
        routes.write_text(_routes(vehicle, roads), encoding="utf-8")
        libsumo.start(
            ["sumo", "-n", str(network), "-r", str(routes), "--step-length", str(kernel.DT)]
            + ["--step-method.ballistic", "true", "--collision.action", "none"]
            + ["--time-to-teleport", "-1", "--no-step-log", "true", "--no-warnings", "true"]
        )
        libsumo.simulationStep()
        for i in range(roads):
            for name in (f"av{i}", f"bv{i}", f"leader{i}"):
                libsumo.vehicle.setLaneChangeMode(name, 0)
            for name in (f"bv{i}", f"leader{i}"):
                libsumo.vehicle.setSpeedMode(name, 0)
    _running["wanted"] = wanted
    return libsumo


def _network(folder: Path, roads: int) -> Path:
    """Build a network of parallel two-lane roads with SUMO's netconvert."""
    sumo = import_extra("sumo", "sumo")
    nodes, edges, network = folder / "nodes.xml", folder / "edges.xml", folder / "net.xml"
    ends = (
        f'<node id="{end}{i}" x="{x}" y="{20 * i}"/>'
        for i in range(roads)
        for end, x in (("a", 0.0), ("b", _LENGTH))
    )
    nodes.write_text(f"<nodes>{''.join(ends)}</nodes>", encoding="utf-8")
    lines = (
        f'<edge id="road{i}" from="a{i}" to="b{i}" numLanes="2" speed="60"/>' for i in range(roads)
    )
    edges.write_text(f"<edges>{''.join(lines)}</edges>", encoding="utf-8")
    program = Path(sumo.SUMO_HOME) / "bin" / "netconvert"
    subprocess.run(
        [str(program), "-n", str(nodes), "-e", str(edges), "-o", str(network)],
        check=True,
        capture_output=True,
    )
    return network


def _routes(vehicle: dict[str, str], roads: int) -> str:
    """Vehicle types and, for every road, the three vehicles that stay on it."""
    own = "".join(f" {name}={quoteattr(value)}" for name, value in vehicle.items())
    common = f'length="{_CAR}" minGap="2" maxSpeed="60" speedFactor="1" sigma="0"'
    # Or the automated vehicle would brake rather than pass another on the right.
    common += ' lcOvertakeRight="1"'
    capped = common.replace('maxSpeed="60"', 'maxSpeed="30"')
    parts = [
        f'<vType id="av" {capped}{own}/>',
        f'<vType id="other" {common}/>',
    ]
    parts += [f'<route id="road{i}" edges="road{i}"/>' for i in range(roads)]
    parts += [
        f'<vehicle id="{name}{i}" type="{kind}" route="road{i}" depart="0" departLane="{lane}" '
        f'departPos="{position}" departSpeed="20" insertionChecks="none"/>'
        for i in range(roads)
        for name, kind, lane, position in (
            ("av", "av", 0, _START),
            ("bv", "other", 1, _START + 30),
            ("leader", "other", 1, _START + 130),
        )
    ]
    return f"<routes>{''.join(parts)}</routes>"
