"""The suite's own machinery, and the figures that README.md quotes from its result file."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.record import Claim, beyond_spread, bootstrapped, loses, time_ratio
from benchmarks.render import figure, losses, render
from benchmarks.results import Results, environment

ROOT = Path(__file__).parents[1]
QUOTED = json.loads((ROOT / "benchmarks" / "quoted.json").read_text())


def agrees(quoted: str, value: float) -> bool:
    """Say whether `quoted` is `value` rounded to the digits that `quoted` has."""
    digits = quoted.replace(",", "").rstrip("%")
    if "." in digits:
        return float(digits) == round(value, len(digits.split(".")[1]))
    significant = len(digits.rstrip("0")) or 1
    # "100" may have one digit, two or three; the shortest reading is the most that it promises.
    return float(digits) == float(f"{value:.{significant}g}")


@pytest.mark.parametrize("entry", QUOTED, ids=lambda entry: entry["key"])
def test_quoted_figures_are_those_of_the_result_file(entry):
    results = Results.load(ROOT / "benchmarks" / "results.json")
    text = (ROOT / entry["file"]).read_text()
    assert entry["text"] in text, f"{entry['file']} no longer says {entry['text']!r}"
    assert entry["figure"] in entry["text"]
    assert entry["key"] in results.entries, "the suite no longer measures this"
    value = results.entries[entry["key"]]["value"]
    assert agrees(entry["figure"], value), f"quoted {entry['figure']}, measured {value:.6g}"


@pytest.mark.parametrize(
    ("quoted", "value", "same"),
    [
        ("7.1", 7.08, True),
        ("7.1", 7.16, False),
        ("360,000", 362_000, True),
        ("360,000", 366_000, False),
        ("60", 57, True),
        ("57", 57.6, False),
        ("0.8", 0.75, True),
    ],
)
def test_agreement_is_to_the_digits_quoted(quoted, value, same):
    assert agrees(quoted, value) is same


CLAIM = Claim("made", "case", "peer", 0.8, 0.7, 0.9, "range of rounds", 3, par=1.0)


def entries(*claims, complete=True):
    lines = [{"environment": environment()}, *({"claim": c.plain()} for c in claims)]
    return lines + ([{"complete": True}] if complete else [])


def test_losing_is_the_wrong_side_of_par():
    assert loses(CLAIM)
    assert beyond_spread(CLAIM)
    assert not loses(dataclasses.replace(CLAIM, lower_is_better=True))
    assert not loses(dataclasses.replace(CLAIM, par=None))
    assert not beyond_spread(dataclasses.replace(CLAIM, high=1.1))


def test_results_are_kept_claim_by_claim(tmp_path):
    results = Results()
    other = dataclasses.replace(CLAIM, row="other", value=2.0)
    results.take("part", "full", entries(CLAIM, other), 1.0)
    # A part that stopped leaves what it did not reach; one that ended leaves nothing of before.
    results.take("part", "full", entries(dataclasses.replace(CLAIM, value=0.5), complete=False), 2)
    assert [c.value for c in results.claims()] == [0.5, 2.0]
    assert results.run_of(CLAIM)["complete"] is False
    assert results.run_of(other)["complete"] is True
    results.take("part", "full", entries(CLAIM), 1.0)
    assert [c.value for c in results.claims()] == [0.8]
    results.save(tmp_path / "results.json")
    assert Results.load(tmp_path / "results.json").claims() == [CLAIM]
    assert len(results.runs) == 1


def test_a_claim_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="made/case/peer: value is inf"):
        dataclasses.replace(CLAIM, value=np.inf).plain()


def test_tables_and_losses_are_made_between_marks(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "by hand\n<!-- results: made -->\nold\n<!-- end -->\n<!-- results: unmeasured -->\nstays\n"
        "<!-- end -->\n<!-- results: losses -->\n<!-- end -->\n"
    )
    results = Results()
    won = dataclasses.replace(CLAIM, column="another", value=30.0, low=None, high=None)
    results.take("part", "full", entries(CLAIM, won), 1.0)
    render(page, results)
    text = page.read_text()
    assert text.startswith("by hand\n")
    assert "| case | 0.8 [0.7, 0.9] | 30 |" in text
    assert "stays" in text
    assert "old" not in text
    assert "Of 2 comparisons in the result file mcvar loses 1, 1 of them" in text
    assert "| made | case | peer | 0.8 [0.7, 0.9] | yes |" in losses(results)
    render(page, results)
    assert page.read_text() == text
    page.write_text("no marks")
    with pytest.raises(ValueError, match="no place for the tables"):
        render(page, results)


def test_the_page_is_what_the_result_file_makes(tmp_path):
    page = tmp_path / "README.md"
    kept = (ROOT / "benchmarks" / "README.md").read_text()
    page.write_text(kept)
    render(page, Results.load(ROOT / "benchmarks" / "results.json"))
    assert page.read_text() == kept


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.8, "0.8"), (39400.0, "39,400"), (4.11e6, "4.11e6"), (7, "7")]
)
def test_figures_have_three_digits(value, text):
    assert figure(value) == text


def test_spreads_hold_their_value():
    rng = np.random.default_rng(0)
    times = rng.uniform(1, 2, size=(9, 2))
    found = time_ratio(times[:, 0], times[:, 1])
    assert found["low"] <= found["value"] <= found["high"]
    assert found["value"] == np.median(times[:, 0] / times[:, 1])
    errors = rng.standard_normal(400)
    found = bootstrapped(lambda e: float(np.mean(e**2)), (errors,))
    # Of 400 squares of standard normals the mean has a standard deviation of √(2/400).
    assert abs((found["high"] - found["low"]) / (2 * 1.645 * np.sqrt(2 / 400)) - 1) < 0.25
