"""Controls: regressors whose prediction has a known expectation."""

from mcvar.control import kernels
from mcvar.control.base import LinearControl
from mcvar.control.gaussian_sliced import GaussianSliced
from mcvar.control.known_mean import KnownMean
from mcvar.control.polynomial import Polynomial
from mcvar.control.spherical_harmonics import SphericalHarmonics
from mcvar.control.stein_kernel import SteinKernel

__all__ = [
    "GaussianSliced",
    "KnownMean",
    "LinearControl",
    "Polynomial",
    "SphericalHarmonics",
    "SteinKernel",
    "kernels",
]
