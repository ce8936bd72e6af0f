"""Emotion that a linear probe reads from content codes, over training seeds (EVP Sec. 3.2).

    python -m evp.analysis.content_leak data/mini --configs configs/demo/evp --out runs/leak

For seeds 0 to 4 pretrains both encoders and disentangles them, with CONFIGS/pretrain_emotion.yaml,
pretrain_content.yaml and disentangle.yaml, in OUT/seed0 and so on; a stopped one is continued. Then
prints for each seed the share of held-out clips whose emotion the probe reads from their mean
content code, and writes OUT/content_leak.json, with the mean over seeds and its 95 % interval.

A probe is fitted on the training clips. `equal_timing` is of the recordings warped to their
sentence's reference, as the pairs hold them and as cross reconstruction compares them: emotions
then differ in voice alone. `own_timing` is of the clips as they were spoken. Emotions are spoken at
rates of their own, which lengthen some sounds more than others, and so move a clip's mean code
whatever the encoder does; the mouth follows these lengths, so that a content code must hold them.
"""

import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from affekt.arrays import Array
from affekt.markdown import markdown_table
from affekt.media.audio.mfcc import WINDOW_STEP
from affekt.media.corpus import Corpus
from affekt.metrics.intervals import mean_interval
from affekt.metrics.probes import probe_accuracy
from affekt.runtime.command import CommandParser, user_errors
from affekt.runtime.files import write_json
from affekt.runtime.plan import Stage, StageError, run_plan
from affekt.runtime.run import restore
from evp.data.quads import read_sentences
from evp.data.speech import clips_of, labels_of
from evp.inference.emotion_codes import clip_codes
from evp.networks.encoders import Encoders, encode, load_description

PRETRAINED = ("emotion", "content")
TIMINGS = ("equal_timing", "own_timing")


def content_leaks(run: Path, corpus: Corpus, split: str) -> dict[str, float]:
    """Return the probe's accuracy on a split's clips, by timing; see the top of this file.

    Args:
        run: holds a content encoder.
        corpus: with pairs.
        split: of sentences that the encoder has not learned from.
    """
    encoder = Encoders(load_description(run).encoders).content
    restore(run, content_encoder=encoder)
    encoder.eval()
    equal = [codes_at_equal_timing(encoder, corpus, name) for name in ("train", split)]
    own = [
        (clip_codes(encoder, clips), labels_of(clips, corpus))
        for clips in (clips_of(corpus, "train"), clips_of(corpus, split))
    ]
    return {
        timing: probe_accuracy(*train, *test)
        for timing, (train, test) in zip(TIMINGS, (equal, own), strict=True)
    }


def codes_at_equal_timing(
    encoder: nn.Module, corpus: Corpus, split: str
) -> tuple[Array, list[int]]:
    """Return mean codes (N, C) and emotion labels of a split's recordings, as the pairs hold them.

    A code is the mean over the windows of the reference's frames.
    """
    codes, labels = [], []
    for sentence in read_sentences(corpus, split, "reference"):
        for label, recordings in sentence.recordings.items():
            for recording in recordings:
                windows = torch.from_numpy(recording.windows[::WINDOW_STEP].copy())
                codes.append(encode(encoder, windows).mean(dim=0).numpy())
                labels.append(label)
    return np.stack(codes), labels


def trainings(corpus: Path, configs: Path, out: Path, seeds: Sequence[int]) -> list[Stage]:
    """Return the commands that train every seed's encoders."""
    stages = []
    for seed in seeds:
        folder = out / f"seed{seed}"
        common = (f"run.seed={seed}", f"corpus={corpus}")
        names = [f"{part}_{seed}" for part in PRETRAINED]
        for part, name in zip(PRETRAINED, names, strict=True):
            config, run = configs / f"pretrain_{part}.yaml", f"run.out={folder / part}"
            script = (sys.executable, "pretrain_encoders.py")
            stages.append(Stage(name, (*script, str(config), run, *common)))
        config, run = configs / "disentangle.yaml", f"run.out={folder / 'disentangle'}"
        encoders = (f"{part}_from={folder / part}" for part in PRETRAINED)
        command = (sys.executable, "train_disentangle.py", str(config), run, *common, *encoders)
        stages.append(Stage(f"disentangle_{seed}", command, after=tuple(names)))
    return stages


def summary(leaks: Sequence[dict[str, float]]) -> dict[str, object]:
    """Return each timing's shares over the seeds, their median, mean and its interval."""
    result: dict[str, object] = {"seeds": len(leaks)}
    for timing in TIMINGS:
        shares = [leak[timing] for leak in leaks]
        interval = mean_interval(shares)
        result[timing] = {
            "shares": shares,
            "median": statistics.median(shares),
            "fourth": sorted(shares)[min(3, len(shares) - 1)],  # four of five are no higher
            "mean": interval.value,
            "low": interval.low,
            "high": interval.high,
        }
    return result


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = CommandParser(__doc__)
    add = parser.add_argument
    add("corpus", type=Path, help="prepared, with pairs")
    add("--configs", type=Path, required=True, help="folder of the three stages' YAML files")
    add("--out", type=Path, required=True, help="folder of the seeds' runs and content_leak.json")
    add("--seeds", type=int, default=5, help="how many (default: 5)")
    add("--split", default="test_sentence", help="which clips are held out")
    add("--cores", type=int, default=1, help="trainings side by side (default: 1)")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    seeds = range(args.seeds)
    with user_errors():
        corpus = Corpus(args.corpus)
        try:
            stages = trainings(args.corpus, args.configs, args.out, seeds)
            run_plan(stages, args.out / "logs", args.cores)
        except StageError as error:
            raise SystemExit(str(error)) from None
        runs = [args.out / f"seed{seed}" / "disentangle" for seed in seeds]
        leaks = [content_leaks(run, corpus, args.split) for run in runs]
    write_json(args.out / "content_leak.json", summary(leaks))
    rows = [[str(seed), *(f"{leaks[seed][t]:.3f}" for t in TIMINGS)] for seed in seeds]
    print(markdown_table(["seed", *TIMINGS], rows))  # noqa: T201 - the command's result


if __name__ == "__main__":
    main()
