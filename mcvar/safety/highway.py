"""The overtaking scenario on the roads of highway-env (extra ``highway``): a demonstration.

Its intelligent-driver vehicle is the automated one; its road and its bicycle model move everything.
A scenario a step at a time, in Python: some tens a second.
"""

from typing import Any

import numpy as np

from mcvar._checks import import_extra
from mcvar._jit import overtaking as kernel
from mcvar._typing import FloatArray
from mcvar.safety.overtaking.scenario import Overtaking, first_states
from mcvar.safety.simulate import Step


class HighwayOvertaking:
    """Step simulator of the overtaking scenario in highway-env.

    Parameters
    ----------
    hardest : float
        Braking that highway-env's driver is limited to, m/s².

    Examples
    --------
    >>> from mcvar.safety.highway import HighwayOvertaking
    >>> HighwayOvertaking().state_names[0]
    'gap (m)'
    """

    state_names = Overtaking.state_names

    def __init__(self, hardest: float = 3.0) -> None:
        if not 0 < hardest <= -kernel.HARDEST:
            raise ValueError(f"hardest must lie in (0, {-kernel.HARDEST:g}], got {hardest!r}.")
        self.hardest = float(hardest)
        self._state = np.zeros(kernel.N_STATE)
        self._closest = np.inf

    @property
    def version(self) -> str:
        """What the log knows it by."""
        from importlib.metadata import version

        import_extra("highway_env", "highway")
        return f"highway-env overtaking 1, {version('highway-env')}, hardest={self.hardest}"

    def initial_states(self, rng: np.random.Generator, n: int) -> FloatArray:
        """First states of `n` scenarios, shape (n, 7)."""
        return first_states(rng.random((n, 4)))

    def reset(self, rng: np.random.Generator) -> FloatArray:
        """Begin a scenario."""
        roads = import_extra("highway_env.road.road", "highway")
        behaviour = import_extra("highway_env.vehicle.behavior", "highway")
        kinematics = import_extra("highway_env.vehicle.kinematics", "highway")
        s = self._state = first_states(rng.random((1, 4)))[0]
        network = roads.RoadNetwork.straight_road_network(2, length=5_000.0, speed_limit=30.0)
        self._road = roads.Road(network)
        lanes = [network.get_lane(("0", "1", lane)) for lane in (0, 1)]
        self._av = behaviour.IDMVehicle(
            self._road, lanes[1].position(100.0, 0.0), speed=s[kernel.SPEED],
            target_speed=30.0, enable_lane_change=False,
        )  # fmt: skip
        self._av.ACC_MAX = self.hardest
        length = self._av.LENGTH
        self._bv = kinematics.Vehicle(
            self._road, lanes[0].position(100.0 + length + s[kernel.GAP], 0.0),
            speed=s[kernel.BV_SPEED],
        )  # fmt: skip
        self._road.vehicles = [self._av, self._bv]
        self._lane = lanes[1]
        self._closest = np.inf
        return np.array(s)

    def step(self, action: int) -> Step:
        """Let the background vehicle act for a second."""
        s, av, bv = self._state, self._av, self._bv
        acceleration = 0.0 if action == kernel.CUT_IN else kernel.LEAST + kernel.STEP * action
        if action == kernel.CUT_IN:
            s[kernel.PHASE] = 1.0
            bv.position = self._lane.position(bv.position[0], 0.0)
            bv.on_state_update()
        for _ in range(kernel.SUBSTEPS):
            # As in the project's own scenario, nobody rolls backwards or into the leader.
            wish = max(acceleration, -bv.speed / kernel.DT)
            av.act()
            bv.act({"acceleration": wish, "steering": 0.0})
            before = av.speed, bv.speed
            av.step(kernel.DT)
            bv.step(kernel.DT)
            av.speed = max(av.speed, 0.0)
            if s[kernel.PHASE] == 0:
                ahead = s[kernel.LEADER_GAP] + (kernel.LEADER_SPEED - before[1]) * kernel.DT
                s[kernel.LEADER_GAP] = max(ahead, 1.0)
                if ahead < 1.0:
                    bv.speed = min(bv.speed, kernel.LEADER_SPEED)
            s[kernel.SPEED], s[kernel.BV_SPEED] = av.speed, bv.speed
            s[kernel.ACCELERATION] = (av.speed - before[0]) / kernel.DT
            s[kernel.GAP] = bv.position[0] - av.position[0] - av.LENGTH
            closing = av.speed - bv.speed
            if s[kernel.PHASE] == 1 and closing > 0:
                self._closest = min(self._closest, max(s[kernel.GAP], 0.0) / closing)
            if s[kernel.PHASE] == 1 and s[kernel.GAP] <= 0:
                break
        s[kernel.TIME] += 1.0
        return Step(s.copy(), bool(kernel.ended(s)), self._crashed(), float(self._closest))

    def _crashed(self) -> bool:
        return bool(self._state[kernel.PHASE] == 1 and self._state[kernel.GAP] <= 0)

    def __reduce__(self) -> Any:
        return HighwayOvertaking, (self.hardest,)
