"""Controls used by hand, as scikit-learn regressors are."""

import numpy as np
import scipy.stats as ss
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone

from mcvar import control, targets
from tests.fuzz.outcome import outcome
from tests.fuzz.profile import fuzz
from tests.fuzz.strategies import DIMENSIONS, SOME, arrays, mostly
from tests.fuzz.test_given import controls

KERNELS = ["Gaussian", "InverseMultiquadric", "Matern", "RationalQuadratic"]


@given(data=st.data(), made=controls(), n=SOME, d=DIMENSIONS)
@fuzz
def test_fit_and_predict(data, made, n, d):
    if not hasattr(made, "fit") or isinstance(made, type):
        return
    law = data.draw(st.sampled_from([None, targets.Normal(np.zeros(d), np.ones(d))]))
    if law is not None and hasattr(made, "for_target"):
        made = outcome(made.for_target, law)
        if made is None:
            return
    x, y = data.draw(arrays(n, d)), data.draw(st.one_of(arrays(n), arrays(n, 2)))
    scores = ()
    if getattr(made, "needs_score", False):
        scores = (data.draw(arrays(n, d)),)
    if not type(made).__module__.startswith("mcvar"):
        return  # scikit-learn's own errors are scikit-learn's
    fitted = outcome(made.fit, x, y, *scores)
    if fitted is None:
        return
    assert np.isfinite(fitted.mean_).all()
    prediction = outcome(fitted.predict, data.draw(arrays(n, d)), *scores)
    assert prediction is None or np.isfinite(prediction).all()
    assert isinstance(fitted.describe(), str)


@given(data=st.data(), n=SOME, d=DIMENSIONS)
@fuzz
def test_controls_of_directions(data, n, d):
    harmonics = control.SphericalHarmonics(data.draw(mostly(st.sampled_from([2, 4, 3, 0]))))
    outcome(harmonics.fit, data.draw(arrays(n, d)), data.draw(arrays(n)))
    gaussian = control.GaussianSliced(
        data.draw(mostly(st.sampled_from(["full", "lower", "upper"])))
    )
    p = data.draw(mostly(st.sampled_from([1.0, 2.0, 3.0])))
    for bound in (
        outcome(gaussian.for_clouds, data.draw(arrays(n, d)), data.draw(arrays(n, d)), p=p),
        outcome(
            gaussian.for_moments,
            data.draw(arrays(d)),
            data.draw(st.one_of(st.just(np.eye(d)), arrays(d, d))),
            np.eye(d),
            p=p,
        ),
    ):
        if bound is not None:
            fitted = outcome(bound.fit, data.draw(arrays(n, d)), data.draw(arrays(n)))
            assert fitted is None or np.isfinite(fitted.mean_).all()


@given(data=st.data(), n=SOME, d=DIMENSIONS)
@fuzz
def test_stratified_regression(data, n, d):
    made = control.StratifiedRegression(
        data.draw(
            st.sampled_from(
                [lambda x: (x[:, 0] > 0).astype(int), lambda x: np.zeros(len(x), dtype=int)]
                + [lambda x: x[:, 0], lambda x: None, lambda x: [0], lambda x: -np.ones(len(x))]
            )
        ),
        data.draw(
            st.sampled_from([lambda x: x, lambda x: x[:, 0], lambda x: "h", lambda x: x[1:]])
        ),
        data.draw(mostly(st.sampled_from([np.zeros((2, d)), np.zeros((1, d)), 0.0]))),
        data.draw(mostly(st.sampled_from([None, [0.5, 0.5], [1.0]]))),
        data.draw(mostly(st.sampled_from([10.0, 0.0]))),
    )
    fitted = outcome(made.fit, data.draw(arrays(n, d)), data.draw(arrays(n)))
    assert fitted is None or np.isfinite(fitted.mean_).all()


@given(data=st.data(), name=st.sampled_from(KERNELS))
@fuzz
def test_kernels(data, name):
    scale = data.draw(mostly(st.sampled_from([None, 1.0, 1e-20, 1e20, 1e-21])))
    kernel = outcome(getattr(control.kernels, name), scale)
    if kernel is None:
        return
    product = outcome(control.kernels.Product, scale, data.draw(mostly(st.just(0.1))))
    for each in (kernel, product):
        if each is not None:
            t, out = np.array([0.0, 1e-300, 1.0, 1e3]), np.empty((3, 4))
            each.profile(t, out)
            assert np.isfinite(out[0]).all()


@given(data=st.data(), law=st.sampled_from([ss.norm(), ss.gamma(2), ss.beta(0.5, 2)]))
@fuzz
def test_bases(data, law):
    target = targets.as_target(law)
    basis = target.basis()
    degree = data.draw(mostly(st.integers(1, 30)))
    made = control.Polynomial(degree, data.draw(mostly(st.just(None))), basis)
    bound = outcome(made.for_target, target)
    if bound is not None:
        features = outcome(bound.features, law.rvs(size=(20, 1), random_state=1))
        assert features is None or np.isfinite(features).all()
    family = outcome(targets.Family, data.draw(mostly(st.sampled_from(["hermite", "laguerre"]))))
    if family is not None:
        outcome(family.recurrence, data.draw(mostly(st.integers(1, 5))))
    clone(made)
