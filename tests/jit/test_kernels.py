"""Every kernel, compiled and as Python, against its slow twin, on awkward memory layouts."""

import os
import subprocess
import sys

import numba
import numpy as np
import pytest
from scipy import stats

from mcvar._jit import montecarlo, nets, rows, separable
from mcvar.samplers import Lattice, Sobol, net_points
from mcvar.samplers.base import MOST_SIZE
from mcvar.samplers.lattice_vector import generating_vector
from mcvar.samplers.qmc import MOST_DIMENSIONS, scramble, sobol_columns
from mcvar.samplers.separable_map import SeparableMap
from mcvar.targets import as_target
from tests import naive


@numba.njit
def scalar(x):
    return np.exp(-x[0]) + 3.0 * x[1] * x[2]


def either(kernel, numpy=None):
    """The kernel compiled, and as plain Python (where its integer arithmetic must still wrap).

    And, where there is one, what NumPy does in its place.
    """
    forms = [pytest.param(kernel, id="compiled"), pytest.param(kernel.py_func, id="python")]
    return forms + ([] if numpy is None else [pytest.param(numpy, id="numpy")])


def layouts(shape, dtype=float):
    """Empty arrays of one shape: contiguous, Fortran, strided, transposed."""
    d, n = shape
    return {
        "contiguous": np.empty(shape, dtype),
        "fortran": np.empty(shape, dtype, order="F"),
        "strided": np.empty((2 * d, 3 * n), dtype)[::2, ::3],
        "transposed": np.empty((n, d), dtype).T,
    }


def read_only(array):
    view = array.view()
    view.flags.writeable = False
    return view


def words_of(seed):
    return np.random.SFC64(seed).state["state"]["state"].copy()


@pytest.mark.parametrize("kernel", either(montecarlo.fill_points))
@pytest.mark.parametrize("layout", ["contiguous", "fortran", "strided", "transposed"])
@pytest.mark.parametrize("n", [1, 64, 65, 200])
@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_fill_points_are_numpys_bits(kernel, layout, n):
    out = layouts((3, n))[layout]
    kernel(words_of(7), out)
    assert (naive.sfc64_uniforms(7, n, 3) == out.T).all()


def test_fill_points_advances_the_state():
    state = words_of(7)
    first, second = np.empty((3, 100)), np.empty((3, 50))
    montecarlo.fill_points(state, first)
    montecarlo.fill_points(state, second)
    assert (naive.sfc64_uniforms(7, 150, 3) == np.hstack([first, second]).T).all()


@pytest.mark.parametrize("form", ["compiled", "python"])
@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_fused_loop_agrees_with_numpy(form):
    loop = montecarlo.fused_loop(scalar, 3, False)
    loop = loop if form == "compiled" else loop.py_func
    low, side = np.array([0.0, -1.0, 2.0]), np.array([1.0, 2.0, 0.5])
    out = np.empty(1000)
    loop(words_of(3), read_only(low), read_only(side), out)
    x = low + side * naive.sfc64_uniforms(3, 1000, 3)
    np.testing.assert_allclose(out, [scalar.py_func(point) for point in x], rtol=1e-13)


def test_fused_loop_advances_the_state():
    loop = montecarlo.fused_loop(scalar, 3, True)
    whole, parts, state = np.empty(300), np.empty(300), words_of(3)
    loop(words_of(3), np.zeros(3), np.ones(3), whole)
    loop(state, np.zeros(3), np.ones(3), parts[:77])
    loop(state, np.zeros(3), np.ones(3), parts[77:])
    np.testing.assert_array_equal(whole, parts)


@pytest.mark.parametrize("form", ["compiled", "python"])
@pytest.mark.parametrize("layout", ["contiguous", "fortran", "strided", "transposed"])
def test_row_loop_agrees_point_by_point(form, layout):
    loop = rows.row_loop(scalar, 3)
    loop = loop if form == "compiled" else loop.py_func
    x = layouts((40, 3))[layout]
    x[:] = np.random.default_rng(1).random((40, 3))
    out = np.empty(40)
    loop(read_only(x).T, out)
    np.testing.assert_allclose(out, [scalar.py_func(row) for row in x], rtol=1e-15)


SOBOL = either(nets.fill_sobol, net_points.fill_sobol)


@pytest.mark.parametrize("fill", SOBOL)
@pytest.mark.parametrize("layout", ["contiguous", "fortran", "strided", "transposed"])
def test_sobol_with_identity_scramble_is_scipys(fill, layout):
    d, n = 5, 700
    columns = read_only(np.asfortranarray(sobol_columns(d) << np.uint64(32)))
    table = read_only(net_points.sobol_table(columns, read_only(np.zeros(d, np.uint64))))
    out = layouts((d, n))[layout]
    fill(columns, table, 0, out, out.view(np.uint64))
    np.testing.assert_array_equal(np.floor(out.T * 2**32), naive.sobol(d, n) * 2**32)


@pytest.mark.parametrize("fill", SOBOL)
@pytest.mark.parametrize("start", [0, 256, 4096, 2**16 + 256])
def test_sobol_starts_anywhere(fill, start):
    d, n = 3, 600
    columns = sobol_columns(d) << np.uint64(32)
    table = net_points.sobol_table(columns, np.zeros(d, np.uint64))
    out = np.empty((d, n))
    fill(columns, table, start, out, out.view(np.uint64))
    engine = naive.sobol(d, start + n)[start:]
    np.testing.assert_array_equal(np.floor(out.T * 2**32), engine * 2**32)


