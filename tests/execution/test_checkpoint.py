"""The file: what is in it is used or refused, and nothing in between."""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

import mcvar
from mcvar.execution import Checkpoint, fingerprint, read_progress
from mcvar.execution.codec import decode, encode
from tests.execution.problems import BOX, digest, smooth, two

ABOUT = {"integrand": "f", "seed": 1}


def run(path, integrand=smooth, **options):
    options = {"n": 4000, "sampler": "montecarlo", "rng": 7} | options
    return mcvar.estimate(integrand, BOX, checkpoint=path, **options)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "run.sqlite"


@given(
    st.dictionaries(
        st.text(max_size=5),
        arrays_of.arrays(
            st.sampled_from([np.float64, np.int64, np.bool_, np.float32, np.uint8]),
            arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
        ),
        max_size=4,
    )
)
def test_codec_gives_back_what_it_was_given(arrays):
    back = decode(encode(arrays))
    assert list(back) == list(arrays)
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_codec_refuses_other_bytes(blob):
    with pytest.raises((ValueError, TypeError)):
        decode(b"[]x" + blob)


def test_codec_takes_no_objects():
    with pytest.raises(TypeError, match="not plain data"):
        encode({"a": np.array([{}], dtype=object)})
    with pytest.raises(ValueError, match="not plain data"):
        decode(json.dumps([["a", "|O", [1]]]).encode() + b"\n" + bytes(8))


def test_results_come_back_in_another_process(file):
    kept = Checkpoint(file, "key", ABOUT)
    kept.put("here", (0, 256, 256), {"a": np.arange(3.0)})
    kept.report(done=7)
    kept.close()
    script = (
        "from mcvar.execution import Checkpoint\n"
        f"kept = Checkpoint({str(file)!r}, 'key', {{}})\n"
        "print(kept.get('here', (0, 256, 256)), kept.get('there', (0, 256, 256)), kept.about)"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "{'a': array([0., 1., 2.])} None {'integrand': 'f', 'seed': 1}"


def test_two_drivers(file):
    first = Checkpoint(file, "key", ABOUT)
    with pytest.raises(mcvar.CheckpointError, match="in use by another run"):
        Checkpoint(file, "key", ABOUT)
    assert read_progress(file).running
    first.close()
    assert not read_progress(file).running
    Checkpoint(file, "key", ABOUT).close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"integrand": two}, "integrand was 'tests.execution.problems:smooth'"),
        ({"rng": 8}, "seed was 7"),
        ({"sampler": "sobol"}, "sampler was 'montecarlo'"),
        ({"control": mcvar.control.Polynomial(1)}, "control was 'auto'"),
        ({"folds": 3}, "folds was 5"),
        ({"batch_size": 10}, "batch_size was None"),
    ],
)
def test_another_problem_is_refused(file, options, message):
    run(file)
    with pytest.raises(mcvar.CheckpointError, match=message):
        run(file, **options)
    assert digest(run(file)) == digest(
        mcvar.estimate(smooth, BOX, n=4000, sampler="montecarlo", rng=7)
    )


def test_changed_code_and_changed_data_are_another_problem(file):
    scale = np.ones(3)
    run(file, lambda x: smooth(x * scale))
    with pytest.raises(
        mcvar.CheckpointError, match="functions, or data that they hold, have changed"
    ):
        run(file, lambda x: smooth(x * scale) + 1)
    scale = np.full(3, 2.0)
    with pytest.raises(
        mcvar.CheckpointError, match="functions, or data that they hold, have changed"
    ):
        run(file, lambda x: smooth(x * scale))


def test_the_seed_is_that_of_the_run(file):
    first = run(file, rng=None)
    assert digest(run(file, rng=None)) == digest(first)


def test_other_files_are_left_alone(file):
    file.write_text("my thesis\n" * 100)
    with pytest.raises(mcvar.CheckpointError, match="is no checkpoint"):
        run(file)
    assert file.read_text() == "my thesis\n" * 100
    os.remove(file)
    other = sqlite3.connect(file)
    other.execute("CREATE TABLE mine (x)")
    other.commit()
    other.close()
    with pytest.raises(mcvar.CheckpointError, match="is no checkpoint"):
        run(file)


