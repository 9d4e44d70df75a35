"""JointEstimate: several related integrals with their error bars, frozen."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from mcvar._typing import FloatArray
from mcvar.result import ConfidenceInterval, concise, interval_widths

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mcvar.control import VectorSteinKernel, VectorSteinPolynomial

_SHOWN = 10  # tasks printed before a repr is shortened


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class JointEstimate:
    """Estimates of T related integrals.

    Attributes
    ----------
    value, standard_error : ndarray, shape (T,)
        The estimates and their cross-fitted standard errors.
    covariance : ndarray, shape (T, T)
        Covariance of `value`. Tasks with draws of their own have independent residuals given the
        fits; between tasks that share a control it holds how its expectations move together when
        draws are left out.
    df : ndarray, shape (T,)
        Degrees of freedom of `standard_error`, for Student's t intervals.
    skewness : ndarray, shape (T,)
        Skewness of the corrected values over √n, which intervals allow for.
    n : tuple of int, length T
        Draws of each task.
    variance_reduction : ndarray, shape (T,)
        Variance of plain Monte Carlo with the task's draws over the variance of its estimate.
    control : tuple of str, length T
        What served each task: the joint control, a control of its own, or none.
    task_covariance : ndarray, shape (T, T)
        B of the joint control, for tasks in units of their standard deviation: as given, or the
        mean of what is learned without each fold.
    model : VectorSteinKernel or VectorSteinPolynomial
        The joint control as fitted without the first fold, with what it has chosen: `kernel_` and
        `ridge_`, or `penalty_`. A warm start begins with it.
    corrected : tuple of T ndarrays, shapes (n_t,)
        Control-adjusted values, whose means are the estimates: values less the prediction of the
        control fitted without the draw, plus its expectation.
    expectations : ndarray, shape (folds, T)
        Exact expectations of the joint control from the fit without each fold.
    status : {"completed", "suspect"}
    reasons : tuple of str
        What makes an error bar suspect, in prose.

    Examples
    --------
    >>> import numpy as np, mcvar
    >>> x = np.random.default_rng(1).normal(size=(40, 1))
    >>> draws = mcvar.Draws(x, grad_logpdf=-x)
    >>> joint = mcvar.estimate_jointly([(np.sin(x[:, 0]), draws), (np.sin(x[:, 0]) + 1, draws)])
    >>> low, high = joint.confidence_interval(0.99)
    >>> bool((low < [0, 1]).all() and (high > [0, 1]).all()), joint.n
    (True, (40, 40))
    """

    value: FloatArray
    standard_error: FloatArray
    covariance: FloatArray
    df: FloatArray
    skewness: FloatArray
    n: tuple[int, ...]
    variance_reduction: FloatArray
    control: tuple[str, ...]
    task_covariance: FloatArray
    model: "VectorSteinKernel | VectorSteinPolynomial"
    corrected: tuple[FloatArray, ...]
    expectations: FloatArray
    status: Literal["completed", "suspect"] = "completed"
    reasons: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for array in (*vars(self).values(), *self.corrected):
            if isinstance(array, np.ndarray):
                array.flags.writeable = False

    def confidence_interval(self, level: float = 0.95) -> ConfidenceInterval[FloatArray]:
        """Two-sided confidence intervals, one for each task."""
        below, above = interval_widths(self.standard_error, self.df, level, self.skewness)
        return ConfidenceInterval(self.value - below, self.value + above)

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw what the tasks have in common: the correlations of `task_covariance`."""
        from mcvar.plot import correlations

        return correlations(self.task_covariance, ax)

    def __repr__(self) -> str:
        lines = [f"JointEstimate({len(self.value)} tasks, {self.status})"]
        for t in range(min(len(self.value), _SHOWN)):
            text = concise(float(self.value[t]), float(self.standard_error[t]))
            gain = f"{self.variance_reduction[t]:.3g}x plain Monte Carlo"
            lines.append(f"  task {t}: {text}, n={self.n[t]}, {gain}, {self.control[t]}")
        if len(self.value) > _SHOWN:
            lines.append(f"  ... {len(self.value)} tasks")
        return "\n".join([*lines, *(f"  {reason}" for reason in self.reasons)])
