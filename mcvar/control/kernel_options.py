"""Options that scalar and vector-valued kernel controls share, checked."""

from collections.abc import Sequence
from typing import Any

from mcvar._checks import as_count, as_number
from mcvar.control.kernels import BaseKernel, as_kernel

MAX_MEMORY = 8e9  # bytes of one kernel matrix: some 31,600 draws


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


def check_memory(n: int, max_memory: float, instead: str) -> None:
    """Refuse a kernel system on n draws whose matrix does not fit into so many bytes."""
    needed = 8.0 * n**2
    if not max_memory > 0:
        raise ValueError(f"max_memory must be positive, got {max_memory!r}.")
    if needed > max_memory:
        raise MemoryError(
            f"the kernel matrix of {n:,} draws takes {needed / 1e9:.3g} GB, max_memory allows "
            f"{max_memory / 1e9:.3g} GB: {instead}"
        )