def test_places_that_cannot_be_written(tmp_path):
    with pytest.raises(mcvar.CheckpointError, match="is a directory"):
        run(tmp_path)
    with pytest.raises(mcvar.CheckpointError, match="cannot be"):
        run(tmp_path / "nowhere" / "run.sqlite")
    with pytest.raises(mcvar.CheckpointError, match="no checkpoint"):
        read_progress(tmp_path / "nothing.sqlite")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_directory(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(mcvar.CheckpointError, match="cannot be"):
        run(tmp_path / "run.sqlite")


def test_names_are_names(tmp_path):
    for name in ("a b?mode=ro&x%41#.sqlite", "-rf.sqlite", "file:x", "'; DROP TABLE task"):
        run(tmp_path / name)
        assert (tmp_path / name).is_file()


@pytest.mark.parametrize("seed", range(12))
def test_damaged_bytes_cost_the_rows_they_hit(file, seed):
    """Whatever is overwritten: the same estimate, or an error that says the file is beyond use."""
    expected = digest(run(file, batch_size=100))
    _checkpointed(file)
    data = bytearray(file.read_bytes())
    rng = np.random.default_rng(seed)
    if seed % 3 == 2:
        del data[int(rng.integers(len(data) // 4, len(data))) :]  # torn
    else:
        for _ in range(1 + seed):
            start = int(rng.integers(100, len(data) - 64))
            data[start : start + 64] = rng.bytes(64)
    file.write_bytes(bytes(data))
    try:
        assert digest(run(file, batch_size=100)) == expected
    except mcvar.CheckpointError as error:
        assert "Move it away" in str(error)  # noqa: PT017
        assert file.read_bytes() == bytes(data)


def test_a_changed_result_is_computed_again(file, caplog):
    expected = digest(run(file, batch_size=500))
    database = sqlite3.connect(file)
    (blob,) = database.execute("SELECT result FROM task LIMIT 1").fetchone()
    database.execute(
        "UPDATE task SET result = ? WHERE result = ?", (bytes([*blob[:-1], blob[-1] ^ 1]), blob)
    )
    database.commit()
    database.close()
    assert read_progress(file).damaged == 1
    assert digest(run(file, batch_size=500)) == expected
    assert "computed again" in caplog.text
    assert read_progress(file).damaged == 0


def _checkpointed(file: Path) -> None:
    """Have SQLite move its write-ahead log into the file."""
    database = sqlite3.connect(file)
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()


def test_fingerprints_are_the_same_in_every_process():
    script = """
import numpy as np, scipy.stats, mcvar
from mcvar.execution import fingerprint
from mcvar.integrate.problem import Problem
from mcvar.targets import as_target
from tests.execution.problems import smooth
a, names = np.arange(3.0), {"x", "y", "z"}
def closed(x): return -x[:, 0] ** 2 + a.sum() + len(names)
things = [smooth, closed, lambda x: x + 1, names, as_target(scipy.stats.gamma(2.5)),
          as_target([(0, 1), (0, np.inf)]), mcvar.samplers.Importance([scipy.stats.norm(2, 1)]),
          mcvar.control.Polynomial(2), mcvar.control.SteinKernel(),
          mcvar.Unnormalized(closed, proposal=scipy.stats.norm()),
          mcvar.targets.Normal(a)]
print(" ".join(fingerprint(thing) for thing in things))
"""
    root = Path(__file__).resolve().parents[2]
    digests = [
        subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=True,
            cwd=root,
            env=os.environ | {"PYTHONHASHSEED": seed},
        ).stdout.split()
        for seed in ("1", "2")
    ]
    assert digests[0] == digests[1]
    assert len(set(digests[0])) == len(digests[0])


def test_fingerprints_tell_apart():
    things = [
        1,
        1.0,
        True,
        "1",
        b"1",
        None,
        (1,),
        [1],
        {1: 1},
        np.ones(2),
        np.ones((2, 1)),
        np.ones(2, dtype=np.float32),
        lambda x: x,
        lambda x: x + 1,
        lambda x, y=1: x,
        mcvar.control.Polynomial(1),
        mcvar.control.Polynomial(2),
    ]
    assert len({fingerprint(thing) for thing in things}) == len(things)
    loop: list = []
    loop.append(loop)
    assert fingerprint(loop) == fingerprint(loop)
