"""Monte Carlo integration with control variates.

E f = E[f − h] + E h: draw, fit a regressor h of known expectation on some of the draws, average
what it leaves on the others, add what is known.

>>> import mcvar, scipy.stats
>>> est = mcvar.estimate(lambda x: x[:, 0] ** 2, scipy.stats.norm(0, 1), n=4096, rng=1)
>>> abs(est.value - 1) < 0.01
True
"""

import importlib
from typing import TYPE_CHECKING, Any

from mcvar._version import __version__

if TYPE_CHECKING:
    from mcvar import control, plot, safety, samplers, sliced, targets
    from mcvar import torch as torch
    from mcvar.control.thinning import kernel_stein_discrepancy, stein_thinning
    from mcvar.draws import Draws
    from mcvar.exceptions import (
        CheckpointError,
        ControlMeanError,
        LostWorkersError,
        MagnitudeError,
        MissingExtraError,
        NonFiniteError,
        ScoreError,
    )
    from mcvar.integrate import estimate
    from mcvar.joint import Evidence, JointEstimate, estimate_jointly, evidence
    from mcvar.moments import Moments
    from mcvar.posterior import PosteriorSummary, summary
    from mcvar.result import ConfidenceInterval, Estimate
    from mcvar.sliced import sliced_wasserstein
    from mcvar.targets import Target, Unnormalized

# Where each public name lives; imported on first use (PEP 562), so that `import mcvar` is cheap.
_HOME = {
    "CheckpointError": "mcvar.exceptions",
    "ConfidenceInterval": "mcvar.result",
    "ControlMeanError": "mcvar.exceptions",
    "Draws": "mcvar.draws",
    "Estimate": "mcvar.result",
    "Evidence": "mcvar.joint",
    "JointEstimate": "mcvar.joint",
    "LostWorkersError": "mcvar.exceptions",
    "MagnitudeError": "mcvar.exceptions",
    "MissingExtraError": "mcvar.exceptions",
    "Moments": "mcvar.moments",
    "NonFiniteError": "mcvar.exceptions",
    "ScoreError": "mcvar.exceptions",
    "Target": "mcvar.targets",
    "Unnormalized": "mcvar.targets",
    "estimate": "mcvar.integrate",
    "estimate_jointly": "mcvar.joint",
    "evidence": "mcvar.joint",
    "PosteriorSummary": "mcvar.posterior",
    "kernel_stein_discrepancy": "mcvar.control.thinning",
    "sliced_wasserstein": "mcvar.sliced",
    "stein_thinning": "mcvar.control.thinning",
    "summary": "mcvar.posterior",
}
_MODULES = ("control", "plot", "safety", "samplers", "sliced", "targets", "torch")

__all__ = [
    "CheckpointError",
    "ConfidenceInterval",
    "ControlMeanError",
    "Draws",
    "Estimate",
    "Evidence",
    "JointEstimate",
    "LostWorkersError",
    "MagnitudeError",
    "MissingExtraError",
    "Moments",
    "NonFiniteError",
    "PosteriorSummary",
    "ScoreError",
    "Target",
    "Unnormalized",
    "__version__",
    "control",
    "estimate",
    "estimate_jointly",
    "evidence",
    "kernel_stein_discrepancy",
    "plot",
    "safety",
    "samplers",
    "sliced",
    "sliced_wasserstein",
    "stein_thinning",
    "summary",
    "targets",
]


if not TYPE_CHECKING:  # a type checker would take it as leave to ask for any name

    def __getattr__(name: str) -> Any:
        if name in _HOME:
            value = getattr(importlib.import_module(_HOME[name]), name)
        elif name in _MODULES:
            value = importlib.import_module(f"mcvar.{name}")
        else:
            raise AttributeError(f"module 'mcvar' has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
