"""The result file: claims by key, and the runs that they come from, with machine and versions."""

import json
import os
import platform
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from benchmarks.record import Claim, claim_of

PACKAGES = (
    "mcvar", "numpy", "scipy", "numba", "scikit-learn", "pot",
    "vegas", "qmcpy", "torchquad", "openturns", "torch", "loky", "distributed",
)  # fmt: skip


def environment() -> dict:
    """Return date, machine (no names of hosts or users) and versions of what is installed."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": {
            "cpu": _processor(),
            "cores": len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count(),
            "ram_gb": _memory(),
            "system": f"{platform.system()} {platform.machine()}",
            "load_at_start": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        },
        "python": ".".join(map(str, sys.version_info[:3])),
        "versions": versions,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or "unknown"


def _memory() -> int | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
    except (AttributeError, ValueError, OSError):
        return None


class Results:
    """Claims and runs; a part that runs again replaces what it measured before."""

    def __init__(self) -> None:
        self.runs: dict[str, dict] = {}
        self.entries: dict[str, dict] = {}

    @classmethod
    def load(cls, file: Path) -> "Results":
        made = cls()
        if file.exists():
            kept = json.loads(file.read_text())
            made.runs, made.entries = kept["runs"], kept["claims"]
        return made

    def save(self, file: Path) -> None:
        whole = {"runs": self.runs, "claims": self.entries}
        text = json.dumps(whole, indent=1, ensure_ascii=False)
        beside = file.with_suffix(".tmp")
        beside.write_text(text + "\n")
        beside.replace(file)

    def claims(self) -> list[Claim]:
        return [claim_of(entry) for entry in self.entries.values()]

    def run_of(self, claim: Claim) -> dict:
        return self.runs[self.entries[claim.key]["run"]]

    def take(self, part: str, mode: str, entries: list[dict], seconds: float) -> None:
        """Take the lines that a part has written: environment, claims, how it ended."""
        found = {name: value for entry in entries for name, value in entry.items()}
        claims = [entry["claim"] for entry in entries if "claim" in entry]
        if not claims:
            return
        complete = "complete" in found
        run = f"{part} {found['environment']['date']} {mode}"
        if complete:  # what this part no longer measures goes; a part that stopped leaves the rest
            gone = [k for k, entry in self.entries.items() if entry["run"].split()[0] == part]
            for key in gone:
                del self.entries[key]
        elif run in self.runs:
            run += f" {sum(name.startswith(run) for name in self.runs) + 1}"
        self.runs[run] = {
            "mode": mode, "complete": complete, "seconds": round(seconds, 1),
            **found["environment"],
        }  # fmt: skip
        for kept in claims:
            self.entries[claim_of(kept).key] = kept | {"run": run}
        used = {entry["run"] for entry in self.entries.values()}
        self.runs = {name: value for name, value in self.runs.items() if name in used}
