"""Kernel Stein controls: formulas, hyper-parameters, bias, coverage, and wrong input."""

import functools

import numpy as np
import pytest
from sklearn.base import clone

import mcvar
from mcvar.control import SteinKernel
from mcvar.control.kernel_system import Spectrum, factorise
from mcvar.control.kernels import Gaussian, InverseMultiquadric, Matern
from mcvar.control.sample import orthonormal
from mcvar.control.stein_gram import SteinGram
from mcvar.control.stein_polynomial_features import langevin_indices, stein_features
from tests import harness, naive_stein

FIXED = {"kernel": Gaussian(1.5), "standardise": None, "ridge": 1e-6}


def normal(seed, n=60, d=2):
    x = np.random.default_rng(seed).normal(size=(n, d))
    return x, -x, np.sin(x[:, 0]) + np.exp(x.sum(axis=1) / 3)


def student(seed, n, d=1, df=10):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) * np.sqrt(df / rng.chisquare(df, size=(n, 1)))
    return x, -(df + d) * x / (df + (x**2).sum(axis=1, keepdims=True))


def dense(x, s, order, kernel, ridge):
    gram = SteinGram(kernel, order)
    matrix = gram.matrix(gram.at(x, s))
    return matrix, matrix + ridge * np.diagonal(matrix).mean() * np.eye(len(x))


@pytest.mark.parametrize("order", [1, 2])
def test_control_functional_is_the_simplified_formula(order):
    x, s, y = normal(1)
    _, a = dense(x, s, order, FIXED["kernel"], FIXED["ridge"])
    ones = np.ones(len(x))
    expected = ones @ np.linalg.solve(a, y) / (ones @ np.linalg.solve(a, ones))
    fitted = SteinKernel(order=order, **FIXED).fit(x, y, grad_logpdf=s)
    assert fitted.mean_ == pytest.approx(expected, rel=1e-9)
    assert fitted.jitter_ == 0
    assert fitted.condition_ > 1


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("degree", [1, 2])
def test_semi_exact_is_the_formula(order, degree):
    x, s, y = normal(2)
    _, a = dense(x, s, order, FIXED["kernel"], FIXED["ridge"])
    phi = np.column_stack([np.ones(len(x)), stein_features(x, s, langevin_indices(2, degree))])
    inverse = np.linalg.inv(a)
    beta = np.linalg.solve(phi.T @ inverse @ phi, phi.T @ inverse @ y)
    fitted = SteinKernel(order=order, polynomial_degree=degree, **FIXED)
    fitted.fit(x, y, grad_logpdf=s)
    np.testing.assert_allclose(fitted.beta_[:, 0], beta, rtol=1e-8, atol=1e-10)
    assert fitted.mean_ == pytest.approx(beta[0], rel=1e-9)


def test_prediction_interpolates_and_its_mean_is_exact():
    x, s, y = normal(3, n=80, d=1)
    fitted = SteinKernel(Gaussian(1.5), ridge=1e-10).fit(x, y, grad_logpdf=s)
    np.testing.assert_allclose(fitted.predict(x, s), y, atol=1e-5)
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    mean = weights @ fitted.predict(nodes, -nodes) / weights.sum()
    assert mean == pytest.approx(fitted.mean_, abs=1e-8)


def test_semi_exact_is_exact_for_polynomials_under_a_normal_law():
    rng = np.random.default_rng(4)
    root = np.array([[1.0, 0.0], [0.9, 0.2]])
    z = rng.normal(size=(40, 2))
    x = 3 + z @ root.T
    s = -np.linalg.solve(root.T, z.T).T
    y = np.column_stack([x[:, 0] * x[:, 1], x[:, 1] ** 2])
    fitted = SteinKernel(polynomial_degree=2).fit(x, y, grad_logpdf=s)
    np.testing.assert_allclose(fitted.mean_, [9.9, 9.85], rtol=1e-8)


