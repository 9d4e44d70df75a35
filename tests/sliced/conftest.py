import numpy as np
import pytest


@pytest.fixture
def shapes():
    """A torus and a sphere, 1000 points each."""
    rng = np.random.default_rng(0)
    u, v = rng.uniform(0, 2 * np.pi, (2, 1000))
    radius = 1 + 0.4 * np.cos(v)
    torus = np.stack([radius * np.cos(u), radius * np.sin(u), 0.4 * np.sin(v)], axis=1)
    sphere = rng.normal(size=(1000, 3))
    return torus, sphere / np.linalg.norm(sphere, axis=1, keepdims=True)


@pytest.fixture
def mixture():
    """Two mixtures of five normal laws in ten dimensions."""
    rng = np.random.default_rng(1)

    def cloud():
        centres = 2 * rng.normal(size=(5, 10))
        return centres[rng.integers(0, 5, 400)] + rng.normal(size=(400, 10))

    return cloud(), cloud()
