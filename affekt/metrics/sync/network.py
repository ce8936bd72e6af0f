"""SyncNet: embeddings of five frames of a face and of their 0.2 s of sound.

Chung and Zisserman, "Out of time: automated lip sync in the wild" (ACCV workshops 2016). Layers
and names of weights are those of the authors' later release (github.com/joonson/syncnet_python,
file syncnet_v2.model), which differs from the paper: faces of 224 px in colour instead of mouths
of 111 px in grey, embeddings of 1024 instead of 256. With the default sizes `SyncNet` is that
network; a small one, which affekt.metrics.sync.train trains, is the same class with other sizes.

Dimension letters in this file:
    B  clips
    T  frames of a clip, 25 per second; V = T - 4 windows of five frames
    S  pixels a side
    E  embedding, 1024
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from affekt.media.audio.mfcc import CEPSTRA
from affekt.runtime.config import dump_config, load_config
from affekt.runtime.run import restore
from affekt.runtime.weights.convert import fill, read_torch, tensors
from affekt.runtime.weights.tensor_files import load_tensors, save_tensors

CropKind = Literal["face", "mouth"]

WINDOW_FRAMES = 5  # video frames of one embedding, 0.2 s
WINDOW_ROWS = 20  # MFCC rows of one embedding, 0.2 s
DESCRIPTION, WEIGHTS = "syncnet.yaml", "syncnet.safetensors"


@dataclass(frozen=True)
class SyncNetConfig:
    """The network's input and widths; the defaults are the release's."""

    size: int = 224  # S, pixels a side of a face
    crop: CropKind = "face"  # see score.crop_square; "mouth" is for small networks, ours
    lip_channels: tuple[int, int, int, int, int, int] = (96, 256, 256, 256, 256, 512)
    audio_channels: tuple[int, int, int, int, int, int] = (64, 192, 384, 256, 256, 512)
    hidden: int = 512
    embedding: int = 1024  # E

    def __post_init__(self) -> None:
        if _last_map(self.size) < 1:
            raise ValueError(f"size is {self.size}; the layers need pictures of 51 px or more")


class SyncNet(nn.Module):
    """Embeddings that lie close where lips and sound belong together, (..., E) float32."""

    def __init__(self, config: SyncNetConfig) -> None:
        super().__init__()
        self.config = config
        self.netcnnaud = _audio_layers(config.audio_channels)
        self.netfcaud = _head(config.audio_channels[-1], config)
        self.netcnnlip = _lip_layers(config.lip_channels, _last_map(config.size))
        self.netfclip = _head(config.lip_channels[-1], config)

    def encode_video(self, faces_B3TSS: Tensor) -> Tensor:
        """Return the embeddings of every five frames in a row, (B, T - 4, E).

        Only the first layer looks across frames, so all windows are computed in one pass: the
        numbers are those of T - 4 clips of five frames.

        Args:
            faces_B3TSS: BGR, 0 to 255, not normalised, as OpenCV reads pictures.
        """
        maps_BCV = self.netcnnlip(faces_B3TSS).flatten(2)
        B, C, V = maps_BCV.shape
        embedded: Tensor = self.netfclip(maps_BCV.transpose(1, 2).reshape(B * V, C))
        return embedded.reshape(B, V, -1)

    def encode_audio(self, windows: Tensor) -> Tensor:
        """Return the embedding of every window of sound, (..., E).

        Args:
            windows: (..., 13, 20), the cepstra of 20 MFCC rows of 16-bit samples.
        """
        flat = windows.reshape(-1, 1, CEPSTRA, WINDOW_ROWS)
        embedded: Tensor = self.netfcaud(self.netcnnaud(flat).flatten(1))
        return embedded.reshape(*windows.shape[:-2], -1)


def save_description(run_dir: Path, config: SyncNetConfig) -> None:
    """Write a run's syncnet.yaml, the layout of its checkpoints."""
    dump_config(config, run_dir / DESCRIPTION)


def export_syncnet(folder: Path, network: SyncNet) -> Path:
    """Write a network as syncnet.yaml and syncnet.safetensors; return the path of the weights."""
    save_description(folder, network.config)
    save_tensors(folder / WEIGHTS, network.state_dict())
    return folder / WEIGHTS


