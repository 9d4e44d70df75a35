"""Penalised fits from moments: against scikit-learn on the draws themselves."""

import numpy as np
import pytest
from sklearn.linear_model import ElasticNet, Lasso, Ridge

from mcvar._jit.coordinate_descent import elastic_net_path
from mcvar.control import penalties
from mcvar.moments import Moments
from tests import naive


def sample(seed, n=150, k=8):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, k)) * np.geomspace(1, 30, k)
    x[:, 1] += 0.8 * x[:, 0]
    y = np.stack([x[:, 0] - 0.1 * x[:, 5], x[:, 2] ** 2 + x[:, 1]], axis=1)
    return x, y + 0.5 * rng.standard_normal((n, 2))


@pytest.mark.parametrize("l1_ratio", [1.0, 0.4])
@pytest.mark.parametrize("run", [elastic_net_path, elastic_net_path.py_func])
def test_path_is_that_of_the_definition_and_of_scikit_learn(run, l1_ratio):
    x, y = sample(1)
    z, target = (x - x.mean(axis=0)) / x.std(axis=0), y[:, 0] - y[:, 0].mean()
    gram, cross = z.T @ z / len(z), z.T @ target / len(z)
    strengths = np.abs(cross).max() / l1_ratio * np.geomspace(1, 1e-3, 12)
    path = run(gram, cross, strengths, l1_ratio, 1e-22, 10_000)
    assert not path[0].any()
    expected = naive.elastic_net(gram, cross, strengths, l1_ratio)
    np.testing.assert_allclose(path, expected, atol=1e-8)
    for penalty, found in zip(strengths, path, strict=True):
        fit = ElasticNet(alpha=penalty, l1_ratio=l1_ratio, tol=1e-12, max_iter=100_000)
        np.testing.assert_allclose(found, fit.fit(z, target).coef_, atol=1e-7)


def test_ridge_is_a_ridge_and_its_penalty_minimises_the_criterion():
    x, y = sample(2, n=60)
    beta = penalties.ridge(Moments.of(y, x))
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    for j in range(2):
        scores, fits = [], []
        for penalty in penalties._RIDGES:
            fit = Ridge(penalty * len(x)).fit(z, y[:, j])
            hat = z @ np.linalg.solve(z.T @ z + penalty * len(x) * np.eye(8), z.T)
            left = y[:, j] - fit.predict(z)
            scores.append(left @ left / (len(x) - 1 - np.trace(hat)) ** 2)
            fits.append(fit.coef_ / x.std(axis=0))
        np.testing.assert_allclose(beta[:, j], fits[int(np.argmin(scores))], rtol=1e-8)


def test_lasso_penalty_is_the_best_over_the_parts():
    x, y = sample(3)
    parts = [Moments.of(y[i::3], x[i::3]) for i in range(3)]
    beta = penalties.elastic_net(parts, 1.0)
    scale = x.std(axis=0)
    z = (x - x.mean(axis=0)) / scale
    for j in range(2):
        largest = np.abs(z.T @ (y[:, j] - y[:, j].mean())).max() / len(z)
        strengths = largest * np.geomspace(1, penalties._PATH_END, penalties._PATH_LENGTH)
        errors = np.zeros(len(strengths))
        for left_out in range(3):
            inside = np.arange(len(x)) % 3 != left_out
            for i, strength in enumerate(strengths):
                # Every part is centred at its own means: the intercept is not in question.
                fit = Lasso(strength, tol=1e-8, max_iter=50_000).fit(z[inside], y[inside, j])
                left = y[~inside, j] - z[~inside] @ fit.coef_
                errors[i] += ((left - left.mean()) ** 2).sum()
        best = Lasso(strengths[errors.argmin()], tol=1e-10, max_iter=50_000).fit(z, y[:, j])
        np.testing.assert_allclose(beta[:, j] * scale, best.coef_, atol=2e-3)


def test_features_that_do_not_vary_get_nothing():
    x, y = sample(4)
    x[:, 3] = 7.0
    parts = [Moments.of(y[i::3], x[i::3]) for i in range(3)]
    assert not penalties.elastic_net(parts, 1.0)[3].any()
    assert not penalties.ridge(Moments.of(y, x))[3].any()
    assert np.isfinite(penalties.ridge(Moments.of(y, x))).all()


def test_more_features_than_draws():
    rng = np.random.default_rng(5)
    x = rng.standard_normal((40, 90))
    y = (x[:, :1] - 2 * x[:, 1:2]) + 0.01 * rng.standard_normal((40, 1))
    beta = penalties.elastic_net([Moments.of(y[i::4], x[i::4]) for i in range(4)], 1.0)
    assert beta[:2, 0] == pytest.approx([1, -2], abs=0.1)
    assert np.abs(beta[2:]).max() < 0.05
    assert np.isfinite(penalties.ridge(Moments.of(y, x))).all()
