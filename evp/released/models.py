"""EVP's released checkpoints as networks of this project.

Several kinds of file hold networks of the same layers:
    audio2lm     <speaker>_20.pth       both encoders, LSTM and landmark encoder
    disentangle  <epoch>_pretrain.pth   both encoders, audio decoder, classifier
    emotion      SER_<epoch>.pkl        pretrained emotion encoder with its classifier
    content      atnet_lstm_18.pth      ATVGnet's network, of which the audio encoder is taken
Their names (the misspelling included) are facts of the checkpoints; sizes are read from the shapes
of the weights, so that networks of other widths in the same layout are imported as well.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import nn

from affekt.media.emotions import EMOTIONS
from affekt.runtime.config import build
from affekt.runtime.weights.convert import (
    Naming,
    Reason,
    State,
    fill,
    outputs,
    read_torch,
    rename,
    tensors,
)
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

Kind = Literal["audio2lm", "disentangle", "emotion", "content"]

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

# How weights are renamed: every new name begins with its part of the run folder.
CONTENT: Sequence[Naming] = (
    (r"con_encoder\.audio_eocder\.", "content_encoder.convolutions."),
    (r"con_encoder\.audio_eocder_fc\.", "content_encoder.dense."),
)
EMOTION: Sequence[Naming] = (
    (r"emo_encoder\.emotion_eocder\.", "emotion_encoder.convolutions."),
    (r"emo_encoder\.emotion_eocder_fc\.0\.", "emotion_encoder.dense.0."),
    (r"emo_encoder\.emotion_eocder_fc\.2\.", "emotion_encoder.dense.3."),  # dropout between
)
NAMES: dict[Kind, Sequence[Naming]] = {
    "audio2lm": (
        *CONTENT,
        *EMOTION,
        (r"lm_encoder\.lmark_encoder\.", "model.identity."),
        (r"decoder\.lstm\.", "model.lstm."),
        (r"decoder\.lstm_fc\.0\.", "model.head.0."),
    ),
    "disentangle": (
        *CONTENT,
        *EMOTION,
        (r"decoder\.decon\.", "decoder.layers."),
        (r"classify\.last_fc\.", "classifier."),
    ),
    "emotion": (
        *((old.removeprefix(r"emo_encoder\."), new) for old, new in EMOTION),
        (r"last_fc\.", "classifier."),
    ),
    "content": tuple((old.removeprefix(r"con_encoder\."), new) for old, new in CONTENT),
}

RE_ID: Sequence[Reason] = (
    (
        r"(emo_encoder\.)?re_id(_fc)?\.",
        "layers for a speaker's identity that the release builds and never calls",
    ),
)
INHERITED: Sequence[Reason] = (
    (
        r"emo_encoder\.last_fc\.",
        "the classifier of the pretraining, which this network never calls",
    ),
    *RE_ID,
)
ATVGNET = "ATVGnet's way from codes to its own landmarks, which EVP does not use"
LEFT_OUT: dict[Kind, Sequence[Reason]] = {
    "audio2lm": INHERITED,
    "disentangle": INHERITED,
    "emotion": RE_ID,
    "content": ((r"(lmark_encoder|lstm|lstm_fc|decoder)\.", ATVGNET),),
}


@dataclass(frozen=True)
class Checkpoint:
    """A released checkpoint as this project's networks, with every key of it."""

    kind: Kind
    path: Path
    encoders: EncodersDescription
    parts: dict[str, nn.Module]  # by the names of a run folder's checkpoint
    landmarks: Audio2LandmarkConfig | None  # of an audio2lm file
    names: dict[str, str]  # the new name of every weight that is taken
    left_out: dict[str, str]  # the reason for every one that is not
    counters: dict[str, int]  # steps and epochs of its training


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
    kind, state = _weights(found, path)
    counters = {name: int(found[name]) for name in COUNTERS if isinstance(found.get(name), int)}
    try:
        # Weights under this project's names, in networks of their sizes
        names, left_out = rename(kind, state, NAMES[kind], LEFT_OUT[kind])
        weights = {new: state[old] for old, new in names.items()}
        encoders, parts, landmarks = _networks(kind, weights)
        fill(nn.ModuleDict(parts), weights | _faces(parts), names)
    except KeyError as error:
        raise ValueError(f"{path}: no weight {error.args[0]} in it; {EXPECTED}") from None
    except (ValueError, IndexError) as error:
        raise ValueError(f"{path}: {error}; {EXPECTED}") from None
    # The rest of a training checkpoint is not read
    if "model" in found:
        rest = found.keys() - {"model", *counters}
        left_out |= {str(key): "no network; a training here starts its own" for key in rest}
    return Checkpoint(kind, path, encoders, parts, landmarks, names, left_out, counters)


