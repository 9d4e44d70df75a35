"""The torch loss; skipped where torch is not installed."""

import numpy as np
import pytest

from mcvar.sliced import ReservoirSliced, sliced_wasserstein_gradient

torch = pytest.importorskip("torch")
from mcvar.torch import SlicedWassersteinLoss  # noqa: E402


def clouds(n=12, m=9, d=4, dtype=torch.float64, of_y=True):
    torch.manual_seed(0)
    x = torch.randn(n, d, dtype=dtype, requires_grad=True)
    return x, (torch.randn(m, d, dtype=dtype) + 0.5).requires_grad_(of_y)


@pytest.mark.parametrize(
    ("p", "root", "control"),
    [(2, False, "full"), (2, True, "auto"), (2, False, None), (3, True, None), (1.5, False, None)],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_gradcheck(p, root, control, weighted):
    x, y = clouds()
    a = torch.linspace(0.5, 1.5, 12, dtype=torch.float64) / 12 if weighted else None
    loss = SlicedWassersteinLoss(20, p=p, root=root, control=control, resample=False, rng=1)
    assert torch.autograd.gradcheck(lambda u, v: loss(u, v, a), (x, y))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_same_as_the_arrays(dtype):
    x, y = clouds(dtype=dtype, of_y=False)
    loss = SlicedWassersteinLoss(32, root=True, resample=False, rng=1)
    value = loss(x, y)
    (3 * value).backward()
    assert value.dtype == x.grad.dtype == dtype
    seed = np.random.SeedSequence(1, spawn_key=(0,))
    expected = sliced_wasserstein_gradient(x.detach().numpy(), y.numpy(), n=32, root=True, rng=seed)
    tolerance = 1e-6 if dtype == torch.float32 else 1e-14
    assert float(value.detach()) == pytest.approx(expected.value, rel=tolerance)
    np.testing.assert_allclose(x.grad, 3 * expected.gradient, atol=tolerance)
    assert y.grad is None


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
    with pytest.raises(TypeError, match="reservoir must be a ReservoirSliced"):
        SlicedWassersteinLoss(reservoir=3)


def test_strided_and_non_leaf_input():
    x, y = clouds()
    loss = SlicedWassersteinLoss(16, resample=False, rng=0)
    whole = torch.cat([x, x], dim=1)
    loss(whole[:, ::2], y).backward()
    assert x.grad.abs().sum() > 0
    assert loss(x.T.contiguous().T, y) == loss(x, y)


def test_bad_input():
    x, y = clouds()
    loss = SlicedWassersteinLoss(16, rng=0)
    with pytest.raises(ValueError, match="on device 'meta'; the kernels need CPU"):
        loss(x.to("meta"), y)
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(loss(x, y), x, create_graph=True)
    with pytest.raises(TypeError, match="x must be a torch tensor, got ndarray"):
        loss(np.ones((3, 4)), y)
    with pytest.raises(TypeError, match=r"y must be float32 or float64, got torch.float16"):
        loss(x, y.half())
    with pytest.raises(TypeError, match="a requires a gradient"):
        loss(x, y, torch.full((12,), 1 / 12, requires_grad=True))
    with pytest.raises(ValueError, match="nan at index"):
        loss(x * float("nan"), y)
    with pytest.raises(ValueError, match="dimension"):
        loss(x[:, :2], y)
    with pytest.raises(ValueError, match="did you mean 'orthogonal'"):
        SlicedWassersteinLoss(method="orthogonol")
    with pytest.raises(ValueError, match="unknown control"):
        SlicedWassersteinLoss(control="ful")(x, y)
