"""The trained emotion classifier as one file: weights, and what has to be known of them.

Without the order of its labels a classifier's figures are noise, and without the people that it
learned from nobody can tell whether it is asked about them. So both travel in the header of the
weights file, beside the sizes and the accuracy on true videos that results are held against.
"""

import json
import pickle
import typing as tp
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from affekt.metrics.emotion.network import Backbone, Fan, FanConfig
from affekt.runtime.files import replacing

WEIGHTS = "emotion_classifier.safetensors"  # in the run folder
HEADER = "emotion_classifier"  # the entry of the file's metadata
TRAIN = "train it: python -m affekt.metrics.emotion.train CONFIG.yaml, to the last step"
COUNTER = "num_batches_tracked"  # of batch norm; files older than torch 0.4.1 lack it


@dataclass(frozen=True)
class Description:
    """What a weights file says of itself."""

    fan: FanConfig
    emotions: tuple[str, ...]  # in label order
    size: int  # S, pixels of a face's side
    corpus: str  # what it learned from
    split_sha256: str  # fan_data.split_hash of the training clips
    speakers: tuple[str, ...]  # that it learned from
    truth_split: str | None = None  # what its accuracy was measured on; None: nothing
    truth_clips: int = 0
    truth_correct: int = 0


@dataclass(frozen=True, eq=False)
class Classifier:
    """A trained network in evaluation mode."""

    network: Fan
    description: Description
    device: torch.device


def save_classifier(folder: Path, network: Fan, description: Description) -> Path:
    """Write the weights and their description into a run folder; return the file."""
    path = folder / WEIGHTS
    state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    with replacing(path) as temporary:
        save_file(state, temporary, {HEADER: json.dumps(asdict(description))})
    return path


def load_classifier(path: Path, device: torch.device | str = "cpu") -> Classifier:
    """Read a trained classifier.

    Args:
        path: a run folder of affekt.metrics.emotion.train, or the weights file of one.
        device: where it goes.

    Raises:
        FileNotFoundError: no such file; the message names the command that makes one.
        ValueError: the file is damaged, or is no emotion classifier of this project.
    """
    file = path / WEIGHTS if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing; {TRAIN}")
    header, state = _read(file)
    try:
        description = _described(header)
        network = Fan(description.fan, len(description.emotions))
        network.load_state_dict(state)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{file} is no emotion classifier of this project: {error}") from None
    target = torch.device(device)
    return Classifier(network.to(target).eval(), description, target)


def load_backbone(network: Backbone, path: Path) -> None:
    """Start a backbone from weights of a ResNet-18 of torchvision's names.

    Args:
        network: gets them; its widths must be those of the file.
        path: a torch file: a state dict, or one under "state_dict"; keys may begin with "module."
            (DataParallel). The last layer is left out: its classes are not ours.

    Raises:
        ValueError: no such weights in the file, or of other sizes; the message names a key.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path} cannot be read as torch weights: {reason}") from None
    state = _plain_keys(found.get("state_dict", found) if isinstance(found, Mapping) else {})
    wanted = network.state_dict()
    for key, value in wanted.items():
        if key.endswith(COUNTER):
            continue
        if key not in state:
            raise ValueError(f"{path} has no {key!r}: it holds no ResNet-18 with torchvision names")
        if state[key].shape != value.shape:
            raise ValueError(
                f"{path} has {key!r} of shape {tuple(state[key].shape)}, the network has "
                f"{tuple(value.shape)}; fan.widths must be [64, 128, 256, 512] for it"
            )
    network.load_state_dict({key: state.get(key, value) for key, value in wanted.items()})


def _plain_keys(found: Mapping[str, tp.Any]) -> dict[str, Tensor]:
    return {
        key.removeprefix("module."): value
        for key, value in found.items()
        if isinstance(value, Tensor)
    }


def _read(file: Path) -> tuple[str, dict[str, Tensor]]:
    try:
        with safe_open(file, "pt") as opened:
            header = (opened.metadata() or {}).get(HEADER, "")
            return header, {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{file} is damaged, or is no safetensors file: {error}") from None


def _described(header: str) -> Description:
    """Return the description of a file's header.

    Raises:
        KeyError, TypeError, ValueError: there is none, or it is not one of ours.
    """
    if not header:
        raise ValueError("it has no description")
    values = json.loads(header)
    known = {field.name for field in fields(Description)}
    if set(values) != known:
        raise ValueError(f"its description has {sorted(values)}, wanted {sorted(known)}")
    fan = FanConfig(**(values["fan"] | {"widths": tuple(values["fan"]["widths"])}))
    lists = {key: tuple(values[key]) for key in ("emotions", "speakers")}
    return Description(**(values | lists | {"fan": fan}))
