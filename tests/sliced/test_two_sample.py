"""The permutation test: its null distribution by hand, its level, its power, its errors."""

import numpy as np
import pandas as pd
import pytest

from mcvar._jit import wasserstein
from mcvar.sliced import sliced_wasserstein_distance, two_sample_test


def test_statistics_of_relabelled_points():
    rng = np.random.default_rng(0)
    values = np.sort(rng.normal(size=(4, 9)), axis=1)
    order = np.stack([rng.permutation(9) for _ in range(4)]).astype(np.int32)
    labels = np.stack([rng.permutation(np.r_[np.ones(5, int), np.zeros(4, int)]) for _ in range(3)])
    pattern = wasserstein.uniform_pattern(5, 4)
    for kernel in (wasserstein.permuted_costs, wasserstein.permuted_costs.py_func):
        for p in (1.0, 2.0, 3.0):
            found = np.zeros(3)
            kernel(values, order, labels, *pattern, p, found)
            for k in range(3):
                expected = 0.0
                for row in range(4):
                    own = labels[k][order[row]] == 1
                    x, y = values[row][own][:, None], values[row][~own][:, None]
                    expected += sliced_wasserstein_distance(x, y, p=p, n_projections=1) ** p
                assert found[k] == pytest.approx(expected, rel=1e-12)


def test_level_and_power():
    rng = np.random.default_rng(1)
    pvalues = [
        two_sample_test(*rng.normal(size=(2, 15, 3)), 39, n=8, rng=seed).pvalue
        for seed in range(400)
    ]
    # Uniform on 1/40, ..., 1: 10 % and 50 %, within 4 standard errors.
    for level in (0.1, 0.5):
        share = np.mean(np.array(pvalues) <= level + 1e-9)
        assert abs(share - level) < 4 * np.sqrt(level * (1 - level) / 400)
    x, y = rng.normal(size=(60, 8)), rng.normal(size=(50, 8)) * 1.5
    found = two_sample_test(x, y, 99, rng=0)
    assert found.pvalue == 0.01
    assert found.statistic > found.null_distribution.max()


def test_repeatable_in_any_dimension_and_drawn():
    import matplotlib as mpl

    mpl.use("Agg")
    x, y = np.random.default_rng(2).normal(size=(2, 20))
    one, two = (two_sample_test(x, y, 19, rng=3) for _ in range(2))
    np.testing.assert_array_equal(one.null_distribution, two.null_distribution)
    assert two_sample_test(x, x, 19, rng=3).pvalue == 1.0
    assert "observed" in one.plot().get_legend_handles_labels()[1][-1]


def test_bad_input():
    x = np.ones((5, 2))
    with pytest.raises(ValueError, match="at least two points of each cloud, got 1 and 5"):
        two_sample_test(x[:1], x)
    with pytest.raises(ValueError, match="n_permutations must be at least 1"):
        two_sample_test(x, x, 0)
    with pytest.raises(ValueError, match="same dimension"):
        two_sample_test(x, x[:, :1])
    with pytest.raises(ValueError, match="expected the same names"):
        two_sample_test(pd.DataFrame(x, columns=list("ab")), pd.DataFrame(x, columns=list("ac")))
