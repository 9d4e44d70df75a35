"""Elastic-net paths by coordinate descent on moments."""

import numpy as np

from mcvar._jit import kernel


# f8[:, ::1](f8[:, ::1], f8[::1], f8[::1], f8, f8, i8)
@kernel()
def elastic_net_path(gram, cross, penalties, l1_ratio, tolerance, max_sweeps):
    """Minimise b'Gb/2 − c'b + λ(r |b|₁ + (1 − r) |b|²/2) for decreasing λ.

    Each penalty starts from the solution of the one before. Sweeps over the coordinates that are
    not zero alternate with sweeps over all, until one of these changes nothing.

    Parameters
    ----------
    gram : ndarray, shape (k, k)
        G, symmetric.
    cross : ndarray, shape (k,)
        c.
    penalties : ndarray, shape (p,)
        λ, decreasing.
    l1_ratio : float
        r.
    tolerance : float
        Largest decrease G_jj (Δb_j)² of a sweep that counts as no change.
    max_sweeps : int
        Sweeps a penalty may take.

    Returns
    -------
    ndarray, shape (p, k)
    """
    k = len(cross)
    path = np.empty((len(penalties), k))
    b = np.zeros(k)
    gradient = cross.copy()
    for step, penalty in enumerate(penalties):
        absolute, square = penalty * l1_ratio, penalty * (1 - l1_ratio)
        everyone = True
        for _ in range(max_sweeps):
            most = 0.0
            for j in range(k):
                own = gram[j, j]
                if own <= 0.0 or (b[j] == 0.0 and not everyone):
                    continue
                before = b[j]
                pull = gradient[j] + own * before
                if pull > absolute:
                    b[j] = (pull - absolute) / (own + square)
                elif pull < -absolute:
                    b[j] = (pull + absolute) / (own + square)
                else:
                    b[j] = 0.0
                change = b[j] - before
                if change != 0.0:
                    row = gram[j]
                    for i in range(k):
                        gradient[i] -= row[i] * change
                    most = max(most, own * change * change)
            if most <= tolerance:
                if everyone:
                    break
                everyone = True
            else:
                everyone = False
        path[step] = b
    return path
