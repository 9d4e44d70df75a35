"""Estimate: the answer, frozen."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeAlias, TypeVar

import numpy as np
from scipy import special

from mcvar._checks import as_count, as_real_array
from mcvar._typing import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Status: TypeAlias = Literal["completed", "converged", "budget", "suspect"]
_Limit = TypeVar("_Limit")
_SHOWN = 6  # components printed before a repr is shortened


class ConfidenceInterval(NamedTuple, Generic[_Limit]):
    """Lower and upper limits, floats or arrays of shape (m,).

    Examples
    --------
    >>> import mcvar
    >>> est = mcvar.Estimate(value=2.0, standard_error=0.5, n=100)
    >>> interval = est.confidence_interval(0.95)
    >>> low, high = interval
    >>> bool(low == interval.low), round(float(interval.high), 2)
    (True, 2.98)
    """

    low: _Limit
    high: _Limit


class Look(NamedTuple):
    """The estimate as it stood after n evaluations."""

    n: int
    value: FloatArray
    standard_error: FloatArray
    df: Any
    skewness: Any = 0.0


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class Estimate:
    """A Monte Carlo estimate with an error bar.

    Attributes
    ----------
    value : float or ndarray, shape (m,)
        The estimate; an array where the integrand has m columns.
    standard_error : float or ndarray, shape (m,)
        Its standard error.
    n : int
        Evaluations of the integrand, pilots and training included.
    df : float or ndarray, shape (m,)
        Degrees of freedom of `standard_error`, for Student's t intervals.
    skewness : float or ndarray, shape (m,)
        Skewness of the values over √n, which intervals allow for (Hall 1992); 0 where they are
        Student's.
    ess : float
        Effective sample size: n for independent draws, (Σw)²/Σw² for weighted ones, and the
        number of independent draws with the same error for dependent chains.
    variance_reduction : float or ndarray, shape (m,)
        Variance of plain Monte Carlo with n draws over the variance of this estimate: how many
        times more evaluations plain Monte Carlo would need.
    status : {"completed", "converged", "budget", "suspect"}
        "completed": all n draws were made. "converged": the tolerance was met. "budget": draws or
        time ran out, or the run was interrupted, before that. "suspect": see `reasons`.
    reasons : tuple of str
        What is behind `status`, in prose.
    sampler, control : str
        What was used.
    covariance : ndarray, shape (m, m), or None
        Covariance of `value` across components, where it was asked for.
    log_normalizer : Estimate or None
        log of the normalising constant, for unnormalised targets.
    seed : int or None
        Passing it as ``rng=`` repeats the run.
    history : tuple of Look
        The estimate at successive numbers of draws; `plot` draws it.
    again : callable or None
        The call that made it, for `resume`; only runs with a checkpoint have one.

    Examples
    --------
    Two integrals on the same points, and how they hang together:

    >>> import numpy as np, mcvar
    >>> est = mcvar.estimate(lambda x: np.column_stack([x[:, 0], x[:, 0] ** 2]), [(0, 1)],
    ...                      n=4096, rng=1, covariance=True)
    >>> np.allclose(est.value, [1 / 2, 1 / 3], atol=1e-3), est.covariance.shape
    (True, (2, 2))
    >>> est.status, est.reasons
    ('completed', ())
    """

    value: Any
    standard_error: Any
    n: int
    df: Any = np.inf
    skewness: Any = 0.0
    ess: float = np.nan
    variance_reduction: Any = 1.0
    status: Status = "completed"
    reasons: tuple[str, ...] = ()
    sampler: str = "given draws"
    control: str = "none"
    covariance: FloatArray | None = None
    log_normalizer: "Estimate | None" = None
    seed: int | None = None
    history: tuple[Look, ...] = field(default=())
    again: "Callable[..., Estimate] | None" = None

    def __post_init__(self) -> None:
        for name in (
            "value",
            "standard_error",
            "df",
            "skewness",
            "variance_reduction",
            "covariance",
        ):
            array = getattr(self, name)
            if isinstance(array, np.ndarray):
                array.flags.writeable = False

    def resume(self, **changes: Any) -> "Estimate":
        """Go on from the checkpoint of this run, in this process or another.

        Parameters
        ----------
        **changes
            Arguments of `mcvar.estimate` that are to be other than they were: ``rtol``, ``atol``,
            ``n``, ``max_n``, ``max_seconds``, ``executor``, ``progress``.

        Raises
        ------
        ValueError
            The run had no checkpoint.

        Examples
        --------
        >>> import mcvar, os, tempfile
        >>> file = os.path.join(tempfile.mkdtemp(), "run.sqlite")
        >>> est = mcvar.estimate(abs, [(-1, 2)], rtol=1e-3, checkpoint=file, rng=1)
        >>> finer = est.resume(rtol=1e-5)
        >>> bool(finer.standard_error < est.standard_error)
        True
        """
        if self.again is None:
            raise ValueError(
                "this estimate has no checkpoint to resume from; give estimate() a file: "
                'checkpoint="run.sqlite".'
            )
        return self.again(**changes)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out a call that cannot be pickled: that of a lambda, say."""
        state = dict(vars(self))
        try:
            pickle.dumps(self.again)
        except (pickle.PicklingError, AttributeError, TypeError):
            state["again"] = None
        return state

    def confidence_interval(self, level: float = 0.95) -> ConfidenceInterval[Any]:
        """Two-sided confidence interval: Student's t, with the skewness of the values taken out.

        Parameters
        ----------
        level : float
            Confidence level in (0, 1).

        Examples
        --------
        >>> import mcvar
        >>> est = mcvar.estimate(lambda x: x[:, 0] ** 2, [(0, 1)], n=4096, rng=1)
        >>> low, high = est.confidence_interval(0.99)
        >>> bool(low < 1 / 3 < high)
        True
        """
        below, above = interval_widths(self.standard_error, self.df, level, self.skewness)
        low, high = self.value - below, self.value + above
        if np.ndim(low) == 0:
            low, high = float(low), float(high)
        return ConfidenceInterval(low, high)

    def plot(self, ax: "Axes | None" = None, *, component: int = 0, level: float = 0.95) -> "Axes":
        """Draw the estimate and its interval against the number of evaluations.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.
        component : int
            Which of the m components to draw.
        level : float
            Confidence level of the band.
        """
        from mcvar.plot import convergence

        looks = self.history or (
            Look(
                self.n,
                np.atleast_1d(self.value),
                np.atleast_1d(self.standard_error),
                np.atleast_1d(self.df),
                np.atleast_1d(self.skewness),
            ),
        )
        m = np.size(self.value)
        component = as_count("component", component, 0)
        if component >= m:
            raise ValueError(f"component must be below {m}, the number there is, got {component}.")
        value = np.array([look.value[component] for look in looks])
        below, above = np.transpose(
            [
                [
                    np.broadcast_to(width, m)[component]
                    for width in interval_widths(look.standard_error, look.df, level, look.skewness)
                ]
                for look in looks
            ]
        )
        n = np.array([look.n for look in looks])
        return convergence(n, value, value - below, value + above, ax, level=level)

    def __repr__(self) -> str:
        values, errors = np.atleast_1d(self.value), np.atleast_1d(self.standard_error)
        shown = [
            concise(float(v), float(e))
            for v, e in zip(values[:_SHOWN], errors[:_SHOWN], strict=True)
        ]
        text = shown[0] if np.ndim(self.value) == 0 else f"[{', '.join(shown)}"
        if np.ndim(self.value):
            text += f", ... {len(values)} components]" if len(values) > _SHOWN else "]"
        gain = float(np.median(self.variance_reduction))
        parts = [text, f"n={self.n}"]
        if np.isfinite(gain):
            parts.append(f"{gain:.3g}x plain Monte Carlo")
        parts.append(self.status)
        lines = [f"Estimate({', '.join(parts)})", *(f"  {reason}" for reason in self.reasons)]
        return "\n".join(lines)


