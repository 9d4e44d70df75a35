"""The draws of a run: made block by block, kept while a control is fitted, summed up after."""

import hashlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np

from mcvar._typing import FloatArray
from mcvar.draws import Draws
from mcvar.execution import Key, Runner, fingerprint
from mcvar.integrate.adjust import adjust
from mcvar.integrate.analyse import Analysis, analyse_fit, conclude
from mcvar.integrate.block import BlockJob, Part, Streams, Summing, cut
from mcvar.integrate.crossfit import CrossFit, no_control
from mcvar.integrate.integrand import Integrand, OutsideSupportError, Signature
from mcvar.integrate.values import BlockSums, Layout, Measure
from mcvar.samplers import Blocks, Plan, Sampler
from mcvar.targets import Target

_WORTH_COMPILING = 2**20  # draws
_KEPT_DRAWS = 2**17  # draws, and draws a feature, on which controls are fitted
_KEPT_PER_FEATURE = 200
_MOST_KEPT = 2**20


class Collection:
    """Draws so far, their sums, and what they say.

    Draws and values are kept while there is a control to fit, up to 2¹⁷ draws (or 200 a feature);
    further draws meet the controls fitted on those before them, and only their sums are kept. So
    memory does not depend on the number of draws.

    Parameters
    ----------
    integrand : Integrand
    sampler : Sampler
    target : Target
    seed, place : int
        Of the streams of the draws.
    control : "auto" or tuple
        Candidates, bound to the target.
    candidates : list
        What "auto" tries besides none.
    folds : int
    covariance : bool
    n : int
        Draws that may be made at most.
    runner : Runner
    blocks : Blocks
    on_progress : callable
        Called with the number of draws of each finished block.
    """

    def __init__(
        self,
        integrand: Integrand,
        sampler: Sampler,
        target: Target,
        seed: int,
        place: int,
        *,
        control: Any,
        candidates: list[Any],
        folds: int,
        covariance: bool,
        n: int,
        runner: Runner,
        blocks: Blocks,
        on_progress: Callable[[int], Any],
    ) -> None:
        self.integrand = integrand
        self._sampler, self._target, self._seed, self._place = sampler, target, seed, place
        self._control, self._candidates, self._folds = control, candidates, folds
        self._runner, self._blocks, self._on_progress = runner, blocks, on_progress
        self._measure = Measure.of(target)
        self._layout = Layout(sampler.replicated, sampler.unit, sampler.extensible)
        self._summing = Summing(self._measure, self._layout, covariance)
        self._needs_gradients = not isinstance(control, str) and any(
            getattr(each, "needs_score", False) for each in control
        )
        self._compiles = n >= _WORTH_COMPILING and not control
        self._streams: Streams | None = None
        self._done: list[int] = []
        self._kept: list[tuple[Key, Draws, FloatArray]] | None = [] if control else None
        self._fit: CrossFit | None = None
        self._fit_digest = ""
        self._n_fitted = 0
        self._latest: tuple[CrossFit, Draws, FloatArray] | None = None
        self._sums: BlockSums | None = None
        self._halves: FloatArray | None = None
        self._n_halved = 0
        self._has_begun = False

    @property
    def n(self) -> int:
        """Number of draws."""
        return sum(self._done)

    @property
    def evaluations(self) -> int:
        """Number of draws at which the integrand was called."""
        summed = 0 if self._sums is None else self._sums.evaluations
        return summed + sum(
            draws.n if draws.weights is None else int(np.count_nonzero(draws.weights > 0))
            for _, draws, _ in self._kept or ()
        )

    def advance(self, plan: Plan) -> None:
        """Draw what `plan` asks for beyond the draws so far."""
        limit = self._limit
        if self._kept is not None and plan.n > limit:
            if self.n < limit:
                self._draw(_at_most(plan, limit, self._sampler))
            if self._kept is not None:  # the first draws show whether there is anything to fit
                self._settle()
        if self._sums is not None and self._layout.grows and self._layout.replicated:
            self._halves = np.stack([part.value_mean for part in self._sums.rows.parts])
            self._n_halved = self.n
        self._draw(plan)

    @property
    def keeps_draws(self) -> bool:
        """Whether draws are kept, and the control fitted anew at each look."""
        return self._kept is not None

    def analysis(self) -> Analysis:
        """Means with an error bar from the draws so far."""
        if self._kept is not None:
            draws, values = self._all_kept()
            self._latest = self._adjusted(draws, values), draws, values
            return self._analysed(*self._latest)
        assert self._sums is not None
        assert self._fit is not None
        return conclude(
            self._sums,
            self._measure,
            # Draws made after the fit do not share its error.
            replace(self._fit, jackknife=self._fit.jackknife * (self._n_fitted / self.n)),
            halves=self._halves if self._n_halved * 2 == self.n else None,
            replicated=self._layout.replicated,
            grows=self._layout.replicated and self._layout.grows,
            pivot=self._summing.pivot,
            covariance=self._summing.covariance,
        )

    def earlier(self, plan: Plan) -> Analysis:
        """The same from the first draws alone, adjusted as all kept draws were at the last look."""
        assert self._latest is not None
        fit, draws, values = self._latest
        replicate = np.zeros(draws.n, np.int64) if draws.replicate is None else draws.replicate
        place = np.concatenate([np.arange(count) for count in np.bincount(replicate)])
        first = np.flatnonzero((place < plan.size) & (replicate < plan.replicates))
        return self._analysed(replace(fit, rows=fit.rows[first]), draws.take(first), values[first])

    def _analysed(self, fit: CrossFit, draws: Draws, values: FloatArray) -> Analysis:
        return analyse_fit(
            fit,
            draws,
            values,
            self._summing.pivot,
            self._measure,
            grows=self._layout.grows,
            covariance=self._summing.covariance,
        )

    def _adjusted(self, draws: Draws, values: FloatArray) -> CrossFit:
        return adjust(
            self._control,
            draws,
            self._about(values),
            self._folds,
            "variance",
            self._measure,
            self._candidates,
        )

    def _about(self, values: FloatArray) -> FloatArray:
        """Values about the pivot, where means are ratios."""
        return values - self._summing.pivot if self._measure.self_normalized else values

    @property
    def _limit(self) -> int:
        """Draws beyond which only sums are kept."""
        k = max(
            (
                getattr(c, "n_features", 0)
                for c in (*self._control, *self._candidates)
                if not isinstance(c, str)
            ),
            default=0,
        )
        limit = min(max(_KEPT_DRAWS, _KEPT_PER_FEATURE * k), _MOST_KEPT)
        return limit * self._sampler.unit

    def _draw(self, plan: Plan) -> None:
        if self._streams is None or not self._sampler.extensible:
            self._streams = Streams(
                self._sampler,
                self._target,
                self._seed,
                self._place,
                plan.size,
                compiled=self._compiles,
            )
        self._done += [0] * (plan.replicates - len(self._done))
        keys = list(
            chain.from_iterable(
                cut(self._blocks, replicate, done, plan.size)
                for replicate, done in enumerate(self._done)
            )
        )
        first: dict[Key, Part] = {}
        if not self._has_begun and keys:
            first = self._begin(self._streams, keys)
        rest = [key for key in keys if key not in first]
        with closing(self._runner.run(self._job(self._streams), rest, self._context())) as results:
            for key in keys:
                part = first.pop(key) if key in first else next(results)[1]
                self._take(key, part)
                self._done[key.replicate] += key.size
                self._on_progress(key.size)

    def _begin(self, streams: Streams, keys: list[Key]) -> dict[Key, Part]:
        """Evaluate a first block alone where it decides how others are summed up.

        It shows what the integrand returns, and gives weighted sums their pivot.
        """
        key, draws = self._first_inside(streams, keys)
        weighted, own = draws.weights is not None, draws.zero_mean is not None
        if isinstance(self._control, str) and not (self._candidates or own):
            self._kept, self._control = None, ()
        self._has_begun = True
        if self.integrand.is_compiled and self.integrand.signature is None:
            self.integrand.check_compiled(draws.x[0])
            self.integrand = self.integrand.returning(Signature(1, True))
        if self.integrand.signature is not None and not weighted:
            self._start_sums()
            return {}
        job = self._job(streams, rows=True)
        with closing(self._runner.run(job, [key], self._context(rows=True))) as results:
            part = next(results)[1]
        self.integrand = self.integrand.returning(part.signature)
        assert part.draws is not None
        assert part.values is not None
        w = part.draws.weights
        if w is not None:
            self._summing = replace(self._summing, pivot=w @ part.values / max(w.sum(), 1e-300))
        self._start_sums()
        if self._kept is None:
            sums = self._summing(part.values, part.draws, key.replicate, key.start)
            part = Part(part.signature, sums, None, None)
        return {key: part}

    def _first_inside(self, streams: Streams, keys: list[Key]) -> tuple[Key, Draws]:
        for key in keys:
            draws = streams.at(key)(key.start, key.size)
            if draws.weights is None or draws.weights.any():
                return key, draws
        raise OutsideSupportError(
            f"none of the first {sum(key.size for key in keys)} points (seed {self._seed}) lies in "
            "the support of the target; the proposal does not reach it: centre and scale it as "
            "the target is."
        )

    def _start_sums(self) -> None:
        if self._kept is None and self.integrand.signature is not None:
            m = self.integrand.signature.components
            self._fit = no_control(np.empty((0, m)), Draws.unchecked(x=np.empty((0, 1))))

    def _job(self, streams: Streams, *, rows: bool = False) -> BlockJob:
        keeps = rows or self._kept is not None
        summing = None if keeps else self._summing
        if summing is not None and self._sums is not None:
            summing = replace(summing, thresholds=self._sums.thresholds)
        return BlockJob(
            self.integrand,
            self._target,
            streams,
            summing,
            keeps_points=keeps or bool(self._summing.models),
            with_gradients=self._needs_gradients,
        )

    def _context(self, *, rows: bool = False) -> str:
        """Digest of what blocks depend on besides their place: the rows of a checkpoint."""
        if self._runner.checkpoint is None:
            return ""
        keeps = rows or self._kept is not None
        state = [self._sampler, self._target, self._seed, self._place, self._needs_gradients, keeps]
        if not keeps:
            state += [np.asarray(self._summing.pivot), self._summing.covariance]
            state.append(self._fit_digest)
        return f"block of {fingerprint(*state)}"

    def _take(self, key: Key, part: Part) -> None:
        if self.integrand.signature != part.signature:
            raise ValueError(
                f"the integrand returned shape {part.signature.shape()}, after another on earlier "
                "points; expected the same at all points."
            )
        if self._kept is not None:
            assert part.draws is not None
            assert part.values is not None
            self._kept.append((key, part.draws, part.values))
            return
        assert part.sums is not None
        self._sums = part.sums if self._sums is None else self._sums + part.sums

    def _all_kept(self) -> tuple[Draws, FloatArray]:
        """Draws kept so far, replicate by replicate, with labels of what is independent."""
        assert self._kept is not None
        kept = sorted(self._kept, key=lambda item: item[0])
        values = np.concatenate([values for _, _, values in kept])
        labels: dict[str, Any] = {}
        if self._layout.replicated:
            labels["replicate"] = np.repeat(
                [key.replicate for key, _, _ in kept], [draws.n for _, draws, _ in kept]
            )
        elif self._layout.unit > 1:
            labels["cluster"] = np.arange(len(values)) // self._layout.unit
        return Draws.stacked([draws for _, draws, _ in kept], **labels), values

    def _settle(self) -> None:
        """Fit the control for good; keep sums of the draws, and of all that follow."""
        draws, values = self._all_kept()
        self._fit = self._adjusted(draws, values)
        self._summing = replace(self._summing, models=self._fit.models)
        labels = draws.replicate if draws.replicate is not None else np.zeros(draws.n, np.int64)
        about = self._about(values)
        for group in np.unique(labels):
            at = np.flatnonzero(labels == group)
            sums = BlockSums.of(
                about[at],
                draws.take(at),
                self._measure,
                self._layout,
                adjusted=self._fit.rows[at],
                group=int(group),
                pivot=self._summing.pivot,
                covariance=self._summing.covariance,
            )
            self._sums = sums if self._sums is None else self._sums + sums
        self._kept = None
        self._n_fitted = draws.n
        self._fit_digest = hashlib.sha256(self._fit.rows.tobytes()).hexdigest()
        self._fit = replace(self._fit, rows=self._fit.rows[:0])


def _at_most(plan: Plan, limit: int, sampler: Sampler) -> Plan:
    """The largest plan of at most `limit` draws that a run comes by on its way to `plan`."""
    if not sampler.extensible:
        return Plan(max(limit // plan.size, 2), plan.size)
    size = 1 << ((limit // plan.replicates).bit_length() - 1)
    return Plan(plan.replicates, min(size, plan.size))
