"""Simulators and proposals that the tests of the safety package share."""

import functools

import numpy as np

from mcvar import safety


class Distorted:
    """The exact surrogate of a gap chain, bent by a power, and deaf to gaps below `deaf`."""

    version = "distorted"

    def __init__(self, chain, power=0.7, deaf=0):
        self._exact, self._power, self._deaf = chain.surrogate, power, deaf

    def batch(self, states):
        q = self._exact.batch(states) ** self._power
        q[states[:, 0] < self._deaf] = 0.0
        return q

    def __call__(self, state, a):
        return self.batch(np.asarray([state], dtype=float))[0][a]


class Corridor:
    """The gap chain with reset and step, one scenario at a time."""

    version = "corridor 1"

    def __init__(self, chain=None):
        self.chain = chain or safety.GapChain()

    def reset(self, rng):
        self._gap, self._t = self.chain.start, 0
        return [self._gap, self._t]

    def step(self, action):
        self._gap = int(np.clip(self._gap + self.chain.moves[action], 0, self.chain.size))
        self._t += 1
        crash = self._gap == 0
        return [self._gap, self._t], crash or self._t == self.chain.steps, crash


class Troubled(Corridor):
    """Goes wrong in scenarios whose number is in `bad`, known by the seed of their generator."""

    version = "troubled 1"

    def __init__(self, how, every=5):
        super().__init__()
        self.how, self.every = how, every

    def reset(self, rng):
        self._bad = int(rng.integers(1 << 30)) % self.every == 0
        return super().reset(rng)

    def step(self, action):
        if self._bad and self._t == 1:
            if self.how == "raises":
                raise RuntimeError("the engine is on fire")
            if self.how == "hangs":
                import time

                time.sleep(60)
            if self.how == "dies":
                import os

                os._exit(3)
            if self.how == "nan":
                return [np.nan, 2.0], False, False
            if self.how == "shape":
                return [1.0], False, False
        return super().step(action)


def proposal_of(chain, *surrogates, **options):
    return safety.AdversarialProposal(
        chain.actions, surrogates or [chain.surrogate], **({"epsilon": 0.3} | options)
    )


def sample_of(chain, proposal, n, seed):
    from mcvar.safety.weights import weigh

    batch = safety.Batch(proposal, seed, range(n))
    chain(batch)
    return weigh(batch.records(), proposal.shares, proposal.threshold)


class AsEstimate:
    """A crash rate where the harness expects an estimate."""

    def __init__(self, rate):
        self.value, self._rate = rate.value, rate

    def confidence_interval(self, level):
        return self._rate.confidence_interval(level)


def runs_of(chain, proposal, control, n=1000, **options):
    """Return ``run(seed)`` for the harness."""
    from mcvar.safety.estimation import estimate_rate

    @functools.cache
    def run(seed):
        return AsEstimate(estimate_rate(sample_of(chain, proposal, n, seed), control, **options))

    return run
