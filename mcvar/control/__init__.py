"""Controls: regressors whose prediction has a known expectation."""

from mcvar.control import kernels
from mcvar.control.base import LinearControl
from mcvar.control.gaussian_sliced import GaussianSliced
from mcvar.control.known_mean import KnownMean
from mcvar.control.nearest_neighbors import NearestNeighbors
from mcvar.control.polynomial import Polynomial
from mcvar.control.spherical_harmonics import SphericalHarmonics
from mcvar.control.stein_kernel import SteinKernel
from mcvar.control.stein_polynomial import SteinPolynomial
from mcvar.control.stratified_regression import StratifiedRegression
from mcvar.control.vector_stein_kernel import VectorSteinKernel
from mcvar.control.vector_stein_polynomial import VectorSteinPolynomial

__all__ = [
    "GaussianSliced",
    "KnownMean",
    "LinearControl",
    "NearestNeighbors",
    "Polynomial",
    "SphericalHarmonics",
    "SteinKernel",
    "SteinPolynomial",
    "StratifiedRegression",
    "VectorSteinKernel",
    "VectorSteinPolynomial",
    "kernels",
]
