"""Damaged and hand-made logs and tables: the same rate, or LogError; nothing destroyed."""

import contextlib
import csv
import json
import os
import re
import sqlite3
from pathlib import Path

import pytest

from mcvar import safety
from mcvar.__main__ import main
from mcvar.execution.store import digest
from mcvar.safety import rows
from mcvar.safety.log import Log, _owner
from mcvar.safety.table import export, import_table
from tests.execution import damage
from tests.safety.cases import Corridor, Distorted, proposal_of

FILES = Path(__file__).parent.parent / "files"
CHAIN = safety.GapChain()
TABLES = {
    "campaign": ("name", "value", "checksum"),
    "session": ("id", "started", "scenarios", "versions", "checksum"),
    "proposal": ("id", "first", "description", "checksum"),
    "scenario": (
        "id", "proposal", "component", "status", "crash", "decisions", "states", "actions",
        "taken", "time_to_collision", "seconds", "error", "checksum",
    ),
    "extent": ("id", "campaign", "session", "proposal", "scenario", "checksum"),
}  # fmt: skip
UPDATES = {
    (table, column): f"UPDATE {table} SET {column} = ? WHERE rowid = 2"
    for table, columns in TABLES.items()
    for column in columns
}
ROWS = {table: f"SELECT rowid, * FROM {table}" for table in TABLES}
SEALS = {table: f"UPDATE {table} SET checksum = ? WHERE rowid = ?" for table in TABLES}


