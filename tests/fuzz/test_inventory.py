"""Every public callable is fuzzed, or says here why it is not."""

import importlib
import inspect
from pathlib import Path

import pytest

MODULES = (
    "mcvar",
    "mcvar.control",
    "mcvar.control.kernels",
    "mcvar.integrate",
    "mcvar.joint",
    "mcvar.posterior",
    "mcvar.safety",
    "mcvar.safety.overtaking",
    "mcvar.samplers",
    "mcvar.sliced",
    "mcvar.targets",
)

#: Public, and not called by a fuzz test of its own.
REASONS = {
    "BaseKernel": "a protocol",
    "BlockedStream": "a sampler's inner stream: drawn from by every estimate",
    "Blocks": "how a run is cut into blocks: part of checkpointed runs, which have fault injection",
    "CheckpointError": "an exception",
    "ConfidenceInterval": "a named tuple that results return",
    "ControlMeanError": "an exception",
    "CrashRate": "a frozen result: built by the campaign, its methods are fuzzed there",
    "Evidence": "a frozen result: its methods are fuzzed with evidence()",
    "GradientFlow": "a frozen result",
    "JointEstimate": "a frozen result: its methods are fuzzed with estimate_jointly()",
    "LinearControl": "an abstract class",
    "LogError": "an exception",
    "LostWorkersError": "an exception",
    "MaxSlicedWasserstein": "a frozen result",
    "MissingExtraError": "an exception",
    "NaturalisticBehaviour": "part of overtaking_proposal(), which campaigns call",
    "NonFiniteError": "an exception",
    "Overtaking": "built by overtaking_campaign() and crude_run(), which are fuzzed",
    "Plan": "two counts",
    "PosteriorSummary": "a frozen result: its methods are fuzzed with summary()",
    "Prepared": "what samplers hand to the engine",
    "ProductBasis": "built by targets; fuzzed through Target.basis()",
    "ProposalError": "an exception",
    "Record": "a named tuple that the log returns",
    "Sampler": "an abstract class",
    "ScoreError": "an exception",
    "SimulatorDied": "an exception",
    "SlicedGradient": "a named tuple that gradients return",
    "SlicedWasserstein": "a frozen result: its methods are fuzzed with sliced_wasserstein()",
    "Step": "a named tuple that simulators return",
    "Stratum": "a named tuple of a crash rate",
    "Stream": "a protocol",
    "SubprocessSimulator": "starts a process: its answers, good and bad, are tests of their own",
    "Warp": "a protocol",
    "Warped": "built by the vegas and importance samplers",
    "Warping": "a named tuple that warps return",
    "identify_driver": "reads the records of a campaign, which run it",
    "overtaking_proposal": "built by overtaking_campaign()",
    "stream_seed": "makes a seed of two integers",
}


def _public():
    """Yield the name of every public function and class."""
    for name in MODULES:
        module = importlib.import_module(name)
        names = getattr(module, "__all__", None)
        if names is None:  # kernels: a file of classes
            names = [n for n, thing in vars(module).items()
                     if inspect.isclass(thing) and thing.__module__ == name and n[0] != "_"
                     and not getattr(thing, "_is_protocol", False)]  # fmt: skip
        for public in names:
            thing = getattr(module, public)
            if inspect.isclass(thing) or inspect.isfunction(thing):
                yield public


@pytest.fixture(scope="module")
def sources():
    here = Path(__file__)
    files = [file for file in here.parent.glob("*.py") if file.name != here.name]
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def test_every_public_name_is_fuzzed_or_has_a_reason(sources):
    forgotten = sorted({name for name in _public() if name not in REASONS and name not in sources})
    assert not forgotten, f"write a fuzz test for {forgotten}, or a reason in REASONS"


def test_reasons_are_about_public_names():
    assert set(REASONS) <= set(_public())