def _weights(found: Any, path: Path) -> tuple[Kind, State]:
    """Return which file it is, and its weights without DataParallel's `module.`."""
    if not isinstance(found, dict) or not found:
        what = type(found).__name__
        raise ValueError(f"{path} is a torch file that holds a {what}, no checkpoint; {EXPECTED}")
    if {"step", "rng", "parts"} <= found.keys():
        raise ValueError(f"{path} is of this project's own training: give its run folder as it is")
    given = found.get("model", found)
    keys = [str(key).removeprefix("module.") for key in given] if isinstance(given, dict) else []
    if len({*keys}) < len(keys):
        raise ValueError(f"{path} has weights twice, with and without module.; {EXPECTED}")
    for kind, mark in MARKS.items():
        if any(key.startswith(mark) for key in keys):
            return kind, tensors(dict(zip(keys, given.values(), strict=True)), kind, path)
    nested = {"generator", "kp_detector", "audio_feature", "emo_detector"} & found.keys()
    hint = " (of FOMM or EAMM: python -m eamm.released.importer)" if nested else ""
    some = ", ".join(str(key) for key in list(found)[:4])
    raise ValueError(f"{path} is a torch file with {some}{hint}; {EXPECTED}")


def _networks(
    kind: Kind, weights: State
) -> tuple[EncodersDescription, dict[str, nn.Module], Audio2LandmarkConfig | None]:
    """Return networks of the weights' sizes, to be filled."""
    parts: dict[str, nn.Module] = {}
    content, emotion = ContentEncoderConfig(), EmotionEncoderConfig()
    # Encoders
    if kind != "emotion":
        content = build(ContentEncoderConfig, _encoder(weights, "content", (0, 1, 3, 4, 5), (0, 2)))
        parts["content_encoder"] = ContentEncoder(content)
    if kind != "content":
        emotion = build(EmotionEncoderConfig, _encoder(weights, "emotion", (0, 2, 3, 5), (0, 3)))
        parts["emotion_encoder"] = EmotionEncoder(emotion)
    code_dim = content.dim + emotion.dim
    landmarks = None
    # What follows the encoders in each kind of checkpoint
    if kind == "audio2lm":
        landmarks = _landmarks(weights)
        parts["model"] = Audio2Landmark(landmarks, code_dim)
    if kind == "disentangle":
        widths = [int(weights[f"decoder.layers.{k}.weight"].shape[1]) for k in (0, 3, 6, 9)]
        decoder = build(AudioDecoderConfig, {"channels": widths})
        parts["decoder"] = AudioDecoder(decoder, code_dim)
    if kind in ("disentangle", "emotion"):
        classes = outputs(weights, "classifier")
        if classes != len(EMOTIONS):
            raise ValueError(f"its classifier has {classes} classes, wanted {len(EMOTIONS)}")
        parts["classifier"] = EmotionClassifier(emotion.dim, classes)
    encoders: tuple[Part, ...] = ("content", "emotion")
    holds = tuple(part for part in encoders if f"{part}_encoder" in parts)
    return EncodersDescription(EncodersConfig(content, emotion), EMOTIONS, holds), parts, landmarks


def _encoder(
    weights: State, name: Part, layers: Sequence[int], dense: tuple[int, int]
) -> dict[str, Any]:
    """Return an encoder's widths by the fields of its configuration."""
    hidden, dim = (outputs(weights, f"{name}_encoder.dense.{place}") for place in dense)
    convolutions = f"{name}_encoder.convolutions"
    channels = [outputs(weights, f"{convolutions}.{place}.0") for place in layers]
    return {"channels": channels, "hidden": hidden, "dim": dim}


def _landmarks(weights: State) -> Audio2LandmarkConfig:
    layers = {found[1] for key in weights if (found := re.match(r"model\.lstm\.\w+_l(\d+)", key))}
    return Audio2LandmarkConfig(
        identity_dim=outputs(weights, "model.identity.2"),
        identity_hidden=outputs(weights, "model.identity.0"),
        identity_from="components",
        hidden=int(weights["model.lstm.weight_hh_l0"].shape[1]),
        layers=len(layers),
        head_hidden=0,
        output="components",
        components=outputs(weights, "model.head.0"),
        scheme="sense106",
    )


def _faces(parts: dict[str, nn.Module]) -> State:
    """Return the buffers of the landmark network that no checkpoint of the release holds."""
    state = parts["model"].state_dict() if "model" in parts else {}
    return {f"model.{name}": state[name] for name in ("mean_L", "basis_KL") if name in state}
