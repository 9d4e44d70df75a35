"""The engine behind `mcvar.estimate`."""

from mcvar.integrate.estimate import estimate

__all__ = ["estimate"]
