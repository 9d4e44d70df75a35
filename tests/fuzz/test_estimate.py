"""`estimate` with draws of its own: every integrand, target, sampler and control."""

import contextlib

import matplotlib.pyplot as plt
import numba
import numpy as np
import scipy.stats as ss
from hypothesis import given
from hypothesis import strategies as st

import mcvar
from mcvar import samplers, targets
from mcvar.integrate import estimate
from tests.fuzz.integrands import GOOD_TARGETS, OF_ONE_POINT, TARGETS, VECTORIZED
from tests.fuzz.outcome import all_finite, check_estimate, outcome
from tests.fuzz.profile import fuzz
from tests.fuzz.strategies import DIMENSIONS, ODD, SEEDS, SOME, arrays, mostly
from tests.fuzz.test_given import controls

INTEGRANDS = mostly(st.one_of(st.sampled_from(VECTORIZED[:12]), st.sampled_from(VECTORIZED)))
MAKERS = st.one_of(st.sampled_from(TARGETS[:GOOD_TARGETS]), st.sampled_from(TARGETS))
NAMES = ["auto", "montecarlo", "antithetic", "latin", "sobol", "halton", "lattice", "stratified",
         "importance", "vegas"]  # fmt: skip
BUDGETS = mostly(st.sampled_from([8, 32, 100, 500, 1000, 1000, 2000, 4096]), st.sampled_from(
    [0, 1, 2, 3, -5, 1.5, 1e3, None, "many", np.int64(300), np.nan, np.inf, True]
))  # fmt: skip


@numba.njit
def smooth(x):
    return 1.0 / (1.0 + x[0] * x[0])


@numba.njit
def undefined(x):
    return np.log(x[0] - 0.5)


@numba.njit
def pair(x):
    return x[0], x[0]


@numba.njit
def out_of_reach(x):
    return 1e300 * x[0]


@st.composite
def recipes(draw):
    """Samplers by name and by hand."""
    kind = draw(st.integers(0, 9))
    if kind < 6:
        return draw(st.sampled_from(NAMES))
    if kind == 9:
        return draw(ODD)
    maker, *arguments = draw(
        st.one_of(
            st.tuples(st.just(samplers.Sobol), mostly(st.sampled_from([4, 8]))),
            st.tuples(st.just(samplers.Halton), mostly(st.sampled_from([2, 8]))),
            st.tuples(st.just(samplers.Lattice), mostly(st.sampled_from([3, 8]))),
            st.tuples(
                st.just(samplers.Stratified),
                mostly(st.sampled_from(["proportional", "neyman"])),
                mostly(st.one_of(st.none(), st.none(), arrays(4))),
                mostly(st.sampled_from([None, (2,), (3, 2), (1000,)])),
            ),
            st.tuples(
                st.just(samplers.Importance),
                mostly(st.sampled_from([None, [ss.norm(1, 2)], [ss.t(3)], [(0, 1)], []])),
                mostly(st.sampled_from([None, [1.0], [1, 2]])),
                mostly(st.sampled_from([0.1, 0.5, 1e-300])),
            ),
            st.tuples(
                st.sampled_from(
                    [
                        samplers.MonteCarlo,
                        samplers.Antithetic,
                        samplers.LatinHypercube,
                        samplers.Vegas,
                        samplers.Auto,
                    ]
                )
            ),
            st.tuples(st.just(lambda: samplers.MonteCarlo)),
        )
    )
    return outcome(maker, *arguments)


def _run(data, integrand, make, sampler, control, **options):
    target = outcome(make)
    if target is None:
        return
    options = {"n": data.draw(BUDGETS), **options}
    if data.draw(st.integers(0, 3)) == 0:
        tolerance = mostly(st.sampled_from([0.1, 1e-3, [0.1, 0.1, 0.1], 0.0, 1e-320]))
        options[data.draw(st.sampled_from(["rtol", "atol"]))] = data.draw(tolerance)
        if options["n"] is None:
            options["max_n"] = data.draw(mostly(st.sampled_from([512, 4096]), st.just(None)))
            options["max_n"] = options["max_n"] or 4096
    if data.draw(st.integers(0, 9)) == 0:
        options["folds"] = data.draw(mostly(st.sampled_from([1, 2, 10, 50, 51])))
    if data.draw(st.integers(0, 19)) == 0:
        options["criterion"] = data.draw(mostly(st.just("variance")))
    est = outcome(
        estimate,
        integrand,
        target,
        sampler=sampler,
        control=control,
        rng=data.draw(SEEDS),
        covariance=data.draw(st.booleans()),
        **options,
    )
    check_estimate(est)
    if est is not None and est.log_normalizer is not None:
        check_estimate(est.log_normalizer)


@given(data=st.data(), integrand=INTEGRANDS, make=MAKERS, sampler=recipes())
@fuzz
def test_integrands_targets_and_samplers(data, integrand, make, sampler):
    control = data.draw(st.sampled_from(["auto", "auto", "auto", None]))
    _run(data, integrand, make, sampler, control)


