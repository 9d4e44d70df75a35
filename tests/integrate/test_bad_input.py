"""Bad input gives a clear error, or status "suspect" with a reason; none passes silently."""

import math
import re

import numba
import numpy as np
import pytest
from scipy import stats

import mcvar
from mcvar.control import KnownMean, Polynomial
from mcvar.samplers import Importance, Stratified

BOX = [(0, 1)] * 2
NAMES = [
    "auto",
    "montecarlo",
    "antithetic",
    "latin",
    "sobol",
    "halton",
    "lattice",
    "stratified",
    "importance",
    "vegas",
]


def f(x):
    return np.exp(x.sum(axis=1))


@pytest.mark.parametrize("sampler", NAMES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_values_are_located(sampler, value):
    def bad(x):
        return np.where(x[:, 0] > 0.99, value, 1 + x[:, 0])

    message = rf"returned {value} at x = \[0\.99\d+ +0\.\d+.*\(point \d+ of .*seed 17\)"
    with pytest.raises(mcvar.NonFiniteError, match=message):
        mcvar.estimate(bad, BOX, n=20_000, sampler=sampler, rng=17)


def test_the_located_point_is_the_culprit():
    points = []

    def bad(x):
        points.append(x.copy())
        return np.where(x[:, 0] > 0.999, np.nan, 1 + x[:, 0])

    with pytest.raises(mcvar.NonFiniteError) as caught:
        mcvar.estimate(bad, BOX, n=20_000, sampler="montecarlo", rng=17, control=None)
    text = str(caught.value)
    point = np.fromstring(text[text.index("[") + 1 : text.index("]")], sep=" ")
    index = int(text.split("(point ")[1].split()[0])
    assert (points[-1][index] == point).all()


def test_a_compiled_function_names_its_point_too():
    @numba.njit
    def bad(x):
        return np.nan if x[0] > 0.9999 else x[0]

    for sampler in ("montecarlo", "sobol"):
        with pytest.raises(mcvar.NonFiniteError, match=r"nan at x = \[0\.9999\d+ .*seed 17"):
            mcvar.estimate(bad, BOX, n=100_000, sampler=sampler, control=None, rng=17)


def test_the_bad_component_is_named():
    def bad(x):
        return np.stack([x[:, 0], np.where(x[:, 0] > 0.9, np.inf, 0.0)], axis=1)

    with pytest.raises(mcvar.NonFiniteError, match="inf in component 1"):
        mcvar.estimate(bad, BOX, rng=1)


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (lambda x: x[:-1, 0], ValueError, r"shape \(\d+,\) for x of shape \(\d+, 2\); expected"),
        (lambda x: x.sum(), ValueError, r"shape \(\).*vectorized=False"),
        (lambda x: x[0], ValueError, r"shape \(2,\).*vectorized=False"),
        (lambda x: x[:, :, None], ValueError, r"shape \(\d+, 2, 1\)"),
        (lambda x: x.T, ValueError, r"shape \(2, \d+\)"),
        (lambda x: x[:, :0], ValueError, r"shape \(\d+, 0\)"),
        (lambda x: x[:, 0] + 1j, TypeError, "complex.*real and imaginary"),
        (lambda x: None, TypeError, "dtype object"),
        (lambda x: ["a"] * len(x), TypeError, "numeric"),
        (lambda x: x[:, 0].astype(object), TypeError, "dtype object"),
        (lambda x: [[1.0], [1.0, 2.0]], ValueError, "rectangular"),
        (lambda x: x if x[0, 0] < 0.5 else x[:, 0], ValueError, "on earlier points"),
        (lambda x: np.ma.masked_less(x[:, 0], 0.5), ValueError, "masked"),
        (3.0, TypeError, "must be a function, got float.*mcvar.Draws"),
    ],
)
def test_wrong_output(bad, error, message):
    with pytest.raises(error, match=message):
        mcvar.estimate(bad, BOX, n=5000, sampler="montecarlo", rng=1)


@pytest.mark.parametrize("sampler", ["montecarlo", "sobol"])
def test_wrong_output_of_compiled_functions(sampler):
    with pytest.raises(TypeError, match="complex"):
        mcvar.estimate(numba.njit(lambda x: x[0] + 1j), BOX, sampler=sampler, control=None)
    with pytest.raises(ValueError, match=r"compiled integrand returned shape \(2,\)"):
        mcvar.estimate(numba.njit(lambda x: 2 * x), BOX, sampler=sampler, control=None)


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        ([(1, 0)], ValueError, r"dimension 0: .*low < high, got \(1.0, 0.0\)"),
        ([(0, 1), (2, 2)], ValueError, r"dimension 1: .*got \(2.0, 2.0\)"),
        ([(0, np.nan)], ValueError, "low < high"),
        ([(np.inf, np.inf)], ValueError, "low < high"),
        ([(-1e308, 1e308)], ValueError, "too wide"),
        ([], ValueError, "empty"),
        ([(0, 1, 2)], TypeError, r"dimension 0 .*\(0, 1, 2\)"),
        ([0.5], TypeError, "dimension 0"),
        ("norm", TypeError, "cannot integrate against 'norm'"),
        (None, TypeError, "expected a box"),
        ({"a": 1}, TypeError, "expected a box"),
        (3, TypeError, "expected a box"),
    ],
)
def test_improper_targets(target, error, message):
    with pytest.raises(error, match=message):
        mcvar.estimate(f, target)


