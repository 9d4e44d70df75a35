"""Choosing how to draw, on a pilot that the estimate does not use.

Candidates are Sobol' nets and baker-transformed lattices, plain, through a trained separable map,
or through a rotation and a map. Small independent randomisations of each are drawn at four nested
sizes; the spread of their means, extrapolated, ranks the candidates. Of several components the
worst counts, relative to plain Monte Carlo with as many points. Where the integrand is so peaked
that the pilot rests on few points, spreads say nothing: there the map's gain in variance decides,
and the rest of the pilot trains the map.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mcvar._typing import FloatArray
from mcvar.samplers.base import Evaluate, Plan, Prepared, Sampler, Stream
from mcvar.samplers.lattice_vector import MOST_DIMENSIONS as MOST_LATTICE
from mcvar.samplers.montecarlo import MonteCarlo
from mcvar.samplers.qmc import MOST_DIMENSIONS as MOST_SOBOL
from mcvar.samplers.qmc import Lattice, Sobol
from mcvar.samplers.rotation import Rotation
from mcvar.samplers.separable_map import MapTraining, relative_squares
from mcvar.samplers.training import CubeIntegrand
from mcvar.targets import Target, Warp, Warped, Warping

_LEAST_REPLICATES = 6  # one of which becomes the pilot
_LEAST_N = 48  # evaluations below which draws are independent
_LEAST_PILOT_N = 2048  # evaluations below which nothing is spent on choosing
_FULL_PILOT = 10  # log2 of the pilot from which lattices and rotations are tried
_MOST_PILOT = 13
_GROUPS = 8  # independent randomisations of each candidate in the pilot
_NESTED = 4  # sizes at which their means are compared

# All in log standard deviation. A candidate must beat the plain Sobol' net by its penalty.
_LATTICE, _MAP, _ROTATION = 0.4, 0.5, 0.8
_LEAST_GAIN = 0.2  # of a map, where the pilot is short of effective points; a rotation as much more
_EXPECTED_SLOPE, _TRUST, _OCTAVES = -0.75, 0.3, 2.0  # per doubling; share of the fit; how far

_ROUNDING = 1e-15  # spread of means, relative to the largest value, below which all are exact
_EXACT = -50.0  # log standard deviation of what is exact: below any that is not

_ADDITIVE = 0.97  # share of variance in single axes beyond which nets alone do best
_FEW_EFFECTIVE = 100.0  # points that f² rests on below which spreads mislead


class Auto(Sampler):
    """Choose among quasi-Monte Carlo point sets, importance maps and rotations.

    One part in seven or so of the evaluations is a pilot; the rest, in 5 to 10 independent
    randomisations of the method chosen, makes the estimate. Below 2,048 evaluations there is no
    pilot and the method is Sobol'. Targets without a map from uniforms get independent draws.

    Examples
    --------
    A ridge off the axes, which it turns towards one of them:

    >>> import numpy as np, mcvar
    >>> est = mcvar.estimate(lambda x: np.exp(-50 * (x.sum(axis=1) - 1) ** 2), [(0, 1)] * 2,
    ...                      n=2**14, sampler="auto", control=None, rng=1)
    >>> est.sampler.split(",")[0] in ("sobol", "lattice"), est.variance_reduction > 100
    (True, True)
    """

    name: ClassVar[str] = "auto"

    def plan(self, n: int) -> Plan:
        """Lay out as Sobol' sequences do."""
        return Sobol(_LEAST_REPLICATES).plan(n)

    def open(self, target: Target, size: int, seed: np.random.SeedSequence) -> Stream:
        """Open a Sobol' stream: what is used before anything was learned."""
        return Sobol().open(target, size, seed)

    def prepare(
        self, target: Target, evaluate: Evaluate, n: int, seed: np.random.SeedSequence
    ) -> Prepared:
        """Draw the pilot and choose."""
        d = target.n_uniform
        if not 0 < d <= MOST_SOBOL or n < _LEAST_N:
            return Prepared(MonteCarlo(), target)
        log_size = (n // _LEAST_REPLICATES).bit_length() - 1
        replicates = n >> log_size
        if n < _LEAST_PILOT_N:
            return Prepared(Sobol(replicates), target)
        integrand = CubeIntegrand(target, evaluate, seed)
        choice = _Pilot(integrand, d, min(log_size, _MOST_PILOT)).choose()
        sampler = type(choice.points)(replicates - 1)
        if choice.branch is None:
            return Prepared(sampler, target, integrand.spent)
        return Prepared(
            sampler,
            Warped(target, choice.branch.warp),
            integrand.spent,
            description=f"{sampler.name}, {choice.branch.name}",
        )


@dataclass
class _Candidate:
    points: "Sobol | Lattice"
    branch: "_Branch | None"
    score: float  # predicted log standard deviation, of the worst component


class _Branch:
    """A separable map in training, in rotated coordinates or not."""

    def __init__(self, integrand: CubeIntegrand, rotation: Rotation | None) -> None:
        self._integrand = integrand
        self._rotation = rotation
        self._training: MapTraining

    @property
    def name(self) -> str:
        return "separable map" if self._rotation is None else "rotated separable map"

    @property
    def penalty(self) -> float:
        return _MAP + (0.0 if self._rotation is None else _ROTATION)

    def start(self, u: FloatArray, values: FloatArray) -> "_Branch":
        inside = u if self._rotation is None else self._rotation.inverse(u)
        self._training = MapTraining(inside, values)
        return self

    @property
    def warp(self) -> Warp:
        inner = self._training.map
        return inner if self._rotation is None else _Chain(inner, self._rotation)

    def evaluate(self, u: FloatArray) -> FloatArray:
        """Return weighted values at uniforms sent through the present map; remember them."""
        moved = self._training.map(u)
        outside = moved.u if self._rotation is None else self._rotation(moved.u).u
        values = self._integrand(outside)
        self._training.add(moved, values)
        assert moved.weights is not None
        return values * moved.weights[:, np.newaxis]

    def refit(self) -> None:
        self._training.refit()

    def predicted(self) -> float:
        """Log standard deviation relative to none, with what a map must gain to be worth it."""
        needed = _LEAST_GAIN * (1 if self._rotation is None else 2)
        return needed - self._training.log_gain()


class _Chain:
    """One warp after another."""

    def __init__(self, first: Warp, second: Warp) -> None:
        self.first, self.second = first, second
        self.n_uniform = first.n_uniform

    def __call__(self, u: FloatArray) -> Warping:
        moved = self.first(u)
        return Warping(self.second(moved.u).u, moved.weights)


class _Pilot:
    """At most 2**log_size evaluations, spent on ranking candidates and training maps."""

    def __init__(self, integrand: CubeIntegrand, d: int, log_size: int) -> None:
        self._integrand = integrand
        self._d = d
        self._full = log_size >= _FULL_PILOT
        self._first = log_size - (5 if self._full else 4)  # log2 of a randomisation's size
        self._second = log_size - (6 if self._full else 4)
        self._reference = log_size - 6  # size at which spreads are compared
        self._scale: FloatArray | None = None  # of each component: its largest magnitude,
        self._plain = np.empty(0)  # and the standard deviation of one draw in units of it

    def choose(self) -> _Candidate:
        kinds: list[Sobol | Lattice] = [Sobol()]
        if self._full and self._d <= MOST_LATTICE:
            kinds.append(Lattice())
        plain, points, values = [], [], []
        for kind in kinds:
            u = self._integrand.points(kind, 1 << self._first, _GROUPS)
            y = self._integrand(u)
            plain.append(_Candidate(kind, None, self._score(y, kind, self._first)))
            points.append(u)
            values.append(y)
        if _agree(values[0]):
            return plain[0]
        u, y = np.concatenate(points), np.concatenate(values)
        if additive_share(u, y) >= _ADDITIVE:
            return _best(plain)
        squares = relative_squares(y)
        few = squares.sum() ** 2 / float(squares @ squares) < _FEW_EFFECTIVE
        branches = [_Branch(self._integrand, None).start(u, y)]
        if self._full and self._d > 1:
            rotation = (
                Rotation.along_spread(u, np.ones(len(u)), np.sqrt(squares))
                if few
                else Rotation.along_gradient(u, y)
            )
            branches.append(_Branch(self._integrand, rotation).start(u, y))
        if few:
            return self._by_gain(kinds[0], branches)
        return self._by_spread(plain, branches)

    def _by_spread(self, plain: list[_Candidate], branches: list[_Branch]) -> _Candidate:
        candidates = list(plain)
        for branch in branches:
            for kind in [candidate.points for candidate in plain]:
                u = self._integrand.points(kind, 1 << self._second, _GROUPS)
                score = self._score(branch.evaluate(u), kind, self._second)
                candidates.append(_Candidate(kind, branch, score + branch.penalty))
            branch.refit()
        return _best(candidates)

    def _by_gain(self, kind: "Sobol | Lattice", branches: list[_Branch]) -> _Candidate:
        def train(branch: _Branch) -> None:
            branch.evaluate(self._integrand.points(kind, 1 << self._second, _GROUPS))
            branch.refit()

        for branch in branches:
            train(branch)
        best = min(branches, key=_Branch.predicted)
        if self._full:
            train(best)
            train(best)
        candidates = [_Candidate(kind, branch, branch.predicted()) for branch in branches]
        return _best([_Candidate(kind, None, 0.0), *candidates])

    def _score(self, values: FloatArray, kind: "Sobol | Lattice", log_size: int) -> float:
        """Predicted log standard deviation of a randomisation over that of one draw.

        Of all components the worst; those integrated to rounding leave nothing to improve.
        """
        if self._scale is None:
            # One scale for all candidates: squares then neither overflow nor underflow.
            self._scale = np.abs(values).max(axis=0)
            seen = self._scale > 0
            self._plain = (values[:, seen] / self._scale[seen]).std(axis=0)
        seen = self._scale > 0
        if not seen.any():
            return 0.0
        rows = (values[:, seen] / self._scale[seen]).reshape(_GROUPS, 1 << log_size, -1)
        # Both sequences are nested: their first 2**k points are a net, or a lattice, as well.
        levels = np.arange(log_size - _NESTED + 1, log_size + 1)
        spread = np.stack([rows[:, : 1 << k].mean(axis=1).std(axis=0, ddof=1) for k in levels])
        log_spread = np.log(np.maximum(spread, _ROUNDING))
        centred = levels - levels.mean()
        fitted = centred @ log_spread / (centred @ centred)
        slope = _EXPECTED_SLOPE + _TRUST * (fitted - _EXPECTED_SLOPE)
        at = self._reference + _OCTAVES - levels.mean()
        predicted = log_spread.mean(axis=0) + slope * at
        relative = predicted - np.log(np.maximum(self._plain, _ROUNDING))
        relative[predicted <= np.log(_ROUNDING)] = _EXACT
        penalty = _LATTICE if isinstance(kind, Lattice) else 0.0
        return float(relative.max()) + penalty


def _best(candidates: list[_Candidate]) -> _Candidate:
    return min(candidates, key=lambda candidate: candidate.score)


def _agree(values: FloatArray) -> bool:
    """Whether all randomisations agree to rounding, so that nothing is left to choose."""
    means = values.reshape(_GROUPS, -1, values.shape[1]).mean(axis=1)
    return bool((means.std(axis=0) <= 1e-14 * np.abs(means).max(axis=0)).all())


def additive_share(u: FloatArray, values: FloatArray) -> float:
    """Share of the variance that lies in functions of single axes, of the least additive component.

    From means over 32 bins an axis, less what noise contributes to them (a one-way analysis of
    variance per axis).
    """
    bins = 32
    n = len(u)
    centred = values - values.mean(axis=0)
    total = (centred**2).mean(axis=0)
    seen = total > 0
    if not seen.any():
        return 0.0
    centred, total = centred[:, seen], total[seen]
    share = np.zeros(len(total))
    for axis in range(u.shape[1]):
        k = np.minimum((u[:, axis] * bins).astype(np.int64), bins - 1)
        count = np.maximum(np.bincount(k, minlength=bins), 1)
        sums = np.stack([np.bincount(k, column, bins) for column in centred.T], axis=1)
        between = (sums**2 / count[:, np.newaxis]).sum(axis=0) / n
        noise = (total - between) * (bins - 1) / (n - bins)
        share += np.maximum(between - noise, 0) / total
    return float(share.min())
