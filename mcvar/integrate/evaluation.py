"""Calling the integrand at given points: pilots and training, on any executor."""

import hashlib
from contextlib import closing

import numpy as np

from mcvar._typing import FloatArray
from mcvar.draws import Draws
from mcvar.execution import Runner
from mcvar.integrate.block import ValuesJob, cut
from mcvar.integrate.integrand import Integrand, Signature
from mcvar.samplers import Blocks


class Evaluation:
    """Evaluates an integrand at draws, block by block, and counts its evaluations.

    Attributes
    ----------
    integrand : Integrand
        Known to return what it returned at the first draws.
    spent : int
        Evaluations so far.
    """

    def __init__(self, integrand: Integrand, runner: Runner, blocks: Blocks) -> None:
        self.integrand = integrand
        self.spent = 0
        self._runner = runner
        self._blocks = blocks

    def __call__(self, draws: Draws, where: str) -> FloatArray:
        """Values (n, m), zero where the weight is zero."""
        values, signature = self.integrand(draws, where, self._at)
        self.integrand = self.integrand.returning(signature)
        return values

    def _at(self, x: FloatArray, where: object) -> tuple[FloatArray, Signature]:
        keys = list(cut(self._blocks, 0, 0, len(x)))
        job = ValuesJob(self.integrand, x, str(where), whole=len(keys) == 1)
        context = ""
        if self._runner.checkpoint is not None:
            points = hashlib.sha256(np.asarray(x, order="C").tobytes()).hexdigest()[:32]
            context = f"values at {points}"
        found = []
        with closing(self._runner.run(job, keys, context)) as results:
            for key, (values, signature) in results:  # noqa: B007 (the last one's is returned)
                self.spent += key.size
                found.append(values)
        return np.concatenate(found) if len(found) > 1 else found[0], signature
