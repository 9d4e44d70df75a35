"""Choosing challenging actions, and the likelihood ratios that undo the choice.

Notation: p naturalistic probabilities of A actions, Q_j(s, a) the challenge of surrogate j,
V_j(s) = Σ p Q_j its criticality, q_j the proposal that surrogate j asks for, L_j = Π q_j / p.
"""

import numpy as np

from mcvar._jit import kernel

GOOD, BAD_PROBABILITY, BAD_SUM, BAD_CHALLENGE = 0, 1, 2, 3
_SUM_TOLERANCE = 1e-6


@kernel(nogil=True)
def choose(p, challenge, epsilon, component, u, threshold, action, taken):
    """Sample one action a row from the proposal of its component; describe what was taken.

    Where `action` is not negative already, that one is described and none is sampled.

    (float64[:, :] (m, A), float64[:, :, :] (m, J, A), float64[:] (m,), int64[:] (m,),
     float64[:] (m,), float64, int64[:] (m,) inout, float64[:, :] (m, 1 + 4 J) out)
    -> (error code, row, index of action)

    Component 0 is naturalistic; component j follows q_j. Columns of `taken`: p of the action;
    q_j of it; Q_j of it; V_j; variance of Q_j under p.
    """
    m, n_actions = p.shape
    n_surrogates = challenge.shape[1]
    for i in range(m):
        total = 0.0
        for a in range(n_actions):
            x = p[i, a]
            if not x >= 0.0:
                return BAD_PROBABILITY, i, a
            total += x
        if not abs(total - 1.0) <= _SUM_TOLERANCE:
            return BAD_SUM, i, 0
        critical = False
        for j in range(n_surrogates):
            mean = 0.0
            square = 0.0
            for a in range(n_actions):
                x = challenge[i, j, a]
                if not (x >= 0.0 and x <= 1.0):
                    return BAD_CHALLENGE, i, j * n_actions + a
                mean += p[i, a] * x
                square += p[i, a] * x * x
            taken[i, 1 + 2 * n_surrogates + j] = mean
            taken[i, 1 + 3 * n_surrogates + j] = max(square - mean * mean, 0.0)
            critical = critical or mean > threshold
        e = epsilon[i]
        chosen = action[i]
        if chosen < 0:
            c = component[i] - 1
            challenged = False
            v = 1.0
            if critical and c >= 0:
                v = taken[i, 1 + 2 * n_surrogates + c]
                challenged = v > 0.0
            left = u[i] * total
            for a in range(n_actions):
                x = p[i, a]
                if challenged:
                    x *= e + (1.0 - e) * (challenge[i, c, a] / v)
                if x > 0.0:
                    chosen = a  # the last possible action takes what rounding leaves
                    left -= x
                    if left < 0.0:
                        break
            action[i] = chosen
        taken[i, 0] = p[i, chosen]
        for j in range(n_surrogates):
            v = taken[i, 1 + 2 * n_surrogates + j]
            ratio = 1.0
            if critical and v > 0.0:
                ratio = e + (1.0 - e) * (challenge[i, j, chosen] / v)
            taken[i, 1 + j] = p[i, chosen] * ratio
            taken[i, 1 + n_surrogates + j] = challenge[i, j, chosen]
    return GOOD, 0, 0


@kernel(nogil=True)
def accumulate(start, taken, share, threshold, weight, ratio, ordinal, value, missed, critical):
    """Weights and controls of n scenarios from their logged steps.

    (int64[:] (n + 1,), float64[:, :] (steps, 1 + 4 J), float64[:] (J + 1,), float64,
     float64[:] (n,) out, float64[:, :] (n, J + 1) out, float64[:, :, :] (n, J, K) out,
     float64[:, :] (n, J) out, float64[:, :] (n, J) out, int64[:] (n,) out) -> None

    `share` are the shares of the components, the naturalistic one first. Steps of scenario i are
    rows start[i] .. start[i + 1] of `taken`, laid out as by `choose`.
    """
    n = len(weight)
    n_surrogates = len(share) - 1
    n_ordinals = ordinal.shape[2]
    log_likelihood = np.empty(n_surrogates)  # log L_j
    lean = np.empty(n_surrogates)  # L_j over the mixture's
    log_share = np.log(share)
    for i in range(n):
        log_likelihood[:] = 0.0
        lean[:] = 1.0
        before = 0.0  # log of the mixture's L
        k = 0
        value[i] = 0.0
        missed[i] = 0.0
        ordinal[i] = 0.0
        for s in range(start[i], start[i + 1]):
            is_critical = False
            for j in range(n_surrogates):
                is_critical = is_critical or taken[s, 1 + 2 * n_surrogates + j] > threshold
            after = before
            if is_critical:
                largest = log_share[0]
                for j in range(n_surrogates):
                    log_likelihood[j] += np.log(taken[s, 1 + j] / taken[s, 0])
                    largest = max(largest, log_share[j + 1] + log_likelihood[j])
                total = np.exp(log_share[0] - largest)
                for j in range(n_surrogates):
                    total += np.exp(log_share[j + 1] + log_likelihood[j] - largest)
                after = largest + np.log(total)
            rho = np.exp(before - after)  # p / q of this action, given the history
            w = np.exp(-before)
            for j in range(n_surrogates):
                q_taken = taken[s, 1 + n_surrogates + j]
                value[i, j] += w * (rho * q_taken - taken[s, 1 + 2 * n_surrogates + j])
                if is_critical:
                    now = np.exp(log_likelihood[j] - after)
                    if n_ordinals > 0:
                        # Equals lean (q_j / q - 1), a martingale difference.
                        ordinal[i, j, min(k, n_ordinals - 1)] += now - lean[j]
                    lean[j] = now
                else:
                    missed[i, j] += w * w * taken[s, 1 + 3 * n_surrogates + j]
            before = after
            k += is_critical
        weight[i] = np.exp(-before)
        ratio[i, 0] = weight[i] - 1.0
        for j in range(n_surrogates):
            ratio[i, j + 1] = lean[j] - 1.0
        critical[i] = k
