"""Vector-valued Stein kernel control: related integrals that share what they know."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
from scipy import linalg
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from mcvar._checks import as_count, known_name
from mcvar._typing import FloatArray, IntArray
from mcvar.control.kernel_options import check_options, kernels_to_try
from mcvar.control.kernel_system import solve
from mcvar.control.kernels import BaseKernel, InverseMultiquadric, Matern
from mcvar.control.sample import (
    Sample,
    checked_sample,
    evenly,
    orthonormal,
    points_and_scores,
    polynomial_part,
)
from mcvar.control.standardise import Coordinates
from mcvar.control.stein_gram import SteinGram
from mcvar.control.stein_polynomial_features import langevin_indices
from mcvar.control.task_covariance import Learned, Tasks, checked_covariance, learn

_KERNELS: tuple[BaseKernel, ...] = (InverseMultiquadric(), Matern())
_TUNING = 400  # observations of all tasks on which everything is learned
_LEAST_TUNING = 10  # of each task
_BLOCK = 2048  # rows of the kernel matrix in memory at a time


class VectorSteinKernel(BaseEstimator):
    """Regression of several tasks on a matrix-valued Stein kernel B ⊗ k₀.

    Task t has draws of a target of its own, with scores s_t. Between a draw x of task t and a draw
    y of task u the kernel is B_tu times the Stein kernel with s_t at x and s_u at y, so that every
    prediction has its task's constant as exact expectation under its task's target. There is one
    coefficient per observation: sizes may differ at no cost.

    Parameters
    ----------
    kernel : kernel from `mcvar.control.kernels`, or a sequence of them, optional
        A length-scale that is left out is learned, and so is the kernel where there are several.
        Default ``(InverseMultiquadric(), Matern())``: what extrapolates gently into tails, and what
        follows kinks.
    order : {1, 2}
        Of the Stein operator: on vector fields, or on functions.
    polynomial_degree : int, optional
        Total degree of an unpenalised polynomial part of each task.
    task_covariance : "learn" or array_like, shape (T, T)
        B, of tasks in units of the standard deviation of their values; its scale has no effect.
        Learned as low rank plus diagonal, by restricted likelihood with a weak prior about the
        correlations between what separate fits say of one another.
    ridge : float, optional
        Noise relative to the mean diagonal of the task's own block; one for each task is learned
        if left out.

    Attributes
    ----------
    mean_ : ndarray, shape (T,)
        Exact expectation of each task's prediction.
    task_covariance_ : ndarray, shape (T, T)
        B; of mean diagonal one where it was learned.
    kernel_ : kernel
        With its length-scale, in coordinates where the draws of all tasks together have mean zero
        and unit covariance.
    ridge_ : ndarray, shape (T,)
        Relative ridges.
    jitter_, condition_ : float
        As in `SteinKernel`.

    References
    ----------
    Sun, Barp & Briol, "Vector-valued control variates", ICML 2023, eq. 6 and theorem 3.1.

    Examples
    --------
    >>> import numpy as np, mcvar
    >>> x = np.random.default_rng(1).normal(size=(2, 40, 1))
    >>> values = [np.exp(x[0, :, 0] / 2), np.exp(x[1, :, 0] / 2) + 1]
    >>> control = mcvar.control.VectorSteinKernel().fit(x, values, -x)
    >>> bool(np.abs(control.mean_ - np.exp(1 / 8) - [0, 1]).max() < 1e-2)
    True
    """

    needs_score = True

    def __init__(
        self,
        kernel: BaseKernel | Sequence[BaseKernel] | None = None,
        order: int = 1,
        polynomial_degree: int | None = None,
        task_covariance: Literal["learn"] | Any = "learn",
        ridge: float | None = None,
    ) -> None:
        self.kernel = kernel
        self.order = order
        self.polynomial_degree = polynomial_degree
        self.task_covariance = task_covariance
        self.ridge = ridge

    def fit(
        self, X: Sequence[Any], y: Sequence[Any], grad_logpdf: Sequence[Any]
    ) -> "VectorSteinKernel":
        """Learn what is left open and fit.

        Parameters
        ----------
        X, grad_logpdf : sequences of T array_like, shapes (n_t, d)
            Draws of each task, and its own target's score there.
        y : sequence of T array_like, shapes (n_t,)

        Raises
        ------
        ValueError
            Shapes that disagree, tasks of different dimensions, too few draws of a task, a
            `task_covariance` that is none, a singular system.
        """
        kernels = self._checked_options()
        samples = _checked_samples(X, y, grad_logpdf)
        d, count = samples[0].x.shape[1], len(samples)
        degree = self.polynomial_degree
        degree = degree if degree is None else as_count("polynomial_degree", degree)
        self.indices_ = langevin_indices(d, degree) if degree is not None else ()
        for t, sample in enumerate(samples):
            least = 2 + len(self.indices_)  # one residual besides the unpenalised columns
            if sample.n < least:
                raise ValueError(
                    f"task {t}: {sample.n} distinct draws are too few for {least - 1} unpenalised "
                    f"columns; expected at least {least}. Draw more, or lower polynomial_degree."
                )
        given = None
        if not isinstance(self.task_covariance, str):
            given = checked_covariance(self.task_covariance, count)
        self.coordinates_ = Coordinates.of(
            np.concatenate([sample.x for sample in samples]), None, "cholesky"
        )
        samples = [
            sample._replace(
                x=self.coordinates_.points(sample.x), s=self.coordinates_.scores(sample.s)
            )
            for sample in samples
        ]
        deviation = np.array([sample.y.std() for sample in samples])
        size = np.array([np.abs(sample.y).max() for sample in samples])
        # Values that do not vary have no unit of their own.
        self.unit_ = np.where(deviation > 1e-14 * size, deviation, 1.0)
        self.n_features_in_, self.n_points_ = d, sum(sample.n for sample in samples)
        chosen = self._choose(kernels, samples, given)
        self.kernel_, self.ridge_, self.task_covariance_ = chosen[:3]
        self._solve(samples)
        return self

    def predict(self, task: int, X: Any, grad_logpdf: Any) -> FloatArray:
        """Return the prediction of a task at ``X (n, d)`` with scores ``grad_logpdf (n, d)``."""
        check_is_fitted(self, "dual_")
        count = len(self.mean_)
        task = as_count("task", task, 0)
        if task >= count:
            raise ValueError(f"task must be one of 0, ..., {count - 1}, got {task!r}.")
        x, s = points_and_scores(X, grad_logpdf)
        if x.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {x.shape[1]} dimensions; the control was fitted in {self.n_features_in_}."
            )
        x, s = self.coordinates_.points(x), self.coordinates_.scores(s)
        out = polynomial_part(x, s, self.indices_) @ self.beta_[:, task]
        weights = self.task_covariance_[task, self.task_] * self.dual_
        for first in range(0, len(x), _BLOCK):
            rows = slice(first, first + _BLOCK)
            out[rows] += self.gram_.cross(self.gram_.at(x[rows], s[rows]), self.points_) @ weights
        return np.asarray(self.unit_[task] * out)

    def describe(self) -> str:
        """Name kernel, order, polynomial part and, once fitted, what has been learned."""
        fitted = hasattr(self, "dual_")
        kernels = [self.kernel_] if fitted else kernels_to_try(self.kernel, _KERNELS)
        parts = [_named(kernel) for kernel in kernels] + [f"order {self.order}"]
        if self.polynomial_degree is not None:
            parts.append(f"polynomial of degree {self.polynomial_degree}")
        if fitted:
            ends = dict.fromkeys(f"{r:.2g}" for r in (self.ridge_.min(), self.ridge_.max()))
            parts.append(f"ridge {' to '.join(ends)}")
            parts.append(f"{self.n_points_} points of {len(self.mean_)} tasks")
        return f"VectorSteinKernel({', '.join(parts)})"

    def _checked_options(self) -> tuple[BaseKernel, ...]:
        check_options(self.order, self.polynomial_degree, self.ridge)
        if isinstance(self.task_covariance, str):
            known_name("task_covariance", self.task_covariance, ("learn",))
        return kernels_to_try(self.kernel, _KERNELS)

    def _choose(
        self, kernels: tuple[BaseKernel, ...], samples: list[Sample], given: FloatArray | None
    ) -> Learned:
        one = len(kernels) == 1 and kernels[0].length_scale is not None and self.ridge is not None
        if one and (given is not None or len(samples) == 1):
            b = np.eye(1) if given is None else given
            return Learned(kernels[0], np.full(len(samples), float(self.ridge or 0.0)), b, 0.0)
        total = sum(sample.n for sample in samples)
        least = max(_LEAST_TUNING, 2 * len(self.indices_) + 4)
        parts = [
            sample.rows(evenly(sample.n, max(least, _TUNING * sample.n // total)))
            for sample in samples
        ]
        tasks, _ = self._tasks(parts)
        return learn(tasks, kernels, self.order, self.ridge, given)

    def _tasks(self, samples: list[Sample]) -> tuple[Tasks, list[FloatArray]]:
        """Return all observations, and what turns orthonormal columns into polynomials' own."""
        phis, backs = [], []
        for t, sample in enumerate(samples):
            with _of_task(t):
                phi, back = orthonormal(polynomial_part(sample.x, sample.s, self.indices_))
            phis.append(phi)
            backs.append(back)
        task: IntArray = np.repeat(np.arange(len(samples)), [sample.n for sample in samples])
        y = np.concatenate([sample.y[:, 0] for sample in samples]) / self.unit_[task]
        x, s = (np.concatenate([sample[i] for sample in samples]) for i in (0, 1))
        return Tasks(x, s, y, linalg.block_diag(*phis), task), backs

    def _solve(self, samples: list[Sample]) -> None:
        tasks, backs = self._tasks(samples)
        self.gram_, self.task_ = SteinGram(self.kernel_, self.order), tasks.task
        self.points_ = self.gram_.at(tasks.x, tasks.s)
        b = self.task_covariance_
        units = tasks.mean_by_task(self.gram_.diagonal(self.points_))

        def build() -> FloatArray:
            lower = self.gram_.lower_triangle(self.points_)
            for t in range(len(samples)):
                lower[tasks.task == t] *= b[t, tasks.task]
            return lower

        noise = (self.ridge_ * units * np.diagonal(b))[tasks.task]
        solution = solve(build, noise, tasks.phi, tasks.y[:, np.newaxis])
        self.dual_ = solution.dual[:, 0]
        pieces = np.split(solution.beta[:, 0], len(samples))
        self.beta_ = np.stack(
            [linalg.solve_triangular(back, beta) for back, beta in zip(backs, pieces, strict=True)],
            axis=1,
        )
        self.jitter_, self.condition_ = solution.jitter, solution.condition
        self.mean_ = self.unit_ * self.beta_[0]


