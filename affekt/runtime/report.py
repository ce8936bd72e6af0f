"""Log the metrics of a run: metrics.jsonl always, TensorBoard curves and pictures beside it."""

import json
import logging
import math
import time
import typing as tp
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from affekt.runtime.files import read_jsonl, replacing, write_jsonl, write_text

log = logging.getLogger(__name__)


class MetricLogger:
    """Metrics of one run; a continued run drops the lines that it will write again."""

    def __init__(self, out: Path, log_every: int) -> None:
        self.out, self.log_every = out, log_every
        self.path = out / "metrics.jsonl"
        self.headline = ""  # the latest total, for the progress bar
        self._board: SummaryWriter | None = None
        self._purge_after = 0  # curves of later steps, left by a stopped run, are hidden

    def forget_after(self, step: int) -> None:
        """Drop what a run that stopped after its last checkpoint wrote of later steps.

        A last line that was cut short, by a full disk or a kill, goes too.
        """
        self._purge_after = step
        if not self.path.exists():
            return
        text = self.path.read_text(encoding="utf-8")
        if not text.endswith("\n"):
            log.warning("%s ends in a line that is cut short; it is dropped", self.path)
            write_text(self.path, text[: text.rfind("\n") + 1])
        rows = read_jsonl(self.path)
        write_jsonl(self.path, [row for row in rows if row["step"] <= step])

    def log(self, step: int, values: Mapping[str, Tensor | float]) -> None:
        """Check the scalars at every step, write them every `log_every` steps; see `Run.log`."""
        numbers = _numbers(values)  # waits for the GPU, once
        finite = all(math.isfinite(number) for number in numbers.values())
        if not finite or step % self.log_every == 0:
            self.log_now(step, numbers)
        if not finite:
            raise FloatingPointError(f"step {step}: not finite: {numbers}")
        if "total" in numbers:
            self.headline = f"total {numbers['total']:.4g}"

    def log_now(self, step: int, values: Mapping[str, float]) -> None:
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
            cv2.imwrite(str(temporary), cv2.cvtColor(image_HWC, cv2.COLOR_RGB2BGR))
        self._writer().add_image(name, image_HWC, step, dataformats="HWC")

    def close(self) -> None:
        """Flush TensorBoard's events."""
        if self._board is not None:
            self._board.close()
            self._board = None

    def _writer(self) -> SummaryWriter:
        if self._board is None:
            self._board = SummaryWriter(str(self.out), purge_step=self._purge_after + 1)
        return self._board


def _numbers(values: Mapping[str, Tensor | float]) -> dict[str, float]:
    tensors = {name: value for name, value in values.items() if isinstance(value, Tensor)}
    if tensors:
        flat = torch.stack([value.detach().float().reshape(()) for value in tensors.values()])
        tensors = dict(zip(tensors, flat.tolist(), strict=True))
    return {name: float(tensors.get(name, value)) for name, value in values.items()}
