"""EVP's released checkpoints as networks of this project: recognised, sized, filled.

The sizes are read from the shapes of the weights, so that networks of other widths in the release's
layout are imported as well.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from affekt.media.emotions import EMOTIONS
from affekt.runtime.weights.foreign import State, fill, read_torch, rename, rows, tensors
from evp.networks.audio2lm import Audio2Landmark, Audio2LandmarkConfig
from evp.networks.encoders import (
    AudioDecoder,
    AudioDecoderConfig,
    ContentEncoder,
    ContentEncoderConfig,
    EmotionClassifier,
    EmotionEncoder,
    EmotionEncoderConfig,
    EncodersConfig,
    EncodersDescription,
    Part,
)
from evp.released.names import LEFT_OUT, NAMES, Kind

EXPECTED = (
    "wanted a file of EVP's release: <speaker>_20.pth (audio to landmarks), <epoch>_pretrain.pth "
    "(disentanglement), SER_<epoch>.pkl (emotion pretraining), atnet_lstm_18.pth (ATVGnet's "
    "content encoder)"
)
COUNTERS = ("train_step", "test_step", "epoch")
MARKS: dict[Kind, str] = {  # a key that shows which file it is, the most particular first
    "audio2lm": "lm_encoder.lmark_encoder.",
    "disentangle": "decoder.decon.",
    "emotion": "emotion_eocder.",
    "content": "audio_eocder.",
}


@dataclass(frozen=True)
class Checkpoint:
    """A released checkpoint as this project's networks, and an account of its keys."""

    kind: Kind
    path: Path
    encoders: EncodersDescription
    parts: dict[str, nn.Module]  # by the names of a run folder's checkpoint
    landmarks: Audio2LandmarkConfig | None  # of an audio2lm file
    names: dict[str, str]  # the new name of every weight that is taken
    left_out: dict[str, str]  # the reason for every one that is not
    counters: dict[str, int] = field(default_factory=dict)


def read_model(path: Path) -> Checkpoint:
    """Read one checkpoint of the release.

    An audio2lm network is without its faces: `mean_L` and `basis_KL` are zeros, since the release
    keeps them in files of their own.

    Raises:
        FileNotFoundError: no such file.
        ValueError: damaged, something else, or weights missing, unknown or of another shape; the
            message names them and the file.
    """
    found = read_torch(path, EXPECTED)
    kind, state, counters = _recognised(found, path)
    beside = {} if found.get("model") is None else found.keys() - {"model", *counters}
    try:
        names, left_out = rename(kind, list(state), NAMES[kind], LEFT_OUT[kind])
        weights = {new: state[old] for old, new in names.items()}
        encoders, parts, landmarks = _networks(kind, weights)
        _check_classes(kind, weights)
        fill(nn.ModuleDict(parts), weights | _faces(parts), names)
    except KeyError as error:
        raise ValueError(f"{path}: no weight {error.args[0]} in it; {EXPECTED}") from None
    except (ValueError, IndexError) as error:
        raise ValueError(f"{path}: {error}; {EXPECTED}") from None
    left_out |= {str(key): "no network; a training here starts its own" for key in beside}
    return Checkpoint(kind, path, encoders, parts, landmarks, names, left_out, counters)


def _recognised(found: Any, path: Path) -> tuple[Kind, State, dict[str, int]]:
    """Return which file it is, its weights without `module.`, and its counters."""
    if not isinstance(found, dict) or not found:
        what = type(found).__name__
        raise ValueError(f"{path} is a torch file that holds a {what}, no checkpoint; {EXPECTED}")
    if {"step", "rng", "parts"} <= found.keys():
        raise ValueError(f"{path} is of this project's own training: give its run folder as it is")
    given = found.get("model", found)
    keys = [str(key) for key in given] if isinstance(given, dict) else []
    bare = [key.removeprefix("module.") for key in keys]  # of DataParallel
    if len({*bare}) < len(bare):
        raise ValueError(f"{path} has weights twice, with and without module.; {EXPECTED}")
    for kind, mark in MARKS.items():
        if any(key.startswith(mark) for key in bare):
            counters = {
                name: int(found[name]) for name in COUNTERS if isinstance(found.get(name), int)
            }
            state = tensors(dict(zip(bare, given.values(), strict=True)), kind, path)
            return kind, state, counters
    nested = {"generator", "kp_detector", "audio_feature", "emo_detector"} & found.keys()
    hint = " (of FOMM or EAMM: python -m eamm.released.importer)" if nested else ""
    some = ", ".join(str(key) for key in list(found)[:4])
    raise ValueError(f"{path} is a torch file with {some}{hint}; {EXPECTED}")


