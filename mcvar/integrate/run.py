"""Train, draw, look, and stop: an estimate from new draws."""

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mcvar._checks import import_extra
from mcvar.execution import OutOfTimeError, Runner
from mcvar.integrate.analyse import Analysis
from mcvar.integrate.block import blocks_for
from mcvar.integrate.collect import Collection
from mcvar.integrate.evaluation import Evaluation
from mcvar.integrate.features import is_linear
from mcvar.integrate.integrand import OutsideSupportError
from mcvar.integrate.problem import Problem
from mcvar.integrate.report import build_estimate, describe
from mcvar.integrate.select import bound, polynomials
from mcvar.integrate.tolerance import Tolerance, schedule
from mcvar.result import Estimate, Look, Status, concise
from mcvar.samplers import CHUNK, Plan, Prepared, stream_seed

_TRAINING_WITH_TOLERANCE = 2**14  # evaluations that training may reckon with, if n is open
_MAIN, _TRAINING, _PILOT = 0, 1, 2  # places among a run's streams
_LEAST_FOR_CONTROLS = 100  # independent draws from which "auto" considers controls
_LEAST_PILOT = 128  # draws on which features or a penalty are chosen
_BETWEEN_REPORTS = 1.0  # seconds
_logger = logging.getLogger("mcvar")


class Budget(NamedTuple):
    """How far a run goes.

    Attributes
    ----------
    evaluations : int
        Evaluations that may be made.
    for_training : int
        Evaluations that training reckons with: the budget of the run's first call.
    tolerance : Tolerance or None
        Error at which it stops before that.
    """

    evaluations: int
    for_training: int
    tolerance: Tolerance | None


@dataclass(frozen=True)
class _Plan:
    """Outcome of training: sampler and target, control, and looks."""

    prepared: Prepared
    control: Any
    candidates: list[Any]
    spent: int
    looks: list[Plan]


def estimate_by_drawing(
    problem: Problem, budget: Budget, runner: Runner, show_progress: bool
) -> Estimate:
    """Estimate of a problem from draws that are made for it."""
    blocks = blocks_for(problem.integrand, problem.sampler, problem.batch_size)
    evaluate = Evaluation(problem.integrand, runner, blocks)
    try:
        plan = _train(problem, budget, evaluate, runner)
    except OutOfTimeError:
        raise _too_early(evaluate.spent) from None
    prepared = plan.prepared
    _logger.info(
        "trained on %d evaluations: %s", plan.spent, prepared.description or prepared.sampler.name
    )
    progress = _Progress(runner, plan.spent, budget.evaluations, plan.looks[-1].n, show_progress)
    collection = Collection(
        evaluate.integrand,
        prepared.sampler,
        prepared.target,
        problem.seed,
        _place(problem.control),
        control=plan.control,
        candidates=plan.candidates,
        folds=problem.folds,
        covariance=problem.covariance,
        n=plan.looks[-1].n,
        runner=runner,
        blocks=blocks_for(problem.integrand, prepared.sampler, problem.batch_size),
        on_progress=progress.advance,
    )
    status: Status = "completed" if budget.tolerance is None else "budget"
    why: list[str] = []
    history: list[Look] = []
    found: Analysis | None = None
    try:
        may_stop = budget.tolerance is not None or runner.is_limited
        for found in _analyses(collection, plan.looks, may_stop=may_stop):
            history.append(_look(plan.spent + collection.n, found))
            progress.look(history[-1])
            if budget.tolerance is not None and budget.tolerance.met(found, history, plan.looks):
                status = "converged"
                break
    except (KeyboardInterrupt, OutOfTimeError) as cause:
        found = _interrupted(cause, found, history, collection, plan)
        status, reason = "budget", "interrupted"
        if isinstance(cause, OutOfTimeError):
            reason = "out of time"
        made = plan.spent + collection.evaluations
        why.append(
            f"{reason} after {made} of {budget.evaluations} evaluations; the estimate is that of "
            f"the first {history[-1].n}."
        )
    finally:
        progress.close()
    assert found is not None
    if not may_stop and collection.keeps_draws and status == "completed":
        before = [(plan.spent + look.n, collection.earlier(look)) for look in plan.looks[:-1]]
        history = [*(_look(n, analysis) for n, analysis in before), *history]
    if status == "budget" and not why and budget.tolerance is not None:
        why.append(budget.tolerance.missed(found, history[-1].n, plan.looks))
    est = build_estimate(
        found,
        collection.integrand.is_scalar,
        n=plan.spent + collection.evaluations,
        draws=collection.n,
        status=status,
        warnings=prepared.warnings,
        why=why,
        with_covariance=problem.covariance,
        log_scale=float(getattr(prepared.target, "log_scale", 0.0)),
        sampler=prepared.description or prepared.sampler.name,
        control=describe(found.controls, problem.folds),
        seed=problem.seed,
        history=tuple(history),
    )
    progress.finished(est)
    return est


