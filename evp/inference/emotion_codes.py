"""Mean emotion codes per label, and blends of them (EVP paper Sec. 4.2).

    python -m evp.inference.emotion_codes runs/audio2lm
    python -m evp.inference.emotion_codes runs/audio2lm --corpus data/mead

Encodes the training clips of the run's corpus with the run's emotion encoder and writes
RUN/emotion_codes.safetensors, a code for each `label` and each `speaker/label`, and
RUN/emotion_codes.json, their emotions and corpus. A label's code is the mean over its
clips of the mean over a clip's windows.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from affekt.arrays import Array
from affekt.media.corpus import Clip, Corpus
from affekt.media.emotions import parse_blend
from affekt.runtime.command import CommandParser, add_device, user_errors
from affekt.runtime.config import read_mapping
from affekt.runtime.devices import pick_device
from affekt.runtime.files import DamagedFileError, read_json, write_json
from affekt.runtime.run import restore
from affekt.runtime.weights.tensor_files import load_tensors, save_tensors
from evp.networks.audio2lm import EmotionCode
from evp.networks.encoders import (
    EmotionEncoder,
    Encoders,
    Part,
    encode,
    load_description,
    load_encoders,
)

FILE = "emotion_codes.safetensors"
MAKE = "python -m evp.inference.emotion_codes"
STAGES = ("audio2lm", "disentangle")  # runs with a corpus, in a folder of runs
AT_ONCE = 1024  # clips whose windows are in memory together, 1.3 kB a frame


@dataclass(frozen=True)
class EmotionCodes:
    """Mean codes by label, and by speaker and label."""

    emotions: tuple[str, ...]
    codes: dict[str, Array]  # "happy" or "M003/happy" -> (E,)

    def of(self, label: str, speaker: str | None = None) -> Array:
        """Return the mean code (E,) of a label, the speaker's own where there is one.

        Raises:
            ValueError: an unknown label, or one that no training clip has.
        """
        if label not in self.emotions:
            raise ValueError(f"unknown emotion {label!r}; this run has {', '.join(self.emotions)}")
        own = f"{speaker}/{label}"
        if own in self.codes:
            return self.codes[own]
        if label not in self.codes:
            raise ValueError(f"no training clip is labelled {label!r}, so it has no mean code")
        return self.codes[label]

    def blend(self, text: str, speaker: str | None = None) -> Array:
        """Return (1 - w) a + w b for "a:b:w"; the paper's alpha is 1 - w."""
        ((first, second),), weight = parse_blend(text)
        code: Array = (1 - weight) * self.of(first, speaker) + weight * self.of(second, speaker)
        return code.astype(np.float32)


def sound_codes(encoder: nn.Module, sounds: Sequence[Array], kind: EmotionCode) -> list[Array]:
    """Return what conditions a network on each sound's emotion, in the form it was trained with.

    Of kind `window` the code of each window, (N, E); of kind `clip` their mean, (E,).

    Args:
        encoder: E_e, in evaluation mode.
        sounds: windows (N, 28, 12) of each.
        kind: of the audio-to-landmark run.
    """
    device = next(encoder.parameters()).device
    together = torch.from_numpy(np.concatenate(sounds)).to(device)
    codes = encode(encoder, together).split([len(sound) for sound in sounds])
    means = (code if kind == "window" else code.mean(dim=0) for code in codes)
    return [code.cpu().numpy() for code in means]


def frame_codes(encoder: nn.Module, clips: Sequence[Clip]) -> list[Array]:
    """Return the code of every frame of each clip, (T, code) float32."""
    codes: list[Array] = []
    for first in range(0, len(clips), AT_ONCE):
        sounds = [clip.windows() for clip in clips[first : first + AT_ONCE]]
        codes += sound_codes(encoder, sounds, "window")
    return codes


def at_length(code: Array, frames: int) -> Array:
    """Return a code (E,) as it is, and codes (N, E) of windows for so many frames, (frames, E).

    Those of another sound than the driving one are cut, or the last one is held, as in EVP's
    release.
    """
    return code if code.ndim == 1 else code[np.minimum(np.arange(frames), len(code) - 1)]


def clip_codes(encoder: nn.Module, clips: Sequence[Clip]) -> Array:
    """Return each clip's code, the mean over its windows, (clips, code) float32."""
    means: list[Array] = []
    for first in range(0, len(clips), AT_ONCE):
        sounds = [clip.windows() for clip in clips[first : first + AT_ONCE]]
        means += sound_codes(encoder, sounds, "clip")
    return np.stack(means)


