"""A task more for a vector-valued Stein kernel that has been learned already.

What is known stays: kernel, ridges, and the covariance B of the tasks seen so far, scaled to mean
diagonal one. With R the leading factors of B, a further task has covariances R l with them and
variance |l|² + e^δ, which leaves the whole positive semi-definite. Its loadings l, δ and ridge
minimise the restricted likelihood of all observations (see `task_systems`) with everything else
held. Given the earlier ones, whose system is factorised once, only the observations of the new task
are in play:

    y_n = Φ_n β + C'P y_o + noise of covariance S,   S = A_nn − C'P C,   C = (R l)_task ∘ K_on,

where P = A_oo⁻¹ − A_oo⁻¹Φ(Φ'A_oo⁻¹Φ)⁻¹Φ'A_oo⁻¹; C is linear in l, so that C'PC comes from r²
matrices of the size of the new task.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy import linalg, optimize

from mcvar._typing import FloatArray
from mcvar.control.kernel_system import factorise
from mcvar.control.kernels import BaseKernel
from mcvar.control.stein_gram import SteinGram
from mcvar.control.task_covariance import Learned
from mcvar.control.task_systems import OwnDraws

_RANK = 3  # of R
_RIDGE_BOUNDS = (1e-10, 3.0)
_SPECIFIC = 0.1  # e^δ at the start
_OF_LOADING, _OF_SPECIFIC, _OF_RIDGE = 1.0, 2.0, 3.0  # standard deviations of the prior
_ITERATIONS = 40


def extend(
    tasks: OwnDraws,
    order: int,
    kernel: BaseKernel,
    ridges: FloatArray,
    covariance: FloatArray,
    ridge: float | None,
) -> Learned:
    """Return what is known, with ridges and covariances of the tasks beyond learned one by one.

    Parameters
    ----------
    tasks : OwnDraws
        Observations, those of the known tasks first.
    order : int
    kernel, ridges, covariance
        What is known: the kernel, and ridges (T₀,) and B (T₀, T₀) of the first T₀ tasks.
    ridge : float, optional
        Relative ridge of further tasks; learned if left out.
    """
    gram = SteinGram(kernel, order)
    matrix = gram.matrix(gram.at(tasks.x, tasks.s))
    b = covariance / np.diagonal(covariance).mean()
    while len(b) < len(tasks.starts):
        found = _Further(tasks, matrix, ridges, b, ridge).minimise()
        b = np.block([[b, found.shared[:, np.newaxis]], [found.shared, found.variance]])
        ridges = np.append(ridges, found.ridge)
    return Learned(kernel, ridges, b, 0.0)


class _Found(NamedTuple):
    """Covariances (t,) of task t with those before, its variance, and its ridge."""

    shared: FloatArray
    variance: float
    ridge: float


class _Further:
    """Penalised negative restricted likelihood of what a task more has of its own."""

    def __init__(
        self,
        tasks: OwnDraws,
        matrix: FloatArray,
        ridges: FloatArray,
        b: FloatArray,
        ridge: float | None,
    ) -> None:
        t = len(b)
        old, new = np.flatnonzero(tasks.task < t), np.flatnonzero(tasks.task == t)
        units = tasks.mean_by_task(np.diagonal(matrix))
        task = tasks.task[old]
        noise = (ridges * units[:t] * np.diagonal(b))[task]
        factor, _ = factorise(lambda: matrix[np.ix_(old, old)] * b[np.ix_(task, task)], noise)
        on_phi = linalg.solve_triangular(factor, _used(tasks.phi[old]), trans="T")
        q = linalg.qr(on_phi, mode="economic")[0]

        def whiten(v: FloatArray) -> FloatArray:
            """Return W v with W'W = P."""
            half = linalg.solve_triangular(factor, v, trans="T")
            return np.asarray(half - q @ (q.T @ half))

        values, vectors = linalg.eigh(b)
        rank = min(_RANK, t)
        self.root = vectors[:, ::-1][:, :rank] * np.sqrt(np.maximum(values[::-1][:rank], 0.0))
        y_old = whiten(tasks.y[old])
        between = matrix[np.ix_(old, new)]
        across = [whiten(column[task][:, np.newaxis] * between) for column in self.root.T]
        # What each factor says of the new values, and of their covariance.
        self.said = np.stack([c.T @ y_old for c in across], axis=1)
        self.known = np.array([[c.T @ d for d in across] for c in across])
        self.own, self.unit = matrix[np.ix_(new, new)], units[t]
        self.phi, self.y, self.ridge = _used(tasks.phi[new]), tasks.y[new], ridge
        self.quadratic = float(y_old @ y_old)
        self.degrees = len(old) + len(new) - q.shape[1] - self.phi.shape[1]
        start = np.log(np.maximum(ridges, _RIDGE_BOUNDS[0])).mean()
        free = rank + 1 + (ridge is None)
        self.centre = np.append(np.zeros(rank), [np.log(_SPECIFIC), start])[:free]
        self.spread = np.append(np.full(rank, _OF_LOADING), [_OF_SPECIFIC, _OF_RIDGE])[:free]

    def minimise(self) -> _Found:
        """Return the best that L-BFGS finds from two starts."""
        rank = self.root.shape[1]
        bounds = [(None, None)] * (rank + 1) + [tuple(np.log(_RIDGE_BOUNDS))]
        best, least = self.centre, np.inf
        for share in (1.0, 0.3):
            begin = np.append(share * self._regression(), self.centre[rank:])
            found: Any = optimize.minimize(
                self,
                begin,
                method="L-BFGS-B",
                bounds=bounds[: len(begin)],
                options={"maxiter": _ITERATIONS},
            )
            if found.fun < least:
                best, least = found.x, found.fun
        loadings, variance, ridge = self._read(best)
        return _Found(self.root @ loadings, variance, ridge)

    def _regression(self) -> FloatArray:
        """Return loadings from a regression of the new values on what each factor says."""
        left = np.column_stack([self.said, self.y])
        left -= self.phi @ np.linalg.lstsq(self.phi, left, rcond=None)[0]
        factors, y = left[:, :-1], left[:, -1]
        gram = factors.T @ factors + _SPECIFIC * np.eye(factors.shape[1])
        return np.asarray(np.linalg.solve(gram, factors.T @ y))

    def _read(self, theta: FloatArray) -> tuple[FloatArray, float, float]:
        """Return loadings, variance and ridge."""
        rank = self.root.shape[1]
        loadings = theta[:rank]
        ridge = float(np.exp(theta[-1])) if self.ridge is None else self.ridge
        return loadings, float(loadings @ loadings + np.exp(theta[rank])), ridge

    def __call__(self, theta: FloatArray) -> float:
        """Return the criterion; 1e10 where S is not positive definite."""
        loadings, variance, ridge = self._read(theta)
        s = variance * self.own - np.einsum("r,rsij,s->ij", loadings, self.known, loadings)
        s[np.diag_indices(len(s))] += variance * ridge * self.unit
        lower, failed = linalg.lapack.dpotrf(s, lower=1)
        if failed:
            return 1e10
        both = np.column_stack([self.phi, self.y - self.said @ loadings])
        half = linalg.solve_triangular(lower, both, lower=True, check_finite=False)
        r = np.linalg.qr(half, mode="r")
        sizes = np.abs(np.diagonal(r))
        columns = self.phi.shape[1]
        quadratic = max(self.quadratic + float((sizes[columns:] ** 2).sum()), 1e-300)
        value = 0.5 * self.degrees * np.log(quadratic)
        value += np.log(np.diagonal(lower)).sum() + np.log(sizes[:columns]).sum()
        away = (theta - self.centre) / self.spread
        return float(value + 0.5 * away @ away)


def _used(phi: FloatArray) -> FloatArray:
    """Return the columns of these rows' own task."""
    return np.asarray(phi[:, (phi != 0).any(axis=0)])
