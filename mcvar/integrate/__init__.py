"""The engine behind `mcvar.estimate`."""

from mcvar.integrate.estimation import estimate

__all__ = ["estimate"]
