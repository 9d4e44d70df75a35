"""Crash rates of automated vehicles, from few simulated scenarios, with an interval."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcvar.safety import overtaking
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
    from mcvar.safety.table import export, import_table

# Where each public name lives; imported on first use (PEP 562): worker processes need few of them.
_HOME = {
    "Adaptation": "adapt",
    "AdversarialProposal": "proposal",
    "Batch": "batch",
    "Campaign": "campaign",
    "CrashRate": "rate",
    "GapChain": "gapchain",
    "LogError": "log",
    "ProposalError": "proposal",
    "Record": "batch",
    "RelativeHalfWidth": "stop",
    "SimulatorDied": "simulate",
    "Step": "simulate",
    "Stratum": "rate",
    "SubprocessSimulator": "jsonlines",
    "clopper_pearson": "crude",
    "estimate": "logged",
    "export": "table",
    "import_table": "table",
    "wilson": "crude",
}

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
    "export",
    "import_table",
    "overtaking",
    "wilson",
]


if not TYPE_CHECKING:  # a type checker would take it as leave to ask for any name

    def __getattr__(name: str) -> Any:
        if name in _HOME:
            value = getattr(importlib.import_module(f"mcvar.safety.{_HOME[name]}"), name)
        elif name == "overtaking":
            value = importlib.import_module("mcvar.safety.overtaking")
        else:
            raise AttributeError(f"module 'mcvar.safety' has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
