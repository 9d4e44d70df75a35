"""What users' type checkers see through the lazy front, and what they catch."""

import importlib.util
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("user.py")
ROOT = Path(__file__).parents[2]


def test_the_script_runs():
    runpy.run_path(str(SCRIPT))


@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="needs the extra `lint`")
def test_the_script_checks_strictly():
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--config-file=",
            "--follow-imports=silent",
            f"--cache-dir={ROOT / '.mypy_cache' / 'users'}",
            str(SCRIPT),
        ],
        # The package in this tree, wherever an installed one may be.
        env={**os.environ, "MYPYPATH": str(ROOT)},
        cwd=SCRIPT.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
