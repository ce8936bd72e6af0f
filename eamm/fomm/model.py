"""A whole FOMM: its sizes, and how a trained or imported one is read."""

import typing as tp
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from affekt.runtime.config import ConfigError, dump_config, load_config
from affekt.runtime.run import restore
from affekt.runtime.weights.tensor_files import load_tensors
from eamm.fomm.blocks import AntiAlias
from eamm.fomm.discriminator import Discriminator, DiscriminatorConfig
from eamm.fomm.generator import Generated, Generator, GeneratorConfig
from eamm.fomm.keypoints import KeypointConfig, KeypointDetector
from eamm.fomm.motion import MotionConfig

T = tp.TypeVar("T")

DESCRIPTION = "fomm.yaml"  # what `load_fomm` needs, in a run folder or next to weights
WEIGHTS = "fomm.safetensors"  # of an imported model


@dataclass(frozen=True)
class FommConfig:
    """Sizes of detector and generator; the defaults are vox-256's."""

    size: int = 256  # pixels a side of the pictures
    keypoints: KeypointConfig = field(default_factory=KeypointConfig)
    motion: MotionConfig = field(default_factory=MotionConfig)
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    # Of torch.nn.functional.grid_sample. The public weights were trained when torch
    # had only True, which is also the one that fits the coordinate grid (see blocks.warp).
    align_corners: bool = True

    @property
    def heatmap_size(self) -> int:
        """Pixels a side of a keypoint's heatmap: 58 at vox-256."""
        return self.size // self.keypoints.downscale - self.keypoints.kernel + 1


class Fomm(nn.Module):
    """Keypoint detector and generator, which together animate a picture."""

    def __init__(self, config: FommConfig) -> None:
        super().__init__()
        self.config = config
        self.detector = KeypointDetector(config.keypoints)
        self.generator = Generator(
            config.keypoints.count, config.generator, config.motion, config.align_corners
        )

    def forward(self, source_BCHW: Tensor, driving_BCHW: Tensor) -> Generated:
        """Return the source in the driving frames' place, keypoints taken as they are found."""
        keypoints = self.detector(source_BCHW), self.detector(driving_BCHW)
        return self.generator(source_BCHW, *keypoints)


class ImagePyramid(nn.Module):
    """Pictures at several scales, each blurred before it is made smaller."""

    def __init__(self, factors: tuple[int, ...] = (1, 2, 4, 8)) -> None:
        super().__init__()
        self.downs = nn.ModuleDict({str(factor): AntiAlias(3, factor) for factor in factors})

    def forward(self, frames_BCHW: Tensor) -> dict[int, Tensor]:
        """Return the pictures by the factor they are smaller by."""
        return {int(factor): down(frames_BCHW) for factor, down in self.downs.items()}


def save_fomm_description(folder: Path, config: FommConfig) -> None:
    """Write the sizes where `load_fomm` finds them."""
    dump_config(config, folder / DESCRIPTION)


def load_fomm(path: Path, device: torch.device | str = "cpu") -> Fomm:
    """Read a FOMM in evaluation mode; `.config` are its sizes.

    Args:
        path: a run folder of train_fomm.py, or a folder that eamm.released.importer wrote.
        device: where it goes.

    Raises:
        FileNotFoundError: neither of them; the message names the commands.
    """
    fomm = Fomm(read_description(FommConfig, path, DESCRIPTION, "train_fomm.py"))
    read_weights(path, WEIGHTS, fomm, detector=fomm.detector, generator=fomm.generator)
    return fomm.to(device).eval()


def load_discriminator(path: Path, device: torch.device | str = "cpu") -> Discriminator:
    """Read the discriminator that a release came with, in evaluation mode.

    Args:
        path: a folder that eamm.released.importer wrote from a file that held one.
        device: where it goes.

    Raises:
        FileNotFoundError: it holds none.
    """
    description = path / "discriminator.yaml"
    if not description.is_file():
        raise FileNotFoundError(f"{description} is missing: {path} holds no imported discriminator")
    count = load_config(FommConfig, path / DESCRIPTION).keypoints.count
    discriminator = Discriminator(count, load_config(DiscriminatorConfig, description))
    discriminator.load_state_dict(load_tensors(path / "discriminator.safetensors")[0])
    return discriminator.to(device).eval()


def read_description(kind: type[T], folder: Path, name: str, script: str) -> T:
    """Return the sizes of a folder's network, from its file `name`.

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
        try:
            network.load_state_dict(load_tensors(folder / name)[0])
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise ConfigError(
                f"{folder / name} does not fit this version ({reason}); import it anew: "
                "python -m eamm.released.importer"
            ) from None
    else:
        restore(folder, **parts)
