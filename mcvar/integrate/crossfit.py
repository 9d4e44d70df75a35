"""Cross-fitting of controls that are scikit-learn regressors with a `mean_`."""

from typing import Any

import numpy as np

from mcvar._checks import known_name
from mcvar._typing import FloatArray, IntArray


def cross_fitted_residuals(
    control: Any, x: FloatArray, values: FloatArray, groups: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Fit `control` for each group on the draws of all others; on all draws if there is one.

    Parameters
    ----------
    control : regressor
        Cloned for every fit.
    x : ndarray, shape (n, d)
    values : ndarray, shape (n, m)
    groups : ndarray of int, shape (n,)
        Folds, or replicates.

    Returns
    -------
    residual : ndarray, shape (n, m)
        values − prediction, out of fold.
    mean : ndarray, shape (n, m)
        Known expectation of the prediction that served each draw.
    """
    from sklearn.base import clone

    residual, mean = np.empty_like(values), np.empty_like(values)
    labels = np.unique(groups)
    for label in labels:
        held_out = groups == label
        others = ~held_out if len(labels) > 1 else held_out
        fitted = clone(control)
        # Regressors of scikit-learn expect one value a row as a vector.
        single = values.shape[1] == 1
        fitted.fit(x[others], values[others, 0] if single else values[others])
        known = getattr(fitted, "mean_", None)
        if known is None:
            raise TypeError(
                f"{type(control).__name__} has no `mean_` after fit; a control must know the "
                "exact expectation of its prediction under the target."
            )
        prediction = np.asarray(fitted.predict(x[held_out]), dtype=float)
        residual[held_out] = values[held_out] - prediction.reshape(-1, values.shape[1])
        mean[held_out] = np.asarray(known, dtype=float).ravel()
    return residual, mean


def check_regressor(control: Any) -> None:
    """Refuse what cannot be a control."""
    if isinstance(control, str):
        known_name("control", control, ("auto", "KnownMean", "Polynomial"))
        raise TypeError(
            f"control={control!r} is a name; give the object mcvar.control.{control}(...)."
        )
    if not all(callable(getattr(control, name, None)) for name in ("fit", "predict", "get_params")):
        raise TypeError(
            f"control must be 'auto', None, a control from mcvar.control or a scikit-learn "
            f"regressor with a `mean_`, got {control!r}."
        )
