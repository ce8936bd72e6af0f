"""Kernels compiled by numba, with their machine code kept on disk where a folder can be written."""

import typing as tp
from collections.abc import Callable

import numba

Kernel = Callable[..., tp.Any]


def compiled(kernel: Kernel, fastmath: bool | set[str] = False) -> Kernel:
    """Compile a kernel at its first call; it runs without the GIL, and divides by 0 as numpy does.

    The machine code is kept next to the source file, or in the user's cache folder. Where neither
    can be written, as in a read-only container, each process compiles anew.
    """
    options: dict[str, tp.Any] = {"nogil": True, "fastmath": fastmath, "error_model": "numpy"}
    try:
        fast: Kernel = numba.njit(cache=True, **options)(kernel)
    except RuntimeError:  # "cannot cache function ...: no locator available"
        fast = numba.njit(**options)(kernel)
    return fast
