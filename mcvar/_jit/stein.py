"""Stein kernels from squared distances, derivatives of the base kernel and inner products.

The base kernel is g(x) g(y) κ(t), t = |x − y|² in units of the length-scale. The inner products
come from one matrix product, and κ's derivatives from vectorised exponentials, tile by tile; what
is left, some thirty operations an entry, is done here in one pass over the tile.
"""

from mcvar._jit import kernel


@kernel(nogil=True)
def first_order(t, kappa, dots, own_rows, own_columns, g_rows, g_columns, d, out):
    """Write g g' [−4κ''t − 2dκ' − 2κ'(s − s')·r + κ s·s'] for every pair of a tile.

    (float64[:, :] (p, q), float64[:, :, :] (3, p, q), float64[:, :] (2p, 2q), float64[:] (p,),
    float64[:] (q,), float64[:] (p,), float64[:] (q,), int64, float64[:, :] (p, q)) -> None

    `dots` holds the inner products of (x; s) of the rows with (x; s) of the columns, `own` x·s.
    """
    p, q = t.shape
    for i in range(p):
        for j in range(q):
            row_r = own_rows[i] - dots[p + i, j]  # s·r with r = x − x'
            column_r = dots[i, q + j] - own_columns[j]  # s'·r
            k1 = kappa[1, i, j]
            value = (
                -4.0 * kappa[2, i, j] * t[i, j]
                - 2.0 * k1 * (d + row_r - column_r)
                + kappa[0, i, j] * dots[p + i, q + j]
            )
            out[i, j] = g_rows[i] * g_columns[j] * value


@kernel(nogil=True)
def second_order(
    t, kappa, dots, own_rows, own_columns, g_rows, g_columns, c_rows, c_columns, d, out
):
    """Write g g' (L + c)(L' + c') κ, with L = Δ + s·∇, for every pair of a tile.

    (float64[:, :] (p, q), float64[:, :, :] (5, p, q), float64[:, :] (2p, 2q), float64[:] (p,),
    float64[:] (q,), float64[:] (p,), float64[:] (q,), float64[:] (p,), float64[:] (q,), int64,
    float64[:, :] (p, q)) -> None
    """
    p, q = t.shape
    for i in range(p):
        for j in range(q):
            row_r = own_rows[i] - dots[p + i, j]
            column_r = dots[i, q + j] - own_columns[j]
            z = t[i, j]
            k1 = kappa[1, i, j]
            k2 = kappa[2, i, j]
            zk3 = z * kappa[3, i, j]
            laplacian = 4.0 * z * k2 + 2.0 * d * k1
            value = (
                16.0 * z * z * kappa[4, i, j]
                + 16.0 * (2.0 + d) * zk3
                + 4.0 * d * (2.0 + d) * k2
                + ((8.0 + 4.0 * d) * k2 + 8.0 * zk3) * (row_r - column_r)
                - 4.0 * k2 * row_r * column_r
                - 2.0 * k1 * dots[p + i, q + j]
                + c_rows[i] * (laplacian - 2.0 * k1 * column_r)
                + c_columns[j] * (laplacian + 2.0 * k1 * row_r)
                + c_rows[i] * c_columns[j] * kappa[0, i, j]
            )
            out[i, j] = g_rows[i] * g_columns[j] * value


@kernel(nogil=True)
def first_order_slope(t, kappa, dots, own_rows, own_columns, g_rows, g_columns, d, out):
    """Write the derivative of `first_order` with respect to log ℓ, at points that stay.

    (float64[:, :] (p, q), float64[:, :, :] (4, p, q), float64[:, :] (2p, 2q), float64[:] (p,),
    float64[:] (q,), float64[:] (p,), float64[:] (q,), int64, float64[:, :] (p, q)) -> None

    t goes with ℓ⁻², s·s' with ℓ² and g with ℓ⁻¹; s·r does not change.
    """
    p, q = t.shape
    for i in range(p):
        for j in range(q):
            row_r = own_rows[i] - dots[p + i, j]
            column_r = dots[i, q + j] - own_columns[j]
            z = t[i, j]
            k1 = kappa[1, i, j]
            zk2 = z * kappa[2, i, j]
            value = (
                8.0 * z * z * kappa[3, i, j]
                + 16.0 * zk2
                + 4.0 * (k1 + zk2) * (d + row_r - column_r)
                - 2.0 * z * k1 * dots[p + i, q + j]
            )
            out[i, j] = g_rows[i] * g_columns[j] * value


@kernel(nogil=True)
def second_order_slope(
    t, kappa, dots, own_rows, own_columns, g_rows, g_columns, c_rows, c_columns, d, out
):
    """Write the derivative of `second_order` with respect to log ℓ, at points that stay.

    (float64[:, :] (p, q), float64[:, :, :] (6, p, q), float64[:, :] (2p, 2q), float64[:] (p,),
    float64[:] (q,), float64[:] (p,), float64[:] (q,), float64[:] (p,), float64[:] (q,), int64,
    float64[:, :] (p, q)) -> None

    t goes with ℓ⁻², s·s' and c with ℓ², and g with ℓ⁻²: terms are gathered by derivative of κ.
    """
    p, q = t.shape
    e = 2.0 + d
    for i in range(p):
        for j in range(q):
            row_r = own_rows[i] - dots[p + i, j]
            column_r = dots[i, q + j] - own_columns[j]
            z = t[i, j]
            k1 = kappa[1, i, j]
            k2 = kappa[2, i, j]
            zk2 = z * k2
            zk3 = z * kappa[3, i, j]
            zzk4 = z * z * kappa[4, i, j]
            c = c_rows[i] + c_columns[j]
            along = c_columns[j] * row_r - c_rows[i] * column_r
            value = (
                -32.0 * z * z * z * kappa[5, i, j]
                - (128.0 + 32.0 * e) * zzk4
                - (96.0 + 8.0 * d) * e * zk3
                - 16.0 * d * e * k2
                - (16.0 * e * k2 + (48.0 + 8.0 * e) * zk3 + 16.0 * zzk4) * (row_r - column_r)
                + (16.0 * k2 + 8.0 * zk3) * row_r * column_r
                + 4.0 * (k1 + zk2) * (dots[p + i, q + j] - along)
                - c * ((16.0 + 4.0 * d) * zk2 + 4.0 * d * k1 + 8.0 * z * zk3)
                - 2.0 * z * k1 * c_rows[i] * c_columns[j]
            )
            out[i, j] = g_rows[i] * g_columns[j] * value
