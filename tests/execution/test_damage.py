"""Damaged and hand-made checkpoints: the same result, or CheckpointError; nothing destroyed."""

import contextlib
import json
import os
import sqlite3
import stat
from concurrent.futures import Executor, Future
from pathlib import Path

import numpy as np
import pytest

import mcvar
from mcvar.__main__ import main
from mcvar.execution import Checkpoint, read_progress, recover, status
from mcvar.execution.checkpoint import CHECKPOINT
from mcvar.execution.files import replacing
from mcvar.execution.lock import Lock, is_locked
from mcvar.execution.store import digest, expected_objects
from tests.execution import damage
from tests.execution.problems import BOX, smooth

FORMER = Path(__file__).parent.parent / "files" / "checkpoint-0.1.0.sqlite"
KEY = "key"
PLACES = [(0, start, 10) for start in range(0, 200, 10)]


def arrays(place):
    return {"learned": np.array(place), "mean": np.arange(30.0) + place[1]}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A checkpoint of twenty rows, of one file."""
    path = tmp_path_factory.mktemp("source") / "run.sqlite"
    with contextlib.closing(Checkpoint(path, KEY, {"seed": 1, "integrand": "f"})) as kept:
        for place in PLACES:
            kept.put("here", place, arrays(place))
        kept.report(state="running", done=200, seconds=1.0)
    assert os.listdir(path.parent) == ["run.sqlite"]
    return path


def resumed(path, key=KEY):
    """Return the number of rows read; the others are computed again."""
    with contextlib.closing(Checkpoint(path, key, {"seed": 1, "integrand": "f"})) as kept:
        read = 0
        for place in PLACES:
            found = kept.get("here", place)
            if found is not None:
                read += 1
                for name, array in arrays(place).items():
                    np.testing.assert_array_equal(found[name], array)
            else:
                kept.put("here", place, arrays(place))
    return read


@pytest.mark.parametrize("block", range(40 if damage.FULL else 4))
def test_no_flipped_bit_changes_a_result(source, tmp_path, block):
    """2,000 flips at full size, half of them under another key: another function's results."""
    read = 0
    for seed in range(block * 25, (block + 1) * 25):
        path = tmp_path / f"{seed}.sqlite"
        damage.flipped(source, path, seed)
        try:
            read += resumed(path)
        except mcvar.CheckpointError as error:
            assert "damaged" in str(error) or "format" in str(error)  # noqa: PT017
        damage.flipped(source, path, seed)
        with pytest.raises(mcvar.CheckpointError):
            resumed(path, "another key")
        for left in tmp_path.iterdir():
            left.unlink()
    assert read > 10 * len(PLACES)


@pytest.mark.parametrize("seed", range(20))
def test_a_bit_of_its_identity_does_not_let_another_problem_in(source, tmp_path, seed):
    path = tmp_path / "run.sqlite"
    data = bytearray(source.read_bytes())
    rng = np.random.default_rng(seed)
    start = data.find(b'{"key": "')
    data[start + int(rng.integers(40))] ^= 1 << int(rng.integers(8))
    path.write_bytes(data)
    for key in (KEY, "another key"):
        with pytest.raises(mcvar.CheckpointError, match="damaged"):
            resumed(path, key)
    with damage.changed(source, path) as database:
        database.execute("DELETE FROM meta")
    with pytest.raises(mcvar.CheckpointError, match="which problem it belongs to is missing"):
        resumed(path, "another key")


def _signed(database, table, column, value):
    """Write a value into a row, and the digest that belongs to it."""
    if table == "meta":
        database.execute("UPDATE meta SET value = ? WHERE name = 'run'", (value,))
        kept = digest("", "meta", "run", value)
        database.execute("UPDATE meta SET digest = ? WHERE name = 'run'", (kept,))
        return
    statement = "UPDATE task SET " + column + " = ? WHERE start = 50"
    database.execute(statement, (value,))
    for number, *row in database.execute("SELECT rowid, * FROM task").fetchall():
        kept = digest(KEY, "task", *row[:-1])
        database.execute("UPDATE task SET digest = ? WHERE rowid = ?", (kept, number))


TASK = ("context", "replicate", "start", "count", "result", "digest")


@pytest.mark.parametrize(
    ("table", "column", "number"),
    damage.chosen(
        [("meta", "value", i) for i in range(len(damage.ODD_VALUES))]
        + damage.products(["task"], TASK, range(len(damage.ODD_VALUES))),
        60,
    ),
)
def test_rows_made_by_hand_are_used_or_refused(source, tmp_path, table, column, number):
    path, value = tmp_path / "run.sqlite", damage.ODD_VALUES[number]
    with (
        damage.changed(source, path) as database,
        contextlib.suppress(sqlite3.IntegrityError, TypeError),
    ):
        _signed(database, table, column, value)
    for call in (lambda: status.as_text("run", read_progress(path)), lambda: _computed(path)):
        with contextlib.suppress(mcvar.CheckpointError):
            call()


