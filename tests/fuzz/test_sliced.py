"""Everything in `mcvar.sliced`."""

import matplotlib.pyplot as plt
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mcvar import control, sliced
from tests.fuzz.outcome import all_finite, check_estimate, outcome
from tests.fuzz.profile import fuzz
from tests.fuzz.strategies import DIMENSIONS, ODD, SEEDS, SIZES, SOME, arrays, mostly

KINDS = mostly(
    st.sampled_from(["auto", "auto", "montecarlo", "orthogonal", "sobol", "spiral", "bank"])
)
EXPONENTS = mostly(st.sampled_from([1, 2, 2, 2, 3, 1.5, 10, 0.5, 400]))
COUNTS = mostly(st.sampled_from([1, 2, 3, 8, 16, 24, 64]))
CONTROLS = mostly(
    st.sampled_from(
        ["auto", "auto", None, "full", "lower", "upper", "harmonics", "cumulants"]
        + [control.SphericalHarmonics(2), control.GaussianSliced(), control.Polynomial(2)]
        + [control.KnownMean(lambda x: x[:, :1] ** 2, 0.5), control.SteinPolynomial(1)]
    )
)


@st.composite
def weights(draw, n):
    """Weights of a cloud: usually none."""
    kind = draw(st.integers(0, 5))
    if kind < 4:
        return None
    if kind == 4 and n:
        share = np.random.default_rng(draw(st.integers(0, 9))).random(n)
        share[: draw(st.integers(0, n))] *= draw(st.sampled_from([0.0, 1.0, 1e-200]))
        return share / share.sum() if share.sum() > 0 else share
    return draw(arrays(n, flavours=("uniform", "zero", "constant", "wide", "NaN", "normal")))


@st.composite
def pairs(draw):
    """Two clouds, X, Y, a, b; most of them fit together."""
    d, n = draw(DIMENSIONS), draw(SIZES)
    m = draw(st.sampled_from([n, n, draw(SIZES)]))
    x, y = draw(arrays(n, d)), draw(arrays(m, d))
    if draw(st.integers(0, 9)) == 0:
        y, m = x, n
    return x, y, draw(weights(n)), draw(weights(m))


def _check(found):
    if found is None:
        return
    check_estimate(found.power)
    assert np.isfinite(found.value) or found.status == "suspect"
    low, high = found.confidence_interval()
    assert 0 <= low <= high or not np.isfinite(found.power.standard_error)
    repr(found)


@given(clouds=pairs(), data=st.data())
@fuzz
def test_distance(clouds, data):
    found = outcome(
        sliced.sliced_wasserstein,
        *clouds,
        data.draw(EXPONENTS),
        data.draw(COUNTS),
        data.draw(KINDS),
        data.draw(CONTROLS),
        rtol=data.draw(mostly(st.sampled_from([None, None, None, 0.1, 1e-3]))),
        max_n=data.draw(mostly(st.sampled_from([64, 256]))),
        rng=data.draw(SEEDS),
        workers=data.draw(mostly(st.sampled_from([1, 2]))),
    )
    _check(found)


@given(clouds=pairs(), data=st.data())
@fuzz
def test_gradient(clouds, data):
    options = {}
    if data.draw(st.integers(0, 5)) == 0:
        options["directions"] = data.draw(arrays(4, data.draw(DIMENSIONS)))
    found = outcome(
        sliced.sliced_wasserstein_gradient,
        *clouds,
        data.draw(EXPONENTS),
        data.draw(COUNTS),
        data.draw(KINDS),
        data.draw(mostly(st.sampled_from(["auto", None, "full"]))),
        root=data.draw(st.booleans()),
        rng=data.draw(SEEDS),
        workers=data.draw(mostly(st.just(1))),
        **options,
    )
    if found is not None:
        all_finite(found.value, found.gradient)


