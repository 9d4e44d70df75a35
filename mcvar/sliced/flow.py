"""gradient_flow() and barycenter(): move one cloud onto another, or between several, downhill."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mcvar._checks import (
    as_count,
    as_finite_array,
    as_number,
    as_points,
    as_real_array,
    check_magnitude,
    import_extra,
    known_name,
    root_entropy,
)
from mcvar._typing import FloatArray, Seed
from mcvar.result import Status
from mcvar.samplers import stream_seed
from mcvar.sliced.directions import KINDS
from mcvar.sliced.distance import as_exponent
from mcvar.sliced.gradient import (
    SlicedGradient,
    as_root,
    sliced_wasserstein_gradient,
)
from mcvar.sliced.labels import aligned
from mcvar.sliced.reservoir import ReservoirSliced

_EXPLODED = 1e4  # times the extent of the clouds, beyond which no descent would take a point
_RISEN = 2.0  # times the first loss, more than directions make it vary


@dataclass(frozen=True, eq=False)
class GradientFlow:
    """Where a cloud went, and how its loss fell.

    Attributes
    ----------
    points : ndarray, shape (n, d)
        The cloud after the last step.
    history : ndarray, shape (steps,)
        Loss before each step: an estimate, as noisy as the directions leave it.
    status : {"completed", "suspect"}
        "suspect": the loss ended higher than it began.
    reasons : tuple of str
        What is behind `status`, in prose.

    Examples
    --------
    >>> import numpy as np, mcvar
    >>> rng = np.random.default_rng(1)
    >>> x, y = rng.normal(size=(60, 2)), rng.normal(3.0, 1.0, size=(60, 2))
    >>> flow = mcvar.sliced.gradient_flow(x, y, steps=20, step_size=0.5, rng=1)
    >>> flow.points.shape, len(flow.history), bool(flow.history[-1] < flow.history[0])
    ((60, 2), 20, True)
    """

    points: FloatArray
    history: FloatArray
    status: Status = "completed"
    reasons: tuple[str, ...] = ()


def gradient_flow(
    X: Any,
    Y: Any,
    steps: int,
    step_size: float,
    loss: Any = "auto",
    *,
    n: int = 64,
    control: str | None = "auto",
    p: float = 2,
    root: bool = False,
    weights: Any = None,
    bounds: Any = None,
    callback: Callable[[int, FloatArray, float], Any] | None = None,
    progress: bool = False,
    rng: Seed = None,
) -> GradientFlow:
    """Move X towards Y by gradient descent on their sliced Wasserstein distance.

    x_i ← x_i − step_size · n_x · ∂loss/∂x_i: the factor n_x makes the speed of a point independent
    of how many there are. With p = 2 and SW_2² a step closes the fraction 2 step_size/d or so of
    the gap.

    Parameters
    ----------
    X, Y : array_like, shapes (n_x, d) and (n_y, d)
        The points that move, and those that stay. A list or tuple of clouds as Y, each of shape
        (n_k, d), makes the loss the weighted sum of the distances to them.
    steps : int
        Number of steps.
    step_size : float
        Positive.
    loss : str, ReservoirSliced or callable
        A kind of directions ("auto" or one of `mcvar.sliced.directions`), drawn anew every step;
        a `ReservoirSliced`; or a function ``(X, Y) -> (value, gradient (n_x, d))``.
    n, control, p : int, str or None, float
        Directions a step, control and exponent, where `loss` is a kind of directions; see
        `mcvar.sliced.sliced_wasserstein_gradient`.
    root : bool
        Descend SW_p instead of SW_p^p: steps of constant speed, which do not shrink near the end.
        Not for a function of your own.
    weights : array_like, shape (K,), optional
        Weights of several targets, non-negative and summing to one; equal by default.
    bounds : pair, optional
        Least and greatest values, numbers or arrays (d,), to which points are moved back after
        every step: colours within 0 and 255, say.
    callback : callable, optional
        ``callback(step, points, value)`` after every step; stops the flow by returning True.
    progress : bool
        Show a bar (extra `progress`).
    rng : int, Generator, SeedSequence or None
        Source of randomness (SPEC 7).

    Returns
    -------
    GradientFlow

    Raises
    ------
    ValueError, TypeError
        Anything the loss refuses; a loss or gradient that is not finite, or not of the shape of
        X; points that fly away because steps are too large.

    References
    ----------
    Bonneel, Rabin, Peyré & Pfister, J. Math. Imaging Vis. 51 (2015), section 3.2; Liutkus et al.,
    "Sliced-Wasserstein flows", ICML 2019.

    Examples
    --------
    >>> import numpy as np, mcvar
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(100, 3)), rng.uniform(3.0, 5.0, size=(100, 3))
    >>> flow = mcvar.sliced.gradient_flow(x, y, steps=60, step_size=0.5, rng=1)
    >>> bool(flow.history[-1] < 1e-2 < 10 < flow.history[0])
    True
    """
    points = as_points("X", X).copy()
    targets, shares = _targets(Y, weights, X)
    steps = as_count("steps", steps)
    size = as_number("step_size", step_size)
    for name, cloud in (("X", points), *(("Y", target) for target in targets)):
        check_magnitude(f"points of {name}", cloud)
        if points.shape[1] != cloud.shape[1]:
            raise ValueError(
                f"X and Y must have the same dimension, got points in {points.shape[1]} and "
                f"{cloud.shape[1]}."
            )
    low, high = _bounds(bounds, points.shape[1])
    if size <= 0:
        raise ValueError(f"step_size must be positive, got {step_size!r}.")
    centre = np.mean([target.mean(axis=0) for target in targets], axis=0)
    extent = float(max(np.abs(cloud - centre).max() for cloud in (points, *targets)))
    if isinstance(loss, ReservoirSliced) and len(targets) > 1:
        raise TypeError("a ReservoirSliced follows one pair of clouds, got several targets.")
    evaluate = _loss(loss, n, control, as_exponent(p), root, root_entropy(rng))
    numbers: Any = range(steps)
    if progress:
        numbers = import_extra("tqdm", "progress").tqdm(numbers, unit="step")
    history = np.empty(steps)
    for step in numbers:
        value, gradient = 0.0, np.zeros_like(points)
        for target, share in zip(targets, shares, strict=True):
            part = evaluate(step, points, target)
            slope = as_finite_array("gradient", part.gradient)
            if slope.shape != points.shape:
                raise ValueError(f"gradient must have shape {points.shape}, got {slope.shape}.")
            value += share * as_number("the loss", part.value)
            gradient += share * slope
        history[step] = value
        with np.errstate(over="ignore", invalid="ignore"):
            points = points - size * len(points) * gradient
            reach = float(np.abs(points - centre).max())
        if not reach <= _EXPLODED * extent:
            raise ValueError(
                f"the flow diverges: after step {step} points lie {reach:.3g} from the centre of "
                f"Y, where no point of either cloud began beyond {extent:.3g}; expected a smaller "
                f"step_size, got {size:g}."
            )
        points = np.clip(points, low, high)
        if callback is not None and callback(step, points, float(history[step])):
            history = history[: step + 1]
            break
    status: Status = "completed"
    reasons: tuple[str, ...] = ()
    if history[-1] > _RISEN * max(history[0], 0.0):
        status = "suspect"
        reasons = (
            f"the loss rose from {history[0]:.3g} to {history[-1]:.3g}: step_size={size:g} is too "
            "large, or the clouds agreed from the start.",
        )
    return GradientFlow(points, history, status, reasons)


def barycenter(
    clouds: Any,
    weights: Any = None,
    *,
    n_points: int | None = None,
    steps: int = 100,
    step_size: float | None = None,
    n: int = 64,
    p: float = 2,
    bounds: Any = None,
    rng: Seed = None,
) -> GradientFlow:
    """Return a cloud with the least weighted sum of SW_p^p to several clouds.

    A gradient flow that starts from points of the cloud with the largest weight.

    Parameters
    ----------
    clouds : sequence of array_like, shapes (n_k, d)
        The clouds.
    weights : array_like, shape (K,), optional
        Their weights, non-negative and summing to one; equal by default.
    n_points : int, optional
        Points of the barycentre; those of the cloud that it starts from by default.
    steps, step_size, n, p, bounds, rng
        As in `gradient_flow`; the step is d/4 by default, which halves the gap for p = 2.

    Returns
    -------
    GradientFlow
        ``points`` (n_points, d) and the ``history`` of the loss.

    Raises
    ------
    ValueError, TypeError
        Fewer than one cloud, clouds of different dimension, and anything `gradient_flow` refuses.

    References
    ----------
    Bonneel, Rabin, Peyré & Pfister, J. Math. Imaging Vis. 51 (2015), section 4.

    Examples
    --------
    >>> import numpy as np, mcvar
    >>> rng = np.random.default_rng(0)
    >>> clouds = [rng.normal(m, s, size=(200, 2)) for m, s in ((0, 1), (4, 3))]
    >>> middle = mcvar.sliced.barycenter(clouds, [0.5, 0.5], rng=1).points
    >>> middle.mean().round().item(), middle.std().round().item()
    (2.0, 2.0)
    """
    clouds = list(clouds)
    targets, shares = _targets(clouds, weights, clouds[0] if clouds else None)
    start = targets[int(np.argmax(shares))]
    root = root_entropy(rng)
    if n_points is not None:
        count = as_count("n_points", n_points)
        chosen = np.random.default_rng(stream_seed(root, 0, 1))
        start = start[chosen.choice(len(start), count, replace=count > len(start))]
    size = start.shape[1] / 4 if step_size is None else step_size
    return gradient_flow(
        start, targets, steps, size, n=n, p=p, weights=shares, bounds=bounds, rng=root
    )


def _targets(Y: Any, weights: Any, like: Any) -> tuple[list[FloatArray], FloatArray]:
    """Return the clouds that stay, and their weights (K,)."""
    several = isinstance(Y, list | tuple) and len(Y) > 0 and np.ndim(Y[0]) == 2
    if isinstance(Y, list | tuple) and not len(Y):
        raise ValueError("there are no clouds; expected at least one of shape (n, d).")
    names = [f"clouds[{k}]" for k in range(len(Y))] if several else ["Y"]
    targets = [
        as_points(name, aligned(name, cloud, like))
        for name, cloud in zip(names, Y if several else [Y], strict=True)
    ]
    dims = sorted({target.shape[1] for target in targets})
    if len(dims) > 1:
        raise ValueError(f"clouds must have the same dimension, got {dims}.")
    if weights is None:
        return targets, np.full(len(targets), 1 / len(targets))
    shares = as_finite_array("weights", weights)
    if shares.shape != (len(targets),) or (shares < 0).any() or abs(shares.sum() - 1) > 1e-6:
        raise ValueError(
            f"weights must be {len(targets)} non-negative numbers that sum to 1, one a cloud, got "
            f"{shares.tolist()}."
        )
    return targets, shares


def _bounds(bounds: Any, d: int) -> tuple[Any, Any]:
    if bounds is None:
        return -np.inf, np.inf
    if not isinstance(bounds, list | tuple | np.ndarray) or len(bounds) != 2:
        raise ValueError(f"bounds must be a pair (least, greatest), got {bounds!r}.")
    low, high = (as_real_array("bounds", limit) for limit in bounds)
    if {low.shape, high.shape} - {(), (d,)} or not (low <= high).all():
        raise ValueError(
            f"bounds must be numbers or arrays ({d},), the least first, got {bounds!r}."
        )
    return low, high


def _loss(
    loss: Any, n: int, control: str | None, p: float, root: bool, stem: int
) -> Callable[[int, FloatArray, FloatArray], SlicedGradient]:
    if isinstance(loss, str):
        known_name("loss", loss, ("auto", *KINDS))

        def drawn(step: int, x: FloatArray, y: FloatArray) -> SlicedGradient:
            rng = stream_seed(stem, step)
            return sliced_wasserstein_gradient(
                x, y, p=p, n=n, method=loss, control=control, root=root, rng=rng
            )

        return drawn
    if isinstance(loss, ReservoirSliced):

        def remembered(step: int, x: FloatArray, y: FloatArray) -> SlicedGradient:
            found = loss.step(x, y)
            return as_root(found, loss.p) if root else found

        return remembered
    if not callable(loss):
        raise TypeError(
            f"loss must be a kind of directions, a ReservoirSliced or a function, got {loss!r}."
        )
    if root:
        raise ValueError("root=True cannot change a loss of your own: return its root there.")

    def own(step: int, x: FloatArray, y: FloatArray) -> SlicedGradient:
        found = loss(x, y)
        if not isinstance(found, tuple | list) or len(found) != 2:
            raise TypeError(f"the loss must return (value, gradient (n_x, d)), got {found!r}.")
        return SlicedGradient(*found)

    return own
