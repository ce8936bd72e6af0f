"""This project's FOMM and EAMM models, filled with the releases' weights under their new names.

Sizes are read from the shapes of the weights; a weight that shows one and is missing, or sizes that
fit no network here, are errors. What no shape shows is taken to be as in every released
configuration: temperature 0.1, keypoint variance 0.01, no padding in the keypoint heads, ten sines
in the positional encoding.
"""

import contextlib
import re
import typing as tp
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from affekt.nets.fingerprint import fingerprint
from affekt.runtime.config import build
from affekt.runtime.weights.convert import (
    ImportReport,
    Naming,
    Reason,
    State,
    fill,
    outputs,
    rename,
)
from eamm.a2fd import network as a2fd
from eamm.a2fd.layers import A2fdConfig, A2fdWidths
from eamm.displacement import network as displacement
from eamm.fomm import model as fomm
from eamm.fomm.blocks import HourglassConfig
from eamm.fomm.discriminator import Discriminator, DiscriminatorConfig
from eamm.fomm.generator import GeneratorConfig
from eamm.fomm.keypoints import KeypointConfig
from eamm.fomm.motion import MotionConfig

EXPECTED = (
    "wanted one of the releases' checkpoints: vox-cpk.pth.tar, vox-adv-cpk.pth.tar (FOMM) or "
    "124_52000.pth.tar (EAMM's FOMM) with generator and kp_detector; 1-6000.pth.tar (EAMM's audio) "
    "with audio_feature and kp_detector_a; 5-3000.pth.tar (EAMM's emotion) with emo_detector"
)

SPECTRAL = {  # torch's older names of a spectral norm's parts, and those of its parametrization
    "weight_orig": "parametrizations.weight.original",
    "weight_u": "parametrizations.weight.0._u",
    "weight_v": "parametrizations.weight.0._v",
}


def _discriminator_conv(found: re.Match[str]) -> str:
    place = "last" if found[1] is None else f"convs.{found[1]}"
    return f"scales.0.{place}.{SPECTRAL.get(found[2], found[2])}"


HOURGLASS = r"(?:encoder|decoder)\."
NAMES: dict[str, Sequence[Naming]] = {
    "kp_detector": (
        (rf"predictor\.{HOURGLASS}", "detector.hourglass."),
        (r"(kp|jacobian)\.", r"detector.heads.\1."),
        (r"down\.weight$", "detector.down.weight"),
    ),
    "generator": (
        (rf"dense_motion_network\.hourglass\.{HOURGLASS}", "generator.motion.hourglass."),
        (r"dense_motion_network\.(mask|occlusion|down)\.", r"generator.motion.\1."),
        (r"bottleneck\.r(\d+)\.", r"generator.bottleneck.\1."),
        (r"(first|down_blocks|up_blocks|final)\.", r"generator.\1."),
    ),
    "discriminator": (
        (r"discs\.1\.(?:down_blocks\.(\d)\.)?conv\.(\w+)$", _discriminator_conv),
        (
            r"discs\.1\.down_blocks\.(\d)\.norm\.",
            lambda found: f"scales.0.norms.{int(found[1]) - 1}.",
        ),
    ),
    "audio_feature": (
        (r"down_blocks\.", "identity."),
        (r"audio_eocder\.", "audio."),
        (r"audio_eocder_fc\.", "audio_fc."),
        (r"pose_encoder\.", "pose."),
        (r"lstm\.", "lstm."),
        (r"decon\.", "decoder."),
    ),
    "kp_detector_a": ((r"(kp|jacobian)\.", r"heads.\1."),),
    "emo_detector": (
        (rf"predictor\.{HOURGLASS}", "extractor.hourglass."),
        (r"down\.weight$", "extractor.down.weight"),
        (r"conv1\.", "extractor.stem.0."),
        (r"bn1\.", "extractor.stem.1."),
        (r"layer(\d)\.", lambda found: f"extractor.stages.{int(found[1]) - 1}."),
        (r"fc_p\.", "predictor.projection."),
        (r"fc_all\.", "predictor.hidden."),
        (r"final\.", "predictor.output."),
        (r"classify\.last_fc\.", "classifier."),
    ),
}
LEFT_OUT: dict[str, Sequence[Reason]] = {
    "audio_feature": (
        (r"generator\.", "a StyleGAN2-like decoder that the release builds and never runs"),
    ),
    "kp_detector_a": (
        (
            r"(predictor|down)\.",
            "never runs: A2FD's decoder makes the feature map that the two heads read",
        ),
    ),
    "emo_detector": (
        (r"fc\.", "a second classifier of the emotion feature that nothing calls"),
        (r"fc_n\.", "of the variant without positional encoding"),
        (r"final_4\.", "a head that the release's training and demo do not use"),
        (r"final_10\.", "the head of the variant that moves all ten keypoints"),
    ),
}

