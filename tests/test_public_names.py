"""Every public name has an example that runs, and a place in the API reference."""

import doctest
import importlib
import inspect
from pathlib import Path

import pytest

import mcvar

ROOT = Path(__file__).parent.parent


def public_modules(name="mcvar"):
    """The package, and the modules that it and they list."""
    module = importlib.import_module(name)
    yield module
    for listed in getattr(module, "__all__", ()):
        if inspect.ismodule(getattr(module, listed)):
            yield from public_modules(f"{name}.{listed}")


def public_names():
    """(module, name, object) of every public class and function, each once."""
    found = {}
    for module in public_modules():
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isroutine(value):
                found.setdefault(id(value), (module.__name__, name, value))
    return list(found.values())


NAMES = [pytest.param(*found, id=".".join(found[:2])) for found in public_names()]


def test_the_walk_finds_what_it_should():
    found = {f"{module}.{name}" for module, name, _ in public_names()}
    assert {
        "mcvar.estimate",
        "mcvar.control.KnownMean",
        "mcvar.control.kernels.Gaussian",
        "mcvar.safety.overtaking.crude_run",
        "mcvar.plot.forest",
    } <= found


@pytest.mark.parametrize(("module", "name", "value"), NAMES)
def test_it_has_an_example(module, name, value):
    examples = doctest.DocTestParser().get_examples(inspect.getdoc(value) or "")
    assert examples, f"{module}.{name} has no example in its docstring"
    # ... that shows something: an output, or the error it raises.
    assert any(example.want for example in examples)


@pytest.mark.parametrize(("module", "name", "value"), NAMES)
def test_its_methods_are_described(module, name, value):
    if not inspect.isclass(value):
        return
    bare = [
        attribute
        for attribute, member in vars(value).items()
        if not attribute.startswith("_")
        and isinstance(member, property | staticmethod | classmethod) | inspect.isfunction(member)
        and not inspect.getdoc(getattr(value, attribute))
    ]
    assert not bare, f"{module}.{name} does not describe {bare}"


def test_the_reference_lists_every_public_name():
    listed = (ROOT / "docs" / "api.rst").read_text(encoding="utf-8")
    words = {line.strip().rpartition(".")[2] for line in listed.splitlines()}
    missing = [f"{module}.{name}" for module, name, _ in public_names() if name not in words]
    assert not missing, f"docs/api.rst does not list {missing}"


def test_what_the_front_lists_resolves_lazily():
    assert set(mcvar._HOME) | set(mcvar._MODULES) | {"__version__"} >= set(mcvar.__all__)
