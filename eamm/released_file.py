"""Read a checkpoint of the FOMM or EAMM release safely, or say what was found instead.

The releases' .pth.tar files are no tar archives but torch pickles, most of them in the format that
torch wrote before 1.6 (FOMM and EAMM releases).
"""

import pickle
import struct
import typing as tp
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

Parts = dict[str, tp.Any]  # the checkpoint's top level

NETWORKS = (
    "generator",
    "kp_detector",
    "discriminator",
    "audio_feature",
    "kp_detector_a",
    "emo_detector",
)
EXPECTED = (
    "wanted one of the releases' checkpoints: vox-cpk.pth.tar, vox-adv-cpk.pth.tar (FOMM) or "
    "124_52000.pth.tar (EAMM's FOMM) with generator and kp_detector; 1-6000.pth.tar (EAMM's audio) "
    "with audio_feature and kp_detector_a; 5-3000.pth.tar (EAMM's emotion) with emo_detector"
)
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # how torch's files before 1.6 begin
BEGINNINGS = {  # of files that are taken for checkpoints, or were meant to be
    b"\x1f\x8b": "a gzip archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a rar archive",
    b"\x80": "a pickle, but none of torch's",
    b"\x89HDF": "an HDF5 file",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself",
}
FLAT = {  # first names of flat state dicts that people have beside these files
    "con_encoder": "an EVP",
    "emo_encoder": "an EVP",
    "audio_eocder": "an ATVGnet or EVP",
    "features": "a VGG",
}
# Numbers of numpy's are let through beside tensors: some trainings keep their epoch as one.
NUMPY: list[tp.Any] = [
    (np.float64(0).__reduce__()[0], "numpy.core.multiarray.scalar"),
    np.dtype,
    *(type(np.dtype(code)) for code in "?bBhHiIlLqQefd"),
]

BROKEN = (  # all that torch and pickle were seen to raise on cut or altered files
    *(RuntimeError, EOFError, OSError, ValueError, LookupError, struct.error),
    *(AssertionError, AttributeError, TypeError),
)


def read_checkpoint(path: Path) -> Parts:
    """Return the top level of a checkpoint that holds at least one of the releases' networks.

    Tensors and plain numbers are all that is unpickled.

    Raises:
        FileNotFoundError: no such file.
        ValueError: something else; the message says what, and which files were expected.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file; {EXPECTED}")
    strange = _no_torch_file(path)
    if strange:
        raise ValueError(f"{path} is {strange}; {EXPECTED}")
    found = _unpickled(path)
    strange = _no_checkpoint(found)
    if strange:
        raise ValueError(f"{path} is {strange}; {EXPECTED}")
    return tp.cast(Parts, found)


def tensors(parts: Parts, name: str, path: Path) -> dict[str, Tensor]:
    """Return the state dict of one network, as float32.

    Raises:
        ValueError: it holds something else than finite tensors; the message names the key.
    """
    state = parts[name]
    if not isinstance(state, dict):
        raise ValueError(f"{path}: {name} is a {type(state).__name__}, wanted a state dict")
    read = {}
    for key, value in state.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"{path}: {name}.{key} is a {type(value).__name__}, wanted a tensor")
        if value.is_floating_point() and not value.isfinite().all():
            raise ValueError(f"{path}: {name}.{key} holds NaN or infinity; download the file again")
        read[key] = value.float() if value.is_floating_point() else value
    return read


def _no_torch_file(path: Path) -> str | None:
    """Say what a file is that torch cannot have written; None where it can have."""
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith(LEGACY):
        return None
    if not head.strip(b"\0"):
        return "empty" if not head else "a file of zeros: a download that did not finish"
    if head.startswith(b"PK"):
        return _strange_zip(path)
    if head[257:262] == b"ustar":
        return "a real tar archive; the releases' .pth.tar is none, in spite of its name"
    if head.lstrip()[:1] == b"<":
        return "a web page: the download was refused, or asked a question first"
    for beginning, what in BEGINNINGS.items():
        if head.startswith(beginning):
            return what
    safetensors = head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size
    return "a safetensors file" if safetensors else f"no torch file (it begins {head[:8]!r})"


def _strange_zip(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        return "a zip file that is cut off or damaged; download it again"
    if any(name.endswith("/data.pkl") for name in names):
        return None
    return f"a zip archive that torch did not write (it holds {', '.join(names[:3]) or 'nothing'})"


def _unpickled(path: Path) -> tp.Any:
    try:
        with torch.serialization.safe_globals(NUMPY):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path} is damaged, or holds more than tensors ({reason})") from None
    except BROKEN as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path} is cut off or damaged ({reason}); download it again") from None


def _no_checkpoint(found: tp.Any) -> str | None:
    """Say what an unpickled value is that none of the releases holds; None where one does."""
    if not isinstance(found, dict) or not found:
        return f"a torch file that holds a {type(found).__name__}, no checkpoint"
    if any(name in found for name in NETWORKS):
        return None
    if {"step", "rng", "parts"} <= found.keys():
        return "a checkpoint of this project's own training: give its run folder, without an import"
    if {"train_step", "model"} <= found.keys():
        return "a checkpoint of EVP's disentanglement"
    names = [str(name) for name in found]
    if all(isinstance(value, Tensor) for value in found.values()):
        first = names[0].removeprefix("module.").split(".")[0]
        return f"{FLAT.get(first, 'some')} network's plain state dict (its first key is {names[0]})"
    return f"a torch file with the parts {', '.join(names[:6])}"
