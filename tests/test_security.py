"""What users give is data: never code, never another language, never another file."""

import ast
import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest

import mcvar
from mcvar import safety
from mcvar.__main__ import main
from mcvar.safety.overtaking import load_driver

ROOT = Path(mcvar.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
HOSTILE = "<script>alert(1)</script>\"'&"


def _calls(file):
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def _name(call):
    """Return "a.b" of a call to a.b, "b" where a is an expression."""
    function = call.func
    if isinstance(function, ast.Attribute):
        owner = function.value.id if isinstance(function.value, ast.Name) else ""
        return f"{owner}.{function.attr}"
    return function.id if isinstance(function, ast.Name) else ""


def _keywords(call):
    return {word.arg: word.value for word in call.keywords}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_sources_start_no_shell_and_run_no_data(file):
    for call in _calls(file):
        name, words, where = _name(call), _keywords(call), f"{file}:{call.lineno}"
        assert name not in ("eval", "exec", "compile", "__import__", "os.system", "os.popen"), where
        assert name not in ("yaml.load", "marshal.loads", "shelve.open", "joblib.load"), where
        assert "shell" not in words, where
        assert "allow_pickle" not in words, where
        if name in ("pickle.load", "numpy.load", "pandas.read_pickle"):
            pytest.fail(f"{where}: {name} reads a file that may hold code")
        if name == "np.load":  # without allow_pickle, of a file of SciPy's
            assert file.name == "qmc.py", where
        if name == "pickle.loads":
            # To and from worker processes, through pipes or shared memory, never from disk.
            assert file.name in ("workers.py", "executors.py", "failure.py"), where
        if name == "sqlite3.connect":
            assert "uri" not in words, where


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_statements_for_the_database_are_constants(file):
    """SQL is a constant or a name of one, never made of text under way; values go as parameters."""
    for call in _calls(file):
        if _name(call).rpartition(".")[2] not in ("execute", "executemany", "executescript"):
            continue
        assert isinstance(call.args[0], ast.Constant | ast.Name), f"{file}:{call.lineno}"


class Walk:
    """Crashes in half of its scenarios; its names and failures are those of an attacker."""

    version = HOSTILE
    state_names = (HOSTILE, "$\\frac{1}{$")

    def reset(self, rng):
        self._rng = rng
        return [0.0, 1.0]

    def step(self, action):
        if action == 0:
            raise RuntimeError(HOSTILE)
        return [1.0, 2.0], True, bool(self._rng.random() < 0.5)


def _campaign(store=None):
    proposal = safety.AdversarialProposal(
        lambda state: [0.4, 0.4, 0.2], [lambda state, a: 0.5 * (a == 1)], epsilon=0.5
    )
    return safety.Campaign(Walk(), proposal, store, seed=1)


def test_reports_show_text_as_text(tmp_path):
    campaign = _campaign(tmp_path / "log.sqlite")
    campaign.run(max_scenarios=20, progress=False)
    campaign.report(tmp_path / "report.html")
    campaign.close()
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "alert(1)" in page
    assert "<script" not in page
    assert 'script>"' not in page


@pytest.mark.parametrize(
    "name",
    [
        ":memory:",
        "file:other.sqlite?mode=memory",
        "-journal",
        "a'; DROP TABLE x; --",
        "a|b",
        "$HOME",
    ],
)
def test_a_log_is_in_the_file_of_its_name(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    campaign = _campaign(name)
    rate = campaign.run(max_scenarios=12, progress=False)
    campaign.close()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes().startswith(b"SQLite format 3\0")
    assert safety.estimate(name).value == rate.value


def test_what_a_simulator_says_is_stored_as_it_is(tmp_path):
    store = tmp_path / "log.sqlite"
    campaign = _campaign(store)
    campaign.run(max_scenarios=20, progress=False)
    campaign.close()
    connection = sqlite3.connect(store)
    errors = {row[0] for row in connection.execute("SELECT error FROM scenario")}
    connection.close()
    assert f"RuntimeError: {HOSTILE}" in errors


def test_a_table_of_somebody_else_runs_nothing(tmp_path):
    """A CSV holds numbers as JSON; what looks like code is an error."""
    campaign = _campaign(tmp_path / "log.sqlite")
    campaign.run(max_scenarios=6, progress=False)
    campaign.close()
    table = tmp_path / "log.csv"
    safety.export(tmp_path / "log.sqlite", table)
    told = table.read_text(encoding="utf-8").replace("[[0.0", '[[__import__(""os"").getcwd()')
    table.write_text(told, encoding="utf-8")
    with pytest.raises(safety.LogError, match="row 0"):
        safety.import_table(table, tmp_path / "again.sqlite")


@pytest.mark.parametrize("name", ["; rm -rf x", "$(id):driver", "-c:driver", "|cat:driver", "\n:x"])
def test_drivers_are_files_and_nothing_else(name):
    with pytest.raises(ValueError, match=r"expected path|no file"):
        load_driver(name)


@pytest.mark.parametrize("name", ["$(id):f", "os;system:f", "../x:f", "a b:f"])
def test_modules_on_the_command_line_are_names(name, capsys):
    assert main(["estimate", name, "--box=0,1"]) == 2
    assert "mcvar:" in capsys.readouterr().err


def test_the_programs_of_sumo_get_a_list_of_arguments(tmp_path):
    """Paths are arguments of their own after an option, so that none is taken for an option."""
    from mcvar.safety import sumo

    tree = ast.parse(Path(sumo.__file__).read_text(encoding="utf-8"))
    runs = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and _name(node) == "subprocess.run"
    ]
    assert runs
    assert all(isinstance(run.args[0], ast.List) for run in runs)
    # What users choose reaches SUMO as an attribute in a file, quoted as XML wants it.
    routes = sumo._routes({"carFollowModel": '"/><script x="'}, 1)
    from xml.etree import ElementTree

    (own, *_) = ElementTree.fromstring(routes).iter("vType")
    assert own.attrib["carFollowModel"] == '"/><script x="'


def test_subprocess_simulators_are_started_without_a_shell(tmp_path):
    marker = tmp_path / "marker"
    simulator = safety.SubprocessSimulator([f"nothing; touch {marker}"], timeout=5)
    with pytest.raises((OSError, ValueError, RuntimeError)):
        simulator.reset(np.random.default_rng(1))
    assert not marker.exists()
    with pytest.raises(TypeError, match="list"):
        safety.SubprocessSimulator(f"touch {marker}")


def test_json_of_the_command_line_is_json(capsys):
    assert main(["estimate", "numpy:sum", "--box=0,1", "--n", "100", "--json"]) in (0, 2)
    printed = capsys.readouterr().out
    if printed:
        json.loads(printed)
