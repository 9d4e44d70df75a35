"""Covariance between tasks of a vector-valued Stein kernel: checked where given, learned if not.

Observation i belongs to task t(i) and the model of y, in units of each task's deviation, is
y = Φβ + h + noise with covariance proportional to

    A = B[t, t] ∘ (K + diag(ρ_t unit_t)),   unit_t the mean diagonal of K over task t,

so that ridges ρ are relative to the mean diagonal of their own task's block, whatever its scale.
B = L L' + diag(e^δ), the ridges and the length-scale minimise the negative restricted likelihood
f = ½ [(N − q) log y'Py + log|A| + log|Φ'A⁻¹Φ|], whose differential is
df = ½ tr[(P − (N − q) P y y' P / y'Py) dA].
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import linalg, optimize

from mcvar._checks import as_finite_array, check_magnitude
from mcvar._typing import FloatArray, IntArray
from mcvar.control.kernel_choice import choose
from mcvar.control.kernel_system import solve
from mcvar.control.kernels import BaseKernel, with_length_scale
from mcvar.control.sample import median_distance
from mcvar.control.stein_gram import SteinGram

_RANK = 2  # of L: more than a few common factors are not to be learned from few draws
_RIDGE_BOUNDS = (1e-10, 3.0)
_LEAST_SPECIFIC = 1e-3  # share of a task's variance that starts as its own
_MOST_CORRELATION = 0.97  # at the start
_STEP = 1e-4  # of log ℓ in a difference quotient
_ITERATIONS = 30
# Standard deviations of the prior, about the start: a factor e of a length-scale, and so on.
_OF_LENGTH, _OF_RIDGE, _OF_LOADING, _OF_SPECIFIC = 1.0, 3.0, 1.0, 2.0
_RESTART = 0.5  # by which correlations shrink at the second start


class Tasks(NamedTuple):
    """Observations of all tasks, one task after the other.

    x, s (N, d) in standardised coordinates, y (N,) in units of its task's deviation, `phi` (N, q)
    the orthonormal unpenalised columns, zero outside their task, and `task` (N,) its index.
    """

    x: FloatArray
    s: FloatArray
    y: FloatArray
    phi: FloatArray
    task: IntArray

    @property
    def starts(self) -> IntArray:
        """Index of each task's first observation, shape (T,)."""
        return np.flatnonzero(np.append(True, self.task[1:] != self.task[:-1]))

    def mean_by_task(self, values: FloatArray) -> FloatArray:
        """Return the mean of ``values (N,)`` over each task, shape (T,)."""
        starts = self.starts
        counts = np.diff(np.append(starts, len(self.task)))
        return np.asarray(np.add.reduceat(values, starts) / counts)


class Learned(NamedTuple):
    """A kernel with its length-scale, relative ridges (T,), B (T, T), and the criterion."""

    kernel: BaseKernel
    ridges: FloatArray
    covariance: FloatArray
    objective: float


def checked_covariance(covariance: Any, tasks: int) -> FloatArray:
    """Return a given B (T, T), or say why it is no covariance of `tasks` tasks."""
    b = as_finite_array("task_covariance", covariance)
    if b.shape != (tasks, tasks):
        raise ValueError(
            f"task_covariance has shape {b.shape}; expected ({tasks}, {tasks}) for {tasks} tasks."
        )
    check_magnitude("entries of task_covariance", b, 1e50)
    scale = np.abs(b).max()
    if not np.allclose(b, b.T, rtol=0, atol=1e-10 * scale):
        raise ValueError("task_covariance is not symmetric.")
    if not (np.diagonal(b) > 0).all():
        t = int(np.diagonal(b).argmin())
        raise ValueError(
            f"task_covariance has {b[t, t]:.3g} on its diagonal for task {t}; expected variances "
            "> 0."
        )
    least = float(linalg.eigvalsh(b)[0])
    if least < -1e-10 * scale:
        raise ValueError(
            f"task_covariance is indefinite: its least eigenvalue is {least:.3g}; expected a "
            "positive semi-definite matrix."
        )
    return b


