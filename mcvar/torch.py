"""Sliced Wasserstein losses for PyTorch (extra `torch`): autograd over the compiled kernels.

Values and gradients are those of `mcvar.sliced.sliced_wasserstein_gradient`, on CPU tensors. The
gradient is computed together with the value, and only where it is needed.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from mcvar._checks import as_count, import_extra, known_name, root_entropy
from mcvar._typing import FloatArray, Seed
from mcvar.samplers import stream_seed
from mcvar.sliced import ReservoirSliced, sliced_wasserstein_gradient
from mcvar.sliced.directions import KINDS
from mcvar.sliced.distance import as_exponent

if TYPE_CHECKING:
    import torch
else:
    torch = import_extra("torch", "torch")

__all__ = ["SlicedWassersteinLoss"]


class SlicedWassersteinLoss(torch.nn.Module):
    """SW_p^p between two clouds of points, as a module that autograd can go through.

    Parameters
    ----------
    n, method, control, p, root, workers
        As in `mcvar.sliced.sliced_wasserstein_gradient`.
    reservoir : ReservoirSliced, optional
        Takes the place of `n`, `method` and `control`: one of its steps a call. The gradient then
        goes to the first cloud only.
    resample : bool
        Whether every call draws new directions; otherwise the same ones serve for good.
    rng : int, Generator, SeedSequence or None
        Source of randomness (SPEC 7). How many calls were made is part of ``state_dict``, so that
        a run can be resumed.

    Examples
    --------
    >>> import torch
    >>> from mcvar.torch import SlicedWassersteinLoss
    >>> _ = torch.manual_seed(0)
    >>> x = torch.randn(200, 3, requires_grad=True)
    >>> loss = SlicedWassersteinLoss(n=32, rng=1)
    >>> loss(x, torch.randn(300, 3) + 2).backward()
    >>> x.grad.shape, bool((x.grad.mean(dim=0) < 0).all())
    (torch.Size([200, 3]), True)
    """

    def __init__(
        self,
        n: int = 128,
        method: str = "auto",
        control: str | None = "auto",
        p: float = 2,
        *,
        root: bool = False,
        reservoir: ReservoirSliced | None = None,
        resample: bool = True,
        rng: Seed = None,
        workers: int = 1,
    ) -> None:
        super().__init__()
        if reservoir is not None and (root or not isinstance(reservoir, ReservoirSliced)):
            raise TypeError(
                f"reservoir must be a ReservoirSliced, without root=True, got {reservoir!r}."
            )
        known_name("method", method, ("auto", *KINDS))
        self.options: dict[str, Any] = {
            "p": as_exponent(p),
            "n": as_count("n", n),
            "method": method,
            "control": control,
            "root": root,
            "workers": as_count("workers", workers),
        }
        self.reservoir = reservoir
        self.resample = resample
        self._stem = root_entropy(rng)
        self._calls = 0

    def forward(self, x: Any, y: Any, a: Any = None, b: Any = None) -> Any:
        """Return the loss between ``x (n_x, d)`` and ``y (n_y, d)``, a scalar tensor.

        Parameters
        ----------
        x, y : Tensor, shapes (n_x, d) and (n_y, d)
            The points, float32 or float64 on the CPU; gradients go to both.
        a, b : Tensor or array_like, shapes (n_x,) and (n_y,), optional
            Weights, non-negative and summing to one; they get no gradient.

        Raises
        ------
        TypeError
            What is not a float32 or float64 tensor; weights that require a gradient.
        ValueError
            Tensors on another device; anything the distance refuses.
        RuntimeError
            A second derivative (``create_graph=True``): there is none to give.
        """
        for name, points in (("x", x), ("y", y)):
            _check_points(name, points)
        weights = [_as_weights(name, values) for name, values in (("a", a), ("b", b))]
        seed = stream_seed(self._stem, self._calls if self.resample else 0)
        self._calls += 1
        return _Sliced.apply(x, y, self, weights, seed)

    def evaluate(
        self, x: Any, y: Any, a: Any, b: Any, seed: np.random.SeedSequence
    ) -> tuple[float, FloatArray]:
        """Return the loss and its gradient in ``x``, all arrays."""
        if self.reservoir is not None:
            return self.reservoir.step(x, y, a, b)
        return sliced_wasserstein_gradient(x, y, a, b, rng=seed, **self.options)

    def get_extra_state(self) -> dict[str, Any]:
        """Return what the next call depends on."""
        held = None if self.reservoir is None else self.reservoir.get_state()
        return {"stem": self._stem, "calls": self._calls, "reservoir": held}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Go on from where `get_extra_state` was called."""
        self._stem, self._calls = state["stem"], state["calls"]
        if self.reservoir is not None and state["reservoir"] is not None:
            self.reservoir.set_state(state["reservoir"])


class _Sliced(torch.autograd.Function):
    """The autograd node; gradients are made in the forward pass, which sorts anyway."""

    @staticmethod
    def forward(ctx: Any, x: Any, y: Any, loss: Any, weights: Any, seed: Any) -> Any:
        arrays = [points.detach().numpy() for points in (x, y)]
        value, gradient = loss.evaluate(*arrays, *weights, seed)
        ctx.of_x = torch.as_tensor(gradient, dtype=x.dtype)
        ctx.of_y = None
        if ctx.needs_input_grad[1]:
            if loss.reservoir is not None:
                raise ValueError("with a reservoir only x may require a gradient; y.detach() it.")
            # The same seed gives the same directions, so that the value is the same too.
            mirrored = loss.evaluate(*arrays[::-1], *weights[::-1], seed)[1]
            ctx.of_y = torch.as_tensor(mirrored, dtype=y.dtype)
        return torch.tensor(value, dtype=x.dtype)

    @staticmethod
    def backward(ctx: Any, *outer: Any) -> Any:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "SlicedWassersteinLoss has no second derivative: call backward() or grad() "
                "without create_graph=True."
            )
        of_y = None if ctx.of_y is None else outer[0] * ctx.of_y
        return outer[0] * ctx.of_x, of_y, None, None, None


def _check_points(name: str, points: Any) -> None:
    if not isinstance(points, torch.Tensor):
        raise TypeError(f"{name} must be a torch tensor, got {type(points).__name__}.")
    if points.device.type != "cpu":
        raise ValueError(
            f"{name} is on device {str(points.device)!r}; the kernels need CPU tensors: "
            f"pass {name}.cpu(), gradients come back through it."
        )
    if points.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"{name} must be float32 or float64, got {points.dtype}.")


def _as_weights(name: str, values: Any) -> Any:
    if isinstance(values, torch.Tensor):
        if values.requires_grad:
            raise TypeError(f"{name} requires a gradient, but weights get none; detach() it.")
        return values.cpu().numpy()
    return values