def _train(problem: Problem, budget: Budget, evaluate: Evaluation, runner: Runner) -> _Plan:
    """Train the sampler, and a control whose features are to be chosen."""
    n = budget.for_training
    prepared = problem.sampler.prepare(
        problem.target,
        lambda draws: evaluate(draws, "training draws"),
        n if budget.tolerance is None else min(n, _TRAINING_WITH_TOLERANCE),
        stream_seed(problem.seed, _TRAINING),
    )
    sampler, target = prepared.sampler, prepared.target
    control = problem.control
    if not isinstance(control, str):
        control = tuple(
            _trained(bound(each, target), problem, prepared, evaluate, n - evaluate.spent)
            for each in control
        )
    looks = schedule(
        sampler,
        budget.evaluations - evaluate.spent,
        tolerance=budget.tolerance is not None,
        limited=runner.is_limited,
    )
    most = looks[-1].n
    candidates: list[Any] = []
    if isinstance(control, str):
        independent = not sampler.replicated and target.basis() is not None
        if independent and most >= _LEAST_FOR_CONTROLS:
            candidates = list(polynomials(target, most // sampler.unit, problem.folds))
    else:
        _check_enough(control, most, problem, sampler.unit, sampler.replicated)
    return _Plan(prepared, control, candidates, evaluate.spent, looks)


def _trained(
    control: Any, problem: Problem, prepared: Prepared, evaluate: Evaluation, n: int
) -> Any:
    """The control with features or penalty chosen on draws that are spent for that."""
    if not (is_linear(control) and control.needs_training):
        return control
    if n < 2 * _LEAST_PILOT:
        raise ValueError(
            f"n={n} is too small to train {control.describe()}; expected n >= {2 * _LEAST_PILOT} "
            "after what the sampler's own training takes."
        )
    size = min(max(n // 8, _LEAST_PILOT), CHUNK)
    size -= size % prepared.sampler.unit
    seed = stream_seed(problem.seed, _PILOT, 0)
    draws = prepared.sampler.open(prepared.target, size, seed)(0, size)
    return control.trained(draws.x, evaluate(draws, "pilot draws"))


def _check_enough(
    control: tuple[Any, ...], n: int, problem: Problem, unit: int, replicated: bool
) -> None:
    """Refuse fewer independent draws than folds and features need."""
    if not control or replicated:
        return
    units, folds = n // unit, problem.folds
    if folds > 1 and units < 2 * folds:
        raise ValueError(
            f"{units} independent draws are too few for {folds} folds; expected at least "
            f"{2 * folds}."
        )
    k = max(getattr(each, "n_features", 0) for each in control)
    if k >= units * (folds - 1) / max(folds, 2) - 1:
        raise ValueError(
            f"{units} independent draws are too few for a control with {k} features; draw more, "
            "lower the degree, or use penalty='lasso'."
        )


def _place(control: Any) -> int:
    """Place of the main streams: one of their own where a control brings an estimated mean.

    Two calls with the same `rng` would otherwise make the same draws, and the estimated mean would
    depend on the draws that it is to correct.
    """
    several = control if isinstance(control, list | tuple) else (control,)
    sources = [each.mean for each in several if isinstance(getattr(each, "mean", None), Estimate)]
    if not sources:
        return _MAIN
    told = hashlib.sha256()
    for source in sources:
        for part in (source.value, source.standard_error, source.n):
            told.update(np.asarray(part, dtype=float).tobytes())
    return 2**32 + int.from_bytes(told.digest()[:4], "little")


def _analyses(collection: Collection, looks: list[Plan], *, may_stop: bool) -> Iterator[Analysis]:
    """Analyses at the looks; the last alone where each would fit a control anew for nothing."""
    for plan in looks:
        try:
            collection.advance(plan)
        except OutsideSupportError:
            if plan is looks[-1]:
                raise
            continue  # more points may reach the support
        if may_stop or plan is looks[-1] or not collection.keeps_draws:
            yield collection.analysis()


def _look(n: int, found: Analysis) -> Look:
    combined = found.combined
    return Look(n, combined.mean, np.sqrt(combined.variance), combined.df, combined.skewness)


def _interrupted(
    cause: BaseException,
    found: Analysis | None,
    history: list[Look],
    collection: Collection,
    plan: _Plan,
) -> Analysis:
    """Analysis of the completed draws; raise where these are too few for an error bar.

    Independent draws count to the last block. Of randomisations, some of which have grown and
    some not, only those of the last look do.
    """
    sampler = plan.prepared.sampler
    enough = min(plan.looks[0].n, 32 * sampler.unit * 5)
    seen = history[-1].n - plan.spent if history else 0
    if not sampler.replicated and collection.n >= max(enough, seen + 1):
        found = collection.analysis()
        history.append(_look(plan.spent + collection.n, found))
    if found is None:
        if isinstance(cause, OutOfTimeError):
            raise _too_early(plan.spent + collection.evaluations) from None
        raise cause
    return found


def _too_early(evaluations: int) -> TimeoutError:
    return TimeoutError(
        f"max_seconds passed after {evaluations} evaluations, before there was a first estimate "
        "with an error bar; allow more time, ask for less (n), or use executor=. With a "
        "checkpoint, what was finished is kept."
    )


class _Progress:
    """Reports a run's progress: to a tqdm bar, and to the checkpoint."""

    def __init__(self, runner: Runner, spent: int, budget: int, draws: int, show: bool) -> None:
        self._runner, self._done, self._budget = runner, spent, budget
        self._last = 0.0
        self._shown: dict[str, Any] = {}
        self._bar = None
        if show:
            tqdm = import_extra("tqdm", "progress").tqdm
            self._bar = tqdm(total=draws, unit="draw", unit_scale=True)

    def advance(self, count: int) -> None:
        """Count draws of a finished block."""
        self._done += count
        if self._bar is not None:
            self._bar.update(count)
        if self._runner.seconds - self._last >= _BETWEEN_REPORTS:
            self._write("running")

    def look(self, look: Look) -> None:
        """Report the estimate at a look."""
        if self._bar is not None:
            self._bar.set_postfix_str(concise(float(look.value[0]), float(look.standard_error[0])))
        self._shown = {
            "n": look.n,
            "value": look.value.tolist(),
            "standard_error": look.standard_error.tolist(),
            "df": np.asarray(look.df).tolist(),
        }
        self._write("running")

    def finished(self, est: Estimate) -> None:
        """Report the result."""
        self._shown |= {
            "value": np.atleast_1d(est.value).tolist(),
            "standard_error": np.atleast_1d(est.standard_error).tolist(),
        }
        self._write(est.status, list(est.reasons))

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()

    def _write(self, state: str, reasons: list[str] | None = None) -> None:
        self._last = self._runner.seconds
        if self._runner.checkpoint is not None:
            self._runner.checkpoint.report(
                state=state,
                reasons=reasons or [],
                done=self._done,
                planned=self._budget,
                seconds=self._runner.seconds,
                **self._shown,
            )