OLD_SPECTRAL_NORM = "the normalised copy of weight_orig that torch 1.0 stored with it"
FACTORS = {5: 2, 13: 4, 29: 8}  # taps of the blur before downsampling, and the factor
FREQUENCIES = 10  # of the positional encoding

Models = dict[str, tuple[tp.Any, nn.Module]]  # configuration and filled network by file name


@dataclass(frozen=True)
class Options:
    """What the files do not hold."""

    size: int = 256  # pixels a side of the pictures that the networks were trained on
    align_corners: bool = True  # see eamm.fomm.model.FommConfig


@dataclass
class Released:
    """The networks of one or several checkpoints."""

    report: ImportReport
    states: dict[str, State] = field(default_factory=dict)  # by network
    files: dict[str, Path] = field(default_factory=dict)  # where each network comes from

    def fill(self, module: nn.Module, name: str, *networks: str) -> None:
        """Load the weights of networks into the model `name`, and report all of them."""
        names: dict[str, str] = {}
        weights: State = {}
        for network in networks:
            state = self.states[network]
            taken, reasons = rename(network, state, NAMES[network], LEFT_OUT.get(network, ()))
            for key, reason in reasons.items():
                self.report.leave_out(f"{network}.{key}", reason)
            names |= {f"{network}.{key}": new for key, new in taken.items()}
            weights |= {new: state[key] for key, new in taken.items()}
        fill(module, weights, names)
        self.report.add_model(name, names, module)

    @contextlib.contextmanager
    def naming_file(self, network: str) -> Iterator[None]:
        """Name the file and what was expected, whatever is wrong with a network's weights."""
        try:
            yield
            return
        except KeyError as error:
            problem = f"no weight {error.args[0]}"
        except (ValueError, IndexError) as error:
            problem = str(error)
        found = f"{self.files[network]}: its {network} is none of the releases'"
        raise ValueError(f"{found} ({problem}); {EXPECTED}")


def build_models(released: Released, options: Options) -> Models:
    """Return the models that the networks make up.

    Raises:
        ValueError: weights are missing, unknown or of another shape, or A2FD was made for a FOMM of
            other sizes than the one given with it; the message names them and the file.
    """
    models: Models = {}
    states, teacher = released.states, None
    # FOMM: keypoint detector and generator
    if "generator" in states:
        with released.naming_file("generator"):
            config = _fomm(states["kp_detector"], states["generator"], options)
            whole = fomm.Fomm(config)
            released.fill(whole, "fomm", "generator", "kp_detector")
        models["fomm"] = config, whole
        teacher = fingerprint(whole.detector)
    # Its discriminator
    if "discriminator" in states:
        with released.naming_file("discriminator"):
            states["discriminator"], dropped = complete_spectral_norm(states["discriminator"])
            for key in dropped:
                released.report.leave_out(f"discriminator.{key}", OLD_SPECTRAL_NORM)
            critic = _discriminator(states["discriminator"])
            models["discriminator"] = critic, Discriminator(config.keypoints.count, critic)
            released.fill(models["discriminator"][1], "discriminator", "discriminator")
    # A2FD: audio encoder and keypoint heads
    if "audio_feature" in states:
        with released.naming_file("audio_feature"):
            sizes = _a2fd(states["audio_feature"], states["kp_detector_a"], teacher)
            models["a2fd"] = sizes, a2fd.A2fd(sizes)
            released.fill(models["a2fd"][1], "a2fd", "audio_feature", "kp_detector_a")
        if teacher is not None:
            a2fd.check_fomm(sizes, config, whole.detector)
    # The displacement network
    if "emo_detector" in states:
        with released.naming_file("emo_detector"):
            widths = _displacement(states["emo_detector"])
            description = displacement.DisplacementDescription(
                widths, options.size, displacement.RELEASED_GAINS, teacher=teacher
            )
            models["displacement"] = description, displacement.Displacement(widths)
            released.fill(models["displacement"][1], "displacement", "emo_detector")
    return models


def complete_spectral_norm(state: State) -> tuple[State, list[str]]:
    """Return a discriminator's state as torch writes it since 1.1, and what was dropped for that.

    Torch 1.0 kept the normalised `weight` next to `weight_orig`, and no `weight_v`. The vector v
    that gives the same weight_orig / sigma, with sigma = u W v, is W^T u, scaled.
    """
    complete = dict(state)
    dropped = []
    for key in [key for key in state if key.endswith(".weight_orig")]:
        stem = key.removesuffix("_orig")
        matrix = state[key].flatten(1)
        direction = matrix.T @ state[f"{stem}_u"]
        sigma = direction.norm()
        if stem in state:
            kept = complete.pop(stem).flatten(1)
            dropped.append(stem)
            sigma = (matrix * kept).sum() / kept.square().sum()
        if f"{stem}_v" not in state:
            length = torch.dot(state[f"{stem}_u"], matrix @ direction)
            complete[f"{stem}_v"] = direction * (sigma / length)
    return complete, dropped


