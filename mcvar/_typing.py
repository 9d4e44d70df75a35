"""Types shared by every floor."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]
IntArray: TypeAlias = npt.NDArray[np.int64]

#: ``f(x: (n, d)) -> (n,)`` or ``(n, m)``.
Integrand: TypeAlias = Callable[[Any], Any]

#: What SPEC 7 allows for ``rng=``.
Seed: TypeAlias = "int | np.random.Generator | np.random.SeedSequence | None"
