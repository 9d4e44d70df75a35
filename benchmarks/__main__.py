"""The suite: every claim measured again, one result file, and the tables made from it.

    python -m benchmarks --quick | --full [--only NAME ...] [--seconds-each S]
    python -m benchmarks --render

Each part runs in a process of its own, one at a time, on one thread. ``--full`` writes
benchmarks/results.json, claim by claim, and renders benchmarks/README.md from it; ``--quick``
(fewer problems and repeats, minutes) writes benchmarks/results-quick.json, which is not kept.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

from benchmarks.record import Skipped
from benchmarks.render import render
from benchmarks.results import Results, environment

HERE = Path(__file__).parent
# Most quoted first. A part is a generator of claims: module, function, and whether --quick has it.
PARTS = {
    "overhead": ("overhead", "claims", True),
    "imports": ("imports", "claims", True),
    "limits": ("limits", "claims", True),
    "gradient-speed": ("sliced_gradient", "claims_speed", True),
    "sliced-loss": ("sliced_dimensions", "claims_loss", True),
    "sliced-work": ("sliced_dimensions", "claims_work", True),
    "reservoir": ("sliced_gradient", "claims_reservoir", True),
    "integration": ("integration", "claims", True),
    "sliced-speed": ("sliced_speed", "claims", True),
    "vector": ("vector", "claims", True),
    "safety": ("safety", "claims", True),
    "stein-speed": ("stein", "claims_speed", True),
    "stein": ("stein", "claims", True),
    "sliced-variance": ("sliced_variance", "claims", True),
    "gradient-variance": ("sliced_gradient", "claims_variance", True),
    "scaling": ("scaling", "claims", True),
    "controls": ("controls", "claims", True),
    "coverage": ("integration", "claims_coverage", True),
    "fresh": ("integration", "claims_fresh", False),
    "matching": ("sliced_gradient", "claims_matching", False),
    "flow": ("sliced_gradient", "claims_flow", False),
}


def work(name: str, quick: bool, limit: float, file: Path) -> None:
    """Run one part here; append each claim to `file` as it comes."""
    module, function, _ = PARTS[name]
    began = last = time.perf_counter()
    with file.open("a") as out:

        def put(**entry: object) -> None:
            out.write(json.dumps(entry) + "\n")
            out.flush()

        put(environment=environment())
        try:
            for claim in getattr(import_module(f"benchmarks.{module}"), function)(quick):
                now = time.perf_counter()
                put(claim=claim.plain() | {"seconds": round(now - last, 3)})
                last = now
                if now - began > limit:
                    print(f"{name}: stopped after {limit:g} s, before its end", flush=True)
                    put(stopped=limit)
                    return
        except Skipped as reason:
            put(skipped=str(reason))
            print(f"{name}: skipped ({reason})", flush=True)
            return
        put(complete=True)


def run_part(name: str, quick: bool, limit: float, results: Results) -> bool:
    """Run one part in a process of its own and take what it found; say whether it ended well."""
    print(f"== {name}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "claims.jsonl")
        started = time.perf_counter()
        command = [sys.executable, "-m", "benchmarks", "--work", name, str(file), str(limit)]
        one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        process = subprocess.Popen(
            [*command, "--quick" if quick else "--full"],
            cwd=HERE.parent,
            env={**os.environ, **one_thread},
        )
        seen = 0
        try:
            while process.poll() is None:
                time.sleep(1)
                count = file.read_text().count('"claim"') if file.exists() else 0
                if count != seen:
                    seen = count
                    took = time.perf_counter() - started
                    print(f"   {name}: {count} figures, {took:.0f} s", flush=True)
        except KeyboardInterrupt:
            process.wait()
            raise
        finally:
            lines = file.read_text().splitlines() if file.exists() else []
            entries = [json.loads(line) for line in lines]
            results.take(name, "quick" if quick else "full", entries,
                         time.perf_counter() - started)  # fmt: skip
    if process.returncode:
        print(f"   {name}: FAILED with {process.returncode}; its figures so far are kept")
    return process.returncode == 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--quick", action="store_true", help="minutes; results-quick.json")
    kind.add_argument("--full", action="store_true", help="hours; results.json and README.md")
    kind.add_argument("--render", action="store_true", help="make the tables from results.json")
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="NAME",
                        help="parts to run, of: " + ", ".join(PARTS))  # fmt: skip
    parser.add_argument("--seconds-each", type=float, default=float("inf"), metavar="S",
                        help="stop a part after its first figure past so long")  # fmt: skip
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.work:
        name, file, limit = options.work
        work(name, options.quick, float(limit), Path(file))
        return 0
    if options.render:
        render(HERE / "README.md", Results.load(HERE / "results.json"))
        return 0
    if not (options.quick or options.full):
        parser.error("say --quick or --full, or --render")
    file = HERE / ("results-quick.json" if options.quick else "results.json")
    results = Results() if options.quick and not options.only else Results.load(file)
    failed = []
    for name in options.only or PARTS:
        if options.quick and not PARTS[name][2]:
            if options.only:
                parser.error(f"{name} has no quick form: say --full")
            continue
        if not run_part(name, options.quick, options.seconds_each, results):
            failed.append(name)
        results.save(file)
        if options.full:
            render(HERE / "README.md", results)
    print(f"written: {file.name}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
