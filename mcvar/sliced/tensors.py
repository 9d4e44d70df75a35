"""Costs between projected clouds in PyTorch's own operations: project, sort, gather.

For tensors anywhere, with gradients of any order in points and weights; on the CPU the compiled
kernels are faster where clouds are not small. Batches lead: points (..., n, d). Imported only
where a tensor was given, since it needs the extra `torch`.
"""

from functools import lru_cache
from typing import Any

import numpy as np

from mcvar._checks import import_extra
from mcvar._jit.wasserstein import uniform_pattern
from mcvar.sliced.directions import draw_directions
from mcvar.sliced.expansion import _CONCENTRATED

torch = import_extra("torch", "torch")


def tensor_directions(n: int, d: int, kind: str, seed: int, like: Any) -> Any:
    """Return n directions (n, d) as a tensor with the dtype and device of `like`.

    Independent directions, frames and equal angles are made on the device.
    """
    if kind not in ("montecarlo", "orthogonal") and d != 2:
        theta = draw_directions(n, d, kind, np.random.default_rng(seed))
        return torch.as_tensor(theta).to(dtype=like.dtype, device=like.device)
    generator = torch.Generator(like.device).manual_seed(seed)
    options = {"generator": generator, "dtype": like.dtype, "device": like.device}
    if kind == "montecarlo":
        return torch.nn.functional.normalize(torch.randn(n, d, **options), dim=1)
    if kind == "orthogonal":
        size = min(n, d)
        q, r = torch.linalg.qr(torch.randn(-(-n // size), d, size, **options))
        # QR fixes each column up to its sign; the sign of R's diagonal makes the law uniform.
        q = q * torch.diagonal(r, dim1=-2, dim2=-1).sign()[:, None, :]
        return q.mT.reshape(-1, d)[:n]
    places = torch.arange(n, dtype=like.dtype, device=like.device)
    angle = (places + 2 * n * torch.rand(1, **options)) * (torch.pi / n)
    return torch.stack([angle.cos(), angle.sin()], dim=1)


def centred(x: Any, y: Any) -> tuple[Any, Any]:
    """Shift both clouds by the mean of the second, which no distance notices."""
    shift = y.detach().mean(dim=-2, keepdim=True)
    return x - shift, y - shift


def projected_costs(rows_x: Any, rows_y: Any, a: Any, b: Any, p: float) -> Any:
    """Return W_p^p of rows of projections (..., L, n) and (..., L, m), shape (..., L).

    Weights ``a (..., n)`` and ``b (..., m)`` sum to one, or are None for uniform ones.
    """
    x, order_x = torch.sort(rows_x, dim=-1)
    y, order_y = torch.sort(rows_y, dim=-1)
    if a is None and b is None:
        if x.shape[-1] == y.shape[-1]:
            return _power(x - y, p).mean(dim=-1)
        i_of, j_of, mass = _pattern(x.shape[-1], y.shape[-1], x.dtype, x.device)
        return _power(x[..., i_of] - y[..., j_of], p) @ mass
    u, v = _levels(a, order_x, x), _levels(b, order_y, y)
    levels, _ = torch.sort(torch.cat([u, v], dim=-1), dim=-1)
    mass = torch.diff(levels, dim=-1, prepend=torch.zeros_like(levels[..., :1]))
    # The middle of a piece of mass lies inside one level of either cloud.
    middle = (levels - mass / 2).detach().contiguous()
    gap = _quantiles(x, u, middle) - _quantiles(y, v, middle)
    return (mass * _power(gap, p)).sum(dim=-1)


def gaussian_change(
    x: Any, y: Any, rows_x: Any, rows_y: Any, theta: Any, a: Any, b: Any, order: int
) -> Any:
    """Return E h less its mean over ``theta (L, d)``, h the expanded Gaussian approximation.

    See `mcvar.sliced.expansion`; points (..., n, d), shape (...).
    """
    d = theta.shape[-1]
    (mean_x, scaled_x), (mean_y, scaled_y) = _scaled(x, a), _scaled(y, b)
    shift = mean_x - mean_y
    total_x, total_y = (scaled.square().sum(dim=(-2, -1)) / d for scaled in (scaled_x, scaled_y))
    size = shift.square().sum(dim=-1) / d + total_x + total_y
    rounding = (100 * torch.finfo(x.dtype).eps) ** 2
    degenerate = torch.minimum(total_x, total_y) <= rounding * size
    safe_x, safe_y = (torch.where(degenerate, 1.0, total) for total in (total_x, total_y))
    scale = torch.where(degenerate, 0.0, (safe_x * safe_y).sqrt())
    var_x, var_y = _row_variances(rows_x, a), _row_variances(rows_y, b)
    u, v = var_x / safe_x[..., None], var_y / safe_y[..., None]
    product, mean_product = (u + v).mean(dim=-1) / 2, 1.0
    if order == 2:
        square = (
            _squared_norm(scaled_x, scaled_x) / safe_x**2
            - 2 * _squared_norm(scaled_x, scaled_y) / (safe_x * safe_y)
            + _squared_norm(scaled_y, scaled_y) / safe_y**2
        )
        imbalance = 2 * square / (d * (d + 2))
        used = ((imbalance <= _CONCENTRATED) & ~degenerate).to(u.dtype)
        product = product - used * (u - v).square().mean(dim=-1) / 8
        mean_product = 1 - used * imbalance / 8
    forms = (theta @ shift[..., None])[..., 0].square() + var_x + var_y
    change = shift.square().sum(dim=-1) / d + total_x + total_y - forms.mean(dim=-1)
    return change - 2 * scale * (mean_product - product)


def _power(gap: Any, p: float) -> Any:
    if p == 2:
        return gap.square()
    return gap.abs() if p == 1 else gap.abs() ** p


def _levels(weights: Any, order: Any, values: Any) -> Any:
    """Cumulative weights in the order of the values, (..., L, n); the last one is 1."""
    n = values.shape[-1]
    if weights is None:
        levels = torch.arange(1, n + 1, dtype=values.dtype, device=values.device) / n
        return levels.expand(values.shape)
    weights = weights.to(values.dtype)[..., None, :].expand(values.shape)
    levels = torch.gather(weights, -1, order).cumsum(dim=-1)
    return levels / levels[..., -1:]


def _quantiles(values: Any, levels: Any, at: Any) -> Any:
    place = torch.searchsorted(levels.detach().contiguous(), at)
    return torch.gather(values, -1, place.clamp(max=values.shape[-1] - 1))


def _scaled(points: Any, weights: Any) -> tuple[Any, Any]:
    """Mean (..., d), and centred points times the roots of their weights (..., n, d)."""
    if weights is None:
        mean = points.mean(dim=-2)
        return mean, (points - mean[..., None, :]) / points.shape[-2] ** 0.5
    weights = weights.to(points.dtype)[..., None]
    mean = (weights * points).sum(dim=-2)
    # The root of a weight of zero has no derivative; no point is lost by the least of floors.
    root = weights.clamp(min=torch.finfo(points.dtype).tiny).sqrt()
    return mean, (points - mean[..., None, :]) * root


def _row_variances(rows: Any, weights: Any) -> Any:
    if weights is None:
        return rows.var(dim=-1, correction=0)
    weights = weights.to(rows.dtype)[..., None, :]
    centred = rows - (weights * rows).sum(dim=-1, keepdim=True)
    return (weights * centred.square()).sum(dim=-1)


def _squared_norm(x: Any, y: Any) -> Any:
    """tr(AB) from scaled points, in the span of the points where d is larger."""
    if x.shape[-1] <= min(x.shape[-2], y.shape[-2]):
        return ((x.mT @ x) * (y.mT @ y)).sum(dim=(-2, -1))
    return (x @ y.mT).square().sum(dim=(-2, -1))


@lru_cache(maxsize=16)
def _pattern(n: int, m: int, dtype: Any, device: Any) -> tuple[Any, Any, Any]:
    i_of, j_of, mass = uniform_pattern(n, m)
    places = [torch.as_tensor(of.astype(np.int64), device=device) for of in (i_of, j_of)]
    return places[0], places[1], torch.as_tensor(mass).to(dtype=dtype, device=device)
