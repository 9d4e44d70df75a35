"""Cross-fitting of controls that are scikit-learn regressors with a `mean_`."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from mcvar._checks import known_name
from mcvar._typing import FloatArray, IntArray


@dataclass(frozen=True)
class CrossFitted:
    """What regressors leave of values, out of fold.

    Attributes
    ----------
    residual : ndarray, shape (n, m)
        values − prediction.
    mean : ndarray, shape (n, m)
        Known expectation of the prediction that served each draw.
    mean_error : ndarray, shape (m,)
        Standard error of those expectations: zero, unless the control had to estimate them.
    fitted : list
        The regressors, fold by fold.
    """

    residual: FloatArray
    mean: FloatArray
    mean_error: FloatArray
    fitted: list[Any]


def cross_fit(
    control: Any,
    x: FloatArray,
    values: FloatArray,
    groups: IntArray,
    grad_logpdf: FloatArray | None = None,
    weights: FloatArray | None = None,
) -> CrossFitted:
    """Fit `control` for each group on the draws of all others; on all draws if there is one.

    Parameters
    ----------
    control : regressor
        Cloned for every fit.
    x : ndarray, shape (n, d)
    values : ndarray, shape (n, m)
    groups : ndarray of int, shape (n,)
        Folds, or replicates.
    grad_logpdf : ndarray, shape (n, d), optional
        Scores, for controls with ``needs_score``.
    weights : ndarray, shape (n,), optional
        Likelihood ratios, for controls with ``needs_score``: they fit by them.
    """
    from sklearn.base import clone

    residual, mean = np.empty_like(values), np.empty_like(values)
    mean_error = np.zeros(values.shape[1])
    everyone = []
    labels = np.unique(groups)
    for label in labels:
        held_out = groups == label
        others = ~held_out if len(labels) > 1 else held_out
        fitted = clone(control)
        fitting, predicting = {}, {}
        if getattr(control, "needs_score", False):
            assert grad_logpdf is not None
            fitting["grad_logpdf"], predicting["grad_logpdf"] = (
                grad_logpdf[others],
                grad_logpdf[held_out],
            )
            if weights is not None:
                fitting["sample_weight"] = weights[others]
        # Regressors of scikit-learn expect one value a row as a vector.
        single = values.shape[1] == 1
        fitted.fit(x[others], values[others, 0] if single else values[others], **fitting)
        known = getattr(fitted, "mean_", None)
        if known is None:
            inside = "; give its best_estimator_" if hasattr(fitted, "best_estimator_") else ""
            raise TypeError(
                f"{type(control).__name__} has no `mean_` after fit; a control must know the "
                f"exact expectation of its prediction under the target{inside}."
            )
        prediction = np.asarray(fitted.predict(x[held_out], **predicting), dtype=float)
        residual[held_out] = values[held_out] - prediction.reshape(-1, values.shape[1])
        mean[held_out] = np.asarray(known, dtype=float).ravel()
        mean_error = np.maximum(mean_error, getattr(fitted, "mean_error_", 0.0))
        everyone.append(fitted)
    return CrossFitted(residual, mean, mean_error, everyone)


def check_regressor(control: Any) -> None:
    """Refuse what cannot be a control."""
    if isinstance(control, str):
        import mcvar.control

        names = [name for name in mcvar.control.__all__ if name[0].isupper()]
        known_name("control", control, ("auto", *names))
        raise TypeError(
            f"control={control!r} is a name; give the object mcvar.control.{control}(...)."
        )
    if not all(callable(getattr(control, name, None)) for name in ("fit", "predict", "get_params")):
        raise TypeError(
            f"control must be 'auto', None, a control from mcvar.control or a scikit-learn "
            f"regressor with a `mean_`, got {control!r}."
        )
    from sklearn.base import clone

    try:
        clone(control)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"control {control!r} cannot be cloned for each fold: {error}") from error
