"""Kernel Stein controls: control functionals, semi-exact and approximate ones."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy import linalg
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from mcvar._checks import as_count, known_name
from mcvar._typing import FloatArray, IntArray
from mcvar.control.base import ScoreAware
from mcvar.control.kernel_choice import Candidate, Criterion, choose
from mcvar.control.kernel_options import (
    MAX_MEMORY,
    check_memory,
    check_options,
    kernels_to_try,
)
from mcvar.control.kernel_system import Solution, condition_bound, factorise, solve
from mcvar.control.kernels import BaseKernel, Gaussian, Matern
from mcvar.control.sample import (
    Sample,
    check_enough_points,
    checked_sample,
    evenly,
    median_distance,
    orthonormal,
    points_and_scores,
    polynomial_part,
)
from mcvar.control.standardise import Coordinates, Standardise
from mcvar.control.stein_gram import SteinGram, SteinPoints
from mcvar.control.stein_polynomial_features import langevin_indices
from mcvar.control.thinning import thin

_KERNELS: tuple[BaseKernel, ...] = (Gaussian(), Matern())
_EXACT = 5000  # points up to which solver="auto" factorises the whole kernel matrix
_CENTRES = 1000
_TUNING = 400  # points on which kernel, length-scale and ridge are chosen
_SEPARATE = 2000  # points up to which integrands may have kernels and ridges of their own
_BLOCK = 2048  # rows of the kernel matrix in memory at a time


class _Part(NamedTuple):
    """Integrands that share kernel and ridge, and the kernel's coefficients (points, columns)."""

    columns: IntArray
    gram: SteinGram
    points: SteinPoints
    dual: FloatArray


