"""Reading what users pass as a target."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mcvar._checks import as_count
from mcvar._typing import FloatArray
from mcvar.draws import Draws
from mcvar.targets.base import Target
from mcvar.targets.marginals import check_law, is_distribution, is_normal
from mcvar.targets.normal import Normal
from mcvar.targets.product import Product

#: Laws whose ``logpdf`` takes one variate per column, or per last axis.
_POINTS_LAST = ("dirichlet_frozen", "wishart_frozen", "invwishart_frozen")


def as_target(target: Any) -> Target:
    """Return a `mcvar.Target` for a box, a SciPy distribution, a list of marginals, or itself.

    Raises
    ------
    TypeError
        Anything else; the message lists what is understood.

    Examples
    --------
    >>> import scipy.stats
    >>> from mcvar.targets import as_target
    >>> as_target([(0, 1), (0, 2)]).ndim, as_target(scipy.stats.norm(3, 1)).ndim
    (2, 1)
    """
    if isinstance(target, Target):
        as_count(f"ndim of {type(target).__name__}", target.ndim)
        return target
    if type(target).__name__ == "multivariate_normal_frozen":
        return Normal(target.mean, target.cov)
    if is_distribution(target):
        return _product([target])
    if hasattr(target, "__array__") and np.ndim(target) > 0:  # a table of bounds
        target = np.asarray(target)
    if callable(getattr(target, "rvs", None)):
        return Variates(target)
    is_sequence = isinstance(target, Sequence) and not isinstance(target, str)
    if is_sequence or (isinstance(target, np.ndarray) and target.ndim):
        if len(target) == 2 and all(np.isscalar(end) for end in target):
            target = [target]
        return _product(list(target))
    raise TypeError(
        f"cannot integrate against {target!r}; expected a box [(low, high), ...], a frozen "
        "scipy.stats distribution, a list of one-dimensional ones, mcvar.Unnormalized, "
        "mcvar.Draws or a mcvar.Target."
    )


def _product(marginals: list[Any]) -> Target:
    if marginals and all(is_normal(m) for m in marginals):
        for j, marginal in enumerate(marginals):
            check_law(j, marginal)
        mean = [float(m.mean()) for m in marginals]
        return Normal(mean, [float(m.var()) for m in marginals])
    return Product(marginals)


class Variates(Target):
    """A law known only by its random variates: any frozen SciPy distribution with ``rvs``."""

    def __init__(self, law: Any) -> None:
        self.law = law
        variate = self._rvs(1, np.random.default_rng(0))
        self._shape = variate.shape[1:]
        self.ndim = int(variate.size)

    def __repr__(self) -> str:
        return f"Variates({self.law!r})"

    @property
    def n_uniform(self) -> int:
        """Zero: there is no map from uniforms."""
        return 0

    def from_uniform(self, u: FloatArray) -> FloatArray:
        """Refuse: only independent draws can be made."""
        raise TypeError(f"{self.law!r} can only be drawn from at random; use sampler='montecarlo'.")

    def random(self, n: int, rng: np.random.Generator) -> Draws:
        """Return n variates, matrices flattened to rows."""
        return Draws.unchecked(x=self._rvs(n, rng).reshape(n, -1))

    def logpdf(self, x: FloatArray) -> FloatArray:
        """Log density, where the law has one."""
        if not hasattr(self.law, "logpdf"):
            return super().logpdf(x)
        variates = x.reshape(len(x), *self._shape)
        if type(self.law).__name__ in _POINTS_LAST:
            variates = np.moveaxis(variates, 0, -1)
        return np.asarray(self.law.logpdf(variates), dtype=float).reshape(len(x))

    def _rvs(self, n: int, rng: np.random.Generator) -> FloatArray:
        values = np.asarray(self.law.rvs(size=n, random_state=rng), dtype=float)
        return values.reshape(n, *(values.shape[1:] if n > 1 or len(values) == 1 else values.shape))
