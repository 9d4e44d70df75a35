"""The jackknife behind the error bar, against refitting by hand, and what it is for."""

import numpy as np
import pytest

import mcvar
from mcvar.control import SphericalHarmonics
from mcvar.sliced import directions
from mcvar.sliced.controls import exact
from mcvar.sliced.crossfit import Choice, _jackknife


def by_hand(f, columns, fold_of, chosen):
    """Refit without each fold, and average over the others."""
    folds = len(chosen)
    averages = []
    for out in range(folds):
        means = []
        for fold in range(folds):
            if fold == out:
                continue
            choice, train = chosen[fold], (fold_of != fold) & (fold_of != out)
            target = f if choice.fixed is None else f - columns[id(choice.fixed)][:, 0]
            own = fold_of == fold
            mean = target[own].mean()
            if choice.fitted:
                h = np.concatenate([columns[id(group)] for group in choice.fitted], axis=1)
                design = np.column_stack([np.ones(train.sum()), h[train]])
                beta = np.linalg.lstsq(design, target[train], rcond=None)[0][1:]
                mean -= h[own].mean(axis=0) @ beta
            means.append(mean)
        averages.append(np.mean(means))
    return (folds - 1) * np.var(averages)


@pytest.mark.parametrize("folds", [3, 5, 8])
def test_jackknife(folds):
    theta = directions(folds * 12, 3, "montecarlo", 0)
    f = 100 + np.exp(theta[:, 0]) ** 2
    low = exact("low", SphericalHarmonics(2), 5)
    one = exact("one", mcvar.control.GaussianSliced("lower").for_moments(
        np.ones(3), np.eye(3), np.eye(3)), 1)  # fmt: skip
    choices = [Choice((low,)), Choice(), Choice((low,), one), Choice((one,)), Choice(fixed=one)]
    chosen = [choices[k % 5] for k in range(folds)]
    columns = {id(group): group.centred(theta) for group in (low, one)}
    fold_of = np.repeat(np.arange(folds), 12)
    assert _jackknife(f, columns, fold_of, chosen) == pytest.approx(
        by_hand(f, columns, fold_of, chosen), rel=1e-6
    )


def test_jackknife_needs_three_folds_and_enough_rows():
    theta = directions(30, 3, "montecarlo", 0)
    low = exact("low", SphericalHarmonics(4), 14)
    columns = {id(low): low.centred(theta)}
    f = theta[:, 0] ** 2
    for folds in (2, 3):
        fold_of = np.arange(30) % folds
        assert _jackknife(f, columns, fold_of, [Choice((low,))] * folds) == 0


def test_two_whole_frames_by_name():
    x = np.random.default_rng(0).normal(size=(50, 8))
    est = mcvar.sliced_wasserstein(x, 2 * x + 1, n=16, method="orthogonal", rng=0)
    assert est.design == "orthogonal, 2 sets of 8"
    assert est.standard_error > 0


def test_intervals_cover_where_folds_hang_together(shapes):
    """Six sets and some twenty features: the spread of the sets alone covers nine times in ten."""
    x, y = shapes
    truth = mcvar.sliced_wasserstein(x, y, n=2**13, rng=10**6).power.value
    runs = [mcvar.sliced_wasserstein(x, y, n=128, rng=seed).power for seed in range(400)]
    spread = np.std([run.value for run in runs])
    assert np.sqrt(np.mean([run.standard_error**2 for run in runs])) > 0.95 * spread
    limits = [run.confidence_interval(0.95) for run in runs]
    covered = np.mean([low <= truth <= high for low, high in limits])
    assert covered > 0.9
