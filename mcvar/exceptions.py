"""Errors and warnings with a name of their own.

Everything else that is wrong with an input is a plain ``ValueError`` or ``TypeError``.
"""


class NonFiniteError(ValueError):
    """The integrand (or a density) returned NaN or infinity; the message locates the point."""


class MagnitudeError(ValueError, OverflowError):
    """Numbers so large or so small that their squares are lost; the message says which."""


class ControlMeanError(ValueError):
    """The stated mean of a control contradicts its sample mean beyond any chance."""


class ScoreError(ValueError):
    """Scores contradict the draws they came with; the message gives the evidence."""


class MissingExtraError(ImportError):
    """An optional dependency is not installed; the message names the extra to install."""
