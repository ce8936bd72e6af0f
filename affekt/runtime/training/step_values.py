"""The scalars of training steps, which stay on the device until they are read, all at once."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from affekt.runtime.training import ranks

GRAD_NORM = "grad_norm"  # ends the names of gradients' norms


@dataclass(frozen=True)
class _Batch:
    """The scalars of one batch: the tensors among them in one tensor, on the device."""

    step: int
    names: tuple[str, ...]  # of the tensors
    tensors: Tensor | None
    floats: dict[str, float]


class StepValues:
    """Scalars of the batches since they were last read; reading waits for the device once."""

    def __init__(self) -> None:
        self._batches: list[_Batch] = []

    def add(self, step: int, values: Mapping[str, Tensor | float]) -> None:
        """Keep a batch's scalars; nothing waits for the device."""
        tensors = {name: value for name, value in values.items() if isinstance(value, Tensor)}
        flat = [value.detach().float().reshape(()) for value in tensors.values()]
        floats = {name: float(value) for name, value in values.items() if name not in tensors}
        stacked = torch.stack(flat) if flat else None
        self._batches.append(_Batch(step, tuple(tensors), stacked, floats))

    def read(self) -> dict[int, dict[str, float]]:
        """Return the scalars by step, and forget them.

        Of a step of several batches the means, and of a gradient's norm the last, which is of all
        of them; with several processes the means over them.
        """
        batches, self._batches = self._batches, []
        if not batches:
            return {}
        tensors = [each.tensors for each in batches if each.tensors is not None]
        flat = torch.cat(tensors) if tensors else torch.zeros(0)
        ranks.average_([flat])
        numbers = iter(flat.tolist())
        rows: dict[int, list[dict[str, float]]] = {}
        for batch in batches:
            row = {name: next(numbers) for name in batch.names} | batch.floats
            rows.setdefault(batch.step, []).append(row)
        return {step: _means(each) for step, each in rows.items()}


def _means(rows: list[dict[str, float]]) -> dict[str, float]:
    last = rows[-1]
    return {
        name: last[name] if name.endswith(GRAD_NORM) else sum(row[name] for row in rows) / len(rows)
        for name in last
    }
