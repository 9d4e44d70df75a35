"""The command line, as a shell sees it."""

import json
import subprocess
import sys

import pytest

MODULE = """
import numpy as np, numba, scipy.stats
def f(x): return np.exp(-(x**2).sum(axis=1))
def two(x): return np.stack([x[:, 0], x[:, 0] ** 2], axis=1)
def one(x): return float(x[0] ** 2)
def nan(x): return x[:, 0] * np.nan
def huge(x): return x[:, 0] * 1e300
compiled = numba.njit(lambda x: x[0] ** 2)
target = [scipy.stats.gamma(2)]
constant = 3
"""


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shell")
    (folder / "mine.py").write_text(MODULE)
    (folder / "bare.py").write_text("def f(x): return x[:, 0]\n")

    def run(*arguments):
        command = [sys.executable, "-m", "mcvar", *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=folder)

    return run


def test_json(shell):
    done = shell(
        "estimate",
        "mine:f",
        "--box=0,1",
        "--box=-inf,inf",
        "--n",
        "1e4",
        "--seed",
        "3",
        "--json",
        "--level",
        "0.99",
    )
    assert done.returncode == 0, done.stderr
    fields = json.loads(done.stdout)
    assert fields["low"] < 0.746824 * 3.14159265**0.5 < fields["high"]
    assert fields["seed"] == 3
    assert fields["n"] <= 10_000
    assert fields["status"] == "completed"
    again = shell(
        "estimate",
        "mine:f",
        "--box=0,1",
        "--box=-inf,inf",
        "--n",
        "1e4",
        "--seed",
        "3",
        "--json",
        "--level",
        "0.99",
    )
    assert again.stdout == done.stdout


def test_text_shows_the_interval(shell):
    done = shell(
        "estimate",
        "mine:two",
        "--target",
        "mine:target",
        "--seed",
        "1",
        "--level",
        "0.9",
        "--sampler",
        "montecarlo",
        "--no-control",
        "--rtol",
        "0.1",
    )
    assert done.returncode == 0, done.stderr
    assert "Estimate([" in done.stdout
    assert "0.9 interval" in done.stdout
    assert "sampler: montecarlo" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("mine:one", "--normal", "2", "--scalar", "--n", "1000"),
        ("mine:compiled", "--normal", "2", "--n", "1000"),
    ],
)
def test_forms(shell, arguments):
    done = shell("estimate", *arguments, "--json", "--seed", "1")
    assert done.returncode == 0, done.stderr
    assert abs(json.loads(done.stdout)["value"] - 1) < 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("estimate", "mine:f", "--box=1,0"), "low < high"),
        (("estimate", "mine:f", "--box=1"), "LOW,HIGH"),
        (("estimate", "mine:f", "--normal", "0"), "at least one dimension"),
        (("estimate", "mine", "--normal", "1"), "module:name"),
        (("estimate", "mine:g", "--normal", "1"), "has no 'g'"),
        (("estimate", "nowhere:g", "--normal", "1"), "nowhere"),
        (("estimate", "mine:constant", "--normal", "1"), "must be a function"),
        (("estimate", "mine:nan", "--normal", "1"), "returned nan"),
        (("estimate", "mine:huge", "--normal", "1"), "overflows"),
        (("estimate", "mine:f", "--normal", "1", "--sampler", "soboll"), "did you mean 'sobol'"),
        (("estimate", "mine:f", "--normal", "1", "--level", "95", "--n", "100"), "between 0 and 1"),
        (
            ("estimate", "mine:f", "--normal", "1", "--level", "95", "--n", "100", "--json"),
            "between 0 and 1",
        ),
        (("estimate", "bare:f"), "give --box, --normal or --target"),
        (("status", "nowhere.sqlite"), "no checkpoint"),
        (("status", "mine.py"), "cannot be read as a checkpoint"),
        (("estimat",), "invalid choice"),
    ],
)
def test_errors_are_one_line_and_status_2(shell, arguments, message):
    done = shell(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_help(shell):
    assert "python -m mcvar estimate" in shell().stdout
    assert "--box" in shell("estimate", "--help").stdout


def test_a_checkpoint_is_gone_on_with_and_shown(shell):
    first = shell("estimate", "mine:f", "--rtol", "1e-3", "--checkpoint", "run.sqlite", "--json")
    assert first.returncode == 0, first.stderr
    again = shell("estimate", "mine:f", "--rtol", "1e-6", "--checkpoint", "run.sqlite", "--json")
    before, after = json.loads(first.stdout), json.loads(again.stdout)
    assert after["seed"] == before["seed"]
    assert after["n"] > before["n"]
    shown = json.loads(shell("status", "run.sqlite", "--json").stdout)
    assert shown["state"] == "converged"
    assert shown["value"] == [after["value"]]
    text = shell("status", "run.sqlite").stdout
    assert "mine:f" in text
    assert f"{after['n']:,} evaluations" in text
    other = shell("estimate", "mine:one", "--rtol", "1e-3", "--checkpoint", "run.sqlite")
    assert other.returncode == 2
    assert "another problem" in other.stderr
