"""Train, draw, look, and stop: how an estimate from new draws comes about."""

import logging
from typing import Any, NamedTuple

import numpy as np

from mcvar._typing import FloatArray
from mcvar.execution import OutOfTimeError, Runner
from mcvar.integrate.blocks import blocks_for
from mcvar.integrate.combine import Combined
from mcvar.integrate.diagnose import check_control_means, disagreement, reasons_to_suspect
from mcvar.integrate.evaluation import Evaluation
from mcvar.integrate.features import ZeroMeanFeatures, is_linear
from mcvar.integrate.integrand import Integrand
from mcvar.integrate.moment_tally import MomentTally
from mcvar.integrate.problem import Problem
from mcvar.integrate.run import ProgressBar, Run
from mcvar.integrate.selection import Pilot, check_enough, describe, train_control
from mcvar.integrate.stored_tally import StoredTally
from mcvar.integrate.tally import Tally
from mcvar.integrate.tolerance import Tolerance, schedule
from mcvar.result import Estimate, Look, Status
from mcvar.samplers import Plan, Sampler, stream_seed
from mcvar.targets import Target

_TRAINING_WITH_TOLERANCE = 2**14  # evaluations that training may reckon with, if n is open
_TRAINING, _PILOT = 1, 2  # places among a run's streams; 0 is the estimate's own
_BETWEEN_REPORTS = 1.0  # seconds
_logger = logging.getLogger("mcvar")


class Goal(NamedTuple):
    """How far a run goes.

    Attributes
    ----------
    budget : int
        Evaluations that may be made.
    trained_for : int
        Evaluations that training reckons with: the budget of the run's first call.
    tolerance : Tolerance or None
        Error at which it stops before that.
    """

    budget: int
    trained_for: int
    tolerance: Tolerance | None


class _State:
    """The looks so far, and the last of them in full."""

    def __init__(self) -> None:
        self.history: list[Look] = []
        self.result: tuple[Combined, Combined | None] | None = None
        self.shortfall: FloatArray | None = None

    def look(self, tally: Tally, n: int) -> Combined:
        check_control_means(tally)
        self.result = tally.estimate()
        combined = self.result[0]
        error = np.sqrt(combined.variance)
        self.history.append(Look(n, combined.mean, error, combined.df))
        return combined


def estimate_by_drawing(problem: Problem, goal: Goal, runner: Runner, progress: bool) -> Estimate:
    """Return the estimate of a problem from draws that are made for it."""
    function, budget, tolerance = problem.integrand, goal.budget, goal.tolerance
    control, seed = problem.control, problem.seed
    blocks = blocks_for(function, problem.sampler, problem.batch_size)
    evaluate = Evaluation(function, runner, blocks)
    try:
        prepared = problem.sampler.prepare(
            problem.target,
            lambda draws: evaluate(draws, "training draws"),
            goal.trained_for
            if tolerance is None
            else min(goal.trained_for, _TRAINING_WITH_TOLERANCE),
            stream_seed(seed, _TRAINING),
        )
        recipe, target = prepared.sampler, prepared.target
        chosen, pilot = train_control(
            control,
            recipe,
            target,
            evaluate,
            goal.trained_for - prepared.spent,
            stream_seed(seed, _PILOT, 0),
        )
    except OutOfTimeError:
        raise _too_early(function) from None
    tally = _tally(chosen, control is None, target, recipe, problem)
    spent = function.n_evaluations
    plans = schedule(
        recipe, budget - spent, tolerance=tolerance is not None, limited=runner.is_limited
    )
    check_enough(chosen, plans[-1].n, recipe, problem.folds)
    _logger.info("trained on %d evaluations: %s", spent, prepared.description or recipe.name)

    bar = ProgressBar(progress, plans[-1].n)
    state = _State()
    report = _Report(runner, spent, budget, state)

    def on_progress(count: int) -> None:
        bar.update(count)
        report.progress(count)

    run = Run(
        function,
        recipe,
        target,
        tally,
        seed,
        n=plans[-1].n,
        runner=runner,
        blocks=blocks_for(function, recipe, problem.batch_size),
        on_progress=on_progress,
    )
    status: Status = "converged" if tolerance is None else "budget"
    reasons: list[str] = []
    try:
        for plan in plans:
            run.advance(plan)
            combined = state.look(tally, spent + plan.n)
            error = np.sqrt(combined.variance)
            bar.show(float(combined.mean[0]), float(error[0]))
            report.look(combined)
            if tolerance is None:
                continue
            varies = tally.plain_variance() > 0
            state.shortfall = tolerance.shortfall(
                combined.mean, error, combined.df, len(plans), varies
            )
            if (state.shortfall <= 1).all():
                status = "converged"
                break
    except (KeyboardInterrupt, OutOfTimeError) as cause:
        _stop_early(cause, state, tally, recipe, function, plans)
        status = "budget"
        why = "interrupted" if isinstance(cause, KeyboardInterrupt) else "out of time"
        reasons.append(
            f"{why} after {function.n_evaluations} of {budget} evaluations; "
            f"the estimate is that of the first {state.history[-1].n}."
        )
    finally:
        bar.close()
    if tolerance is not None and status == "budget" and not reasons:
        assert state.shortfall is not None
        reasons.append(_exhausted(state.shortfall, function.n_evaluations))
    assert state.result is not None
    suspicions = [
        *prepared.warnings,
        *reasons_to_suspect(tally, weights_matter=target.self_normalized),
    ]
    if pilot is not None:
        suspicions += _pilot_disagrees(pilot, target, recipe, state.result[0], problem)
    est = _assemble(
        state.result,
        function,
        target,
        tally,
        status="suspect" if suspicions else status,
        reasons=tuple(suspicions + reasons),
        sampler=prepared.description or recipe.name,
        control=describe(chosen, problem.folds),
        seed=seed,
        history=tuple(state.history),
        with_covariance=problem.covariance,
    )
    report.finished(est)
    return est


