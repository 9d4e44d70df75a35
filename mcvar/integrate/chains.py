"""Error bars of Markov chains: autocovariances summed up to where they vanish in noise."""

import numpy as np
from scipy import fft, special

from mcvar._typing import FloatArray, IntArray
from mcvar.integrate.combine import Combined

_MIXING_CHANCE = 1e-4  # false-alarm probability of the test that chains agree
_LEAST_VARIANCE = 0.05  # of an antithetic chain, relative to independent draws
_LEAST_LENGTH = 8  # of the longest chain, below which there are no lags to speak of
_COLUMNS = 16  # transformed at a time


def by_label(rows: FloatArray, labels: IntArray) -> list[FloatArray]:
    """Split rows by label, in the order of labels; each part keeps the order of its rows."""
    ends = np.cumsum(np.unique(labels, return_counts=True)[1])
    return np.split(rows[np.argsort(labels, kind="stable")], ends[:-1])


def lag_window(rows: FloatArray, chain: IntArray) -> Combined:
    """Mean of dependent rows (n, m), its variance and degrees of freedom.

    The autocovariances, averaged over chains, are summed over the initial monotone positive
    sequence of their pairs. All chains are centred at the overall mean, so that chains which
    disagree show as correlation at every lag.

    References
    ----------
    Geyer, "Practical Markov chain Monte Carlo", Statistical Science 7 (1992), section 3.3.
    """
    mean = rows.mean(axis=0)
    parts = by_label(rows - mean, chain)
    longest = max(len(part) for part in parts)
    if longest < _LEAST_LENGTH:
        return batch_means(batches(rows, chain), False, "batches")
    n, m = rows.shape
    asymptotic, window = np.empty(m), 1
    for first in range(0, m, _COLUMNS):
        columns = slice(first, first + _COLUMNS)
        covariance = _autocovariance([part[:, columns] for part in parts]) / n
        pairs = covariance[: len(covariance) // 2 * 2].reshape(-1, 2, covariance.shape[1])
        sums = pairs.sum(axis=1)
        # Beyond the first pair that is not positive there is only noise.
        alive = np.logical_and.accumulate(sums > 0, axis=0)
        monotone = np.where(alive, np.minimum.accumulate(sums, axis=0), 0.0)
        total = 2 * monotone.sum(axis=0) - covariance[0]
        asymptotic[columns] = np.maximum(total, _LEAST_VARIANCE * covariance[0])
        window = max(window, int(np.median(2 * alive.sum(axis=0))))
    # The relative variance of a sum of `window` autocovariances is about (4 window + 2)/n.
    df = max(n / (2 * window + 1) - 1, 1.0)
    return Combined(mean, asymptotic / (n - 1), df)


def _autocovariance(parts: list[FloatArray]) -> FloatArray:
    """Sums over chains of lagged products (lags, m), for lags up to half the longest chain."""
    longest = max(len(part) for part in parts)
    lags = max(longest // 2, 2)
    products = np.zeros((lags, parts[0].shape[1]))
    for part in parts:
        size = fft.next_fast_len(2 * len(part), real=True)
        transformed = fft.rfft(part, size, axis=0)
        lagged = fft.irfft(transformed * transformed.conj(), size, axis=0)
        reach = min(lags, len(part))
        products[:reach] += lagged[:reach]
    return products


def batch_means(groups: list[FloatArray], covariance: bool, kind: str) -> Combined:
    """Spread of group means about the overall mean; groups may differ in size."""
    if len(groups) < 2:
        raise ValueError(f"one of the {kind} is not enough for an error bar; expected at least 2.")
    sizes = np.array([len(group) for group in groups], dtype=float)
    means = np.stack([group.mean(axis=0) for group in groups])
    share = sizes / sizes.sum()
    mean = share @ means
    deviation = share[:, np.newaxis] * (means - mean) * np.sqrt(len(groups) / (len(groups) - 1))
    spread = deviation.T @ deviation if covariance else np.einsum("ij,ij->j", deviation, deviation)
    return Combined(mean, spread, len(groups) - 1)


def batches(rows: FloatArray, chain: IntArray) -> list[FloatArray]:
    """Cut every chain of n rows into n^(1/3) batches, each of n^(2/3) rows."""
    return [
        batch
        for part in by_label(rows, chain)
        for batch in np.array_split(part, _n_batches(len(part)))
    ]


def _n_batches(n: int) -> int:
    return int(max(round(n ** (1 / 3)), min(n, 2)))


def chains_disagree(response: FloatArray, chain: IntArray) -> list[str]:
    """Test by an F statistic whether chain means agree with the batch means inside each chain."""
    within, means, spare = [], [], 0
    for rows in by_label(response, chain):
        if len(rows) < _LEAST_LENGTH // 2:
            return []
        parts = np.array_split(rows, _n_batches(len(rows)))
        spare += len(parts) - 1
        batch = np.stack([part.mean(axis=0) for part in parts])
        within.append(batch.var(axis=0, ddof=1) / len(parts))
        means.append(rows.mean(axis=0))
    if len(means) < 2:
        return []
    between = np.var(means, axis=0, ddof=1)
    expected = np.mean(within, axis=0)
    far = between > expected * special.fdtri(len(means) - 1, spare, 1 - _MIXING_CHANCE)
    if not far.any():
        return []
    ratio = float(np.sqrt(np.max(between[far] / np.maximum(expected[far], 1e-300))))
    return [
        f"chain means differ {ratio:.1f} times more than their error bars allow: "
        "the chains have not mixed."
    ]


def moving_sums(rows: FloatArray, window: int) -> FloatArray:
    """Sums over `window` consecutive centred rows (n, k), partial windows at the ends included.

    Products of these sums are the products of rows weighted by Bartlett's lag window: least
    squares on them minimises the asymptotic variance (β = (G'WG)⁻¹G'Wf with a triangular Toeplitz
    matrix W), and stays positive definite.
    """
    n, k = rows.shape
    padded = np.zeros((n + 2 * window - 1, k))
    padded[window : window + n] = rows - rows.mean(axis=0)
    sums = np.cumsum(padded, axis=0)
    return np.asarray((sums[window:] - sums[:-window]) / np.sqrt(window))


def correlation_length(rows: FloatArray, chain: IntArray) -> int:
    """Integrated autocorrelation time of the slowest column, in draws: from 1 to all of them."""
    variance = np.maximum(rows.var(axis=0), np.finfo(float).tiny)
    inefficiency = lag_window(rows, chain).variance * (len(rows) - 1) / variance
    return int(np.clip(inefficiency.max(), 1, len(rows)).round())
