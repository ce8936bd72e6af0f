"""Read published checkpoints safely, rename their weights, and report every one of them.

Which weights a checkpoint holds, and what they are called here, stands with the networks they are
for (evp/released, eamm/released).
"""

import contextlib
import pickle
import re
import typing as tp
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from affekt.runtime.files import replacing_folder, sha256, write_json
from affekt.runtime.weights.tensor_files import BROKEN, check_torch, reason_of

State = dict[str, Tensor]
# How a released name begins, and what that beginning becomes.
Naming = tuple[str, str | Callable[[re.Match[str]], str]]
Reason = tuple[str, str]  # how a name begins, and why it is not taken

REPORT = "import.json"
SHOWN = 3  # names of what is left out for one reason; import.json has them all
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # how torch's files before 1.6 begin
BEGINNINGS = {  # of files that are taken for checkpoints, or were meant to be
    b"\x1f\x8b": "a gzip archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a rar archive",
    b"\x80": "a pickle, but none of torch's",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a numpy array",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself",
}
# Numbers of numpy's are let through beside tensors: some trainings keep their epoch as one.
NUMPY: list[tp.Any] = [
    (np.float64(0).__reduce__()[0], "numpy.core.multiarray.scalar"),
    np.dtype,
    *(type(np.dtype(code)) for code in "?bBhHiIlLqQefd"),
]
COUNTER = "num_batches_tracked"  # of batch norms; evaluation never reads it


@dataclass
class ImportReport:
    """What an import reads, writes and leaves out."""

    sources: list[dict[str, tp.Any]] = field(default_factory=list)
    models: dict[str, dict[str, tp.Any]] = field(default_factory=dict)  # by file or folder
    arrays: dict[str, tp.Any] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=dict)  # names by reason

    def add_source(self, path: Path, **facts: tp.Any) -> None:
        """Report a file that was read."""
        self.sources.append({"file": path.name, **facts, "sha256": sha256(path)})

    def add_model(self, name: str, names: Mapping[str, str], *modules: nn.Module) -> None:
        """Report networks that are written, with the new names of all weights taken."""
        count = sum(p.numel() for module in modules for p in module.parameters())
        self.models[name] = {"parameters": count, "names": dict(names)}

    def leave_out(self, name: str, reason: str) -> None:
        """Report something that is not taken."""
        self.left_out.setdefault(reason, []).append(name)

    def write(self, folder: Path) -> None:
        """Write everything as import.json."""
        write_json(folder / REPORT, asdict(self))

    def __str__(self) -> str:
        """Return a summary; of what is left out, a few names for each reason."""
        lines = [
            f"read {', '.join(f'{key} {value}' for key, value in source.items())}"
            for source in self.sources
        ]
        for name, model in self.models.items():
            millions = model["parameters"] / 1e6
            lines.append(
                f"wrote {name}: {len(model['names'])} weights, {millions:.3f} M parameters"
            )
        lines += [f"wrote {name}: {what}" for name, what in self.arrays.items()]
        for reason, names in self.left_out.items():
            shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
            lines.append(f"left out {len(names)} ({reason}): {shown}")
        return "\n".join(lines)


def check_out(out: Path, written: Iterable[str]) -> None:
    """Refuse a folder that holds anything but a former import, which writes the names `written`.

    Raises:
        ValueError: it does, or is a file; the message names what is there.
    """
    if out.is_file():
        raise ValueError(f"{out} is a file; name another --out")
    names = sorted(path.name for path in out.glob("*"))
    others = [name for name in names if name not in {REPORT, *written} or REPORT not in names]
    if others:
        raise ValueError(f"{out} holds {', '.join(others[:3])}, of no import; name another --out")


@contextlib.contextmanager
def importing(out: Path, written: Iterable[str]) -> Iterator[Path]:
    """Yield a folder that takes the place of `out`, of which `check_out` has found a former import.

    Args:
        out: of the import.
        written: names of the files and folders that imports write.
    """
    names = {REPORT, *written}
    own = re.compile("|".join(map(re.escape, names)))
    with replacing_folder(out, own, names) as folder:
        yield folder


