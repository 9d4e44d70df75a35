"""POT, and rational arithmetic, as oracles of the one-dimensional costs."""

import sys
from pathlib import Path

import numpy as np
import ot
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mcvar
from mcvar.sliced import max_sliced_wasserstein_distance, sliced_wasserstein_distance
from mcvar.sliced.projection import Pair, as_cloud

sys.path.insert(0, str(Path(__file__).parents[1]))
import naive_sliced


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    n=st.integers(1, 60),
    m=st.integers(1, 60),
    d=st.integers(1, 8),
    p=st.sampled_from([1, 1.5, 2, 3, 4.25]),
    weighted=st.tuples(st.booleans(), st.booleans()),
    duplicates=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_same_numbers_as_pot(n, m, d, p, weighted, duplicates, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, d)), rng.normal(0.3, 1.5, size=(m, d))
    if duplicates:
        x, y = np.round(x), np.round(y)
    a = rng.dirichlet(np.ones(n)) if weighted[0] else None
    b = rng.dirichlet(np.ones(m)) if weighted[1] else None
    options = {"a": a, "b": b, "n_projections": 7, "p": p, "seed": seed, "log": True}
    theirs, their_log = ot.sliced_wasserstein_distance(x, y, **options)
    ours, our_log = sliced_wasserstein_distance(x, y, **options)
    np.testing.assert_array_equal(our_log["projections"], their_log["projections"])
    scale = max(1.0, their_log["projected_emds"].max())
    np.testing.assert_allclose(
        our_log["projected_emds"], their_log["projected_emds"], rtol=1e-10, atol=1e-12 * scale
    )
    np.testing.assert_allclose(ours**p, theirs**p, rtol=1e-10, atol=1e-12 * scale)


def test_random_state_and_given_projections_as_in_pot():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 4)), rng.normal(size=(20, 4))
    ours = sliced_wasserstein_distance(x, y, seed=np.random.RandomState(3))
    theirs = ot.sliced_wasserstein_distance(x, y, seed=np.random.RandomState(3))
    assert ours == pytest.approx(theirs, rel=1e-12)
    projections = ot.sliced.get_random_projections(4, 11, 5)
    ours = sliced_wasserstein_distance(x, y, projections=projections)
    theirs = ot.sliced_wasserstein_distance(x, y, projections=projections)
    assert ours == pytest.approx(theirs, rel=1e-12)


@pytest.mark.parametrize(
    ("n", "m", "weighted", "tolerance"),
    [(500, 500, False, 1e-13), (500, 333, False, 1e-13), (400, 300, True, 1e-12)],
)
def test_agreement_with_rational_arithmetic(n, m, weighted, tolerance):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=n), rng.normal(0.5, 2.0, size=m)
    a = rng.dirichlet(np.ones(n)) if weighted else None
    b = rng.dirichlet(np.ones(m)) if weighted else None
    # One direction in d = 1, without the shift that Pair applies to the clouds.
    cost = Pair(as_cloud("x", x, a), as_cloud("y", y, b), 2.0).costs(np.ones((1, 1)))[0]
    even = [np.ones(n) / n if a is None else a, np.ones(m) / m if b is None else b]
    expected = (
        naive_sliced.exact_cost(x, y, *even, 2) if weighted else naive_sliced.uniform_cost(x, y, 2)
    )
    assert cost == pytest.approx(expected, rel=tolerance)


def test_float32_keeps_single_precision():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(300, 5)), rng.normal(1.0, 1.0, size=(200, 5))
    theta = mcvar.sliced.directions(20, 5, rng=0)
    double = Pair(as_cloud("x", x), as_cloud("y", y), 2.0).costs(theta)
    single = Pair(
        as_cloud("x", x.astype(np.float32)), as_cloud("y", y.astype(np.float32)), 2.0
    ).costs(theta)
    assert 0 < np.abs(single / double - 1).max() < 1e-5


def test_layouts_and_dtypes_do_not_matter():
    rng = np.random.default_rng(3)
    x, y = rng.integers(-9, 9, size=(40, 6)), rng.integers(-9, 9, size=(30, 6))
    expected = sliced_wasserstein_distance(x.astype(float), y.astype(float), seed=0)
    strided = np.zeros((80, 12), dtype=np.int64)
    strided[::2, ::2] = x
    for points in (x, np.asfortranarray(x), strided[::2, ::2], x.tolist()):
        assert sliced_wasserstein_distance(points, y, seed=0) == pytest.approx(expected, rel=1e-13)


def test_far_from_the_origin_digits_are_kept():
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(100, 3)), rng.normal(size=(100, 3))
    near = sliced_wasserstein_distance(x, y, seed=0)
    # 1e7 costs the inputs themselves seven digits; the distance must lose no more.
    assert sliced_wasserstein_distance(x + 1e7, y + 1e7, seed=0) == pytest.approx(near, rel=1e-7)


def test_zero_weights_leave_their_points_out():
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(10, 2)), rng.normal(size=(12, 2))
    a = np.r_[np.full(5, 0.2), np.zeros(5)]
    x_far = x.copy()
    x_far[5:] = 1e6
    found = sliced_wasserstein_distance(x_far, y, a=a, seed=0)
    assert found == pytest.approx(sliced_wasserstein_distance(x[:5], y, seed=0), rel=1e-9)


def test_kind_and_dtype_of_the_input():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 30, 3)).astype(np.float32)
    for ours, theirs in (
        (sliced_wasserstein_distance, ot.sliced_wasserstein_distance),
        (max_sliced_wasserstein_distance, ot.max_sliced_wasserstein_distance),
    ):
        found, expected = ours(x, y, seed=1), theirs(x, y, seed=1)
        assert found.dtype == np.float32
        assert float(found) == pytest.approx(float(expected), rel=1e-5)


def test_tensors_as_in_pot():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    a = torch.tensor(rng.dirichlet(np.ones(30)))
    for of_a in (None, a):
        gradients = []
        for verb in (sliced_wasserstein_distance, ot.sliced_wasserstein_distance):
            x = torch.tensor(rng.normal(size=(30, 3)) * 0 + np.arange(90).reshape(30, 3) % 7)
            x.requires_grad_()
            y = torch.tensor(np.arange(60).reshape(20, 3) % 5 * 1.1)
            value = verb(x, y, of_a, seed=3)
            value.backward()
            gradients.append((value.detach(), x.grad))
        torch.testing.assert_close(gradients[0][0], gradients[1][0])
    with pytest.raises(ValueError, match="of one kind"):
        sliced_wasserstein_distance(x, y.numpy())
    with pytest.raises(TypeError, match=r"mcvar.torch.SlicedWassersteinLoss"):
        mcvar.sliced_wasserstein(x, y)


@pytest.mark.parametrize("sampling", ["orthogonal", "qsw", "rqsw"])
def test_other_slices(sampling):
    x, y = np.random.default_rng(0).normal(size=(2, 30, 3))
    options = {"n_projections": 9, "seed": 1, "log": True, "sampling_slices": sampling}
    _, log = sliced_wasserstein_distance(x, y, **options)
    _, again = sliced_wasserstein_distance(x, y, **options | {"seed": 2})
    np.testing.assert_allclose(np.linalg.norm(log["projections"], axis=0), 1)
    same = np.array_equal(log["projections"], again["projections"])
    assert same == (sampling == "qsw")
    if sampling != "orthogonal":
        with pytest.raises(ValueError, match="points in d = 3"):
            sliced_wasserstein_distance(x[:, :2], y[:, :2], sampling_slices=sampling)
