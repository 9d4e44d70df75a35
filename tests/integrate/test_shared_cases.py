"""The shared integration cases: every default estimate agrees with the exact value."""

import pytest

import mcvar
from benchmarks.problems import DATA, shared

CASES = shared()
# One false alarm in a thousand runs of all 30 cases, were replicate means normal.
LEVEL = 1 - 1e-3 / 30


@pytest.mark.skipif(not CASES, reason=f"no integration cases in {DATA}")
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_exact_value_is_covered(case, seed):
    est = mcvar.estimate(case.f, [(0, 1)] * case.d, n=4096, rng=seed)
    low, high = est.confidence_interval(LEVEL)
    assert low <= case.exact <= high
    assert est.n <= 4096


@pytest.mark.skipif(not CASES, reason=f"no integration cases in {DATA}")
@pytest.mark.parametrize("name", ["asian16", "asian64"])
def test_a_known_mean_helps_on_top_of_sobol(name):
    case = next(case for case in CASES if case.name == name)
    box, control = [(0, 1)] * case.d, mcvar.control.KnownMean(*case.control)
    without = mcvar.estimate(case.f, box, n=2**14, rng=1, sampler="sobol", control=None)
    with_it = mcvar.estimate(case.f, box, n=2**14, rng=1, sampler="sobol", control=control)
    assert with_it.standard_error < without.standard_error / 3
