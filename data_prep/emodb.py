"""Emo-DB, acted German emotional speech (Burkhardt et al. 2005), as a prepared corpus of sound.

    python -m data_prep.emodb configs/real/emodb.yaml
    python -m data_prep.emodb configs/real/emodb.yaml source=/data/emodb out=data/emodb

Reads <source>/wav/<speaker><text><emotion><version>.wav (03a01Fa: speaker 03, text a01, F happy,
version a) and writes clips with audio.wav and mfcc.npy but no face: enough for emotion pretraining
and disentanglement. The corpus has seven emotions, its own list in corpus.json. Texts are
sentences; those named by `held_out` become the split test_sentence, all others train. Clips that
are there already are kept; a file that cannot be read goes to quarantine.jsonl.

Copies in circulation are padded with silence or cut to one length: quiet ends are trimmed, since
they have no emotion to hear.
"""

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from affekt.media.audio.mfcc import clip_mfcc
from affekt.media.audio.reader import read_audio, write_wav
from affekt.media.constants import FRAME_RATE, SAMPLE_RATE, SAMPLES_PER_FRAME
from affekt.media.corpus import SCHEMA
from affekt.media.video.video import MediaError
from affekt.runtime.command import config_from_argv, user_errors
from affekt.runtime.files import replacing_folder, save_npy, sha256, write_json, write_jsonl

log = logging.getLogger(__name__)

EMOTIONS = {
    "W": "angry",  # Wut
    "L": "bored",  # Langeweile
    "E": "disgusted",  # Ekel
    "A": "fear",  # Angst
    "F": "happy",  # Freude
    "N": "neutral",
    "T": "sad",  # Trauer
}
TEXTS = ("a01", "a02", "a04", "a05", "a07", "b01", "b02", "b03", "b09", "b10")
NAME = re.compile(r"(?P<speaker>\d\d)(?P<text>[ab]\d\d)(?P<emotion>[A-Z])(?P<version>[a-z])")
LEVEL = 1  # Emo-DB has no intensities


@dataclass(frozen=True)
class Config:
    """What is read and how it is split."""

    source: Path
    out: Path = Path("data/emodb")
    held_out: tuple[str, ...] = ("a07", "b09", "b10")  # texts, for test_sentence
    quiet: float = 0.001  # of full scale; ends below it are trimmed, 0 keeps them

    def __post_init__(self) -> None:
        unknown = set(self.held_out) - set(TEXTS)
        if unknown:
            raise ValueError(f"held_out has unknown texts {sorted(unknown)}; known: {TEXTS}")


def prepare(cfg: Config, progress: bool = True) -> dict[str, int]:
    """Write the prepared corpus; return how many clips were written, at hand and refused.

    Raises:
        FileNotFoundError: no wav files there.
    """
    files = sorted((cfg.source / "wav").glob("*.wav"))
    if not files:
        raise FileNotFoundError(
            f"no wav files in {cfg.source / 'wav'}; set source to Emo-DB's folder"
        )
    rows, refused, written = [], [], 0
    for path in tqdm(files, desc="emodb", unit="clip", disable=not progress):
        try:
            row, new = _clip(path, cfg)
        except (ValueError, OSError) as error:
            refused.append(_refusal(path, error))
            continue
        rows.append(row)
        written += new
    write_json(
        cfg.out / "corpus.json",
        {
            "schema": SCHEMA,
            "fps": FRAME_RATE,
            "sample_rate": SAMPLE_RATE,
            "emotions": sorted(EMOTIONS.values()),
            "detector": None,
            "quiet": cfg.quiet,
        },
    )
    write_jsonl(cfg.out / "quarantine.jsonl", refused)
    write_jsonl(cfg.out / "manifest.jsonl", sorted(rows, key=lambda row: row["id"]))
    return {"written": written, "at_hand": len(rows) - written, "refused": len(refused)}


def _clip(path: Path, cfg: Config) -> tuple[dict[str, Any], bool]:
    """Write a clip's folder unless it is there; return its manifest line and whether it is new."""
    name = NAME.fullmatch(path.stem)
    if name is None or name["emotion"] not in EMOTIONS:
        raise ValueError(f"{path.name} is not named <speaker><text><emotion><version>.wav")
    emotion = EMOTIONS[name["emotion"]]
    clip_id = f"{name['speaker']}_{emotion}_{LEVEL}_{name['text']}{name['version']}"
    folder = cfg.out / "clips" / name["speaker"] / clip_id
    new = not folder.is_dir()
    if new:
        samples = _trimmed(read_audio(path), cfg.quiet)
        with replacing_folder(folder) as temporary:
            write_wav(temporary / "audio.wav", samples)
            frames = len(samples) // SAMPLES_PER_FRAME
            save_npy(temporary / "mfcc.npy", clip_mfcc(samples, frames))
    rows = np.load(folder / "mfcc.npy", mmap_mode="r", allow_pickle=False).shape[0]
    return {
        "id": clip_id,
        "speaker": name["speaker"],
        "emotion": emotion,
        "level": LEVEL,
        "sentence": name["text"],
        "split": "test_sentence" if name["text"] in cfg.held_out else "train",
        "frames": (rows - 24) // 4,
        "sha256": sha256(path),
        "source": str(path),
    }, new


def _trimmed(samples: NDArray[Any], quiet: float) -> NDArray[Any]:
    """Drop quiet ends and fill the last video frame with zeros."""
    loud = np.flatnonzero(np.abs(samples) > quiet)
    if not len(loud):
        raise ValueError(f"nothing is louder than {quiet} of full scale")
    kept = samples[loud[0] : loud[-1] + 1]
    return np.pad(kept, (0, -len(kept) % SAMPLES_PER_FRAME))


def _refusal(path: Path, error: Exception) -> dict[str, str]:
    reason = error.reason if isinstance(error, MediaError) else "unreadable"
    log.warning("%s is refused: %s", path, error)
    return {"path": str(path), "stage": "emodb", "reason": reason, "message": str(error)}


def main() -> None:
    """Run from the command line."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    with user_errors():
        counts = prepare(config_from_argv(Config, __doc__))
    print(", ".join(f"{count} clips {what}" for what, count in counts.items()))


if __name__ == "__main__":
    main()