@pytest.mark.parametrize("weighted", [False, True])
def test_leave_one_out_and_likelihood_are_what_dense_algebra_says(weighted):
    x, s, y = normal(5, n=25)
    y = np.column_stack([y, x[:, 0] ** 3])
    w = np.random.default_rng(6).uniform(0.5, 2, size=25) if weighted else np.ones(25)
    matrix, _ = dense(x, s, 1, Gaussian(1.5), 0)
    phi, _ = orthonormal(np.column_stack([np.ones(25), stein_features(x, s, ((0,), (1,)))]))
    root = np.sqrt(w)[:, np.newaxis]
    spectrum = Spectrum.of_matrix(root * matrix * root.T, root * phi, root * y)
    for ridge in (1e-3, 0.3):
        expected = naive_stein.leave_one_out(matrix, ridge / w, phi, y)
        found = spectrum.leave_one_out(np.array([ridge, 1.0]))
        np.testing.assert_allclose(found[0], root * expected, rtol=1e-7)
        scaled = root * matrix * root.T, np.full(25, ridge), root * phi
        likelihood = [
            naive_stein.restricted_likelihood(*scaled, (root * y)[:, j]) for j in range(2)
        ]
        found = spectrum.restricted_likelihood(np.array([ridge, 1.0]))
        np.testing.assert_allclose(found[0], likelihood, rtol=1e-9)


def test_weights_are_precisions():
    x, s, y = normal(7)
    w = np.random.default_rng(8).uniform(0.2, 3, size=len(x))
    matrix, _ = dense(x, s, 1, FIXED["kernel"], 0)
    noise = 1e-6 * np.diagonal(matrix).mean() * w.mean() / w
    a = matrix + np.diag(noise)
    ones = np.ones(len(x))
    expected = ones @ np.linalg.solve(a, y) / (ones @ np.linalg.solve(a, ones))
    fitted = SteinKernel(**FIXED).fit(x, y, grad_logpdf=s, sample_weight=w)
    assert fitted.mean_ == pytest.approx(expected, rel=1e-9)
    # Rows of weight zero are not there.
    more = np.vstack([x, [[9.0, 9.0]]]), np.r_[y, 1e6], np.vstack([s, [[1.0, 1.0]]])
    padded = SteinKernel(**FIXED).fit(*more, sample_weight=np.r_[w, 0])
    assert padded.mean_ == pytest.approx(expected, rel=1e-9)


def test_draws_that_coincide_count_once():
    x, s, y = normal(9)
    rows = np.r_[np.arange(60), 3, 3, 3, 17]
    once = SteinKernel().fit(x, y, grad_logpdf=s)
    again = SteinKernel().fit(x[rows], y[rows], grad_logpdf=s[rows])
    assert again.n_points_ == 60
    assert again.mean_ == pytest.approx(once.mean_, rel=1e-12)


def test_integrands_together_are_integrands_alone():
    x, s, y = normal(10, n=120)
    y = np.column_stack([y, x[:, 1] ** 2, np.abs(x[:, 0])])
    options = {"kernel": Gaussian(2.0), "ridge": 1e-5, "polynomial_degree": 1}
    together = SteinKernel(**options).fit(x, y, grad_logpdf=s)
    alone = [SteinKernel(**options).fit(x, column, grad_logpdf=s) for column in y.T]
    np.testing.assert_allclose(together.mean_, [fit.mean_ for fit in alone], rtol=1e-10)
    predicted = np.column_stack([fit.predict(x[:5], s[:5]) for fit in alone])
    np.testing.assert_allclose(together.predict(x[:5], s[:5]), predicted, rtol=1e-8)


