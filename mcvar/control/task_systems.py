"""Observations of several tasks: restricted likelihood, its gradient, and what a fit solves.

Observation i belongs to task t(i) and the model of y, in units of each task's deviation, is
y = Φβ + h + noise with covariance proportional to

    A = B[t, t] ∘ K + diag(ν_t),

ν_t the noise of task t. The negative restricted likelihood, its scale maximised out,
f = ½ [(N − q) log y'Py + log|A| + log|Φ'A⁻¹Φ|], has the differential
df = ½ tr[(P − (N − q) P y y' P / y'Py) dA], P = A⁻¹ − A⁻¹Φ(Φ'A⁻¹Φ)⁻¹Φ'A⁻¹.

Where tasks share n draws and their scores, A = B ⊗ K + diag(ν) ⊗ I falls apart: with
diag(ν)^-½ B diag(ν)^-½ = U diag(λ) U' and values Z = Y diag(ν)^-½ U, column j of Z has the
covariance λ_j K + I, so that an eigendecomposition of K serves all of them.
"""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
from scipy import linalg

from mcvar._typing import FloatArray, IntArray
from mcvar.control.sample import Sample, orthonormal, polynomial_part
from mcvar.control.stein_gram import SteinGram, mirror
from mcvar.control.stein_polynomial_features import Indices
from mcvar.control.task_samples import of_task

_TINY = 1e-300


class Matrices(NamedTuple):
    """K, its derivative with respect to log ℓ, and mean diagonals of both by task (T,)."""

    kernel: FloatArray
    slope: FloatArray
    units: FloatArray
    units_slope: FloatArray


class Terms(NamedTuple):
    """The negative restricted likelihood and its derivatives.

    With respect to B (T, T), where an element and its mirror image are one; to noises (T,); and to
    log ℓ as far as it moves K.
    """

    value: float
    by_covariance: FloatArray
    by_noise: FloatArray
    by_length: float


class Scalar(NamedTuple):
    """Tasks (m,) with the same draws: x, s (n, d), unpenalised columns (n, q), and y (n, m)."""

    tasks: IntArray
    x: FloatArray
    s: FloatArray
    phi: FloatArray
    y: FloatArray


class Observations(Protocol):
    """What learning needs of observations."""

    @property
    def n_tasks(self) -> int:
        """Number of tasks T."""

    @property
    def x(self) -> FloatArray:
        """Draws of all tasks, in standardised coordinates."""

    def matrices(self, gram: SteinGram) -> Matrices:
        """Return the kernel matrix that `terms` takes."""

    def terms(self, matrices: Matrices, b: FloatArray, noise: FloatArray) -> Terms | None:
        """Return likelihood and derivatives; None where A is not positive definite."""

    def alone(self) -> Iterator[Scalar]:
        """Iterate over tasks, or over all with the same draws together."""

    def cosines(
        self, kernel: FloatArray, duals: list[FloatArray], centred: list[FloatArray]
    ) -> FloatArray:
        """Return cosines (T, T) of each task's centred values with what fits of each say.

        The fit of task t is a field; the operator of task u turns it into a function whose mean
        under u's target is zero, which is compared with u's values less their own constant.
        """


