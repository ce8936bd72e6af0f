"""A small FOMM with random weights, as a folder that `load_fomm` reads, for tests."""

import torch
from safetensors.torch import save_file

from eamm.fomm.blocks import HourglassConfig
from eamm.fomm.generator import GeneratorConfig
from eamm.fomm.keypoints import KeypointConfig
from eamm.fomm.model import WEIGHTS, Fomm, FommConfig, save_fomm_description
from eamm.fomm.motion import MotionConfig

SIZE = 64
CONFIG = FommConfig(
    size=SIZE,
    keypoints=KeypointConfig(count=5, hourglass=HourglassConfig(8, 32, 3), downscale=2),
    motion=MotionConfig(hourglass=HourglassConfig(8, 32, 3), downscale=2),
    generator=GeneratorConfig(channels=8, max_channels=16, blocks=1, skips=True),
)


def tiny_fomm(seed=0):
    """Return a FOMM with more life than a fresh one's: keypoints and jacobians depend on the
    picture, and what is drawn is mostly the source, moved."""
    torch.manual_seed(seed)
    fomm = Fomm(CONFIG)
    heads, motion = fomm.detector.heads, fomm.generator.motion
    torch.nn.init.normal_(heads.kp.weight, std=0.5)
    torch.nn.init.normal_(heads.jacobian.weight, std=0.05)
    torch.nn.init.normal_(motion.mask.weight, std=0.1)
    torch.nn.init.constant_(motion.occlusion.bias, 3.0)
    return fomm.eval()


def write_tiny_fomm(folder, seed=0):
    """Write it; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    save_fomm_description(folder, CONFIG)
    save_file(tiny_fomm(seed).state_dict(), folder / WEIGHTS)
    return folder