def test_nystrom_with_every_point_as_a_centre_is_exact():
    x, s, y = normal(11, n=150)
    options = {"kernel": Gaussian(1.5), "ridge": 1e-4}
    exact = SteinKernel(**options).fit(x, y, grad_logpdf=s)
    through = SteinKernel(solver="nystrom", n_centres=150, **options).fit(x, y, grad_logpdf=s)
    assert through.mean_ == pytest.approx(exact.mean_, rel=1e-7)
    few = SteinKernel(solver="nystrom", n_centres=60, **options).fit(x, y, grad_logpdf=s)
    assert "60 centres" in few.describe()
    assert abs(few.mean_ - exact.mean_) < 0.02  # the plain mean is off by 0.07


def test_smooth_and_rough_integrands_get_kernels_of_their_own():
    x, s, _ = normal(12, n=300, d=1)
    y = np.column_stack([x[:, 0] ** 2, np.abs(x[:, 0])])
    fitted = SteinKernel().fit(x, y, grad_logpdf=s)
    kinds = [type(candidate.kernel) for candidate in fitted.chosen_]
    assert kinds == [Gaussian, Matern]
    np.testing.assert_allclose(fitted.mean_, [1, np.sqrt(2 / np.pi)], atol=1e-3)


@pytest.mark.parametrize("criterion", ["loo", "reml"])
def test_both_criteria_beat_the_plain_mean_by_far(criterion):
    errors = []
    for seed in range(5):
        x, s, y = normal(seed, n=150)
        fitted = SteinKernel(Gaussian(), criterion=criterion).fit(x, y, grad_logpdf=s)
        errors.append(fitted.mean_ - np.exp(1 / 9))
    assert np.abs(errors).max() < 0.01  # the plain mean has a standard error of 0.07


@pytest.mark.parametrize(
    "control",
    [SteinKernel(), SteinKernel(InverseMultiquadric(), polynomial_degree=1)],
    ids=["functional", "semi-exact"],
)
def test_heavy_tails_neither_bias_nor_mislead(control):
    @functools.cache
    def run(seed):
        x, s = student(seed, n=300, d=3)
        y = np.column_stack([x[:, 0] ** 2, x[:, 0]])
        return mcvar.estimate(y, mcvar.Draws(x, grad_logpdf=s), control=control, folds=3)

    harness.check_unbiased(run, [1.25, 0.0], 50)
    # Fourth moment of a t law with 10 degrees of freedom: 3 · 100 / (8 · 6).
    harness.check_never_worse(run, [1.25, 0.0], np.array([6.25 - 1.25**2, 1.25]) / 300, 0.1, 50)
    harness.check_coverage(run, [1.25, 0.0], 0.88, 50)


def test_a_fit_that_one_draw_contradicts_has_an_error_bar_that_covers():
    """The kernel is exact but for the outermost draws, which the jackknife sees."""
    covered = 0
    for seed in range(10):
        x, s = student(seed, n=150)
        draws = mcvar.Draws(x, grad_logpdf=s)
        est = mcvar.estimate(x[:, 0] ** 2, draws, control=SteinKernel())
        low, high = est.confidence_interval()
        covered += low <= 1.25 <= high
        assert abs(est.value - 1.25) < 0.02
    assert covered >= 8


def test_clone_describe_and_score_attribute():
    control = SteinKernel(InverseMultiquadric(2.0), order=2, polynomial_degree=1, ridge=1e-3)
    assert clone(control).get_params() == control.get_params()
    assert control.needs_score
    assert "order 2, polynomial of degree 1" in control.describe()
    x, s, y = normal(13)
    text = control.fit(x, y, grad_logpdf=s).describe()
    assert "InverseMultiquadric(2), order 2" in text
    assert "ridge 0.001, 60 points" in text


def test_jitter_is_reported_where_it_was_needed():
    x = np.repeat(np.linspace(-1, 1, 30)[:, np.newaxis], 2, axis=0)
    x[1::2] += 1e-9
    y = x[:, 0] ** 2
    fitted = SteinKernel(Gaussian(3.0), ridge=0.0).fit(x, y, grad_logpdf=-x)
    assert 0 < fitted.jitter_ < 1e-6
    assert np.isfinite(fitted.mean_)


