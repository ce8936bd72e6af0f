"""Emotion editing in numbers: predicted faces under blended emotion codes (EVP Sec. 4.2).

    python -m evp.analysis.measure_editing runs/demo/audio2lm
    python -m evp.analysis.measure_editing runs/evp/audio2lm --corpus data/mead --split val

Every clip's content is combined with the codes (1 - w) a + w b for every ordered pair of labels and
w = 0, 0.25, 0.5, 0.75, 1, with mean codes of training clips; from neutral, w is the intensity of b
(paper Fig. 1 b, supplement Fig. 3: the expression changes, the mouth's shape stays). A face is
projected, brows and mouth corners alone, on the emotion axis between two true faces: the means of
the speaker's training clips of a and of b, aligned; 0 at a, 1 at b. Prints a table of what `ROWS`
describes and writes RUN/editing.json: `blends` over all pairs, `intensity` over those from neutral,
`pairs` for each pair.

Letters: W weights, T frames, E channels of an emotion code, C of a content code.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from affekt.arrays import Array
from affekt.markdown import markdown_table
from affekt.media.corpus import Clip, Corpus
from affekt.media.emotions import NEUTRAL
from affekt.media.faces.geometry import View
from affekt.media.faces.points import BROWS, MOUTH_CORNERS, mouth_opening
from affekt.metrics.landmark import axis_projection, correlation
from affekt.runtime.command import CommandParser, add_device, user_errors
from affekt.runtime.devices import pick_device
from affekt.runtime.files import write_json
from evp.data.speech import clips_of
from evp.inference.emotion_codes import EmotionCodes, check_emotions, corpus_of, load_codes
from evp.networks.audio2lm import Predictor, faces_under, load_predictor
from evp.networks.encoders import encode

Faces = dict[tuple[str, str], Array]  # by speaker and label
Figures = dict[str, Any]

WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
AXIS_POINTS = (*BROWS, *MOUTH_CORNERS)  # the points that are projected
WANTED = 0.9  # of both correlations: the expression follows w, the mouth keeps its shape
ROUNDING = 1e-9  # two of five ranks exchanged is 0.9 but for the last digit
ROWS = {  # of the table: key -> description
    "rank": "projection of brows and mouth corners with w: rank correlation, median",
    "rank_share": f"share of paths not below {WANTED:g}",
    "mouth_r": "mouth opening against that at w = 0, lowest over w: correlation, median",
    "mouth_share": f"share of paths not below {WANTED:g}",
    "paths": "clips and pairs",
}


@dataclass(frozen=True)
class PathFigures:
    """One sound of one speaker on the way from one label to another."""

    clip: str
    first: str
    second: str
    projection: tuple[float, ...]  # (W,) on the emotion axis at each weight, the clip's mean
    rank: float  # Spearman's correlation of `projection` with the weight
    mouth_r: float  # the lowest correlation, over the weights, of mouth opening with that at w = 0


def true_faces(corpus: Corpus, view: View) -> Faces:
    """Return the mean aligned face (68, 2) of each speaker and label, of training clips alone."""
    return {
        (speaker, label): np.concatenate([clip.aligned(view) for clip in clips]).mean(axis=0)
        for speaker in corpus.speakers
        for label in corpus.emotions
        if (clips := corpus.clips("train", speaker, label))
    }


def emotion_projection(faces: Array, first: Array, second: Array) -> Array:
    """Return the projection of faces (..., 68, 2) on the emotion axis between two faces, (...)."""
    return axis_projection(faces, first, second, AXIS_POINTS)


def rank_correlation(values_W: Array, weights: ArrayLike) -> float:
    """Return Spearman's correlation of values with weights, NaN where the values are all equal."""
    from scipy.stats import rankdata

    ranks, wanted = (rankdata(each) for each in (values_W, np.asarray(weights, float)))
    ranks, wanted = ranks - ranks.mean(), wanted - wanted.mean()
    deviation = np.sqrt(np.square(ranks).sum() * np.square(wanted).sum())
    return float(wanted @ ranks / deviation) if deviation else float("nan")


def meets(values: ArrayLike) -> Array:
    """Return which correlations are not below WANTED, but for rounding; NaN is below."""
    return np.asarray(values) >= WANTED - ROUNDING


def blended_faces(
    predictor: Predictor,
    content_TC: Tensor,
    codes: tuple[Array, Array],
    weights: Sequence[float],
    speaker: str,
) -> Array:
    """Return a sound's faces at each weight, (W, T, 68, 2).

    The content codes are the sound's, (T, C); the two emotion codes are (E,), the weights those of
    the second.
    """
    w = np.asarray(weights, float)[:, None]
    blends = ((1 - w) * codes[0] + w * codes[1]).astype(np.float32)
    neutral = predictor.space.neutral_of(speaker)
    return faces_under(predictor.model, content_TC, blends, neutral)