@given(clouds=pairs(), data=st.data())
@fuzz
def test_flow(clouds, data):
    loss = data.draw(
        mostly(
            st.one_of(
                st.just("auto"),
                KINDS,
                st.builds(lambda: sliced.ReservoirSliced(16, 4, rng=1)),
                st.sampled_from([
                    lambda x, y: (1.0, x), lambda x, y: (np.nan, x), lambda x, y: (1.0, x * np.nan),
                    lambda x, y: (1.0, x[:1]), lambda x, y: 3.0, lambda x, y: ("a", "b", "c"),
                    lambda x, y: (1.0, None), lambda x, y: (np.ones(3), x),
                ]),
            )
        )
    )  # fmt: skip
    found = outcome(
        sliced.gradient_flow,
        clouds[0],
        clouds[1],
        data.draw(mostly(st.integers(1, 6), st.sampled_from([0, -1, 1.5, None, "a", np.nan]))),
        data.draw(mostly(st.sampled_from([0.1, 1.0, 50.0, 1e10, 1e100, 1e-200]))),
        loss,
        n=data.draw(COUNTS),
        control=data.draw(mostly(st.sampled_from(["auto", None, "full"]))),
        p=data.draw(EXPONENTS),
        root=data.draw(st.booleans()),
        rng=data.draw(SEEDS),
    )
    if found is not None:
        all_finite(found.points, found.history)


@given(clouds=pairs(), data=st.data())
@fuzz
def test_reservoir(clouds, data):
    loss = outcome(
        sliced.ReservoirSliced,
        data.draw(mostly(st.sampled_from([8, 16]))),
        data.draw(mostly(st.sampled_from([1, 4, 8]))),
        data.draw(mostly(st.sampled_from(["unbiased", "energy"]))),
        data.draw(mostly(st.sampled_from([30.0, 1.0]))),
        data.draw(mostly(st.sampled_from([0.5, 0.0, 1.0]))),
        p=data.draw(EXPONENTS),
        rng=data.draw(SEEDS),
    )
    if loss is None:
        return
    for other in [clouds, data.draw(pairs()), clouds]:
        found = outcome(loss.step, *other)
        if found is not None:
            all_finite(found.value, found.gradient, loss.weights)
    state = loss.get_state()
    name = data.draw(st.sampled_from(sorted(state)))
    outcome(loss.set_state, state | {name: data.draw(st.one_of(ODD, arrays(3, 2)))})
    outcome(loss.set_state, data.draw(ODD))
    outcome(loss.step, *clouds)
    loss.reset()


@given(data=st.data(), d=DIMENSIONS, n=SIZES)
@fuzz
def test_one_against_many(data, d, n):
    reference = outcome(
        sliced.SlicedReference,
        data.draw(arrays(n, d)),
        data.draw(weights(n)),
        data.draw(EXPONENTS),
        data.draw(COUNTS),
        data.draw(KINDS),
        data.draw(CONTROLS),
        rng=data.draw(SEEDS),
        workers=data.draw(mostly(st.just(1))),
    )
    if reference is None:
        return
    for _ in range(2):
        size = data.draw(SOME)
        x, a = data.draw(arrays(size, d)), data.draw(weights(size))
        _check(outcome(reference.estimate, x, a))
        distance = outcome(reference.distance, x, a)
        assert distance is None or np.isfinite(distance)


@given(data=st.data(), d=DIMENSIONS)
@fuzz
def test_many_with_each_other(data, d):
    sizes = data.draw(st.lists(SOME, min_size=0, max_size=4))
    clouds = [data.draw(arrays(size, d)) for size in sizes]
    given_weights = data.draw(mostly(st.just(None)))
    if data.draw(st.integers(0, 4)) == 0:
        given_weights = [data.draw(weights(size)) for size in sizes]
    found = outcome(
        sliced.pairwise_sliced_wasserstein,
        data.draw(mostly(st.just(clouds))),
        given_weights,
        data.draw(EXPONENTS),
        data.draw(COUNTS),
        data.draw(KINDS),
        rng=data.draw(SEEDS),
        workers=data.draw(mostly(st.just(1))),
    )
    if found is not None:
        all_finite(found)
        assert (found == found.T).all()


@given(data=st.data(), d=DIMENSIONS)
@fuzz
def test_streams(data, d):
    make = (
        data.draw(COUNTS),
        data.draw(mostly(st.just(d))),
        data.draw(mostly(st.sampled_from([8, 64]))),
        data.draw(EXPONENTS),
        data.draw(KINDS),
    )
    rng = data.draw(SEEDS)
    stream = outcome(sliced.StreamingSliced, *make, rng=rng)
    other = outcome(sliced.StreamingSliced, *make, shard=data.draw(mostly(st.just(1))), rng=rng)
    if stream is None:
        return
    for _ in range(data.draw(st.integers(0, 3))):
        for sketch in (stream, other):
            if sketch is not None:
                x, y = data.draw(arrays(data.draw(SIZES), d)), data.draw(arrays(13, d))
                outcome(sketch.update, x, y)
    outcome(stream.merge, data.draw(mostly(st.just(other))))
    _check(outcome(stream.estimate))
    distance = outcome(stream.distance)
    assert distance is None or np.isfinite(distance)
    assert stream.n_x >= 0
    assert stream.n_y >= 0


