"""The new name of every weight of the FOMM and EAMM releases, and which ones are left out.

The released names are facts of their checkpoints.
"""

import re
from collections.abc import Sequence

import torch

from affekt.runtime.weights.convert import Naming, Reason, State

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
