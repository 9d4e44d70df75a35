"""Choosing kernel, length-scale and ridge from the draws that a regression is fitted on.

Every candidate is scored for every integrand. Integrands then share candidates where that costs
little, so that few factorisations serve many of them.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from mcvar._typing import FloatArray
from mcvar.control.kernel_system import Spectrum
from mcvar.control.kernels import BaseKernel, with_length_scale

Criterion = Literal["loo", "reml"]

RIDGES = np.geomspace(1e-11, 1.0, 12)  # relative to the mean diagonal
FACTORS = 4.0 ** np.arange(-1, 3) * 2  # length-scales tried, in units of the median distance
_REFINEMENT = 2.0
_SLACK = 2.0  # standard errors of a held-out variance that count as equal
_LEAST_SLACK = 0.05  # share of a criterion that counts as equal
_SHARED_RIDGE = 0.05  # of the largest ridge that would serve an integrand, to share a factorisation

#: Values of the criterion (candidates, m), and how much more is no worse.
_Score: TypeAlias = tuple[FloatArray, FloatArray]


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
    ridges = RIDGES if ridge is None else np.array([ridge])
    candidates: list[Candidate] = []
    scores: list[_Score] = []

    def score(kernel: BaseKernel) -> None:
        matrix, unit = build(kernel)
        spectrum = Spectrum.of_matrix(matrix, phi, y)
        candidates.extend(Candidate(kernel, float(rho)) for rho in ridges)
        scores.append(_score(spectrum, ridges * unit, criterion))

    def best_of_all() -> int:
        values = np.concatenate([value for value, _ in scores])
        return int(np.log(np.maximum(values, np.finfo(float).tiny)).mean(axis=1).argmin())

    for kernel in kernels:
        if kernel.length_scale is not None:
            score(kernel)
            continue
        for factor in FACTORS:
            score(with_length_scale(kernel, start * factor))
    best = candidates[best_of_all()].kernel
    if best.length_scale is not None and best not in kernels:
        for factor in (1 / _REFINEMENT, _REFINEMENT):
            score(with_length_scale(best, best.length_scale * factor))
    if one_for_all:
        return (candidates[best_of_all()],) * len(y.T)
    values, slack = (np.concatenate(part) for part in zip(*scores, strict=True))
    return _assign(candidates, values, slack)


def _assign(
    candidates: list[Candidate], values: FloatArray, slack: FloatArray
) -> tuple[Candidate, ...]:
    """Give every integrand a candidate that its best one does not beat, with ridges that are large.

    Beaten is what is worse than the best by more than a few standard errors of it. Small ridges
    extrapolate wildly, which shows only where the next draw lies further out than all before:
    among equals the largest ridge is the safest, and often the best.
    """
    # Among equals the first is taken: put large ridges first.
    order = sorted(range(len(candidates)), key=lambda i: -candidates[i].ridge)
    leader = values.argmin(axis=0), np.arange(values.shape[1])
    good = values[order] <= values[leader] + slack[leader]
    largest = np.array([candidates[i].ridge for i in order])
    # No two decades more of ridge are given up to share a factorisation.
    safest = np.where(good, largest[:, np.newaxis], 0.0).max(axis=0)
    good &= largest[:, np.newaxis] >= _SHARED_RIDGE * safest
    chosen: list[Candidate | None] = [None] * values.shape[1]
    open_ = np.ones(values.shape[1], dtype=bool)
    while open_.any():
        best = int((good & open_).sum(axis=1).argmax())
        for column in np.flatnonzero(good[best] & open_):
            chosen[column] = candidates[order[best]]
        open_ &= ~good[best]
    return tuple(candidate for candidate in chosen if candidate is not None)


def _score(spectrum: Spectrum, ridges: FloatArray, criterion: Criterion) -> _Score:
    if criterion == "reml":
        # A likelihood ratio of e is no evidence: two units, over the number of rows.
        values = np.exp(-2 * spectrum.restricted_likelihood(ridges) / spectrum.n)
        return values, values * np.expm1(2 / spectrum.n)
    squares = spectrum.leave_one_out(ridges) ** 2
    values = squares.mean(axis=1)
    error = squares.std(axis=1) / np.sqrt(spectrum.n)
    return values, np.maximum(_SLACK * error, _LEAST_SLACK * values)