@pytest.mark.parametrize("n", [0, -5, 1])
def test_too_few_draws(n):
    with pytest.raises(ValueError, match=rf"n.*{n}|at least 1, got {n}"):
        mcvar.estimate(f, BOX, n=n)


@pytest.mark.parametrize("sampler", [s for s in NAMES if s not in ("auto",)])
def test_n_is_too_small_for_the_layout(sampler):
    with pytest.raises(ValueError, match=r"n=(3|1) is too small"):
        mcvar.estimate(f, BOX, n=1 if sampler == "montecarlo" else 3, sampler=sampler)


def test_n_is_too_small_for_the_folds():
    with pytest.raises(ValueError, match="9 independent draws are too few for 5 folds"):
        mcvar.estimate(f, BOX, n=9, sampler="montecarlo", control=Polynomial(1))


def test_n_is_too_small_for_the_features():
    with pytest.raises(ValueError, match=r"25 independent draws .*44 features.*lasso"):
        mcvar.estimate(f, BOX, n=25, sampler="montecarlo", control=Polynomial(8))


@pytest.mark.parametrize("penalty", ["ridge", "lasso"])
def test_n_is_too_small_to_train_a_penalty(penalty):
    with pytest.raises(ValueError, match="n=100 is too small to train"):
        mcvar.estimate(f, BOX, n=100, sampler="montecarlo", control=Polynomial(2, penalty))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n": 7.5}, TypeError, "whole number, got 7.5"),
        ({"n": "many"}, TypeError, "whole number, got 'many'"),
        ({"n": np.nan}, TypeError, "whole number"),
        ({"n": 10, "max_n": 10, "rtol": 1}, ValueError, "n or max_n, not both"),
        ({"max_n": 100}, ValueError, "max_n goes with rtol or atol"),
        ({"rtol": -1}, ValueError, "rtol must not be negative"),
        ({"atol": np.nan}, ValueError, "atol holds nan"),
        ({"rtol": 0, "atol": 0}, ValueError, "both zero"),
        ({"rtol": "tight"}, TypeError, "rtol must be numeric"),
        ({"rtol": [0.1, 0.1]}, ValueError, r"rtol has shape \(2,\)"),
        ({"folds": 0}, ValueError, "folds must be at least 1"),
        ({"folds": 51}, ValueError, "folds must be at most 50"),
        ({"rng": -1}, ValueError, "non-negative"),
        ({"rng": "seed"}, TypeError, "rng must be"),
        ({"sampler": "soboll"}, ValueError, "unknown sampler 'soboll'; did you mean 'sobol'"),
        ({"sampler": "qqq"}, ValueError, r"unknown sampler 'qqq'\. Known: antithetic"),
        ({"sampler": 3}, TypeError, "sampler must be a name"),
        ({"control": "polynomail"}, ValueError, r"'polynomail'; did you mean .*Polynomial"),
        ({"control": "atuo"}, ValueError, "'atuo'; did you mean 'auto'"),
        ({"control": 3}, TypeError, "control must be"),
        ({"control": Polynomial(0)}, ValueError, "degree must be at least 1"),
        ({"control": Polynomial(2, "rigde")}, ValueError, "did you mean 'ridge'"),
        ({"control": Polynomial(2, 5)}, TypeError, "penalty must be a name, got 5"),
        ({"control": Polynomial(500)}, ValueError, "features"),
    ],
)
def test_wrong_options(options, error, message):
    with pytest.raises(error, match=message):
        mcvar.estimate(f, BOX, **options)


@pytest.mark.parametrize("sampler", ["auto", "montecarlo", "sobol", "vegas", "antithetic"])
def test_control_with_a_wrong_mean(sampler):
    with pytest.raises(mcvar.ControlMeanError, match=r"feature 0 .*-0\.(1|09).*stated mean"):
        mcvar.estimate(f, BOX, sampler=sampler, control=KnownMean(lambda x: x[:, 0], 0.6), rng=1)


