"""Regression with coefficients of its own in every stratum."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mcvar._checks import as_finite_array, as_number, as_real_array
from mcvar._typing import FloatArray, IntArray
from mcvar.control.base import LinearControl
from mcvar.moments import Moments, solve_normal_equations, total


class StratifiedRegression(LinearControl):
    """Strata times regressors: features whose coefficients may differ from stratum to stratum.

    Within stratum h, features φ have the known conditional expectation m_h; the control is
    Σ_h 1{h} β_hᵀ (φ − m_h), plus Σ_h γ_h (1{h} − p_h) where the strata's probabilities are known.
    Each β_h is shrunk towards the coefficients common to all strata as by `prior` further draws
    that obey them, so that a stratum of three draws does no harm.

    **The stratum must not depend on what is sampled after φ's expectation was taken**: the
    expectations have to hold *given the stratum*. Numbers of events that the sampled path itself
    decides are no strata in this sense; using them biases the estimate (20 % and more).

    Means and probabilities are taken on trust: unlike those of `KnownMean` they are not put to the
    test, because a thin stratum that no draw fell into would seem to contradict any.

    Parameters
    ----------
    stratum : callable
        ``stratum(x: (n, d)) -> (n,)``, whole numbers 0 .. H − 1.
    h : callable
        Features, ``h(x: (n, d)) -> (n,) or (n, k)``.
    mean : array_like, shape (H, k) or (k,)
        Their expectations in each stratum, or in all.
    probabilities : array_like, shape (H,), optional
        Of the strata, of sum 1. Leave them out where draws are stratified already
        (``sampler="stratified"``), or unknown.
    prior : float
        Draws' worth of shrinkage.

    Raises
    ------
    ValueError
        Probabilities that do not sum to 1, a stratum out of range.

    References
    ----------
    Yang, Feng, Feng & Liu, "Adaptive safety evaluation for connected and automated vehicles with
    sparse control variates" (2022), for coefficients per stratum; Cochran, *Sampling Techniques*
    (1977), section 7.10, for separate regression estimators in strata of known size.

    Examples
    --------
    A function with another slope on either side of 0, for which one slope is of no use:

    >>> import numpy as np, mcvar
    >>> control = mcvar.control.StratifiedRegression(
    ...     lambda x: (x[:, 0] > 0).astype(int), lambda x: x[:, 0], [[-0.5], [0.5]], [0.5, 0.5])
    >>> est = mcvar.estimate(lambda x: np.abs(x[:, 0]) + 0.01 * x[:, 0] ** 2, [(-1, 1)], n=2000,
    ...                      sampler="montecarlo", control=control, rng=1)
    >>> bool(abs(est.value - (1 + 0.02 / 3)) < 1e-2), bool(est.variance_reduction > 1000)
    (True, True)
    """

    mean_is_stated = False

    def __init__(
        self,
        stratum: Callable[[Any], Any],
        h: Callable[[Any], Any],
        mean: Any,
        probabilities: Any = None,
        prior: float = 10.0,
    ) -> None:
        self.stratum = stratum
        self.h = h
        self.mean = mean
        self.probabilities = probabilities
        self.prior = prior

    def features(self, x: FloatArray) -> FloatArray:
        """Return features less their means, in a block of columns for each stratum."""
        means, probabilities = self._means(), self._probabilities()
        label = np.asarray(self.stratum(x))
        if label.shape != (len(x),) or label.dtype.kind not in "iub":
            raise ValueError(
                f"stratum(x) returned dtype {label.dtype} and shape {label.shape}; expected whole "
                f"numbers of shape ({len(x)},)."
            )
        label = label.astype(np.int64)
        if len(label) and not 0 <= label.min() <= label.max() < len(means):
            raise ValueError(
                f"stratum(x) returned labels from {label.min()} to {label.max()}; expected 0 to "
                f"{len(means) - 1}, one per row of mean."
            )
        values = as_real_array("h(x)", self.h(x))
        if values.ndim not in (1, 2) or len(values) != len(x):
            raise ValueError(f"h(x) has shape {values.shape}; expected ({len(x)}, k).")
        values = values.reshape(len(x), -1)
        if values.shape[1] != means.shape[1]:
            raise ValueError(
                f"h(x) has {values.shape[1]} columns and mean {means.shape[1]}; expected as many."
            )
        blocks = in_strata(values - means[label], label, len(means))
        if probabilities is None:
            return blocks
        indicator = label[:, np.newaxis] == np.arange(len(means) - 1)
        return np.column_stack([indicator - probabilities[:-1], blocks])

    def feature_mean(self) -> float:
        """Return the expectation of all features, 0."""
        return 0.0

    @property
    def n_features(self) -> int:
        """Number of columns of `features`."""
        n_strata, k = self._means().shape
        return int(n_strata * k + (0 if self.probabilities is None else n_strata - 1))

    def solve(self, parts: list[Moments]) -> FloatArray:
        """Return the shrunken coefficients."""
        merged, n_strata = total(parts), len(self._means())
        indicators = 0 if self.probabilities is None else n_strata - 1
        prior = as_number("prior", self.prior)
        if prior < 0:
            raise ValueError(f"prior must not be negative, got {prior}.")
        return shrunken_coefficients(merged, n_strata, prior, indicators)

    def describe(self) -> str:
        """Name the numbers of strata and features."""
        n_strata, k = self._means().shape
        return f"StratifiedRegression, {n_strata} strata x {k} feature{'s' if k > 1 else ''}"

    def _means(self) -> FloatArray:
        means = np.atleast_1d(as_finite_array("mean", self.mean))
        if means.ndim == 1:
            probabilities = self._probabilities()
            if probabilities is None:
                raise ValueError(
                    f"mean has shape {means.shape} and probabilities are not given, so that the "
                    "number H of strata is unknown; expected mean (H, k), or probabilities."
                )
            means = np.tile(means, (len(probabilities), 1))
        probabilities = self._probabilities()
        if means.ndim != 2 or (probabilities is not None and len(probabilities) != len(means)):
            shape = None if probabilities is None else probabilities.shape
            raise ValueError(
                f"mean has shape {means.shape} and probabilities {shape}; expected (H, k) or (k,), "
                "and (H,)."
            )
        return means

    def _probabilities(self) -> FloatArray | None:
        if self.probabilities is None:
            return None
        p = as_finite_array("probabilities", self.probabilities)
        if p.ndim != 1 or (p < 0).any() or abs(p.sum() - 1) > 1e-9:
            raise ValueError(f"probabilities must be shares of sum 1, got {p.tolist()}.")
        return p


def in_strata(values: FloatArray, label: IntArray, n_strata: int) -> FloatArray:
    """Spread ``values (n, k)`` over a block of k columns per stratum, shape (n, H k)."""
    n, k = values.shape
    blocks = np.zeros((n, n_strata, k))
    blocks[np.arange(n), label] = values
    return blocks.reshape(n, n_strata * k)


def shrunken_coefficients(
    merged: Moments, n_strata: int, prior: float, extra: int = 0
) -> FloatArray:
    """Coefficients of `extra` columns and the blocks of `in_strata`, shrunk to common ones.

    Each stratum adds `prior` draws of average size that obey the common coefficients to its own
    normal equations.
    """
    k_all = merged.k
    k = (k_all - extra) // n_strata
    pool = np.zeros((k_all, extra + k))
    pool[:extra, :extra] = np.eye(extra)
    pool[extra:, extra:] = np.tile(np.eye(k), (n_strata, 1))
    common = pool @ solve_normal_equations(pool.T @ merged.features @ pool, pool.T @ merged.cross)
    blocks = merged.features[extra:, extra:].reshape(n_strata, k, n_strata, k)
    average = np.einsum("hihj->ij", blocks) / merged.n
    penalty = np.zeros((k_all, k_all))
    penalty[extra:, extra:] = np.kron(np.eye(n_strata), prior * average)
    return solve_normal_equations(merged.features + penalty, merged.cross + penalty @ common)
