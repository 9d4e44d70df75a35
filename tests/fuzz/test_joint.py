"""Related integrals, and model evidence."""

import matplotlib.pyplot as plt
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import mcvar
from mcvar import control
from tests.fuzz.outcome import outcome
from tests.fuzz.profile import fuzz, slow_fuzz
from tests.fuzz.strategies import DIMENSIONS, ODD, SEEDS, arrays, labels, mostly
from tests.fuzz.test_given import KERNELS

SIZES = st.sampled_from([2, 3, 4, 8, 12, 20])


@st.composite
def shared_controls(draw):
    """A vector-valued control, or something else."""
    if draw(st.integers(0, 3)):
        return None
    if draw(st.integers(0, 9)) == 0:
        return draw(st.one_of(ODD, st.just(control.SteinKernel())))
    if draw(st.integers(0, 4)) == 0:
        return control.VectorSteinPolynomial(
            draw(mostly(st.sampled_from([1, 2, 3]))),
            penalty=draw(mostly(st.sampled_from([None, 1e-3, 0.0, -1.0]))),
            l1_ratio=draw(mostly(st.sampled_from([1.0, 0.5, 0.0]))),
            standardise=draw(mostly(st.sampled_from(["sd", "cholesky", None]))),
            warm_start=draw(st.booleans()),
        )
    return control.VectorSteinKernel(
        draw(KERNELS),
        task_covariance=draw(
            mostly(st.sampled_from(["learn", np.eye(2), np.ones((2, 2)), "learn", -np.eye(2)]))
        ),
        order=draw(mostly(st.sampled_from([1, 2]))),
        polynomial_degree=draw(mostly(st.sampled_from([None, 1]))),
        ridge=draw(mostly(st.sampled_from([None, 1e-6]))),
    )


@st.composite
def tasks(draw):
    """One to three tasks: normal draws with their scores, or anything."""
    d, found = draw(DIMENSIONS), []
    for _ in range(draw(st.integers(0, 3))):
        n = draw(SIZES)
        if draw(st.integers(0, 2)):
            scale = draw(st.sampled_from([1.0, 1.0, 1.0, 1e-100, 1e100]))
            z = np.random.default_rng(draw(st.integers(0, 99))).normal(size=(n, d))
            x, score = scale * z, -z / scale
            values = draw(st.one_of(st.just(np.cos(z[:, 0])), arrays(n), arrays(n, 2)))
        else:
            x, score, values = draw(arrays(n, d)), draw(arrays(n, d)), draw(arrays(n))
        options = {}
        if draw(st.integers(0, 4)) == 0:
            options[draw(st.sampled_from(["chain", "strata"]))] = draw(labels(n))
        draws = outcome(mcvar.Draws, x, grad_logpdf=score, **options)
        found.append((values, draws))
    return found


def _check_joint(joint):
    repr(joint)
    numbers = (joint.value, joint.standard_error, joint.covariance, joint.task_covariance)
    if not all(np.isfinite(number).all() for number in numbers):
        assert joint.status == "suspect", joint


@given(tasks=tasks(), shared=shared_controls(), data=st.data())
@slow_fuzz
def test_jointly(tasks, shared, data):
    joint = outcome(
        mcvar.estimate_jointly,
        data.draw(mostly(st.just(tasks))),
        shared,
        folds=data.draw(mostly(st.sampled_from([2, 5]))),
        rng=data.draw(mostly(st.one_of(st.none(), SEEDS))),
    )
    if joint is None:
        return
    _check_joint(joint)
    outcome(joint.confidence_interval, data.draw(mostly(st.floats(0.01, 0.99))))
    if data.draw(st.integers(0, 4)) == 0:
        outcome(joint.plot)
        plt.close("all")


@given(data=st.data(), d=DIMENSIONS, n=SIZES)
@slow_fuzz
def test_evidence(data, d, n):
    count = data.draw(st.sampled_from([1, 2, 2, 3]))
    ladder = np.linspace(0, 1, count) ** 3
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    x = [rng.normal(size=(n, d)) for _ in ladder]
    fields = [
        [-(part**2).sum(axis=1) / 2 for part in x],
        [-part for part in x],
        [-part for part in x],
        x,
    ]
    for k, shape in enumerate([(n,), (n, d), (n, d), (n, d)]):
        if data.draw(st.integers(0, 7)) == 0:
            fields[k] = data.draw(
                st.one_of(ODD, st.lists(arrays(*shape), min_size=count, max_size=count))
            )
    found = outcome(
        mcvar.evidence,
        *fields,
        data.draw(mostly(st.just(ladder), st.one_of(ODD, arrays(count)))),
        order=data.draw(mostly(st.sampled_from([1, 2]))),
        control=data.draw(mostly(st.sampled_from(["auto", "auto", control.VectorSteinKernel()]))),
        folds=data.draw(mostly(st.sampled_from([2, 5]))),
        rng=data.draw(mostly(st.one_of(st.none(), SEEDS))),
    )
    if found is None:
        return
    repr(found)
    _check_joint(found.means)
    if not np.isfinite([found.value, found.standard_error]).all():
        assert found.means.status == "suspect"
    outcome(found.confidence_interval, data.draw(mostly(st.floats(0.01, 0.99))))


@given(data=st.data(), d=DIMENSIONS, n=SIZES)
@fuzz
def test_vector_kernel_by_hand(data, d, n):
    shared = control.VectorSteinKernel(
        control.kernels.Gaussian(1.0), task_covariance=np.eye(2), ridge=1e-3
    )
    z = np.random.default_rng(1).normal(size=(n, d))
    usual = [[z, z], [z[:, 0], z[:, 0]], [-z, -z]]
    for part, shape in zip(usual, [(n, d), (n,), (n, d)], strict=True):
        if data.draw(st.integers(0, 2)) == 0:
            part[1] = data.draw(arrays(*shape))
    fitted = outcome(shared.fit, *(data.draw(mostly(st.just(part))) for part in usual))
    if fitted is not None:
        assert np.isfinite(fitted.mean_).all()
        outcome(fitted.predict, data.draw(mostly(st.just(0))), data.draw(arrays(n, d)), -z)
