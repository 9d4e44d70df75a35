"""Controls as scikit-learn regressors: what they predict has the mean they say."""

import numpy as np
import pytest
from scipy import stats
from sklearn.base import clone

import mcvar
from mcvar.control import KnownMean, Polynomial

LAW = mcvar.targets.Normal([1.0, 0.0], [[1.0, 0.4], [0.4, 2.0]])
X = LAW.random(2000, np.random.default_rng(1)).x
FRESH = LAW.random(200_000, np.random.default_rng(2)).x
Y = np.stack([np.exp(X[:, 0] / 3), X[:, 0] * X[:, 1]], axis=1)


@pytest.mark.parametrize(
    "control",
    [
        KnownMean(lambda x: np.stack([x[:, 0], x[:, 1] ** 2], axis=1), [1.0, 2.0]),
        Polynomial(3, basis=LAW.basis()),
        Polynomial(3, "ridge", basis=LAW.basis()),
        Polynomial(3, "lasso", basis=LAW.basis()),
    ],
    ids=["known", "ols", "ridge", "lasso"],
)
@pytest.mark.parametrize("columns", [None, 2])
def test_mean_is_the_expectation_of_the_prediction(control, columns):
    y = Y[:, 0] if columns is None else Y
    fitted = clone(control).fit(X, y)
    prediction = fitted.predict(FRESH)
    assert prediction.shape == (len(FRESH), *y.shape[1:])
    error = prediction.std(axis=0) / np.sqrt(len(FRESH))
    assert (np.abs(prediction.mean(axis=0) - fitted.mean_) < 6 * error).all()
    if columns is None:
        assert np.ndim(fitted.mean_) == 0
        # Any fit explains some of it, out of sample.
        assert fitted.score(FRESH, np.exp(FRESH[:, 0] / 3)) > 0.5


def test_polynomial_recovers_a_polynomial():
    fitted = Polynomial(2, basis=LAW.basis()).fit(X, Y[:, 1])
    assert fitted.mean_ == pytest.approx(0.4, abs=1e-10)
    np.testing.assert_allclose(fitted.predict(FRESH[:50]), FRESH[:50].prod(axis=1), atol=1e-9)


def test_lasso_selects_the_features_that_matter():
    target = [stats.norm(0, 1)] * 8
    est = mcvar.estimate(
        lambda x: x[:, 2] * x[:, 5] + x[:, 1] ** 3,
        target,
        n=4096,
        sampler="montecarlo",
        control=Polynomial(3, "lasso"),
        rng=1,
    )
    assert int(est.control.split(", ")[-1].split()[0]) < 60
    assert est.standard_error < 1e-6
    assert est.value == pytest.approx(0, abs=1e-6)


def test_thousands_of_features_are_selected_before_least_squares():
    target = [stats.norm(0, 1)] * 17
    est = mcvar.estimate(
        lambda x: x[:, 0] ** 3 + x[:, 4],
        target,
        n=8192,
        sampler="montecarlo",
        control=Polynomial(3),
        rng=1,
    )
    assert est.variance_reduction > 1e3


def test_not_fitted():
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError):
        Polynomial(2, basis=LAW.basis()).predict(X)


def test_controls_survive_clone_and_say_what_they_are():
    control = clone(Polynomial(3, "lasso"))
    assert control.get_params()["degree"] == 3
    assert "9 features" in Polynomial(3).for_target(LAW).describe()
    assert KnownMean(np.sin, [0.0, 1.0]).describe() == "KnownMean(sin), 2 features"


@pytest.mark.parametrize("sampler", ["montecarlo", "antithetic"])
def test_auto_takes_what_pays_and_nothing_else(sampler):
    box = [(0, 1)] * 3
    smooth = mcvar.estimate(lambda x: np.exp(x.sum(axis=1)), box, n=2**14, sampler=sampler, rng=1)
    assert "Polynomial" in smooth.control
    rough = mcvar.estimate(
        lambda x: np.sin(1e5 * x.sum(axis=1)), box, n=2**14, sampler=sampler, rng=1
    )
    assert rough.control == "none"


def test_an_integrand_does_not_see_its_control_fitted_on_itself():
    """Noise of its own: in-sample fits would halve the error bar, folds leave it."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((60, 20))
    y = rng.standard_normal(60)
    h = KnownMean(lambda x: x, np.zeros(20))
    honest = mcvar.estimate(y, mcvar.Draws(x), control=h)
    assert honest.standard_error > y.std() / np.sqrt(60)


def test_polynomials_are_never_accused_of_a_wrong_mean():
    """Student's t is off for squares in 128 pairs, the first look; seed 446 was an alarm."""
    for seed in range(440, 450):
        est = mcvar.estimate(
            lambda x: np.stack([x[:, 0] ** 2, np.cos(x[:, 0])], axis=1),
            stats.norm(1, 2),
            n=2048,
            sampler="antithetic",
            rng=seed,
        )
        assert est.value[0] == pytest.approx(5, abs=1)
