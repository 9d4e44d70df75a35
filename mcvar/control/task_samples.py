"""The draws that a vector-valued control is fitted on: checked, task by task."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from mcvar.control.sample import Sample, checked_sample


def same_draws(samples: list[Sample]) -> bool:
    """Say whether several tasks have all draws, and the scores there, in common."""
    first = samples[0]
    return len(samples) > 1 and all(
        np.array_equal(first.x, other.x) and np.array_equal(first.s, other.s)
        for other in samples[1:]
    )


def checked_samples(
    x: Sequence[Any], y: Sequence[Any], scores: Sequence[Any], *, merge: bool = True
) -> list[Sample]:
    """Return the draws of every task, or say what is wrong with them.

    A kernel system wants those that coincide merged; a sum over draws does not.
    """
    given: Any
    for name, given in (("X", x), ("y", y), ("grad_logpdf", scores)):
        if not isinstance(given, Sequence) and np.ndim(given) == 0:
            raise TypeError(f"{name} must be a sequence of arrays, one per task, got {given!r}.")
    sizes = {"X": len(x), "y": len(y), "grad_logpdf": len(scores)}
    if len(set(sizes.values())) > 1 or not len(x):
        seen = ", ".join(f"{count} in {name}" for name, count in sizes.items())
        raise ValueError(f"got tasks {seen}; expected the same number, at least 1, in each.")
    if all(np.ndim(values) == 0 for values in y):
        raise ValueError(
            "y holds numbers; expected one array for each task. This control serves "
            "mcvar.estimate_jointly; for a single integral use a scalar control."
        )
    samples = []
    for t, (points, values, score) in enumerate(zip(x, y, scores, strict=True)):
        with of_task(t):
            if np.ndim(values) != 1:
                raise ValueError(
                    f"y has shape {np.shape(values)}; expected one value a draw, (n,)."
                )
            samples.append(checked_sample(points, values, score, None, merge=merge))
    dimensions = [sample.x.shape[1] for sample in samples]
    if len(set(dimensions)) > 1:
        raise ValueError(
            f"tasks have draws in {dimensions} dimensions; what they share needs draws of the same "
            "space."
        )
    return samples


def check_extends(fitted: Any, tasks: int, ndim: int) -> None:
    """Refuse a warm start with fewer tasks than a control was fitted on, or in another space."""
    before = len(fitted.mean_)
    if tasks < before or ndim != fitted.n_features_in_:
        raise ValueError(
            f"warm_start goes on from {before} tasks in {fitted.n_features_in_} dimensions, which "
            f"come first, with their draws; got {tasks} tasks in {ndim} dimensions."
        )


@contextmanager
def of_task(t: int) -> Iterator[None]:
    """Say which task an error is about."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"task {t}: {error}") from error
