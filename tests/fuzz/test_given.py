"""Draws that exist: `Draws`, `estimate`, `summary`, thinning, moments."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression, Ridge

import mcvar
from mcvar import control
from tests.fuzz.outcome import all_finite, check_estimate, outcome
from tests.fuzz.profile import fuzz
from tests.fuzz.strategies import (
    DIMENSIONS,
    ODD,
    SIZES,
    SOME,
    arrays,
    labels,
    mostly,
)


class Silent(LinearRegression):
    """A regressor whose own warnings are not the subject here."""

    def fit(self, X, y):
        with np.errstate(all="ignore"):
            return super().fit(X, y)

    def predict(self, X):
        with np.errstate(all="ignore"):
            return super().predict(X)


class Zero(Silent):
    """One with the attribute that makes it a control, and a wrong one at that."""

    mean_ = 0.0


def quiet(function):
    """A user's function, whose own warnings are not the subject here either."""

    def call(x):
        with np.errstate(all="ignore"):
            return function(x)

    return call


@st.composite
def draws_fields(draw, n, d):
    """Fields of `Draws` that belong together, more or less."""
    fields = {}
    if draw(st.integers(0, 3)) == 0:
        fields["weights"] = draw(arrays(n, flavours=("uniform", "constant", "wide", "zero", "NaN")))
        fields["self_normalized"] = draw(st.sampled_from([True, True, False]))
    if draw(st.integers(0, 2)) == 0:
        fields[draw(st.sampled_from(["strata", "replicate", "chain"]))] = draw(labels(n))
    if draw(st.booleans()):
        fields["grad_logpdf"] = draw(arrays(n, d))
    if draw(st.integers(0, 9)) == 0:
        fields["zero_mean"] = draw(arrays(n, draw(st.sampled_from([1, 2]))))
    return fields


KERNELS = st.sampled_from(
    [None] * 6
    + [control.kernels.Gaussian(), control.kernels.Matern(2.5), control.kernels.RationalQuadratic()]
    + [control.kernels.InverseMultiquadric(), control.kernels.Gaussian(1e-19), "gaussian", 3]
)


@st.composite
def controls(draw):
    """Controls of every kind, with parameters that are mostly possible."""
    kind = draw(st.sampled_from(["auto", "auto", "none", "known", "known", "polynomial", "stein",
                                 "stein", "kernel", "neighbours", "regressor", "odd"]))  # fmt: skip
    if kind == "auto":
        return "auto"
    if kind == "none":
        return None
    if kind == "known":
        h = draw(st.sampled_from([
            lambda x: x, lambda x: x[:, 0], lambda x: 0 * x, lambda x: np.hstack([x, x]),
            lambda x: x[:1], lambda x: 1e300 * x, lambda x: x * np.nan, lambda x: "h",
            lambda x: 1e-300 * x, lambda x: (x > 0), len,
            lambda x: x[:, :0], lambda x: 1 / x[:, 0] ** 2, lambda x: x + 1e9,
        ]))  # fmt: skip
        return control.KnownMean(
            quiet(h) if h is not len else h,
            mean=draw(mostly(st.sampled_from([0.0, 0, [0.0, 0.0], 0.5]))),
        )
    if kind == "polynomial":
        return control.Polynomial(
            draw(mostly(st.integers(1, 3))),
            draw(mostly(st.sampled_from([None, "ridge", "lasso"]))),
        )
    if kind == "stein":
        return control.SteinPolynomial(
            draw(mostly(st.sampled_from([1, 2, 3, "auto"]))),
            draw(mostly(st.sampled_from([None, None, "ridge", "lasso", "elasticnet"]))),
            draw(mostly(st.sampled_from([0.5, 0.1, 1.0]))),
            draw(mostly(st.sampled_from(["auto", "cholesky", "sd", None]))),
        )
    if kind == "kernel":
        return control.SteinKernel(
            draw(KERNELS),
            order=draw(mostly(st.sampled_from([1, 2]))),
            polynomial_degree=draw(mostly(st.sampled_from([None, 1]))),
            solver=draw(mostly(st.sampled_from(["auto", "exact", "nystrom"]))),
            ridge=draw(mostly(st.sampled_from([None, 1e-6]))),
            criterion=draw(mostly(st.sampled_from(["loo", "reml"]))),
            standardise=draw(mostly(st.sampled_from(["cholesky", "sd", None]))),
            n_centres=draw(mostly(st.just(10))),
        )
    if kind == "neighbours":
        points = draw(st.one_of(st.none(), arrays(50, draw(DIMENSIONS))))
        return control.NearestNeighbors(points=points, n_mean=draw(mostly(st.just(64))))
    if kind == "regressor":
        return draw(st.sampled_from([Zero(), Silent(), Ridge, 3]))
    return draw(ODD)


@given(data=st.data(), n=SIZES, d=DIMENSIONS)
@fuzz
def test_draws_and_rows_of_them(data, n, d):
    draws = outcome(mcvar.Draws, data.draw(arrays(n, d)), **data.draw(draws_fields(n, d)))
    if draws is None:
        return
    all_finite(draws.x)
    assert draws.x.dtype == np.float64
    some = draws.take(np.arange(draws.n)[::2])
    assert some.n == (draws.n + 1) // 2


