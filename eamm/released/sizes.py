"""The sizes of the releases' networks, read from the shapes of their weights.

What no shape shows is taken to be as in every released configuration: temperature 0.1, keypoint
variance 0.01, no padding in the keypoint heads, ten sines in the positional encoding.
"""

import re

from affekt.runtime.weights.foreign import State, rows
from eamm.a2fd.layers import A2fdConfig, A2fdWidths
from eamm.displacement.network import NUMBERS, DisplacementConfig, ExtractorConfig
from eamm.fomm.blocks import HourglassConfig
from eamm.fomm.discriminator import DiscriminatorConfig
from eamm.fomm.generator import GeneratorConfig
from eamm.fomm.keypoints import KeypointConfig
from eamm.fomm.model import FommConfig
from eamm.fomm.motion import MotionConfig

FACTORS = {5: 2, 13: 4, 29: 8}  # taps of the blur before downsampling, and the factor
FREQUENCIES = 10  # of the positional encoding


def fomm_config(state: State, generator: State, size: int, align_corners: bool) -> FommConfig:
    """Return the sizes of a keypoint detector and a generator, under their released names.

    Raises:
        KeyError: a weight that shows a size is missing; the argument is its name.
        ValueError: sizes that fit no network here.
    """
    motion = "dense_motion_network"
    channels, last = rows(generator, "first.conv"), _count(generator, r"down_blocks\.(\d+)\.") - 1
    return FommConfig(
        size=size,
        keypoints=keypoint_config(state),
        motion=MotionConfig(
            hourglass=_hourglass(generator, f"{motion}.hourglass."),
            downscale=_downscale(generator, f"{motion}.down.weight"),
            kernel=_kernel(generator, f"{motion}.mask"),
        ),
        generator=GeneratorConfig(
            channels=channels,
            max_channels=_limit(
                channels, last + 1, rows(generator, f"down_blocks.{last}.conv"), 512
            ),
            downsamplings=last + 1,
            blocks=_count(generator, r"bottleneck\.r(\d+)\."),
        ),
        align_corners=align_corners,
    )


def keypoint_config(state: State) -> KeypointConfig:
    """Return the sizes of a keypoint detector.

    Raises:
        KeyError: a weight that shows a size is missing; the argument is its name.
        ValueError: sizes that fit no network here.
    """
    return KeypointConfig(
        count=rows(state, "kp"),
        hourglass=_hourglass(state, "predictor."),
        downscale=_downscale(state, "down.weight"),
        kernel=_kernel(state, "kp"),
    )


def discriminator_config(state: State) -> DiscriminatorConfig:
    """Return the sizes of a discriminator of one scale.

    Raises:
        KeyError: a weight that shows a size is missing; the argument is its name.
        ValueError: sizes that fit no network here.
    """
    blocks = _count(state, r"discs\.1\.down_blocks\.(\d+)\.")
    spectral = "discs.1.conv.weight_orig" in state
    ending = "weight_orig" if spectral else "weight"
    first, last = (state[f"discs.1.down_blocks.{i}.conv.{ending}"] for i in (0, blocks - 1))
    channels = first.shape[0] // 2
    return DiscriminatorConfig(
        channels=channels,
        max_channels=_limit(channels, blocks, last.shape[0], 512),
        blocks=blocks,
        spectral_norm=spectral,
        keypoints=first.shape[1] > 3,
    )


def a2fd_config(state: State, heads: State, teacher: str | None) -> A2fdConfig:
    """Return the sizes of an Audio2Facial-Dynamics network and its keypoint heads.

    Raises:
        KeyError: a weight that shows a size is missing; the argument is its name.
        ValueError: sizes that fit no network here.
    """
    levels = _count(state, r"down_blocks\.(\d+)\.")
    audio = [rows(state, f"audio_eocder.{place}.0") for place in (0, 1, 3, 4, 5)]
    decoder = [state[f"decon.{place}.weight"].shape[1] for place in (0, 3)]
    widths = A2fdWidths(
        identity_channels=rows(state, "down_blocks.0.conv"),
        identity_dim=rows(state, f"down_blocks.{levels - 1}.conv"),
        audio_channels=(audio[0], audio[1], audio[2], audio[3], audio[4]),
        audio_hidden=rows(state, "audio_eocder_fc.0"),
        audio_dim=rows(state, "audio_eocder_fc.2"),
        pose_hidden=rows(state, "pose_encoder.0"),
        pose_dim=rows(state, "pose_encoder.2"),
        hidden=state["lstm.weight_hh_l0"].shape[1],
        layers=_count(state, r"lstm\.weight_hh_l(\d+)"),
        decoder_first=decoder[0],
        decoder=decoder[1],
    )
    return A2fdConfig(widths, 1 << levels, keypoint_config(heads), teacher=teacher)


def displacement_config(state: State) -> DisplacementConfig:
    """Return the sizes of an emotion extractor and displacement predictor.

    Raises:
        KeyError: a weight that shows a size is missing; the argument is its name.
        ValueError: sizes that fit no network here.
    """
    stages = _count(state, r"layer(\d)\.", first=1)
    widths = tuple(rows(state, f"layer{stage}.0.conv1") for stage in range(1, stages + 1))
    numbers = state["fc_p.0.weight"].shape[1]
    return DisplacementConfig(
        keypoints=numbers // (NUMBERS * (1 + 2 * FREQUENCIES)),
        head="release",
        frequencies=FREQUENCIES,
        projection=rows(state, "fc_p.0"),
        neutral=rows(state, "fc_p.2"),
        hidden=(rows(state, "fc_all.0"), rows(state, "fc_all.2"), rows(state, "fc_all.4")),
        extractor=ExtractorConfig(
            downscale=_downscale(state, "down.weight"),
            hourglass=_hourglass(state, "predictor."),
            widths=widths,
            blocks=_count(state, r"layer1\.(\d+)\."),
        ),
        classes=rows(state, "classify.last_fc"),
    )


def _kernel(state: State, layer: str) -> int:
    return state[f"{layer}.weight"].shape[-1]


def _downscale(state: State, key: str) -> int:
    taps = state[key].shape[-1]
    if taps not in FACTORS:
        raise ValueError(f"{key} is a blur of {taps} taps, wanted one of {list(FACTORS)}")
    return FACTORS[taps]


def _count(state: State, pattern: str, first: int = 0) -> int:
    """Return how many of a numbered layer there are."""
    numbers = [int(found[1]) for key in state if (found := re.match(pattern, key))]
    if not numbers:
        raise KeyError(pattern.replace("\\", "").replace("(d+)", "0").replace("(d)", "1"))
    return max(numbers) + 1 - first


def _hourglass(state: State, name: str) -> HourglassConfig:
    blocks = _count(state, re.escape(name) + r"encoder\.down_blocks\.(\d+)\.")
    channels = rows(state, f"{name}decoder.up_blocks.{blocks - 1}.conv")
    widest = rows(state, f"{name}encoder.down_blocks.{blocks - 1}.conv")
    return HourglassConfig(channels, _limit(channels, blocks, widest, 1024), blocks)


def _limit(channels: int, level: int, widest: int, usual: int) -> int:
    """Return the largest number of channels allowed, which shows only where it was reached."""
    unlimited = channels << level
    return widest if widest < unlimited else max(usual, widest)
