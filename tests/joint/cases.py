"""Related tasks for tests: two integrands of South et al. under normals of two variances."""

import numpy as np

import mcvar

VARIANCES = (1.0, 1.25)
EXACT = np.array([2.0, 1.5 + 1.5 * VARIANCES[1]])


def south(seed: int, sizes=(30, 30), dimensions=1):
    """Draws, values and scores of both tasks, as lists."""
    rng = np.random.default_rng(seed)
    x = [
        np.sqrt(v) * rng.standard_normal((n, dimensions))
        for v, n in zip(VARIANCES, sizes, strict=True)
    ]
    bump = [np.sin(np.pi * p[:, 0]) * np.exp(-(p[:, 0] ** 2)) for p in x]
    y = [
        1 + x[0][:, 0] + x[0][:, 0] ** 2 + bump[0],
        1.5 + x[1][:, 0] + 1.5 * x[1][:, 0] ** 2 + 1.75 * bump[1],
    ]
    return x, y, [-p / v for p, v in zip(x, VARIANCES, strict=True)]


def as_tasks(x, y, s):
    """The same as `estimate_jointly` takes it."""
    return [
        (values, mcvar.Draws(points, grad_logpdf=scores))
        for points, values, scores in zip(x, y, s, strict=True)
    ]
