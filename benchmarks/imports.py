"""What an import costs: time over that of numpy alone, and memory, in fresh processes.

python -m benchmarks.imports [--quick]
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec

import numpy as np

from benchmarks.record import Claim, show

CASES = {
    "import mcvar": "import mcvar",
    "import mcvar, first estimate": (
        "import mcvar; mcvar.estimate(lambda x: x.sum(axis=1), [(0, 1)] * 2, n=4096, rng=1)"
    ),
    "import scipy.stats": "import scipy.stats",
    "import vegas": "import vegas",
    "import qmcpy": "import qmcpy",
    "import openturns": "import openturns",
    "import torchquad": "import torchquad",
    "import ot": "import ot",
}
SLOW = ("torchquad", "openturns")
PROBE = (
    "\nimport time"
    "\nprint(time.process_time())"
    # ru_maxrss would count the parent as it was before the child's own program started.
    "\nprint([line for line in open('/proc/self/status') if 'VmHWM' in line][0].split()[1])"
)


def fresh_process(code: str) -> tuple[float, float]:
    """Return seconds of the processor and peak memory in MB of a process that runs `code`."""
    made = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code + PROBE],
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, kilobytes = made.stdout.split()[-2:]
    return float(seconds), int(kilobytes) / 1024


def _package(code: str) -> str:
    return code.split()[1].split(".")[0].rstrip(";")


def claims(quick: bool) -> Iterator[Claim]:
    rounds = 1 if quick else 7
    cases = {
        name: code
        for name, code in CASES.items()
        if find_spec(_package(code)) is not None and not (quick and _package(code) in SLOW)
    }
    fresh_process("import mcvar; mcvar.estimate(lambda x: x.sum(axis=1), [(0, 1)] * 2, n=4096)")
    for name, code in cases.items():
        found = np.array([[fresh_process("import numpy"), fresh_process(code)]
                          for _ in range(rounds)])  # fmt: skip
        ratios = found[:, 1, 0] / found[:, 0, 0]
        peer = _package(code)
        common = {"repeats": rounds, "spread": "range of rounds",
                  "peers": () if peer == "mcvar" else (peer,)}  # fmt: skip
        yield Claim("imports", name, "time over import numpy", float(np.median(ratios)),
                    float(ratios.min()), float(ratios.max()), **common)  # fmt: skip
        memory = found[:, 1, 1]
        yield Claim("imports", name, "peak memory, MB", float(np.median(memory)),
                    float(memory.min()), float(memory.max()), unit="MB", **common)  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="1 round")
    show(claims(parser.parse_args().quick))
