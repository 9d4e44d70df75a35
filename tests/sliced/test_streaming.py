import numpy as np
import pytest

from mcvar.sliced import SlicedReference, StreamingSliced

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(20_000, 3)), RNG.normal(0.5, 1.5, size=(15_000, 3))


def exact(x, y, p=2):
    reference = SlicedReference(y, n=48, p=p, control=None, rng=1)
    return reference.estimate(x)


@pytest.mark.parametrize("p", [1, 2])
def test_small_clouds_are_exact(p):
    found = StreamingSliced(48, 3, p=p, rng=1).update(X[:200], Y[:300]).estimate()
    np.testing.assert_allclose(found.contributions, exact(X[:200], Y[:300], p).contributions)
    assert found.power.standard_error == pytest.approx(
        exact(X[:200], Y[:300], p).power.standard_error
    )


@pytest.mark.parametrize(("capacity", "tolerance"), [(64, 0.06), (512, 0.01), (2048, 0.003)])
def test_long_streams(capacity, tolerance):
    stream = StreamingSliced(48, 3, capacity, rng=1)
    for first in range(0, len(X), 777):
        stream.update(X[first : first + 777], Y[first : first + 777] if first < len(Y) else None)
    assert (stream.n_x, stream.n_y) == (len(X), len(Y))
    assert stream.distance() == pytest.approx(exact(X, Y).value, rel=tolerance)
    held = sum(level.shape[1] for level in stream._x.levels)
    assert held < capacity * (2 + np.log2(len(X) / capacity))


def test_total_weight_is_kept():
    stream = StreamingSliced(8, 3, 16, rng=1)
    for size in (1, 7, 16, 33, 100, 5):
        stream.update(X[:size])
    weight = sum(2**h * level.shape[1] for h, level in enumerate(stream._x.levels))
    assert weight == stream.n_x == 162


def test_compaction_is_unbiased():
    """The mean of the quantiles' errors over the coins is zero, so is that of the first moment."""
    gaps = []
    for shard in range(200):
        stream = StreamingSliced(4, 2, 8, shard=shard, rng=1).update(X[:500, :2])
        rows = stream._x.sorted()
        weights = np.diff(rows.levels, axis=1, prepend=0)
        mean = np.sum(weights * rows.values, axis=1)
        gaps.append(mean - stream._theta @ X[:500, :2].mean(axis=0))
    z = np.mean(gaps, axis=0) / (np.std(gaps, axis=0) / np.sqrt(200))
    assert np.abs(z).max() < 4


def test_merged_parts_agree_with_the_whole():
    parts = [StreamingSliced(48, 3, shard=k, rng=1).update(X[k::4], Y[k::4]) for k in range(4)]
    whole = parts[0]
    for part in parts[1:]:
        assert whole.merge(part) is whole
    assert (whole.n_x, whole.n_y) == (len(X), len(Y))
    assert whole.distance() == pytest.approx(exact(X, Y).value, rel=0.01)
    assert parts[1].n_x == len(X) // 4


def test_line_and_repeats():
    x, y = X[:300, 0], Y[:200, 0]
    stream = StreamingSliced(16, 1, rng=0).update(x, y)
    assert stream.distance() == pytest.approx(exact(x, y).value)
    again = StreamingSliced(16, 3, 32, rng=5).update(X, Y).distance()
    assert again == StreamingSliced(16, 3, 32, rng=5).update(X, Y).distance()


def test_bad_input():
    stream = StreamingSliced(16, 3, rng=0)
    with pytest.raises(ValueError, match=r"no points of X so far: update\(X=points\)"):
        stream.distance()
    with pytest.raises(ValueError, match="no points of Y"):
        stream.update(X[:5]).distance()
    with pytest.raises(ValueError, match="points in 3 dimensions, got 2"):
        stream.update(X[:, :2])
    with pytest.raises(ValueError, match="nan at index"):
        stream.update(np.full((2, 3), np.nan))
    with pytest.raises(ValueError, match="capacity must be at least 8"):
        StreamingSliced(16, 3, 4)
    with pytest.raises(TypeError, match="only another StreamingSliced"):
        stream.merge(X)
    with pytest.raises(ValueError, match="same directions"):
        stream.merge(StreamingSliced(16, 3, rng=1))
    with pytest.raises(ValueError, match="p and capacity must agree"):
        stream.merge(StreamingSliced(16, 3, 64, rng=0))
