"""The report: one HTML file, from a log alone."""

import base64
import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mcvar.execution.files import replacing
from mcvar.result import concise
from mcvar.safety import pictures
from mcvar.safety.batch import Record
from mcvar.safety.log import Log
from mcvar.safety.logged import LoggedScenarios
from mcvar.safety.rate import CrashRate
from mcvar.safety.weights import WeightedScenarios

_SHOWN = 6  # scenarios with a picture

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1b1b1b; background: #fff;
       max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; line-height: 1.2; } h2 { font-size: 1.2rem; margin-top: 2rem; }
.rate { font-size: 1.5rem; margin: .5rem 0; }
.flag, .good { border-left: .3rem solid #D55E00; background: #fdf1ea;
               padding: .5rem .8rem; margin: .5rem 0; }
.good { border-color: #009E73; background: #eaf7f2; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #ddd;
         vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
td { overflow-wrap: anywhere; } td:first-child { min-width: 9rem; }
img { max-width: 100%; height: auto; }
.worst { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: 1rem; }
figure { margin: 0; break-inside: avoid; } figcaption { font-size: .9rem; }
@media print { body { max-width: none; font-size: 11pt; } h2 { break-after: avoid; } }
"""


def write_report(log: Log, path: str | Path, control: str = "auto") -> None:
    """Write the report of a log to `path`, replacing a former file once it is complete.

    Raises
    ------
    ValueError
        The log itself as `path`.
    LogError
        A log without scenarios.
    MissingExtraError
        Without matplotlib (extra ``plot``).
    """
    logged = LoggedScenarios(log)
    rate = logged.estimate(control)
    sample, _ = logged.sample()
    meta = log.meta()
    title = f"Crash rate of {meta.get('simulator', 'an unnamed simulator')}"
    sections = [
        _head(rate, title),
        _flags(rate),
        _table("Numbers", ("", ""), _numbers(rate), number=1),
        _figure(
            "The rate over scenarios",
            pictures.svg(pictures.rate_over_scenarios(logged.history(control), rate.confidence)),
            "Estimate and interval against the number of scenarios averaged.",
        ),
        _figure(
            "How the rate is spread over crashes",
            pictures.weight_concentration(sample.response),
            "Share of the rate that the largest weights make up; a curve far above the dashed one "
            "rests on few scenarios.",
        ),
        _table(
            "Strata",
            ("stratum", "scenarios", "crashes", "mean weight", "contribution to the rate"),
            [
                (s.label, s.scenarios, s.crashes, f"{s.mean_weight:.3g}", f"{s.rate:.3g}")
                for s in rate.strata
            ],
            number=1,
        ),
        _worst(log, sample, meta.get("state_names") or ()),
        _provenance(log, meta),
    ]
    document = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(sections)
        + "\n</body>\n</html>\n"
    )
    with replacing(path, *([] if log.path is None else [log.path])) as fresh:
        fresh.write_text(document, encoding="utf-8", errors="backslashreplace")


def _head(rate: CrashRate, title: str) -> str:
    low, high = rate.confidence_interval(rate.confidence)
    return (
        f"<h1>{html.escape(title)}</h1>\n"
        f'<p class="rate"><data id="rate" value="{rate.value!r}">'
        f"{html.escape(concise(rate.value, rate.standard_error))}</data> crashes per scenario</p>\n"
        f'<p>{rate.confidence:.0%} interval <data id="low" value="{low!r}">{low:.3g}</data> to '
        f'<data id="high" value="{high!r}">{high:.3g}</data>, from '
        f'<data id="scenarios" value="{rate.scenarios}">{rate.scenarios:,}</data> scenarios with '
        f'<data id="crashes" value="{rate.crashes}">{rate.crashes:,}</data> crashes.</p>'
    )


def _flags(rate: CrashRate) -> str:
    if not rate.flags:
        return '<p class="good">No flag was raised.</p>'
    return "\n".join(f'<p class="flag">{html.escape(flag)}</p>' for flag in rate.flags)


def _numbers(rate: CrashRate) -> list[tuple[str, str]]:
    return [
        ("standard error", f"{rate.standard_error:.3g}"),
        (f"relative half-width at {rate.confidence:.0%}", f"{rate.relative_half_width:.3g}"),
        ("naturalistic scenarios with the same error", f"{rate.naturalistic_equivalent:.3g}"),
        ("variance without controls over with", f"{rate.variance_reduction:.3g}"),
        ("control", rate.control),
        ("scenarios averaged, of all", f"{rate.used:,} of {rate.scenarios:,}"),
        ("scenarios without an outcome", f"{rate.failures:,}"),
        ("effective number of crashes", f"{rate.ess:.3g}"),
        ("largest share of the rate in one scenario", f"{rate.largest_share:.1%}"),
        ("Pareto index of the weights of crashes", f"{rate.pareto_k:.2f}"),
    ]


def _table(
    title: str, head: Sequence[str], rows: Sequence[Sequence[Any]], number: int | None = None
) -> str:
    """Return a table; columns from `number` on are numbers."""

    def cell(tag: str, j: int, value: Any) -> str:
        kind = ' class="number"' if number is not None and j >= number else ""
        return f"<{tag}{kind}>{html.escape(str(value))}</{tag}>"

    lines = [f"<h2>{html.escape(title)}</h2>", '<div class="scroll"><table>']
    if any(head):
        lines.append("<tr>" + "".join(cell("th", j, name) for j, name in enumerate(head)) + "</tr>")
    for row in rows:
        lines.append(
            "<tr>" + "".join(cell("td", j, value) for j, value in enumerate(row)) + "</tr>"
        )
    return "\n".join([*lines, "</table></div>"])


def _image(svg: str, description: str) -> str:
    data = base64.b64encode(svg.encode()).decode()
    return f'<img alt="{html.escape(description)}" src="data:image/svg+xml;base64,{data}">'


def _figure(title: str, svg: str, description: str) -> str:
    return (
        f"<h2>{html.escape(title)}</h2>\n<figure>{_image(svg, description)}"
        f"<figcaption>{html.escape(description)}</figcaption></figure>"
    )


def _worst(log: Log, sample: WeightedScenarios, names: Sequence[str]) -> str:
    """Pictures of the crashes that weigh most, or else of failures and the first scenarios."""
    order = np.argsort(-(sample.response + 1e-300 * sample.unknown), kind="stable")[:_SHOWN]
    total = sample.response.sum()
    parts = []
    for row in order.tolist():
        scenario = int(sample.scenario[row])
        (record,) = log.read(scenario, scenario + 1)
        share = sample.response[row] / total if total > 0 else 0.0
        caption = (
            f"Scenario {scenario}: {_outcome(record)}, weight {sample.weight[row]:.3g}, "
            f"{share:.1%} of the rate"
        )
        if np.isfinite(record.time_to_collision):
            caption += f", least time to collision {record.time_to_collision:.2g} s"
        if record.error:
            caption += f" ({record.error})"
        picture = _image(pictures.trajectory(record, names), f"States of scenario {scenario}")
        parts.append(f"<figure>{picture}<figcaption>{html.escape(caption)}</figcaption></figure>")
    return (
        "<h2>The scenarios that matter most</h2>\n"
        f'<div class="worst">{"".join(parts)}</div>\n'
        "<p>Each can be run again with <code>campaign.replay(number)</code>.</p>"
    )


def _outcome(record: Record) -> str:
    if record.status != "ok":
        return record.status
    return "crash" if record.crash else "no crash"


def _provenance(log: Log, meta: dict[str, Any]) -> str:
    rows = [(name, json.dumps(value)) for name, value in meta.items() if name != "format"]
    for proposal in log.proposals():
        rows.append(
            (f"proposal from scenario {proposal.first} on", json.dumps(proposal.description))
        )
    for started, n, versions in log.sessions():
        text = ", ".join(f"{name} {version}" for name, version in versions.items())
        rows.append((f"session at scenario {n}", f"{started}: {text}"))
    return _table("Versions and seeds", ("", ""), rows)
