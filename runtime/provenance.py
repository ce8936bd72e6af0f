"""Where a run's figures come from: commit, uncommitted changes, versions, device."""

import hashlib
import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import torch

from runtime.files import write_json

PACKAGES = ("torch", "torchvision", "numpy", "opencv-python", "mediapipe", "av", "librosa")


def write_provenance(path: Path, device: torch.device) -> None:
    """Write run.json: the code, the packages and the machine that make this run."""
    device_name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    write_json(
        path,
        {
            "commit": _git("rev-parse", "HEAD"),
            "uncommitted": _digest(_git("diff", "HEAD")),
            "python": platform.python_version(),
            "packages": {name: _version(name) for name in PACKAGES},
            "device": device_name,
        },
    )


def _git(*arguments: str) -> str | None:
    git = shutil.which("git")
    if git is None:
        return None
    command = [git, "-C", str(Path(__file__).parent), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def _digest(diff: str | None) -> str | None:
    return hashlib.sha256(diff.encode()).hexdigest()[:16] if diff else None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
