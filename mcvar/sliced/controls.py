"""Which controls serve a pair of clouds, and what their expectations are.

Features come from moments of the clouds, or of their projections. Where an expectation has no
closed form it is taken over reference directions, whose spread enters the error bar. Nothing costs
more than a few passes over the points: with fewer points than dimensions, no d × d matrix is made.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mcvar._checks import check_magnitude
from mcvar._typing import FloatArray
from mcvar.control import GaussianSliced, LinearControl, SphericalHarmonics
from mcvar.control.cumulant_sliced import CumulantSliced, cumulant_moments
from mcvar.control.gaussian_sliced import gaussian_cost, mean_root_product
from mcvar.samplers import stream_seed
from mcvar.sliced.design import Design
from mcvar.sliced.expansion import MATRIX_DIM, Expansion, Forms, affordable_order, forms_of
from mcvar.sliced.projection import Pair

_QUADRATURE_DIM = 128  # beyond it an eigendecomposition per angle costs more than directions
_CUMULANT_DIM = 24  # moment matrices of order four hold d⁴/4 numbers
_REFERENCE = 4096  # least directions behind the expectation of a control asked for by name
_LEAST_REFERENCE = 512
_MOST_REFERENCE = 2**16
_REFERENCE_STREAM = 1
_ROUNDING = 1e-10

Evaluate = Callable[[FloatArray], FloatArray]  # of directions (n, d): features (n, k)


@dataclass(frozen=True, eq=False)
class Feature:
    """A group of control features with the same fate: all in, or all out.

    Attributes
    ----------
    name : str
    evaluate : callable
        Features (n, k) at directions (n, d).
    mean : ndarray, shape (k,)
        Expectations of the features.
    covariance : ndarray, shape (k, k)
        Sampling covariance of `mean`; zero where it is exact.
    floor : float
        Size below which a feature is nothing but rounding: on whitened clouds the Gaussian
        approximation is exactly zero, and least squares would blow its digits up.
    """

    name: str
    evaluate: Evaluate
    mean: FloatArray
    covariance: FloatArray
    floor: float = 0.0

    def centred(self, theta: FloatArray) -> FloatArray:
        """Return features minus expectations at directions (n, d), shape (n, k)."""
        centred = self.evaluate(theta) - self.mean
        centred[:, np.abs(centred).max(axis=0) <= self.floor] = 0.0
        return centred


def exact(name: str, control: LinearControl, k: int, floor: float = 0.0) -> Feature:
    """Return a feature group of a control whose expectation is known exactly."""
    mean = np.broadcast_to(np.asarray(control.feature_mean(), dtype=float), (k,))
    return Feature(name, control.features, mean, np.zeros((k, k)), floor)


class PairControls:
    """The controls of one pair of clouds, made on first use.

    Parameters
    ----------
    pair : Pair
        The clouds.
    root : int
        Root of the run's random streams.
    n : int
        Directions that the estimate uses.
    theta, forms : ndarray (n, d) and Forms, optional
        Directions at which the moments of the projections are known already.
    """

    def __init__(
        self,
        pair: Pair,
        root: int,
        n: int,
        theta: FloatArray | None = None,
        forms: Forms | None = None,
    ) -> None:
        self.pair = pair
        self._root = root
        self._n = n
        self._theta, self._forms = theta, forms
        order = 1
        if pair.p == 2:
            order = affordable_order(pair.x.n, pair.y.n, pair.ndim, n)
        self._expansion = Expansion(pair, order)
        moments = self._expansion
        square = float(moments.shift @ moments.shift) / pair.ndim + moments.mean_x + moments.mean_y
        self._floor = _ROUNDING * square ** (pair.p / 2)

    def forms(self, theta: FloatArray) -> Forms:
        """Moments of the clouds projected on ``theta (n, d)``."""
        if theta is not self._theta or self._forms is None:
            self._theta, self._forms = theta, forms_of(self.pair, theta)
        return self._forms

    def gaussian(self, bound: str = "full", *, chosen: bool = False) -> Feature:
        """Return the Gaussian approximation or one of its bounds.

        Its expectation is exact for p = 2 up to d = 128, with `chosen` up to d = 32; beyond, it is
        taken over reference directions, with `chosen` as many as the estimate pays for.
        """
        pair, moments = self.pair, self._expansion
        if bound != "full":
            GaussianSliced(bound).for_moments([0.0], [[1.0]], [[1.0]], p=pair.p)  # type: ignore[arg-type]
            mean = float(moments.shift @ moments.shift) / pair.ndim
            mean += moments.mean_x + moments.mean_y if bound == "upper" else 0.0
            return self._of_forms(bound, lambda forms: _bound(forms, bound)[:, np.newaxis], [mean])
        if pair.p != 2:
            return self._over_reference("gaussian", self._gaussian_values, chosen)
        if pair.ndim <= (MATRIX_DIM if chosen else _QUADRATURE_DIM):
            product = mean_root_product(pair.x.covariance, pair.y.covariance)
            mean = moments.mean + 2 * (moments.mean_product - product)
            return self._of_forms("gaussian", self._gaussian_of_forms, [mean])
        # The expansion takes most of the variance out of the reference directions.
        rest = self._over_reference("gaussian", self._gaussian_remainder, chosen)
        return Feature(
            "gaussian",
            self._gaussian_values,
            rest.mean + moments.mean,
            rest.covariance,
            self._floor,
        )

    def expanded(self) -> Feature:
        """Return the expanded Gaussian approximation, whose mean is known."""
        moments = self._expansion
        return self._of_forms(
            "expanded gaussian",
            lambda forms: moments.values(forms)[:, np.newaxis],
            [moments.mean],
        )

    def quadratic(self) -> Feature:
        """Return the quadratic forms (θ·Δ)², θ'Aθ and θ'Bθ, each with its own coefficient."""
        moments = self._expansion
        means = [float(moments.shift @ moments.shift) / self.pair.ndim]
        return self._of_forms(
            "quadratic forms",
            lambda forms: np.stack([forms.shift**2, forms.var_x, forms.var_y], axis=1),
            [*means, moments.mean_x, moments.mean_y],
        )

    def harmonics(self, degree: int) -> Feature:
        """Return the even spherical harmonics up to `degree`."""
        control = SphericalHarmonics(degree)
        k = control.features(np.eye(1, self.pair.ndim)).shape[1]
        return exact("harmonics", control, k)

    def cumulants(self, *, chosen: bool = False) -> Feature | None:
        """Return the cumulant features, or None where they are too many or, `chosen`, too slow."""
        d = self.pair.ndim
        size = d * (d + 1) // 2
        # k² operations a point against some 5 ns a point and direction.
        if d > _CUMULANT_DIM or (chosen and size**2 > 100 * self._n):
            return None
        x, y = (
            cumulant_moments(cloud.columns, cloud.mean, cloud.weights)
            for cloud in (self.pair.x, self.pair.y)
        )
        control = CumulantSliced().for_moments(x, y, np.empty((0, d)))
        return self._over_reference("cumulants", control.features, chosen, size**2)

    def given(self, control: LinearControl) -> Feature:
        """Return a control of the user's own; a Gaussian one is given the clouds here."""
        if isinstance(control, GaussianSliced):
            return self.gaussian(control.bound)
        k = control.features(np.eye(1, self.pair.ndim)).shape[1]
        return exact(control.describe(), control, k)

    def _of_forms(
        self, name: str, evaluate: Callable[[Forms], FloatArray], mean: list[float]
    ) -> Feature:
        k = len(mean)
        at = lambda theta: evaluate(self.forms(theta))  # noqa: E731
        return Feature(name, at, np.array(mean), np.zeros((k, k)), self._floor)

    def _gaussian_of_forms(self, forms: Forms) -> FloatArray:
        spread = np.sqrt(forms.var_x) - np.sqrt(forms.var_y)
        return gaussian_cost(forms.shift, spread, self.pair.p)[:, np.newaxis]

    def _gaussian_values(self, theta: FloatArray) -> FloatArray:
        return self._gaussian_of_forms(self.forms(theta))

    def _gaussian_remainder(self, theta: FloatArray) -> FloatArray:
        forms = forms_of(self.pair, theta)
        root = np.sqrt(forms.var_x * forms.var_y)
        return np.asarray(-2 * (root - self._expansion.product(forms)))[:, np.newaxis]

    def _over_reference(
        self, name: str, evaluate: Evaluate, chosen: bool, operations: int = 0
    ) -> Feature:
        design = reference_design(self.pair.ndim, self._reference_size(chosen, operations))
        theta = design.draw(stream_root(self._root))
        held = self._theta, self._forms
        values = evaluate(theta)
        self._theta, self._forms = held
        check_magnitude(f"features of the control {name!r}", values)
        sets = np.repeat(np.arange(design.replicates), design.sizes)
        means = np.stack([np.bincount(sets, column) for column in values.T], axis=1)
        means = means / np.array(design.sizes)[:, np.newaxis]
        covariance = np.atleast_2d(np.cov(means.T)) / len(means)
        return Feature(name, evaluate, means.mean(axis=0), covariance, self._floor)

    def _reference_size(self, chosen: bool, operations: int) -> int:
        """Directions behind an expectation: as many as cost no more than the estimate itself."""
        if not chosen:
            return min(max(_REFERENCE, 16 * self._n), _MOST_REFERENCE)
        d = self.pair.ndim
        budget = 5.0 * self._n * (self.pair.x.n + self.pair.y.n)
        least = _REFERENCE if d <= 10 else _LEAST_REFERENCE
        each = 0.2 * (d * d + operations) + 10 * d
        return int(np.clip(budget / each, least, _MOST_REFERENCE))


def _bound(forms: Forms, name: str) -> FloatArray:
    square = forms.shift**2
    return np.asarray(square if name == "lower" else square + forms.var_x + forms.var_y)


def reference_design(d: int, n: int) -> Design:
    """Return the layout of about n reference directions in dimension d."""
    if d <= 3:
        return Design("spiral", d, (n // 8,) * 8)
    if d <= 10:
        return Design("bank", d, (128,) * max(8, n // 128))
    return Design("orthogonal", d, (d,) * max(8, -(-n // d)))


def stream_root(root: int) -> int:
    """Return the root of the reference directions' own streams."""
    words = stream_seed(root, _REFERENCE_STREAM).generate_state(4, np.uint32)
    return int.from_bytes(words.tobytes(), "little")
