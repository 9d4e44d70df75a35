"""Which controls serve a pair of clouds, and what their expectations are.

Features and expectations cost nothing per point: they come from moments of the clouds. Where an
expectation has no closed form it is taken over many reference directions, in independent sets
whose spread enters the error bar.
"""

from dataclasses import dataclass

import numpy as np

from mcvar._checks import check_magnitude
from mcvar._typing import FloatArray
from mcvar.control import GaussianSliced, LinearControl, SphericalHarmonics
from mcvar.control.cumulant_sliced import CumulantSliced, cumulant_moments
from mcvar.samplers import stream_seed
from mcvar.sliced.design import Design
from mcvar.sliced.projection import Pair

_QUADRATURE_DIM = 128  # beyond it an eigendecomposition per angle costs more than directions
_CUMULANT_DIM = 24  # moment matrices of order four hold d⁴/4 numbers
_REFERENCE = 4096  # least directions behind an expectation without closed form
_MOST_REFERENCE = 2**16
_REFERENCE_STREAM = 1
_ROUNDING = 1e-10


@dataclass(frozen=True)
class Feature:
    """A group of control features with the same fate: all in, or all out.

    Attributes
    ----------
    name : str
    control : LinearControl
        Bound to the clouds.
    mean : ndarray, shape (k,)
        Expectations of the features.
    covariance : ndarray, shape (k, k)
        Sampling covariance of `mean`; zero where it is exact.
    floor : float
        Size below which a feature is nothing but rounding: on whitened clouds the Gaussian
        approximation is exactly zero, and least squares would blow its digits up.
    """

    name: str
    control: LinearControl
    mean: FloatArray
    covariance: FloatArray
    floor: float = 0.0

    def centred(self, theta: FloatArray) -> FloatArray:
        """Return features minus expectations at directions (n, d), shape (n, k)."""
        centred = self.control.features(theta) - self.mean
        centred[:, np.abs(centred).max(axis=0) <= self.floor] = 0.0
        return centred


def exact(name: str, control: LinearControl, k: int, floor: float = 0.0) -> Feature:
    """Return a feature group whose expectation is known exactly."""
    mean = np.broadcast_to(np.asarray(control.feature_mean(), dtype=float), (k,))
    return Feature(name, control, mean, np.zeros((k, k)), floor)


class PairControls:
    """The controls of one pair of clouds, made on first use.

    Parameters
    ----------
    pair : Pair
        The clouds.
    root : int
        Root of the run's random streams.
    n : int
        Directions that the estimate uses: reference directions are several times as many.
    """

    def __init__(self, pair: Pair, root: int, n: int) -> None:
        self.pair = pair
        self._root = root
        self._n_reference = min(max(_REFERENCE, 16 * n), _MOST_REFERENCE)
        self._reference: list[FloatArray] | None = None
        x, y = pair.x, pair.y
        square = np.sum((x.mean - y.mean) ** 2) + np.trace(x.covariance) + np.trace(y.covariance)
        self._floor = _ROUNDING * float(square / pair.ndim) ** (pair.p / 2)

    def gaussian(self, bound: str = "full") -> Feature:
        """Return the Gaussian approximation or one of its bounds."""
        x, y, p = self.pair.x, self.pair.y, self.pair.p
        control = GaussianSliced(bound).for_moments(  # type: ignore[arg-type]
            x.mean - y.mean, x.covariance, y.covariance, p=p
        )
        if bound == "full" and (p != 2 or self.pair.ndim > _QUADRATURE_DIM):
            return self._over_reference("gaussian", control)
        return exact("gaussian" if bound == "full" else bound, control, 1, self._floor)

    def quadratic(self) -> Feature:
        """Return the quadratic forms (θ·Δ)², θ'Aθ and θ'Bθ."""
        x, y = self.pair.x, self.pair.y
        control = QuadraticForms().for_moments(x.mean - y.mean, x.covariance, y.covariance)
        return exact("quadratic forms", control, 3, self._floor)

    def harmonics(self, degree: int) -> Feature:
        """Return the even spherical harmonics up to `degree`."""
        control = SphericalHarmonics(degree)
        k = control.features(np.eye(1, self.pair.ndim)).shape[1]
        return exact("harmonics", control, k)

    def cumulants(self) -> Feature | None:
        """Return the cumulant features, or None where the dimension is too high for them."""
        if self.pair.ndim > _CUMULANT_DIM:
            return None
        x, y = (
            cumulant_moments(cloud.columns, cloud.mean, cloud.weights)
            for cloud in (self.pair.x, self.pair.y)
        )
        control = CumulantSliced().for_moments(x, y, np.empty((0, self.pair.ndim)))
        return self._over_reference("cumulants", control)

    def given(self, control: LinearControl) -> Feature:
        """Return a control of the user's own; a Gaussian one is told the clouds here."""
        if isinstance(control, GaussianSliced):
            return self.gaussian(control.bound)
        k = control.features(np.eye(1, self.pair.ndim)).shape[1]
        return exact(control.describe(), control, k)

    def _over_reference(self, name: str, control: LinearControl) -> Feature:
        if self._reference is None:
            design = reference_design(self.pair.ndim, self._n_reference)
            self._reference = [
                design.draw(stream_root(self._root), r, r + 1) for r in range(design.replicates)
            ]
        means = np.stack([control.features(theta).mean(axis=0) for theta in self._reference])
        check_magnitude(f"features of the control {name!r}", means)
        covariance = np.atleast_2d(np.cov(means.T)) / len(means)
        return Feature(name, control, means.mean(axis=0), covariance, self._floor)


class QuadraticForms(LinearControl):
    """The three quadratic forms behind the bounds of Nguyen & Ho, each with its own coefficient."""

    def for_moments(self, shift: FloatArray, a: FloatArray, b: FloatArray) -> "QuadraticForms":
        """Bind to a difference of means (d,) and two covariances (d, d)."""
        bound = QuadraticForms()
        bound.shift_, bound.a_, bound.b_ = shift, a, b
        return bound

    def features(self, x: FloatArray) -> FloatArray:
        """Evaluate at directions ``x (n, d)``, shape (n, 3)."""
        forms = [np.einsum("ij,ij->i", x @ matrix, x) for matrix in (self.a_, self.b_)]
        return np.stack([(x @ self.shift_) ** 2, *forms], axis=1)

    def feature_mean(self) -> FloatArray:
        """Return |Δ|²/d, tr A/d and tr B/d."""
        traces = [self.shift_ @ self.shift_, np.trace(self.a_), np.trace(self.b_)]
        return np.array(traces) / len(self.shift_)


def reference_design(d: int, n: int) -> Design:
    """Return the layout of about n reference directions in dimension d."""
    if d <= 3:
        return Design("spiral", d, 8, n // 8)
    if d <= 10:
        return Design("bank", d, n // 128, 128)
    return Design("orthogonal", d, -(-n // d), d)


def stream_root(root: int) -> int:
    """Return the root of the reference directions' own streams."""
    words = stream_seed(root, _REFERENCE_STREAM).generate_state(4, np.uint32)
    return int.from_bytes(words.tobytes(), "little")
