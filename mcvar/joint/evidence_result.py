"""Evidence: the log evidence of a model with its error bar, frozen."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from mcvar._typing import FloatArray
from mcvar.joint.result import JointEstimate
from mcvar.result import ConfidenceInterval, concise, half_width


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class Evidence:
    """Log evidence of a model.

    Attributes
    ----------
    value, standard_error : float
        log ∫ likelihood · prior, and its Monte Carlo error; that of the rule over temperatures is
        not in it.
    df : float
        Degrees of freedom of `standard_error`, for Student's t interval.
    temperatures : ndarray, shape (T,)
    method : {"thermodynamic", "smc"}
    rule_error : float
        By how much the rule over temperatures misses the integral (value less truth), judged by
        the same rule on every other temperature; 0 for the SMC identity, which has no such error.
        It is an estimate, good to some ten per cent where the ladder is fine and where it stands
        out from the Monte Carlo error. NaN for two temperatures.
    means : JointEstimate or None
        Expectations of the log likelihood at the temperatures, for thermodynamic integration.
    variances : JointEstimate or None
        Its variances there, for the second-order rule.
    ratios : JointEstimate or None
        For the SMC identity: expectations of (exp(Δ(log L − c)) − 1)/Δ at temperature i, with Δ
        the step to the next and c the mean of log L over the draws.
    log_ratios, log_ratio_covariance : ndarray or None, shapes (T − 1,) and (T − 1, T − 1)
        Logarithms of the ratios of neighbouring evidences, which add up to `value`, and their
        covariance by the delta method.

    Examples
    --------
    One observation y = 1 of a mean with prior N(0, 1) and noise N(0, 1):

    >>> import numpy as np, mcvar
    >>> rng, ladder = np.random.default_rng(1), np.linspace(0, 1, 6) ** 2
    >>> x = [t / (1 + t) + rng.normal(size=(30, 1)) / np.sqrt(1 + t) for t in ladder]
    >>> found = mcvar.evidence(
    ...     lambda u: -0.5 * (1 - u[:, 0]) ** 2, lambda u: 1 - u, lambda u: -u, x, ladder
    ... )
    >>> found.means.value.shape, found.variances.value.shape
    ((6,), (6,))
    >>> low, high = found.confidence_interval(0.95)
    >>> bool(low < found.value < high)
    True
    """

    value: float
    standard_error: float
    df: float
    temperatures: FloatArray
    method: Literal["thermodynamic", "smc"]
    rule_error: float
    means: JointEstimate | None = None
    variances: JointEstimate | None = None
    ratios: JointEstimate | None = None
    log_ratios: FloatArray | None = None
    log_ratio_covariance: FloatArray | None = None

    def __post_init__(self) -> None:
        for array in vars(self).values():
            if isinstance(array, np.ndarray):
                array.flags.writeable = False

    @property
    def status(self) -> Literal["completed", "suspect"]:
        """Whether an error bar that the evidence is made of is suspect."""
        return "suspect" if self.reasons else "completed"

    @property
    def reasons(self) -> tuple[str, ...]:
        """Reasons to suspect an error bar, in prose."""
        return tuple(
            f"{kind}: {reason}" for kind, part in self._parts.items() for reason in part.reasons
        )

    def confidence_interval(self, level: float = 0.95) -> ConfidenceInterval[float]:
        """Return the two-sided interval, by Student's t."""
        half = float(half_width(self.standard_error, self.df, level))
        return ConfidenceInterval(self.value - half, self.value + half)

    def __repr__(self) -> str:
        shown = concise(self.value, self.standard_error)
        parts = [shown, self.method, f"{len(self.temperatures)} temperatures"]
        if self.method == "thermodynamic":
            parts.append(f"rule off by {self.rule_error:.1e}")
        head = f"Evidence({', '.join([*parts, self.status])})"
        return "\n".join([head, *(f"  {reason}" for reason in self.reasons)])

    @property
    def _parts(self) -> dict[str, JointEstimate]:
        given = {"means": self.means, "variances": self.variances, "ratios": self.ratios}
        return {kind: part for kind, part in given.items() if part is not None}
