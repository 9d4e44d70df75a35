"""The overtaking study in SUMO: a crash rate from a few hundred scenarios, and a crude check.

    pip install "mcvar[sumo]"
    python examples/vehicle_safety/sumo_study.py
    python examples/vehicle_safety/sumo_study.py --crude 300000 --workers 2

SUMO drives the automated vehicle (its intelligent-driver model with soft brakes) and moves
everything; the naturalistic check takes a thousand times longer.
"""

# %% Setup
import argparse
import sys

from mcvar import safety


# %% Both campaigns
def study(options: argparse.Namespace) -> None:
    from mcvar.safety.sumo import sumo_campaign

    campaign = sumo_campaign(options.store, options.seed, options.workers)
    rate = campaign.run(safety.RelativeHalfWidth(options.target_rhw), options.max_scenarios)
    if options.report:
        campaign.report(options.report)
    print(rate)
    if options.crude:
        check = sumo_campaign(options.crude_store, options.seed, options.workers, crude=True)
        crude = check.run(max_scenarios=options.crude)
        low, high = crude.confidence_interval(0.90)
        agrees = (
            low <= rate.confidence_interval(0.90).high and rate.confidence_interval().low <= high
        )
        print(crude)
        print(f"the intervals {'overlap' if agrees else 'DO NOT overlap'}")


# %% The command line
def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--target-rhw", type=float, default=0.3, help="default: 0.3")
    parser.add_argument("--max-scenarios", type=int, default=10_000, help="default: 10000")
    parser.add_argument("--store", help="log file, which a later run goes on with")
    parser.add_argument("--seed", type=int, default=0, help="repeats a run (default: 0)")
    parser.add_argument("--workers", type=int, help="worker processes, a simulation in each")
    parser.add_argument("--crude", type=int, metavar="N", help="check with N naturalistic ones")
    parser.add_argument("--crude-store", help="log file of the check")
    parser.add_argument("--report", help="write the report to this HTML file")
    options = parser.parse_args()
    try:
        study(options)
    except (ValueError, TypeError, OSError, ImportError) as error:
        print(f"sumo_study.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
