"""Does a sync network find a lag that was put in? Measured on whole clips it did not learn from.

    python -m affekt.metrics.sync.held_out runs/demo/metrics/syncnet --corpus data/mini_eamm

Each clip's sound is moved by every lag of -5 ... 5 frames, zeros where nothing is left, and the
offset that `affekt.metrics.sync.score.sync_scores` reports is compared with it. RUN/sync.json holds
the figures. RUN may also be the released file syncnet_v2.model; then nothing is written.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from affekt.arrays import Array
from affekt.media.constants import SAMPLES_PER_FRAME
from affekt.media.corpus import Clip, Corpus
from affekt.metrics.sync.network import SyncNet, load_syncnet
from affekt.metrics.sync.score import (
    VSHIFT,
    Sync,
    crop_square,
    cut_faces,
    hear_clip,
    sync_scores,
    watch_clip,
)
from affekt.runtime.command import CommandParser, user_errors
from affekt.runtime.config import ConfigError
from affekt.runtime.files import write_json
from affekt.runtime.run import pick_device

LAGS = 5  # frames on either side that are put in


@dataclass(frozen=True)
class HeldOut:
    """Which clips are measured, and how often; nothing is chosen by the figures."""

    split: Literal["val", "test_sentence", "test_speaker", "none"] = "test_speaker"
    every: int = 1_000  # steps
    clips: int = 0  # at most so many, evenly spaced; 0: all
    lags: int = LAGS


def held_out_clips(corpus: Corpus, config: HeldOut) -> list[Clip]:
    """Return the clips to measure, none for the split "none".

    Raises:
        ConfigError: the corpus has no clips in this split.
    """
    if config.split == "none":
        return []
    clips = corpus.clips(split=config.split)
    if not clips:
        raise ConfigError(
            f"{corpus.root} has no clips of split {config.split!r}; choose another "
            "held_out.split, or none"
        )
    if not config.clips or config.clips >= len(clips):
        return clips
    return [clips[i] for i in np.linspace(0, len(clips) - 1, config.clips).round().astype(int)]


def delayed(sound: Array, frames: int) -> Array:
    """Return a sound of the same length that is `frames` video frames late; negative: early."""
    shift = SAMPLES_PER_FRAME * frames
    moved = np.zeros_like(sound)
    kept = len(sound) - abs(shift)
    if kept > 0:
        moved[max(0, shift) :][:kept] = sound[max(0, -shift) :][:kept]
    return moved


def clip_syncs(network: SyncNet, clip: Clip, lags: Sequence[int]) -> list[Sync]:
    """Return the scores of a clip with its sound late by each of the lags, in frames."""
    square = crop_square(clip.stored_landmarks(), network.config.crop)
    store = clip.store()
    faces = cut_faces((store[i] for i in range(len(store))), square, network.config.size)
    video, sound = watch_clip(network, faces), clip.audio()
    heard = [hear_clip(network, delayed(sound, lag), clip.frames) for lag in lags]
    return [sync_scores(video, audio, VSHIFT) for audio in heard]


def lag_figures(network: SyncNet, clips: Sequence[Clip], reach: int = LAGS) -> dict[str, float]:
    """Return how often the lag is found, and the scores without one.

    exact: share of (clip, lag) whose lag is found; within_one: to a frame; worst: the lowest share
    of any lag; clips_exact: share of clips with all lags found; lse_c, lse_d: means without lag.
    The network's mode is kept.
    """
    if not clips:
        raise ValueError("there are no clips to measure")
    lags = range(-reach, reach + 1)
    training = network.training
    network.eval()
    syncs = [clip_syncs(network, clip, lags) for clip in clips]
    network.train(training)
    found = np.array([[-each.offset for each in row] for row in syncs])
    error = np.abs(found - np.array(lags))
    return {
        "exact": float((error == 0).mean()),
        "within_one": float((error <= 1).mean()),
        "worst": float((error == 0).mean(axis=0).min()),
        "clips_exact": float((error == 0).all(axis=1).mean()),
        "lse_c": float(np.mean([row[reach].lse_c for row in syncs])),
        "lse_d": float(np.mean([row[reach].lse_d for row in syncs])),
    }


def main() -> None:
    """Run from the command line."""
    parser = CommandParser(__doc__)
    parser.add_argument(
        "run", type=Path, help="a run of affekt.metrics.sync.train, or syncnet_v2.model"
    )
    parser.add_argument("--corpus", type=Path, required=True, help="a prepared corpus with frames")
    parser.add_argument("--split", default="test_speaker", help="which clips are held out")
    parser.add_argument("--lags", type=int, default=LAGS, help="frames on either side")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    args = parser.parse_args()
    with user_errors():
        network = load_syncnet(args.run, pick_device(args.device))
        clips = Corpus(args.corpus).clips(split=args.split)
        figures = lag_figures(network, clips, args.lags)
    if args.run.is_dir():
        about = {"corpus": str(args.corpus), "split": args.split, "lags": args.lags}
        write_json(args.run / "sync.json", {**about, "clips": len(clips), **figures})
    lines = [f"{name:12} {value:8.4f}" for name, value in figures.items()]
    print("\n".join([f"{len(clips)} clips, lags to {args.lags} frames", *lines]))  # noqa: T201


if __name__ == "__main__":
    main()
