"""Importance sampling from a defensive mixture."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from scipy import special

from mcvar._checks import as_finite_array, as_number
from mcvar._typing import FloatArray
from mcvar.samplers.base import (
    Evaluate,
    Plan,
    Prepared,
    Sampler,
    Stream,
    needs_uniforms,
    power_of_two_plan,
)
from mcvar.samplers.montecarlo import MonteCarlo
from mcvar.samplers.qmc import Sobol
from mcvar.samplers.training import CubeIntegrand
from mcvar.targets import (
    MixtureProposal,
    Normal,
    Target,
    Unnormalized,
    Warped,
    Warping,
    as_target,
)
from mcvar.targets.base import TINY

_TRAINING_SHARE = 8  # one evaluation in 8 trains the mixture
_MOST_TRAINING = 8192
_MOST_COMPONENTS = 4
_LEAST_DRAWS = 50  # expected of a component for its density to serve as a control
_ROUNDS = 4  # each drawn from the mixture of the round before
_FEW_HITS = 10  # per dimension: effective draws below which a power of |w f| is fitted instead
_TOO_FEW_HITS = 10  # in all, after the last round
_LEAST_DEFENSIVE = 1e-100  # one over it bounds the weights, and is squared
_POWERS = (1.0, 0.5, 0.25, 0.12, 0.06)  # of |w f|, tried in turn where hits are few


class Importance(Sampler):
    """Importance sampling from a defensive mixture with balance weights.

    With `proposals`, points are drawn from their mixture with the target itself. Without, a
    Gaussian mixture is fitted to ``|f|`` in normal coordinates on an eighth of the evaluations, in
    four rounds (scikit-learn's ``GaussianMixture``, number of components by BIC). Either way the
    component densities serve as controls, unless ``control=None``.

    Parameters
    ----------
    proposals : sequence of targets, optional
        Laws with a density, in the coordinates of the target.
    shares : array_like, optional
        Relative shares of the proposals; equal by default.
    defensive : float
        Share of the target itself in the mixture: weights never exceed 1/defensive.

    References
    ----------
    Owen & Zhou, "Safe and effective importance sampling", JASA 95 (2000); Hesterberg,
    "Weighted average importance sampling and defensive mixture distributions",
    Technometrics 37 (1995).

    Examples
    --------
    A tail probability, P(z > 4) = 3.167e-5:

    >>> import mcvar, scipy.stats
    >>> est = mcvar.estimate(lambda x: x[:, 0] > 4, scipy.stats.norm(0, 1), n=2**14, rng=1,
    ...     sampler=mcvar.samplers.Importance([scipy.stats.norm(4, 1)]))
    >>> abs(est.value / 3.167124e-05 - 1) < 0.01
    True
    """

    name: ClassVar[str] = "importance"

    def __init__(
        self,
        proposals: Sequence[Any] | None = None,
        shares: Any = None,
        defensive: float = 0.1,
    ) -> None:
        if not _LEAST_DEFENSIVE <= as_number("defensive", defensive) < 1:
            raise ValueError(f"defensive must lie strictly between 0 and 1, got {defensive}.")
        if proposals is not None and not isinstance(proposals, Sequence):
            raise TypeError(f"proposals must be a list of laws, got {proposals!r}.")
        if proposals is not None and len(proposals) == 0:
            raise ValueError("proposals is empty; leave it out to have a mixture fitted.")
        self.proposals = proposals
        self.shares = shares
        self.defensive = defensive

    def plan(self, n: int) -> Plan:
        """Lay out as Sobol' sequences do."""
        return power_of_two_plan(n)

    def open(self, target: Target, size: int, seed: np.random.SeedSequence) -> Stream:
        """Open a Sobol' stream; `prepare` has put the mixture into the target."""
        return Sobol().open(target, size, seed)

    def prepare(
        self, target: Target, evaluate: Evaluate, n: int, seed: np.random.SeedSequence
    ) -> Prepared:
        """Put the mixture between the uniforms and the target."""
        if isinstance(target, Unnormalized):
            if self.proposals is not None:
                raise TypeError("an unnormalised target has its own proposal; give it there.")
            # Its proposal is the importance law; weights are already attached.
            return Prepared(self, target)
        if self.proposals is not None:
            proposals = [as_target(proposal) for proposal in self.proposals]
            mixture = _defensive(target, proposals, self.shares, self.defensive, n)
            inner: Sampler = self if mixture.n_uniform else MonteCarlo()
            return Prepared(inner, mixture)
        needs_uniforms(self.name, target)
        return self._train(target, evaluate, min(n // _TRAINING_SHARE, _MOST_TRAINING), seed)

    def _train(
        self, target: Target, evaluate: Evaluate, n: int, seed: np.random.SeedSequence
    ) -> Prepared:
        """Fit a Gaussian mixture to |w f| in normal coordinates z = Φ⁻¹(u), in rounds."""
        d = target.n_uniform
        per_round = n // _ROUNDS
        if per_round < 16 * d:
            reason = f"{n} draws are too few to train a mixture on in {d} dimensions."
            return Prepared(Sobol(), target, warnings=(reason,))
        rng = np.random.default_rng(seed)
        integrand = CubeIntegrand(target, evaluate, seed)
        training = _MixtureTraining(d)
        warp: NormalMixtureWarp | None = None
        left = (_TRAINING_SHARE - 1) * n
        for _ in range(_ROUNDS):
            u = np.maximum(rng.random((per_round, d if warp is None else d + 1)), TINY)
            moved = u if warp is None else warp(u).u
            training.add(moved, integrand(moved), None if warp is None else warp.mixture)
            components, shares = training.fit(rng)
            if components:
                mixture = _defensive(Normal(np.zeros(d)), components, shares, self.defensive, left)
                warp = NormalMixtureWarp(mixture)
        warnings: tuple[str, ...] = ()
        if training.effective < _TOO_FEW_HITS:
            warnings = (
                f"the importance mixture rests on {training.effective:.1f} effective hits in "
                f"{integrand.spent} training draws; give proposals, or more draws.",
            )
        if warp is None:
            return Prepared(Sobol(), target, integrand.spent, warnings)
        return Prepared(self, Warped(target, warp), integrand.spent, warnings)


class _MixtureTraining:
    """Points in normal coordinates, how large |w f| is there, and where they were drawn from."""

    def __init__(self, d: int) -> None:
        self._z = np.empty((0, d))
        self._size = np.empty(0)
        # Sum over sources of (points drawn) x (density over that of the standard normal).
        self._coverage = np.empty(0)
        self._sources: list[tuple[MixtureProposal | None, int]] = []

    def add(self, u: FloatArray, values: FloatArray, source: MixtureProposal | None) -> None:
        """Add points drawn from `source`, or from the standard normal law if None."""
        z = special.ndtri(u)
        here = sum(count * _density_ratio(mixture, z) for mixture, count in self._sources)
        self._coverage = np.concatenate(
            [
                self._coverage + len(z) * _density_ratio(source, self._z),
                here + len(z) * _density_ratio(source, z),
            ]
        )
        self._sources.append((source, len(z)))
        self._z = np.concatenate([self._z, z])
        self._size = np.concatenate([self._size, _relative_size(values)])

    @property
    def effective(self) -> float:
        """Effective number of points behind |w f|."""
        return _effective(self._weights())

    def fit(self, rng: np.random.Generator) -> tuple[list[Target], FloatArray]:
        """Fit a mixture to |w f|, or to a power of it that more of the points support."""
        weights = self._weights()
        wanted = _FEW_HITS * self._z.shape[1]
        for power in _POWERS:
            tempered = weights**power
            if _effective(tempered) >= wanted:
                break
        else:
            return [], np.empty(0)
        n = len(weights)
        # Systematic resampling: scikit-learn's mixture takes no weights.
        ends = np.cumsum(tempered) / tempered.sum()
        rows = np.searchsorted(ends, (np.arange(n) + rng.random()) / n)
        return _fit_mixture(self._z[np.minimum(rows, n - 1)], _effective(tempered))

    def _weights(self) -> FloatArray:
        return self._size * len(self._size) / self._coverage


def _density_ratio(mixture: MixtureProposal | None, z: FloatArray) -> FloatArray:
    if mixture is None or not len(z):
        return np.ones(len(z))
    weights = mixture.weigh(z).weights
    assert weights is not None
    return np.asarray(1 / weights)


def _effective(weights: FloatArray) -> float:
    return float(weights.sum() ** 2 / max(float(weights @ weights), 1e-300))


class NormalMixtureWarp:
    """Moves uniforms so that their normal coordinates follow a mixture."""

    def __init__(self, mixture: MixtureProposal) -> None:
        self.mixture = mixture
        self.n_uniform = mixture.n_uniform

    def __call__(self, u: FloatArray) -> Warping:
        """Move uniforms ``u (n, d + 1)``; the first chooses the component."""
        draws = self.mixture.transport(u)
        # Φ rounds to 1 beyond 8.3 standard deviations, where the quantile functions end.
        moved = np.clip(special.ndtr(draws.x), TINY, 1 - 2.0**-53)
        return Warping(moved, draws.weights, draws.zero_mean)


def _defensive(
    target: Target, proposals: Sequence[Target], shares: Any, defensive: float, n: int
) -> MixtureProposal:
    relative = np.ones(len(proposals)) if shares is None else as_finite_array("shares", shares)
    if relative.shape != (len(proposals),) or (relative <= 0).any():
        raise ValueError(
            f"shares must be {len(proposals)} positive numbers, got {relative.tolist()}."
        )
    alphas = np.concatenate([[defensive], (1 - defensive) * relative / relative.sum()])
    return MixtureProposal(target, [_as_law(target), *proposals], alphas, _LEAST_DRAWS / n)


def _as_law(target: Target) -> Target:
    """Refuse targets without a density before any evaluation is spent."""
    if target.n_uniform:
        target.logpdf(target.from_uniform(np.full((1, target.n_uniform), 0.5)))
    return target


def _relative_size(values: FloatArray) -> FloatArray:
    """Mean over components of |w f|, each relative to its own total."""
    size = np.abs(values)
    totals = size.sum(axis=0)
    seen = totals > 0
    if not seen.any():
        return np.zeros(len(values))
    return np.asarray((size[:, seen] / totals[seen]).mean(axis=1))


def _fit_mixture(z: FloatArray, effective: float) -> tuple[list[Target], FloatArray]:
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    most = int(min(_MOST_COMPONENTS, max(1, effective / (20 * z.shape[1]))))
    with warnings.catch_warnings():
        # Any mixture is a valid proposal: one that has not quite converged will do.
        warnings.simplefilter("ignore", ConvergenceWarning)
        fits = [
            GaussianMixture(k, reg_covar=1e-2, random_state=0).fit(z) for k in range(1, most + 1)
        ]
    best = min(fits, key=lambda fit: float(fit.bic(z)))
    # A little wider than fitted: tails are what weights suffer from.
    laws: list[Target] = [
        Normal(mean, 1.2 * cov) for mean, cov in zip(best.means_, best.covariances_, strict=True)
    ]
    return laws, np.asarray(best.weights_)
