"""Codes of prompts, pictures and sounds by a frozen emotion space, computed once for EAC.

Letters: P pictures of a clip, C numbers of a code.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from affekt.arrays import Array
from affekt.media.corpus import Clip, Corpus
from affekt.nets.fingerprint import fingerprint
from affekt.runtime.config import ConfigError
from affekt.runtime.weights.tensor_files import load_tensors, save_tensors
from emospace.data.emotions import clip_pictures
from emospace.data.expressions import EmotionCodes, Modality
from emospace.networks.emotion_space import EmotionSpace

AT_ONCE = 64  # clips whose pictures are in memory together


def check_space(space: EmotionSpace, clips: Sequence[Clip], corpus: Corpus) -> None:
    """Refuse an emotion space that does not know the emotions of these clips.

    Raises:
        ConfigError: the message names them, and what the space knows.
    """
    unknown = sorted({clip.emotion for clip in clips} - {*space.emotions})
    if unknown:
        raise ConfigError(
            f"{corpus.root} has clips of {', '.join(unknown)}, the emotion space knows "
            f"{', '.join(space.emotions)} alone; train the space on this corpus, or prepare the "
            "corpus without those emotions"
        )


def emotion_codes(
    space: EmotionSpace,
    clips: Sequence[Clip],
    pictures: int,
    kinds: Sequence[Modality],
    folder: Path,
) -> EmotionCodes:
    """Return the codes of the clips and of their emotions' prompts, from `folder` or computed.

    Prompts are the training ones. The file is named after the space's weights and the clips: codes
    of others are never read. Of a modality that is not asked for there are no codes.

    Args:
        space: in evaluation mode.
        clips: in the order of the codes.
        pictures: P.
        kinds: the modalities.
        folder: where the file is.
    """
    emotions = sorted({clip.emotion for clip in clips})
    about = [fingerprint(space), str(pictures), *kinds]
    about += [f"{clip.id} {clip.sha256} {clip.frames}" for clip in clips]
    about += [text for emotion in emotions for text in space.bank.prompts(emotion)]
    name = hashlib.sha256("\n".join(about).encode()).hexdigest()[:16]
    file = folder / f"{name}.safetensors"
    if not file.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        save_tensors(file, _computed(space, clips, emotions, pictures, kinds))
    found, _ = load_tensors(file)
    arrays = {name: codes.numpy() for name, codes in found.items()}
    none = np.zeros((0, space.code_dim), np.float32)
    return EmotionCodes(
        {emotion: arrays.get(f"text/{emotion}", none) for emotion in emotions},
        arrays.get("image", none),
        arrays.get("audio", none),
    )


def _computed(
    space: EmotionSpace,
    clips: Sequence[Clip],
    emotions: Sequence[str],
    pictures: int,
    kinds: Sequence[Modality],
) -> dict[str, Tensor]:
    codes: dict[str, Tensor] = {}
    if "text" in kinds:
        for emotion in emotions:
            codes[f"text/{emotion}"] = space.text_codes(space.bank.prompts(emotion))
    parts: dict[str, list[Tensor]] = {kind: [] for kind in ("image", "audio") if kind in kinds}
    bar = tqdm(desc="emotion codes", total=len(clips), unit="clip", disable=None, delay=1)
    with bar:
        for first in range(0, len(clips), AT_ONCE):
            some = clips[first : first + AT_ONCE]
            if "image" in parts:
                frames = np.concatenate([clip_pictures(clip, pictures) for clip in some])
                parts["image"].append(space.image_codes(frames).unflatten(0, (len(some), pictures)))
            if "audio" in parts:
                parts["audio"].append(space.audio_codes([clip.mel() for clip in some]))
            bar.update(len(some))
    return codes | {kind: torch.cat(some) for kind, some in parts.items()}


def prompt_code(space: EmotionSpace, emotion: str, held_out: bool = True) -> Array:
    """Return the mean code (C,) of an emotion's prompts, as long as they are on average.

    Args:
        space: the emotion space.
        emotion: one of its emotions.
        held_out: of templates that training never saw, where the bank has any.
    """
    prompts = space.bank.prompts(emotion, "templates") if held_out else []
    codes = space.text_codes(prompts or space.bank.prompts(emotion)).numpy()
    return mean_code(codes)


def mean_code(codes_NC: Array) -> Array:
    """Return the mean direction (C,) of codes, of their mean length. Ours.

    The plain mean of unit codes is shorter than all of them, and no network has seen such codes.
    """
    mean = codes_NC.mean(axis=0)
    length = np.linalg.norm(mean)
    wanted = np.linalg.norm(codes_NC, axis=1).mean()
    scaled: Array = mean * (wanted / length) if length else mean
    return scaled.astype(np.float32)


def blend_codes(first: Array, second: Array, weight: float) -> Array:
    """Return the code (C,) at `weight` of the path from one emotion to another, 0 to 1. Ours.

    (1 - w) a + w b, as long as the two codes are: the plain mean of two unit codes is shorter than
    both, and would stand for a weaker emotion.
    """
    mixed = (1 - weight) * first + weight * second
    wanted = (1 - weight) * np.linalg.norm(first) + weight * np.linalg.norm(second)
    length = np.linalg.norm(mixed)
    scaled: Array = mixed * (wanted / length) if length else mixed
    return scaled.astype(np.float32)