def _stop_early(
    cause: BaseException,
    state: _State,
    tally: Tally,
    sampler: Sampler,
    function: Integrand,
    plans: list[Plan],
) -> None:
    """Make the most of what was drawn; raise where that is too little for an error bar.

    Independent draws count to the last block. Of randomisations, some of which have grown and
    some not, only what was seen at the last look does.
    """
    enough = min(plans[0].n, 32 * sampler.unit * tally.folds)
    seen = plans[len(state.history) - 1].n if state.history else 0
    if not sampler.replicated and tally.n >= enough and tally.n > seen:
        state.look(tally, function.n_evaluations)
    if state.result is None:
        if isinstance(cause, OutOfTimeError):
            raise _too_early(function) from None
        raise cause


def _too_early(function: Integrand) -> TimeoutError:
    return TimeoutError(
        f"max_seconds passed after {function.n_evaluations} evaluations, before there was a first "
        "estimate with an error bar; allow more time, ask for less (n), or use executor=. With a "
        "checkpoint, what was finished is kept."
    )


class _Report:
    """Tells the checkpoint how far the run is."""

    def __init__(self, runner: Runner, spent: int, budget: int, state: _State) -> None:
        self._runner = runner
        self._done = spent
        self._budget = budget
        self._state = state
        self._last = 0.0
        self._shown: dict[str, Any] = {}

    def progress(self, count: int) -> None:
        self._done += count
        if self._runner.seconds - self._last >= _BETWEEN_REPORTS:
            self._write("running")

    def look(self, combined: Combined) -> None:
        self._shown = {
            "n": self._state.history[-1].n,
            "value": combined.mean.tolist(),
            "standard_error": np.sqrt(combined.variance).tolist(),
            "df": np.asarray(combined.df).tolist(),
        }
        self._write("running")

    def finished(self, est: Estimate) -> None:
        self._shown |= {
            "value": np.atleast_1d(est.value).tolist(),
            "standard_error": np.atleast_1d(est.standard_error).tolist(),
        }
        self._write(est.status, list(est.reasons))

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


def _tally(
    chosen: Any,
    without: bool,
    target: Target,
    sampler: Sampler,
    problem: Problem,
    folds: int | None = None,
) -> Tally:
    layout = {
        "replicated": sampler.replicated,
        "unit": sampler.unit,
        "folds": problem.folds if folds is None else folds,
        "covariance": problem.covariance,
    }
    if chosen is None or is_linear(chosen):
        return MomentTally(ZeroMeanFeatures(chosen, target, own=not without), target, **layout)
    return StoredTally(chosen, target, **layout)


def _pilot_disagrees(
    pilot: Pilot, target: Target, sampler: Sampler, combined: Combined, problem: Problem
) -> list[str]:
    if sampler.replicated:
        return []
    tally = _tally(None, True, target, sampler, problem, folds=1)
    tally.add(0, pilot.draws, pilot.values)
    before = tally.estimate()[0]
    if not (before.variance > 0).all():
        return []
    return disagreement(
        "the pilot",
        (before.mean, np.sqrt(before.variance)),
        (combined.mean, np.sqrt(combined.variance)),
    )


def _exhausted(shortfall: FloatArray, n: int) -> str:
    worst = int(np.argmax(shortfall))
    ratio = float(np.ravel(shortfall)[worst])
    which = "" if np.size(shortfall) == 1 else f" in component {worst}"
    if not np.isfinite(ratio):
        return f"no spread was seen{which} in {n} evaluations, so no error can be vouched for."
    return (
        f"after {n} evaluations the error is {ratio:.3g} times the tolerance{which}; raise max_n."
    )


def _assemble(
    result: tuple[Combined, Combined | None],
    function: Integrand,
    target: Target,
    tally: Tally,
    *,
    with_covariance: bool,
    **fields: Any,
) -> Estimate:
    combined, weight = result
    error = np.sqrt(combined.variance)
    with np.errstate(divide="ignore", invalid="ignore"):
        # The pilot's evaluations count too: plain Monte Carlo would have used them.
        gain = tally.plain_variance() * (tally.n / function.n_evaluations) / combined.variance
    gain = np.where(np.isnan(gain), 1.0, gain)

    def shaped(array: FloatArray) -> Any:
        return float(array[0]) if function.returns_scalar else array

    log_normalizer = None
    if weight is not None:
        scale = getattr(target, "log_scale", 0.0)
        log_normalizer = Estimate(
            value=float(np.log(weight.mean[0]) + scale),
            standard_error=float(np.sqrt(weight.variance[0]) / weight.mean[0]),
            n=function.n_evaluations,
            df=weight.df,
            ess=tally.ess,
            variance_reduction=float("nan"),
            status=fields["status"],
            reasons=fields["reasons"],
            sampler=fields["sampler"],
            control=fields["control"],
            seed=fields["seed"],
        )
    return Estimate(
        value=shaped(combined.mean),
        standard_error=shaped(error),
        n=function.n_evaluations,
        df=combined.df,
        ess=tally.ess,
        variance_reduction=shaped(gain),
        covariance=combined.covariance if with_covariance else None,
        log_normalizer=log_normalizer,
        **fields,
    )