@given(clouds=pairs(), data=st.data())
@fuzz
def test_greatest(clouds, data):
    found = outcome(
        sliced.max_sliced_wasserstein,
        *clouds,
        data.draw(EXPONENTS),
        restarts=data.draw(mostly(st.sampled_from([1, 2]))),
        max_iter=data.draw(mostly(st.sampled_from([1, 20]))),
        n=data.draw(COUNTS),
        rng=data.draw(SEEDS),
    )
    if found is not None:
        all_finite(found.value, found.direction, found.local_maxima)


@given(clouds=pairs(), data=st.data())
@fuzz
def test_the_function_of_pot(clouds, data):
    d = data.draw(DIMENSIONS)
    projections = data.draw(st.one_of(st.none(), st.none(), arrays(d, 3), st.just(np.eye(d))))
    log = data.draw(st.booleans())
    found = outcome(
        sliced.sliced_wasserstein_distance,
        *clouds,
        data.draw(COUNTS),
        data.draw(EXPONENTS),
        projections,
        data.draw(mostly(st.integers(0, 9))),
        log,
    )
    if found is not None:
        all_finite(found[0] if log else found)


@given(data=st.data(), d=DIMENSIONS)
@fuzz
def test_normal_laws(data, d):
    def covariance():
        if data.draw(st.booleans()):
            return data.draw(arrays(d, d))
        root = np.random.default_rng(data.draw(st.integers(0, 99))).normal(size=(d, d))
        return data.draw(st.sampled_from([1.0, 1e-300, 1e-100, 1e100, 1e300])) * (root @ root.T)

    mean = (data.draw(arrays(d)), data.draw(arrays(d)))
    found = outcome(
        sliced.sliced_wasserstein_gaussian, mean[0], covariance(), mean[1], covariance()
    )
    assert found is None or np.isfinite(found)


@given(data=st.data())
@fuzz
def test_directions(data):
    count = mostly(st.sampled_from([1, 2, 3, 4, 7, 20, 300]))
    d = data.draw(mostly(st.sampled_from([1, 2, 3, 5, 50])))
    theta = outcome(sliced.directions, data.draw(count), d, data.draw(KINDS), data.draw(SEEDS))
    if theta is not None:
        assert np.allclose(np.linalg.norm(theta, axis=1), 1)


@given(data=st.data())
@fuzz
def test_a_result(data):
    x = np.random.default_rng(1).normal(size=(20, 3))
    found = sliced.sliced_wasserstein(x, 1 + x[:10], n=16, rng=data.draw(st.integers(0, 9)))
    level = data.draw(mostly(st.floats(1e-6, 1 - 1e-6)))
    interval = outcome(found.confidence_interval, level)
    if interval is not None:
        assert 0 <= interval.low <= found.value <= interval.high
    outcome(found.plot, level=level)
    plt.close("all")


@fuzz
@given(pairs(), COUNTS, mostly(st.sampled_from([1, 9, 50])), EXPONENTS, KINDS, SEEDS)
def test_two_sample_test(clouds, n, permutations, p, method, seed):
    x, y, _, _ = clouds
    found = outcome(sliced.two_sample_test, x, y, permutations, p=p, n=n, method=method, rng=seed)
    if found is not None:
        assert isinstance(found, sliced.TwoSampleTest)
        assert 0 < found.pvalue <= 1
        repr(found)


@fuzz
@given(pairs(), COUNTS, EXPONENTS, SEEDS)
def test_barycenter(clouds, n, p, seed):
    x, y, _, _ = clouds
    found = outcome(sliced.barycenter, [x, y], n=n, p=p, steps=3, rng=seed)
    if found is not None:
        assert all_finite(found.points) or found.status == "suspect"


@fuzz
@given(pairs(), COUNTS, EXPONENTS, SEEDS)
def test_max_sliced_wasserstein_distance(clouds, n, p, seed):
    x, y, a, b = clouds
    found = outcome(sliced.max_sliced_wasserstein_distance, x, y, a, b, n, p, seed=seed)
    if found is not None:
        assert float(found) >= 0
