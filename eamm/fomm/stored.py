"""Networks as they lie in a folder: a run of a training script, or imported weights."""

import typing as tp
from pathlib import Path

from safetensors.torch import load_file
from torch import nn

from affekt.runtime.config import load_config
from affekt.runtime.run import restore

T = tp.TypeVar("T")


def read_description(kind: type[T], folder: Path, name: str, script: str) -> T:
    """Return what a folder says of its network, in its file `name`.

    Raises:
        FileNotFoundError: the folder is neither a run of `script` nor an import; both are named.
    """
    path = folder / name
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: {folder} is neither a run of {script} nor a folder that "
            "python -m eamm.released.importer wrote"
        )
    return load_config(kind, path)


def read_weights(folder: Path, name: str, network: nn.Module, **parts: nn.Module) -> None:
    """Load a network's weights from the imported file `name`, or from the run's checkpoint.

    Args:
        folder: of the network.
        name: of the file of imported weights, which hold the whole network.
        network: gets them.
        parts: of the network, as the run's checkpoint names them.
    """
    if (folder / name).is_file():
        network.load_state_dict(load_file(folder / name))
    else:
        restore(folder, **parts)
