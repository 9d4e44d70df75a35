"""The command line's part: ``python -m mcvar safety run|estimate|report|replay|export``."""

import argparse
import json
from typing import Any

from mcvar._checks import known_name

_EPILOG = """\
examples:
  python -m mcvar safety run --driver my_driver.py:driver --store run.sqlite --seed 1
  python -m mcvar safety estimate run.sqlite --control none
  python -m mcvar safety report run.sqlite report.html
  python -m mcvar safety replay run.sqlite 17 --driver my_driver.py:driver
  python -m mcvar safety export run.sqlite run.csv
"""
_CONTROLS = ("none", "global", "stratified", "ordinal", "value", "auto")


def add_commands(commands: Any) -> None:
    """Add ``safety`` and its subcommands to the subparsers of the command line."""
    safety = commands.add_parser(
        "safety",
        help="crash rates of automated vehicles",
        description="Crash rates in the overtaking scenario, and logs of any safety campaign.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = safety.add_subparsers(dest="verb", metavar="verb", required=True)
    run = verbs.add_parser("run", help="evaluate a driver in the overtaking scenario")
    _add_driver(run)
    run.add_argument("--store", required=True, help="log file; one that exists is gone on with")
    run.add_argument("--target-rhw", type=float, default=0.3, help="relative half-width (0.3)")
    run.add_argument("--max-scenarios", type=int, default=100_000, help="give up after (100000)")
    run.add_argument("--workers", type=int, help="worker processes (default: none)")
    run.add_argument("--timeout", type=float, help="seconds a chunk of scenarios may take")
    _add_output(run)
    estimate = verbs.add_parser("estimate", help="estimate the rate from a log")
    estimate.add_argument("store")
    _add_output(estimate)
    report = verbs.add_parser("report", help="write the report of a log, one HTML file")
    report.add_argument("store")
    report.add_argument("path")
    report.add_argument("--control", default="auto", help="|".join(_CONTROLS))
    replay = verbs.add_parser("replay", help="run a logged scenario again and compare")
    replay.add_argument("store")
    replay.add_argument("scenario", type=int)
    _add_driver(replay)
    export = verbs.add_parser("export", help="write a log as CSV or Parquet")
    export.add_argument("store")
    export.add_argument("path")


def _add_driver(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--driver", required=True, help="path/to/file.py:function")
    parser.add_argument("--seed", type=int, default=0, help="repeats a run (0)")


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--control", default="auto", help="|".join(_CONTROLS))
    parser.add_argument("--confidence", type=float, default=0.90, help="level (0.90)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run_command(options: argparse.Namespace) -> str:
    """Do what the command line asks for; return what is to be printed."""
    if hasattr(options, "control"):
        known_name("control", options.control, _CONTROLS)
    if options.verb == "run":
        return _run(options)
    if options.verb == "estimate":
        from mcvar.safety.logged import estimate

        rate = estimate(options.store, options.control, confidence=options.confidence)
        return json.dumps(rate.summary()) if options.json else repr(rate)
    if options.verb == "replay":
        return _replay(options)
    if options.verb == "export":
        from mcvar.safety.table import export

        export(options.store, options.path)
        return f"wrote {options.path}"
    from mcvar.safety.log import Log
    from mcvar.safety.report import write_report

    log = Log(options.store, create=False)
    try:
        write_report(log, options.path, options.control)
    finally:
        log.close()
    return f"wrote {options.path}"


def _run(options: argparse.Namespace) -> str:
    from mcvar.safety.overtaking import overtaking_campaign
    from mcvar.safety.stop import RelativeHalfWidth

    campaign = overtaking_campaign(
        options.driver, options.store, options.seed, options.workers, timeout=options.timeout
    )
    try:
        stop = RelativeHalfWidth(options.target_rhw, options.confidence)
        campaign.run(stop, options.max_scenarios)
        rate = campaign.estimate(options.control, confidence=options.confidence)
    finally:
        campaign.close()
    return json.dumps(rate.summary()) if options.json else repr(rate)


def _replay(options: argparse.Namespace) -> str:
    from mcvar.safety.log import Log
    from mcvar.safety.overtaking import Overtaking, overtaking_campaign

    Log(options.store, create=False).close()
    campaign = overtaking_campaign(options.driver, options.store, options.seed)
    try:
        replay = campaign.replay(options.scenario)
    finally:
        campaign.close()
    lines = ["  ".join(f"{name:>20}" for name in Overtaking.state_names)]
    lines += ["  ".join(f"{x:20.4f}" for x in state) for state in replay.record.states]
    agrees = "the same as in the log" if replay.same else "NOT the same as in the log"
    outcome = replay.record.status
    if outcome == "ok":
        outcome = "crash" if replay.record.crash else "no crash"
    return "\n".join([*lines, f"scenario {options.scenario}: {outcome}, {agrees}"])
