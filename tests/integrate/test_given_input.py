"""What Draws and their values may look like, and what is refused."""

import numpy as np
import pytest

import mcvar
from mcvar.control import KnownMean, Polynomial

RNG = np.random.default_rng(8)
X = RNG.standard_normal((300, 2))
Y = X[:, 0] ** 2
POSITIVE = RNG.uniform(0.5, 1.5, 300)


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"x": [[0.0], [np.nan]]}, ValueError, r"x holds nan at index \(1, 0\)"),
        ({"x": [[np.inf]]}, ValueError, "x holds inf"),
        ({"x": [[1j]]}, TypeError, "complex"),
        ({"x": ["a"]}, TypeError, "numeric"),
        ({"x": [[1.0], [1.0, 2.0]]}, ValueError, "rectangular"),
        ({"x": np.empty((0, 2))}, ValueError, r"got \(0, 2\)"),
        ({"x": np.zeros((2, 2, 2))}, ValueError, r"got \(2, 2, 2\)"),
        ({"x": X, "weights": np.ones(299)}, ValueError, "weights has 299 rows.*300"),
        ({"x": X, "weights": np.ones((300, 1))}, ValueError, r"shape \(300,\)"),
        ({"x": X, "weights": np.r_[-1.0, np.ones(299)]}, ValueError, r"negative, got -1.*index 0"),
        ({"x": X, "weights": np.r_[np.nan, np.ones(299)]}, ValueError, "weights holds nan"),
        ({"x": X, "weights": np.zeros(300)}, ValueError, "all weights are zero"),
        ({"x": X, "weights": 2 * POSITIVE}, ValueError, "self_normalized=True"),
        ({"x": X, "self_normalized": True}, ValueError, "weights"),
        ({"x": X, "strata": np.zeros(300)}, ValueError, "whole-number labels"),
        ({"x": X, "chain": np.zeros((300, 1), int)}, ValueError, "whole-number labels"),
        (
            {"x": X, "chain": np.zeros(300, int), "strata": np.zeros(300, int)},
            ValueError,
            "strata and chain",
        ),
        ({"x": X, "grad_logpdf": np.zeros((300, 3))}, ValueError, r"\(300, 3\).*\(300, 2\)"),
    ],
)
def test_refused_draws(fields, error, message):
    with pytest.raises(error, match=message):
        mcvar.Draws(**fields)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (Y[:-1], ValueError, r"shape \(299,\) for 300 draws"),
        (np.zeros((2, 300)), ValueError, r"shape \(2, 300\) for 300 draws"),
        (np.r_[np.nan, Y[1:]], ValueError, r"values holds nan at index \(0,\)"),
        (Y + 1j, TypeError, "complex"),
        (["a"] * 300, TypeError, "numeric"),
        (lambda x: x[:-1, 0], ValueError, r"\(299,\)"),
        (lambda x: np.where(x[:, 0] > 2, np.nan, 1.0), mcvar.NonFiniteError, "given draws"),
    ],
)
def test_refused_values(values, error, message):
    with pytest.raises(error, match=message):
        mcvar.estimate(values, mcvar.Draws(X))


@pytest.mark.parametrize(
    "options",
    [{"n": 100}, {"rtol": 1e-3}, {"atol": 1e-3}, {"max_n": 100}, {"sampler": "sobol"}],
)
def test_options_that_draws_cannot_honour_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        mcvar.estimate(Y, mcvar.Draws(X), **options)


@pytest.mark.parametrize(
    "values", [Y, Y.tolist(), Y[::-1][::-1], np.asfortranarray(Y), tuple(Y), Y.astype(np.float32)]
)
def test_forms_of_values(values):
    est = mcvar.estimate(values, mcvar.Draws(X))
    assert isinstance(est.value, float)
    assert est.value == pytest.approx(Y.mean(), rel=1e-6)


def test_values_and_function_agree_to_the_bit():
    by_values = mcvar.estimate(Y, mcvar.Draws(X))
    by_function = mcvar.estimate(lambda x: x[:, 0] ** 2, mcvar.Draws(X))
    assert by_values.value == by_function.value
    assert by_values.standard_error == by_function.standard_error


def test_integers_and_lists_as_draws():
    est = mcvar.estimate([True, False, True, True], mcvar.Draws([1, 2, 3, 4]), control=None)
    assert est.value == 0.75
    column = mcvar.estimate(np.array([[1], [2], [3]]), mcvar.Draws([1, 2, 3]), control=None)
    assert column.value.shape == (1,)


def test_few_draws_without_a_control_need_no_folds():
    est = mcvar.estimate([1.0, 2.0, 3.0], mcvar.Draws([1, 2, 3]))
    assert est.value == 2
    assert est.standard_error == pytest.approx(1 / np.sqrt(3))


def test_few_draws_with_a_control_are_refused():
    with pytest.raises(ValueError, match="9 draws are too few for 5 folds; expected at least 10"):
        mcvar.estimate(Y[:9], mcvar.Draws(X[:9]), control=KnownMean(lambda x: x, [0, 0]))


def test_one_draw_is_refused():
    with pytest.raises(ValueError, match="1 draw"):
        mcvar.estimate([1.0], mcvar.Draws([1.0]), control=None)


