"""Record what a run's metrics come from: commit, uncommitted changes, versions, data, device."""

import hashlib
import logging
import platform
import shutil
import subprocess
import typing as tp
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

import torch

from affekt.runtime.files import DamagedFileError, put_aside, read_json, sha256, write_json

log = logging.getLogger(__name__)

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
    earlier = []
    if path.exists():
        try:
            earlier = starts(path)
        except DamagedFileError as error:
            log.warning("%s; it is now %s, and begins anew", error, put_aside(path).name)
    write_json(path, {"starts": [*earlier, record]})


def add_to_provenance(path: Path, facts: Mapping[str, str]) -> None:
    """Add facts to the newest start of a run in its run.json."""
    *earlier, newest = starts(path)
    write_json(path, {"starts": [*earlier, newest | dict(facts)]})


def starts(path: Path) -> list[dict[str, tp.Any]]:
    """Return the records of a run's starts from its run.json, at least one.

    Raises:
        FileNotFoundError: no such file.
        DamagedFileError: it holds something else.
    """
    found = read_json(path)
    rows = found.get("starts") if isinstance(found, dict) else None
    if not (isinstance(rows, list) and rows and all(isinstance(row, dict) for row in rows)):
        raise DamagedFileError(f"{path} holds no records of a run's starts")
    return rows


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
