"""VectorSteinPolynomial: its path, identities, borrowed support, estimates, wrong input."""

from functools import cache

import numpy as np
import pytest
from sklearn.linear_model import MultiTaskElasticNet, MultiTaskLasso

import mcvar
from mcvar._jit.group_descent import group_elastic_net_path
from mcvar.control import SteinPolynomial, VectorSteinPolynomial, penalties
from mcvar.control.stein_polynomial_features import langevin_indices, stein_features
from mcvar.moments import Moments
from tests import naive
from tests.harness import check_coverage, check_never_worse, check_unbiased
from tests.joint.cases import as_tasks, south

REPEATS = 60


@pytest.mark.parametrize("l1_ratio", [1.0, 0.4])
@pytest.mark.parametrize("run", [group_elastic_net_path, group_elastic_net_path.py_func])
def test_path_is_that_of_the_definition(run, l1_ratio):
    rng = np.random.default_rng(1)
    x = [rng.standard_normal((n, 6)) for n in (40, 9, 25)]
    x[1][:, 2] = 0.0  # a feature that does not vary in one task
    grams = np.stack([z.T @ z for z in x]) / 74
    cross = np.stack([z.T @ (z[:, 0] - z[:, 3] + rng.standard_normal(len(z))) for z in x]) / 74
    largest = np.linalg.norm(cross, axis=0).max() / l1_ratio
    strengths = largest * np.geomspace(1, 1e-2, 5)
    path = run(grams, cross, strengths, l1_ratio, 1e-26, 20_000)
    assert not path[0].any()
    for penalty, found in zip(strengths, path, strict=True):
        expected = naive.group_elastic_net(grams, cross, penalty, l1_ratio)
        np.testing.assert_allclose(found, expected, atol=1e-7)
    assert path[2].any()
    chosen = path[2] != 0
    chosen[1, 2] = chosen[0, 2]
    assert (chosen == chosen[0]).all()  # a feature is in for every task, or for none


@pytest.mark.parametrize("l1_ratio", [1.0, 0.5])
def test_tasks_on_the_same_draws_are_scikit_learns_multitask(l1_ratio):
    rng = np.random.default_rng(2)
    x = rng.standard_normal((80, 3))
    y = [np.exp(x[:, 0] / 2) + x[:, 1] * x[:, 2], 2 * np.exp(x[:, 0] / 2) - x[:, 1]]
    control = VectorSteinPolynomial(2, penalty=0.05, l1_ratio=l1_ratio, standardise=None)
    control.fit([x, x], y, [-x, -x])
    features = stein_features(x, -x, langevin_indices(3, 2))
    spread, units = features.std(axis=0), np.std(y, axis=1)
    z, target = (features - features.mean(axis=0)) / spread, np.stack(y, axis=1) / units
    # Scikit-learn divides by the draws, not by draws times tasks.
    options = {"tol": 1e-12, "max_iter": 100_000}
    peer = MultiTaskLasso(0.1, **options)
    if l1_ratio < 1:
        peer = MultiTaskElasticNet(0.1, l1_ratio=l1_ratio, **options)
    peer.fit(z, target)
    np.testing.assert_allclose(
        control.coef_, peer.coef_.T / spread[:, np.newaxis] * units, atol=2e-4
    )
    np.testing.assert_allclose(
        control.mean_, (peer.intercept_ - features.mean(axis=0) / spread @ peer.coef_.T) * units,
        atol=2e-4,
    )  # fmt: skip


@pytest.mark.parametrize("degree", [1, 3])
@pytest.mark.parametrize("l1_ratio", [1.0, 0.5])
def test_one_task_equals_the_scalar_control(degree, l1_ratio):
    x, y, s = south(3, (60, 20), dimensions=2)
    joint = VectorSteinPolynomial(degree, l1_ratio=l1_ratio)
    scalar = joint.scalar()
    assert isinstance(scalar, SteinPolynomial)
    values = y[0] / y[0].std()  # the squares of an elastic net depend on the unit
    joint.fit(x[:1], [values], s[:1])
    scalar.fit(x[0], values, s[0])
    np.testing.assert_allclose(joint.coef_[:, 0], scalar.coef_, rtol=1e-9, atol=1e-12)
    assert joint.mean_[0] == pytest.approx(scalar.mean_, rel=1e-12)
    np.testing.assert_allclose(joint.predict(0, x[1], s[1]), scalar.predict(x[1], s[1]), rtol=1e-9)


