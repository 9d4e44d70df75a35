"""Stein kernels from their definition, by finite differences in extended precision."""

import numpy as np

LONG = np.longdouble
_H = LONG(3e-3)
# Central differences of fourth order: offsets, and weights for the derivatives of order 1 and 2.
_OFFSETS = (-2, -1, 1, 2)
_FIRST = [LONG(w) / 12 for w in (1, -8, 8, -1)]
_SECOND = [LONG(w) / 12 for w in (-1, 16, 16, -1)]


def gaussian(x, y, scale):
    return np.exp(-((x - y) ** 2).sum() / scale**2)


def matern52(x, y, scale):
    u = np.sqrt(LONG(5) * ((x - y) ** 2).sum()) / scale
    return (1 + u + u**2 / 3) * np.exp(-u)


def matern92(x, y, scale):
    u = 3 * np.sqrt(((x - y) ** 2).sum()) / scale
    return (1 + u + 3 * u**2 / 7 + 2 * u**3 / 21 + u**4 / 105) * np.exp(-u)


def rational_quadratic(x, y, scale):
    return (1 + ((x - y) ** 2).sum() / (2 * LONG(1.5) * scale**2)) ** LONG(-1.5)


def inverse_multiquadric(x, y, scale):
    return (1 + ((x - y) ** 2).sum() / scale**2) ** LONG(-0.5)


def product(x, y, scale):
    damping = (1 + LONG(0.3) * (x**2).sum()) * (1 + LONG(0.3) * (y**2).sum())
    return np.exp(-((x - y) ** 2).sum() / (2 * scale**2)) / damping


def first_order(kernel, x, s, y, u):
    """Σ_j ∂²k/∂x_j∂y_j + s·∇_y k + u·∇_x k + k s·u."""
    unit = np.eye(len(x), dtype=LONG)
    total = kernel(x, y) * (s * u).sum()
    for j in range(len(x)):
        for a, wa in zip(_OFFSETS, _FIRST, strict=True):
            step = a * _H * unit[j]
            total += wa / _H * (u[j] * kernel(x + step, y) + s[j] * kernel(x, y + step))
            for b, wb in zip(_OFFSETS, _FIRST, strict=True):
                total += wa * wb / _H**2 * kernel(x + step, y + b * _H * unit[j])
    return total


def second_order(kernel, x, s, y, u):
    """(Δ_x + s·∇_x)(Δ_y + u·∇_y) k."""
    return sum(
        wx * wy * kernel(x + dx, y + dy) for dx, wx in _langevin(s) for dy, wy in _langevin(u)
    )


def _langevin(s):
    """Offsets and weights of the operator Δ + s·∇."""
    d = len(s)
    unit = np.eye(d, dtype=LONG)
    nodes = [(np.zeros(d, dtype=LONG), -LONG(30) / 12 / _H**2 * d)]
    for j in range(d):
        for a, first, second in zip(_OFFSETS, _FIRST, _SECOND, strict=True):
            nodes.append((a * _H * unit[j], s[j] * first / _H + second / _H**2))
    return nodes


def gaussian_second_order_matrix(x, s, scale):
    """The published closed form, with a = 1/scale²."""
    a, d = 1 / scale**2, x.shape[1]
    r = x[:, np.newaxis] - x
    z = (r**2).sum(axis=2)
    row, column = np.einsum("id,ijd->ij", s, r), np.einsum("jd,ijd->ij", s, r)
    inner = (
        16 * a**4 * z**2
        - 16 * (2 + d) * a**3 * z
        + 4 * d * (2 + d) * a**2
        + 4 * (-2 * a**3 * z + (2 + d) * a**2) * (row - column)
        - 4 * a**2 * row * column
        + 2 * a * s @ s.T
    )
    return np.exp(-a * z) * inner


def leave_one_out(matrix, noise, phi, y):
    """Residual of each row from a dense fit without it."""
    out = np.empty_like(y)
    for i in range(len(y)):
        others = np.arange(len(y)) != i
        a = matrix[np.ix_(others, others)] + np.diag(noise[others])
        inverse = np.linalg.inv(a)
        beta = np.linalg.solve(
            phi[others].T @ inverse @ phi[others], phi[others].T @ inverse @ y[others]
        )
        dual = inverse @ (y[others] - phi[others] @ beta)
        out[i] = y[i] - phi[i] @ beta - matrix[i, others] @ dual
    return out


def restricted_likelihood(matrix, noise, phi, y):
    """Patterson & Thompson's likelihood of one y with its variance maximised out."""
    a = matrix + np.diag(noise)
    inverse = np.linalg.inv(a)
    inner = phi.T @ inverse @ phi
    p = inverse - inverse @ phi @ np.linalg.solve(inner, phi.T @ inverse)
    degrees = len(y) - phi.shape[1]
    logs = np.linalg.slogdet(a)[1] + np.linalg.slogdet(inner)[1]
    return -0.5 * (degrees * np.log(y @ p @ y / degrees) + logs)


def thinning(matrix, m):
    """Greedy choice, from the whole objective each time."""
    picked = []
    for _ in range(m):
        objective = [
            matrix[i, i] / 2 + sum(matrix[i, j] for j in picked) for i in range(len(matrix))
        ]
        picked.append(int(np.argmin(objective)))
    return picked