def load_syncnet(path: Path, device: str | torch.device = "cpu") -> SyncNet:
    """Return a network in evaluation mode.

    Args:
        path: the released file syncnet_v2.model, or a folder: what `export_syncnet` wrote (a
            finished run of affekt.metrics.sync.train holds it), else a run's newest checkpoint.
        device: where it is to run.

    Raises:
        FileNotFoundError: nothing there; the message names the script that makes it.
        ValueError: a file that is no state dict, or weights of another layout.
    """
    if path.is_dir():
        network = _from_folder(path)
    elif path.is_file():
        network = _from_release(path)
    else:
        raise FileNotFoundError(
            f"{path} does not exist; wanted syncnet_v2.model or a run of affekt.metrics.sync.train"
        )
    return network.to(device).eval()


def _from_folder(folder: Path) -> SyncNet:
    if not (folder / DESCRIPTION).is_file():
        raise FileNotFoundError(
            f"{folder / DESCRIPTION} is missing; name a run folder of affekt.metrics.sync.train"
        )
    network = SyncNet(load_config(SyncNetConfig, folder / DESCRIPTION))
    if (folder / WEIGHTS).is_file():
        _fill(network, load_tensors(folder / WEIGHTS)[0], folder / WEIGHTS)
    else:
        restore(folder, network=network)
    return network


def _from_release(path: Path) -> SyncNet:
    try:
        state = read_torch(path, "wanted is SyncNet's syncnet_v2.model")
    except ValueError as error:
        raise ValueError(
            f"{error}. Wanted is the authors' state dict. If it is a whole pickled module, open it "
            "where you trust it, and save module.state_dict() with torch.save under this name"
        ) from None
    network = SyncNet(SyncNetConfig())
    _fill(network, state, path)
    return network


def _fill(network: SyncNet, state: Any, path: Path) -> None:
    """Load weights of exactly this layout; the batch counters, which old files lack, may miss."""
    weights = tensors(state, "SyncNet", path)
    try:
        fill(network, weights, {name: name for name in weights})
    except ValueError as error:
        layout = "SyncNet's of syncnet_v2.model, or of the syncnet.yaml in its folder"
        raise ValueError(f"{path} is of another layout: {error}; wanted is {layout}") from None


def _audio_layers(channels: tuple[int, ...]) -> nn.Sequential:
    """13 x 20 cepstra to one vector; the pooling of 1 x 1 keeps the release's numbering."""
    one, two, three, four, five, six = channels
    return nn.Sequential(
        *_block(nn.Conv2d(1, one, 3, padding=1)),
        nn.MaxPool2d(1, 1),
        *_block(nn.Conv2d(one, two, 3, padding=1)),
        nn.MaxPool2d(3, (1, 2)),
        *_block(nn.Conv2d(two, three, 3, padding=1)),
        *_block(nn.Conv2d(three, four, 3, padding=1)),
        *_block(nn.Conv2d(four, five, 3, padding=1)),
        nn.MaxPool2d(3, 2),
        *_block(nn.Conv2d(five, six, (5, 4))),
    )


def _lip_layers(channels: tuple[int, ...], last_map: int) -> nn.Sequential:
    """Five frames to one vector; the last layer covers what is left of the picture."""
    one, two, three, four, five, six = channels
    halve, flat, frame = (1, 2, 2), (0, 1, 1), (1, 3, 3)
    return nn.Sequential(
        *_block(nn.Conv3d(3, one, (WINDOW_FRAMES, 7, 7), halve)),
        nn.MaxPool3d(frame, halve),
        *_block(nn.Conv3d(one, two, (1, 5, 5), halve, flat)),
        nn.MaxPool3d(frame, halve, flat),
        *_block(nn.Conv3d(two, three, frame, padding=flat)),
        *_block(nn.Conv3d(three, four, frame, padding=flat)),
        *_block(nn.Conv3d(four, five, frame, padding=flat)),
        nn.MaxPool3d(frame, halve),
        *_block(nn.Conv3d(five, six, (1, last_map, last_map))),
    )


def _block(convolution: nn.Conv2d | nn.Conv3d) -> tuple[nn.Module, nn.Module, nn.Module]:
    kind = nn.BatchNorm3d if isinstance(convolution, nn.Conv3d) else nn.BatchNorm2d
    return convolution, kind(convolution.out_channels), nn.ReLU(inplace=True)


def _head(channels: int, config: SyncNetConfig) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(channels, config.hidden),
        nn.BatchNorm1d(config.hidden),
        nn.ReLU(),
        nn.Linear(config.hidden, config.embedding),
    )


def _last_map(size: int) -> int:
    """Return the side of the map before the last layer of lips: 6 for 224 px, 1 for 64 px."""
    for kernel, padding in ((7, 0), (3, 0), (5, 1), (3, 1), (3, 0)):  # each with stride 2
        size = math.floor((size + 2 * padding - kernel) / 2) + 1
    return size
