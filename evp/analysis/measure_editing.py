"""How well a run's faces follow blended emotions, over all clips of a split (EVP Sec. 4.2).

    python -m evp.analysis.measure_editing runs/demo/audio2lm
    python -m evp.analysis.measure_editing runs/evp/audio2lm --corpus data/mead --split val

Every clip's sound is said under (1 - w) a + w b for every ordered pair of labels and w = 0, 0.25,
0.5, 0.75, 1, with mean codes of training clips; those from neutral are intensities. Prints a table
and writes RUN/editing.json: `blends` over all pairs, `intensity` over those from neutral, `pairs`
for each pair, every time

    rank          median of Spearman's correlation of how far brows and mouth corners have come on
                  the true way (evp/analysis/emotion_path.py) with w; rank_share: share not below
                  0.9
    rank_frames   share of the single frames not below 0.9
    mouth_r       median of the lowest correlation of mouth opening with that at w = 0;
                  mouth_share: share not below 0.9
    gone          median share of the true way at each weight
    way_px        median of the true way, pixels of 256
    step_frames   median frames from a leap of the code from a to b to 0.9 of what it leads to;
                  step_share: share of the leaps that come so far before the clip ends
    paths         clips and pairs counted
"""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from affekt.media.corpus import Clip, Corpus
from affekt.media.emotions import NEUTRAL
from affekt.runtime.command import CommandParser, user_errors
from affekt.runtime.files import write_json
from affekt.runtime.markdown import markdown_table
from evp.analysis.emotion_path import (
    MOUTH_BAR,
    RANK_BAR,
    Faces,
    PathFigures,
    follow,
    meets,
    path_figures,
    true_faces,
)
from evp.data.speech import clips_of
from evp.inference.emotion_codes import EmotionCodes, check_emotions, corpus_of, load_codes
from evp.networks.audio2lm import Predictor, load_predictor
from evp.networks.encoders import encode

Figures = dict[str, Any]

WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
ROWS = (  # of the table: key, what it says
    ("rank", "brows and mouth corners follow w: rank correlation, median"),
    ("rank_share", f"share of paths not below {RANK_BAR:g}"),
    ("rank_frames", f"share of single frames not below {RANK_BAR:g}"),
    ("mouth_r", "mouth opening against that at w = 0, lowest over w: correlation, median"),
    ("mouth_share", f"share of paths not below {MOUTH_BAR:g}"),
    ("way_px", "the true way, px of 256"),
    ("step_frames", "frames until a leap of the code is done, median"),
    ("step_share", "share of leaps that are done before the clip ends"),
    ("paths", "clips and pairs"),
)


def measure(run_dir: Path, corpus: Corpus, split: str) -> Figures:
    """Return the figures at the top of this file.

    Raises:
        FileNotFoundError: no trained run there, or no mean codes.
        ValueError: the run knows other emotions than the corpus, the split has no clips, or no
            speaker has codes and training clips of two emotions.
    """
    check_emotions(run_dir, corpus)
    predictor, codes = load_predictor(run_dir), load_codes(run_dir)
    truth = true_faces(corpus, predictor.view)
    clips = clips_of(corpus, split)
    paths = [path for clip in clips for path in clip_paths(predictor, codes, truth, clip)]
    if not paths:
        raise ValueError(f"{corpus.root}: no speaker of split {split!r} has clips of two emotions")
    pairs = sorted({(path.first, path.second) for path in paths})
    by_pair = {pair: [p for p in paths if (p.first, p.second) == pair] for pair in pairs}
    rising = [path for path in paths if path.first == NEUTRAL]
    return {
        "split": split,
        "weights": list(WEIGHTS),
        "clips": len(clips),
        "speakers": len({clip.speaker for clip in clips}),
        "blends": summary(paths),
        "intensity": summary(rising) if rising else None,
        "pairs": {":".join(pair): summary(found) for pair, found in by_pair.items()},
    }


def clip_paths(
    predictor: Predictor,
    codes: EmotionCodes,
    truth: Faces,
    clip: Clip,
    weights: Sequence[float] = WEIGHTS,
) -> Iterator[PathFigures]:
    """Yield the figures of a clip's sound on the way between every two of its speaker's labels."""
    device = predictor.model.mean_L.device
    windows = torch.from_numpy(np.array(clip.windows())).to(device)
    content_TC = encode(predictor.encoders.content, windows)
    labels = [label for label in codes.emotions if (clip.speaker, label) in truth]
    for first, second in itertools.permutations(labels, 2):
        ends = codes.of(first, clip.speaker), codes.of(second, clip.speaker)
        faces, leaping = follow(predictor, content_TC, ends, weights, clip.speaker)
        both = truth[clip.speaker, first], truth[clip.speaker, second]
        yield path_figures((clip.id, first, second), faces, leaping, weights, both)


def summary(paths: Sequence[PathFigures]) -> Figures:
    """Return the figures over paths; None where not one of them is known."""
    ranks, mouths = [path.rank for path in paths], [path.mouth_r for path in paths]
    steps = [path.step_frames for path in paths]
    gone = np.array([path.gone for path in paths])
    return {
        "rank": median(ranks),
        "rank_share": float(meets(ranks, RANK_BAR).mean()),
        "rank_frames": float(np.mean([path.rank_frames for path in paths])),
        "mouth_r": median(mouths),
        "mouth_share": float(meets(mouths, MOUTH_BAR).mean()),
        "gone": np.median(gone, axis=0).tolist(),
        "way_px": median([path.way_px for path in paths]),
        "step_frames": median(steps),
        "step_share": float(np.isfinite(steps).mean()),
        "paths": len(paths),
    }


def median(values: ArrayLike) -> float | None:
    """Return the median of the numbers that are known, None if there is none."""
    known = np.asarray(values, float)
    known = known[np.isfinite(known)]
    return float(np.median(known)) if len(known) else None


def table(found: Figures) -> str:
    """Return the figures as a markdown table, and below it the pairs with paths under a bar."""
    kinds = [kind for kind in ("blends", "intensity") if found[kind]]
    rows = [[key, *(_cell(found[kind][key]) for kind in kinds), what] for key, what in ROWS]
    for k, weight in enumerate(found["weights"]):
        cells = [_cell(found[kind]["gone"][k]) for kind in kinds]
        rows.append(["gone", *cells, f"share of the true way at w = {weight:g}, median"])
    lines = [markdown_table(["figure", *kinds, "what"], rows, left=(0, len(kinds) + 1))]
    for key in ("rank_share", "mouth_share"):
        under = {pair: row[key] for pair, row in found["pairs"].items() if row[key] < 1}
        named = ", ".join(f"{pair} {share:.2f}" for pair, share in under.items())
        lines.append(f"\nPairs whose {key} is below 1: {named or 'none'}")
    return "\n".join(lines)


def _cell(value: float | None) -> str:
    if value is None:
        return "n/a"
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def main() -> None:
    """Run from the command line."""
    parser = CommandParser(__doc__)
    parser.add_argument("run", type=Path, help="a run of train_audio2lm.py with emotion codes")
    parser.add_argument("--corpus", type=Path, help="another copy of the run's corpus")
    parser.add_argument("--split", default="test_sentence", help="which clips speak")
    parser.add_argument("--out", type=Path, help="the file to write; default: RUN/editing.json")
    args = parser.parse_args()
    with user_errors():
        found = measure(args.run, Corpus(args.corpus or corpus_of(args.run)), args.split)
    write_json(args.out or args.run / "editing.json", found)
    print(table(found))  # noqa: T201 - the command's result


if __name__ == "__main__":
    main()