def path_figures(
    name: tuple[str, str, str],
    faces_WT: Array,
    weights: Sequence[float],
    truth: tuple[Array, Array],
) -> PathFigures:
    """Return the figures of one path, named by clip, first and second label.

    Args:
        faces_WT: (W, T, 68, 2), pixels of the aligned face; weights rise from 0 to 1.
        truth: mean true faces (68, 2) of both labels.
    """
    means = emotion_projection(faces_WT, *truth).mean(axis=1)
    mouths = [mouth_opening(faces) for faces in faces_WT]
    mouth_r = float(np.min([correlation(mouths[0], mouth) for mouth in mouths[1:]]))
    return PathFigures(*name, tuple(means.tolist()), rank_correlation(means, weights), mouth_r)


def measure(
    run_dir: Path, corpus: Corpus, split: str, device: torch.device | str = "cpu"
) -> Figures:
    """Return the figures at the top of this file.

    Raises:
        FileNotFoundError: no trained run there, or no mean codes.
        ValueError: the run was trained on other emotions than the corpus has, the split has no
            clips, or no speaker has codes and training clips of two emotions.
    """
    check_emotions(run_dir, corpus)
    predictor, codes = load_predictor(run_dir, device), load_codes(run_dir)
    truth = true_faces(corpus, predictor.view)
    clips = clips_of(corpus, split)
    paths = [path for clip in clips for path in clip_paths(predictor, codes, truth, clip)]
    if not paths:
        raise ValueError(f"{corpus.root}: no speaker of split {split!r} has clips of two emotions")
    by_pair: dict[str, list[PathFigures]] = {}
    for path in sorted(paths, key=lambda path: (path.first, path.second)):
        by_pair.setdefault(f"{path.first}:{path.second}", []).append(path)
    from_neutral = [path for path in paths if path.first == NEUTRAL]
    counts = {"clips": len(clips), "speakers": len({clip.speaker for clip in clips})}
    return {
        "split": split,
        "weights": list(WEIGHTS),
        **counts,
        "blends": summary(paths),
        "intensity": summary(from_neutral) if from_neutral else None,
        "pairs": {pair: summary(found) for pair, found in by_pair.items()},
    }


def clip_paths(
    predictor: Predictor, codes: EmotionCodes, truth: Faces, clip: Clip
) -> Iterator[PathFigures]:
    """Yield the figures of a clip's sound on the way between every two of its speaker's labels."""
    device = predictor.model.mean_L.device
    windows = torch.from_numpy(np.array(clip.windows())).to(device)
    content_TC = encode(predictor.encoders.content, windows)
    labels = [label for label in codes.emotions if (clip.speaker, label) in truth]
    for first, second in itertools.permutations(labels, 2):
        ends = codes.of(first, clip.speaker), codes.of(second, clip.speaker)
        faces = blended_faces(predictor, content_TC, ends, WEIGHTS, clip.speaker)
        both = truth[clip.speaker, first], truth[clip.speaker, second]
        yield path_figures((clip.id, first, second), faces, WEIGHTS, both)


def summary(paths: Sequence[PathFigures]) -> Figures:
    """Return the figures over paths; None where not one of them is known."""
    ranks, mouths = np.array([(path.rank, path.mouth_r) for path in paths]).T
    return {
        "rank": median(ranks),
        "rank_share": float(meets(ranks).mean()),
        "mouth_r": median(mouths),
        "mouth_share": float(meets(mouths).mean()),
        "projection": np.median([path.projection for path in paths], axis=0).tolist(),
        "paths": len(paths),
    }


def median(values: Array) -> float | None:
    """Return the median of the values that are known, None if none is."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else None


def table(found: Figures) -> str:
    """Return the figures as a Markdown table."""
    kinds = [kind for kind in ("blends", "intensity") if found[kind]]
    rows = [[key, *(_cell(found[kind][key]) for kind in kinds), text] for key, text in ROWS.items()]
    for k, weight in enumerate(found["weights"]):
        cells = [_cell(found[kind]["projection"][k]) for kind in kinds]
        rows.append(["projection", *cells, f"on the emotion axis at w = {weight:g}, median"])
    return markdown_table(["figure", *kinds, "what"], rows, left=(0, len(kinds) + 1))


def _cell(value: float | None) -> str:
    if value is None:
        return "n/a"
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = CommandParser(__doc__)
    parser.add_argument("run", type=Path, help="a run of train_audio2lm.py with emotion codes")
    parser.add_argument("--corpus", type=Path, help="another copy of the run's corpus")
    parser.add_argument("--split", default="test_sentence", help="whose clips' sound is used")
    parser.add_argument("--out", type=Path, help="the file to write; default: RUN/editing.json")
    add_device(parser)
    args = parser.parse_args(argv)
    with user_errors():
        corpus, device = Corpus(args.corpus or corpus_of(args.run)), pick_device(args.device)
        found = measure(args.run, corpus, args.split, device)
    write_json(args.out or args.run / "editing.json", found)
    print(table(found))  # noqa: T201 - the command's result


if __name__ == "__main__":
    main()
