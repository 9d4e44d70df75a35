"""Integrands that worker processes can import, and what two equal estimates have in common."""

import hashlib
import os
import signal
import time

import numpy as np

BOX = [(0, 1)] * 3


def smooth(x):
    return np.exp(-(x**2).sum(axis=1))


def two(x):
    return np.stack([x[:, 0], np.cos(x.sum(axis=1))], axis=1)


def slow(x):
    time.sleep(1e-4 * len(x))
    return smooth(x)


def product(x):
    """By BLAS, whose sums depend on how many points it is given at a time."""
    return np.exp(-(x @ np.arange(1.0, x.shape[1] + 1)))


class KillsOnce:
    """Kills the process that computes it, the first time in all of them."""

    def __init__(self, flag):
        self.flag = str(flag)

    def __call__(self, x):
        try:
            os.close(os.open(self.flag, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return smooth(x)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


class KillsAlways:
    """Kills whatever computes it near one corner."""

    def __call__(self, x):
        if (x > 0.9).all(axis=1).any():
            os.kill(os.getpid(), signal.SIGKILL)
        return smooth(x)


class TwoArgumentsError(Exception):
    """Does not unpickle: pickle gives its constructor the one argument that `args` holds."""

    def __init__(self, code, why):
        super().__init__(f"{code}: {why}")


class Raises:
    """Raises what `kind` makes of a few arguments, wherever it is computed."""

    def __init__(self, kind, *args):
        self.kind, self.args = kind, args

    def __call__(self, x):
        raise self.kind(*self.args)


class FailsAtRandom:
    """Raises in a share of its calls; `rng` belongs to the test, not to the run."""

    def __init__(self, share, seed):
        self.share, self.rng, self.calls = share, np.random.default_rng(seed), 0

    def __call__(self, x):
        self.calls += 1
        if self.rng.random() < self.share:
            raise RuntimeError("licence server busy")
        return smooth(x)


def digest(est):
    """Return a hash of everything in an estimate that must not depend on where it was computed."""
    parts = [est.value, est.standard_error, est.df, est.variance_reduction, est.ess, est.n]
    data = b"".join(np.asarray(part, dtype=float).tobytes() for part in parts)
    return hashlib.sha256(data + repr(est.history).encode()).hexdigest()