def half_width(standard_error: Any, df: Any, level: float) -> Any:
    """Half the width of a two-sided Student t interval."""
    return special.stdtrit(df, 0.5 + _checked_level(level) / 2) * standard_error


def interval_widths(
    standard_error: Any, df: Any, level: float, skewness: Any = 0.0
) -> tuple[Any, Any]:
    """How far a two-sided interval reaches below and above the estimate.

    Student's interval, or Hall's where the mean is skewed: that of a monotone cubic transform which
    takes out the skewness.

    Parameters
    ----------
    standard_error, df : float or array_like
    level : float
    skewness : float or array_like
        Skewness of the values over √n; 0 gives Student's interval.

    References
    ----------
    Hall, "On the removal of skewness by transformation", Journal of the Royal Statistical Society
    B 54 (1992), eq. 2.4: monotone, with a skewness error of order 1/n.

    Examples
    --------
    >>> below, above = interval_widths(0.1, 999, 0.90, 0.2)
    >>> round(float(below), 3), round(float(above), 3)
    (0.147, 0.191)
    """
    t = special.stdtrit(df, 0.5 + _checked_level(level) / 2)
    skewness = np.asarray(skewness, dtype=float)
    if not skewness.any():
        return t * standard_error, t * standard_error
    bends = np.abs(skewness) > 1e-9
    by = np.where(bends, skewness, 1.0)

    def bent(quantile: Any) -> Any:
        return np.where(bends, 3 / by * (np.cbrt(1 + by * (quantile - by / 6)) - 1), quantile)

    return bent(t) * standard_error, -bent(-t) * standard_error


def _checked_level(level: Any) -> float:
    number = as_real_array("level", level)
    if number.ndim or not 0 < float(number) < 1:
        raise ValueError(f"level must lie strictly between 0 and 1, got {level!r}.")
    return float(number)


def concise(value: float, error: float) -> str:
    """Write a value with the error of its last two digits, as in ``0.063466(12)``.

    >>> concise(0.0634661234, 1.2e-6)
    '0.0634661(12)'
    >>> concise(1234567.0, 4321.0)
    '1234600(4300)'
    >>> concise(2.5, 0.0)
    '2.5(0)'
    """
    if not (np.isfinite(value) and np.isfinite(error)) or error <= 0:
        return f"{value:.10g}({error:.2g})"
    digits = 1 - int(np.floor(np.log10(error)))
    if abs(value) >= 1e7 or max(abs(value), error) < 1e-4:
        exponent = int(np.floor(np.log10(max(abs(value), error))))
        return f"{concise(value / 10.0**exponent, error / 10.0**exponent)}e{exponent:+03d}"
    rounded, last = round(value, digits), round(error, digits)
    if digits <= 0:
        return f"{rounded:.0f}({last:.0f})"
    # round() may carry 9.96 to 10.0: the two digits then become three, which is still right.
    return f"{rounded:.{digits}f}({round(last * 10**digits)})"