def learn(
    tasks: Tasks,
    kernels: Sequence[BaseKernel],
    order: int,
    ridge: float | None,
    covariance: FloatArray | None,
) -> Learned:
    """Choose what is left open by penalised restricted likelihood, started at scalar fits.

    Kernels are compared from the first start, and the best of them then has another.
    """
    count = len(tasks.starts)
    free = covariance is None and count > 1
    found, problems = [], []
    for kernel in kernels:
        length, ridges = _scalar_fits(tasks, kernel, order, ridge)
        start = np.eye(count) if covariance is None else covariance
        if free:
            gram = SteinGram(with_length_scale(kernel, length, exactly=True), order)
            start = _cross_correlation(tasks, gram, ridges)
        problem = _Likelihood(
            tasks, kernel, order, length, ridges, start,
            free_ridge=ridge is None, free_covariance=free,
        )  # fmt: skip
        problems.append(problem)
        found.append(problem.minimise(problem.start))
    best = min(range(len(found)), key=lambda i: found[i].objective)
    if not free:
        return found[best]
    again = problems[best].minimise(problems[best].with_weaker_correlations())
    return min(found[best], again, key=lambda fit: fit.objective)


def _scalar_fits(
    tasks: Tasks, kernel: BaseKernel, order: int, ridge: float | None
) -> tuple[float, FloatArray]:
    """Return a common length-scale and ridges (T,) from separate fits of the tasks."""
    lengths: list[float] = []
    ridges = np.full(len(tasks.starts), np.nan)
    for t in range(len(ridges)):
        rows = np.flatnonzero(tasks.task == t)
        x, s = tasks.x[rows], tasks.s[rows]
        phi = tasks.phi[rows][:, (tasks.phi[rows] != 0).any(axis=0)]
        if len(rows) < phi.shape[1] + 3:
            continue  # too few to say anything: it starts where the others do

        def build(
            candidate: BaseKernel, x: FloatArray = x, s: FloatArray = s
        ) -> tuple[FloatArray, float]:
            gram = SteinGram(candidate, order)
            lower = gram.lower_triangle(gram.at(x, s))
            return lower, float(np.diagonal(lower).mean())

        y, start = tasks.y[rows, np.newaxis], median_distance(x)
        best = choose(build, phi, y, (kernel,), ridge, start, "reml", one_for_all=True)[0]
        lengths.append(float(best.kernel.length_scale or np.nan))
        ridges[t] = np.clip(best.ridge, *_RIDGE_BOUNDS) if ridge is None else ridge
    if kernel.length_scale is not None:
        length = float(kernel.length_scale)
    else:
        length = float(np.exp(np.mean(np.log(lengths)))) if lengths else median_distance(tasks.x)
    known = ~np.isnan(ridges)
    common = np.exp(np.log(np.maximum(ridges[known], 1e-300)).mean()) if known.any() else 1e-3
    return length, np.where(known, ridges, common if ridge is None else ridge)


def _cross_correlation(tasks: Tasks, gram: SteinGram, ridges: FloatArray) -> FloatArray:
    """Correlate what each task's own fit says of the others with what they are.

    The fit of task t is a field; the operator of task u turns it into a function whose mean under
    u's target is zero, which is compared with u's values less their own constant.
    """
    m = len(tasks.starts)
    points = gram.at(tasks.x, tasks.s)
    matrix = gram.matrix(points)
    units = tasks.mean_by_task(np.diagonal(matrix))
    y, phi = tasks.y[:, np.newaxis], tasks.phi
    predicted, centred = np.empty((len(y), m)), np.empty(len(y))
    for t in range(m):
        rows = np.flatnonzero(tasks.task == t)
        own = matrix[np.ix_(rows, rows)]
        used = phi[rows][:, (phi[rows] != 0).any(axis=0)]
        fit = solve(own.copy, np.full(len(rows), ridges[t] * units[t]), used, y[rows])
        predicted[:, t] = matrix[:, rows] @ fit.dual[:, 0]
        centred[rows] = y[rows, 0] - used @ fit.beta[:, 0]
    norms = np.sqrt(tasks.mean_by_task(centred**2))
    sizes = np.sqrt(np.stack([tasks.mean_by_task(column**2) for column in predicted.T], axis=1))
    inner = np.stack([tasks.mean_by_task(centred * column) for column in predicted.T], axis=1)
    size = norms[:, np.newaxis] * sizes
    cosines = np.divide(inner, size, out=np.zeros_like(inner), where=size > 0)
    both = np.clip((cosines + cosines.T) / 2, -_MOST_CORRELATION, _MOST_CORRELATION)
    np.fill_diagonal(both, 1.0)
    values, vectors = linalg.eigh(both)
    both = (vectors * np.maximum(values, 1e-6)) @ vectors.T
    deviation = np.sqrt(np.diagonal(both))
    return np.asarray(both / np.outer(deviation, deviation))


