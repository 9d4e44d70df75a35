"""The command line: ``python -m mcvar estimate | status | recover | safety ...``."""

import argparse
import importlib
import json
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

import mcvar
from mcvar.exceptions import LostWorkersError
from mcvar.execution import read_progress, recover, status
from mcvar.safety.cli import add_commands

_DESCRIPTION = "Monte Carlo integration with control variates."
_EXPLAINED = (
    ValueError, TypeError, OverflowError, ImportError, OSError, MemoryError, LostWorkersError,
)  # fmt: skip
_EPILOG = """\
examples:
  python -m mcvar estimate mymodule:f --box=0,1 --box=-inf,inf --rtol 1e-4
  python -m mcvar estimate mymodule:f --normal 5 --n 100000 --seed 1 --json
  python -m mcvar estimate mymodule:f --target mymodule:target --sampler vegas
  python -m mcvar estimate mymodule:f --checkpoint run.sqlite --rtol 1e-5 --workers 2
  python -m mcvar status run.sqlite
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 0
    # A user's module is usually in the directory they stand in.
    sys.path.insert(0, os.getcwd())
    try:
        if options.command == "safety":
            from mcvar.safety.cli import run_command

            _show(run_command(options))
            return 0
        if options.command == "status":
            _show(_status(options))
            return 0
        if options.command == "recover":
            _show(f"{recover(options.checkpoint):,} results are in {options.checkpoint}")
            return 0
        est = _estimate(options)
        text = _as_text(est, options.level)
        printed = json.dumps(_as_json(est, options.level), indent=2) if options.json else text
    except KeyboardInterrupt:
        again = "; call again to go on" if getattr(options, "checkpoint", None) else ""
        print(f"mcvar: interrupted{again}", file=sys.stderr)
        return 130
    except _EXPLAINED as error:
        notes = "".join(f"\n  {note}" for note in getattr(error, "__notes__", ()))
        what = str(error) or type(error).__name__
        print(status.printable(f"mcvar: {what}{notes}"), file=sys.stderr)
        return 2
    _show(printed)
    return 0


def _show(text: str) -> None:
    """Print a text, of which files and functions that are not ours may have made parts."""
    print(status.printable(text))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mcvar",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"mcvar {mcvar.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command")
    run = commands.add_parser(
        "estimate",
        help="integrate a function of yours",
        description="Integrate module:function over a box or against a distribution.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument("integrand", help="module:function, f(x: (n, d)) -> (n,) or (n, m)")
    where = run.add_mutually_exclusive_group()
    where.add_argument(
        "--box",
        action="append",
        metavar="LOW,HIGH",
        help="one side of a box, repeated for every dimension; write --box=-inf,inf for the line",
    )
    where.add_argument("--normal", type=int, metavar="D", help="the standard normal law in R^D")
    where.add_argument("--target", metavar="MODULE:OBJECT", help="a target of your own")
    run.set_defaults(box=None)
    run.add_argument("--n", type=float, help="evaluations; with a tolerance, the most")
    run.add_argument("--rtol", type=float, help="relative tolerance")
    run.add_argument("--atol", type=float, help="absolute tolerance")
    run.add_argument("--sampler", default="auto", help="as in mcvar.estimate (default: auto)")
    run.add_argument("--no-control", action="store_true", help="use no control variate")
    run.add_argument("--scalar", action="store_true", help="the function takes one point at a time")
    run.add_argument("--seed", type=int, help="repeats a run")
    run.add_argument("--level", type=float, default=0.95, help="confidence level (default: 0.95)")
    run.add_argument("--workers", type=int, help="worker processes (default: none)")
    run.add_argument("--batch-size", type=int, help="points a task; few for slow functions")
    run.add_argument("--checkpoint", metavar="FILE", help="keep what is done; call again to go on")
    run.add_argument("--max-seconds", type=float, help="stop after this time")
    run.add_argument("--verbose", action="store_true", help="log to standard error")
    run.add_argument("--progress", action="store_true", help="show a progress bar")
    run.add_argument("--json", action="store_true", help="print one JSON object")
    look = commands.add_parser(
        "status",
        help="show how far a run with a checkpoint is",
        description="Show how far a run with a checkpoint is, and what it has found.",
    )
    look.add_argument("checkpoint", metavar="FILE")
    look.add_argument("--json", action="store_true", help="print one JSON object")
    repair = commands.add_parser(
        "recover",
        help="take over the sound results of a damaged checkpoint",
        description="Put a damaged checkpoint aside, and its sound results into a new one.",
    )
    repair.add_argument("checkpoint", metavar="FILE")
    add_commands(commands)
    return parser


def _status(options: argparse.Namespace) -> str:
    progress = read_progress(options.checkpoint)
    if options.json:
        return json.dumps(status.as_plain(progress), indent=2)
    return status.as_text(options.checkpoint, progress)


def _estimate(options: argparse.Namespace) -> mcvar.Estimate:
    if options.verbose:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    function = _load(options.integrand)
    return mcvar.estimate(
        function,
        _target(options),
        n=options.n,
        rtol=options.rtol,
        atol=options.atol,
        sampler=options.sampler,
        control=None if options.no_control else "auto",
        rng=options.seed,
        vectorized=False if options.scalar else None,
        executor=options.workers,
        batch_size=options.batch_size,
        checkpoint=options.checkpoint,
        max_seconds=options.max_seconds,
        progress=options.progress,
    )


def _target(options: argparse.Namespace) -> Any:
    if options.target is not None:
        return _load(options.target)
    if options.normal is not None:
        if options.normal < 1:
            raise ValueError(f"--normal needs at least one dimension, got {options.normal}.")
        return mcvar.targets.Normal(np.zeros(options.normal))
    if options.box is not None:
        return [_side(text) for text in options.box]
    module = options.integrand.partition(":")[0]
    try:
        return _load(f"{module}:target")
    except ValueError:
        raise ValueError(
            f"nothing says what to integrate over: give --box, --normal or --target, or let "
            f"module {module!r} have an object named 'target'."
        ) from None


def _side(text: str) -> tuple[float, float]:
    try:
        low, high = (float(end) for end in text.split(","))
    except ValueError:
        raise ValueError(f"--box expects LOW,HIGH such as 0,1 or -inf,inf, got {text!r}.") from None
    return low, high


def _load(name: str) -> Any:
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise ValueError(f"expected module:name, got {name!r}.")
    loaded = importlib.import_module(module)
    if not hasattr(loaded, attribute):
        raise ValueError(f"module {module!r} has no {attribute!r}.")
    return getattr(loaded, attribute)


def _as_json(est: mcvar.Estimate, level: float) -> dict[str, Any]:
    low, high = est.confidence_interval(level)
    fields: dict[str, Any] = {
        "value": est.value,
        "standard_error": est.standard_error,
        "low": low,
        "high": high,
        "level": level,
        "n": est.n,
        "variance_reduction": est.variance_reduction,
        "status": est.status,
        "reasons": list(est.reasons),
        "sampler": est.sampler,
        "control": est.control,
        "seed": est.seed,
    }
    if est.log_normalizer is not None:
        fields["log_normalizer"] = est.log_normalizer.value
        fields["log_normalizer_standard_error"] = est.log_normalizer.standard_error
    return {name: _plain(value) for name, value in fields.items()}


def _plain(value: Any) -> Any:
    """Return what JSON can hold: infinities and NaN, which it cannot, become null."""
    if isinstance(value, np.ndarray):
        return [_plain(item) for item in value.tolist()]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value


def _as_text(est: mcvar.Estimate, level: float) -> str:
    low, high = est.confidence_interval(level)
    lines = [
        repr(est),
        f"  {level:.4g} interval: {low} to {high}",
        f"  sampler: {est.sampler}",
        f"  control: {est.control}",
    ]
    if est.log_normalizer is not None:
        lines.append(f"  log normaliser: {est.log_normalizer!r}")
    return "\n".join([*lines, f"  seed: {est.seed}"])


if __name__ == "__main__":
    sys.exit(main())
