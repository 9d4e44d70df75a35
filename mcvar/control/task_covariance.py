"""Covariance between tasks of a vector-valued Stein kernel: checked where given, learned if not.

B = L L' + diag(e^δ), the noises and the length-scale minimise the negative restricted likelihood
of `task_systems`, with a weak prior about separate fits of the tasks. The noise of task t is
B_tt ρ_t unit_t, unit_t the mean diagonal of K over the task, so that ridges ρ are relative to the
mean diagonal of their own task's block, whatever its scale.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np
from scipy import linalg, optimize

from mcvar._checks import as_finite_array, check_magnitude
from mcvar._typing import FloatArray
from mcvar.control.kernel_choice import choose
from mcvar.control.kernel_system import solve
from mcvar.control.kernels import BaseKernel, with_length_scale
from mcvar.control.sample import median_distance
from mcvar.control.stein_gram import SteinGram
from mcvar.control.task_systems import Matrices, Observations

_RANK = 2  # of L: more than a few common factors are not to be learned from few draws
_RIDGE_BOUNDS = (1e-10, 3.0)
_LEAST_SPECIFIC = 1e-3  # share of a task's variance that starts as its own
_MOST_CORRELATION = 0.97  # at the start
_ITERATIONS, _PRECISION = 30, 1e-5  # of a search; the latter relative to the criterion
_REACH = 4  # deviations of the prior that are searched
# Standard deviations of the prior, about the start: a factor e of a length-scale, and so on.
_OF_LENGTH, _OF_RIDGE, _OF_LOADING, _OF_SPECIFIC = 1.0, 3.0, 1.0, 2.0
_RESTART = 0.5  # by which correlations shrink at the second start


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
    observations: Observations,
    kernels: Sequence[BaseKernel],
    order: int,
    ridge: float | None,
    covariance: FloatArray | None,
) -> Learned:
    """Choose what is left open by penalised restricted likelihood, started at scalar fits.

    Kernels are compared from the first start, and the best of them then has another.
    """
    free = covariance is None and observations.n_tasks > 1
    found, problems = [], []
    for kernel in kernels:
        length, ridges = _scalar_fits(observations, kernel, order, ridge)
        start = np.eye(observations.n_tasks) if covariance is None else covariance
        if free:
            gram = SteinGram(with_length_scale(kernel, length, exactly=True), order)
            start = _cross_correlation(observations, gram, ridges)
        problem = _Likelihood(
            observations, kernel, order, length, ridges, start,
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
    observations: Observations, kernel: BaseKernel, order: int, ridge: float | None
) -> tuple[float, FloatArray]:
    """Return a common length-scale and ridges (T,) from separate fits of the tasks."""
    lengths: list[float] = []
    ridges = np.full(observations.n_tasks, np.nan)
    for tasks, x, s, phi, y in observations.alone():
        if len(x) < phi.shape[1] + 3:
            continue  # too few to say anything: it starts where the others do

        def build(
            candidate: BaseKernel, x: FloatArray = x, s: FloatArray = s
        ) -> tuple[FloatArray, float]:
            gram = SteinGram(candidate, order)
            lower = gram.lower_triangle(gram.at(x, s))
            return lower, float(np.diagonal(lower).mean())

        start, one = median_distance(x), len(tasks) == 1
        for t, best in zip(
            tasks,
            choose(build, phi, y, (kernel,), ridge, start, "reml", one_for_all=one),
            strict=True,
        ):
            lengths.append(float(best.kernel.length_scale or np.nan))
            ridges[t] = np.clip(best.ridge, *_RIDGE_BOUNDS) if ridge is None else ridge
    if kernel.length_scale is not None:
        length = float(kernel.length_scale)
    elif lengths:
        length = float(np.exp(np.mean(np.log(lengths))))
    else:
        length = median_distance(observations.x)
    known = ~np.isnan(ridges)
    common = np.exp(np.log(np.maximum(ridges[known], 1e-300)).mean()) if known.any() else 1e-3
    return length, np.where(known, ridges, common if ridge is None else ridge)


def _cross_correlation(
    observations: Observations, gram: SteinGram, ridges: FloatArray
) -> FloatArray:
    """Correlate what each task's own fit says of the others with what they are."""
    duals, centred = [], []
    for tasks, x, s, phi, y in observations.alone():
        own = gram.lower_triangle(gram.at(x, s))
        unit = float(np.diagonal(own).mean())
        for column, t in enumerate(tasks):
            of_task = y[:, column : column + 1]
            fit = solve(own.copy, np.full(len(x), ridges[t] * unit), phi, of_task)
            duals.append(fit.dual[:, 0])
            centred.append((of_task - phi @ fit.beta)[:, 0])
    cosines = observations.cosines(observations.matrices(gram).kernel, duals, centred)
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
        observations: Observations,
        kernel: BaseKernel,
        order: int,
        length: float,
        ridges: FloatArray,
        covariance: FloatArray,
        *,
        free_ridge: bool,
        free_covariance: bool,
    ) -> None:
        self.observations, self.kernel, self.order = observations, kernel, order
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
        self._kept: tuple[float, Matrices] | None = None

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
            low, high = self.start - _REACH * self.spread, self.start + _REACH * self.spread
            if self.free_ridge:
                first = int(self.free_length)
                of_ridges = slice(first, first + len(self._covariance))
                low[of_ridges], high[of_ridges] = np.log(_RIDGE_BOUNDS)

            def criterion(scaled: FloatArray) -> tuple[float, FloatArray]:
                found, gradient = self(scaled * self.spread)
                return found, gradient * self.spread

            # In units of the prior's deviations the criterion is far rounder.
            options: Any = {"maxiter": _ITERATIONS, "ftol": _PRECISION}
            found: Any = optimize.minimize(
                cast(Any, criterion),
                theta / self.spread,
                jac=True,
                method="L-BFGS-B",
                bounds=optimize.Bounds(low / self.spread, high / self.spread),
                options=options,
            )
            if found.fun < value:
                theta, value = found.x * self.spread, float(found.fun)
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

    def _matrices(self, length: float) -> Matrices:
        if self._kept is None or self._kept[0] != length:
            gram = SteinGram(with_length_scale(self.kernel, length, exactly=True), self.order)
            self._kept = (length, self.observations.matrices(gram))
        return self._kept[1]

    def __call__(self, theta: FloatArray) -> tuple[float, FloatArray]:
        """Return the criterion and its gradient; 1e10 where A is not positive definite."""
        length, ridges, b, factors = self._read(theta)
        matrices = self._matrices(length)
        relative = ridges * matrices.units
        noise = np.diagonal(b) * relative
        terms = self.observations.terms(matrices, b, noise)
        if terms is None:
            return 1e10, np.zeros(len(theta))
        gradient: list[FloatArray] = []
        if self.free_length:
            units = np.diagonal(b) * ridges * matrices.units_slope
            gradient.append(np.array([terms.by_length + terms.by_noise @ units]))
        if self.free_ridge:
            gradient.append(terms.by_noise * noise)
        if factors is not None:
            loadings, specific = factors
            by_b = terms.by_covariance + np.diag(terms.by_noise * relative)
            gradient += [(2 * by_b @ loadings).ravel(), np.diagonal(by_b) * specific]
        away = (theta - self.start) / self.spread
        full = np.concatenate(gradient) if gradient else np.empty(0)
        return float(terms.value + 0.5 * away @ away), full + away / self.spread


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
