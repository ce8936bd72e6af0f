"""Record what a run's metrics come from: commit, uncommitted changes, versions, data, device."""

import hashlib
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

import torch

from affekt.runtime.files import read_json, sha256, write_json

PACKAGES = ("torch", "torchvision", "numpy", "opencv-python", "mediapipe", "av", "librosa")


def write_provenance(path: Path, device: torch.device, corpora: Sequence[Path]) -> None:
    """Append to run.json the code, packages, data and device of this start of a run."""
    diff = _git("diff", "HEAD")
    manifests = [root / "manifest.jsonl" for root in corpora]
    record = {
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted": hashlib.sha256(diff.encode()).hexdigest()[:16] if diff else None,
        "python": platform.python_version(),
        "packages": versions(),
        "data": {str(p.parent): sha256(p) if p.is_file() else None for p in manifests},
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
    }
    earlier = read_json(path)["starts"] if path.exists() else []
    write_json(path, {"starts": [*earlier, record]})


def add_to_provenance(path: Path, facts: Mapping[str, str]) -> None:
    """Add facts to the newest start of a run in its run.json."""
    *earlier, newest = read_json(path)["starts"]
    write_json(path, {"starts": [*earlier, newest | dict(facts)]})


def versions() -> dict[str, str | None]:
    """Return the versions of the packages that metrics depend on; None: not installed."""
    return {name: _version(name) for name in PACKAGES}


def _git(*arguments: str) -> str | None:
    git = shutil.which("git")
    if git is None:
        return None
    command = [git, "-C", str(Path(__file__).parent), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
