"""Sliced Wasserstein losses for PyTorch (extra `torch`).

On the CPU values and gradients come from the compiled kernels of `mcvar.sliced`, made together and
only where they are needed. Elsewhere (CUDA), and for small clouds, weights with gradients, second
derivatives and ``torch.compile``, the same estimate is made of torch's own operations.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from mcvar._checks import as_count, import_extra, known_name, root_entropy
from mcvar._typing import Seed
from mcvar.samplers import stream_seed
from mcvar.sliced import ReservoirSliced
from mcvar.sliced.design import best_kind
from mcvar.sliced.directions import KINDS
from mcvar.sliced.distance import as_exponent
from mcvar.sliced.expansion import affordable_order
from mcvar.sliced.gradient import SlicedGradient, gradient_along, takes_control
from mcvar.sliced.projection import Pair, as_cloud
from mcvar.sliced.tensors import (
    centred,
    gaussian_change,
    projected_costs,
    tensor_directions,
)

if TYPE_CHECKING:
    import torch
else:
    torch = import_extra("torch", "torch")

__all__ = ["SlicedWassersteinLoss"]

_SMALL = 2**13  # points times directions below which a call costs more than the work
_HALF = (torch.float16, torch.bfloat16)
_DTYPES = (*_HALF, torch.float32, torch.float64)


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
        Source of randomness (SPEC 7). By default torch's own generator, so that
        ``torch.manual_seed`` decides. Otherwise how many calls were made is part of
        ``state_dict``, so that a run can be resumed.

    Examples
    --------
    >>> import torch
    >>> from mcvar.torch import SlicedWassersteinLoss
    >>> _ = torch.manual_seed(0)
    >>> x = torch.randn(200, 3, requires_grad=True)
    >>> loss = SlicedWassersteinLoss(n=32)
    >>> loss(x, torch.randn(300, 3) + 2).backward()
    >>> x.grad.shape, bool((x.grad.mean(dim=0) < 0).all())
    (torch.Size([200, 3]), True)

    A batch of pairs has a loss each:

    >>> loss(torch.randn(5, 40, 3), torch.randn(5, 60, 3)).shape
    torch.Size([5])
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
        self.p = as_exponent(p)
        self.n = as_count("n", n)
        self.method = known_name("method", method, ("auto", *KINDS))
        if control is not None:
            known_name("control", control, ("auto", "full"))
        if control == "full" and self.p != 2:
            raise ValueError(f"control='full' is for p = 2 only, got p={p!r}.")
        self.control, self.root = control, root
        self.workers = as_count("workers", workers)
        self.reservoir = reservoir
        self.resample = resample
        self._stem = None if rng is None else root_entropy(rng)
        if rng is None and not resample:
            self._stem = _torch_seed()
        self._calls = 0

    def forward(self, x: Any, y: Any, a: Any = None, b: Any = None) -> Any:
        """Return the loss between ``x (n_x, d)`` and ``y (n_y, d)``, a scalar tensor.

        Parameters
        ----------
        x, y : Tensor, shapes (n_x, d) and (n_y, d), or (B, n_x, d) and (B, n_y, d)
            The points, on one device and of one dtype; gradients go to both. float16 and bfloat16
            are computed, and answered, in float32; under autocast they mix with float32. A batch
            gives losses of shape (B,), along the same directions.
        a, b : Tensor or array_like, shapes (n_x,) and (n_y,), or (B, n_x) and (B, n_y), optional
            Weights, non-negative and summing to one; gradients go to them where required, as to
            independent numbers (no sum is kept).

        Raises
        ------
        TypeError
            What is not a floating-point tensor; different dtypes.
        ValueError
            Different devices; batches or dimensions that disagree; on the CPU, points that are
            not finite.
        RuntimeError
            A second derivative with a reservoir, which has none to give.
        """
        _check_points(x, y)
        weights = [_as_weights(*pair, like=x) for pair in (("a", a, x), ("b", b, y))]
        if torch.is_autocast_enabled(x.device.type):
            with torch.autocast(x.device.type, enabled=False):
                return self._evaluate(x, y, weights)
        return self._evaluate(x, y, weights)

    def _evaluate(self, x: Any, y: Any, weights: Any) -> Any:
        if x.dtype in _HALF or y.dtype in _HALF:
            x, y = x.float(), y.float()
        if self.reservoir is not None:
            return self._remembered(x, y, weights)
        theta, controlled = self._directions(x, max(x.shape[-2], y.shape[-2]))
        if self._suits_kernels(x, y, weights):
            return _Compiled.apply(x, y, self, weights, theta, controlled)
        value = self.of_tensors(x, y, weights, theta, controlled)
        if x.device.type == "cpu" and not torch.compiler.is_compiling():
            _check_finite(value, x, y)
        return value

    def of_tensors(self, x: Any, y: Any, weights: Any, theta: Any, controlled: bool) -> Any:
        """Return the loss along ``theta (L, d)`` by torch's own operations."""
        x, y = centred(x, y)
        a, b = weights
        rows_x, rows_y = theta @ x.mT, theta @ y.mT
        value = plain = projected_costs(rows_x, rows_y, a, b, self.p).mean(dim=-1)
        if controlled:
            order = affordable_order(x.shape[-2], y.shape[-2], x.shape[-1], len(theta))
            value = value + gaussian_change(x, y, rows_x, rows_y, theta, a, b, order)
        if not self.root:
            return value
        # Where clouds nearly agree, a corrected value is noise around zero: not for dividing by.
        value = torch.where(value < plain / 2, plain, value)
        positive = value > 0
        root = torch.where(positive, value, 1.0) ** (1 / self.p)
        return torch.where(positive, root, 0.0)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _directions(self, like: Any, points: int) -> tuple[Any, bool]:
        """Draw directions (L, d), and say whether the control serves them."""
        d = like.shape[-1]
        if self._stem is None:
            seed = _torch_seed()
        else:
            stream = stream_seed(self._stem, self._calls if self.resample else 0)
            seed = int(stream.generate_state(1, np.uint64)[0] >> np.uint64(1))
        self._calls += 1
        if d == 1:
            return torch.ones((1, 1), dtype=like.dtype, device=like.device), False
        kind = best_kind(self.n, d, points) if self.method == "auto" else self.method
        theta = tensor_directions(self.n, d, kind, seed, like)
        return theta, takes_control(kind, d, self.p, self.control)

    def _suits_kernels(self, x: Any, y: Any, weights: Any) -> bool:
        """Whether the compiled kernels serve: CPU tensors, of some size, weights as they are."""
        return (
            x.device.type == "cpu"
            and not torch.compiler.is_compiling()
            and self.n * max(x.shape[-2], y.shape[-2]) > _SMALL
            and not any(w is not None and w.requires_grad for w in weights)
        )

    def _remembered(self, x: Any, y: Any, weights: Any) -> Any:
        if x.device.type != "cpu" or x.ndim != 2:
            raise ValueError(
                f"a reservoir needs CPU tensors of shape (n, d); got {tuple(x.shape)} on "
                f"{str(x.device)!r}."
            )
        if y.requires_grad or any(w is not None and w.requires_grad for w in weights):
            raise ValueError("with a reservoir only x may require a gradient; y.detach() it.")
        self._calls += 1
        return _Compiled.apply(x, y, self, weights, None, False)

    def get_extra_state(self) -> dict[str, Any]:
        """Return what the next call depends on."""
        held = None if self.reservoir is None else self.reservoir.get_state()
        return {"stem": self._stem, "calls": self._calls, "reservoir": held}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Resume from where `get_extra_state` was called."""
        self._stem, self._calls = state["stem"], state["calls"]
        if self.reservoir is not None and state["reservoir"] is not None:
            self.reservoir.set_state(state["reservoir"])


class _Compiled(torch.autograd.Function):
    """The kernels as an autograd node; gradients are made in the forward pass, which sorts."""

    @staticmethod
    def forward(
        ctx: Any, x: Any, y: Any, loss: Any, weights: Any, theta: Any, controlled: bool
    ) -> Any:
        ctx.save_for_backward(x, y)
        ctx.again = (loss, weights, theta, controlled)
        batch = x.shape[:-2]
        found: list[list[SlicedGradient]] = [[], []]  # values and gradients of x; gradients of y
        pairs = zip(_clouds(x, weights[0]), _clouds(y, weights[1]), strict=True)
        for (x_k, a_k), (y_k, b_k) in pairs:
            if loss.reservoir is not None:
                found[0].append(loss.reservoir.step(x_k, y_k, a_k, b_k))
                continue
            cloud_x, cloud_y = as_cloud("x", x_k, a_k, "a"), as_cloud("y", y_k, b_k, "b")
            options = (theta.numpy(), controlled, loss.root, loss.workers)
            found[0].append(gradient_along(Pair(cloud_x, cloud_y, loss.p), *options, a=a_k))
            if ctx.needs_input_grad[1]:
                mirrored = gradient_along(Pair(cloud_y, cloud_x, loss.p), *options, a=b_k)
                found[1].append(mirrored)
        ctx.gradients = [
            torch.as_tensor(np.stack([one.gradient for one in of])).to(like.dtype).view_as(like)
            if of
            else None
            for of, like in zip(found, (x, y), strict=True)
        ]
        values = torch.tensor([one.value for one in found[0]], dtype=x.dtype)
        return values.view(batch)

    @staticmethod
    def backward(ctx: Any, *outer: Any) -> Any:
        loss, weights, theta, controlled = ctx.again
        if torch.is_grad_enabled():
            if loss.reservoir is not None:
                raise RuntimeError(
                    "a loss with a reservoir has no second derivative: call backward() or grad() "
                    "without create_graph=True."
                )
            # Somebody wants to go through the gradient: make it of operations that allow it.
            x, y = ctx.saved_tensors
            wanted = [t for t, needed in zip((x, y), ctx.needs_input_grad, strict=False) if needed]
            value = loss.of_tensors(x, y, weights, theta, controlled)
            made = iter(torch.autograd.grad(value, wanted, outer[0], create_graph=True))
            found = [next(made) if needed else None for needed in ctx.needs_input_grad[:2]]
            return *found, None, None, None, None
        found = [
            None if gradient is None else outer[0][..., None, None] * gradient
            for gradient in ctx.gradients
        ]
        return *found, None, None, None, None


def _clouds(points: Any, weights: Any) -> Any:
    """Pairs of arrays (n, d) and (n,) or None, one for each cloud of a batch."""
    arrays = points.detach().numpy().reshape(-1, *points.shape[-2:])
    if weights is None:
        return [(array, None) for array in arrays]
    masses = np.broadcast_to(weights.detach().numpy(), arrays.shape[:-1])
    return list(zip(arrays, masses, strict=True))


def _torch_seed() -> int:
    """Return a seed from torch's default generator, which ``torch.manual_seed`` sets."""
    return int(torch.randint(2**62, ()).item())


