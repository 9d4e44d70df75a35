"""Related tasks as users give them, checked."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mcvar._checks import as_finite_array
from mcvar._typing import FloatArray
from mcvar.draws import Draws
from mcvar.integrate.stein_identities import check_scores

_LEAST_DRAWS = 3  # of a task: two to fit on and one to correct
_TESTED = 30  # draws from which scores are tested against them
_UNKNOWN = ("weights", "strata", "replicate", "cluster", "zero_mean")


class TaskGroup(NamedTuple):
    """Values (n, m) of m tasks on the same draws, and the indices of those tasks."""

    values: FloatArray
    draws: Draws
    indices: tuple[int, ...]

    def of_columns(self, columns: Any) -> "TaskGroup":
        """Some of the tasks."""
        indices = tuple(self.indices[j] for j in columns)
        return TaskGroup(self.values[:, columns], self.draws, indices)


def read_tasks(tasks: Any) -> list[TaskGroup]:
    """Return the tasks, those on the same draws together.

    Raises
    ------
    TypeError, ValueError
        What is no sequence of (values, Draws), draws without scores, draws with weights or labels
        other than chains, fewer than 3 draws, or tasks in different dimensions.
    """
    if not isinstance(tasks, Sequence) or isinstance(tasks, str) or not len(tasks):
        seen = "an empty one" if isinstance(tasks, list | tuple) else repr(type(tasks))
        raise TypeError(f"tasks must be a list of (values, mcvar.Draws), got {seen}.")
    kept: list[Draws] = []
    columns: list[list[FloatArray]] = []
    places: list[list[int]] = []
    count = 0
    for position, task in enumerate(tasks):
        pair = isinstance(task, Sequence) and len(task) == 2 and isinstance(task[1], Draws)
        if not pair:
            raise TypeError(f"entry {position} of tasks is not a pair (values, mcvar.Draws).")
        values, draws = as_finite_array("values", task[0]), task[1]
        if values.ndim not in (1, 2) or len(values) != draws.n or 0 in values.shape:
            raise ValueError(
                f"entry {position} of tasks has values of shape {values.shape} for {draws.n} "
                f"draws; expected ({draws.n},) or ({draws.n}, T)."
            )
        known = [k for k, other in enumerate(kept) if _same(draws, other)]
        if not known:
            _check_draws(position, draws)
            known = [len(kept)]
            kept.append(draws)
            columns.append([])
            places.append([])
        wide = values.reshape(draws.n, -1)
        columns[known[0]].append(wide)
        places[known[0]] += range(count, count + wide.shape[1])
        count += wide.shape[1]
    dimensions = [draws.ndim for draws in kept]
    if len(set(dimensions)) > 1:
        raise ValueError(
            f"tasks have draws in {dimensions} dimensions; related integrals are taken over the "
            "same space."
        )
    return [
        TaskGroup(np.column_stack(own), draws, tuple(where))
        for own, draws, where in zip(columns, kept, places, strict=True)
    ]


def _same(draws: Draws, other: Draws) -> bool:
    """Say whether two objects hold the same draws, whose errors are correlated then."""
    return draws is other or all(
        np.array_equal(mine, its) if mine is not None and its is not None else mine is its
        for mine, its in (
            (draws.x, other.x),
            (draws.grad_logpdf, other.grad_logpdf),
            (draws.chain, other.chain),
        )
    )


def _check_draws(position: int, draws: Draws) -> None:
    where = f"entry {position} of tasks"
    if draws.grad_logpdf is None:
        raise ValueError(
            f"{where} has no score ∇ log π at its draws; pass mcvar.Draws(x, grad_logpdf=...)."
        )
    given = [name for name in _UNKNOWN if getattr(draws, name) is not None]
    if given:
        raise ValueError(
            f"{where} has draws with {' and '.join(given)}; expected independent draws of the "
            "target, or chains."
        )
    if draws.n < _LEAST_DRAWS:
        raise ValueError(f"{where} has {draws.n} draws; expected at least {_LEAST_DRAWS}.")
    if draws.n >= _TESTED:
        check_scores(draws)
