"""Draws: the only thing that crosses from samplers to the engine."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from mcvar._checks import as_finite_array, as_points, check_magnitude
from mcvar._typing import FloatArray, IntArray

_GROUPINGS = ("strata", "replicate", "chain", "cluster")


@dataclass(frozen=True, eq=False)
class Draws:
    """Points at which an integrand is (or was) evaluated, and what is known about them.

    Parameters
    ----------
    x : array_like, shape (n, d)
        The points; ``(n,)`` is read as n points in one dimension.
    weights : array_like, shape (n,), optional
        Likelihood ratios target / proposal, with mean 1 unless `self_normalized`. Default 1.
    grad_logpdf : array_like, shape (n, d), optional
        The score ∇ log π(x) of the target at the points.
    strata, replicate, chain, cluster : array_like of int, shape (n,), optional
        Labels: the stratum of each draw, the independent randomisation it belongs to, the
        Markov chain it came from (rows of a chain in the order of time), or the cluster of draws
        whose errors hang together (questions on one text, rows of one patient). At most one of
        them.
    self_normalized : bool
        Whether the weights are known only up to a constant, so that means are ratios
        Σwy/Σw.
    zero_mean : array_like, shape (n, k), optional
        Values at the draws of functions whose expectation under the sampling law is known to be
        zero, used as further controls (Owen & Zhou 2000).

    Raises
    ------
    ValueError
        Shapes that disagree, NaN or infinite entries, negative weights, more than one label, or
        weights of mean far from 1 that do not say `self_normalized`.

    Examples
    --------
    >>> import mcvar
    >>> draws = mcvar.Draws([[0.1], [0.4], [0.9]])
    >>> draws.n, draws.ndim
    (3, 1)
    """

    x: FloatArray
    weights: FloatArray | None = None
    grad_logpdf: FloatArray | None = None
    strata: IntArray | None = None
    replicate: IntArray | None = None
    chain: IntArray | None = None
    cluster: IntArray | None = None
    self_normalized: bool = False
    zero_mean: FloatArray | None = None

    if TYPE_CHECKING:
        # What may be given is wider than what is kept.
        def __init__(
            self,
            x: ArrayLike,
            weights: ArrayLike | None = None,
            grad_logpdf: ArrayLike | None = None,
            strata: ArrayLike | None = None,
            replicate: ArrayLike | None = None,
            chain: ArrayLike | None = None,
            cluster: ArrayLike | None = None,
            self_normalized: bool = False,
            zero_mean: ArrayLike | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        x = as_points("x", self.x)
        object.__setattr__(self, "x", x)
        for name in ("weights", "grad_logpdf", "zero_mean"):
            self._normalise(name, as_finite_array)
        for name in _GROUPINGS:
            self._normalise(name, _as_labels)
        given = [name for name in _GROUPINGS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(
                f"give one of strata, replicate, chain and cluster, got {' and '.join(given)}."
            )
        if self.grad_logpdf is not None and self.grad_logpdf.shape != x.shape:
            raise ValueError(
                f"grad_logpdf has shape {self.grad_logpdf.shape}; expected that of x, {x.shape}."
            )
        if self.weights is None:
            if self.self_normalized:
                raise ValueError("self_normalized says what weights mean; give weights as well.")
        else:
            _check_weights(self.weights, len(x), self.self_normalized)

    def _normalise(self, name: str, convert: Any) -> None:
        values = getattr(self, name)
        if values is None:
            return
        array = convert(name, values)
        if array.ndim == 0:
            raise ValueError(f"{name} is a single number; expected one row per draw.")
        if len(array) != len(self.x):
            raise ValueError(f"{name} has {len(array)} rows; expected one per draw, {len(self.x)}.")
        object.__setattr__(self, name, array)

    @classmethod
    def unchecked(cls, **fields: Any) -> "Draws":
        """Build draws that a sampler made itself, without paying for the checks of user input."""
        draws = object.__new__(cls)
        draws.__dict__.update(fields)  # what is left out falls back to the class's defaults
        return draws

    def take(self, rows: IntArray | slice) -> "Draws":
        """Return these rows, shape (r,), of everything that is known per draw."""
        fields = {
            name: None if (array := getattr(self, name)) is None else array[rows]
            for name in ("x", "weights", "grad_logpdf", "zero_mean", *_GROUPINGS)
        }
        return Draws.unchecked(**fields, self_normalized=self.self_normalized)

    @classmethod
    def stacked(cls, parts: "Sequence[Draws]", **labels: Any) -> "Draws":
        """Put draws that one sampler made one after another; labels are given anew."""

        def column(name: str) -> FloatArray | None:
            arrays = [getattr(part, name) for part in parts]
            return None if arrays[0] is None else np.concatenate(arrays)

        return cls.unchecked(
            **{name: column(name) for name in ("x", "weights", "grad_logpdf", "zero_mean")},
            self_normalized=parts[0].self_normalized,
            **labels,
        )

    @property
    def n(self) -> int:
        """Number of draws."""
        return len(self.x)

    @property
    def ndim(self) -> int:
        """Dimension d of a point."""
        return int(self.x.shape[1])


def _as_labels(name: str, values: Any) -> IntArray:
    if np.ma.is_masked(values):
        raise ValueError(
            f"{name} is a masked array with masked entries; expected a label per draw."
        )
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(
            f"{name} must be whole-number labels of shape (n,), got dtype {array.dtype} and shape "
            f"{array.shape}; np.unique(labels, return_inverse=True)[1] makes such of any labels."
        )
    return np.asarray(array, dtype=np.int64)


def _check_weights(weights: FloatArray, n: int, self_normalized: bool) -> None:
    if weights.shape != (n,):
        raise ValueError(f"weights must have shape ({n},), got {weights.shape}.")
    if (weights < 0).any():
        worst = int(weights.argmin())
        raise ValueError(f"weights must not be negative, got {weights[worst]} at index {worst}.")
    if not self_normalized:
        check_magnitude("weights", weights)
    mean = weights.max() if self_normalized else weights.mean()
    if mean == 0:
        raise ValueError("all weights are zero; no draw carries information on the target.")
    if not self_normalized and n > 1:
        error = weights.std(ddof=1) / np.sqrt(n)
        # Five standard errors plus rounding: honest likelihood ratios do not get there by chance.
        if abs(mean - 1) > 5 * error + 1e-6:
            raise ValueError(
                f"weights have mean {mean:.6g} (standard error {error:.2g}); likelihood ratios "
                "have mean 1. If they are known only up to a constant, say self_normalized=True."
            )
