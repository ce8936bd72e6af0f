"""A stage that runs as the real ones do, on noise: for kills, signals, locks and full disks.

python -m tests.corpora.noise_stage CONFIG.yaml [key.sub=value ...]
"""

import sys
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

from affekt.runtime.command import run_stage
from affekt.runtime.run import Run, RunConfig

PAUSE = 0.0  # seconds after a step


class Noise(Dataset):
    """Ten items whose noise depends on the draw, as an augmentation does."""

    def __len__(self):
        return 10

    def __getitem__(self, draw):
        noise = np.random.default_rng((3, draw)).normal(size=4)
        return {"x": torch.tensor(noise + draw % 10, dtype=torch.float32)}


@dataclass(frozen=True)
class Config:
    run: RunConfig
    width: int = 8


def train(cfg):
    run = Run(cfg)
    model = nn.Sequential(nn.Linear(4, cfg.width), nn.Tanh(), nn.Linear(cfg.width, 1))
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    run.register(model=model, optimizer=optimizer)
    for batch in run.batches(Noise()):
        total = model(batch["x"]).square().mean()
        run.backward(total, optimizer)
        run.take_step(optimizer, 1.0)
        run.log(total=total)
        time.sleep(PAUSE)


if __name__ == "__main__":
    sys.exit(run_stage(train, Config, __doc__))
