"""Crash rates of automated vehicles, from few simulated scenarios, with an interval."""

from mcvar.safety.batch import Batch
from mcvar.safety.gapchain import GapChain
from mcvar.safety.proposal import AdversarialProposal
from mcvar.safety.rate import CrashRate, Stratum

__all__ = ["AdversarialProposal", "Batch", "CrashRate", "GapChain", "Stratum"]
