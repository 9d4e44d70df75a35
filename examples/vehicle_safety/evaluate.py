"""Evaluate a driver model of your own: its crash rate when it is overtaken and cut in on.

    python examples/vehicle_safety/evaluate.py --driver my_driver.py:driver
    python examples/vehicle_safety/evaluate.py --driver my_driver.py:driver --crude 100000000

A driver is ``driver(speed, gap, closing_speed) -> acceleration`` in SI units; `gap` is infinite
without a vehicle ahead. `drivers.py` next to this file has some to begin with. With --store the
run can be interrupted, even killed, and goes on where it was when started again.
"""

# %% Setup
import argparse
import json
import sys

from mcvar import safety
from mcvar.safety.overtaking import crude_run, overtaking_campaign


# %% The campaign, or naturalistic Monte Carlo
def evaluate(options: argparse.Namespace) -> safety.CrashRate:
    if options.crude is not None:
        if options.store is not None:
            print("evaluate.py: --crude keeps no log, --store is not used", file=sys.stderr)
        return crude_run(options.driver, options.crude, options.seed)
    campaign = overtaking_campaign(options.driver, options.store, options.seed)
    try:
        return campaign.run(
            stop=safety.RelativeHalfWidth(options.target_rhw, confidence=0.90),
            max_scenarios=options.max_scenarios,
        )
    finally:
        campaign.close()


# %% The command line
def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--driver", default="attentive", help="path/to/file.py:function (default: attentive)"
    )
    parser.add_argument(
        "--target-rhw", type=float, default=0.3, help="relative half-width (default: 0.3)"
    )
    parser.add_argument(
        "--max-scenarios", type=int, default=100_000, help="give up after (default: 100000)"
    )
    parser.add_argument("--store", help="log file, which a later run goes on with")
    parser.add_argument("--seed", type=int, default=0, help="repeats a run (default: 0)")
    parser.add_argument("--crude", type=int, metavar="N", help="N naturalistic scenarios instead")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    try:
        rate = evaluate(options)
    except (ValueError, TypeError, OSError) as error:
        print(f"evaluate.py: {error}", file=sys.stderr)
        return 2
    print(json.dumps(rate.summary()) if options.json else rate)
    return 0


if __name__ == "__main__":
    sys.exit(main())