def test_without_penalty_it_is_least_squares_of_every_task():
    x, _, s = south(4, (30, 12))
    y = [1 + 2 * p[:, 0] + p[:, 0] ** 2 for p in x]
    control = VectorSteinPolynomial(2, penalty=0.0).fit(x, y, s)
    np.testing.assert_allclose(control.mean_, [2.0, 2.25], rtol=2e-3)


def test_the_penalty_leaves_least_out_of_the_parts():
    rng = np.random.default_rng(5)
    x = [rng.standard_normal((n, 5)) for n in (40, 20, 6)]
    y = [z[:, [0]] - z[:, [1]] + rng.standard_normal((len(z), 1)) for z in x]
    parts = [
        [Moments.of(v[i::k], z[i::k]) for i in range(k)]
        for v, z, k in zip(y, x, (4, 4, 1), strict=True)
    ]
    strength = penalties.group_elastic_net(parts, 1.0)[1]

    def left(penalty):
        squares = 0.0
        for i in range(4):
            kept = [np.arange(len(z)) % 4 != i for z in x[:2]] + [np.full(6, True)]
            scales = [z.std(axis=0) for z in x]
            centred = [z[k] - z[k].mean(axis=0) for z, k in zip(x, kept, strict=True)]
            scaled = [z / s for z, s in zip(centred, scales, strict=True)]
            n = sum(len(z) for z in scaled)
            grams = np.stack([z.T @ z for z in scaled]) / n
            cross = np.stack([z.T @ v[k, 0] for z, v, k in zip(scaled, y, kept, strict=True)]) / n
            b = naive.group_elastic_net(grams, cross, penalty, 1.0, 1000)
            for t in range(2):
                rows = ~kept[t]
                squares += rows.sum() * (y[t][rows, 0] - x[t][rows] @ (b[t] / scales[t])).var()
        return squares

    ladder = strength * np.array([0.4, 0.7, 1.0, 1.4, 2.5])
    found = [left(penalty) for penalty in ladder]
    # On the grid of the path it is the best one; between its points nothing is much better.
    assert found[2] <= min(found) * (1 + 1e-3)


def test_predictions_have_the_expectation_they_state():
    x, y, s = south(6)
    control = VectorSteinPolynomial(3).fit(x, y, s)
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)
    for t, variance in enumerate((1.0, 1.25)):
        points = np.sqrt(variance) * nodes[:, np.newaxis]
        mean = weights @ control.predict(t, points, -points / variance) / weights.sum()
        assert mean == pytest.approx(control.mean_[t], abs=1e-9)


NOISE = 0.01


def sparse(seed, sizes=(120, 24), d=10):
    """Two polynomials of 65 matter, with coefficients of each task's own."""
    rng = np.random.default_rng(seed)
    x = [rng.standard_normal((n, d)) for n in sizes]
    y = [x[0][:, 0] ** 2 + x[0][:, 1], 2 * x[1][:, 0] ** 2 - x[1][:, 1] + 3]
    return x, [v + NOISE * rng.standard_normal(len(v)) for v in y], [-p for p in x]


SPARSE = np.array([1.0, 5.0])


def test_few_draws_borrow_the_support_of_many():
    joint, alone = [], []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        x = [rng.standard_normal((n, 10)) for n in (150, 24)]
        # Ten of 65 polynomials: more than 24 draws tell apart.
        y = [(p[:, :5] ** 2).sum(axis=1) + p[:, 5:].sum(axis=1) for p in x]
        s = [-p for p in x]
        joint.append(VectorSteinPolynomial(2).fit(x, y, s).mean_[1] - 5)
        alone.append(SteinPolynomial(2, "lasso").fit(x[1], y[1], s[1]).mean_ - 5)
    assert np.abs(joint).mean() < 0.2 * np.abs(alone).mean()