class SteinKernel(ScoreAware, BaseEstimator):
    """Regression on a Stein kernel: its prediction has the intercept as exact expectation.

    Without polynomial part this is a control functional, whose ``mean_`` is 1'A⁻¹y / 1'A⁻¹1 with
    A = K + ρI; with one it is semi-exact: it reproduces the expectation of polynomials exactly
    where the target is normal. Beyond a few thousand draws the kernel is expanded at centres that
    Stein thinning picks (Nyström's approximation).

    Parameters
    ----------
    kernel : kernel from `mcvar.control.kernels`, or a sequence of them, optional
        A length-scale that is left out is chosen, and so is the kernel where there are several.
        Default ``(Gaussian(), Matern())``: for smooth integrands, and for those with kinks.
    order : {1, 2}
        Of the Stein operator: on vector fields, or on functions.
    polynomial_degree : int, optional
        Total degree of the unpenalised polynomial part.
    solver : {"auto", "exact", "nystrom"}
        "auto" is exact up to 5,000 distinct draws.
    ridge : float, optional
        Relative to the mean diagonal of the kernel matrix; chosen if left out.
    criterion : {"loo", "reml"}
        Choose by the held-out variance of the integrand, every draw left out in turn, or by
        restricted likelihood. On at most 400 of the draws.
    standardise : {"cholesky", "sd", None}
        Coordinates in which the kernel is taken: the draws have mean zero and unit covariance
        there, or unit variances, or are left alone.
    n_centres : int
        Centres of Nyström's approximation.
    max_memory : float
        Bytes that the matrix of an exact system may take; 8 for every pair of draws.

    Attributes
    ----------
    mean_ : float or ndarray, shape (m,)
        Exact expectation of the prediction.
    chosen_ : tuple of (kernel, ridge), length m
        For every integrand: the kernel with its length-scale in standardised coordinates, and
        the relative ridge. Integrands share them beyond 2,000 draws.
    jitter_, condition_ : float
        What had to be added to the diagonal beyond the ridge for a factorisation to succeed, and
        a lower bound of the condition number of the system that was solved.
    n_points_ : int
        Distinct draws that the fit has used.

    References
    ----------
    Oates, Girolami & Chopin, "Control functionals for Monte Carlo integration", JRSS B 79 (2017),
    eq. 9; South, Karvonen, Nemeth, Girolami & Oates, "Semi-exact control functionals from Sard's
    method", Biometrika 109 (2022), eqs. 7 and 13.

    Examples
    --------
    >>> import numpy as np, mcvar
    >>> x = np.random.default_rng(1).normal(size=(100, 1))
    >>> control = mcvar.control.SteinKernel().fit(x, np.exp(x[:, 0]), grad_logpdf=-x)
    >>> bool(abs(control.mean_ - np.exp(1 / 2)) < 1e-2)
    True
    """

    needs_score = True

    def __init__(
        self,
        kernel: BaseKernel | Sequence[BaseKernel] | None = None,
        order: int = 1,
        polynomial_degree: int | None = None,
        solver: Literal["auto", "exact", "nystrom"] = "auto",
        ridge: float | None = None,
        criterion: Criterion = "loo",
        standardise: Standardise | None = "cholesky",
        n_centres: int = _CENTRES,
        max_memory: float = MAX_MEMORY,
    ) -> None:
        self.kernel = kernel
        self.order = order
        self.polynomial_degree = polynomial_degree
        self.solver = solver
        self.ridge = ridge
        self.criterion = criterion
        self.standardise = standardise
        self.n_centres = n_centres
        self.max_memory = max_memory

    def fit(self, X: Any, y: Any, grad_logpdf: Any, sample_weight: Any = None) -> "SteinKernel":
        """Choose hyper-parameters and fit.

        Parameters
        ----------
        X, grad_logpdf : array_like, shape (n, d)
            Draws and the scores there. Draws that coincide (rejected proposals) are merged: each
            distinct point is in the system once.
        y : array_like, shape (n,) or (n, m)
            Many integrands share kernel and factorisation.
        sample_weight : array_like, shape (n,), optional
            Importance weights: squared residuals are weighted by them.

        Raises
        ------
        ValueError
            Shapes that disagree, too few distinct draws, draws that do not vary, a singular
            system.
        """
        kernels = self._checked_options()
        sample = checked_sample(X, y, grad_logpdf, sample_weight)
        d = sample.x.shape[1]
        degree = self.polynomial_degree
        degree = degree if degree is None else as_count("polynomial_degree", degree)
        self.indices_ = langevin_indices(d, degree) if degree is not None else ()
        check_enough_points(sample.n, 1 + len(self.indices_))
        self.coordinates_ = Coordinates.of(sample.x, sample.weights, self.standardise)
        sample = sample._replace(
            x=self.coordinates_.points(sample.x), s=self.coordinates_.scores(sample.s)
        )
        self.n_points_, self.n_features_in_ = sample.n, d
        self.chosen_ = self._choose(kernels, sample)
        self._fit_parts(sample)
        self.single_ = np.ndim(y) == 1
        self.mean_ = float(self.beta_[0, 0]) if self.single_ else self.beta_[0].copy()
        return self

    def predict(self, X: Any, grad_logpdf: Any) -> FloatArray:
        """Return the prediction at ``X (n, d)`` with scores ``grad_logpdf (n, d)``."""
        check_is_fitted(self, "parts_")
        x, s = points_and_scores(X, grad_logpdf)
        if x.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {x.shape[1]} dimensions; the control was fitted in {self.n_features_in_}."
            )
        x, s = self.coordinates_.points(x), self.coordinates_.scores(s)
        out = polynomial_part(x, s, self.indices_) @ self.beta_
        for columns, gram, points, dual in self.parts_:
            for first in range(0, len(x), _BLOCK):
                rows = slice(first, first + _BLOCK)
                block = gram.cross(gram.at(x[rows], s[rows]), points) @ dual
                out[rows, columns] += block
        return out[:, 0] if self.single_ else out

    def describe(self) -> str:
        """Name kernel, order, polynomial part and, once fitted, what has been chosen."""
        fitted = hasattr(self, "parts_")
        kernels = (
            [c.kernel for c in self.chosen_] if fitted else kernels_to_try(self.kernel, _KERNELS)
        )
        parts = [*_named(kernels), f"order {self.order}"]
        if self.polynomial_degree is not None:
            parts.append(f"polynomial of degree {self.polynomial_degree}")
        if fitted:
            parts.append(f"ridge {_range([candidate.ridge for candidate in self.chosen_])}")
            parts.append(f"{self.n_points_} points")
            if self.parts_[0].points.n < self.n_points_:
                parts.append(f"{self.parts_[0].points.n} centres")
            parts.append(f"condition {self.condition_:.0e}")
            if self.jitter_ > 0:
                parts.append(f"jitter {self.jitter_:.0e}")
        return f"SteinKernel({', '.join(parts)})"

    def _checked_options(self) -> tuple[BaseKernel, ...]:
        check_options(self.order, self.polynomial_degree, self.ridge)
        known_name("solver", self.solver, ("auto", "exact", "nystrom"))
        known_name("criterion", self.criterion, ("loo", "reml"))
        if self.standardise is not None:
            known_name("standardise", self.standardise, ("cholesky", "sd"))
        return kernels_to_try(self.kernel, _KERNELS)

    def _choose(self, kernels: tuple[BaseKernel, ...], sample: Sample) -> tuple[Candidate, ...]:
        m = len(sample.y.T)
        if len(kernels) == 1 and kernels[0].length_scale is not None and self.ridge is not None:
            return (Candidate(kernels[0], float(self.ridge)),) * m
        part = sample.rows(evenly(sample.n, _TUNING))
        root = part.root_weights

        def build(kernel: BaseKernel) -> tuple[FloatArray, float]:
            gram = SteinGram(kernel, self.order)
            lower = gram.lower_triangle(gram.at(part.x, part.s))
            unit = float(np.diagonal(lower).mean())
            if part.weights is not None:
                lower *= root
                lower *= root.T
            return lower, unit

        return choose(
            build,
            orthonormal(root * polynomial_part(part.x, part.s, self.indices_))[0],
            root * part.y,
            kernels,
            self.ridge,
            median_distance(part.x),
            self.criterion,
            one_for_all=sample.n > _SEPARATE,
        )

    def _fit_parts(self, sample: Sample) -> None:
        """Solve once for every kernel and ridge that has been chosen."""
        nystrom = self.solver == "nystrom" or (self.solver == "auto" and sample.n > _EXACT)
        solver = self._solve_nystrom if nystrom else self._solve_exact
        self.parts_: list[_Part] = []
        self.beta_ = np.empty((1 + len(self.indices_), sample.y.shape[1]))
        self.jitter_, self.condition_ = 0.0, 1.0
        for candidate in dict.fromkeys(self.chosen_):
            columns = np.flatnonzero([other == candidate for other in self.chosen_])
            gram = SteinGram(candidate.kernel, self.order)
            own = sample._replace(y=sample.y[:, columns])
            points, solution = solver(gram, own, candidate.ridge)
            self.parts_.append(_Part(columns, gram, points, solution.dual))
            self.beta_[:, columns] = solution.beta
            self.jitter_ = max(self.jitter_, solution.jitter)
            self.condition_ = max(self.condition_, solution.condition)

    def _solve_exact(
        self, gram: SteinGram, sample: Sample, ridge: float
    ) -> tuple[SteinPoints, Solution]:
        check_memory(
            sample.n,
            self.max_memory,
            'take solver="nystrom" with n_centres, thin the draws (mcvar.stein_thinning), or use '
            "SteinPolynomial, whose memory does not grow with them.",
        )
        points = gram.at(sample.x, sample.s)
        unit = float(gram.diagonal(points).mean())
        noise = np.ones(sample.n) if sample.weights is None else 1 / sample.weights
        phi, back = orthonormal(polynomial_part(sample.x, sample.s, self.indices_))
        solution = solve(lambda: gram.lower_triangle(points), ridge * unit * noise, phi, sample.y)
        return points, solution._replace(beta=linalg.solve_triangular(back, solution.beta))

    def _solve_nystrom(
        self, gram: SteinGram, sample: Sample, ridge: float
    ) -> tuple[SteinPoints, Solution]:
        """Least squares on the kernels at the centres, penalised by their norm."""
        m = min(as_count("n_centres", self.n_centres), sample.n)
        pool = evenly(sample.n, 10 * m)
        chosen = pool[thin(gram, gram.at(sample.x[pool], sample.s[pool]), m, distinct=True)]
        points = gram.at(sample.x[chosen], sample.s[chosen])
        unit = float(gram.diagonal(points).mean())
        inner, jitter = factorise(lambda: gram.lower_triangle(points), np.zeros(m))
        q = len(self.beta_)
        normal, right = np.zeros((q + m, q + m)), np.zeros((q + m, sample.y.shape[1]))
        for first in range(0, sample.n, _BLOCK):
            part = sample.rows(slice(first, first + _BLOCK))
            kernel = gram.cross(gram.at(part.x, part.s), points)
            features = np.empty((part.n, q + m))
            features[:, :q] = polynomial_part(part.x, part.s, self.indices_)
            features[:, q:] = linalg.solve_triangular(inner, kernel.T, trans="T").T
            features *= part.root_weights
            normal += features.T @ features
            right += features.T @ (part.root_weights * part.y)
        # Scaled to unit diagonal, so that jitter means the same to polynomials and kernels.
        normal[np.diag_indices(q + m)] += np.r_[np.zeros(q), np.full(m, ridge * unit)]
        scale = 1 / np.sqrt(np.diagonal(normal))
        normal *= np.outer(scale, scale)
        factor, more = factorise(normal.copy, np.zeros(q + m))
        coefficients = scale[:, np.newaxis] * linalg.cho_solve(
            (factor, False), scale[:, np.newaxis] * right
        )
        dual = linalg.solve_triangular(inner, coefficients[q:])
        worst = condition_bound(factor)
        return points, Solution(coefficients[:q], dual, max(jitter, more), worst)


def _named(kernels: Sequence[BaseKernel]) -> list[str]:
    """Name every kind of kernel once, with the range of its length-scales."""
    scales: dict[type, list[Any]] = {}
    for kernel in kernels:
        scales.setdefault(type(kernel), []).append(kernel.length_scale)
    return [
        f"{kind.__name__}({'' if None in found else _range(found)})"
        for kind, found in scales.items()
    ]


def _range(numbers: Sequence[float]) -> str:
    ends = dict.fromkeys(f"{number:.2g}" for number in (min(numbers), max(numbers)))
    return " to ".join(ends)
