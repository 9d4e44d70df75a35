"""Slow, obvious twins of the sliced kernels, and exact arithmetic for their oracle."""

from fractions import Fraction

import numpy as np


def sort_rows(rows):
    rows.sort(axis=1)


def cost(x, y, a, b, p):
    """W_p^p between two weighted samples on a line, one piece of mass at a time."""
    i_order, j_order = np.argsort(x, kind="stable"), np.argsort(y, kind="stable")
    i = j = 0
    left_a, left_b = a[i_order[0]], b[j_order[0]]
    total = 0 * left_a
    while True:
        mass = min(left_a, left_b)
        total += mass * abs(x[i_order[i]] - y[j_order[j]]) ** p
        left_a -= mass
        left_b -= mass
        if left_a <= 0:
            i += 1
            if i == len(x):
                return total
            left_a = a[i_order[i]]
        if left_b <= 0:
            j += 1
            if j == len(y):
                return total
            left_b = b[j_order[j]]


def exact_cost(x, y, a, b, p):
    """The same in rational arithmetic (whole p): the weights are made to sum to exactly one."""
    x, y = [np.array([Fraction(float(v)) for v in values], dtype=object) for values in (x, y)]
    a, b = [np.array([Fraction(float(v)) for v in values], dtype=object) for values in (a, b)]
    return float(cost(x, y, a / a.sum(), b / b.sum(), int(p)))


def uniform_cost(x, y, p):
    """The same for uniform weights, in whole units of 1/(n m)."""
    return exact_cost(x, y, np.ones(len(x)), np.ones(len(y)), p)
