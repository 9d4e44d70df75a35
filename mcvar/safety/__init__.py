"""Crash rates of automated vehicles, from few simulated scenarios, with an interval."""

from mcvar.safety.adapt import Adaptation
from mcvar.safety.batch import Batch, Record
from mcvar.safety.campaign import Campaign
from mcvar.safety.crude import clopper_pearson, wilson
from mcvar.safety.gapchain import GapChain
from mcvar.safety.jsonlines import SubprocessSimulator
from mcvar.safety.log import LogError
from mcvar.safety.logged import estimate
from mcvar.safety.proposal import AdversarialProposal, ProposalError
from mcvar.safety.rate import CrashRate, Stratum
from mcvar.safety.simulate import SimulatorDied, Step
from mcvar.safety.stop import RelativeHalfWidth

__all__ = [
    "Adaptation",
    "AdversarialProposal",
    "Batch",
    "Campaign",
    "CrashRate",
    "GapChain",
    "LogError",
    "ProposalError",
    "Record",
    "RelativeHalfWidth",
    "SimulatorDied",
    "Step",
    "Stratum",
    "SubprocessSimulator",
    "clopper_pearson",
    "estimate",
    "wilson",
]
