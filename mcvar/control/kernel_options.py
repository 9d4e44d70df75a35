"""Options that scalar and vector-valued kernel controls share, checked."""

from collections.abc import Sequence
from typing import Any

from mcvar._checks import as_count, as_number
from mcvar.control.kernels import BaseKernel, as_kernel


def kernels_to_try(kernel: Any, default: tuple[BaseKernel, ...]) -> tuple[BaseKernel, ...]:
    """Return the kernels that a control chooses among: one, several, or its default."""
    if kernel is None:
        return default
    several = tuple(kernel) if isinstance(kernel, Sequence) else (kernel,)
    if not several:
        raise ValueError("kernel is an empty sequence; expected at least one kernel.")
    return tuple(as_kernel(each) for each in several)


def check_options(order: Any, polynomial_degree: Any, ridge: Any) -> None:
    """Refuse orders, degrees and ridges that no kernel control has."""
    if as_count("order", order) > 2:
        raise ValueError(f"order must be 1 or 2, got {order!r}.")
    if polynomial_degree is not None:
        as_count("polynomial_degree", polynomial_degree)
    if ridge is not None and as_number("ridge", ridge) < 0:
        raise ValueError(f"ridge must be a number >= 0, got {ridge!r}.")