def test_right_means_are_not_accused():
    h = KnownMean(lambda x: np.exp(2 * x), np.full(2, np.exp(2)))
    for seed in range(100):
        est = mcvar.estimate(
            lambda x: x[:, 0],
            [stats.norm(0, 1)] * 2,
            n=512,
            sampler="montecarlo",
            control=h,
            rng=seed,
        )
        assert abs(est.value) < 1


@pytest.mark.parametrize(
    ("control", "error", "message"),
    [
        (KnownMean(lambda x: x, [0.5]), ValueError, r"h\(x\) has shape \(\d+, 2\).*1 known"),
        (KnownMean(lambda x: x[:-1, 0], 0.5), ValueError, r"h\(x\) has shape"),
        (KnownMean(lambda x: x[:, 0] + 1j, 0.5), TypeError, "complex"),
        (KnownMean(lambda x: np.log(x[:, 0] - x[:, 0] - 1), 0.5), mcvar.NonFiniteError, "nan at"),
        (KnownMean(lambda x: x[:, 0], np.nan), ValueError, "mean holds nan"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value encountered in log")
def test_controls_that_go_wrong(control, error, message):
    with pytest.raises(error, match=message):
        mcvar.estimate(f, BOX, sampler="montecarlo", control=control, rng=1)


@pytest.mark.parametrize("sampler", NAMES)
@pytest.mark.parametrize("compiled", [False, True])
def test_values_whose_squares_overflow(sampler, compiled):
    huge = numba.njit(lambda x: 1e300 * x[0]) if compiled else lambda x: 1e300 * f(x)
    with pytest.raises(OverflowError, match=r"square of the integrand overflows.*rescale"):
        mcvar.estimate(huge, BOX, n=4096, sampler=sampler, rng=1)


@pytest.mark.parametrize("scale", [1e-300, 1e-160])
@pytest.mark.parametrize("sampler", NAMES)
def test_values_whose_squares_underflow(sampler, scale):
    est = mcvar.estimate(lambda x: scale * f(x), BOX, n=4096, sampler=sampler, rng=1)
    assert est.status == "suspect"
    assert any("squares underflow" in reason for reason in est.reasons)
    assert est.value == pytest.approx(scale * (np.e - 1) ** 2, rel=0.1)


@pytest.mark.parametrize("sampler", NAMES)
def test_mixed_scales(sampler):
    est = mcvar.estimate(
        lambda x: np.stack([f(x), 1e60 * f(x), 1e-60 * f(x)], axis=1),
        BOX,
        n=4096,
        sampler=sampler,
        rng=1,
        covariance=True,
    )
    np.testing.assert_allclose(est.value / est.value[0], [1, 1e60, 1e-60], rtol=1e-9)
    np.testing.assert_allclose(
        est.standard_error / est.standard_error[0], [1, 1e60, 1e-60], rtol=1e-6
    )
    assert est.status == "completed", est.reasons


@pytest.mark.parametrize("control", [None, mcvar.control.Polynomial(2)])
@pytest.mark.parametrize("sampler", ["auto", "montecarlo", "vegas"])
def test_functions_may_change_their_points_and_reuse_their_output(sampler, control):
    """Neither has an effect on the result: points and values are copied where they are kept."""
    buffer = np.empty(2**18)

    def changing(x):
        x *= 2
        out = np.exp(x[:, 0] / 4, out=buffer[: len(x)])
        x[:] = 0
        return out

    options = {"n": 4096, "sampler": sampler, "control": control, "rng": 1}
    target = stats.multivariate_normal([0, 0])
    fresh = mcvar.estimate(lambda x: np.exp(x[:, 0] / 2), target, **options)
    assert mcvar.estimate(changing, target, **options).value == fresh.value


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((3, stats.norm()), TypeError, "logpdf must be a function"),
        ((lambda x: x[:, 0],), TypeError, "proposal="),
        ((lambda x: np.full(len(x), -np.inf), stats.norm()), ValueError, "-inf at all 256"),
        ((lambda x: np.full(len(x), np.nan), stats.norm()), mcvar.NonFiniteError, "nan at x"),
        ((lambda x: np.full(len(x), np.inf), stats.norm()), mcvar.NonFiniteError, "inf at x"),
        ((lambda x: x, stats.norm()), ValueError, r"shape \(256, 1\)"),
        ((lambda x: x[:, 0] * 1j, stats.norm()), TypeError, "complex"),
        ((lambda x: x[:, 0], stats.poisson(3)), TypeError, "density"),
    ],
)
def test_unnormalised_densities_that_go_wrong(arguments, error, message):
    with pytest.raises(error, match=message):
        mcvar.Unnormalized(*arguments)


@pytest.mark.parametrize("sampler", ["auto", "montecarlo", "sobol"])
def test_a_proposal_that_hardly_reaches_the_target(sampler):
    target = mcvar.Unnormalized(
        lambda x: -0.5 * (((x - 5) / 0.01) ** 2).sum(axis=1), proposal=[stats.norm(0, 3)] * 5
    )
    with pytest.raises(ValueError, match=r"weight e\^.*proposal"):
        mcvar.estimate(lambda x: x[:, 0], target, rng=1, sampler=sampler)


def test_a_small_support_is_reached_in_the_end():
    target = mcvar.Unnormalized(
        lambda x: np.where(x[:, 0] > 0.98, 0.0, -np.inf), proposal=[stats.uniform(0, 1)] * 2
    )
    est = mcvar.estimate(lambda x: x[:, 0], target, n=200, sampler="sobol", rng=3)
    assert est.value == pytest.approx(0.99, abs=0.01)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Importance([]), ValueError, "empty"),
        (lambda: Importance(defensive=0), ValueError, "defensive"),
        (lambda: Stratified("neymann"), ValueError, "did you mean 'neyman'"),
        (lambda: mcvar.samplers.Sobol(1), ValueError, "replicates must be at least 2"),
    ],
)
def test_samplers_made_wrongly(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("sampler", "error", "message"),
    [
        (Importance([stats.norm(0, 1)]), ValueError, "1 dimensions; expected 2, as the target"),
        (Importance([stats.poisson(3)] * 1), ValueError, "1 dimensions"),
        (Importance([BOX], shares=[1, 2]), ValueError, "1 positive numbers"),
        (Importance([BOX], shares=[-1]), ValueError, "positive"),
    ],
)
def test_proposals_that_do_not_fit(sampler, error, message):
    with pytest.raises(error, match=message):
        mcvar.estimate(f, BOX, sampler=sampler)


