"""Assigning draws that exist to folds for cross-fitting."""

import numpy as np

from mcvar._typing import IntArray
from mcvar.draws import Draws
from mcvar.integrate import combine


def fold_labels(draws: Draws, folds: int) -> IntArray:
    """Assign draws to folds: replicates whole, chains in contiguous blocks, others in turn.

    Chains that repeat a point (rejected proposals) keep the repeats in one fold where they are
    neighbours, as contiguous blocks do.
    """
    if folds == 1:
        return np.zeros(draws.n, dtype=np.int64)
    if draws.n < 2 * folds:
        raise ValueError(
            f"{draws.n} draws are too few for {folds} folds; expected at least {2 * folds}, or "
            f"folds of at most {draws.n // 2}."
        )
    if draws.replicate is not None:
        return np.unique(draws.replicate, return_inverse=True)[1] % combine.MOST_FOLDS
    if draws.chain is None:
        # In turn rather than in blocks: draws that were sorted stay comparable across folds.
        return np.arange(draws.n) % folds
    labels = np.empty(draws.n, dtype=np.int64)
    for chain in np.unique(draws.chain):
        rows = np.flatnonzero(draws.chain == chain)
        labels[rows] = np.arange(len(rows)) * folds // len(rows)
    return labels
