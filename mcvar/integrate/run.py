"""The estimate's own draws, block by block: sent out, and added up in a fixed order."""

from collections.abc import Callable
from contextlib import closing
from itertools import chain
from typing import Any

from mcvar._checks import import_extra
from mcvar.execution import Key, Runner, fingerprint
from mcvar.integrate.block_job import BlockJob, Part, Streams, draws_only
from mcvar.integrate.blocks import cut
from mcvar.integrate.integrand import Integrand, OutsideSupportError
from mcvar.integrate.tally import Tally
from mcvar.result import concise
from mcvar.samplers import Blocks, Plan, Sampler
from mcvar.targets import Target

_WORTH_COMPILING = 2**20  # draws


class Run:
    """Makes a run's blocks by a `Runner` and adds them to a tally.

    Memory does not depend on the number of draws.
    """

    def __init__(
        self,
        integrand: Integrand,
        sampler: Sampler,
        target: Target,
        tally: Tally,
        seed: int,
        *,
        n: int,
        runner: Runner,
        blocks: Blocks,
        on_progress: Callable[[int], Any],
    ) -> None:
        self._integrand = integrand
        self._sampler = sampler
        self._target = target
        self._tally = tally
        self._seed = seed
        self._runner = runner
        self._blocks = blocks
        self._on_progress = on_progress
        # Loading Numba pays only in long runs that do little else than draw.
        self._compiles = n >= _WORTH_COMPILING and draws_only(tally)
        self._streams: Streams | None = None
        self._carries: tuple[bool, bool] | None = None  # weights, functions of known mean
        self._done: list[int] = []
        self._waiting: list[Key] = []  # blocks outside the support before m is known
        self._context = ""
        if runner.checkpoint is not None:
            # What the pilots led to: were it something else, other blocks would be meant.
            state = fingerprint(sampler, target, tally, seed)
            self._context = f"block of {state}"

    def advance(self, plan: Plan) -> None:
        """Draw whatever `plan` asks for beyond what is there."""
        if self._streams is None or not self._sampler.extensible:
            self._streams = Streams(
                self._sampler, self._target, self._seed, plan.size, compiled=self._compiles
            )
        self._done += [0] * (plan.replicates - len(self._done))
        keys = list(
            chain.from_iterable(
                cut(self._blocks, replicate, done, plan.size)
                for replicate, done in enumerate(self._done)
            )
        )
        while keys:
            keys = self._together(self._streams, keys)
        if self._waiting:
            raise OutsideSupportError(
                f"none of the first {plan.n} points (seed {self._seed}) lies in the support of "
                "the target; the proposal does not reach it."
            )

    def _together(self, streams: Streams, keys: list[Key]) -> list[Key]:
        """Run the blocks that one job serves; return those left."""
        job = BlockJob(self._integrand, self._target, streams, self._tally.blank())
        if self._carries is None:
            draws = streams.probe(keys[0])
            self._carries = draws.weights is not None, draws.zero_mean is not None
        limit = self._tally.valid_until(*self._carries)
        first = sum(self._done)
        served = 0
        while served < len(keys) and (first < limit or served == 0):
            first += keys[served].size
            served += 1
        with closing(self._runner.run(job, keys[:served], self._context)) as results:
            for key, part in results:
                self._integrand.learn(part.learned)
                self._take(key, part, streams)
                self._done[key.replicate] += key.size
                self._on_progress(key.size)
        return keys[served:]

    def _take(self, key: Key, part: Part, streams: Streams) -> None:
        """Add a block; what lies outside the support waits until its width is known."""
        if part.tally is None:
            self._waiting.append(key)
        if self._integrand.n_components is not None:
            zeros = BlockJob(self._integrand, self._target, streams, self._tally.blank())
            for earlier in self._waiting:
                empty = zeros(earlier).tally
                assert empty is not None
                self._tally.absorb(empty)
            self._waiting.clear()
        if part.tally is not None:
            self._tally.absorb(part.tally)


class ProgressBar:
    """A tqdm bar with the rate, the time left and the present interval; or nothing."""

    def __init__(self, show: bool, total: int) -> None:
        self._bar = None
        if show:
            tqdm = import_extra("tqdm", "progress").tqdm
            self._bar = tqdm(total=total, unit="draw", unit_scale=True)

    def update(self, count: int) -> None:
        """Add evaluations."""
        if self._bar is not None:
            self._bar.update(count)

    def show(self, value: float, error: float) -> None:
        """Show an estimate with its standard error."""
        if self._bar is not None:
            self._bar.set_postfix_str(concise(value, error))

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()
