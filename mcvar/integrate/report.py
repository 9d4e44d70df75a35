"""From an analysis to the Estimate that a user gets."""

from collections import Counter
from typing import Any

import numpy as np

from mcvar.integrate.analyse import Analysis
from mcvar.integrate.diagnose import by_component
from mcvar.result import Estimate, Status


def describe(controls: tuple[str, ...], folds: int) -> str:
    """Name of the control, or of several with the number of components that each served."""
    counts = Counter(controls)
    if len(counts) == 1:
        text = controls[0]
    else:
        text = "; ".join(f"{name} for {count}" for name, count in counts.most_common())
    fitted = folds == 1 and text != "none"
    return f"{text}, fitted on the draws it corrects (folds=1)" if fitted else text


def build_estimate(
    found: Analysis,
    scalar: bool,
    *,
    n: int,
    draws: int,
    status: Status,
    warnings: tuple[str, ...] = (),
    why: list[str] | None = None,
    with_covariance: bool = False,
    log_scale: float = 0.0,
    ess: float | None = None,
    **fields: Any,
) -> Estimate:
    """The result, from an analysis.

    Parameters
    ----------
    found : Analysis
    scalar : bool
        Whether there is one value rather than a row of them.
    n, draws : int
        Evaluations in all, and draws of the estimate itself.
    status : Status
        Where nothing is suspect.
    warnings : tuple of str
        Reasons to suspect the training.
    why : list of str
        What is behind a status of "budget".
    with_covariance : bool
    log_scale : float
        Log of the factor by which weights were divided.
    ess : float, optional
        In place of that of the weights.
    **fields
        Of the `Estimate`: sampler, control, seed, history.
    """
    combined = found.combined

    def shaped(array: Any) -> Any:
        full = np.broadcast_to(np.asarray(array, dtype=float), combined.mean.shape)
        return float(full[0]) if scalar else full.copy()

    def judged(reasons: list[str]) -> dict[str, Any]:
        own = [*warnings, *reasons]
        return {"status": "suspect" if own else status, "reasons": (*own, *(why or ()))}

    with np.errstate(divide="ignore", invalid="ignore"):
        # The pilot's evaluations count too: plain Monte Carlo would have used them.
        gain = found.independent_variance * (draws / n) / combined.variance
    log_normalizer = None
    if found.log_weight is not None and "seed" in fields:
        weight = found.log_weight
        of_weights = list(found.weight_reasons)
        if not of_weights and all(found.reasons):
            # Weights whose every product with a value has a heavy tail have one themselves.
            of_weights = list(by_component(found.reasons))
        log_normalizer = Estimate(
            value=float(weight.mean[0]) + log_scale,
            standard_error=float(np.sqrt(weight.variance[0])),
            n=n,
            df=float(np.ravel(weight.df)[0]),
            skewness=float(np.ravel(weight.skewness)[0]),
            ess=found.ess,
            variance_reduction=float("nan"),
            sampler=fields["sampler"],
            seed=fields["seed"],
            **judged(of_weights),
        )
    return Estimate(
        value=shaped(combined.mean),
        standard_error=shaped(np.sqrt(combined.variance)),
        n=n,
        df=shaped(combined.df),
        skewness=shaped(combined.skewness),
        ess=found.ess if ess is None else ess,
        variance_reduction=shaped(np.where(np.isnan(gain), 1.0, gain)),
        covariance=combined.covariance if with_covariance else None,
        log_normalizer=log_normalizer,
        **judged(list(by_component(found.reasons))),
        **fields,
    )
