"""Elastic-net paths of several tasks with a common support, by block coordinate descent."""

import numpy as np

from mcvar._jit import kernel

_NEWTON_STEPS = 100


# f8[:, :, ::1](f8[:, :, ::1], f8[:, ::1], f8[::1], f8, f8, i8)
@kernel()
def group_elastic_net_path(grams, cross, penalties, l1_ratio, tolerance, max_sweeps):
    """Minimise Σ_t (b_t'G_t b_t/2 − c_t'b_t) + λ(r Σ_j |b_·j| + (1 − r) |b|²/2), λ decreasing.

    The T coefficients of a feature j are a block, of Euclidean norm |b_·j|. Each penalty starts
    from the solution of the one before; sweeps over blocks that are not zero alternate with sweeps
    over all, until one of these changes nothing.

    Parameters
    ----------
    grams : ndarray, shape (T, k, k)
        G_t, symmetric.
    cross : ndarray, shape (T, k)
        c_t.
    penalties : ndarray, shape (p,)
        λ, decreasing.
    l1_ratio : float
        r.
    tolerance : float
        Largest decrease Σ_t G_tjj (Δb_tj)² of a sweep that counts as no change.
    max_sweeps : int
        Sweeps a penalty may take.

    Returns
    -------
    ndarray, shape (p, T, k)
    """
    tasks, k = cross.shape
    path = np.empty((len(penalties), tasks, k))
    b = np.zeros((tasks, k))
    gradient = cross.copy()
    pull = np.empty(tasks)
    for step, penalty in enumerate(penalties):
        absolute, square = penalty * l1_ratio, penalty * (1 - l1_ratio)
        everyone = True
        for _ in range(max_sweeps):
            most = 0.0
            for j in range(k):
                active, size, steepest = False, 0.0, 0.0
                for t in range(tasks):
                    own = grams[t, j, j]
                    active = active or b[t, j] != 0.0
                    pull[t] = gradient[t, j] + own * b[t, j] if own > 0.0 else 0.0
                    size += pull[t] * pull[t]
                    steepest = max(steepest, own)
                if steepest <= 0.0 or not (active or everyone):
                    continue
                size = np.sqrt(size)
                norm = 0.0
                if size > absolute:
                    # The block's norm is the root of Σ_t (pull_t / (a_t norm + λr))² = 1 with
                    # a_t = G_tjj + λ(1 − r). The sum is convex and falls, so Newton's method
                    # climbs to it from the left; the start is the root where all a_t are equal.
                    norm = (size - absolute) / (steepest + square)
                    for _ in range(_NEWTON_STEPS):
                        value, slope = -1.0, 0.0
                        for t in range(tasks):
                            a = grams[t, j, j] + square
                            ratio = pull[t] / (a * norm + absolute)
                            value += ratio * ratio
                            slope += 2 * ratio * ratio * a / (a * norm + absolute)
                        if value <= 1e-14 or slope <= 0.0:
                            break
                        norm += value / slope
                moved = 0.0
                for t in range(tasks):
                    own = grams[t, j, j]
                    new = 0.0
                    if norm > 0.0 and own > 0.0:
                        new = pull[t] * norm / ((own + square) * norm + absolute)
                    change = new - b[t, j]
                    if change != 0.0:
                        b[t, j] = new
                        row = grams[t, j]
                        for i in range(k):
                            gradient[t, i] -= row[i] * change
                        moved += own * change * change
                most = max(most, moved)
            if most <= tolerance:
                if everyone:
                    break
                everyone = True
            else:
                everyone = False
        path[step] = b
    return path
