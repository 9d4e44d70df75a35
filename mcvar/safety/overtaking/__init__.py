"""The overtaking scenario: a vehicle passes, cuts in, and may brake."""

from mcvar.safety.overtaking.drivers import DRIVERS, Driver, load_driver
from mcvar.safety.overtaking.identify import identify_driver
from mcvar.safety.overtaking.scenario import Overtaking, crude_run
from mcvar.safety.overtaking.study import overtaking_campaign
from mcvar.safety.overtaking.surrogate import (
    DriverTable,
    NaturalisticBehaviour,
    lane_change_phase,
    overtaking_proposal,
)

__all__ = [
    "DRIVERS",
    "Driver",
    "DriverTable",
    "NaturalisticBehaviour",
    "Overtaking",
    "crude_run",
    "identify_driver",
    "lane_change_phase",
    "load_driver",
    "overtaking_campaign",
    "overtaking_proposal",
]
