"""The integrand: one calling convention for the forms that users write."""

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from mcvar._checks import as_real_array
from mcvar._typing import FloatArray
from mcvar.draws import Draws
from mcvar.exceptions import MagnitudeError, NonFiniteError

_MOST_SQUARES = 1e280  # sum over a chunk: leaves room for many chunks and for weights


class OutsideSupportError(ValueError):
    """No point lies in the support, so that the number of components is not known."""


class Signature(NamedTuple):
    """Shape of an integrand's values: m a point, or one where it is scalar."""

    components: int
    scalar: bool

    def shape(self) -> str:
        """The shape of values at n points."""
        return "(n,)" if self.scalar else f"(n, {self.components})"


class Integrand:
    """A user's function at draws, with what it returns checked.

    Nothing is learned between calls: the same draws give the same values, in any process.

    Parameters
    ----------
    function : callable
        ``f(x: (n, d)) -> (n,)`` or ``(n, m)``; a Numba-jitted ``f(x: (d,)) -> float``; or, with
        ``vectorized=False``, a Python function of one point.
    vectorized : bool or None
        None: jitted functions take one point, others take all.
    seed : int
        Named in error messages, so that a failing point can be found again.
    signature : Signature, optional
        What it returned at the first points.
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        vectorized: bool | None,
        seed: int,
        signature: Signature | None = None,
    ) -> None:
        if not callable(function):
            raise TypeError(
                f"the integrand must be a function, got {type(function).__name__}; "
                "values that already exist go with mcvar.Draws as the target."
            )
        self.function = function
        self.signature = signature
        self.seed = seed
        self.is_compiled = vectorized is not True and is_jitted(function)
        self.is_vectorized = vectorized is not False and not self.is_compiled
        self._vectorized = vectorized

    @property
    def is_scalar(self) -> bool:
        """Whether it returns one value a point; so it seems before the first evaluation."""
        return self.signature is None or self.signature.scalar

    def returning(self, signature: Signature) -> "Integrand":
        """The same integrand, of which it is known what it returns."""
        return Integrand(self.function, self._vectorized, self.seed, signature)

    def __call__(
        self,
        draws: Draws,
        where: object,
        values_at: "Callable[[FloatArray, object], tuple[FloatArray, Signature]] | None" = None,
    ) -> tuple[FloatArray, Signature]:
        """Finite values, shape (n, m), unweighted, and what was returned.

        Points of weight zero lie outside the target: the function is not called there, and values
        are zero. `values_at` stands in for `at`, to have the function called elsewhere.
        """
        values_at = values_at or self.at
        if draws.weights is None or (draws.weights > 0).all():
            return values_at(draws.x, where)
        inside = draws.weights > 0
        if not inside.any():
            if self.signature is None:
                raise OutsideSupportError(
                    f"none of the first {draws.n} points ({where}, seed {self.seed}) lies in the "
                    "support of the target; expected a proposal that reaches it: centre and scale "
                    "it as the target is."
                )
            return np.zeros((draws.n, self.signature.components)), self.signature
        values, signature = values_at(draws.x[inside], where)
        out = np.zeros((draws.n, values.shape[1]))
        out[inside] = values
        return out, signature

    def at(self, x: FloatArray, where: object) -> tuple[FloatArray, Signature]:
        """Finite values at ``x (n, d)``, shape (n, m), and what was returned.

        The function may overwrite `x`. Values may be its own memory: copy them to keep them.
        """
        values = as_real_array("the integrand's output", self._evaluate(x))
        if values.ndim not in (1, 2) or len(values) != len(x) or 0 in values.shape:
            raise ValueError(self._shape_message(x, values))
        columns = values[:, np.newaxis] if values.ndim == 1 else values
        signature = Signature(columns.shape[1], values.ndim == 1)
        if self.signature is not None and signature != self.signature:
            raise ValueError(
                f"the integrand returned shape {signature.shape()}, after "
                f"{self.signature.shape()} on earlier points; expected the same at all points."
            )
        # One pass over the squares finds trouble; only then is it worth locating.
        flat = columns.ravel(order="K")
        if not np.einsum("i,i->", flat, flat) < _MOST_SQUARES:
            self._locate_non_finite(x, columns, signature, where)
            raise MagnitudeError(
                f"the square of the integrand overflows in {where}, where values reach "
                f"{np.abs(columns).max():.3g}; rescale the integrand."
            )
        return columns, signature

    def _evaluate(self, x: FloatArray) -> Any:
        if self.is_compiled:
            if self.signature is None:
                self.check_compiled(x[0])
            from mcvar._jit.rows import row_loop

            out = np.empty(len(x))
            row_loop(self.function, x.shape[1])(x.T, out)
            return out
        try:
            if self.is_vectorized:
                return self.function(x)
            return [self.function(np.ascontiguousarray(point)) for point in x]
        except (TypeError, ValueError, IndexError) as error:
            if self.signature is None:  # it has never worked: perhaps it expects another x
                error.add_note(self._convention(x))
            raise

    def _convention(self, x: FloatArray) -> str:
        if self.is_vectorized:
            return (
                f"mcvar: the integrand was called with all points at once, x of shape {x.shape}; "
                "if it takes one point at a time, pass vectorized=False."
            )
        return f"mcvar: the integrand was called with one point, x of shape {x.shape[1:]}."

    def check_compiled(self, point: FloatArray) -> None:
        """Refuse a compiled function that does not return one real number, before it is inlined."""
        returned = as_real_array("the compiled integrand's output", self.function(point.copy()))
        if returned.ndim:
            raise ValueError(
                f"the compiled integrand returned shape {returned.shape} for one point; "
                "expected a number. If it takes all points at once, pass vectorized=True."
            )

    def _locate_non_finite(
        self, x: FloatArray, values: FloatArray, signature: Signature, where: object
    ) -> None:
        """Raise NonFiniteError at the first NaN or infinity of `values`, if there is one."""
        bad = ~np.isfinite(values)
        if bad.any():
            i, component = (int(index) for index in np.argwhere(bad)[0])
            which = "" if signature.scalar else f" in component {component}"
            raise NonFiniteError(
                f"the integrand returned {values[i, component]}{which} at x = "
                f"{np.array2string(x[i], precision=17, threshold=20)} "
                f"(point {i} of {where}, seed {self.seed}); expected finite numbers."
            )

    def _shape_message(self, x: FloatArray, values: FloatArray) -> str:
        message = (
            f"the integrand returned shape {values.shape} for x of shape {x.shape}; "
            f"expected ({len(x)},) or ({len(x)}, m)."
        )
        if self.is_vectorized and values.shape in {(), (1,), x.shape[1:]}:
            message += " If it takes one point at a time, pass vectorized=False."
        return message


def is_jitted(function: Any) -> bool:
    """Whether `function` is compiled by Numba; never imports Numba to find out."""
    numba = sys.modules.get("numba")
    return numba is not None and bool(numba.extending.is_jitted(function))
