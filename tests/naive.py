"""Slow, obvious twins of what the package computes fast."""

import itertools
from math import factorial, gamma, sqrt

import numpy as np
from scipy import special, stats


def moments(values, features):
    """n, means, centred sums of squares, of cross products and of feature products, in loops."""
    rows = np.column_stack([values, features])
    n, p = rows.shape
    m = values.shape[1]
    mean = np.array([sum(float(v) for v in rows[:, j]) / n for j in range(p)])
    products = np.zeros((p, p))
    for row in rows:
        for i in range(p):
            for j in range(p):
                products[i, j] += (row[i] - mean[i]) * (row[j] - mean[j])
    return n, mean, products[:m, :m], products[m:, :m], products[m:, m:]


def cross_fit(values, features, labels):
    """Mean and standard error of out-of-fold residuals, by ``numpy.linalg.lstsq`` per fold.

    Features have expectation zero. The variance is pooled within folds, on n − folds degrees of
    freedom.
    """
    n = len(values)
    folds = np.unique(labels)
    mean, squares = 0.0, 0.0
    for fold in folds:
        inside = labels == fold
        others = np.column_stack([np.ones((~inside).sum()), features[~inside]])
        beta = np.linalg.lstsq(others, values[~inside], rcond=None)[0][1:]
        residual = values[inside] - features[inside] @ beta
        mean = mean + residual.sum(axis=0) / n
        squares = squares + ((residual - residual.mean(axis=0)) ** 2).sum(axis=0)
    return mean, np.sqrt(squares / (n - len(folds)) / n)


def replicate_cross_fit(values, features, labels):
    """Mean and standard error over replicates whose slopes come from within the others."""
    means = []
    for label in np.unique(labels):
        inside = labels == label
        others = [labels == other for other in np.unique(labels) if other != label]
        pooled = ~inside
        x = features[pooled] - features[pooled].mean(axis=0)
        y = values[pooled] - values[pooled].mean(axis=0)
        assert others
        beta = np.linalg.lstsq(x, y, rcond=None)[0]
        means.append((values[inside] - features[inside] @ beta).mean(axis=0))
    means = np.stack(means)
    return means.mean(axis=0), means.std(axis=0, ddof=1) / sqrt(len(means))


def sfc64_uniforms(seed, n, d):
    """The same uniforms from NumPy, shape (n, d)."""
    return np.random.Generator(np.random.SFC64(seed)).random((n, d))


def sobol(d, n):
    """SciPy's unscrambled Sobol' points, shape (n, d)."""
    # SciPy warns where n is no power of two.
    return stats.qmc.Sobol(d, scramble=False, bits=32).random(1 << (n - 1).bit_length())[:n]


def lattice(vector, shift, start, n):
    """Points of a shifted and folded lattice sequence in Python's whole numbers, shape (n, d)."""
    points = []
    for index in range(start, start + n):
        reverse = int(f"{index:063b}"[::-1], 2) << 1
        row = []
        for z, s in zip(vector, shift, strict=True):
            word = (reverse * int(z) + int(s)) % 2**64
            u = ((word >> 12) + 0.5) / 2**52
            row.append(1 - abs(2 * u - 1))
        points.append(row)
    return np.array(points)


def separable_map(start, slope, u):
    """Point and weight of one uniform after another; all arrays are dimension-major."""
    d, n = u.shape
    bins = start.shape[1] - 1
    x, weight = np.empty((d, n)), np.ones(n)
    for i in range(n):
        for j in range(d):
            k = min(int(u[j, i] * bins), bins - 1)
            t = u[j, i] * bins - k
            g0, g1 = slope[j, k], slope[j, k + 1]
            # The integral of a slope that is linear within a bin of width 1/bins.
            x[j, i] = start[j, k] + (g0 * t + (g1 - g0) * t * t / 2) / bins
            weight[i] *= g0 + (g1 - g0) * t
    return x, weight


