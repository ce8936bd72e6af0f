"""Every test starts from one seed and one CPU thread, so a failure repeats."""

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch read them
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from affekt.runtime.run import Run

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _repeatable():
    np.random.seed(0)  # noqa: NPY002 - libraries draw from the global generator
    torch.manual_seed(0)
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def media_root():
    """The folder of real sample clips, or a skip that says where it was looked for."""
    root = Path(os.environ.get("AFFEKT_MEDIA", ROOT.parent / "shared" / "media"))
    if not (root / "MANIFEST.json").exists():
        pytest.skip(f"no real sample media at {root}; set AFFEKT_MEDIA to their folder")
    return root


@pytest.fixture
def in_float64(monkeypatch):
    """Let a run's networks, batches, losses and logs be float64."""
    move, place = nn.Module.to, Run._placed

    def moved(network, *given, **options):
        network = move(network, *given, **options)
        return network.double() if given == (torch.device("cpu"),) else network  # as a run does

    def placed(run, value):
        value = place(run, value)
        return value.double() if value.is_floating_point() else value

    monkeypatch.setattr(nn.Module, "to", moved)
    monkeypatch.setattr(Run, "_placed", placed)
    monkeypatch.setattr(Tensor, "float", Tensor.double)