@pytest.mark.parametrize("last", [255, 256])
def test_sobol_ends_at_its_last_point(last):
    """By both ways, at the last blocks and where many dimensions are cut into groups."""
    columns, shift = scramble(sobol_columns(300), np.random.default_rng(1))
    table = net_points.sobol_table(columns, shift)
    ends = [np.empty((300, last)) for _ in range(2)]
    for fill, out in zip((nets.fill_sobol, net_points.fill_sobol), ends, strict=True):
        fill(columns, table, MOST_SIZE - 256, out, out.view(np.uint64))
    np.testing.assert_array_equal(*ends)


@pytest.mark.parametrize("d", [1, 2, 40])
def test_direction_numbers_are_scipys(d):
    engine = stats.qmc.Sobol(d, scramble=False, bits=32)
    points = (engine.random(1 << 12) * 2**32).astype(np.uint64)
    # In Gray-code order point 2^k is column k XOR column k − 1.
    columns = np.bitwise_xor.accumulate(points[1 << np.arange(12)])
    np.testing.assert_array_equal(sobol_columns(d)[:, :12], columns.T)


def test_direction_numbers_reach_all_columns_and_dimensions():
    """The last ones against SciPy's own, which it computes and does not document."""
    engine = stats.qmc.Sobol(MOST_DIMENSIONS, scramble=False, bits=32)
    found = sobol_columns(MOST_DIMENSIONS)
    assert found.shape == (MOST_DIMENSIONS, MOST_SIZE.bit_length() - 1)
    np.testing.assert_array_equal(np.asarray(engine._sv)[:, : found.shape[1]], found)


@pytest.mark.parametrize("kernel", either(nets.fill_lattice, net_points.fill_lattice))
@pytest.mark.parametrize("layout", ["contiguous", "fortran", "strided", "transposed"])
@pytest.mark.parametrize("start", [0, 512, 2**33 + 512])
@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_lattice_agrees_with_whole_numbers(kernel, layout, start):
    d, n = 4, 300
    vector = read_only(generating_vector(d))
    shift = read_only(np.random.default_rng(2).integers(0, 2**64, size=d, dtype=np.uint64))
    out = layouts((d, n))[layout]
    kernel(vector, shift, start, out, out.view(np.uint64))
    np.testing.assert_array_equal(out.T, naive.lattice(vector, shift, start, n))


@pytest.mark.parametrize("sampler", [Sobol(), Lattice()])
def test_points_are_the_same_before_and_after_kernels_pay(sampler, monkeypatch):
    seed = np.random.SeedSequence(1)
    points = []
    for made in (0, 2**60):
        monkeypatch.setattr("mcvar.samplers.kernels._made", made)
        stream = sampler.open(as_target([(0, 1)] * 7), 2**15, seed)
        points.append(np.concatenate([stream(0, 2**14).x, stream(2**14 + 10, 999).x]))
    np.testing.assert_array_equal(*points)


@pytest.mark.parametrize("kernel", either(separable.move_points))
@pytest.mark.parametrize("layout", ["contiguous", "fortran", "strided", "transposed"])
def test_separable_map_agrees_with_its_formula(kernel, layout):
    moved = SeparableMap(np.random.default_rng(4).uniform(0.1, 3, (3, 17)))
    u = layouts((3, 200))[layout]
    u[:] = np.random.default_rng(5).random((3, 200))
    u[:, 0], u[:, 1] = 2.0**-54, 1 - 2.0**-53
    x, weight = layouts((3, 200))[layout], np.empty((200, 2))[:, 0]
    kernel(read_only(moved._start), read_only(moved._slope), read_only(u), x, weight)
    expected = naive.separable_map(moved._start, moved._slope, u)
    np.testing.assert_allclose(x, expected[0], rtol=1e-13)
    np.testing.assert_allclose(weight, expected[1], rtol=1e-13)
    by_numpy = np.empty((3, 200)), np.empty(200)
    moved._move_points(u, *by_numpy)
    np.testing.assert_array_equal(x, by_numpy[0])
    np.testing.assert_array_equal(weight, by_numpy[1])


BOUNDS = """
import numba, numpy as np
from mcvar._jit import montecarlo, nets, rows, separable
from mcvar.samplers.lattice_vector import generating_vector
from mcvar.samplers.separable_map import SeparableMap

state = np.random.SFC64(1).state["state"]["state"].copy()
for n in (1, 63, 64, 257, 1000):
    out = np.empty((3, n))
    montecarlo.fill_points(state, out)
    f = numba.njit(lambda x: x[0] * x[2])
    montecarlo.fused_loop(f, 3, True)(state, np.zeros(3), np.ones(3), np.empty(n))
    rows.row_loop(f, 3)(out, np.empty(n))
    columns, words = np.ones((3, 30), np.uint64), out.view(np.uint64)
    nets.fill_sobol(columns, np.ones((3, 256), np.uint64), 2**20, out, words)
    nets.fill_lattice(generating_vector(3), np.zeros(3, np.uint64), 256, out, words)
    u = np.random.default_rng(1).random((3, n))
    u[:, 0] = 1 - 2.0**-53
    separable.move_points(*(getattr(SeparableMap(np.ones((3, 17))), a) for a in
                            ("_start", "_slope")), u, out, np.empty(n))
try:
    rows.row_loop(numba.njit(lambda x: x[5]), 3)(np.zeros((3, 2)), np.empty(2))
except IndexError:
    print("bounds were checked")
"""


def test_kernels_stay_inside_their_arrays(tmp_path):
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", BOUNDS], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "bounds were checked" in done.stdout
