"""Tables of benchmarks/README.md, made from the result file.

Between ``<!-- results: TABLE -->`` and ``<!-- end -->`` stands the table of that name; a table of
which nothing is in the result file is left as it is. ``losses`` is made of all of them.
"""

import re
from pathlib import Path

from benchmarks.record import Claim, beyond_spread, loses
from benchmarks.results import Results

MARKED = re.compile(r"(<!-- results: ([\w-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def figure(value: float) -> str:
    """Three digits, without the exponents that people stumble over."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1e6 or size < 1e-3:
        return f"{value:.2e}".replace("e+0", "e").replace("e-0", "e-").replace("e+", "e")
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 100 else f"{rounded:.3g}"


def cell(claim: Claim | None) -> str:
    if claim is None:
        return ""
    text = figure(claim.value)
    if claim.low is not None and claim.high is not None:
        text += f" [{figure(claim.low)}, {figure(claim.high)}]"
    return text


def described(run: dict) -> str:
    machine, versions = run["machine"], run["versions"]
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    load = machine["load_at_start"]
    busy = "" if load is None else f", load {load:g} at the start"
    return (
        f"{run['mode']} run of {run['date']}, {run['seconds']:,.0f} s"
        f"{'' if run['complete'] else ' (stopped before its end)'}; {machine['cpu']}, "
        f"{machine['cores']} cores, {machine['ram_gb']} GB{busy}; Python {run['python']}, {named}"
    )


def table(claims: list[Claim]) -> str:
    rows = list(dict.fromkeys(claim.row for claim in claims))
    columns = list(dict.fromkeys(claim.column for claim in claims))
    at = {(claim.row, claim.column): claim for claim in claims}
    notes = {claim.row: claim.note for claim in reversed(claims) if claim.note}
    extra = [""] if notes else []
    lines = ["| " + " | ".join(["", *columns, *extra]) + " |"]
    lines.append("|---" * (1 + len(columns) + len(extra)) + "|")
    for row in rows:
        cells = [cell(at.get((row, column))) for column in columns]
        note = [notes.get(row, "")] if notes else []
        lines.append("| " + " | ".join([row, *cells, *note]) + " |")
    return "\n".join(lines) + "\n"


def caption(claims: list[Claim], results: Results) -> str:
    """Spread, repeats, unit, and the runs: all that a table needs to be believed."""
    spreads = ", ".join(dict.fromkeys(claim.spread for claim in claims if claim.spread))
    repeats = sorted({claim.repeats for claim in claims})
    units = ", ".join(dict.fromkeys(claim.unit for claim in claims))
    several = f"{repeats[0]} to {repeats[-1]}" if len(repeats) > 1 else f"{repeats[0]}"
    runs = dict.fromkeys(described(results.run_of(claim)) for claim in claims)
    head = f"Unit: {units}; repeats: {several}" + (f"; in brackets: {spreads}" if spreads else "")
    return f"\n<sub>{head}. {'; '.join(runs)}.</sub>\n"


def losses(results: Results) -> str:
    """Every comparison that mcvar loses, worst first, apart by whether the spread reaches par."""
    claims = results.claims()
    compared = [claim for claim in claims if claim.par is not None]
    lost = [claim for claim in compared if loses(claim)]
    lost.sort(key=_badness)
    clear = [claim for claim in lost if beyond_spread(claim)]
    lines = [
        f"Of {len(compared)} comparisons in the result file mcvar loses {len(lost)}, {len(clear)} "
        "of them by more than the spread.\n",
        "| table | case | against | value | by more than the spread |",
        "|---|---|---|---|---|",
    ]
    for claim in lost:
        sure = "yes" if claim in clear else "no" if claim.low is not None else "spread not known"
        lines.append(f"| {claim.table} | {claim.row} | {claim.column} | {cell(claim)} | {sure} |")
    return "\n".join(lines) + "\n"


def _badness(claim: Claim) -> float:
    """Return how far on the wrong side, so that the worst sorts first."""
    ratio = claim.value / claim.par if claim.par else claim.value
    return -ratio if claim.lower_is_better else -1 / max(ratio, 1e-300)


def render(file: Path, results: Results) -> None:
    by_table: dict[str, list[Claim]] = {}
    for claim in results.claims():
        by_table.setdefault(claim.table, []).append(claim)

    def replaced(match: re.Match) -> str:
        start, name, before, end = match.groups()
        if name == "losses":
            made = losses(results) if by_table else before
        elif name in by_table:
            made = table(by_table[name]) + caption(by_table[name], results)
        else:
            made = before
        return start + made + end

    text = file.read_text()
    missing = set(by_table) - {match[1] for match in MARKED.findall(text)}
    if missing:
        raise ValueError(f"{file.name} has no place for the tables {sorted(missing)}")
    file.write_text(MARKED.sub(replaced, text))