def _computed(path):
    with contextlib.closing(Checkpoint(path, KEY, {"seed": 1, "integrand": "f"})) as kept:
        for place in PLACES:
            kept.get("here", place)


@pytest.mark.parametrize("number", range(len(damage.odd_schemas("task"))))
def test_views_triggers_and_other_tables_are_refused(source, tmp_path, number):
    path = tmp_path / "run.sqlite"
    with damage.changed(source, path) as database:
        database.executescript(damage.odd_schemas("task")[number])
    content = path.read_bytes()
    for call in (resumed, read_progress):
        with pytest.raises(mcvar.CheckpointError):
            call(path)
    assert path.read_bytes() == content


def test_other_things_than_files_are_refused(tmp_path):
    for path in damage.odd_files(tmp_path):
        if str(path).endswith("empty"):
            continue
        with pytest.raises(mcvar.CheckpointError):
            resumed(path)
        with pytest.raises(mcvar.CheckpointError):
            read_progress(path)


def test_rows_that_are_no_results_are_refused_with_their_place(tmp_path):
    path = tmp_path / "run.sqlite"
    options = {"n": 2000, "sampler": "montecarlo", "rng": 7}
    mcvar.estimate(smooth, BOX, checkpoint=path, **options)
    database = sqlite3.connect(path, isolation_level=None)
    (key,) = database.execute("SELECT json_extract(value, '$.key') FROM meta").fetchone()
    for number, *row in database.execute("SELECT rowid, * FROM task").fetchall():
        row[4] = b'[["n","<i8",[1]]]\n' + bytes(8)
        kept = digest(key, "task", *row[:5])
        database.execute(
            "UPDATE task SET result = ?, digest = ? WHERE rowid = ?", (row[4], kept, number)
        )
    database.close()
    with pytest.raises(mcvar.CheckpointError, match=r"row \(0, 0, .* is sound, and no result"):
        mcvar.estimate(smooth, BOX, checkpoint=path, **options)


def test_recovery_keeps_permissions_and_files_that_it_did_not_make(source, tmp_path):
    path, mine = tmp_path / "run.sqlite", tmp_path / "run.sqlite.recovered"
    mine.write_text("mine")
    data = bytearray(source.read_bytes())
    data[-4096 : -4096 + 60] = bytes(60)
    path.write_bytes(data)
    path.chmod(0o600)
    read = resumed(path)
    assert 0 < read < len(PLACES)
    assert mine.read_text() == "mine"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (tmp_path / "run.sqlite.damaged-1").read_bytes() == bytes(data)
    assert sorted(os.listdir(tmp_path)) == [
        "run.sqlite", "run.sqlite.damaged-1", "run.sqlite.recovered"
    ]  # fmt: skip
    assert resumed(path) == len(PLACES)


def test_recovery_on_demand(source, tmp_path, capsys):
    path = tmp_path / "run.sqlite"
    data = bytearray(source.read_bytes())
    data[-4096 : -4096 + 60] = bytes(60)
    path.write_bytes(data)
    assert main(["recover", str(path)]) == 0
    assert "results are in" in capsys.readouterr().out
    assert read_progress(path).damaged == 0
    with pytest.raises(mcvar.CheckpointError, match="there is no checkpoint"):
        recover(tmp_path / "none.sqlite")
    path.write_bytes(b"x" * 5000)
    with pytest.raises(mcvar.CheckpointError, match="cannot be recovered"):
        recover(path)


def test_damage_to_large_files_is_an_error_at_once(source, tmp_path):
    """Where no row can be read, nothing is searched: the file is never read through."""
    path = tmp_path / "run.sqlite"
    for start, end in ((0, 100), (100, 3000)):
        path.write_bytes(source.read_bytes())
        with path.open("r+b") as file:
            file.seek(start)
            file.write(bytes(end - start))
            file.truncate(5 * 2**30)
        with pytest.raises(mcvar.CheckpointError):
            resumed(path)
        assert os.listdir(tmp_path) == ["run.sqlite"]


def test_checkpoints_of_version_0_1_0_are_refused(tmp_path):
    path = tmp_path / "run.sqlite"
    path.write_bytes(FORMER.read_bytes())
    for call in (resumed, read_progress):
        with pytest.raises(mcvar.CheckpointError, match=r"format 1; this version .* format 2"):
            call(path)
    assert path.read_bytes() == FORMER.read_bytes()
    assert os.listdir(tmp_path) == ["run.sqlite"]


def test_names_are_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (":memory:", "file:a.sqlite", "file:b?mode=memory&x=", "c.sqlite#frag", "d%41"):
        assert resumed(name) == 0
        assert resumed(name) == len(PLACES)
        assert Path(name).is_file()
    assert len(os.listdir(tmp_path)) == 5


