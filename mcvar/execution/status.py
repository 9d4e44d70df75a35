"""Progress of a run, read from its checkpoint, as text: ``python -m mcvar status run.sqlite``."""

import unicodedata
from typing import Any

import numpy as np

from mcvar.execution.progress import Progress

_COMMANDS = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}  # kinds of characters that are not shown


def as_text(path: str, progress: Progress) -> str:
    """Return a few lines on how far the run is, and what it has found."""
    about, now = progress.about, progress.now
    lines = [
        f"{path}: {about.get('integrand')} over {about.get('target')}",
        f"  sampler {about.get('sampler')}, control {about.get('control')}, "
        f"seed {about.get('seed')}",
        f"  {_pace(progress)}",
    ]
    if now.get("value") is not None:
        pairs = zip(now["value"], now["standard_error"], strict=True)
        shown = ", ".join(f"{value:.10g} +- {error:.2g}" for value, error in pairs)
        after = now.get("n", now.get("done", 0))
        lines.append(f"  estimate {shown} (one standard error) after {after:,} evaluations")
    lines += [f"  {reason}" for reason in now.get("reasons", [])]
    damaged = f", {progress.damaged} damaged, which are computed again" if progress.damaged else ""
    return "\n".join([*lines, f"  {progress.tasks:,} results on disk{damaged}"])


def as_plain(progress: Progress) -> dict[str, Any]:
    """Return the same as plain data."""
    return {
        "about": progress.about,
        **progress.now,
        "running": progress.running,
        "results": progress.tasks,
        "damaged": progress.damaged,
    }


def printable(text: str) -> str:
    r"""Return a text with what would command a terminal written out, such as \x1b.

    >>> printable("red: \x1b[31m, and a line\nbelow")
    'red: \\x1b[31m, and a line\nbelow'
    """
    return "".join(
        character
        if character == "\n" or unicodedata.category(character) not in _COMMANDS
        else character.encode("unicode_escape").decode()
        for character in text
    )


def _pace(progress: Progress) -> str:
    now = progress.now
    state = now.get("state", "running")
    if state == "running":
        state = "running" if progress.running else "stopped; call again to go on"
    done, planned, seconds = now.get("done", 0), now.get("planned"), now.get("seconds", 0.0)
    text = f"{state}: {done:,} evaluations"
    if planned:
        text += f" of at most {planned:,} ({done / planned:.0%})"
    if not (seconds > 0 and done):
        return text
    text += f" in {_span(seconds)}, {done / seconds:,.0f} a second"
    if planned and progress.running and planned > done:
        text += f"; at most {_span((planned - done) * seconds / done)} left"
    return text


def _span(seconds: float) -> str:
    if not np.isfinite(seconds):
        return "an unknown time"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s"
