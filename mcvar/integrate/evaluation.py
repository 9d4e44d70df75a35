"""Calling the integrand at draws that exist already: pilots and training, on any executor."""

import hashlib
from collections.abc import Mapping
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np

from mcvar._typing import FloatArray
from mcvar.draws import Draws
from mcvar.execution import Key, Runner
from mcvar.integrate.blocks import cut
from mcvar.integrate.integrand import Integrand, Learned
from mcvar.samplers import Blocks


class _Values(NamedTuple):
    """Values (n, m) at a block of points, and what was learned of the integrand."""

    values: FloatArray
    learned: Learned


class _ValuesJob:
    """The integrand at blocks of given points: a `tasks.Job`."""

    def __init__(self, integrand: Integrand, x: FloatArray, where: str, *, whole: bool) -> None:
        self._integrand = integrand.fresh()
        self._x: FloatArray | None = x
        self._where = where
        self._whole = whole

    def __call__(self, key: Key, given: FloatArray) -> _Values:
        integrand = self._integrand.fresh()
        where = self._where
        if not self._whole:
            where = f"{where} {key.start}-{key.stop - 1}"
        values = integrand.at(given, where)
        return _Values(values, integrand.learned)

    def input(self, key: Key) -> FloatArray:
        assert self._x is not None
        # The layout in memory, on which the bits of linear algebra depend, is the same everywhere.
        return np.asfortranarray(self._x[key.start : key.stop])

    def pack(self, result: _Values) -> dict[str, Any]:
        return result.learned.pack() | {"values": result.values}

    def unpack(self, arrays: Mapping[str, Any]) -> _Values:
        return _Values(arrays["values"], Learned.unpack(arrays))

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_x": None}  # workers are given the rows of their block


class Evaluation:
    """Evaluates an integrand at draws, block by block.

    Parameters
    ----------
    integrand : Integrand
        Learns from every block, and counts its evaluations.
    runner : Runner
    blocks : Blocks
    """

    def __init__(self, integrand: Integrand, runner: Runner, blocks: Blocks) -> None:
        self.integrand = integrand
        self._runner = runner
        self._blocks = blocks

    def __call__(self, draws: Draws, where: str) -> FloatArray:
        """Return values (n, m) as `Integrand` does."""
        return self.integrand(draws, where, self._at)

    def _at(self, x: FloatArray, where: str) -> FloatArray:
        keys = list(cut(self._blocks, 0, 0, len(x)))
        job = _ValuesJob(self.integrand, x, where, whole=len(keys) == 1)
        context = ""
        if self._runner.checkpoint is not None:
            points = hashlib.sha256(np.asarray(x, order="C").tobytes()).hexdigest()[:32]
            context = f"values at {points}"
        found = []
        with closing(self._runner.run(job, keys, context)) as results:
            for _, result in results:
                self.integrand.learn(result.learned)
                found.append(result.values)
        return np.concatenate(found) if len(found) > 1 else found[0]
