"""The guide's code works: its sampler and its control, with the tests it gives them."""

import doctest
import importlib.util
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

GUIDE = Path(__file__).parent.parent / "CONTRIBUTING.md"
BLOCKS = dict(
    re.findall(r"^```python\n# (\S+\.py)\n(.*?)^```$", GUIDE.read_text("utf-8"), re.M | re.S)
)


def load(path):
    """Run a block of the guide as the module it would be."""
    name = path.removesuffix(".py").replace("/", ".")
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(BLOCKS[path], f"CONTRIBUTING.md, {path}", "exec"), vars(module))
    return module


MODULES = {path: load(path) for path in BLOCKS}


def cases():
    """(test, arguments) of every test in the guide."""
    for module in MODULES.values():
        for name, test in vars(module).items():
            if not name.startswith("test_"):
                continue
            marks = getattr(test, "pytestmark", [])
            if not marks:
                yield pytest.param(test, {}, id=name)
            for mark in marks:
                argument, values = mark.args
                for value in values:
                    yield pytest.param(test, {argument: value}, id=f"{name}[{value}]")


def test_the_guide_has_one_of_each():
    assert [path.rpartition("/")[0] for path in BLOCKS] == [
        "mcvar/samplers",
        "tests/samplers",
        "mcvar/control",
        "tests/control",
    ]
    assert len(list(cases())) == 7


@pytest.mark.parametrize(("test", "arguments"), list(cases()))
def test_of_the_guide(test, arguments):
    test(**arguments)


@pytest.mark.parametrize("path", [path for path in BLOCKS if path.startswith("mcvar/")])
def test_examples_of_the_guide(path):
    tests = doctest.DocTestFinder(exclude_empty=True).find(MODULES[path])
    tests = [test for test in tests if test.examples]
    assert tests
    for test in tests:
        assert doctest.DocTestRunner().run(test).failed == 0


@pytest.mark.skipif(importlib.util.find_spec("ruff") is None, reason="needs the extra `lint`")
def test_the_guide_keeps_the_house_style(tmp_path):
    for path, source in BLOCKS.items():
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source, encoding="utf-8")
    config = GUIDE.with_name("pyproject.toml")
    for command in (["check", "--ignore=D1,I001"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, f"--config={config}", str(tmp_path)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