class OwnDraws(NamedTuple):
    """Observations of tasks with draws of their own, one task after the other.

    x, s (N, d) in standardised coordinates, y (N,) in units of its task's deviation, `phi` (N, q)
    the orthonormal unpenalised columns, zero outside their task, and `task` (N,) its index.
    """

    x: FloatArray
    s: FloatArray
    y: FloatArray
    phi: FloatArray
    task: IntArray

    @classmethod
    def of(
        cls, samples: list[Sample], indices: Indices, unit: FloatArray
    ) -> "tuple[OwnDraws, list[FloatArray]]":
        """Return observations in units (T,), and what turns columns into those of polynomials."""
        phis, backs = [], []
        for t, sample in enumerate(samples):
            with of_task(t):
                phi, back = orthonormal(polynomial_part(sample.x, sample.s, indices))
            phis.append(phi)
            backs.append(back)
        task: IntArray = np.repeat(np.arange(len(samples)), [sample.n for sample in samples])
        y = np.concatenate([sample.y[:, 0] for sample in samples]) / unit[task]
        x, s = (np.concatenate([sample[i] for sample in samples]) for i in (0, 1))
        return cls(x, s, y, linalg.block_diag(*phis), task), backs

    @property
    def starts(self) -> IntArray:
        """Index of each task's first observation, shape (T,)."""
        return np.flatnonzero(np.append(True, self.task[1:] != self.task[:-1]))

    @property
    def n_tasks(self) -> int:
        """Number of tasks."""
        return int(self.task[-1]) + 1

    def mean_by_task(self, values: FloatArray) -> FloatArray:
        """Return the mean of ``values (N,)`` over each task, shape (T,)."""
        return np.bincount(self.task, values) / np.bincount(self.task)

    def matrices(self, gram: SteinGram) -> Matrices:
        """Return the kernel matrix of all observations, (N, N)."""
        kernel, slope = gram.matrix_and_slope(gram.at(self.x, self.s))
        units, units_slope = (self.mean_by_task(np.diagonal(each)) for each in (kernel, slope))
        return Matrices(kernel, slope, units, units_slope)

    def terms(self, matrices: Matrices, b: FloatArray, noise: FloatArray) -> Terms | None:
        """Return likelihood and derivatives by a Cholesky factor of A."""
        task, starts, phi = self.task, self.starts, self.phi
        spread = b[np.ix_(task, task)]
        a = spread * matrices.kernel
        a[np.diag_indices(len(task))] += noise[task]
        factor, failed = linalg.lapack.dpotrf(a.T, lower=0, clean=0, overwrite_a=1)
        if failed:
            return None
        log_determinant = 2 * np.log(np.diagonal(factor)).sum()
        inverse, _ = linalg.lapack.dpotri(factor, lower=0, overwrite_c=1)
        inverse = mirror(inverse.T)
        on_phi = inverse @ phi
        small = _factor(phi.T @ on_phi)
        if small is None:
            return None
        half = linalg.solve_triangular(small, on_phi.T, lower=True, check_finite=False)
        p = inverse
        p -= half.T @ half
        p_y = p @ self.y
        quadratic = max(float(self.y @ p_y), _TINY)
        degrees = len(task) - phi.shape[1]
        value = 0.5 * (degrees * np.log(quadratic) + log_determinant)
        value += np.log(np.diagonal(small)).sum()
        weight = p
        weight -= np.outer(p_y, degrees / quadratic * p_y)
        by_noise = np.asarray(0.5 * np.bincount(task, np.diagonal(weight)))
        weight *= 0.5
        spread *= matrices.slope
        by_length = float(np.vdot(weight, spread))
        weight *= matrices.kernel
        by_covariance = np.add.reduceat(np.add.reduceat(weight, starts, axis=0), starts, axis=1)
        return Terms(float(value), by_covariance, by_noise, by_length)

    def alone(self) -> Iterator[Scalar]:
        """Iterate over tasks."""
        for t in range(self.n_tasks):
            rows = np.flatnonzero(self.task == t)
            phi = self.phi[rows]
            phi = phi[:, (phi != 0).any(axis=0)]
            y = self.y[rows, np.newaxis]
            yield Scalar(np.array([t]), self.x[rows], self.s[rows], phi, y)

    def cosines(
        self, kernel: FloatArray, duals: list[FloatArray], centred: list[FloatArray]
    ) -> FloatArray:
        """Return cosines (T, T) of each task's centred values with what fits of each say."""
        predicted = np.stack(
            [kernel[:, self.task == t] @ dual for t, dual in enumerate(duals)], axis=1
        )
        residual = np.concatenate(centred)
        norms = np.sqrt(self.mean_by_task(residual**2))
        sizes = [np.sqrt(self.mean_by_task(column**2)) for column in predicted.T]
        inner = [self.mean_by_task(residual * column) for column in predicted.T]
        return _ratio(np.stack(inner, axis=1), norms[:, np.newaxis] * np.stack(sizes, axis=1))