def _checked_samples(x: Any, y: Any, scores: Any) -> list[Sample]:
    """Return the distinct draws of every task, or say what is wrong with them."""
    for name, given in (("X", x), ("y", y), ("grad_logpdf", scores)):
        if not isinstance(given, Sequence) and np.ndim(given) == 0:
            raise TypeError(f"{name} must be a sequence of arrays, one per task, got {given!r}.")
    sizes = {"X": len(x), "y": len(y), "grad_logpdf": len(scores)}
    if len(set(sizes.values())) > 1 or not len(x):
        seen = ", ".join(f"{count} in {name}" for name, count in sizes.items())
        raise ValueError(f"got tasks {seen}; expected the same number, at least 1, in each.")
    if all(np.ndim(values) == 0 for values in y):
        raise ValueError(
            "y holds numbers; expected one array for each task. This control serves "
            "mcvar.estimate_jointly; for a single integral use SteinKernel."
        )
    samples = []
    for t, (points, values, score) in enumerate(zip(x, y, scores, strict=True)):
        with _of_task(t):
            if np.ndim(values) != 1:
                raise ValueError(
                    f"y has shape {np.shape(values)}; expected one value a draw, (n,)."
                )
            samples.append(checked_sample(points, values, score, None))
    dimensions = [sample.x.shape[1] for sample in samples]
    if len(set(dimensions)) > 1:
        raise ValueError(
            f"tasks have draws in {dimensions} dimensions; a kernel between tasks needs draws of "
            "the same space."
        )
    return samples


@contextmanager
def _of_task(t: int) -> Iterator[None]:
    """Say which task an error is about."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"task {t}: {error}") from error


def _named(kernel: BaseKernel) -> str:
    scale = kernel.length_scale
    return f"{type(kernel).__name__}({'' if scale is None else f'{scale:.3g}'})"