def _check_points(x: Any, y: Any) -> None:
    for name, points in (("x", x), ("y", y)):
        if not isinstance(points, torch.Tensor):
            raise TypeError(f"{name} must be a torch tensor, got {type(points).__name__}.")
        if points.dtype not in _DTYPES:
            raise TypeError(
                f"{name} must be a tensor of float32, float64, float16 or bfloat16, got "
                f"{points.dtype}."
            )
        if points.ndim not in (2, 3) or 0 in points.shape:
            raise ValueError(
                f"{name} must have shape (n, d) or (B, n, d), none of them 0, got "
                f"{tuple(points.shape)}."
            )
    if x.device != y.device:
        raise ValueError(f"x and y are on different devices, {x.device} and {y.device}.")
    mixes = torch.is_autocast_enabled(x.device.type) and torch.float64 not in (x.dtype, y.dtype)
    if x.dtype != y.dtype and not mixes:
        raise TypeError(f"x and y have different dtypes, {x.dtype} and {y.dtype}.")
    if x.shape[:-2] != y.shape[:-2] or x.shape[-1] != y.shape[-1]:
        raise ValueError(
            "x and y must have the same batch and the same dimension, got shapes "
            f"{tuple(x.shape)} and {tuple(y.shape)}."
        )


def _as_weights(name: str, values: Any, points: Any, like: Any) -> Any:
    """Return weights (..., n) as a tensor beside the points."""
    if values is None:
        return None
    weights = torch.as_tensor(values)
    if weights.device != like.device:
        if isinstance(values, torch.Tensor):
            raise ValueError(f"{name} is on {weights.device}, the points on {like.device}.")
        weights = weights.to(like.device)
    n = points.shape[-2]
    if weights.shape not in ((n,), points.shape[:-1]):
        raise ValueError(
            f"{name} must have shape {tuple(points.shape[:-1])}, one weight a point, got "
            f"{tuple(weights.shape)}."
        )
    if like.device.type == "cpu" and not torch.compiler.is_compiling():
        held = weights.detach().double()
        if not bool((held >= 0).all()):
            raise ValueError(f"{name} holds {held.min()}; weights are >= 0.")
        worst = float((held.sum(dim=-1) - 1).abs().max())
        if not worst <= (1e-6 if weights.dtype == torch.float64 else 1e-4):
            raise ValueError(f"{name} must sum to 1 over the points; it is off by {worst:.3g}.")
    return weights


def _check_finite(value: Any, x: Any, y: Any) -> None:
    if not bool(torch.isfinite(value.detach()).all()):
        for name, points in (("x", x), ("y", y)):
            as_cloud(name, points.detach().numpy().reshape(-1, points.shape[-1]))  # says where
