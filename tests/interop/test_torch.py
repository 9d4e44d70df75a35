"""PyTorch: tensors as draws, values and clouds, functions as integrands, and a loss to train by."""

import numpy as np
import pytest

import mcvar

torch = pytest.importorskip("torch", reason="needs the extra `torch`")
EXACT = (np.e - 1) ** 2


def test_integrands_and_tensors():
    def f(x):
        return torch.exp(torch.tensor(x).sum(dim=1))

    est = mcvar.estimate(f, [(0, 1)] * 2, n=2**13, rng=1)
    assert abs(est.value - EXACT) < 5 * est.standard_error
    x = torch.randn(400, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    draws = mcvar.Draws(x, grad_logpdf=-x)
    est = mcvar.estimate(x[:, 0] ** 2, draws, control=mcvar.control.SteinPolynomial(2))
    assert est.value == pytest.approx(1, abs=1e-10)
    assert mcvar.sliced_wasserstein(x, x + 1, rng=1).value == pytest.approx(1, rel=1e-10)


def test_gradients_from_autograd():
    x = torch.randn(300, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    x.requires_grad_()
    (score,) = torch.autograd.grad(-0.5 * (x**2).sum(), x)
    with torch.no_grad():
        est = mcvar.estimate(
            x[:, 0] + 3,
            mcvar.Draws(x.detach(), grad_logpdf=score),
            control=mcvar.control.SteinPolynomial(1),
        )
    assert est.value == pytest.approx(3, abs=1e-10)


def test_the_loss_trains_a_map():
    from mcvar.torch import SlicedWassersteinLoss

    torch.manual_seed(0)
    real = torch.randn(400, 2) * torch.tensor([2.0, 0.5]) + 1
    noise = torch.randn(400, 2)
    layer = torch.nn.Linear(2, 2)
    loss = SlicedWassersteinLoss(n=32, rng=1)
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.05)
    history = []
    for _ in range(120):
        optimiser.zero_grad()
        value = loss(layer(noise), real)
        value.backward()
        optimiser.step()
        history.append(value.item())
    assert history[-1] < 0.05 * history[0]
    assert (layer(noise).mean(dim=0) - 1).abs().max() < 0.2
