"""Controls: regressors whose prediction has a known expectation."""

from mcvar.control.base import LinearControl
from mcvar.control.gaussian_sliced import GaussianSliced
from mcvar.control.known_mean import KnownMean
from mcvar.control.polynomial import Polynomial
from mcvar.control.spherical_harmonics import SphericalHarmonics

__all__ = ["GaussianSliced", "KnownMean", "LinearControl", "Polynomial", "SphericalHarmonics"]