def test_links_to_one_file_are_one_file(tmp_path):
    path, soft, hard = (tmp_path / name for name in ("run.sqlite", "soft", "hard"))
    soft.symlink_to(path)
    assert resumed(soft) == 0
    first = Checkpoint(path, KEY, {"seed": 1, "integrand": "f"})
    try:
        os.link(path, hard)
        for name, message in ((soft, "in use"), (hard, "another name"), (path, "in use")):
            with pytest.raises(mcvar.CheckpointError, match=message):
                resumed(name)
        assert read_progress(soft).running
    finally:
        hard.unlink()
        first.close()
    assert not read_progress(soft).running
    assert resumed(path) == len(PLACES)


@pytest.mark.parametrize("seed", [872])
def test_row_numbers_beyond_reason_do_not_stop_a_recovery(source, tmp_path, seed):
    path = tmp_path / "run.sqlite"
    damage.flipped(source, path, seed)
    assert 0 <= resumed(path) <= len(PLACES)


def test_a_lock_that_nobody_holds_any_more_is_free(tmp_path):
    first = Lock(tmp_path / "run")
    with pytest.raises(BlockingIOError):
        Lock(tmp_path / "run")
    del first
    second = Lock(tmp_path / "run")
    second.release()
    third = Lock(tmp_path / "run")
    second.release()
    assert is_locked(tmp_path / "run")
    third.release()
    assert not is_locked(tmp_path / "run")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.name == "nt", reason="open files can be removed on POSIX")
def test_a_file_that_vanishes_is_reported(tmp_path):
    path = tmp_path / "run.sqlite"
    kept = Checkpoint(path, KEY, {})
    kept.put("here", PLACES[0], arrays(PLACES[0]))
    path.unlink()
    with pytest.raises(mcvar.CheckpointError, match="was removed or replaced"):
        _put_all(kept)
    with pytest.raises(mcvar.CheckpointError, match="was removed or replaced"):
        kept.close()
    assert not path.with_name("run.sqlite.lock").exists()


def _put_all(kept):
    for place in PLACES[1:]:
        kept.put("here", place, arrays(place))
    kept.settle(now=True)


def test_two_tables_never_share_a_digest():
    rows = [
        ("o", "task", "a", 1, b"xy"), ("o", "task", "a", 1, b"xz"), ("o", "task", "a", 1.0, b"xy"),
        ("p", "task", "a", 1, b"xy"), ("o", "meta", "a", 1, b"xy"), ("o", "task", "a", "1", b"xy"),
        ("o", "task", "a", 1, b"x", b"y"), ("o", "task", "a", 1, "xy"), ("o", "task", "a", None),
    ]  # fmt: skip
    assert len({digest(*row) for row in rows}) == len(rows)
    assert len(expected_objects(CHECKPOINT.schema)) == 4  # two tables and their indices


def test_terminal_escapes_are_shown_not_obeyed(tmp_path, capsys):
    path = tmp_path / "run.sqlite"
    Checkpoint(path, KEY, {"integrand": "\x1b[31mred\u202e", "target": "\x07"}).close()
    assert main(["status", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "\\x1b[31mred\\u202e" in shown
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)
    assert main(["status", str(tmp_path / "\x1b[2J")]) == 2
    assert "\x1b" not in capsys.readouterr().err


def _write_half(path):
    with replacing(path) as fresh:
        fresh.write_text("half")
        raise RuntimeError


def test_outputs_replace_a_file_whole_or_not_at_all(tmp_path):
    path, link = tmp_path / "out", tmp_path / "link"
    path.write_text("former")
    path.chmod(0o640)
    link.symlink_to(path)
    with pytest.raises(RuntimeError):
        _write_half(link)
    assert path.read_text() == "former"
    with replacing(link) as fresh:
        fresh.write_text("whole")
    assert path.read_text() == "whole"
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    with pytest.raises(ValueError, match="is the input"), replacing(link, path):
        pass
    assert sorted(os.listdir(tmp_path)) == ["link", "out"]


class Confused(Executor):
    """Answers every task but the first with the result of the one before."""

    _max_workers = 1

    def __init__(self, answer):
        self._answer, self._last = answer, None

    def submit(self, function, *args):
        future: Future = Future()
        result = function(*args)
        future.set_result(self._answer(result, self._last or result))
        self._last = result
        return future


@pytest.mark.parametrize(
    "answer", [lambda own, last: last, lambda own, last: None, lambda own, last: own[1]]
)
def test_an_executor_that_confuses_tasks_is_found_out(answer):
    with pytest.raises(TypeError, match=r"the executor answered draws .* expected the result"):
        mcvar.estimate(
            smooth, BOX, n=2000, sampler="montecarlo", rng=7, executor=Confused(answer),
            batch_size=500,
        )  # fmt: skip


def test_the_run_row_is_plain_json(source):
    database = sqlite3.connect(source)
    (text,) = database.execute("SELECT value FROM meta WHERE name = 'run'").fetchone()
    database.close()
    assert json.loads(text)["key"] == KEY