def orthonormal(name, parameters, degree, t):
    """Orthonormal polynomial of one degree from SciPy's classical ones."""
    if name == "legendre":
        return special.eval_legendre(degree, t) * sqrt(2 * degree + 1)
    if name == "hermite":
        return special.eval_hermitenorm(degree, t) / sqrt(factorial(degree))
    if name == "laguerre":
        (alpha,) = parameters
        norm = gamma(degree + alpha + 1) / factorial(degree) / gamma(alpha + 1)
        return (-1) ** degree * special.eval_genlaguerre(degree, alpha, t) / sqrt(norm)
    a, b = parameters
    nodes, weights = special.roots_jacobi(degree + 2, a, b)
    norm = (weights * special.eval_jacobi(degree, a, b, nodes) ** 2).sum() / weights.sum()
    return special.eval_jacobi(degree, a, b, t) / sqrt(norm)


def total_degree(ndim, degree):
    """Every non-constant product up to a total degree, as sorted tuples of dimensions."""
    return {
        index
        for total in range(1, degree + 1)
        for index in itertools.combinations_with_replacement(range(ndim), total)
    }


def stratified(values, strata):
    """Mean and standard error of a proportionally stratified sample, stratum by stratum."""
    n = len(values)
    variance = 0.0
    for label in np.unique(strata):
        inside = values[strata == label]
        share = len(inside) / n
        variance += share**2 * inside.var(ddof=1) / len(inside)
    return values.mean(), sqrt(variance)


def lag_window(values, chain):
    """Mean of chains and its standard error, by Geyer's initial monotone sequence, in loops."""
    n = len(values)
    chains = [values[chain == label] - values.mean() for label in np.unique(chain)]

    def autocovariance(lag):
        return sum(float(c[i] * c[i + lag]) for c in chains for i in range(len(c) - lag)) / n

    last = max(len(c) for c in chains) // 2 // 2 * 2
    total, least = -autocovariance(0), np.inf
    for lag in range(0, last, 2):
        pair = autocovariance(lag) + autocovariance(lag + 1)
        if pair <= 0:
            break
        least = min(least, pair)
        total += 2 * least
    return values.mean(), sqrt(total / (n - 1))


def langevin_features(x, s, indices):
    """ΔP + s·∇P of monomials, from derivatives taken one power at a time."""
    n, d = x.shape
    out = np.zeros((n, len(indices)))
    for column, index in enumerate(indices):
        powers = [index.count(j) for j in range(d)]

        def monomial(row, exponents):
            return np.prod([row[j] ** e for j, e in enumerate(exponents)])

        for i, row in enumerate(x):
            for j, power in enumerate(powers):
                lower = [e - (a == j) for a, e in enumerate(powers)]
                lowest = [e - 2 * (a == j) for a, e in enumerate(powers)]
                if power >= 1:
                    out[i, column] += s[i, j] * power * monomial(row, lower)
                if power >= 2:
                    out[i, column] += power * (power - 1) * monomial(row, lowest)
    return out


def elastic_net(gram, cross, penalties, l1_ratio, sweeps=300):
    """Coordinate descent from zero for every penalty, all coordinates in every sweep."""
    out = []
    for penalty in penalties:
        b = np.zeros(len(cross))
        for _ in range(sweeps):
            for j in range(len(b)):
                pull = cross[j] - sum(gram[j, i] * b[i] for i in range(len(b)) if i != j)
                shrunk = np.sign(pull) * max(abs(pull) - penalty * l1_ratio, 0)
                b[j] = shrunk / (gram[j, j] + penalty * (1 - l1_ratio))
        out.append(b)
    return np.array(out)


def group_elastic_net(grams, cross, penalty, l1_ratio, steps=4000):
    """Proximal gradient from zero: a step downhill, then every block shrunk towards zero."""
    size = max(np.linalg.eigvalsh(gram)[-1] for gram in grams) + penalty
    b = np.zeros_like(cross)
    for _ in range(steps):
        slope = np.stack([g @ c for g, c in zip(grams, b, strict=True)]) - cross
        b = b - (slope + penalty * (1 - l1_ratio) * b) / size
        for j in range(b.shape[1]):
            norm = np.linalg.norm(b[:, j])
            b[:, j] *= max(1 - penalty * l1_ratio / size / norm, 0) if norm > 0 else 0
    return b
