"""Where networks compute, and whether bfloat16 pays there.

A CPU without instructions for bfloat16 computes it by way of float32.
"""

import functools
import logging
import typing as tp

import torch

from affekt.runtime.config import ConfigError

log = logging.getLogger(__name__)

# Capabilities of torch.cpu with which bfloat16 is multiplied as such: x86 and ARM.
BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")


def pick_device(name: str) -> torch.device:
    """Return the device named `auto`, `cpu` or `cuda`.

    Raises:
        ConfigError: cuda is asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("the device is 'cuda' but torch sees no CUDA device; use 'auto' or 'cpu'")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


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