def read_torch(path: Path, expected: str) -> tp.Any:
    """Return what a torch file holds; tensors and plain numbers are all that is unpickled.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no torch file, damaged, or more than tensors; the message names what was found,
            and `expected`, which files were.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file; {expected}")
    other = _other_format(path)
    if other:
        raise ValueError(f"{path} is {other}; {expected}")
    try:
        with torch.serialization.safe_globals(NUMPY), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other pickle protocols: it is read, or it raises
            if zipfile.is_zipfile(path):  # torch's files before 1.6 are none
                check_torch(path)
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} is damaged, or holds more than tensors ({reason_of(error)})"
        ) from None
    except BROKEN as error:
        raise ValueError(
            f"{path} is cut off or damaged ({reason_of(error)}); download it again"
        ) from None


def tensors(state: tp.Any, name: str, path: Path) -> State:
    """Return the state dict of a network `name` that a file holds, as float32.

    Raises:
        ValueError: it holds something else than finite tensors; the message names the key.
    """
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


def rename(
    network: str,
    keys: Iterable[str],
    names: Sequence[Naming],
    left_out: Sequence[Reason] = (),
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the new name of every key that is taken, and the reason for every one that is not.

    Raises:
        ValueError: a key is neither; the message names the first ones.
    """
    taken: dict[str, str] = {}
    reasons: dict[str, str] = {}
    unknown = []
    for key in keys:
        for old, new in names:
            if re.match(old, key):
                taken[key] = re.sub(f"^{old}", new, key)
        for old, reason in left_out:
            if re.match(old, key):
                reasons[key] = reason
        if key not in taken and key not in reasons:
            unknown.append(key)
    if unknown:
        some = ", ".join(unknown[:4])
        raise ValueError(f"{network} has {len(unknown)} weights of no release: {some}")
    return taken, reasons


def fill(module: nn.Module, weights: State, names: Mapping[str, str]) -> None:
    """Load renamed weights into a network and put it into evaluation mode.

    Args:
        module: the network; batch norms without a counter keep theirs.
        weights: by their names in the network.
        names: those names by the released ones, for the message.

    Raises:
        ValueError: weights are missing, have no place or another shape; the first are named.
    """
    wanted = module.state_dict()
    counters = {name: value for name, value in wanted.items() if name.endswith(COUNTER)}
    complete = counters | weights
    released = {new: old for old, new in names.items()}
    wrong = [f"{name} is missing" for name in wanted if name not in complete]
    for name, value in complete.items():
        shape = tuple(value.shape)
        if name not in wanted:
            wrong.append(f"{released[name]} {shape} has no place")
        elif shape != tuple(wanted[name].shape):
            wrong.append(f"{released[name]} has shape {shape}, wanted {tuple(wanted[name].shape)}")
    if wrong:
        raise ValueError(f"{len(wrong)} weights do not fit: {'; '.join(wrong[:3])}")
    module.load_state_dict(complete)
    module.eval()


def outputs(state: State, layer: str) -> int:
    """Return the number of a layer's outputs: the first size of its weight.

    Raises:
        KeyError: no such weight; the argument is its name.
        ValueError: it has no sizes.
    """
    weight = state[f"{layer}.weight"]
    if weight.ndim == 0:
        raise ValueError(f"{layer}.weight is a single number")
    return int(weight.shape[0])


def _other_format(path: Path) -> str | None:
    """Return what a file is that torch cannot have written; None where it can have."""
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith(LEGACY):
        return None
    if not head.strip(b"\0"):
        return "empty" if not head else "a file of zeros: a download that did not finish"
    if head.startswith(b"PK"):
        return _other_zip(path)
    if head[257:262] == b"ustar":
        return "a real tar archive; a release's .pth.tar is none, in spite of its name"
    if head.lstrip()[:1] == b"<":
        return "a web page: the download was refused, or asked a question first"
    for beginning, what in BEGINNINGS.items():
        if head.startswith(beginning):
            return what
    safetensors = head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size
    return "a safetensors file" if safetensors else f"no torch file (it begins {head[:8]!r})"


def _other_zip(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        return "a zip file that is cut off or damaged; download it again"
    if any(name.endswith("/data.pkl") for name in names):
        return None
    return f"a zip archive that torch did not write (it holds {', '.join(names[:3]) or 'nothing'})"