class _Likelihood:
    """Penalised negative restricted likelihood of the parameters that are free."""

    def __init__(
        self,
        tasks: Tasks,
        kernel: BaseKernel,
        order: int,
        length: float,
        ridges: FloatArray,
        covariance: FloatArray,
        *,
        free_ridge: bool,
        free_covariance: bool,
    ) -> None:
        self.tasks, self.kernel, self.order = tasks, kernel, order
        self._length, self._ridges, self._covariance = length, ridges, covariance
        m = len(covariance)
        self.free_length = kernel.length_scale is None
        self.free_ridge, self.free_covariance = free_ridge, free_covariance
        start: list[FloatArray] = []
        spread: list[FloatArray] = []
        if self.free_length:
            start.append(np.array([np.log(length)]))
            spread.append(np.array([_OF_LENGTH]))
        if free_ridge:
            start.append(np.log(ridges))
            spread.append(np.full(m, _OF_RIDGE))
        if free_covariance:
            loadings, specific = _factor(covariance)
            start += [loadings.ravel(), np.log(specific)]
            spread += [np.full(loadings.size, _OF_LOADING), np.full(m, _OF_SPECIFIC)]
            self._rank = loadings.shape[1]
        self.start = np.concatenate(start) if start else np.empty(0)
        self.spread = np.concatenate(spread) if spread else np.empty(0)
        self._kept: tuple[float, FloatArray, FloatArray] | None = None

    def with_weaker_correlations(self) -> FloatArray:
        """Return another point to start from."""
        weaker = _RESTART * self._covariance
        np.fill_diagonal(weaker, np.diagonal(self._covariance))
        loadings, specific = _factor(weaker)
        theta = self.start.copy()
        theta[len(theta) - loadings.size - len(specific) :] = np.concatenate(
            [loadings.ravel(), np.log(specific)]
        )
        return theta

    def minimise(self, theta: FloatArray) -> Learned:
        """Return the best parameters that L-BFGS finds from `theta`."""
        value = self(theta)[0]
        if len(theta):
            reach = 4 * self.spread
            bounds = list(zip(self.start - reach, self.start + reach, strict=True))
            if self.free_ridge:
                first = int(self.free_length)
                limits = (np.log(_RIDGE_BOUNDS[0]), np.log(_RIDGE_BOUNDS[1]))
                bounds[first : first + len(self._covariance)] = [limits] * len(self._covariance)
            options: Any = {"maxiter": _ITERATIONS, "ftol": 1e-7}
            criterion: Any = self
            found = optimize.minimize(
                criterion, theta, jac=True, method="L-BFGS-B", bounds=bounds, options=options
            )
            if found.fun < value:
                theta, value = found.x, float(found.fun)
        length, ridges, b, _ = self._read(theta)
        if self.free_covariance:
            b = b / np.diagonal(b).mean()
        kernel = self.kernel
        if self.free_length:
            kernel = with_length_scale(kernel, length)
        return Learned(kernel, ridges, b, value)

    def _read(
        self, theta: FloatArray
    ) -> tuple[float, FloatArray, FloatArray, tuple[FloatArray, FloatArray] | None]:
        """Return length-scale, ridges, B, and B's loadings and specific variances if free."""
        m, at = len(self._covariance), 0
        length, ridges = self._length, self._ridges
        if self.free_length:
            length, at = float(np.exp(theta[0])), 1
        if self.free_ridge:
            ridges, at = np.exp(theta[at : at + m]), at + m
        if not self.free_covariance:
            return length, ridges, self._covariance, None
        loadings = theta[at : at + m * self._rank].reshape(m, self._rank)
        specific = np.exp(theta[at + m * self._rank :])
        return length, ridges, loadings @ loadings.T + np.diag(specific), (loadings, specific)

    def _matrix(self, length: float) -> tuple[FloatArray, FloatArray]:
        """Return K (N, N) and its mean diagonals by task (T,)."""
        gram = SteinGram(with_length_scale(self.kernel, length, exactly=True), self.order)
        matrix = gram.matrix(gram.at(self.tasks.x, self.tasks.s))
        return matrix, self.tasks.mean_by_task(np.diagonal(matrix))

    def _kept_matrix(self, length: float) -> tuple[FloatArray, FloatArray]:
        if self._kept is None or self._kept[0] != length:
            self._kept = (length, *self._matrix(length))
        return self._kept[1:]

    def __call__(self, theta: FloatArray) -> tuple[float, FloatArray]:
        """Return the criterion and its gradient; 1e10 where A is not positive definite."""
        tasks, task = self.tasks, self.tasks.task
        length, ridges, b, factors = self._read(theta)
        kernel, units = self._kept_matrix(length)
        noisy = kernel.copy()
        noisy[np.diag_indices(len(task))] += (ridges * units)[task]
        spread = b[np.ix_(task, task)]
        a = spread * noisy
        factor, failed = linalg.lapack.dpotrf(a.T, lower=0, clean=0, overwrite_a=0)
        if failed:
            return 1e10, np.zeros(len(theta))
        degrees = len(task) - tasks.phi.shape[1]
        inverse, _ = linalg.lapack.dpotri(factor, lower=0)
        inverse = np.triu(inverse) + np.triu(inverse, 1).T
        on_phi = inverse @ tasks.phi
        small = linalg.cholesky(tasks.phi.T @ on_phi, lower=True, check_finite=False)
        half = linalg.solve_triangular(small, on_phi.T, lower=True, check_finite=False)
        p = inverse - half.T @ half
        p_y = p @ tasks.y
        quadratic = max(float(tasks.y @ p_y), 1e-300)
        value = 0.5 * degrees * np.log(quadratic)
        value += np.log(np.diagonal(factor)).sum() + np.log(np.diagonal(small)).sum()
        weight = 0.5 * (p - np.outer(p_y, degrees / quadratic * p_y))

        gradient: list[FloatArray] = []
        if self.free_length:
            above, units_above = self._matrix(length * np.exp(_STEP))
            above[np.diag_indices(len(task))] += (ridges * units_above)[task]
            above -= noisy
            above *= spread
            slope = np.vdot(weight, above) / _STEP
            gradient.append(np.array([slope]))
        if self.free_ridge:
            by_task = np.add.reduceat(np.diagonal(weight), tasks.starts)
            gradient.append(by_task * np.diagonal(b) * ridges * units)
        if factors is not None:
            loadings, specific = factors
            blocks = np.add.reduceat(
                np.add.reduceat(weight * noisy, tasks.starts, axis=0), tasks.starts, axis=1
            )
            gradient += [(2 * blocks @ loadings).ravel(), np.diagonal(blocks) * specific]
        away = (theta - self.start) / self.spread
        full = np.concatenate(gradient) if gradient else np.empty(0)
        return float(value + 0.5 * away @ away), full + away / self.spread


def _factor(correlation: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Split a covariance into loadings (T, r) of few common factors and what is left (T,)."""
    values, vectors = linalg.eigh(correlation)
    rank = min(_RANK, len(values))
    top = values[::-1][:rank]
    # What the last of the kept factors has beyond the mean of the rest is common.
    rest = float(values[: len(values) - rank].mean()) if len(values) > rank else float(values[0])
    loadings = vectors[:, ::-1][:, :rank] * np.sqrt(np.maximum(top - rest, 0.0))
    # A loading of exactly zero is a saddle point: leave it by a little.
    loadings = loadings + 1e-2 * vectors[:, ::-1][:, :rank]
    specific = np.maximum(np.diagonal(correlation) - (loadings**2).sum(axis=1), _LEAST_SPECIFIC)
    return loadings, specific