def _networks(
    kind: Kind, weights: State
) -> tuple[EncodersDescription, dict[str, nn.Module], Audio2LandmarkConfig | None]:
    parts: dict[str, nn.Module] = {}
    content, emotion = ContentEncoderConfig(), EmotionEncoderConfig()
    holds: list[Part] = []
    if kind != "emotion":
        content = _content(weights)
        parts["content_encoder"] = ContentEncoder(content)
        holds.append("content")
    if kind != "content":
        emotion = _emotion(weights)
        parts["emotion_encoder"] = EmotionEncoder(emotion)
        holds.append("emotion")
    code_dim = content.dim + emotion.dim
    landmarks = None
    if kind == "audio2lm":
        landmarks = _landmarks(weights)
        parts["model"] = Audio2Landmark(landmarks, code_dim)
    if kind == "disentangle":
        parts["decoder"] = AudioDecoder(_decoder(weights), code_dim)
    if kind in ("disentangle", "emotion"):
        parts["classifier"] = EmotionClassifier(emotion.dim, len(EMOTIONS))
    sizes = EncodersConfig(content, emotion)
    return EncodersDescription(sizes, EMOTIONS, tuple(holds)), parts, landmarks


def _check_classes(kind: Kind, weights: State) -> None:
    if kind in ("disentangle", "emotion"):
        found = rows(weights, "classifier")
        if found != len(EMOTIONS):
            raise ValueError(f"its classifier has {found} classes, wanted {len(EMOTIONS)}")


def _faces(parts: dict[str, nn.Module]) -> State:
    """Return the buffers of the landmark network that no checkpoint of the release holds."""
    state = parts["model"].state_dict() if "model" in parts else {}
    return {f"model.{name}": state[name] for name in ("mean_L", "basis_KL") if name in state}


def _content(weights: State) -> ContentEncoderConfig:
    name = "content_encoder"
    first, second, third, fourth, fifth = (
        rows(weights, f"{name}.convolutions.{place}.0") for place in (0, 1, 3, 4, 5)
    )
    hidden, dim = (rows(weights, f"{name}.dense.{place}") for place in (0, 2))
    return ContentEncoderConfig((first, second, third, fourth, fifth), hidden, dim)


def _emotion(weights: State) -> EmotionEncoderConfig:
    name = "emotion_encoder"
    first, second, third, fourth = (
        rows(weights, f"{name}.convolutions.{place}.0") for place in (0, 2, 3, 5)
    )
    hidden, dim = (rows(weights, f"{name}.dense.{place}") for place in (0, 3))
    return EmotionEncoderConfig((first, second, third, fourth), hidden, dim)


def _decoder(weights: State) -> AudioDecoderConfig:
    first, second, third, fourth = (
        int(weights[f"decoder.layers.{place}.weight"].shape[1]) for place in (0, 3, 6, 9)
    )
    return AudioDecoderConfig((first, second, third, fourth))


def _landmarks(weights: State) -> Audio2LandmarkConfig:
    layers = {found[1] for key in weights if (found := re.match(r"model\.lstm\.\w+_l(\d+)", key))}
    return Audio2LandmarkConfig(
        identity_dim=rows(weights, "model.identity.2"),
        identity_hidden=rows(weights, "model.identity.0"),
        identity_from="components",
        hidden=int(weights["model.lstm.weight_hh_l0"].shape[1]),
        layers=len(layers),
        head_hidden=0,
        output="components",
        components=rows(weights, "model.head.0"),
        scheme="sense106",
    )