@cache
def run(seed):
    return mcvar.estimate_jointly(as_tasks(*sparse(seed, (36, 24), 3)), VectorSteinPolynomial(2))


def test_unbiased():
    check_unbiased(run, SPARSE, REPEATS)


def test_intervals_cover():
    check_coverage(run, SPARSE, 0.92, REPEATS)


def test_never_worse_than_plain():
    # Var(a x₁² + b x₂ + noise) = 2a² + b² and that of the noise.
    plain = np.array([3.0, 9.0]) / (36, 24)
    ratio = check_never_worse(run, SPARSE, plain, 1.0, REPEATS)
    assert (ratio < 0.1).all()


def test_guard_takes_no_control_for_noise():
    rng = np.random.default_rng(7)
    x, y, s = sparse(7, (60, 60), 4)
    joint = mcvar.estimate_jointly(
        as_tasks(x, [y[0], rng.standard_normal(60)], s), VectorSteinPolynomial(2)
    )
    assert joint.control[0] != "none"
    assert joint.variance_reduction[1] < 1.5


@pytest.mark.parametrize("folds", [2, 5])
def test_a_task_of_three_draws(folds):
    tasks = as_tasks(*sparse(8, (60, 3), 3))
    joint = mcvar.estimate_jointly(tasks, VectorSteinPolynomial(2), folds=folds)
    low, high = joint.confidence_interval()
    assert np.isfinite([*low, *high]).all()
    assert low[1] < SPARSE[1] < high[1]


def test_identical_tasks_and_values_that_do_not_vary():
    x, y, s = south(9)
    twice = VectorSteinPolynomial(2).fit([x[0]] * 2, [y[0]] * 2, [s[0]] * 2)
    assert twice.mean_[0] == twice.mean_[1]
    assert np.linalg.matrix_rank(twice.task_covariance_) == 1
    constant = VectorSteinPolynomial(2).fit(x, [y[0], np.full(30, 4.0)], s)
    assert constant.mean_[1] == 4.0


def test_describe():
    control = VectorSteinPolynomial(2, l1_ratio=0.5)
    assert control.describe() == "VectorSteinPolynomial(2, l1_ratio 0.5)"
    text = control.fit(*sparse(10)).describe()
    assert "of 65 features" in text
    assert "144 points of 2 tasks" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"degree": 0}, "degree must be at least 1"),
        ({"degree": 1000}, "makes 501500 features; at most 2000"),
        ({"penalty": -1.0}, "penalty must be a finite number >= 0"),
        ({"l1_ratio": 0.0}, r"l1_ratio must lie in \(0, 1\]"),
        ({"standardise": "cholsky"}, "did you mean 'cholesky'"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        VectorSteinPolynomial(**options).fit(*south(11, dimensions=2))


def test_wrong_samples():
    x, y, s = south(12, (8, 8))
    with pytest.raises(ValueError, match="expected a task with at least 10 draws"):
        VectorSteinPolynomial().fit(x, y, s)
    with pytest.raises(ValueError, match="task 1: grad_logpdf has shape"):
        VectorSteinPolynomial().fit(x, y, [s[0], s[1][:5]])
    with pytest.raises(ValueError, match=r"draws in \[1, 2\] dimensions"):
        VectorSteinPolynomial().fit([x[0], np.tile(x[1], 2)], y, [s[0], np.tile(s[1], 2)])
    control = VectorSteinPolynomial(penalty=0.1).fit(x, y, s)
    with pytest.raises(ValueError, match=r"task must be one of 0, \.\.\., 1, got 2"):
        control.predict(2, x[0], s[0])
    with pytest.raises(ValueError, match="X has 2 dimensions"):
        control.predict(0, np.zeros((1, 2)), np.zeros((1, 2)))
