"""Choosing kernel, length-scale and ridge from the draws that a regression is fitted on.

Every candidate is scored for every integrand. Integrands then share candidates where that costs
little, so that few factorisations serve many of them.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from mcvar._typing import FloatArray
from mcvar.control.kernel_system import Spectrum
from mcvar.control.kernels import BaseKernel, with_length_scale

Criterion = Literal["loo", "reml"]

RIDGES = np.geomspace(1e-11, 1.0, 23)  # relative to the mean diagonal
FACTORS = 2.0 ** np.arange(-2, 6)  # length-scales tried, in units of the median distance
_REFINEMENT = np.sqrt(2)
_SHARED = 0.1  # loss in the log of the held-out variance at which integrands share a candidate


class Candidate(NamedTuple):
    """A kernel with its length-scale, and a ridge relative to the mean diagonal."""

    kernel: BaseKernel
    ridge: float


def choose(
    build: Callable[[BaseKernel], tuple[FloatArray, float]],
    phi: FloatArray,
    y: FloatArray,
    kernels: Sequence[BaseKernel],
    ridge: float | None,
    start: float,
    criterion: Criterion,
    *,
    one_for_all: bool,
) -> tuple[Candidate, ...]:
    """Choose what is left open by held-out residual variance or by restricted likelihood.

    Parameters
    ----------
    build : callable
        Makes the lower triangle of a kernel's matrix, and says what a relative ridge of one is.
    phi : ndarray, shape (n, q)
        Unpenalised columns, orthonormal.
    y : ndarray, shape (n, m)
    kernels : sequence of kernels
        To choose among; length-scales of None are chosen.
    ridge : float or None
        None where it is to be chosen.
    start : float
        Length-scale in the middle of the grid.
    criterion : {"loo", "reml"}
        Residual variance of the integrand when each row is left out, or minus the restricted
        likelihood a row.
    one_for_all : bool
        Whether all integrands take the candidate that is best on average.

    Returns
    -------
    tuple of Candidate, length m
        One for every integrand.
    """
    ridges = RIDGES[::-1] if ridge is None else np.array([ridge])
    candidates: list[Candidate] = []
    scores: list[FloatArray] = []

    def score(kernel: BaseKernel) -> None:
        matrix, unit = build(kernel)
        spectrum = Spectrum.of_matrix(matrix, phi, y)
        for rho in ridges:
            candidates.append(Candidate(kernel, float(rho)))
            scores.append(_score(spectrum, rho * unit, criterion))

    for kernel in kernels:
        if kernel.length_scale is not None:
            score(kernel)
            continue
        for factor in FACTORS:
            score(with_length_scale(kernel, start * factor))
    best = candidates[int(np.stack(scores).mean(axis=1).argmin())].kernel
    if best.length_scale is not None and best not in kernels:
        for factor in (1 / _REFINEMENT, _REFINEMENT):
            score(with_length_scale(best, best.length_scale * factor))
    if one_for_all:
        best_of_all = candidates[int(np.stack(scores).mean(axis=1).argmin())]
        return (best_of_all,) * y.shape[1]
    return _assign(candidates, np.stack(scores))


def _assign(candidates: list[Candidate], scores: FloatArray) -> tuple[Candidate, ...]:
    """Give every integrand a candidate near its best one, few and with large ridges overall.

    A larger ridge that serves as well is the safer one: small ridges extrapolate wildly, which
    shows only where the next draw lies further out than all before.
    """
    # Among equals the first is taken: put large ridges first.
    order = sorted(range(len(candidates)), key=lambda i: -candidates[i].ridge)
    good = scores[order] <= scores.min(axis=0) + _SHARED
    chosen: list[Candidate | None] = [None] * scores.shape[1]
    open_ = np.ones(scores.shape[1], dtype=bool)
    while open_.any():
        best = int((good & open_).sum(axis=1).argmax())
        for column in np.flatnonzero(good[best] & open_):
            chosen[column] = candidates[order[best]]
        open_ &= ~good[best]
    return tuple(candidate for candidate in chosen if candidate is not None)


def _score(spectrum: Spectrum, ridge: float, criterion: Criterion) -> FloatArray:
    if criterion == "reml":
        return np.asarray(-2 * spectrum.restricted_likelihood(ridge) / spectrum.n)
    squares = (spectrum.leave_one_out(ridge) ** 2).mean(axis=0)
    return np.asarray(np.log(np.maximum(squares, np.finfo(float).tiny)))
