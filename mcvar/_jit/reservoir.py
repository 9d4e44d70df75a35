"""Weighted reservoir sampling in one pass, and the density of the proposal around what is kept."""

import numpy as np

from mcvar._jit import kernel


@kernel(nogil=True)
def keep(costs, ages, uniforms, decay, size, kept, weights):
    """Keep `size` of the candidates, with probabilities that grow with their weights.

    (float64[::1] (m,), int64[::1] (m,), float64[::1] (m,), float64, int64, int64[::1] (size,),
    float64[::1] (size,)) -> float64. Weights are costs · exp(−age/decay). The keys u^{1/w} of
    Efraimidis & Spirakis (2006) are compared by their logarithms; the largest stay. Writes which
    are kept and their weights, normalised, and returns their effective number.
    """
    keys = np.full(size, -np.inf)
    filled = 0
    for k in range(costs.size):
        weight = costs[k] * np.exp(-ages[k] / decay)
        key = np.log(uniforms[k]) / weight if weight > 0.0 else -np.inf
        if filled == size and key <= keys[size - 1]:
            continue
        at = filled if filled < size else size - 1
        while at > 0 and keys[at - 1] < key:
            keys[at], kept[at], weights[at] = keys[at - 1], kept[at - 1], weights[at - 1]
            at -= 1
        keys[at], kept[at], weights[at] = key, k, weight
        filled = min(filled + 1, size)
    total = weights.sum()
    if total <= 0.0:
        weights[:] = 1.0 / size
        return np.float64(size)
    squares = 0.0
    for k in range(size):
        weights[k] /= total
        squares += weights[k] ** 2
    return 1.0 / squares


@kernel(nogil=True)
def mixture_density(theta, centres, weights, stretch, out):
    """Density, relative to the uniform law, of a mixture of angular Gaussian laws of lines.

    (float64[:, ::1] (L, d), float64[:, ::1] (K, d), float64[::1] (K,), float64,
    float64[::1] (L,)) -> None. A component is the law of z/|z|, z normal with covariance
    I + (stretch² − 1) cc' around its centre c (Tyler 1987, eq. 1).
    """
    d = theta.shape[1]
    narrow = 1.0 - 1.0 / (stretch * stretch)
    for row in range(theta.shape[0]):
        total = 0.0
        for k in range(centres.shape[0]):
            cosine = 0.0
            for j in range(d):
                cosine += theta[row, j] * centres[k, j]
            total += weights[k] * (1.0 - narrow * cosine * cosine) ** (-0.5 * d)
        out[row] = total / stretch
