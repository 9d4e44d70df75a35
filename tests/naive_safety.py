"""Slow obvious twins of what the safety package computes."""

import itertools

import numpy as np


def gap_chain_moments(chain, proposal):
    """Exact E[W 1{crash}] and E[W²1{crash}] by walking through every action sequence."""
    rate = square = 0.0
    for path in itertools.product(range(4), repeat=chain.steps):
        gap, p, q = chain.start, 1.0, np.ones(len(proposal.surrogates) + 1)
        for t, a in enumerate(path):
            state = [gap, t]
            pa = chain.actions(state)
            p *= pa[a]
            q[0] *= pa[a]
            challenge = [np.asarray(s(state, np.arange(4))) for s in proposal.surrogates]
            v = [pa @ c for c in challenge]
            critical = max(v) > proposal.threshold
            for j, c in enumerate(challenge):
                e = proposal.epsilon[0]
                own = (1 - e) * pa[a] * c[a] / v[j] + e * pa[a] if critical and v[j] > 0 else pa[a]
                q[j + 1] *= own
            gap = int(np.clip(gap + chain.moves[a], 0, chain.size))
            if gap == 0:
                break
        else:
            t = chain.steps - 1
        if gap == 0 and all(a == 0 for a in path[t + 1 :]):  # each crashing path once
            rate += p
            square += p**2 / (proposal.shares @ q)
    return rate, square


def accumulate(taken, shares, threshold, n_ordinals):
    """Weight and controls of one scenario, straight from the definitions."""
    n_surrogates = len(shares) - 1
    likelihood = np.ones(n_surrogates)
    mixture = 1.0
    ordinal = np.zeros((n_surrogates, n_ordinals))
    value, missed = np.zeros(n_surrogates), np.zeros(n_surrogates)
    k = 0
    for row in taken:
        p, q = row[0], row[1 : 1 + n_surrogates]
        challenge, v, spread = row[1 + n_surrogates :].reshape(3, n_surrogates)
        before = mixture
        if v.max() > threshold:
            conditional = shares[0] * p + shares[1:] * likelihood @ q
            own = shares[0] + shares[1:] @ likelihood
            for j in range(n_surrogates):
                step = likelihood[j] / own * (q[j] / (conditional / own) - 1)
                ordinal[j, min(k, n_ordinals - 1)] += step
            likelihood = likelihood * q / p
            mixture = shares[0] + shares[1:] @ likelihood
            k += 1
        else:
            missed += spread / before**2
        value += (before / mixture * challenge - v) / before
    ratio = np.concatenate([[1.0], likelihood]) / mixture - 1
    return 1 / mixture, ratio, ordinal, value, missed, k
