"""Stein thinning and the kernel Stein discrepancy: how well points stand for a target.

The discrepancy is √(1'K1)/n with K a Stein kernel matrix: the largest error of the points' mean
over functions in the unit ball of the kernel that integrate to zero. Thinning adds, one after
another, the point that lowers it most.
"""

from typing import Any

import numpy as np

from mcvar._checks import as_count
from mcvar._typing import IntArray
from mcvar.control.kernels import BaseKernel, InverseMultiquadric, as_kernel
from mcvar.control.sample import checked_weights, points_and_scores
from mcvar.control.standardise import Coordinates
from mcvar.control.stein_gram import SteinGram, SteinPoints

_BLOCK = 1024


def stein_thinning(
    x: Any, grad_logpdf: Any, m: int, *, kernel: BaseKernel | None = None
) -> IntArray:
    """Pick `m` points of a chain that stand for its target best.

    Parameters
    ----------
    x, grad_logpdf : array_like, shape (n, d)
        Draws, from whatever law, and the scores of the target there.
    m : int
        How many to pick; a point may be picked more than once.
    kernel : kernel from `mcvar.control.kernels`, optional
        With its length-scale in units of standardised draws. Default
        ``InverseMultiquadric(1)``.

    Returns
    -------
    ndarray of int, shape (m,)
        Rows of `x` in the order in which they were picked, so that the first of them are the
        answer for a smaller m.

    References
    ----------
    Riabiz, Chen, Cockayne, Swietach, Niederer, Mackey & Oates, "Optimal thinning of MCMC output",
    JRSS B 84 (2022), Algorithm 1.

    Examples
    --------
    A chain that starts far out: thinning leaves the start away.

    >>> import numpy as np, mcvar
    >>> start = 9 * np.exp(-np.arange(500) / 20)[:, None]
    >>> x = start + np.random.default_rng(1).normal(size=(500, 2))
    >>> kept = mcvar.stein_thinning(x, -x, 20)
    >>> bool(kept.min() > 20)
    True
    """
    gram, points = _prepared(x, grad_logpdf, kernel)
    return thin(gram, points, as_count("m", m), distinct=False)


def kernel_stein_discrepancy(
    x: Any, grad_logpdf: Any, *, weights: Any = None, kernel: BaseKernel | None = None
) -> float:
    """Return √(w'Kw), Σw = 1: zero only where the weighted points are the target.

    Parameters
    ----------
    x, grad_logpdf : array_like, shape (n, d)
    weights : array_like, shape (n,), optional
        Non-negative; scaled to sum to one. Equal by default.
    kernel : kernel from `mcvar.control.kernels`, optional
        Default ``InverseMultiquadric(1)``, which tells convergence in law.

    References
    ----------
    Gorham & Mackey, "Measuring sample quality with kernels", ICML 2017, eq. 5.

    Examples
    --------
    >>> import numpy as np, mcvar
    >>> x = np.random.default_rng(1).normal(size=(300, 1))
    >>> right = mcvar.kernel_stein_discrepancy(x, -x)
    >>> wrong = mcvar.kernel_stein_discrepancy(x, 1 - x)
    >>> bool(wrong > 5 * right)
    True
    """
    gram, points = _prepared(x, grad_logpdf, kernel)
    w = np.full(points.n, 1 / points.n)
    if weights is not None:
        w *= checked_weights(weights, points.n)
    total = 0.0
    for first in range(0, points.n, _BLOCK):
        rows = slice(first, min(first + _BLOCK, points.n))
        seen = points.part(slice(0, rows.stop))
        # Every block of rows against all points so far: pairs outside the block count twice.
        product = gram.cross(points.part(rows), seen) * w[: rows.stop]
        total += w[rows] @ (2 * product[:, : rows.start].sum(axis=1))
        total += w[rows] @ product[:, rows.start :].sum(axis=1)
    return float(np.sqrt(max(total, 0.0)))


def thin(gram: SteinGram, points: SteinPoints, m: int, *, distinct: bool) -> IntArray:
    """Pick `m` of the points greedily; without repetition where `distinct`."""
    objective = gram.diagonal(points) / 2
    picked = np.empty(m, dtype=np.int64)
    for i in range(m):
        best = int(objective.argmin())
        picked[i] = best
        objective += gram.cross(points.part(slice(best, best + 1)), points)[0]
        if distinct:
            objective[best] = np.inf
    return picked


def _prepared(x: Any, grad_logpdf: Any, kernel: BaseKernel | None) -> tuple[SteinGram, SteinPoints]:
    points, scores = points_and_scores(x, grad_logpdf)
    chosen = as_kernel(kernel or InverseMultiquadric(1.0))
    if chosen.length_scale is None:
        raise ValueError(
            f"{chosen!r} has no length-scale, and nothing here chooses one; give it in units of "
            "standardised draws, such as InverseMultiquadric(1.0)."
        )
    coordinates = Coordinates.of(points, None, "cholesky")
    gram = SteinGram(chosen, order=1)
    return gram, gram.at(coordinates.points(points), coordinates.scores(scores))
