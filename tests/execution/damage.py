"""Files with one bit flipped, or made by hand, and what may come of them."""

import contextlib
import itertools
import json
import os
import shutil
import sqlite3

import numpy as np

FULL = os.environ.get("MCVAR_FUZZ", "quick") == "full"


def flipped(source, target, seed):
    """Copy a file with one bit of one byte turned over."""
    rng = np.random.default_rng(seed)
    data = bytearray(source.read_bytes())
    data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
    target.write_bytes(data)


@contextlib.contextmanager
def changed(source, target):
    """Copy a database, and yield a connection that may change anything in the copy."""
    for suffix in ("-wal", "-shm", "-journal"):
        target.with_name(target.name + suffix).unlink(missing_ok=True)
    shutil.copy(source, target)
    database = sqlite3.connect(target, isolation_level=None)
    try:
        yield database
    finally:
        database.close()


ODD_VALUES = (
    None, -1, 0, 1, 3, 2**62, -(2**62), 1.5, float("inf"), 1e308, "", "x", "{", "[" * 100_000,
    "null", "5", '"text"', "[1, 2]", "{}", '{"key": 1, "about": {}}', b"", b"x", bytes(64),
    b'[["a","<f8",[3]]]\n' + bytes(24), b'[["a","|O",[1]]]\n' + bytes(8),
    b'[["n","<f8",[-1]]]\n', b'[["n","<f8",[1000000000000]]]\n', b"[" * 100_000 + b"\n",
    b'[["learned","<i8",[3]]]\n' + bytes(24), b"5\n", b"{}\n", b'[["a","f8,O",[1]]]\n',
)  # fmt: skip


def odd_schemas(table):
    """Statements that make a file with our header something else."""
    return [
        f"CREATE TRIGGER t AFTER INSERT ON {table} BEGIN DELETE FROM {table}; END",
        f"CREATE TRIGGER t BEFORE INSERT ON {table} BEGIN SELECT RAISE(IGNORE); END",
        f"DROP TABLE {table}",
        f"ALTER TABLE {table} ADD COLUMN extra",
        "CREATE TABLE mine (x)",
        f"CREATE INDEX i ON {table} (rowid)" if table == "none" else "CREATE VIEW v AS SELECT 1",
        f"DROP TABLE {table}; CREATE VIEW {table} AS WITH RECURSIVE r(n) AS "
        "(SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n, n, n, n, n, n FROM r",
        "PRAGMA user_version = 99",
        "PRAGMA user_version = 0",
        "PRAGMA application_id = 7",
        "PRAGMA application_id = 0",
    ]


def odd_files(folder):
    """Things that are no file of ours, by name."""
    texts = {
        "empty": b"", "text": b"my thesis\n" * 100, "header": b"SQLite format 3\0",
        "zeros": bytes(65_536), "page": b"SQLite format 3\0" + bytes(4_080),
        "json": json.dumps({"key": 1}).encode(), "nul": b"\0",
    }  # fmt: skip
    for name, content in texts.items():
        (folder / name).write_bytes(content)
    os.mkdir(folder / "directory")
    os.symlink(folder / "loop", folder / "loop")
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe")
    return [*(folder / name for name in (*texts, "directory", "loop", "pipe")), "a\0b", "x" * 3000]


def chosen(cases, quick, seed=0):
    """All cases, or a few of them that are always the same."""
    cases = list(cases)
    if FULL or len(cases) <= quick:
        return cases
    picked = np.random.default_rng(seed).choice(len(cases), quick, replace=False)
    return [cases[int(i)] for i in sorted(picked)]


def products(*parts):
    return list(itertools.product(*parts))