@given(data=st.data(), n=SIZES, d=DIMENSIONS, control=controls())
@fuzz
def test_estimate_over_given_draws(data, n, d, control):
    draws = outcome(mcvar.Draws, data.draw(arrays(n, d)), **data.draw(draws_fields(n, d)))
    if draws is None:
        return
    m = data.draw(st.sampled_from([None, None, 1, 2, 3]))
    values = data.draw(arrays(n, *([] if m is None else [m])))
    est = outcome(
        mcvar.estimate,
        values,
        draws,
        control=control,
        folds=data.draw(mostly(st.sampled_from([1, 2, 5]))),
        criterion=data.draw(mostly(st.sampled_from(["variance", "asymptotic"]))),
        covariance=data.draw(st.booleans()),
    )
    check_estimate(est)


@given(data=st.data(), n=SOME, d=DIMENSIONS)
@fuzz
def test_scores_that_are_right(data, n, d):
    """Draws of a normal law with its score: the way that usually succeeds."""
    rng = np.random.default_rng(data.draw(st.integers(0, 100)))
    scale = data.draw(st.sampled_from([1.0, 1e-8, 1e8, 1e-150, 1e150]))
    z = rng.normal(size=(n, d))
    draws = outcome(
        mcvar.Draws,
        scale * z,
        grad_logpdf=-z / scale,
        **data.draw(st.sampled_from([{}, {"chain": np.arange(n) % 2}])),
    )
    if draws is None:
        return
    values = data.draw(st.one_of(arrays(n), st.just(z[:, 0]), st.just(1e9 + 1e-9 * z[:, 0])))
    check_estimate(outcome(mcvar.estimate, values, draws, control=data.draw(controls())))


@given(data=st.data(), n=SIZES, d=DIMENSIONS)
@fuzz
def test_summary(data, n, d):
    chains = data.draw(st.sampled_from([1, 2, 4]))
    x = data.draw(arrays(chains, n, d))
    score = data.draw(arrays(chains, n, d))
    if data.draw(st.booleans()):
        with np.errstate(all="ignore"):
            score = -x if isinstance(x, np.ndarray) and x.dtype == np.float64 else score
    if data.draw(st.integers(0, 4)) == 0:
        x, score = {"x": x}, {"x": score}
    options = {}
    if data.draw(st.booleans()):
        # Functions of arrays, or of dicts of arrays: what they return is not what they should.
        options["constrained"] = data.draw(
            st.sampled_from([lambda p: {"a": 1.0}, lambda p: 3, lambda p: {}, lambda p: None, 3.0])
        )
        if not isinstance(x, dict):
            options["constrained"] = data.draw(
                st.sampled_from([np.exp, np.abs, lambda x: x[:, 0], lambda x: {"a": x[:, 0]}])
            )
    if data.draw(st.integers(0, 3)) == 0:
        options["functions"] = data.draw(
            mostly(st.sampled_from([
                {"f": lambda p: next(iter(p.values()), 0.0) > 0}, {"f": lambda p: 1.0},
                {"f": lambda p: p["none"]}, {"f": 3}, {3: lambda p: next(iter(p.values()), 0.0)},
            ]))
        )  # fmt: skip
    if data.draw(st.integers(0, 3)) == 0:
        options["weights"] = data.draw(arrays(chains, n, flavours=("uniform", "zero", "wide")))
    if data.draw(st.integers(0, 5)) == 0:
        options["names"] = data.draw(mostly(st.sampled_from([["a"], ["a", "b"], ["a", "a"]])))
    with np.errstate(all="ignore"):  # the user's own transformations may overflow
        table = outcome(
            mcvar.summary,
            x,
            score,
            control=data.draw(controls()),
            folds=data.draw(mostly(st.sampled_from([2, 5]))),
            criterion=data.draw(mostly(st.sampled_from(["variance", "asymptotic"]))),
            **options,
        )
    if table is None:
        return
    repr(table)
    for row in range(len(table.names)):
        numbers = [table.mean[row], table.sd[row], table.controlled_mean[row]]
        assert np.isfinite(numbers).all() or table.warnings[row], table
    table.to_pandas()
    table.to_xarray()
    level = data.draw(mostly(st.floats(0.01, 0.99)))
    outcome(table.confidence_interval, level)


@given(data=st.data(), n=SIZES, d=DIMENSIONS)
@fuzz
def test_thinning_and_discrepancy(data, n, d):
    x, score = data.draw(arrays(n, d)), data.draw(arrays(n, d))
    found = outcome(
        mcvar.stein_thinning,
        x,
        score,
        data.draw(mostly(st.integers(1, 10))),
        kernel=data.draw(KERNELS),
    )
    if found is not None:
        assert ((found >= 0) & (found <= n)).all()  # a shape may be one too long
    options = {}
    if data.draw(st.integers(0, 3)) == 0:
        options["weights"] = data.draw(arrays(n, flavours=("uniform", "zero", "wide", "NaN")))
    distance = outcome(mcvar.kernel_stein_discrepancy, x, score, **options)
    if distance is not None:
        assert np.isfinite(distance)
        assert distance >= 0


@given(data=st.data(), n=SIZES)
@fuzz
def test_moments(data, n):
    m, k = data.draw(st.sampled_from([1, 2])), data.draw(st.sampled_from([0, 1, 2]))
    values = data.draw(arrays(n, m))
    features = data.draw(st.one_of(st.none(), arrays(n, k)))
    found = outcome(mcvar.Moments.of, values, features, covariance=data.draw(st.booleans()))
    if found is None:
        return
    outcome(lambda: found + found)
    coefficients = outcome(found.coefficients, data.draw(st.sampled_from([0.0, 1.0])))
    all_finite(coefficients, *found.residual(coefficients))
