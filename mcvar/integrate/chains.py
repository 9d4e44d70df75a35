"""Error bars of Markov chains: autocovariances summed up to where they vanish in noise."""

from dataclasses import dataclass

import numpy as np
from scipy import fft, special

from mcvar._typing import FloatArray, IntArray
from mcvar.integrate.combine import Combined

_MIXING_CHANCE = 1e-3  # false-alarm probability of each test that halves of chains agree
_MOST_R_HAT = 1.2  # split R-hat beyond which chains have not mixed (Gelman et al. 2013)
_LEAST_STRETCHES = 4.0  # independent stretches of chains, below which there is no error bar
_LEAST_HALF = 10  # draws of half a chain, below which split R-hat is noise
_LEAST_PARTS = 4  # parts of the chains, over whose means an error bar is taken
_LEAST_VARIANCE = 0.05  # of an antithetic chain, relative to independent draws
_LEAST_LENGTH = 8  # of the longest chain, below which there are no lags to speak of
_COLUMNS = 16  # transformed at a time


@dataclass(frozen=True)
class ChainMean(Combined):
    """Means over chains; they span so many independent `stretches`."""

    stretches: float = np.inf


def by_label(rows: FloatArray, labels: IntArray) -> list[FloatArray]:
    """Split rows by label, in the order of labels; each part keeps the order of its rows."""
    ends = np.cumsum(np.unique(labels, return_counts=True)[1])
    return np.split(rows[np.argsort(labels, kind="stable")], ends[:-1])


def lag_window(rows: FloatArray, chain: IntArray) -> "ChainMean":
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
        few = batch_means(batches(rows, chain), False, "batches")
        return ChainMean(few.mean, few.covariance, few.df)
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
    # The relative variance of a sum of `window` autocovariances is about (4 window + 2)/n; and
    # there are no more independent squares than rows that carry them, an IACT apart.
    stretches = n / (2 * window + 1)
    df = np.minimum(max(stretches - 1, 1.0), _carrying(rows - mean, asymptotic))
    return ChainMean(mean, asymptotic / (n - 1), df, stretches=stretches)


def _carrying(centred: FloatArray, asymptotic: FloatArray) -> FloatArray:
    """Degrees of freedom (m,) of squares q over chains: (Σq)²/Σq² over the IACT, less one."""
    largest = np.abs(centred).max(axis=0)
    q = (centred / np.where(largest > 0, largest, 1.0)) ** 2
    total = q.sum(axis=0)
    variance = np.mean(centred**2, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        iact = np.maximum(np.where(variance > 0, asymptotic / variance, 1.0), 1.0)
        share = np.where(total > 0, total**2 / (q**2).sum(axis=0), len(centred))
    return np.asarray(np.maximum(share / iact - 1, 1.0))


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


def part_means(rows: FloatArray, chain: IntArray) -> Combined:
    """Means of rows (n, m) by the spread of the means of long parts of the chains."""
    parts = by_label(rows, chain)
    count = max(2, -(-_LEAST_PARTS // len(parts)))
    return batch_means(
        [part for whole in parts for part in np.array_split(whole, min(count, len(whole)))],
        False,
        "parts of chains",
    )


def mixing(rows: FloatArray, chain: IntArray) -> list[list[str]]:
    """Reasons (m,) to think that chains have not mixed, from the means of their halves.

    Three tests, of rows (n, m): halves differ more than batches inside them allow (F test); first
    and second halves differ over all chains, as where none has burnt in (z test against twice the
    error); split R-hat. And too few correlation times for any error bar.

    References
    ----------
    Gelman, Carlin, Stern, Dunson, Vehtari & Rubin, *Bayesian Data Analysis*, 3rd ed. (2013),
    section 11.4, for split R-hat.
    """
    m = rows.shape[1]
    found: list[list[str]] = [[] for _ in range(m)]
    wholes = by_label(rows, chain)
    if min(len(rows) for rows in wholes) >= _LEAST_LENGTH:
        halves = [half for whole in wholes for half in np.array_split(whole, 2)]
        between, expected, spare = _between_halves(halves)
        limit = special.fdtri(len(halves) - 1, spare, 1 - _MIXING_CHANCE)
        apart = between > expected * limit
        drift = np.mean([b.mean(axis=0) - a.mean(axis=0) for a, b in _pairs(halves)], axis=0)
        error = np.sqrt(expected * 2 / len(wholes))
        drifts = np.abs(drift) > error * special.stdtrit(spare, 1 - _MIXING_CHANCE / 2)
        r_hat = _r_hat(halves)
        for j in range(m):
            if apart[j] or r_hat[j] > _MOST_R_HAT:
                found[j].append(
                    f"means of halves of the chains differ more than their error bars allow (split "
                    f"R-hat {r_hat[j]:.2f}): the chains have not mixed."
                )
            elif drifts[j]:
                found[j].append(
                    "the second halves of the chains differ from the first: they have not burnt in."
                )
    for j in range(m):
        if found[j] or np.ptp(rows[:, j]) == 0:
            continue
        if lag_window(rows[:, j : j + 1], chain).stretches < _LEAST_STRETCHES:
            found[j].append(
                "the chains are too short for their correlation: they span fewer than 4 "
                "independent stretches."
            )
    return found


def _between_halves(halves: list[FloatArray]) -> tuple[FloatArray, FloatArray, int]:
    """Variance of the means of halves, that expected from batches inside them, and its df."""
    within, spare = [], 0
    for half in halves:
        parts = np.array_split(half, _n_batches(len(half)))
        spare += len(parts) - 1
        means = np.stack([part.mean(axis=0) for part in parts])
        within.append(means.var(axis=0, ddof=1) / len(parts))
    between = np.var([half.mean(axis=0) for half in halves], axis=0, ddof=1)
    return np.asarray(between), np.asarray(np.mean(within, axis=0)), spare


def _r_hat(halves: list[FloatArray]) -> FloatArray:
    length = float(np.mean([len(half) for half in halves]))
    if length < _LEAST_HALF:
        return np.ones(halves[0].shape[1])
    within = np.mean([half.var(axis=0, ddof=1) for half in halves], axis=0)
    between = np.var([half.mean(axis=0) for half in halves], axis=0, ddof=1)
    safe = np.where(within > 0, within, 1.0)
    return np.where(within > 0, np.sqrt((length - 1) / length + between / safe), 1.0)


def _pairs(halves: list[FloatArray]) -> list[tuple[FloatArray, FloatArray]]:
    return list(zip(halves[::2], halves[1::2], strict=True))


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
