"""The torch loss; skipped where torch is not installed."""

import numpy as np
import pytest

from mcvar.sliced import ReservoirSliced, sliced_wasserstein_gradient

torch = pytest.importorskip("torch")
from mcvar import torch as losses  # noqa: E402
from mcvar.sliced.tensors import tensor_directions  # noqa: E402
from mcvar.torch import SlicedWassersteinLoss  # noqa: E402


def clouds(n=12, m=9, d=4, dtype=torch.float64, of_y=True, batch=()):
    torch.manual_seed(0)
    x = torch.randn(*batch, n, d, dtype=dtype, requires_grad=True)
    return x, (torch.randn(*batch, m, d, dtype=dtype) + 0.5).requires_grad_(of_y)


def weights(n, dtype=torch.float64):
    a = torch.linspace(0.5, 1.5, n, dtype=dtype)
    return a / a.sum()


@pytest.fixture(params=["kernels", "operations"])
def path(request, monkeypatch):
    """Either way of computing, whatever the size of the clouds."""
    monkeypatch.setattr(losses, "_SMALL", 0 if request.param == "kernels" else 10**9)
    return request.param


@pytest.mark.parametrize(
    ("p", "root", "control"),
    [(2, False, "full"), (2, True, "auto"), (2, False, None), (3, True, None), (1.5, False, None)],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_gradcheck(path, p, root, control, weighted):
    x, y = clouds()
    a = weights(12) if weighted else None
    loss = SlicedWassersteinLoss(20, p=p, root=root, control=control, resample=False, rng=1)
    assert torch.autograd.gradcheck(lambda u, v: loss(u, v, a), (x, y))


@pytest.mark.parametrize("control", ["full", None])
def test_second_derivatives(path, control):
    x, y = clouds(6, 5)
    loss = SlicedWassersteinLoss(20, control=control, resample=False, rng=1)
    assert torch.autograd.gradgradcheck(lambda u: loss(u, y), (x,))


def test_gradient_in_weights():
    x, y = clouds(of_y=False)
    # Levels that meet are kinks: irrational weights have none.
    a, b = (weights(k).sqrt() for k in (12, 9))
    a, b = (a / a.sum()).requires_grad_(), (b / b.sum()).requires_grad_()
    # Within the weights that sum to one: others are refused.
    away = torch.linspace(-1, 1, 12, dtype=torch.float64) / 50
    for control in ("full", None):
        loss = SlicedWassersteinLoss(20, control=control, resample=False, rng=1)
        slope = torch.autograd.grad(loss(x, y, a, b), a)[0] @ away
        step = 1e-6
        ahead, behind = (float(loss(x, y, a + s * away, b).detach()) for s in (step, -step))
        assert float(slope) == pytest.approx((ahead - behind) / (2 * step), rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("p", "control", "m", "weighted", "d"),
    [(2, "full", 12, False, 4), (2, "full", 9, True, 4), (2, "full", 9, False, 40),
     (2, None, 9, False, 4), (1, None, 9, True, 4), (3, None, 12, False, 4)],
)  # fmt: skip
@pytest.mark.parametrize("root", [False, True])
def test_same_as_the_arrays(path, dtype, p, control, m, weighted, d, root):
    x, y = clouds(m=m, d=d, dtype=dtype, of_y=False)
    a = weights(12, dtype) if weighted else None
    loss = SlicedWassersteinLoss(32, "montecarlo", control, p, root=root, resample=False, rng=1)
    value = loss(x, y, a)
    (3 * value).backward()
    assert value.dtype == x.grad.dtype == dtype
    theta, _ = loss._directions(x, 12)
    expected = sliced_wasserstein_gradient(
        x.detach().numpy(), y.numpy(), a, p=p, directions=theta.numpy(), root=root, control=control
    )
    tolerance = 2e-5 if dtype == torch.float32 else 1e-10
    assert float(value.detach()) == pytest.approx(expected.value, rel=tolerance)
    np.testing.assert_allclose(x.grad, 3 * expected.gradient, atol=tolerance)
    assert y.grad is None


def test_batches(path):
    x, y = clouds(batch=(3,))
    a = weights(12)
    loss = SlicedWassersteinLoss(16, resample=False, rng=1)
    values = loss(x, y, a)
    assert values.shape == (3,)
    values.sum().backward()
    for k in range(3):
        one = x[k].detach().requires_grad_(), y[k].detach().requires_grad_()
        value = loss(*one, a)
        value.backward()
        assert float(value.detach()) == pytest.approx(float(values[k].detach()), rel=1e-12)
        for whole, part in zip((x, y), one, strict=True):
            np.testing.assert_allclose(whole.grad[k], part.grad, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_autocast(path, dtype):
    x, y = clouds(dtype=torch.float32, of_y=False)
    loss = SlicedWassersteinLoss(16, resample=False, rng=1)
    half = x.detach().to(dtype).requires_grad_()
    value = loss(half, y.to(dtype))
    value.backward()
    assert value.dtype == torch.float32
    assert half.grad.dtype == dtype
    exact = loss(half.detach().float(), y.to(dtype).float())
    assert float(value.detach()) == pytest.approx(float(exact), rel=1e-6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = loss(half, y)
        whole = loss(x, y)
    assert mixed.dtype == torch.float32
    assert float(whole.detach()) == pytest.approx(float(loss(x, y).detach()), rel=1e-6)


def test_manual_seed_decides():
    x, y = clouds()
    loss = SlicedWassersteinLoss(16)
    torch.manual_seed(3)
    first, second = loss(x, y), loss(x, y)
    assert first != second
    torch.manual_seed(3)
    assert SlicedWassersteinLoss(16)(x, y) == first
    fixed = SlicedWassersteinLoss(16, resample=False)
    assert fixed(x, y) == fixed(x, y)


def test_calls_differ_and_states_resume():
    x, y = clouds()
    loss = SlicedWassersteinLoss(16, rng=1)
    first = loss(x, y)
    state = loss.state_dict()
    second = loss(x, y)
    assert first != second
    again = SlicedWassersteinLoss(16, rng=5)
    again.load_state_dict(state)
    assert again(x, y) == second


@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_compile():
    x, y = clouds()
    loss = SlicedWassersteinLoss(16, rng=1)
    compiled = torch.compile(SlicedWassersteinLoss(16, rng=1), backend="aot_eager")
    for _ in range(3):
        values, gradients = [], []
        for module in (loss, compiled):
            x.grad = None
            value = module(x, y)
            value.backward()
            values.append(float(value.detach()))
            gradients.append(x.grad.clone())
        assert values[1] == pytest.approx(values[0], rel=1e-10)
        np.testing.assert_allclose(gradients[1], gradients[0], atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "n", "d"),
    [(kind, *size) for kind in ("montecarlo", "orthogonal") for size in ((7, 3), (2, 5), (6, 6))]
    + [("spiral", 5, 2), ("bank", 9, 4)],
)
def test_directions_of_the_device(kind, n, d):
    like = torch.empty(0, dtype=torch.float64)
    sets = [tensor_directions(n, d, kind, seed, like).numpy() for seed in range(300)]
    assert sets[0].shape == (n, d)
    np.testing.assert_allclose(np.linalg.norm(sets, axis=2), 1, rtol=1e-12)
    if kind == "orthogonal":
        frame = sets[0][: min(n, d)]
        np.testing.assert_allclose(frame @ frame.T, np.eye(len(frame)), atol=1e-12)
    # E θ_j = 0 and E θ_j² = 1/d, by z from 300 sets.
    for power, expected in ((1, 0.0), (2, 1 / d)):
        means = np.array([(theta**power).mean(axis=0) for theta in sets])
        error = means.std(axis=0) / np.sqrt(300) + 1e-12
        assert np.abs((means.mean(axis=0) - expected) / error).max() < 4.5


def test_reservoir():
    x, y = clouds(of_y=False)
    loss = SlicedWassersteinLoss(reservoir=ReservoirSliced(16, 4, rng=2))
    twin = ReservoirSliced(16, 4, rng=2)
    for _ in range(3):
        x.grad = None
        value = loss(x, y)
        value.backward()
        expected = twin.step(x.detach().numpy(), y.numpy())
        assert float(value.detach()) == expected.value
        np.testing.assert_array_equal(x.grad, expected.gradient)
    state = loss.state_dict()
    after = loss(x, y)
    loss.load_state_dict(state)
    assert loss(x, y) == after
    with pytest.raises(ValueError, match="only x may require a gradient"):
        loss(*clouds())
    with pytest.raises(ValueError, match="a reservoir needs CPU tensors"):
        loss(x[None], y[None])
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(loss(x, y), x, create_graph=True)
    with pytest.raises(TypeError, match="reservoir must be a ReservoirSliced"):
        SlicedWassersteinLoss(reservoir=3)


def test_strided_and_non_leaf_input(path):
    x, y = clouds()
    loss = SlicedWassersteinLoss(16, resample=False, rng=0)
    whole = torch.cat([x, x], dim=1)
    loss(whole[:, ::2], y).backward()
    assert x.grad.abs().sum() > 0
    other_order = loss(x.T.contiguous().T, y)
    assert float(other_order.detach()) == pytest.approx(float(loss(x, y).detach()), rel=1e-13)


def test_flat_clouds(path):
    x, y = clouds()
    loss = SlicedWassersteinLoss(16, control="full", rng=0)
    point = x[:1].detach().requires_grad_()
    loss(point, y).backward()
    assert torch.isfinite(point.grad).all()
    same = SlicedWassersteinLoss(16, root=True, rng=0)(x, x.detach())
    same.backward()
    assert torch.isfinite(x.grad).all()


def test_bad_input(path):
    x, y = clouds()
    loss = SlicedWassersteinLoss(16, rng=0)
    for values, error, message in (
        ((x.to("meta"), y), ValueError, "different devices, meta and cpu"),
        ((np.ones((3, 4)), y), TypeError, "x must be a torch tensor, got ndarray"),
        ((x, y.float()), TypeError, r"different dtypes, torch.float64 and torch.float32"),
        ((x.long(), y), TypeError, "x must be a tensor of float32"),
        ((x * float("nan"), y), ValueError, "nan at index"),
        ((x[:, :2], y), ValueError, "the same dimension"),
        ((x[None], y), ValueError, "the same batch"),
        ((x[:0], y), ValueError, r"x must have shape \(n, d\)"),
        ((x, y, torch.ones(5)), ValueError, "a must have shape"),
        ((x, y, torch.ones(12)), ValueError, "a must sum to 1"),
        ((x, y, -torch.ones(12)), ValueError, "weights are >= 0"),
        ((x, y, weights(12).to("meta")), ValueError, "a is on meta"),
    ):
        with pytest.raises(error, match=message):
            loss(*values)
    with pytest.raises(ValueError, match="did you mean 'orthogonal'"):
        SlicedWassersteinLoss(method="orthogonol")
    with pytest.raises(ValueError, match="unknown control"):
        SlicedWassersteinLoss(control="ful")
    with pytest.raises(ValueError, match="p = 2 only"):
        SlicedWassersteinLoss(control="full", p=1)