def test_lonely_strata_and_replicates_are_refused():
    with pytest.raises(ValueError, match="stratum 7 has a single draw"):
        mcvar.estimate(Y, mcvar.Draws(X, strata=np.r_[7, np.zeros(299, int)]), control=None)
    with pytest.raises(ValueError, match="at least 2"):
        mcvar.estimate(Y, mcvar.Draws(X, replicate=np.zeros(300, int)), control=None)


@pytest.mark.parametrize("control", ["polynomial", "atuo"])
def test_unknown_control_names(control):
    with pytest.raises(ValueError, match=f"unknown control '{control}'"):
        mcvar.estimate(Y, mcvar.Draws(X), control=control)


@pytest.mark.parametrize("control", [3, LookupError, object()])
def test_objects_that_are_no_controls(control):
    with pytest.raises(TypeError, match="control must be"):
        mcvar.estimate(Y, mcvar.Draws(X), control=control)


def test_regressor_without_mean():
    from sklearn.linear_model import LinearRegression

    with pytest.raises(TypeError, match="LinearRegression has no `mean_`"):
        mcvar.estimate(Y, mcvar.Draws(X), control=LinearRegression())


def test_polynomial_without_a_basis_says_how_to_give_one():
    with pytest.raises(TypeError, match=r"basis=target.basis\(\)"):
        mcvar.estimate(Y, mcvar.Draws(X), control=Polynomial(2))


def test_control_with_a_wrong_mean():
    with pytest.raises(mcvar.ControlMeanError, match=r"feature 1 .*sample mean -0\.4"):
        mcvar.estimate(Y, mcvar.Draws(X), control=KnownMean(lambda x: x, [0.0, 0.5]))


@pytest.mark.parametrize("n", [30, 50, 99, 500])
def test_one_weight_that_dominates_is_suspect(n):
    weights = np.r_[1e6, np.ones(n - 1)]
    draws = mcvar.Draws(np.arange(float(n)), weights=weights, self_normalized=True)
    est = mcvar.estimate(np.arange(float(n)), draws)
    assert est.status == "suspect"
    assert "one weight holds 100%" in est.reasons[-1]


def test_one_value_that_dominates_is_suspect():
    est = mcvar.estimate(np.r_[1e9, Y[1:]], mcvar.Draws(X))
    assert est.status == "suspect"
    assert "one draw of 300" in est.reasons[0]


@pytest.mark.parametrize(
    "labels",
    [{}, {"chain": np.arange(300) // 150}, {"replicate": np.arange(300) // 30}],
    ids=["plain", "chain", "replicate"],
)
@pytest.mark.parametrize(("value", "status"), [(0.0, "suspect"), (2.0, "completed")])
def test_of_values_that_never_vary_only_zero_is_suspect(labels, value, status):
    est = mcvar.estimate(np.full(300, value), mcvar.Draws(X, **labels))
    assert (est.value, est.standard_error, est.status) == (value, 0, status)
    assert ("zero at all 300 points" in " ".join(est.reasons)) == (value == 0)


def test_weights_of_infinite_variance_are_suspect():
    rng = np.random.default_rng(1)
    x = rng.standard_normal(5000)
    w = np.exp(x**2 / 2 * 0.9)
    est = mcvar.estimate(np.tanh(x), mcvar.Draws(x, weights=w, self_normalized=True))
    assert est.status == "suspect"
    assert "tail index" in est.reasons[-1] or "one weight" in est.reasons[-1]


def test_weights_that_take_two_values_are_no_heavy_tail():
    w = np.where(np.arange(1000) % 10 == 0, 1.0, 0.0)
    est = mcvar.estimate(np.arange(1000.0), mcvar.Draws(np.arange(1000.0), weights=10 * w))
    assert est.status == "completed", est.reasons


def test_chains_of_one_draw_each_are_independent_draws():
    est = mcvar.estimate(Y, mcvar.Draws(X, chain=np.arange(300)), control=None)
    plain = mcvar.estimate(Y, mcvar.Draws(X), control=None)
    assert est.standard_error == pytest.approx(plain.standard_error, rel=1e-9)


def test_folds_of_one_says_so():
    est = mcvar.estimate(Y, mcvar.Draws(X), control=KnownMean(lambda x: x, [0, 0]), folds=1)
    assert "folds=1" in est.control


def test_large_offsets_do_not_spoil_the_gain():
    draws = mcvar.Draws(X, weights=POSITIVE / POSITIVE.mean())
    small = mcvar.estimate(X[:, 0], draws)
    shifted = mcvar.estimate(1e9 + X[:, 0], draws)
    assert shifted.variance_reduction > 0
    self_normalized = mcvar.Draws(X, weights=POSITIVE, self_normalized=True)
    near = mcvar.estimate(X[:, 0], self_normalized)
    far = mcvar.estimate(1e9 + X[:, 0], self_normalized)
    assert far.variance_reduction == pytest.approx(near.variance_reduction, rel=1e-3)
    assert far.standard_error == pytest.approx(near.standard_error, rel=1e-3)
    assert small.variance_reduction > 0
