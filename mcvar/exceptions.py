"""Errors and warnings with a name of their own.

Everything else that is wrong with an input is a plain ``ValueError`` or ``TypeError``.
"""


class NonFiniteError(ValueError):
    """The integrand (or a density) returned NaN or infinity; the message locates the point.

    Examples
    --------
    >>> import numpy as np, mcvar
    >>> mcvar.estimate(lambda x: np.where(x[:, 0] > 0.5, np.nan, 1.0), [(0, 1)], n=64, rng=1)
    Traceback (most recent call last):
    ...
    mcvar.exceptions.NonFiniteError: the integrand returned nan at x = [...
    """


class MagnitudeError(ValueError, OverflowError):
    """Numbers so large or so small that their squares are lost; the message says which.

    Examples
    --------
    >>> import mcvar
    >>> mcvar.estimate(lambda x: 1e200 * x[:, 0], [(0, 1)], n=64, rng=1)
    Traceback (most recent call last):
    ...
    mcvar.exceptions.MagnitudeError: the square of the integrand overflows in draws 0-3 of ...
    """


class ControlMeanError(ValueError):
    """The stated mean of a control contradicts its sample mean beyond any chance.

    Examples
    --------
    The mean of x on (0, 1) is not 0.6:

    >>> import mcvar
    >>> control = mcvar.control.KnownMean(lambda x: x[:, 0], mean=0.6)
    >>> mcvar.estimate(lambda x: x[:, 0] ** 2, [(0, 1)], n=4096, rng=1,
    ...                sampler="montecarlo", control=control)
    Traceback (most recent call last):
    ...
    mcvar.exceptions.ControlMeanError: ...
    """


class ScoreError(ValueError):
    """Scores contradict the draws they came with; the message gives the evidence.

    Examples
    --------
    Draws of N(0, 1) have the score −x, not x:

    >>> import numpy as np, mcvar
    >>> x = np.random.default_rng(1).normal(size=(500, 1))
    >>> mcvar.estimate(x[:, 0], mcvar.Draws(x, grad_logpdf=x))
    Traceback (most recent call last):
    ...
    mcvar.exceptions.ScoreError: ...
    """


class MissingExtraError(ImportError):
    """An optional dependency is not installed; the message names the extra to install.

    Examples
    --------
    >>> from mcvar._checks import import_extra
    >>> import_extra("a_module_nobody_has", "plot")
    Traceback (most recent call last):
    ...
    mcvar.exceptions.MissingExtraError: a_module_nobody_has is needed here: pip install ...
    """


class CheckpointError(OSError):
    """A checkpoint that cannot be used, or written; the message says why and what is kept.

    Examples
    --------
    >>> import mcvar
    >>> mcvar.estimate(lambda x: x[:, 0], [(0, 1)], n=1000, checkpoint="no/such/folder/run.sqlite")
    Traceback (most recent call last):
    ...
    mcvar.exceptions.CheckpointError: checkpoint no/such/folder/run.sqlite cannot be written: ...
    """


class LostWorkersError(RuntimeError):
    """Workers died on the same task again and again; the message names the task.

    Examples
    --------
    Whoever catches what goes wrong at run time catches it too:

    >>> import mcvar
    >>> issubclass(mcvar.LostWorkersError, RuntimeError)
    True
    """
