"""Vector-valued Stein kernel control: related integrals that share what they know."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy import linalg
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from mcvar._checks import as_count, known_name
from mcvar._typing import FloatArray, IntArray
from mcvar.control.kernel_options import (
    MAX_MEMORY,
    check_memory,
    check_options,
    kernels_to_try,
)
from mcvar.control.kernel_system import jitters, leave_out, singular, solve, solve_scaled
from mcvar.control.kernels import BaseKernel, InverseMultiquadric, Matern
from mcvar.control.sample import (
    Sample,
    evenly,
    points_and_scores,
    polynomial_part,
)
from mcvar.control.standardise import Coordinates
from mcvar.control.stein_gram import SteinGram, SteinPoints
from mcvar.control.stein_kernel import SteinKernel
from mcvar.control.stein_polynomial_features import langevin_indices
from mcvar.control.task_covariance import Learned, checked_covariance, learn
from mcvar.control.task_samples import check_extends, checked_samples, same_draws
from mcvar.control.task_systems import Observations, OwnDraws, SharedDraws, Whitened
from mcvar.control.warm_start import extend

_KERNELS: tuple[BaseKernel, ...] = (InverseMultiquadric(), Matern())
_TUNING = 400  # observations of all tasks on which everything is learned
_TUNING_SHARED = 120  # draws, where tasks share them
_LEAST_TUNING = 10  # of each task
_BLOCK = 512  # rows of the kernel matrix in memory at a time


class LeftOutDraws(NamedTuple):
    """What fits without one draw leave of it.

    `residual` and `mean` are lists of T arrays (n_t,): values less prediction, and the expectation
    of the prediction, both of the fit without the observation. `mean_of_all` (T,) are expectations
    of the fit to all of them.
    """

    residual: list[FloatArray]
    mean: list[FloatArray]
    mean_of_all: FloatArray


class VectorSteinKernel(BaseEstimator):
    """Regression of several tasks on a matrix-valued Stein kernel B ⊗ k₀.

    Task t has draws of a target of its own, with scores s_t. Between a draw x of task t and a draw
    y of task u the kernel is B_tu times the Stein kernel with s_t at x and s_u at y, so that every
    prediction has its task's constant as exact expectation under its task's target. There is one
    coefficient per observation: sizes may differ at no cost. Where all tasks have the same draws,
    a tridiagonal form of k₀ at these serves all of them, and no larger matrix is built.

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
    warm_start : bool
        Whether another ``fit`` keeps what was learned (coordinates, kernel, ridges, covariance) of
        the tasks it had, which come first, and learns of further tasks how they covary with these
        and their ridges. That costs a solve and no search.
    max_memory : float
        Bytes that the kernel matrix may take: 8 for every pair of observations, or of draws where
        tasks share them.

    Attributes
    ----------
    mean_ : ndarray, shape (T,)
        Exact expectation of each task's prediction.
    task_covariance_ : ndarray, shape (T, T)
        B; of mean diagonal one where it was learned.
    kernel_ : kernel
        With its length-scale, in coordinates where the draws of all tasks together have mean zero
        and unit covariance.
    ridge_, noise_ : ndarray, shape (T,)
        Relative ridges, and what they add to the diagonal.
    weights_ : ndarray, shape (points, T)
        By which each task weights the kernel at `points_`.
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
        warm_start: bool = False,
        max_memory: float = MAX_MEMORY,
    ) -> None:
        self.kernel = kernel
        self.order = order
        self.polynomial_degree = polynomial_degree
        self.task_covariance = task_covariance
        self.ridge = ridge
        self.warm_start = warm_start
        self.max_memory = max_memory

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
        samples = checked_samples(X, y, grad_logpdf)
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
        shared = self.ridge != 0 and same_draws(samples)
        check_memory(
            samples[0].n if shared else sum(sample.n for sample in samples),
            self.max_memory,
            "thin the draws (mcvar.stein_thinning), or use VectorSteinPolynomial, whose memory "
            "does not grow with them.",
        )
        warm = self.warm_start and hasattr(self, "weights_")
        given = None
        if warm:
            check_extends(self, count, d)
        else:
            if not isinstance(self.task_covariance, str):
                given = checked_covariance(self.task_covariance, count)
            draws = samples[:1] if shared else samples
            self.coordinates_ = Coordinates.of(
                np.concatenate([sample.x for sample in draws]), None, "cholesky"
            )
        samples = self._standardised(samples)
        deviation = np.array([sample.y.std() for sample in samples])
        size = np.array([np.abs(sample.y).max() for sample in samples])
        # Values that do not vary have no unit of their own.
        self.unit_ = np.where(deviation > 1e-14 * size, deviation, 1.0)
        self.n_features_in_, self.n_points_ = d, sum(sample.n for sample in samples)
        if warm:
            chosen = self._extend(samples)
        else:
            chosen = self._choose(kernels, samples, given, shared=shared)
        self.kernel_, self.ridge_, self.task_covariance_ = chosen[:3]
        self.gram_ = SteinGram(self.kernel_, self.order)
        if shared:
            self._solve_shared(samples)
        else:
            self._solve(samples)
        return self

    def predict(self, task: int, X: Any, grad_logpdf: Any) -> FloatArray:
        """Return the prediction of a task at ``X (n, d)`` with scores ``grad_logpdf (n, d)``."""
        check_is_fitted(self, "weights_")
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
        weights = self.weights_[:, task]
        for first in range(0, len(x), _BLOCK):
            rows = slice(first, first + _BLOCK)
            out[rows] += self.gram_.cross(self.gram_.at(x[rows], s[rows]), self.points_) @ weights
        return np.asarray(self.unit_[task] * out)

    def leave_one_out(
        self,
        X: Sequence[Any],
        y: Sequence[Any],
        grad_logpdf: Sequence[Any],
        together: Sequence[IntArray],
    ) -> LeftOutDraws:
        """Leave draws out of fits with the coordinates and hyper-parameters of this one.

        Parameters
        ----------
        X, y, grad_logpdf
            As `fit` takes them, without draws that coincide. They need not be those of the fit.
        together : sequence of T ndarrays of int, shapes (n_t,)
            Observations with equal numbers are left out together.
        """
        check_is_fitted(self, "weights_")
        samples = self._standardised(checked_samples(X, y, grad_logpdf))
        observations, backs = OwnDraws.of(samples, self.indices_, self.unit_)
        points = self.gram_.at(observations.x, observations.s)
        groups = np.concatenate(list(together))
        task = observations.task
        left = leave_out(
            lambda: self._between_tasks(points, task),
            self.noise_[task],
            observations.phi,
            observations.y,
            groups,
        )
        # A column of ones is the first: what is left of it is the constant.
        constant = linalg.block_diag(
            *(linalg.solve_triangular(back, np.eye(len(back)))[:1] for back in backs)
        )
        moved = np.zeros((len(samples), groups.max() + 1))
        influence = constant @ left.influence * left.residual
        for t, row in enumerate(influence):
            moved[t] = np.bincount(groups, row, minlength=moved.shape[1])
        of_all = constant @ left.beta
        ends = np.cumsum([sample.n for sample in samples])[:-1]
        unit = self.unit_[task]
        return LeftOutDraws(
            np.split(unit * left.residual, ends),
            np.split(unit * (of_all[task] - moved[task, groups]), ends),
            self.unit_ * of_all,
        )

    def scalar(self) -> SteinKernel:
        """Return the control of a single integral with the same options."""
        self._checked_options()
        kernel = self.kernel if self.kernel is not None else _KERNELS
        return SteinKernel(kernel, self.order, self.polynomial_degree, ridge=self.ridge)

    def describe(self) -> str:
        """Name kernel, order, polynomial part and, once fitted, what has been learned."""
        fitted = hasattr(self, "weights_")
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

    def _standardised(self, samples: list[Sample]) -> list[Sample]:
        return [
            sample._replace(
                x=self.coordinates_.points(sample.x), s=self.coordinates_.scores(sample.s)
            )
            for sample in samples
        ]

    def _choose(
        self,
        kernels: tuple[BaseKernel, ...],
        samples: list[Sample],
        given: FloatArray | None,
        *,
        shared: bool,
    ) -> Learned:
        one = len(kernels) == 1 and kernels[0].length_scale is not None and self.ridge is not None
        if one and (given is not None or len(samples) == 1):
            b = np.eye(1) if given is None else given
            return Learned(kernels[0], np.full(len(samples), float(self.ridge or 0.0)), b, 0.0)
        kind = SharedDraws if shared else OwnDraws
        parts = self._tuning_parts(samples, _TUNING_SHARED if shared else None)
        observations: Observations = kind.of(parts, self.indices_, self.unit_)[0]
        return learn(observations, kernels, self.order, self.ridge, given)

    def _extend(self, samples: list[Sample]) -> Learned:
        known = self.kernel_, self.ridge_, self.task_covariance_
        if len(samples) == len(self.ridge_):
            return Learned(*known, 0.0)
        observations, _ = OwnDraws.of(self._tuning_parts(samples, None), self.indices_, self.unit_)
        return extend(observations, self.order, *known, self.ridge)

    def _tuning_parts(self, samples: list[Sample], size: int | None) -> list[Sample]:
        """Return some draws of each task, `size` or its share of all, to learn on."""
        total = sum(sample.n for sample in samples)
        least = max(_LEAST_TUNING, 2 * len(self.indices_) + 4)
        return [
            sample.rows(evenly(sample.n, max(least, size or _TUNING * sample.n // total)))
            for sample in samples
        ]

    def _between_tasks(self, points: SteinPoints, task: IntArray) -> FloatArray:
        """Return the lower triangle of the matrix-valued kernel, shape (N, N)."""
        b = self.task_covariance_
        lower = self.gram_.lower_triangle(points)
        for t in range(len(b)):
            lower[task == t] *= b[t, task]
        return lower

    def _solve(self, samples: list[Sample]) -> None:
        observations, backs = OwnDraws.of(samples, self.indices_, self.unit_)
        task, b = observations.task, self.task_covariance_
        self.points_ = self.gram_.at(observations.x, observations.s)
        units = observations.mean_by_task(self.gram_.diagonal(self.points_))
        self.noise_ = self.ridge_ * units * np.diagonal(b)
        solution = solve(
            lambda: self._between_tasks(self.points_, task),
            self.noise_[task],
            observations.phi,
            observations.y[:, np.newaxis],
        )
        self.weights_ = b[task] * solution.dual
        pieces = np.split(solution.beta[:, 0], len(samples))
        self._keep(backs, np.stack(pieces, axis=1), solution.jitter, solution.condition)

    def _solve_shared(self, samples: list[Sample]) -> None:
        """Solve as many systems of the size of one task as there are tasks."""
        observations, backs = SharedDraws.of(samples, self.indices_, self.unit_)
        b = self.task_covariance_
        self.points_ = self.gram_.at(observations.x, observations.s)
        size = np.diagonal(b) * self.gram_.diagonal(self.points_).mean()
        self.noise_ = self.ridge_ * size
        for jitter in jitters():
            turned = Whitened.of(b, self.noise_ + jitter * size)
            solution = solve_scaled(
                lambda: self.gram_.lower_triangle(self.points_),
                turned.values,
                observations.phi,
                observations.y @ turned.forward,
            )
            if solution is not None:
                break
        else:
            raise singular(len(observations.x))
        self.weights_ = solution.dual @ turned.forward.T @ b
        beta = solution.beta @ turned.backward.T
        self._keep(backs, beta, jitter * float(size.mean()), solution.condition)

    def _keep(
        self, backs: list[FloatArray], beta: FloatArray, jitter: float, condition: float
    ) -> None:
        """Keep coefficients (q, T) of orthonormal columns as those of the polynomials."""
        self.beta_ = np.stack(
            [
                linalg.solve_triangular(back, column)
                for back, column in zip(backs, beta.T, strict=True)
            ],
            axis=1,
        )
        self.jitter_, self.condition_ = jitter, condition
        self.mean_ = self.unit_ * self.beta_[0]


def _named(kernel: BaseKernel) -> str:
    scale = kernel.length_scale
    return f"{type(kernel).__name__}({'' if scale is None else f'{scale:.3g}'})"
