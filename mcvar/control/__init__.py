"""Controls: regressors whose prediction has a known expectation."""

from mcvar.control.base import LinearControl
from mcvar.control.known_mean import KnownMean
from mcvar.control.polynomial import Polynomial

__all__ = ["KnownMean", "LinearControl", "Polynomial"]
