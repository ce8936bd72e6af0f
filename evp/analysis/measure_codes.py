"""Accuracies, linear probes and silhouettes of a run's emotion and content codes.

    python -m evp.analysis.measure_codes runs/emodb/disentangle
    python -m evp.analysis.measure_codes runs/disentangle --corpus data/mini --split test_sentence

Encodes the training clips and the clips of a held-out split with a run's encoders, prints the
figures and writes them to RUN/codes.json. A clip's code is the mean over its windows; the clip's
mean MFCC is the baseline without a network. For each kind of code:
    nearest_mean   accuracy of the nearest mean training code on held-out clips, emotion
    emotion        accuracy of a linear probe for emotion, fitted on training clips
    sentence       leave-one-speaker-out accuracy of a linear probe for the held-out sentences
    silhouette     of the emotions among held-out clips, in the codes' own space
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from affekt.arrays import Array
from affekt.markdown import markdown_table
from affekt.media.corpus import Clip, Corpus
from affekt.metrics.probes import (
    leave_one_group_out_accuracy,
    nearest_mean_accuracy,
    probe_accuracy,
    silhouette,
)
from affekt.runtime.command import CommandParser, add_device, user_errors
from affekt.runtime.devices import pick_device
from affekt.runtime.files import write_json
from evp.data.speech import clips_of, labels_of
from evp.inference.emotion_codes import check_emotions, corpus_of, mean_mfcc, part_codes
from evp.networks.encoders import load_description


def measure_run(
    run_dir: Path, corpus: Corpus, split: str, device: torch.device | str = "cpu"
) -> dict[str, dict[str, float]]:
    """Return the figures of raw MFCC and of every encoder that the run holds."""
    check_emotions(run_dir, corpus)
    train, test = clips_of(corpus, "train"), clips_of(corpus, split)
    figures = {"mfcc": measures(mean_mfcc(train), mean_mfcc(test), train, test, corpus)}
    for part in load_description(run_dir).holds:
        codes, held_out = (part_codes(run_dir, part, clips, device) for clips in (train, test))
        figures[part] = measures(codes, held_out, train, test, corpus)
    return figures


def measures(
    train_ND: Array, test_ND: Array, train: Sequence[Clip], test: Sequence[Clip], corpus: Corpus
) -> dict[str, float]:
    """Return the figures of one kind of code, (clips, D); see the top of this file."""
    train_emotions, test_emotions = labels_of(train, corpus), labels_of(test, corpus)
    sentences, speakers = ([getattr(c, name) for c in test] for name in ("sentence", "speaker"))
    figures = {
        "nearest_mean": nearest_mean_accuracy(train_ND, train_emotions, test_ND, test_emotions),
        "emotion": probe_accuracy(train_ND, train_emotions, test_ND, test_emotions),
        "silhouette": silhouette(test_ND, test_emotions),
    }
    if len(set(sentences)) > 1 and len(set(speakers)) > 1:
        figures["sentence"] = leave_one_group_out_accuracy(test_ND, sentences, speakers)
    return figures


def table(figures: dict[str, dict[str, float]]) -> str:
    """Return the figures as a markdown table, a row for each kind of code."""
    names = list(next(iter(figures.values())))
    rows = [[kind, *(f"{row[name]:.3f}" for name in names)] for kind, row in figures.items()]
    return markdown_table(["codes", *names], rows)


def main() -> None:
    """Run from the command line."""
    parser = CommandParser(__doc__)
    parser.add_argument("run", type=Path, help="a run folder that holds encoders")
    parser.add_argument("--corpus", type=Path, help="another copy of the run's corpus")
    parser.add_argument("--split", default="test_sentence", help="which clips are held out")
    add_device(parser)
    args = parser.parse_args()
    with user_errors():
        corpus = Corpus(args.corpus or corpus_of(args.run))
        figures = measure_run(args.run, corpus, args.split, pick_device(args.device))
    write_json(args.run / "codes.json", {"split": args.split, **figures})
    print(table(figures))  # noqa: T201 - the command's result


if __name__ == "__main__":
    main()
