"""Numba's cache: kernels compile without a place for it, and with damage in it."""

import os
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np

from mcvar._jit import kernel

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import numpy as np
from mcvar._jit.montecarlo import fill_points
out = np.empty((2, 100))
fill_points(np.arange(1, 5, dtype=np.uint64), out)
print(out.sum())
"""


def _run(cache):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, cwd=ROOT, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_damaged_cache_is_made_anew(tmp_path):
    first = _run(tmp_path)
    files = sorted(path for path in tmp_path.rglob("*") if path.suffix in (".nbi", ".nbc"))
    assert files
    for number, path in enumerate(files):
        path.write_bytes((b"", b"garbage", path.read_bytes()[:40])[number % 3])
    assert _run(tmp_path) == first
    assert any(path.stat().st_size > 100 for path in tmp_path.rglob("*.nbi"))


def test_kernels_compile_where_there_is_no_place_for_a_cache(monkeypatch):
    def nowhere(self):
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr(type(numba.njit(lambda x: x)), "enable_caching", nowhere)

    @kernel(nogil=True)
    def double(x):
        return 2 * x

    np.testing.assert_array_equal(double(np.arange(3.0)), [0.0, 2.0, 4.0])


def test_a_full_disk_is_no_error(monkeypatch):
    from numba.core.caching import FunctionCache

    def full(self, signature, code):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FunctionCache, "save_overload", full)

    @kernel()
    def triple(x):
        return 3 * x

    assert triple(2.0) == 6.0
