"""Geometry in float32 under autocast: bfloat16's 8 bits are half a pixel of a 256 px picture.

And where bfloat16 does not pay: a CPU without instructions for it computes it by way of float32.
"""

import functools
import logging
import typing as tp
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

log = logging.getLogger(__name__)

Returned = tp.TypeVar("Returned")

# Capabilities of torch.cpu with which bfloat16 is multiplied as such: x86 and ARM.
BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")


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


@functools.cache
def warn_of_slow_bfloat16(device: str) -> None:
    """Warn, once, if `device` is a CPU that has no instructions for bfloat16.

    FOMM's generator at 256 px took 13 times as long as in float32 on such a CPU (Zen 3, 7.4 s a
    frame), and 0.8 times as long on one with them (AMX).
    """
    found: dict[str, tp.Any] = getattr(torch.cpu, "get_capabilities", dict)()
    if device == "cpu" and found and not any(found.get(name) for name in BFLOAT16):
        log.warning(
            "bfloat16 is slower than float32 on this CPU, several times: it has none of %s; use "
            "float32",
            ", ".join(BFLOAT16[:2]),
        )


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
