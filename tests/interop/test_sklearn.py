"""scikit-learn: controls are regressors that its tools can clone, search, pipe and score."""

import pickle

import numpy as np
import pytest
import sklearn
from sklearn.base import BaseEstimator, RegressorMixin, clone, is_regressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

import mcvar
from mcvar.control import (
    GaussianSliced,
    KnownMean,
    NearestNeighbors,
    Polynomial,
    SphericalHarmonics,
    SteinKernel,
    SteinPolynomial,
    StratifiedRegression,
    VectorSteinKernel,
    kernels,
)

RNG = np.random.default_rng(1)
LAW = mcvar.targets.Normal([0.0, 0.0], 1.0)
X = RNG.standard_normal((240, 2))
Y = np.exp(X[:, 0] / 3) + 0.1 * X[:, 1]
EXACT = np.exp(1 / 18)


def both(x):
    return x


def half(x):
    return (x[:, 0] > 0).astype(int)


CONTROLS = [
    KnownMean(both, [0.0, 0.0]),
    Polynomial(2, "ridge", basis=LAW.basis()),
    SteinPolynomial(2, penalty="ridge"),
    SteinKernel(kernels.Matern(nu=4.5), polynomial_degree=1),
    NearestNeighbors(points=X),
    StratifiedRegression(half, both, [[-0.8, 0.0], [0.8, 0.0]], [0.5, 0.5]),
    GaussianSliced("lower"),
    SphericalHarmonics(4),
    VectorSteinKernel(order=2),
]


def fitting(control):
    return {"grad_logpdf": -X} if isinstance(control, SteinPolynomial | SteinKernel) else {}


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: type(control).__name__)
def test_parameters_survive_clone_pickle_and_set_params(control):
    before = control.get_params(deep=False)
    for other in (clone(control), pickle.loads(pickle.dumps(control))):
        after = other.get_params(deep=False)
        assert type(other) is type(control)
        assert after.keys() == before.keys()
        assert repr(other) == repr(control)
    assert clone(control).set_params(**before).get_params(deep=False) == before
    with pytest.raises(ValueError, match="Invalid parameter 'nonsense'"):
        clone(control).set_params(nonsense=1)


REGRESSORS = CONTROLS[:6]  # those that take points and values, one problem at a time


@pytest.mark.parametrize("control", REGRESSORS, ids=lambda control: type(control).__name__)
def test_controls_are_regressors(control):
    assert is_regressor(control)
    fresh = clone(control)
    assert fresh.fit(X, Y, **fitting(control)) is fresh
    check_is_fitted(fresh)
    assert fresh.n_features_in_ == 2
    again = clone(fresh).fit(X, Y, **fitting(control))
    assert again.mean_ == fresh.mean_
    predicted = fresh.predict(X, **fitting(control))
    expected = 1 - ((Y - predicted) ** 2).sum() / ((Y - Y.mean()) ** 2).sum()
    assert fresh.score(X, Y, **fitting(control)) == pytest.approx(expected, rel=1e-10)


def test_scores_of_stein_controls_need_gradients_and_say_so():
    control = SteinPolynomial(2).fit(X, Y, -X)
    with pytest.raises(TypeError, match="SteinPolynomial needs grad_logpdf"):
        control.score(X, Y)


def test_out_of_fold_r2_is_the_gain():
    """1 − R² out of fold is the share of variance that an estimate with the control has left."""
    control = Polynomial(2, basis=LAW.basis())
    folds = KFold(5, shuffle=True, random_state=0)
    residual = Y - cross_val_predict(control, X, Y, cv=folds)
    est = mcvar.estimate(Y, mcvar.Draws(X), control=control)
    # Less what the error bar allows for beyond the spread of the residuals.
    assert 0.15 < est.variance_reduction / (Y.var() / residual.var()) < 1.15
    assert cross_val_score(control, X, Y, cv=folds).mean() > 0.99


def test_grid_search_then_estimate():
    search = GridSearchCV(Polynomial(1, basis=LAW.basis()), {"degree": [1, 2, 3]}).fit(X, Y)
    assert search.best_params_["degree"] > 1
    assert search.best_estimator_.mean_ == pytest.approx(EXACT, abs=1e-2)

    def f(x):
        return np.exp(x[:, 0] / 3) + 0.1 * x[:, 1]

    options = {"n": 4000, "rng": 1, "sampler": "montecarlo"}
    est = mcvar.estimate(f, LAW, control=search.best_estimator_, **options)
    assert abs(est.value - EXACT) < 4 * est.standard_error
    assert est.variance_reduction > 100
    with pytest.raises(TypeError, match=r"GridSearchCV has no `mean_`.*give its best_estimator_"):
        mcvar.estimate(f, LAW, control=search, **options)


def test_grid_search_routes_gradients_to_stein_controls():
    with sklearn.config_context(enable_metadata_routing=True):
        control = SteinPolynomial()
        for request in ("fit", "score"):
            control = getattr(control, f"set_{request}_request")(grad_logpdf=True)
        search = GridSearchCV(control, {"degree": [1, 2, 3]}).fit(X, Y, grad_logpdf=-X)
        kernel = SteinKernel(kernels.Gaussian(1.0))
        for request in ("fit", "score"):
            kernel = getattr(kernel, f"set_{request}_request")(grad_logpdf=True)
        scales = [kernels.Gaussian(scale) for scale in (0.02, 2.0)]
        second = GridSearchCV(kernel, {"kernel": scales}).fit(X, Y, grad_logpdf=-X)
    assert search.best_params_["degree"] > 1
    assert search.best_estimator_.mean_ == pytest.approx(EXACT, abs=1e-2)
    assert second.best_params_["kernel"].length_scale == 2.0


def test_pipelines_end_in_controls():
    pipeline = make_pipeline(StandardScaler(with_mean=False), KnownMean(both, [0.0, 0.0]))
    pipeline.fit(X, Y)
    assert pipeline.predict(X).shape == (240,)
    assert pipeline.score(X, Y) > 0.9
    # Scaling leaves means of zero alone: what the last step says holds for the pipeline.
    assert pipeline[-1].mean_ == pytest.approx(EXACT, abs=0.05)


class KnownMoments(RegressorMixin, BaseEstimator):
    """Somebody's own control: ridge regression on x and x², with the moments of N(0, 1)."""

    def fit(self, X, y):
        self.ridge_ = Ridge(1e-6).fit(np.hstack([X, X**2]), y)
        k = X.shape[1]
        self.mean_ = self.ridge_.intercept_ + self.ridge_.coef_[..., k:].sum(axis=-1)
        return self

    def predict(self, X):
        return self.ridge_.predict(np.hstack([X, X**2]))


@pytest.mark.parametrize("target", ["law", "draws"])
def test_any_regressor_with_a_mean_is_a_control(target):
    if target == "draws":
        est = mcvar.estimate(Y, mcvar.Draws(X), control=KnownMoments())
    else:
        est = mcvar.estimate(
            lambda x: np.exp(x[:, 0] / 3) + 0.1 * x[:, 1],
            LAW,
            n=2000,
            rng=1,
            sampler="montecarlo",
            control=KnownMoments(),
        )
    assert abs(est.value - EXACT) < 4 * est.standard_error
    assert est.variance_reduction > 50
