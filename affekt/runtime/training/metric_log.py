"""Metrics and pictures of a run: metrics.jsonl, pictures/ and TensorBoard's events.

The scalars of training steps stay on the device until they are read, all at once.
"""

import json
import logging
import math
import time
import typing as tp
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from affekt.runtime.files import put_aside, replacing, write_jsonl
from affekt.runtime.training import ranks

if tp.TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

log = logging.getLogger(__name__)

GRAD_NORM = "grad_norm"  # ends the names of gradients' norms


class MetricLogger:
    """Metrics of one run; a continued run drops the lines that it will write again."""

    def __init__(self, out: Path) -> None:
        self.out, self.path = out, out / "metrics.jsonl"
        self._board: SummaryWriter | None = None
        self._purge_after = 0  # curves of later steps, left by a stopped run, are hidden

    def forget_after(self, step: int) -> None:
        """Drop what a run that stopped after its last checkpoint wrote of later steps.

        A last line that was cut short, by a full disk or a kill, goes too. A file with other
        damaged lines is put aside, and the run goes on with the lines that can be read.
        """
        self._purge_after = step
        if not self.path.exists():
            return
        lines = self.path.read_bytes().split(b"\n")
        if lines.pop():
            log.warning("%s ends in a line that is cut short; it is dropped", self.path)
        rows = [row for row in map(_row, lines) if row is not None]
        if len(rows) < len(lines):
            kept = put_aside(self.path)
            lost = len(lines) - len(rows)
            log.warning("%s had %d damaged lines; it is now %s", self.path, lost, kept.name)
        write_jsonl(self.path, [row for row in rows if row["step"] <= step])

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Append one line to metrics.jsonl now; write finite values to TensorBoard as well."""
        row: dict[str, tp.Any] = {"step": step, "time": round(time.time(), 3)}
        row |= {
            name: value if math.isfinite(value) else str(value) for name, value in values.items()
        }
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        for name, value in values.items():
            if math.isfinite(value):
                self._writer().add_scalar(name, value, step)

    def picture(self, step: int, name: str, image_HWC: NDArray[np.uint8]) -> None:
        """Write an RGB picture as pictures/<name>_<step>.png and to TensorBoard."""
        with replacing(self.out / "pictures" / f"{name}_{step:09d}.png") as temporary:
            if not cv2.imwrite(str(temporary), cv2.cvtColor(image_HWC, cv2.COLOR_RGB2BGR)):
                raise OSError(f"OpenCV could not write a picture into {self.out / 'pictures'}")
        self._writer().add_image(name, image_HWC, step, dataformats="HWC")

    def close(self) -> None:
        """Flush TensorBoard's events."""
        if self._board is not None:
            self._board.close()
            self._board = None

    def _writer(self) -> "SummaryWriter":
        if self._board is None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(self.out), purge_step=self._purge_after + 1)
        return self._board


def _row(line: bytes) -> dict[str, tp.Any] | None:
    """Return a line of metrics.jsonl, None where it is damaged."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) and isinstance(row.get("step"), int) else None


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