class SharedDraws(NamedTuple):
    """Observations of T tasks on the same draws.

    x, s (n, d) in standardised coordinates, y (n, T) in units of deviations, `phi` (n, q)
    orthonormal unpenalised columns.
    """

    x: FloatArray
    s: FloatArray
    y: FloatArray
    phi: FloatArray

    @classmethod
    def of(
        cls, samples: list[Sample], indices: Indices, unit: FloatArray
    ) -> "tuple[SharedDraws, list[FloatArray]]":
        """Return observations in units (T,), and what turns columns into those of polynomials."""
        x, s = samples[0].x, samples[0].s
        phi, back = orthonormal(polynomial_part(x, s, indices))
        y = np.column_stack([sample.y for sample in samples]) / unit
        return cls(x, s, y, phi), [back] * len(samples)

    @property
    def n_tasks(self) -> int:
        """Number of tasks."""
        return int(self.y.shape[1])

    def matrices(self, gram: SteinGram) -> Matrices:
        """Return the kernel matrix of the draws, (n, n)."""
        kernel, slope = gram.matrix_and_slope(gram.at(self.x, self.s))
        units, units_slope = (
            np.full(self.n_tasks, np.diagonal(each).mean()) for each in (kernel, slope)
        )
        return Matrices(kernel, slope, units, units_slope)

    def terms(self, matrices: Matrices, b: FloatArray, noise: FloatArray) -> Terms | None:
        """Return likelihood and derivatives by eigendecompositions of K and of whitened B."""
        turned = Whitened.of(b, noise)
        values, vectors = linalg.eigh(matrices.kernel, check_finite=False, driver="evd")
        values = np.maximum(values, 0.0)
        z = vectors.T @ (self.y @ turned.forward)
        phi = vectors.T @ self.phi
        n, q = phi.shape
        inverse = 1 / (values[:, np.newaxis] * turned.values + 1)
        weighted = inverse.T[:, :, np.newaxis] * phi  # (T, n, q)
        small = _factor(phi.T @ weighted)
        if small is None:
            return None
        half = np.linalg.solve(small, weighted.transpose(0, 2, 1))  # (T, q, n)
        on_z = np.einsum("jqn,nj->jq", half, z)
        p_z = inverse * z - np.einsum("jqn,jq->nj", half, on_z)
        quadratic = max(float(np.vdot(z, p_z)), _TINY)
        degrees = z.shape[1] * (n - q)
        value = 0.5 * degrees * np.log(quadratic) - 0.5 * np.log(inverse).sum()
        value += 0.5 * (n - q) * np.log(noise).sum()
        value += np.log(np.diagonal(small, axis1=1, axis2=2)).sum()

        scale = degrees / quadratic
        p_y = p_z @ turned.forward.T
        squares = (half**2).sum(axis=1)  # (T, n)
        trace = inverse.sum(axis=0) - squares.sum(axis=1)
        trace_kernel = values @ inverse - squares @ values
        by_noise = turned.forward**2 @ trace - scale * (p_y**2).sum(axis=0)
        by_covariance = (turned.forward * trace_kernel) @ turned.forward.T
        by_covariance -= scale * (p_y.T * values) @ p_y
        slope = vectors.T @ matrices.slope @ vectors
        by_length = np.diagonal(slope) @ (inverse @ turned.values)
        by_length -= turned.values @ np.einsum("jqn,jqn->j", half @ slope, half)
        by_length -= scale * np.vdot(p_y @ b, slope @ p_y)
        return Terms(float(value), 0.5 * by_covariance, 0.5 * by_noise, 0.5 * float(by_length))

    def alone(self) -> Iterator[Scalar]:
        """Iterate over all tasks, which are together."""
        yield Scalar(np.arange(self.n_tasks), self.x, self.s, self.phi, self.y)

    def cosines(
        self, kernel: FloatArray, duals: list[FloatArray], centred: list[FloatArray]
    ) -> FloatArray:
        """Return cosines (T, T) of each task's centred values with what fits of each say."""
        predicted, residual = kernel @ np.stack(duals, axis=1), np.stack(centred, axis=1)
        norms, sizes = (np.linalg.norm(each, axis=0) for each in (residual, predicted))
        return _ratio(residual.T @ predicted, np.outer(norms, sizes))


class Whitened(NamedTuple):
    """Eigenvalues λ (T,) of diag(ν)^-½ B diag(ν)^-½, and diag(ν)^-½ U and diag(ν)^½ U (T, T)."""

    values: FloatArray
    forward: FloatArray
    backward: FloatArray

    @classmethod
    def of(cls, b: FloatArray, noise: FloatArray) -> "Whitened":
        """Decompose, by noises > 0."""
        root = np.sqrt(noise)
        values, vectors = linalg.eigh(b / np.outer(root, root))
        columns = root[:, np.newaxis]
        return cls(np.maximum(values, 0.0), vectors / columns, vectors * columns)


def _factor(matrices: FloatArray) -> FloatArray | None:
    """Return lower Cholesky factors; None where rounding has left none."""
    try:
        return np.asarray(np.linalg.cholesky(matrices))
    except np.linalg.LinAlgError:
        return None


def _ratio(above: FloatArray, below: FloatArray) -> FloatArray:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)