def part_codes(
    run: Path, part: Part, clips: Sequence[Clip], device: torch.device | str = "cpu"
) -> Array:
    """Return the codes (N, D) of clips by one encoder of a run, which may hold that one alone."""
    encoder = getattr(Encoders(load_description(run).encoders), part)
    restore(run, **{f"{part}_encoder": encoder})
    return clip_codes(encoder.to(device), clips)


def mean_mfcc(clips: Sequence[Clip]) -> Array:
    """Return the mean row (N, 12) over a clip's windows: a code that needs no network."""
    return np.stack([clip.windows().mean(axis=(0, 1)) for clip in clips])


def mean_codes(encoder: EmotionEncoder, corpus: Corpus) -> EmotionCodes:
    """Average the codes of the training clips by label, and by speaker and label."""
    clips = corpus.clips(split="train")
    groups: dict[str, list[Array]] = defaultdict(list)
    for clip, code in zip(clips, clip_codes(encoder, clips), strict=True):
        groups[clip.emotion].append(code)
        groups[f"{clip.speaker}/{clip.emotion}"].append(code)
    means = {name: np.mean(codes, axis=0) for name, codes in groups.items()}
    return EmotionCodes(corpus.emotions, means)


def save_codes(codes: EmotionCodes, run_dir: Path, corpus: Corpus) -> None:
    """Write the codes of a corpus's training clips into the run folder."""
    counts = {label: len(corpus.clips("train", emotion=label)) for label in codes.emotions}
    source = {"corpus": str(corpus.root), "split": "train", "clips": counts}
    write_codes(codes, run_dir, source)


def write_codes(codes: EmotionCodes, run_dir: Path, source: dict[str, Any]) -> None:
    """Write codes into a run folder, with a record of their source."""
    save_tensors(run_dir / FILE, {name: torch.from_numpy(c) for name, c in codes.codes.items()})
    write_json(run_dir / "emotion_codes.json", {"emotions": list(codes.emotions), **source})


def load_codes(run_dir: Path) -> EmotionCodes:
    """Read a run's mean codes.

    Raises:
        FileNotFoundError: not computed yet; the message names the command.
        DamagedFileError: the list of emotions is missing in it.
    """
    if not (run_dir / FILE).is_file():
        raise FileNotFoundError(f"{run_dir / FILE} is missing; run {MAKE} {run_dir}")
    path = run_dir / "emotion_codes.json"
    emotions = read_json(path).get("emotions")
    if emotions is None:
        raise DamagedFileError(f"{path} lists no emotions; run {MAKE} {run_dir}")
    codes, _ = load_tensors(run_dir / FILE)
    return EmotionCodes(tuple(emotions), {name: code.numpy() for name, code in codes.items()})


def check_emotions(run_dir: Path, corpus: Corpus) -> None:
    """Refuse a run that was trained on other emotions than the corpus lists.

    Raises:
        ValueError: the lists differ; the message shows both.
    """
    emotions = load_description(run_dir).emotions
    if emotions != corpus.emotions:
        raise ValueError(
            f"{run_dir} was trained on the emotions {', '.join(emotions)}, but {corpus.root} lists "
            f"{', '.join(corpus.emotions)}; use runs of one corpus"
        )


def corpus_of(run_dir: Path) -> Path:
    """Return the corpus that a run was trained on, from its config.yaml.

    Raises:
        FileNotFoundError: it has none; the message names a folder inside that has one, if any.
    """
    path = run_dir / "config.yaml"
    if not path.is_file():
        meant = next((stage for stage in STAGES if (run_dir / stage / path.name).is_file()), None)
        wanted = f"did you mean {run_dir / meant}?" if meant else "name the folder of a stage's run"
        raise FileNotFoundError(f"{path} is missing; {wanted}")
    config = read_mapping(path)
    if not isinstance(config.get("corpus"), str):
        raise DamagedFileError(f"{path} names no corpus: {run_dir} is no run of these stages")
    return Path(config["corpus"])


def main() -> None:
    """Run from the command line."""
    parser = CommandParser(__doc__)
    parser.add_argument("run", type=Path, help="a run of train_disentangle.py or train_audio2lm.py")
    parser.add_argument("--corpus", type=Path, help="another copy of the run's corpus")
    add_device(parser)
    args = parser.parse_args()
    with user_errors():
        encoders = load_encoders(args.run, pick_device(args.device))
        corpus = Corpus(args.corpus or corpus_of(args.run))
        check_emotions(args.run, corpus)
        save_codes(mean_codes(encoders.emotion, corpus), args.run, corpus)


if __name__ == "__main__":
    main()