def _fomm(detector: State, generator: State, options: Options) -> fomm.FommConfig:
    motion = "dense_motion_network"
    channels = outputs(generator, "first.conv")
    blocks = _count(generator, r"down_blocks\.(\d+)\.")
    widest = outputs(generator, f"down_blocks.{blocks - 1}.conv")
    return fomm.FommConfig(
        size=options.size,
        keypoints=_keypoints(detector),
        motion=MotionConfig(
            hourglass=_hourglass(generator, f"{motion}.hourglass."),
            downscale=_downscale(generator, f"{motion}.down.weight"),
            kernel=_kernel(generator, f"{motion}.mask"),
        ),
        generator=GeneratorConfig(
            channels=channels,
            max_channels=_limit(channels, blocks, widest, 512),
            downsamplings=blocks,
            blocks=_count(generator, r"bottleneck\.r(\d+)\."),
        ),
        align_corners=options.align_corners,
    )


def _keypoints(state: State) -> KeypointConfig:
    return KeypointConfig(
        count=outputs(state, "kp"),
        hourglass=_hourglass(state, "predictor."),
        downscale=_downscale(state, "down.weight"),
        kernel=_kernel(state, "kp"),
    )


def _discriminator(state: State) -> DiscriminatorConfig:
    """Return the sizes of a discriminator of one scale."""
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


def _a2fd(state: State, heads: State, teacher: str | None) -> A2fdConfig:
    levels = _count(state, r"down_blocks\.(\d+)\.")
    widths = {
        "identity_channels": outputs(state, "down_blocks.0.conv"),
        "identity_dim": outputs(state, f"down_blocks.{levels - 1}.conv"),
        "audio_channels": [outputs(state, f"audio_eocder.{k}.0") for k in (0, 1, 3, 4, 5)],
        "audio_hidden": outputs(state, "audio_eocder_fc.0"),
        "audio_dim": outputs(state, "audio_eocder_fc.2"),
        "pose_hidden": outputs(state, "pose_encoder.0"),
        "pose_dim": outputs(state, "pose_encoder.2"),
        "hidden": state["lstm.weight_hh_l0"].shape[1],
        "layers": _count(state, r"lstm\.weight_hh_l(\d+)"),
        "decoder_first": state["decon.0.weight"].shape[1],
        "decoder": state["decon.3.weight"].shape[1],
    }
    return A2fdConfig(build(A2fdWidths, widths), 1 << levels, _keypoints(heads), teacher=teacher)


def _displacement(state: State) -> displacement.DisplacementConfig:
    stages = range(1, _count(state, r"layer(\d)\."))
    numbers = state["fc_p.0.weight"].shape[1]
    return displacement.DisplacementConfig(
        keypoints=numbers // (displacement.NUMBERS * (1 + 2 * FREQUENCIES)),
        head="release",
        frequencies=FREQUENCIES,
        projection=outputs(state, "fc_p.0"),
        neutral=outputs(state, "fc_p.2"),
        hidden=(outputs(state, "fc_all.0"), outputs(state, "fc_all.2"), outputs(state, "fc_all.4")),
        extractor=displacement.ExtractorConfig(
            downscale=_downscale(state, "down.weight"),
            hourglass=_hourglass(state, "predictor."),
            widths=tuple(outputs(state, f"layer{stage}.0.conv1") for stage in stages),
            blocks=_count(state, r"layer1\.(\d+)\."),
            head="release",
        ),
        classes=outputs(state, "classify.last_fc"),
    )


def _hourglass(state: State, name: str) -> HourglassConfig:
    blocks = _count(state, re.escape(name) + r"encoder\.down_blocks\.(\d+)\.")
    channels = outputs(state, f"{name}decoder.up_blocks.{blocks - 1}.conv")
    widest = outputs(state, f"{name}encoder.down_blocks.{blocks - 1}.conv")
    return HourglassConfig(channels, _limit(channels, blocks, widest, 1024), blocks)


def _limit(channels: int, level: int, widest: int, usual: int) -> int:
    """Return the largest number of channels allowed, which shows only where it was reached."""
    return widest if widest < channels << level else max(usual, widest)


def _kernel(state: State, layer: str) -> int:
    return state[f"{layer}.weight"].shape[-1]


def _downscale(state: State, key: str) -> int:
    taps = state[key].shape[-1]
    if taps not in FACTORS:
        raise ValueError(f"{key} is a blur of {taps} taps, wanted one of {list(FACTORS)}")
    return FACTORS[taps]


def _count(state: State, pattern: str) -> int:
    """Return one more than the highest number of a numbered layer."""
    numbers = [int(found[1]) for key in state if (found := re.match(pattern, key))]
    if not numbers:
        raise KeyError(pattern.replace("\\", "").replace("(d+)", "0").replace("(d)", "1"))
    return max(numbers) + 1
