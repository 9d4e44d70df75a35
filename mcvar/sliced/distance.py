"""sliced_wasserstein(): compare two clouds along directions, and say how far to trust the mean."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from mcvar._checks import as_count, as_number, known_name, root_entropy
from mcvar._typing import FloatArray, Seed
from mcvar.control import LinearControl
from mcvar.execution import Runner
from mcvar.integrate.combine import independent, replicates
from mcvar.moments import Moments
from mcvar.result import Status, half_width
from mcvar.sliced import exact
from mcvar.sliced.blocks import costs_by_blocks, opened, stored_seed
from mcvar.sliced.controls import Feature, PairControls
from mcvar.sliced.crossfit import Choice, Crossfit, crossfit
from mcvar.sliced.design import Design, lay_out
from mcvar.sliced.expansion import MATRIX_DIM, Forms
from mcvar.sliced.labels import aligned
from mcvar.sliced.projection import Pair, as_cloud
from mcvar.sliced.result import SlicedWasserstein, assemble

CONTROLS = ("auto", "full", "lower", "upper", "harmonics", "cumulants")
_HIGHEST_EXPONENT = 100.0
_LEVEL = 0.95
_FOLDS = 8
_FEWEST_FITTED = 24  # directions below which fitted coefficients cost intervals their coverage
_REFERENCE_DIM = 64  # beyond it reference directions cost more than what they add to the expansion


def sliced_wasserstein(
    X: Any,
    Y: Any,
    a: Any = None,
    b: Any = None,
    p: float = 2,
    n: int = 128,
    method: str = "auto",
    control: Any = "auto",
    *,
    rtol: float | None = None,
    max_n: int = 2**14,
    rng: Seed = None,
    workers: int = 1,
    executor: Any = None,
    checkpoint: Any = None,
    n_projections: int | None = None,
    seed: "int | np.random.RandomState | None" = None,
) -> SlicedWasserstein:
    """Estimate the sliced Wasserstein distance between two point clouds, with an error bar.

    Parameters
    ----------
    X, Y : array_like, shapes (n_x, d) and (n_y, d)
        The points; ``(n_x,)`` is read as points on a line. float32 stays float32, sums are
        taken in float64. Columns of tables, and dimensions of xarray's arrays, are matched by name.
    a, b : array_like, shapes (n_x,) and (n_y,), optional
        Weights, non-negative and summing to one; uniform by default.
    p : float
        Exponent, at least 1.
    n : int
        Directions to compare along; with `rtol`, the number at the first look.
    method : {"auto", "montecarlo", "orthogonal", "sobol", "spiral", "bank"}
        How directions are made; see `mcvar.sliced.directions`. "auto" goes by dimension: exact in
        d = 1 and for small clouds in d = 2, else equal angles in d = 2, a bank of spread-out
        lines or the spiral in d = 3, a bank where directions are many for the dimension, and
        orthogonal frames otherwise.
    control : {"auto", None, "full", "lower", "upper", "harmonics", "cumulants"} or control
        "auto": the choice among none, the Gaussian approximation and its refinements with the
        least leave-one-out error on directions that the estimate of a fold does not use.
        "full", "lower", "upper": the Gaussian approximation and its bounds (Nguyen & Ho 2024).
        "harmonics": even spherical harmonics (Leluc et al. 2024). Or a control object; one
        `mcvar.control.GaussianSliced` is given the clouds here.
    rtol : float, optional
        Stop once the 95 % interval of the distance is within ``rtol`` times its value; directions
        double until then.
    max_n : int
        With `rtol`, the most directions.
    rng : int, Generator, SeedSequence or None
        Source of randomness (SPEC 7).
    workers : int
        Threads over blocks of directions; results are the same for any number.
    executor : concurrent.futures.Executor or int, optional
        In place of threads, as in `mcvar.estimate`.
    checkpoint : path, optional
        A file that keeps the costs of finished blocks, as in `mcvar.estimate`.
    n_projections, seed : optional
        POT's names of `n` and `rng`; a ``RandomState`` is a seed too.

    Returns
    -------
    SlicedWasserstein
        ``value`` (SW_p), ``power`` (the `mcvar.Estimate` of SW_p^p, which is the unbiased one),
        ``standard_error``, ``confidence_interval(level)``, ``variance_reduction``, ``status``,
        ``reasons``, ``plot()``.

    Raises
    ------
    ValueError, TypeError
        Points that are not finite, clouds of different dimension, weights that are negative or
        do not sum to one, p < 1, n < 1, unknown names; the message says what was expected.

    References
    ----------
    Bonneel, Rabin, Peyré & Pfister, "Sliced and Radon Wasserstein barycenters of measures",
    J. Math. Imaging Vis. 51 (2015), eq. 8; Nguyen & Ho, "Sliced Wasserstein estimation with
    control variates", ICLR 2024, eq. 7; Leluc et al., ICML 2024.

    Examples
    --------
    >>> import numpy as np, mcvar
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(500, 3)), rng.normal(0.5, 2.0, size=(500, 3))
    >>> est = mcvar.sliced_wasserstein(x, y, rng=1)
    >>> bool(est.standard_error < 1e-3 * est.value), est.variance_reduction > 100
    (True, True)
    """
    p = as_exponent(p)
    if seed is not None and rng is not None:
        raise ValueError("give rng or seed, not both.")
    if isinstance(seed, np.random.RandomState):
        seed = int(seed.randint(2**31 - 1))
    root = root_entropy(stored_seed(checkpoint, rng if seed is None else seed))
    n = as_count("n", n) if n_projections is None else as_count("n_projections", n_projections)
    max_n = as_count("max_n", max_n)
    if rtol is not None and not 0 < as_number("rtol", rtol) < 1:
        raise ValueError(f"rtol must lie strictly between 0 and 1, got {rtol!r}.")
    if rtol is not None and n < 2:
        raise ValueError(f"rtol needs an error bar, so at least two directions; got n={n}.")
    pair = Pair(as_cloud("X", X, a, "a"), as_cloud("Y", aligned("Y", Y, X), b, "b"), p)
    check_control(control)
    problem = {"method": method, "p": p, "clouds": [pair.x, pair.y]}
    with opened(workers, executor, checkpoint, problem, root) as runner:
        if isinstance(method, str) and method == "auto" and exact.is_cheap(pair):
            return exact_distance(pair, root, runner)
        return _sampled(pair, method, control, rtol, n, max_n, root, runner)


def _sampled(
    pair: Pair,
    method: str,
    control: Any,
    rtol: float | None,
    n: int,
    max_n: int,
    root: int,
    runner: Runner | None,
) -> SlicedWasserstein:
    """Estimate from directions drawn at random."""
    p = pair.p
    sizes = _looks(n, n if rtol is None else max_n)
    run = _Run(pair, root, runner)
    status: Status = "completed" if rtol is None else "budget"
    for size in sizes:
        planned = lay_out(method, size, pair.ndim, pair.n)
        if size > n and run.total_after(planned) > max_n:
            break
        design = run.advance(planned)
        controls = PairControls(pair, root, design.n, run.theta, run.forms)
        outcome, described = combine(run.f, run.theta, design, control, controls)
        half = half_width(np.sqrt(outcome.variance), outcome.df, 1 - (1 - _LEVEL) / len(sizes))
        # |d SW_p| = SW_p |d power| / (p power), to first order.
        if rtol is not None and half <= rtol * p * outcome.mean:
            status = "converged"
            break
    return report(
        outcome, described, run.f, run.theta, design, p, root, status, discarded=run.discarded
    )


class _Run:
    """Costs along a growing number of directions."""

    def __init__(self, pair: Pair, root: int, runner: Runner | None) -> None:
        self._pair, self._root, self._runner = pair, root, runner
        self._design = Design("none", pair.ndim, ())
        self._drawn = 0  # sets so far: every set has a random stream of its own
        # In high dimension the moments of the projections come with the costs.
        self._with_forms = pair.ndim > MATRIX_DIM
        self._evaluate = pair.costs_and_forms if self._with_forms else pair.costs
        self.theta = np.empty((0, pair.ndim))
        self._values = np.empty((4 if self._with_forms else 1, 0))
        self.discarded = 0

    @property
    def f(self) -> FloatArray:
        """Costs, shape (n,)."""
        return np.asarray(self._values[0])

    @property
    def forms(self) -> Forms | None:
        """Moments of the projections, where they came with the costs."""
        return Forms(*self._values[1:]) if self._with_forms else None

    def total_after(self, design: Design) -> int:
        """Directions evaluated in all, once `design` is done."""
        return self.discarded + design.n + (0 if design.extends(self._design) else len(self.f))

    def advance(self, design: Design) -> Design:
        """Add sets until there are as many as `design` asks for, and return it."""
        first = self._design.replicates
        if not design.extends(self._design):
            # Larger sets are better by more than what starting afresh costs.
            self.discarded += len(self.f)
            self.theta, self._values = self.theta[:0], self._values[:, :0]
            first = 0
        added = design.draw(self._root, first, self._drawn)
        self._drawn += design.replicates - first
        self.theta = np.concatenate([self.theta, added])
        values = costs_by_blocks(self._evaluate, added, self._pair.n, self._runner)
        self._values = np.concatenate([self._values, np.atleast_2d(values)], axis=1)
        self._design = design
        return design


def _looks(first: int, most: int) -> list[int]:
    """Numbers of directions at which to look: doubling from the first, up to `most`."""
    looks = [first]
    while looks[-1] * 2 <= most:
        looks.append(looks[-1] * 2)
    return looks


def as_exponent(p: Any) -> float:
    """Return p as a float from 1 to 100, beyond which powers overflow and W_p is the maximum."""
    value = as_number("p", p)
    if not 1 <= value <= _HIGHEST_EXPONENT:
        raise ValueError(
            f"p must be a number of at least 1 (and at most {_HIGHEST_EXPONENT:g}), got {p!r}."
        )
    return value


def check_control(control: Any) -> None:
    """Refuse what is neither a name nor a control."""
    if isinstance(control, LinearControl) and control.needs_score:
        raise TypeError(f"directions have no score, which {control!r} needs.")
    if control is None or isinstance(control, LinearControl):
        return
    if not isinstance(control, str):
        raise TypeError(
            f"control must be a name, None or a linear control of mcvar.control, got {control!r}."
        )
    known_name("control", control, CONTROLS)


def exact_distance(pair: Pair, root: int, runner: Runner | None) -> SlicedWasserstein:
    """Return the distance without error, in d = 1 or for a small planar pair."""
    if pair.ndim == 1:
        theta, weights = np.ones((1, 1)), np.ones(1)
    else:
        theta, weights = exact.circle_rule(pair)
    return without_error(
        costs_by_blocks(pair.costs, theta, pair.n, runner), weights, theta, pair.p, root
    )


def without_error(
    f: FloatArray, weights: FloatArray, theta: FloatArray, p: float, root: int
) -> SlicedWasserstein:
    """Put an exact average of costs into a result."""
    power = {
        "value": float(weights @ f),
        "standard_error": 0.0,
        "n": len(f),
        "ess": float("inf"),
        "variance_reduction": float("inf"),
        "seed": root,
    }
    return assemble(power, p, theta, f, "exact")


def combine(
    f: FloatArray, theta: FloatArray, design: Design, control: Any, controls: PairControls
) -> tuple[Crossfit, str]:
    """Average costs over directions with a control; return the outcome and its description."""
    if isinstance(control, str) and control == "auto":
        outcome = crossfit(f, theta, design.sizes, _choices(len(f), design, controls))
        return outcome, Counter(outcome.names).most_common(1)[0][0]
    feature = _named(control, controls)
    if feature is None or design.replicates == 1:
        return crossfit(f, theta, design.sizes, (Choice(),)), "none"
    return _with_feature(f, theta, design, feature), feature.name


def _choices(n: int, design: Design, controls: PairControls) -> tuple[Choice, ...]:
    """What "auto" chooses among, from the simplest to the richest."""
    p = controls.pair.p
    if design.d > MATRIX_DIM and p != 2:
        if n < _FEWEST_FITTED:
            return (Choice(),)
        return Choice(), Choice((controls.quadratic(),))
    high = design.d > _REFERENCE_DIM
    gaussian = controls.expanded() if high else controls.gaussian(chosen=True)
    if n < _FEWEST_FITTED:
        return Choice(), Choice(fixed=gaussian)
    choices = [Choice(), Choice(fixed=gaussian), Choice((gaussian,))]
    # Low harmonics take up what a good set integrates anyway, so that the coefficients of the
    # other controls are judged by what the set does not.
    if design.d == 3:
        low = controls.harmonics(4 if n >= 48 else 2)
    elif design.d == 2:
        low = controls.harmonics(6 if n >= 48 else 2)
    else:
        low = controls.quadratic()
    choices += [Choice((low,)), Choice((low,), gaussian), Choice((low, gaussian))]
    cumulants = controls.cumulants(chosen=True)
    if cumulants is not None:
        choices += [Choice((gaussian, cumulants)), Choice((low, gaussian, cumulants))]
    return tuple(choices)


def _named(control: Any, controls: PairControls) -> Feature | None:
    if control is None:
        return None
    if isinstance(control, str):
        makers: dict[str, Callable[[], Feature | None]] = {
            "full": controls.gaussian,
            "lower": lambda: controls.gaussian("lower"),
            "upper": lambda: controls.gaussian("upper"),
            "harmonics": lambda: controls.harmonics(4 if controls.pair.ndim <= 3 else 2),
            "cumulants": controls.cumulants,
        }
        feature = makers[control]()
        if feature is None:
            raise ValueError(f"control={control!r} needs d <= 24, got d={controls.pair.ndim}.")
        return feature
    return controls.given(control)


def _with_feature(f: FloatArray, theta: FloatArray, design: Design, feature: Feature) -> Crossfit:
    """Least squares on one group of features, cross-fitted, as for any linear control."""
    columns = feature.centred(theta)
    if len(f) < columns.shape[1] + 3:
        raise ValueError(
            f"{len(f)} directions are too few for {columns.shape[1]} control features; expected "
            f"n >= {columns.shape[1] + 3}."
        )
    values = f[:, np.newaxis]
    if max(design.sizes) == 1:
        parts = [Moments.of(values[i::_FOLDS], columns[i::_FOLDS]) for i in range(_FOLDS)]
        parts = [part for part in parts if part.n > 0]
        combined = independent(parts)
    else:
        ends = np.cumsum(design.sizes)[:-1]
        split = zip(np.split(values, ends), np.split(columns, ends), strict=True)
        combined = replicates([Moments.of(v, c) for v, c in split])
    # The error of an expectation taken over reference directions comes on top.
    whole = Moments.of(values, columns)
    beta = whole.coefficients()[:, 0]
    extra = float(beta @ feature.covariance @ beta)
    return Crossfit(
        float(combined.mean[0]),
        float(combined.variance[0]) + extra,
        combined.df,
        float(f.var(ddof=1)),
        (feature.name,),
    )


def report(
    outcome: Crossfit,
    described: str,
    f: FloatArray,
    theta: FloatArray,
    design: Design,
    p: float,
    root: int,
    status: Status,
    *,
    discarded: int = 0,
) -> SlicedWasserstein:
    """Put the outcome of `combine` into a result; `discarded` costs were spent on earlier looks."""
    reasons = []
    n = len(f) + discarded
    if design.replicates < 2:
        status = "suspect"
        reasons.append("one direction has no spread, so there is no error bar; raise n.")
    elif status == "budget":
        reasons.append(f"{n} directions did not reach the tolerance; raise max_n.")
    error = float(np.sqrt(outcome.variance))
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = float(np.float64(outcome.plain_variance) / n / outcome.variance)
    power = {
        "value": outcome.mean,
        "standard_error": error,
        "n": n,
        "df": float(max(outcome.df, 1)),
        "ess": float(n),
        "variance_reduction": 1.0 if np.isnan(gain) and error == 0 else gain,
        "status": status,
        "reasons": tuple(reasons),
        "control": described,
        "seed": root,
    }
    return assemble(power, p, theta, f, str(design))
