"""Geometry in float32 under autocast: bfloat16's 8 bits are half a pixel of a 256 px picture."""

import functools
import typing as tp
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

Returned = tp.TypeVar("Returned")


def in_float32(function: Callable[..., Returned]) -> Callable[..., Returned]:
    """Decorate a function of tensors: it computes in float32, whatever autocast is on.

    Tensors of half precision among its arguments, in tuples too, are made float32; others, float64
    among them, are left as they are, and gradients go back through.
    """

    @functools.wraps(function)
    def exact(*args: tp.Any, **options: tp.Any) -> Returned:
        found = next(_tensors([*args, *options.values()]), None)
        kind = "cuda" if found is not None and found.is_cuda else "cpu"
        with torch.autocast(kind, enabled=False):
            return function(*map(_widened, args), **{n: _widened(v) for n, v in options.items()})

    return exact


def _widened(value: tp.Any) -> tp.Any:
    if isinstance(value, Tensor):
        return value.float() if value.dtype in (torch.bfloat16, torch.float16) else value
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(_widened, value))
    return value


def _tensors(values: tp.Any) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, tuple):
            yield from _tensors(value)
