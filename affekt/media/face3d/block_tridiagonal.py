"""Cholesky's factorisation of a symmetric block tridiagonal matrix, in one sweep there and back.

Letters: S blocks of size Q, R right-hand sides (Golub and Van Loan, Matrix Computations, 4.5.1).
"""

import numpy as np
from scipy.linalg import solve_triangular

from affekt.arrays import Array


def forward(blocks: Array, beside: Array, rows: Array) -> tuple[list[Array], list[Array], Array]:
    """Return the lower factors L_kk (Q, Q), the links L_(k+1)k^T (Q, Q), and L^-1 `rows`.

    Args:
        blocks: (S, Q, Q), on the diagonal; the lower triangles count.
        beside: (S - 1, Q, Q), below it: block k + 1, k.
        rows: (S, Q, R), right-hand sides.

    Raises:
        LinAlgError: the matrix is not positive definite.
    """
    lowers: list[Array] = []
    links: list[Array] = []
    whitened = np.empty_like(rows)
    for index, block in enumerate(blocks):
        right = rows[index]
        if index:
            links.append(_solved(lowers[-1], beside[index - 1].T))
            block = block - links[-1].T @ links[-1]
            right = right - links[-1].T @ whitened[index - 1]
        lowers.append(np.linalg.cholesky(block))
        whitened[index] = _solved(lowers[-1], right)
    return lowers, links, whitened


def backward(lowers: list[Array], links: list[Array], wanted: Array) -> Array:
    """Return L^-T `wanted` (S, Q), with what `forward` returned."""
    out = np.empty_like(wanted)
    for index in reversed(range(len(lowers))):
        right = wanted[index]
        if index + 1 < len(lowers):
            right = right - links[index] @ out[index + 1]
        out[index] = solve_triangular(lowers[index].T, right, check_finite=False)
    return out


def _solved(lower: Array, right: Array) -> Array:
    return solve_triangular(lower, right, lower=True, check_finite=False)