@pytest.mark.parametrize("sampler", [s for s in NAMES if s not in ("auto", "montecarlo")])
def test_random_only_targets_name_the_sampler_asked_for(sampler):
    law = stats.multivariate_t([0, 0], df=5)
    with pytest.raises(TypeError, match=f"sampler='{sampler}' needs a map from uniforms"):
        mcvar.estimate(f, law, sampler=sampler)
    if sampler != "importance":
        with pytest.raises(TypeError, match=f"sampler='{sampler}' needs a map from uniforms"):
            mcvar.estimate(f, mcvar.Unnormalized(law.logpdf, law), sampler=sampler)


def test_proposals_are_not_ignored_for_unnormalised_targets():
    target = mcvar.Unnormalized(lambda x: -(x[:, 0] ** 2), proposal=stats.t(5))
    with pytest.raises(TypeError, match="proposal"):
        mcvar.estimate(lambda x: x[:, 0], target, sampler=Importance([stats.t(4)]))


def test_too_many_dimensions():
    with pytest.raises(ValueError, match="256 dimensions, the target needs 300"):
        mcvar.estimate(f, [(0, 1)] * 300, sampler="lattice")


@pytest.mark.parametrize("control", [Polynomial(2, "ridge"), Polynomial(2, "lasso")])
@pytest.mark.parametrize("n", [1032, 1040, 1041])
def test_antithetic_pairs_train_penalties_too(control, n):
    est = mcvar.estimate(f, BOX, n=n, sampler="antithetic", control=control, rng=1)
    assert est.value == pytest.approx((np.e - 1) ** 2, abs=6 * est.standard_error)


@pytest.mark.parametrize(
    ("integrand", "options", "note"),
    [
        (lambda x: math.exp(-(x[0] ** 2)), {}, "all points at once.*vectorized=False"),
        (lambda x: 1.0 if x > 0.5 else 0.0, {}, "all points at once.*vectorized=False"),
        (lambda x, y: x * y, {}, "all points at once"),
        (math.sin, {"vectorized": False}, r"one point, x of shape \(2,\)"),
    ],
)
def test_integrands_that_expect_another_x_are_told_how_they_are_called(integrand, options, note):
    with pytest.raises((TypeError, ValueError)) as told:
        mcvar.estimate(integrand, [(0, 1)] * 2, n=1000, rng=1, **options)
    assert re.search(note, " ".join(told.value.__notes__))


def test_what_has_worked_is_not_told_how_it_is_called():
    calls = []

    def breaks_later(x):
        calls.append(len(x))
        if len(calls) > 3:
            raise ValueError("out of paper")
        return x[:, 0]

    with pytest.raises(ValueError, match="out of paper") as told:
        mcvar.estimate(breaks_later, [(0, 1)], n=2**16, rng=1)
    assert "points at once" not in " ".join(getattr(told.value, "__notes__", []))
