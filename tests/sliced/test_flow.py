import numpy as np
import pytest

from mcvar.sliced import (
    ReservoirSliced,
    barycenter,
    gradient_flow,
    sliced_wasserstein_gradient,
)

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(60, 3)), RNG.normal(2.0, 1.0, size=(50, 3))


def own(x, y):
    return sliced_wasserstein_gradient(x, y, n=16, rng=4)


@pytest.mark.parametrize(
    "loss",
    ["auto", "montecarlo", "orthogonal", own, ReservoirSliced(rng=0), ReservoirSliced(p=1.5)],
    ids=lambda loss: loss if isinstance(loss, str) else type(loss).__name__,
)
def test_arrives(loss):
    flow = gradient_flow(X, Y, 40, 0.5, loss, rng=1)
    assert flow.history.shape == (40,)
    assert flow.history[-1] < 0.02 * flow.history[0]
    np.testing.assert_allclose(flow.points.mean(axis=0), Y.mean(axis=0), atol=0.1)


def test_root_moves_at_constant_speed():
    far = X[:50] + 100
    places = [far.mean(axis=0)]
    gradient_flow(
        far, Y, 10, 0.5, n=12, root=True, rng=1, callback=lambda k, x, v: places.append(x.mean(0))
    )
    speed = np.linalg.norm(np.diff(places, axis=0), axis=1)
    # ∂SW_2 of a shift Δ is Δ/(|Δ| √d).
    np.testing.assert_allclose(speed, 0.5 / np.sqrt(3), rtol=0.02)


def test_callback_sees_and_stops():
    seen = []

    def callback(step, points, value):
        seen.append((step, points, value))
        return step == 4

    flow = gradient_flow(X, Y, 100, 0.1, callback=callback, rng=1)
    assert [step for step, _, _ in seen] == [0, 1, 2, 3, 4]
    assert flow.history.tolist() == [value for _, _, value in seen]
    np.testing.assert_array_equal(flow.points, seen[-1][1])
    again = gradient_flow(X, Y, 5, 0.1, rng=1)
    np.testing.assert_array_equal(flow.points, again.points)
    assert not np.array_equal(seen[0][1], seen[1][1])


def test_input_is_left_alone_and_progress_shows(capsys):
    before = X.copy()
    gradient_flow(X, Y, 3, 0.1, progress=True, rng=0)
    np.testing.assert_array_equal(X, before)
    assert "3/3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"steps": 0}, ValueError, "steps must be at least 1"),
        ({"step_size": -1}, ValueError, "step_size must be positive"),
        ({"loss": "orthogonol"}, ValueError, "did you mean 'orthogonal'"),
        ({"loss": 3}, TypeError, "loss must be"),
        ({"loss": own, "root": True}, ValueError, "loss of your own"),
        ({"loss": lambda x, y: (0.0, x * np.nan)}, ValueError, "gradient holds nan"),
        ({"loss": lambda x, y: (0.0, x[:3])}, ValueError, r"shape \(60, 3\), got \(3, 3\)"),
        ({"X": X[:, :2]}, ValueError, "dimension"),
    ],
)
def test_bad_input(options, error, message):
    arguments = {"X": X, "Y": Y, "steps": 5, "step_size": 0.1, **options}
    with pytest.raises(error, match=message):
        gradient_flow(**arguments, rng=0)


@pytest.mark.parametrize("loss", ["auto", ReservoirSliced(rng=0), own])
@pytest.mark.parametrize("step_size", [30.0, 1e6, 1e200])
def test_steps_far_too_large_end_in_an_error_that_says_so(loss, step_size):
    with pytest.raises(ValueError, match=r"the flow diverges: after step \d+ .* smaller step_size"):
        gradient_flow(X, Y, 200, step_size, loss, rng=1)


def test_steps_too_large_for_few_steps_are_suspect():
    """In d = 3 a step of more than 3 overshoots by more than it was off."""
    flow = gradient_flow(X, Y, 6, 5.0, rng=1)
    assert flow.status == "suspect"
    assert "step_size=5 is too large" in flow.reasons[0]
    assert np.isfinite(flow.points).all()


def test_sound_flows_are_not_suspect():
    for step_size in (0.01, 0.5, 1.5):
        flow = gradient_flow(X, Y, 30, step_size, rng=1)
        assert (flow.status, flow.reasons) == ("completed", ())


def test_a_loss_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="the loss must be a finite number, got nan"):
        gradient_flow(X, Y, 5, 0.1, lambda x, y: (np.nan, 0 * x))


def test_barycentre_of_gaussians():
    rng = np.random.default_rng(0)
    clouds = [rng.normal(m, s, size=(300, 3)) for m, s in ((0.0, 1.0), (4.0, 3.0))]
    found = barycenter(clouds, [0.25, 0.75], n_points=200, rng=1)
    assert found.points.shape == (200, 3)
    # Means and deviations of isotropic normals average: 3 and 2.5.
    np.testing.assert_allclose(found.points.mean(axis=0), 3, atol=0.3)
    np.testing.assert_allclose(found.points.std(axis=0), 2.5, atol=0.3)
    one = barycenter(clouds[:1], rng=1)
    assert one.history[-1] < 1e-3


def test_bounds_hold_after_every_step():
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 255, size=(50, 3)), rng.uniform(100, 300, size=(60, 3))
    seen = []
    flow = gradient_flow(
        x, y, 20, 0.5, bounds=(0, 255), rng=1,
        callback=lambda step, points, value: seen.append(points.max()),
    )  # fmt: skip
    assert max(seen) <= 255
    assert flow.history[-1] < flow.history[0]


def test_several_targets_are_weighed():
    rng = np.random.default_rng(0)
    x, *targets = rng.normal(size=(3, 20, 2))
    flow = gradient_flow(x, targets, 1, 0.1, weights=[0.3, 0.7], rng=1)
    parts = [gradient_flow(x, target, 1, 0.1, rng=1) for target in targets]
    moved = x + 0.3 * (parts[0].points - x) + 0.7 * (parts[1].points - x)
    np.testing.assert_allclose(flow.points, moved, rtol=1e-12)


@pytest.mark.parametrize(
    ("targets", "options", "error", "message"),
    [
        ([], {}, ValueError, "no clouds"),
        ([np.ones((3, 2)), np.ones((3, 3))], {}, ValueError, "the same dimension, got"),
        ([np.ones((3, 2))], {"weights": [0.5]}, ValueError, "sum to 1"),
        (np.ones((3, 2)), {"bounds": 3}, ValueError, "bounds must be a pair"),
        (np.ones((3, 2)), {"bounds": (1, 0)}, ValueError, "the least first"),
        ([np.ones((3, 2))] * 2, {"loss": ReservoirSliced()}, TypeError, "one pair of clouds"),
    ],
)
def test_bad_targets_and_bounds(targets, options, error, message):
    with pytest.raises(error, match=message):
        gradient_flow(np.zeros((4, 2)), targets, 1, 0.1, **options)
