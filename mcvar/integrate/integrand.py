"""The integrand: one calling convention for the forms that users write."""

import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from mcvar._checks import as_real_array
from mcvar._typing import FloatArray
from mcvar.draws import Draws
from mcvar.exceptions import MagnitudeError, NonFiniteError

_MOST_SQUARES = 1e280  # sum over a chunk: leaves room for many chunks and for weights


class OutsideSupportError(ValueError):
    """No point so far lies in the support, so that the number of components is not known yet."""


class Learned(NamedTuple):
    """What a block tells of the integrand: how often it was called there, and what it returns.

    `components` is 0 where that is not known.
    """

    evaluations: int
    components: int
    scalar: bool

    def pack(self) -> dict[str, Any]:
        """Return this as a named array."""
        return {"learned": np.array(self, dtype=np.int64)}

    @classmethod
    def unpack(cls, arrays: Mapping[str, Any]) -> "Learned":
        """Return what `pack` was given."""
        evaluations, components, scalar = arrays["learned"].tolist()
        return cls(evaluations, components, bool(scalar))


class Integrand:
    """Evaluates a user's function at draws and checks what comes back.

    Parameters
    ----------
    function : callable
        ``f(x: (n, d)) -> (n,)`` or ``(n, m)``; a Numba-jitted ``f(x: (d,)) -> float``; or, with
        ``vectorized=False``, a Python function of one point.
    vectorized : bool or None
        None: jitted functions take one point, others take all.
    seed : int
        Named in error messages, so that a failing point can be found again.

    Attributes
    ----------
    n_evaluations : int
        Points at which the function was called so far.
    n_components : int or None
        Number m of values a point; None before the first evaluation.
    returns_scalar : bool
        Whether it returns one value a point rather than a row of m.
    """

    def __init__(self, function: Callable[[Any], Any], vectorized: bool | None, seed: int) -> None:
        if not callable(function):
            raise TypeError(
                f"the integrand must be a function, got {type(function).__name__}; "
                "values that already exist go with mcvar.Draws as the target."
            )
        self.function = function
        self.is_compiled = vectorized is not True and is_jitted(function)
        self.is_vectorized = vectorized is not False and not self.is_compiled
        self.n_evaluations = 0
        self.returns_scalar = True
        self._seed = seed
        self.n_components: int | None = None
        self._is_checked = False

    @property
    def m(self) -> int:
        """Number of components; known after the first evaluation."""
        return 1 if self.n_components is None else self.n_components

    def __call__(
        self,
        draws: Draws,
        block: str,
        values_at: "Callable[[FloatArray, str], FloatArray] | None" = None,
    ) -> FloatArray:
        """Return finite values, shape (n, m), unweighted; zero where the weight is zero.

        Points of weight zero lie outside the target: the function is not called there.
        `values_at` stands in for `at`, to have the function called elsewhere.
        """
        x, values_at = draws.x, values_at or self.at
        if draws.weights is None or (draws.weights > 0).all():
            return values_at(x, block)
        inside = draws.weights > 0
        if not inside.any():
            if self.n_components is None:
                raise OutsideSupportError(
                    f"none of the first {len(x)} points ({block}, seed {self._seed}) lies in the "
                    "support of the target; expected a proposal that reaches it: centre and scale "
                    "it as the target is."
                )
            return np.zeros((len(x), self.m))
        values = values_at(x[inside], block)
        out = np.zeros((len(x), values.shape[1]))
        out[inside] = values
        return out

    def at(self, x: FloatArray, block: str) -> FloatArray:
        """Call the function at ``x (n, d)``; return finite values, shape (n, m)."""
        return self._checked(x, self._evaluate(x), block)

    def fresh(self) -> "Integrand":
        """Return one for a task of its own, which knows what this one has learned."""
        other = object.__new__(Integrand)
        vars(other).update(vars(self), n_evaluations=0)
        return other

    @property
    def learned(self) -> "Learned":
        """What was learned so far."""
        return Learned(self.n_evaluations, self.n_components or 0, self.returns_scalar)

    def learn(self, learned: "Learned") -> None:
        """Take over what was learned of the function elsewhere, and count its evaluations."""
        self.n_evaluations += learned.evaluations
        if learned.components:
            self._agree(learned.components, learned.scalar)

    def _agree(self, m: int, scalar: bool) -> None:
        if self.n_components is None:
            self.n_components, self.returns_scalar = m, scalar
        elif (self.n_components, self.returns_scalar) != (m, scalar):
            shapes = [
                "(n,)" if flat else f"(n, {k})"
                for k, flat in ((m, scalar), (self.n_components, self.returns_scalar))
            ]
            raise ValueError(
                f"the integrand returned shape {shapes[0]}, after {shapes[1]} on earlier points; "
                "expected the same at all points."
            )

    def _evaluate(self, x: FloatArray) -> Any:
        self.n_evaluations += len(x)
        if self.is_compiled:
            self.check_compiled(x[0])
            from mcvar._jit.rows import row_loop

            out = np.empty(len(x))
            row_loop(self.function, x.shape[1])(x.T, out)
            return out
        try:
            if self.is_vectorized:
                # Controls are evaluated at the same points afterwards: they must not change.
                points = x.view()
                points.flags.writeable = False
                return self.function(points)
            return [self.function(np.ascontiguousarray(point)) for point in x]
        except (TypeError, ValueError, IndexError) as error:
            if self.n_components is None:  # it has never worked: perhaps it expects another x
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
        if self._is_checked:
            return
        returned = as_real_array("the compiled integrand's output", self.function(point.copy()))
        if returned.ndim:
            raise ValueError(
                f"the compiled integrand returned shape {returned.shape} for one point; "
                "expected a number. If it takes all points at once, pass vectorized=True."
            )
        self._agree(1, True)
        self._is_checked = True

    def _checked(self, x: FloatArray, returned: Any, block: str) -> FloatArray:
        values = as_real_array("the integrand's output", returned)
        if values.ndim not in (1, 2) or len(values) != len(x) or 0 in values.shape:
            raise ValueError(self._shape_message(x, values))
        scalar = values.ndim == 1
        columns = values[:, np.newaxis] if scalar else values
        self._agree(columns.shape[1], scalar)
        # One pass over the squares finds trouble; only then is it worth locating.
        if not np.einsum("ij,ij->", columns, columns) < _MOST_SQUARES:
            self.locate_non_finite(x, columns, block)
            raise MagnitudeError(
                f"the square of the integrand overflows in {block}, where values reach "
                f"{np.abs(columns).max():.3g}; rescale the integrand."
            )
        return columns

    def locate_non_finite(self, x: FloatArray, values: FloatArray, block: str) -> None:
        """Raise NonFiniteError at the first NaN or infinity of `values`, if there is one."""
        bad = ~np.isfinite(values)
        if bad.any():
            i, component = (int(index) for index in np.argwhere(bad)[0])
            which = "" if self.returns_scalar else f" in component {component}"
            raise NonFiniteError(
                f"the integrand returned {values[i, component]}{which} at x = "
                f"{np.array2string(x[i], precision=17, threshold=20)} "
                f"(point {i} of {block}, seed {self._seed}); expected finite numbers."
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