def test_wrong_input_is_told():
    x, s, y = normal(14)
    fit = SteinKernel().fit
    with pytest.raises(ValueError, match=r"grad_logpdf has shape \(60, 1\); expected that of X"):
        fit(x, y, grad_logpdf=s[:, :1])
    bad = s.copy()
    bad[3, 1] = np.nan
    with pytest.raises(ValueError, match=r"grad_logpdf holds nan at index \(3, 1\)"):
        fit(x, y, grad_logpdf=bad)
    with pytest.raises(ValueError, match=r"y has shape \(59,\) for 60 draws"):
        fit(x, y[1:], grad_logpdf=s)
    with pytest.raises(ValueError, match="coordinate 1 of the draws is constant"):
        fit(np.column_stack([x[:, 0], np.ones(60)]), y, grad_logpdf=s)
    with pytest.raises(ValueError, match="covariance of the draws is singular"):
        fit(np.column_stack([x[:, 0], x[:, 0]]), y, grad_logpdf=s)
    with pytest.raises(ValueError, match="5 distinct draws are too few for a kernel and 6"):
        SteinKernel(polynomial_degree=2).fit(x[:5], y[:5], grad_logpdf=s[:5])
    with pytest.raises(ValueError, match="1 distinct draws are too few"):
        fit(np.ones((40, 2)), y[:40], grad_logpdf=s[:40])
    with pytest.raises(ValueError, match="order must be 1 or 2, got 3"):
        SteinKernel(order=3).fit(x, y, grad_logpdf=s)
    with pytest.raises(ValueError, match="unknown solver 'nystroem'; did you mean 'nystrom'"):
        SteinKernel(solver="nystroem").fit(x, y, grad_logpdf=s)
    with pytest.raises(ValueError, match="ridge must be a number >= 0"):
        SteinKernel(ridge=-1.0).fit(x, y, grad_logpdf=s)
    with pytest.raises(ValueError, match="empty sequence"):
        SteinKernel(kernel=()).fit(x, y, grad_logpdf=s)
    with pytest.raises(ValueError, match="non-negative numbers, not all zero"):
        fit(x, y, grad_logpdf=s, sample_weight=np.zeros(60))
    with pytest.raises(ValueError, match="3 dimensions; the control was fitted in 2"):
        fit(x, y, grad_logpdf=s).predict(np.ones((2, 3)), np.ones((2, 3)))
    with pytest.raises(ValueError, match="polynomial part is singular"):
        SteinKernel(polynomial_degree=1).fit(x, y, grad_logpdf=np.zeros_like(x))


def test_a_hopeless_system_is_refused():
    with pytest.raises(ValueError, match="singular even with a jitter"):
        factorise(lambda: np.array([[1.0, 0.0], [2.0, 1.0]]), np.zeros(2))
    with pytest.raises(ValueError, match="mean diagonal nan"):
        factorise(lambda: np.full((2, 2), np.nan), np.zeros(2))


def test_a_system_beyond_the_memory_names_what_scales():
    x = np.random.default_rng(0).normal(size=(200, 1))
    small = mcvar.control.SteinKernel(max_memory=1e5)
    with pytest.raises(MemoryError, match=r"200 draws takes 0\.00032 GB.*nystrom.*SteinPolynomial"):
        small.fit(x, x[:, 0] ** 2, grad_logpdf=-x)
    for wrong in (0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="max_memory must be positive"):
            mcvar.control.SteinKernel(max_memory=wrong).fit(x, x[:, 0], grad_logpdf=-x)
    within = mcvar.control.SteinKernel(solver="nystrom", n_centres=50, max_memory=1e5)
    assert abs(within.fit(x, x[:, 0] ** 2, grad_logpdf=-x).mean_ - 1) < 1e-3
