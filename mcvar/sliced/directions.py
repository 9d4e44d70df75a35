"""Sets of directions on the unit sphere, each uniformly distributed in law.

W_p^p along θ and −θ are the same, so a direction is a line. Independent directions serve any d;
orthogonal frames integrate every quadratic form exactly and serve large d; a bank of lines spread
out by minimising an energy, or the spiral in d = 3, is far better where d is small. Every set is
turned by a random rotation (Haar), which makes averages over it unbiased.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from mcvar._checks import as_count, known_name, root_entropy
from mcvar._typing import FloatArray, Seed

KINDS = ("montecarlo", "orthogonal", "sobol", "spiral", "bank")
_MOST_LINES = 256  # a bank takes L² d operations an iteration: beyond this, use several
_KAPPA = 3.0  # sharpness of the bank's energy; 2 to 5 make no difference that can be measured


def directions(n: int, d: int, kind: str = "orthogonal", rng: Seed = None) -> FloatArray:
    """Return n unit vectors, each uniform on the sphere.

    Parameters
    ----------
    n : int
        Number of directions.
    d : int
        Dimension of the space.
    kind : {"montecarlo", "orthogonal", "sobol", "spiral", "bank"}
        "montecarlo": independent. "orthogonal": independent frames of d orthonormal vectors, the
        last one cut short. "sobol": scrambled Sobol' points, by the equal-area map in d = 3 and
        the Gaussian map otherwise (d <= 21201). "spiral": the generalised spiral in d = 3, equal
        angles in d = 2. "bank": lines of least energy, in sets of at most 256.
    rng : int, Generator, SeedSequence or None
        Source of randomness (SPEC 7).

    Returns
    -------
    ndarray, shape (n, d)

    References
    ----------
    Rowland et al., "Orthogonal estimation of Wasserstein distances", AISTATS 2019, section 3.2
    (frames); Nguyen, Bariletto & Ho, "Quasi-Monte Carlo for 3D sliced Wasserstein", ICLR 2024,
    section 3.1 (spiral, equal-area and Gaussian maps) and 3.2 (random rotation).

    Examples
    --------
    >>> import numpy as np, mcvar
    >>> frame = mcvar.sliced.directions(3, 3, "orthogonal", rng=1)
    >>> bool(np.allclose(frame @ frame.T, np.eye(3)))
    True
    """
    n, d = as_count("n", n), as_count("d", d)
    known_name("kind", kind, KINDS)
    return draw_directions(n, d, kind, np.random.default_rng(root_entropy(rng)))


def draw_directions(n: int, d: int, kind: str, generator: np.random.Generator) -> FloatArray:
    """Return n directions of one kind, shape (n, d), drawn from `generator`."""
    if d == 1:
        return np.ones((n, 1))
    if kind == "montecarlo":
        return independent_directions(n, d, generator)
    if kind == "orthogonal":
        whole = frames(n // d, d, d, generator).reshape(-1, d)
        return np.concatenate([whole, frame(n % d, d, generator)]) if n % d else whole
    if kind == "sobol":
        return _sobol(n, d, generator)
    if d == 2:
        # Turning equal angles in the plane takes one angle.
        angle = np.pi * (np.arange(n) / n + 2 * generator.random())
        return np.stack([np.cos(angle), np.sin(angle)], axis=1)
    if kind == "spiral":
        return spiral(n, d) @ frame(d, d, generator)
    sizes = [_MOST_LINES] * (n // _MOST_LINES) + ([n % _MOST_LINES] if n % _MOST_LINES else [])
    return np.concatenate([bank(size, d) @ frame(d, d, generator) for size in sizes])


def independent_directions(
    n: int, d: int, rng: np.random.Generator, dtype: Any = np.float64
) -> npt.NDArray[Any]:
    """Return n independent directions of dtype float32 or float64, shape (n, d)."""
    return _normalised(rng.standard_normal((n, d), dtype=dtype))


def frame(size: int, d: int, rng: np.random.Generator) -> FloatArray:
    """Return `size` <= d orthonormal rows, uniform (Haar) among all such: shape (size, d)."""
    return np.asarray(frames(1, size, d, rng)[0])


def frames(count: int, size: int, d: int, rng: np.random.Generator) -> FloatArray:
    """Return independent frames of `size` <= d orthonormal rows, shape (count, size, d)."""
    q, r = np.linalg.qr(rng.standard_normal((count, d, size)))
    # QR fixes each column up to its sign; the sign of R's diagonal makes the law uniform.
    signs = np.sign(np.diagonal(r, axis1=1, axis2=2))[:, np.newaxis]
    return np.asarray((q * signs).swapaxes(1, 2))


@lru_cache(maxsize=64)
def bank(n: int, d: int) -> FloatArray:
    """Return n lines of least energy Σ exp(κ(c² − 1)) over pairs, c their cosines.

    Computed once per process and (n, d); the same everywhere, since it starts from a fixed seed.

    Parameters
    ----------
    n : int
        Number of lines, at most 256.
    d : int
        Dimension, at least 2.

    Returns
    -------
    ndarray, shape (n, d), read-only

    References
    ----------
    Cohn & Kumar, "Universally optimal distribution of points on spheres", J. AMS 20 (2007),
    theorem 1.2: absolutely monotone functions of the cosine share their best configurations.
    """
    if d == 2:
        lines = spiral(n, d)
    elif n <= d:
        lines = np.eye(n, d)
    else:
        from scipy.optimize import minimize
        from threadpoolctl import threadpool_limits

        start = np.random.default_rng(0).standard_normal((n, d))
        # Products this small lose more to waking threads than they win: up to 15 times.
        with threadpool_limits(1, user_api="blas"):
            solution = minimize(
                _energy, start.ravel(), args=(n, d), jac=True, method="L-BFGS-B",
                options={"maxiter": 300 if n <= 64 else 150, "ftol": 1e-13, "gtol": 1e-12},
            )  # fmt: skip
        lines = _normalised(solution.x.reshape(n, d))
    lines.flags.writeable = False
    return lines


def _energy(flat: FloatArray, n: int, d: int) -> tuple[float, FloatArray]:
    """Mean energy of the lines along n vectors, and its gradient."""
    vectors = flat.reshape(n, d)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / length
    cosine = unit @ unit.T
    energy = np.exp(_KAPPA * (cosine**2 - 1))
    np.fill_diagonal(energy, 0.0)
    gradient = 4 * _KAPPA * (energy * cosine) @ unit
    gradient -= np.einsum("ij,ij->i", gradient, unit)[:, np.newaxis] * unit
    return float(energy.mean()), (gradient / length).ravel() / n**2


def _sobol(n: int, d: int, rng: np.random.Generator) -> FloatArray:
    from scipy.special import ndtri
    from scipy.stats import qmc

    # The rotation randomises the equal-area map; the scramble is enough, and needed, elsewhere.
    points = qmc.Sobol(2 if d == 3 else d, scramble=True, rng=rng)
    u = points.random_base2(int(n - 1).bit_length())[:n]
    if d != 3:
        return _normalised(ndtri(np.clip(u, 2.0**-54, 1 - 2.0**-53)))
    height, angle = 1 - 2 * u[:, 0], 2 * np.pi * u[:, 1]
    radius = np.sqrt(1 - height**2)
    lines = np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=1)
    return np.asarray(lines @ frame(3, 3, rng))


def spiral(n: int, d: int) -> FloatArray:
    """Return unrotated points: equal angles in d = 2, the generalised spiral in d = 3."""
    if d == 2:
        angle = np.pi * np.arange(n) / n
        return np.stack([np.cos(angle), np.sin(angle)], axis=1)
    if d != 3:
        raise ValueError(f"kind='spiral' exists in d = 2 and 3, got d={d}; use 'bank'.")
    height = 1 - (2 * np.arange(1, n + 1) - 1) / n
    angle = 1.8 * np.sqrt(n) * np.arccos(height)
    radius = np.sqrt(1 - height**2)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=1)


def _normalised(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    length = np.sqrt(np.einsum("ij,ij->i", x, x))
    x /= length[:, np.newaxis]
    return x