def campaign_of(store, **options):
    return safety.Campaign(CHAIN, proposal_of(CHAIN, Distorted(CHAIN)), store, 7, **options)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A log of two sessions, two proposals and forty scenarios."""
    path = tmp_path_factory.mktemp("source") / "log.sqlite"
    for n in (25, 40):
        campaign = campaign_of(path, adapt=safety.Adaptation((20,)))
        campaign.run(max_scenarios=n, progress=False)
        campaign.close()
    assert os.listdir(path.parent) == ["log.sqlite"]
    return path


@pytest.fixture(scope="module")
def truth(source):
    return _seen(source)


def _seen(path):
    """Everything that a log says, but for times."""
    log = Log(path, create=False)
    try:
        proposals = [tuple(proposal) for proposal in log.proposals()]
        meta, sessions = log.meta(), log.sessions()
    finally:
        log.close()
    summary = safety.estimate(path, "value").summary()
    return json.dumps([summary, proposals, meta, [n for _, n, _ in sessions]])


@pytest.mark.parametrize("block", range(40 if damage.FULL else 4))
def test_no_flipped_bit_changes_a_rate(source, truth, tmp_path, block):
    """1,000 flips at full size."""
    path, sound = tmp_path / "log.sqlite", 0
    for seed in range(block * 25, (block + 1) * 25):
        damage.flipped(source, path, seed)
        with contextlib.suppress(safety.LogError, OSError):
            assert _seen(path) == truth, f"seed {seed}"
            sound += 1
    assert sound > 0


@pytest.mark.parametrize("place", range(16))
def test_a_bit_of_a_proposal_is_an_error(source, tmp_path, place):
    path = tmp_path / "log.sqlite"
    data = bytearray(source.read_bytes())
    start = data.find(b'"initial"')
    data[start + 20 + place] ^= 1
    path.write_bytes(data)
    with pytest.raises(safety.LogError, match=r"the checksum of proposal . does not match"):
        safety.estimate(path)


def _sealed(database):
    """Give every row the checksum that belongs to it."""
    owner = _owner(database.execute("SELECT * FROM campaign").fetchall())
    for table, statement in ROWS.items():
        of = "" if table in ("campaign", "extent") else owner
        for number, *row in database.execute(statement).fetchall():
            if table == "scenario":
                if not rows.have_kinds([row]):
                    continue
                (kept,) = rows.checksums(owner, [row])
            else:
                kept = digest(of, table, *row[:-1])
            database.execute(SEALS[table], (kept, number))


@contextlib.contextmanager
def _unguarded(source, path):
    with damage.changed(source, path) as database:
        triggers = database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        for (name,) in triggers.fetchall():
            statement = f"DROP TRIGGER {name}"
            database.execute(statement)
        yield database


@pytest.mark.parametrize(
    ("where", "number"),
    damage.chosen(damage.products(list(UPDATES), range(len(damage.ODD_VALUES))), 50, seed=3),
)
def test_rows_made_by_hand_are_used_or_refused(source, tmp_path, where, number):
    """Any value in any column, with the checksums that belong to it."""
    path = tmp_path / "log.sqlite"
    with (
        _unguarded(source, path) as database,
        contextlib.suppress(sqlite3.IntegrityError, TypeError),
    ):
        database.execute(UPDATES[where], (damage.ODD_VALUES[number],))
        _sealed(database)
    for call in (
        lambda: safety.estimate(path),
        lambda: number % 8 == 0 and main(["safety", "report", str(path), str(tmp_path / "a.html")]),
        lambda: export(path, tmp_path / "log.csv"),
        lambda: campaign_of(path, adapt=safety.Adaptation((20,))).close(),
    ):
        with contextlib.suppress(safety.LogError):
            call()


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE scenario SET crash = 7 WHERE id = 3", "outcome is 7"),
        ("UPDATE scenario SET crash = 1, status = 'failed' WHERE id = 3", "outcome is 1 with"),
        ("UPDATE scenario SET status = 'meh' WHERE id = 3", "expected one of ok, failed"),
        ("UPDATE scenario SET decisions = -2 WHERE id = 3", "-2 decisions"),
        ("UPDATE scenario SET decisions = 1099511627776 WHERE id = 3", "decisions; expected"),
        ("UPDATE scenario SET component = 5 WHERE id = 3", "component is 5 of 1"),
        ("UPDATE scenario SET proposal = 1 WHERE id = 3", "scenario 3 has proposal 1; expected 0"),
        (
            "UPDATE scenario SET proposal = 0 WHERE id = 30",
            "scenario 30 has proposal 0; expected 1",
        ),
        ("UPDATE scenario SET taken = zeroblob(length(taken)) WHERE id = 3", "scenario 3 has prob"),
        ("DELETE FROM scenario WHERE id > 30", "rows of"),
        ("DELETE FROM scenario WHERE id = 30", "scenario 30 is missing"),
        ("DELETE FROM proposal WHERE id = 1", "rows of"),
        ("DELETE FROM session WHERE id = 2", "rows of"),
        ("DELETE FROM extent", "row that counts its rows is missing"),
        (
            "UPDATE proposal SET description = json_set(description, '$.shares[0]', 7)",
            "expected shares of sum 1",
        ),
        (
            "UPDATE proposal SET description = json_set(description, '$.shares', json('[1.0]'))",
            "its shares are",
        ),
        ("UPDATE proposal SET description = json_set(description, '$.threshold', 2)", "threshold"),
        (
            "UPDATE proposal SET description = json_set(description, '$.initial.mean[0]', -1)",
            "initial mean",
        ),
        ("UPDATE campaign SET value = '5' WHERE name = 'state_names'", "state_names"),
    ],
)
def test_what_cannot_be_is_refused_by_name(source, tmp_path, statement, message):
    path = tmp_path / "log.sqlite"
    with _unguarded(source, path) as database:
        database.execute(statement)
        _sealed(database)
    with pytest.raises(safety.LogError, match=re.escape(message)):
        safety.estimate(path)


@pytest.mark.parametrize("number", range(len(damage.odd_schemas("scenario"))))
def test_views_triggers_and_other_tables_are_refused(source, tmp_path, number):
    path = tmp_path / "log.sqlite"
    with damage.changed(source, path) as database:
        database.executescript(damage.odd_schemas("scenario")[number])
    content = path.read_bytes()
    for call in (safety.estimate, campaign_of):
        with pytest.raises(safety.LogError):
            call(path)
    assert path.read_bytes() == content


def test_other_things_than_files_are_refused(tmp_path):
    for path in damage.odd_files(tmp_path):
        with pytest.raises(safety.LogError):
            safety.estimate(path)
        if not str(path).endswith("empty"):
            with pytest.raises(safety.LogError):
                campaign_of(path)


def test_links_to_one_file_are_one_file(tmp_path):
    path, soft, hard = (tmp_path / name for name in ("log.sqlite", "soft", "hard"))
    campaign_of(path).close()
    soft.symlink_to(path)
    os.link(path, hard)
    first, second, third = Log(path), Log(soft), Log(hard)
    with pytest.raises(safety.LogError, match="another name"), third.writing():
        pass
    hard.unlink()
    with first.writing(), pytest.raises(safety.LogError, match="in use"), second.writing():
        pass
    with second.writing():
        pass
    for log in (first, second, third):
        log.close()


@pytest.mark.skipif(os.name == "nt", reason="open files can be removed on POSIX")
def test_a_log_that_vanishes_is_reported(tmp_path):
    campaign = campaign_of(tmp_path / "log.sqlite")
    campaign.run(max_scenarios=10, progress=False)
    (tmp_path / "log.sqlite").unlink()
    with pytest.raises(OSError, match="was removed or replaced"):
        campaign.run(max_scenarios=20, progress=False)
    campaign.close()
    assert os.listdir(tmp_path) == []


def test_logs_of_version_0_1_0_are_read_and_not_continued(tmp_path):
    path, back = tmp_path / "log.sqlite", tmp_path / "back.sqlite"
    content = (FILES / "log-0.1.0.sqlite").read_bytes()
    path.write_bytes(content)
    rate = safety.estimate(path)
    assert rate.value == pytest.approx(2.6684353064399566e-05, rel=1e-9)
    assert rate.scenarios == 40
    assert rate.flagged("former-log")
    with pytest.raises(safety.LogError, match=r"written by mcvar 0\.1\.0.* export it"):
        campaign_of(path)
    for table in (tmp_path / "log.csv", FILES / "table-0.1.0.csv"):
        if table.parent == tmp_path:
            export(path, table)
        import_table(table, back)
        again = safety.estimate(back)
        assert not again.flagged("former-log")
        assert again.value == rate.value
        back.unlink()
    assert path.read_bytes() == content


@pytest.mark.parametrize("verb", ["report", "export"])
def test_an_output_that_is_the_log_is_refused(source, tmp_path, capsys, verb):
    path, link = tmp_path / "own.csv", tmp_path / "link.csv"
    path.write_bytes(source.read_bytes())
    link.symlink_to(path)
    for output in (path, link):
        assert main(["safety", verb, str(path), str(output)]) == 2
        assert "is the input" in capsys.readouterr().err
    assert path.read_bytes() == source.read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["link.csv", "own.csv"]


@pytest.mark.parametrize("verb", ["report", "export"])
def test_what_fails_leaves_the_former_file(source, tmp_path, capsys, verb):
    path, output = tmp_path / "log.sqlite", tmp_path / "out.csv"
    output.write_text("former")
    with _unguarded(source, path) as database:
        database.execute("UPDATE scenario SET seconds = 9 WHERE id = 39")
    assert main(["safety", verb, str(path), str(output)]) == 2
    assert "checksum of scenario 39" in capsys.readouterr().err
    assert output.read_text() == "former"
    assert sorted(os.listdir(tmp_path)) == ["log.sqlite", "out.csv"]


def _edited(lines, number):
    cells = next(csv.reader([lines[number]]))

    def with_cell(column, value):
        return [*cells[:column], value, *cells[column + 1 :]]

    return {
        "deep": with_cell(9, "[" * 100_000),
        "huge": with_cell(10, "[99999999999]"),
        "crash": with_cell(4, "2"),
        "status": with_cell(3, "meh"),
        "scenario": with_cell(0, "9" * 30),
        "gone": None,
        "short": cells[:4],
    }


@pytest.mark.parametrize("kind", ["deep", "huge", "crash", "status", "scenario", "gone", "short"])
@pytest.mark.parametrize("number", [5, 41])
def test_an_import_that_fails_leaves_no_log(source, tmp_path, kind, number):
    table, store = tmp_path / "log.csv", tmp_path / "log.sqlite"
    export(source, table)
    lines = table.read_text().splitlines(keepends=True)
    changed = _edited(lines, number)[kind]
    lines[number] = "" if changed is None else ",".join(f'"{c}"' for c in changed) + "\n"
    broken = tmp_path / "broken.csv"
    broken.write_text("".join(lines))
    with pytest.raises(safety.LogError):
        import_table(broken, store)
    broken.write_bytes(b"# \xff\xfe\n")
    with pytest.raises(safety.LogError):
        import_table(broken, store)
    assert sorted(os.listdir(tmp_path)) == ["broken.csv", "log.csv"]
    import_table(table, store)
    assert safety.estimate(store).value == safety.estimate(source).value
    assert sorted(os.listdir(tmp_path)) == ["broken.csv", "log.csv", "log.sqlite"]


class Formulaic(Corridor):
    """Fails with what a spreadsheet would compute, or a terminal obey."""

    version = "formulaic"
    texts = ("=cmd|' /C calc'!A0", "+1", "-1", "@SUM(1)", "'quoted", "\x1b[31mred", "\udc80")

    def reset(self, rng):
        self._text = self.texts[int(rng.integers(len(self.texts)))]
        return super().reset(rng)

    def step(self, action):
        raise type(self._text, (RuntimeError,), {})("at work")  # a name that begins the text


def test_texts_are_no_formulas_and_no_commands(tmp_path, capsys):
    store, table, back = (tmp_path / name for name in ("log.sqlite", "log.csv", "back.sqlite"))
    campaign = safety.Campaign(Formulaic(), proposal_of(CHAIN), store, 7)
    campaign.run(max_scenarios=60, progress=False)
    errors = [record.error for record in campaign._log.read()]
    campaign.close()
    assert main(["safety", "estimate", str(store)]) == 0
    assert "\x1b" not in capsys.readouterr().out
    export(store, table)
    with table.open(newline="") as file:
        next(file)
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    import_table(table, back)
    log = Log(back, create=False)
    assert [record.error for record in log.read()] == errors
    log.close()
