"""The command line: whatever is typed ends in a result, a message or a usage line."""

import contextlib
import io
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mcvar.__main__ import main
from tests.fuzz.profile import fuzz
from tests.fuzz.strategies import mostly


def smooth(x):
    """An integrand that the command line finds by name."""
    return np.exp(-(x**2).sum(axis=1))


def undefined(x):
    return np.full(len(x), np.nan)


HERE = "tests.fuzz.test_commands"
WORDS = st.one_of(
    st.sampled_from(
        ["", "-", "--", "-1", "0", "1", "nan", "inf", "1e400", "1,2", "a:b", "--json", "--n",
         "x" * 500, "os:system", "mcvar:estimate", f"{HERE}:np", "file.py:f", "/",
         "..", "\u00e9", "a\nb"]
    ),
    st.text(max_size=8),
)  # fmt: skip
FUNCTIONS = mostly(
    st.just(f"{HERE}:smooth"),
    st.one_of(WORDS, st.sampled_from([f"{HERE}:undefined", f"{HERE}:HERE", f"{HERE}:none"])),
)
BOXES = mostly(st.sampled_from(["--box=0,1", "--box=-inf,inf"]), WORDS.map(lambda w: f"--box={w}"))


def _run(arguments):
    """Return the exit status and what was printed; anything raised fails the test."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(arguments)
        except SystemExit as error:  # argparse prints a usage line, or help
            status = error.code
    assert status in (0, 2), (arguments, status)
    assert status == 0 or err.getvalue().strip(), arguments
    return status, out.getvalue()


@given(data=st.data())
@fuzz
def test_estimate(data):
    arguments = ["estimate", data.draw(FUNCTIONS)]
    where = data.draw(st.integers(0, 5))
    if where < 4:
        arguments += data.draw(st.lists(BOXES, min_size=1, max_size=3))
    else:
        arguments += [["--normal", "2"], ["--normal", data.draw(WORDS)]][where - 4]
    arguments += ["--n", data.draw(mostly(st.sampled_from(["100", "500"]), st.sampled_from(
        ["0", "-1", "nan", "inf", "1.5", "ten", "1e400"]
    )))]  # fmt: skip
    for option, usual in [
        ("--rtol", "0.1"), ("--atol", "0.1"), ("--sampler", "sobol"), ("--seed", "1"),
        ("--level", "0.9"),
    ]:  # fmt: skip
        if data.draw(st.integers(0, 4)) == 0:
            arguments += [option, data.draw(mostly(st.just(usual), WORDS))]
    for flag in ("--json", "--no-control", "--scalar", "--wrong"):
        if data.draw(st.integers(0, 9)) == 0:
            arguments.append(flag)
    _run(arguments)


@given(
    words=st.lists(WORDS, max_size=5), first=st.sampled_from(["estimate", "safety", "status", ""])
)
@fuzz
def test_anything(words, first):
    if words[:1] == ["run"]:
        return
    _run([first, *words])


@given(data=st.data())
@fuzz
def test_safety(data):
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "log.sqlite"
        other = data.draw(mostly(st.just(str(store)), WORDS))
        verb = data.draw(st.sampled_from(["estimate", "report", "replay", "export"]))
        rest = {
            "estimate": [],
            "report": [str(Path(folder) / "report.html")],
            "replay": [data.draw(WORDS), "--driver", data.draw(mostly(st.just("brisk"), WORDS))],
            "export": [str(Path(folder) / data.draw(st.sampled_from(["a.csv", "a.txt"])))],
        }[verb]
        content = data.draw(st.sampled_from([None, b"", b"SQLite format 3\0", b"\0" * 4096]))
        if content is not None:
            store.write_bytes(content)
        options = []
        if data.draw(st.booleans()) and verb in ("estimate", "report"):
            options = ["--control", data.draw(mostly(st.just("none"), WORDS))]
        _run(["safety", verb, other, *rest, *options])
