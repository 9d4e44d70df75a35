"""Random faults: nothing lost, nothing counted twice, and every wrong state is an error."""

import sys
from collections import Counter

import pytest

from tests.execution.faults import expected, fault_run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes and limits of POSIX")


@pytest.fixture(scope="module")
def truth():
    return expected()


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("seed", range(0, 30, 10))
def test_random_faults(seed, truth, tmp_path):
    """Ten runs each; `python -m benchmarks.scaling --faults 1000` has more."""
    happened = Counter()
    for run in range(seed, seed + 10):
        happened.update(fault_run(run, tmp_path, truth))
    assert len(happened) >= 4  # kinds of faults