@given(data=st.data(), make=MAKERS, control=controls())
@fuzz
def test_controls(data, make, control):
    integrand = data.draw(st.sampled_from(VECTORIZED[:12]))
    _run(data, integrand, make, data.draw(st.sampled_from(["auto", *NAMES])), control)


@given(data=st.data(), integrand=mostly(st.sampled_from(OF_ONE_POINT)), sampler=recipes())
@fuzz
def test_functions_of_one_point(data, integrand, sampler):
    make = data.draw(st.sampled_from(TARGETS[:5]))
    _run(data, integrand, make, sampler, "auto", vectorized=False, n=256)


@given(data=st.data(), integrand=st.sampled_from([smooth, undefined, pair, out_of_reach]))
@fuzz
def test_compiled_functions(data, integrand):
    make = data.draw(st.sampled_from([TARGETS[0], TARGETS[5], TARGETS[7]]))
    sampler = data.draw(st.sampled_from(["auto", "montecarlo", "sobol"]))
    control = data.draw(st.sampled_from(["auto", None]))
    _run(data, integrand, make, sampler, control, n=data.draw(st.sampled_from([100, 2000])))


@given(name=st.sampled_from(["executor", "batch_size", "max_seconds", "checkpoint"]), value=ODD)
@fuzz
def test_options_of_runs(name, value):
    if name == "checkpoint" and isinstance(value, str | bytes):
        return  # the name of a file
    with contextlib.suppress(TimeoutError):  # of max_seconds that let nothing be estimated
        check_estimate(outcome(estimate, VECTORIZED[1], [(0, 1)], n=256, rng=1, **{name: value}))


@given(data=st.data(), make=MAKERS, sampler=recipes())
@fuzz
def test_draws_of_a_sampler(data, make, sampler):
    target = outcome(make)
    recipe = outcome(samplers.as_sampler, sampler)
    if target is None or recipe is None:
        return
    draws = outcome(recipe.draw, target, data.draw(BUDGETS), rng=data.draw(SEEDS))
    if draws is None:
        return
    assert draws.x.ndim == 2
    if draws.weights is not None:
        assert (draws.weights >= 0).all()


@given(data=st.data(), make=MAKERS)
@fuzz
def test_densities(data, make):
    made = outcome(make)
    target = None if made is None else outcome(targets.as_target, made)
    if target is None:
        return
    repr(target)
    rng = np.random.default_rng(1)
    x = outcome(lambda: target.random(13, rng).x)
    if x is None or not isinstance(x, np.ndarray) or not np.isfinite(x.astype(float)).all():
        return
    with np.errstate(all="ignore"):
        density = outcome(target.logpdf, x)
        outcome(target.grad_logpdf, x)
    basis = outcome(target.basis)
    assert density is None or density.shape == (13,)
    if basis is not None and target.ndim < 5:
        control = mcvar.control.Polynomial(2, basis=basis)
        outcome(control.for_target(target).features, x)


@given(data=st.data(), d=DIMENSIONS, n=SOME)
@fuzz
def test_normal_and_mixture(data, d, n):
    law = outcome(targets.Normal, data.draw(arrays(d)), data.draw(st.one_of(
        arrays(d, d), arrays(d), st.just(np.eye(d)), st.just(np.full((d, d), 1.0))
    )))  # fmt: skip
    if law is None:
        return
    with np.errstate(under="ignore"):
        draws = law.random(n, np.random.default_rng(1))
        all_finite(draws.x)
        outcome(law.logpdf, draws.x)
    parts = [law, targets.Normal(np.zeros(d), np.ones(d))]
    shares = data.draw(mostly(st.sampled_from([[0.5, 0.5], [1.0, 0.0], [1.0], [0.9, 0.2]])))
    mixture = outcome(targets.MixtureProposal, parts[1], parts, shares)
    if mixture is not None:
        outcome(mixture.random, n, np.random.default_rng(1))


@given(data=st.data())
@fuzz
def test_a_result(data):
    m = data.draw(st.sampled_from([None, 1, 3]))
    shape = () if m is None else (m,)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    value = data.draw(st.sampled_from([0.0, 1.0, -1e300, 1e-300, np.nan])) * rng.normal(size=shape)
    error = data.draw(st.sampled_from([0.0, 1.0, 1e300, 1e-300, np.inf, np.nan])) * rng.random(
        shape
    )
    est = mcvar.Estimate(value=value, standard_error=error, n=data.draw(st.integers(1, 9)), df=3.0)
    repr(est)
    interval = outcome(est.confidence_interval, data.draw(mostly(st.floats(1e-9, 1 - 1e-9))))
    assert interval is None or np.shape(interval.low) == shape
    if np.isfinite(value).all() and np.isfinite(error).all():
        component = data.draw(mostly(st.just(0)))
        outcome(est.plot, component=component, level=data.draw(mostly(st.just(0.9))))
        plt.close("all")


@given(data=st.data(), name=st.sampled_from(sorted(mcvar.__all__)))
@fuzz
def test_names(data, name):
    assert getattr(mcvar, name) is not None
    assert name in dir(mcvar)
