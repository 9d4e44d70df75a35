"""SlicedReference, pairwise_sliced_wasserstein and max_sliced_wasserstein."""

import numpy as np
import pytest

import mcvar
from mcvar.sliced import SlicedReference, max_sliced_wasserstein, pairwise_sliced_wasserstein
from mcvar.sliced.maximum import cost_and_gradient
from mcvar.sliced.projection import Pair, as_cloud


def weights(n, seed):
    return np.random.default_rng(seed).dirichlet(np.ones(n))


@pytest.mark.parametrize("d", [1, 2, 3, 12])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("p", [1, 2])
def test_reference_gives_what_the_function_gives(d, weighted, p):
    rng = np.random.default_rng(d)
    x, y = rng.normal(size=(150, d)), rng.normal(0.5, 1.5, size=(170, d))
    a, b = (weights(150, 1), weights(170, 2)) if weighted else (None, None)
    reference = SlicedReference(y, b, p=p, rng=3)
    expected = mcvar.sliced_wasserstein(x, y, a, b, p=p, rng=3, method="auto")
    # Small planar clouds are exact in the function; the reference keeps fixed directions.
    tolerance = 1e-9 if d != 2 else 1e-3
    assert reference.distance(x, a) == pytest.approx(expected.value, rel=tolerance)
    again = reference.estimate(x, a)
    assert again.value == reference.distance(x, a)
    if d > 2:
        assert again.standard_error == pytest.approx(expected.standard_error, rel=1e-5)


def test_pairwise_is_the_distance_of_every_pair():
    rng = np.random.default_rng(0)
    clouds = [rng.normal(k, 1 + k, size=(50 + 10 * (k % 2), 4)) for k in range(4)]
    masses = [None, weights(60, 1), None, None]
    matrix = pairwise_sliced_wasserstein(clouds, masses, n=32, p=2, rng=5)
    assert (matrix == matrix.T).all()
    assert (np.diagonal(matrix) == 0).all()
    for i in range(4):
        for j in range(i):
            pair = mcvar.sliced_wasserstein(
                clouds[i], clouds[j], masses[i], masses[j], n=32, control=None, rng=5
            )
            assert matrix[i, j] == pytest.approx(pair.value, rel=1e-10)


def test_pairwise_kernel_is_positive_definite_and_thread_free():
    rng = np.random.default_rng(1)
    clouds = [rng.normal(rng.normal(), 1.0, size=(30 + k, 3)) for k in range(25)]
    one, two = (pairwise_sliced_wasserstein(clouds, rng=2, workers=w) for w in (1, 2))
    np.testing.assert_array_equal(one, two)
    assert np.linalg.eigvalsh(np.exp(-(one**2)))[0] > -1e-12


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
def test_gradient_by_differences(weighted, p):
    rng = np.random.default_rng(2)
    a = weights(9, 0) if weighted else None
    pair = Pair(
        as_cloud("x", rng.normal(size=(9, 3)), a), as_cloud("y", rng.normal(size=(7, 3))), p
    )
    theta = mcvar.sliced.directions(1, 3, "montecarlo", rng=0)[0]
    cost, gradient = cost_and_gradient(pair, theta)
    assert cost == pytest.approx(pair.costs(theta[np.newaxis])[0], rel=1e-10)
    step = 1e-6 * np.eye(3)
    numeric = [
        (cost_and_gradient(pair, theta + h)[0] - cost_and_gradient(pair, theta - h)[0]) / 2e-6
        for h in step
    ]
    np.testing.assert_allclose(gradient, numeric, rtol=1e-5, atol=1e-7)


def test_maximum_of_normal_clouds_is_found():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(400, 6)), rng.normal(size=(400, 6))
    y[:, 2] *= 5
    y[:, 3] += 1
    found = max_sliced_wasserstein(x, y, rng=0)
    theta = mcvar.sliced.directions(20_000, 6, "montecarlo", rng=1)
    best = Pair(as_cloud("x", x), as_cloud("y", y), 2.0).costs(theta).max()
    assert found.value >= best**0.5
    assert found.status == "converged"
    assert found.local_maxima[0] == found.value
    assert np.linalg.norm(found.direction) == pytest.approx(1)


def test_maximum_on_the_plane_by_a_fine_grid():
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(40, 2)), rng.normal(size=(30, 2)) * [1.0, 2.0]
    theta = mcvar.sliced.directions(20_000, 2, "spiral", rng=0)
    best = Pair(as_cloud("x", x), as_cloud("y", y), 2.0).costs(theta).max() ** 0.5
    assert max_sliced_wasserstein(x, y, rng=0).value == pytest.approx(best, rel=1e-6)


def test_maximum_of_identical_clouds_is_zero():
    x = np.random.default_rng(5).normal(size=(10, 3))
    assert max_sliced_wasserstein(x, x, rng=0).value == pytest.approx(0, abs=1e-9)


def test_front_of_the_package_stays_light():
    import subprocess
    import sys

    code = (
        "import sys, mcvar; heavy = {'numba', 'sklearn', 'ot', 'scipy.stats', 'mcvar.sliced'};"
        "print(sorted(heavy & set(sys.modules))); mcvar.sliced_wasserstein; mcvar.sliced;"
        "print('ot' in sys.modules)"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert output.split("\n")[:2] == ["[]", "False"]
