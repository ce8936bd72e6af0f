"""`test.py ablate`: train and measure the rows of EVP's Table 2 (CVPR 2021, Sec. 4.3).

LD and LVD (Sec. 4.1) are taken between the landmarks that stage 2 predicts and those found in the
true clip, both aligned to the 256 px face, so without the errors of renderer and detector. Next to
them:

    mouth_r           median over clips, correlation of the mouth's opening with the truth's
    face_emotion      share of clips whose mean face shows their own emotion: brows, lids and mouth
                      corners, less the speaker's neutral face, nearest the mean of true clips
    code_*, content_* linear probes for emotion and sentence on the codes of E_e and of E_c, and
                      code_clusters, the silhouette of the emotions in E_e (Fig. 5); see
                      evp.analysis.measure_codes

The paper prints one figure a row, and its rows differ by little: full 2.45 against 2.47 without
L_self. So each row has several seeds here, and its difference from the full method is taken seed by
seed (same data order, same pretrained encoders), with Student's 95 % interval over the seeds.
"""

import argparse
import functools
import sys
import typing as tp
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from affekt.arrays import Array
from affekt.evaluation.ablation import (
    CODES,
    FULL,
    LANDMARKS,
    PREDICTIONS,
    Config,
    Training,
    check_runs,
    remaining,
    row_folder,
    trainings,
)
from affekt.evaluation.tables.build import build_ablation, over_seeds
from affekt.evaluation.tables.evaluations import Ablation, load_ablation
from affekt.evaluation.tables.papers import PaperTable, load_paper
from affekt.evaluation.tables.table import PLUS_MINUS, Cell, Table, TableColumn, TableRow, render
from affekt.markdown import markdown_table
from affekt.media.corpus import Clip, Corpus
from affekt.media.emotions import NEUTRAL
from affekt.media.faces.geometry import View
from affekt.media.faces.points import COUNT, EMOTION
from affekt.metrics.intervals import Interval, clustered_mean
from affekt.metrics.landmark import landmark_scores, mouth_correlation
from affekt.metrics.probes import nearest_mean_accuracy
from affekt.runtime.config import load_config, plain
from affekt.runtime.files import load_npy, read_json, sha256, write_json, write_text
from affekt.runtime.plan import StageError, run_plan

Scores = dict[str, float]
SeedScores = Mapping[str, Mapping[str, Sequence[float]]]  # row -> metric -> a value for each seed

TABLE = "evp-table2"  # of papers.yaml
PROBES = {  # metric -> kind of code and figure in the codes.json of evp.analysis.measure_codes
    "code_emotion": ("emotion", "emotion"),
    "code_clusters": ("emotion", "silhouette"),
    "code_sentence": ("emotion", "sentence"),
    "content_emotion": ("content", "emotion"),
    "content_sentence": ("content", "sentence"),
}
FORGOTTEN = ("code_sentence", "content_emotion")  # what a code is to hold little of
CODE_COLUMNS = [
    TableColumn(key, heading, "lower" if key in FORGOTTEN else "higher", 3, 3, dagger=False)
    for key, heading in {
        "mouth_r": "mouth r",
        "face_emotion": "emotion in faces",
        "code_emotion": "emotion in E_e",
        "code_clusters": "silhouette of E_e",
        "code_sentence": "sentence in E_e",
        "content_emotion": "emotion in E_c",
        "content_sentence": "sentence in E_c",
    }.items()
]

DESCRIPTION = """Train EVP with each loss of stage 1 switched off in turn, and measure: its Table 2.

    python test.py ablate configs/demo/ablation.yaml --out runs/ablation
    python test.py ablate configs/evp/table_2.yaml --seeds 0 --plan

Every row is trained with every seed, stage 1 and stage 2, and measured on held-out clips. Rows
that differ in more than their one loss are refused first. The same command continues where it was
stopped: finished runs are kept. Writes OUT/table2.json and OUT/table2.md.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument("config", type=Path, help="which rows, such as configs/demo/ablation.yaml")
    parser.add_argument("--seeds", help="in the place of the file's, such as 0,1,2")
    parser.add_argument("--out", type=Path, default=Path("results/ablation"), help="runs and table")
    parser.add_argument("--cores", type=int, default=1, help="runs side by side, default 1")
    parser.add_argument("--plan", action="store_true", help="check the rows, list what is to run")


def main(args: argparse.Namespace) -> int:
    """Train what is missing, measure, print the table; return the exit code."""
    # The rows, checked, and what is left to run.
    config = load_config(Config, args.config)
    if args.seeds is not None:
        try:
            config = replace(config, seeds=tuple(map(int, args.seeds.split(","))))
        except ValueError:
            wanted = "wanted different whole numbers, such as 0,1,2"
            raise ValueError(f"--seeds is {args.seeds!r}, {wanted}") from None
    runs = trainings(config, args.out)
    stages = remaining(config, runs)
    if args.plan:
        sys.stdout.write("".join(f"{' '.join(stage.command)}\n" for stage in stages))
        return 0
    Corpus(config.corpus)  # refuses before hours of training, not after
    try:
        run_plan(stages, args.out / "logs", args.cores)
    except StageError as error:
        raise ValueError(str(error)) from None
    # The scores of all rows, and the table.
    path = args.out / "table2.json"
    write_json(path, measure(config, args.out, check_runs(runs, config.corpus), runs))
    text = markdown(load_paper(TABLE), load_ablation(path))
    write_text(args.out / "table2.md", text)
    sys.stdout.write(text)
    return 0


@dataclass(frozen=True)
class Truth:
    """The true faces of a corpus in one view; its statistics come from training clips alone."""

    clips: list[Clip]  # held out
    faces: dict[str, Array]  # of the clips held out: id -> (T, 68, 2), pixels of the 256 px face
    neutral: dict[str, Array]  # of each speaker, (68, 2)
    average: dict[str, Array]  # of each speaker over all emotions, (68, 2)
    displacements: Array  # of each training clip's mean face from the neutral one, (N, D)
    labels: Array  # its emotion, (N,)


def true_faces(corpus: Corpus, split: str, view: View) -> Truth:
    """Read the true faces of a corpus.

    Raises:
        ValueError: no clips in the split, or a speaker without neutral training clips.
    """
    clips, train = corpus.clips(split), corpus.clips("train")
    neutral_speakers = {clip.speaker for clip in train if clip.emotion == NEUTRAL}
    strangers = {clip.speaker for clip in clips} - neutral_speakers
    if not clips or strangers:
        lacking = f"neutral training clips of {', '.join(sorted(strangers))}" if clips else "clips"
        raise ValueError(f"{corpus.root} has no {lacking}; the split to measure is {split!r}")
    learned = {clip.id: clip.aligned(view) for clip in train}

    def mean_of(chosen: Sequence[Clip]) -> Array:
        return np.concatenate([learned[clip.id] for clip in chosen]).mean(axis=0)

    names = sorted({clip.speaker for clip in clips})
    neutral = {name: mean_of(corpus.clips("train", name, NEUTRAL)) for name in names}
    known = [clip for clip in train if clip.speaker in neutral]
    return Truth(
        clips,
        {clip.id: clip.aligned(view) for clip in clips},
        neutral,
        {name: mean_of(corpus.clips("train", name)) for name in names},
        np.stack([_displacement(learned[clip.id], neutral[clip.speaker]) for clip in known]),
        np.array([clip.emotion for clip in known]),
    )


def face_scores(truth: Truth, face_of: Callable[[Clip], Array]) -> Scores:
    """Return LD and LVD on mouth and face, mouth_r and face_emotion, each clip of equal weight.

    Args:
        truth: the true faces.
        face_of: returns a clip's landmarks (T, 68, 2) in the truth's view.

    Raises:
        ValueError: a clip of another length than its truth.
    """
    rows, correlations, displacements = [], [], []
    for clip in truth.clips:
        face, wanted = face_of(clip), truth.faces[clip.id]
        rows.append(landmark_scores(face.astype(float), wanted.astype(float)))
        correlations.append(mouth_correlation(face, wanted))
        displacements.append(_displacement(face, truth.neutral[clip.speaker]))
    scores = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    if np.isfinite(correlations).any():
        scores["mouth_r"] = float(np.nanmedian(correlations))
    labels = np.array([clip.emotion for clip in truth.clips])
    emotion = nearest_mean_accuracy(
        truth.displacements, truth.labels, np.stack(displacements), labels
    )
    return scores | {"face_emotion": emotion}


def predicted_scores(folder: Path, truths: Callable[[View], Truth]) -> Scores:
    """Return the scores of evp.inference.predict's landmarks against the truth in the run's view.

    Raises:
        ValueError: it holds other clips than are to be measured.
    """
    record = read_json(folder / PREDICTIONS)
    truth = truths(record["view"])
    if record["clips"] != sorted(truth.faces):
        raise ValueError(
            f"{folder} holds {len(record['clips'])} clips of {record['corpus']} "
            f"({record['split']}), not the {len(truth.faces)} that are measured"
        )
    remedy = "run python -m evp.inference.predict"
    return face_scores(
        truth, lambda clip: load_npy(folder / f"{clip.id}.npy", (clip.frames, COUNT, 2), remedy)
    )


def code_scores(path: Path) -> Scores:
    """Return the probes' figures from the codes.json of a run; those it lacks are left out."""
    figures = read_json(path)
    return {
        name: float(figures[kind][figure])
        for name, (kind, figure) in PROBES.items()
        if figure in figures.get(kind, {})
    }


def controls(truth: Truth) -> dict[str, Scores]:
    """Return the scores of the speaker's mean face and of the truth itself: the control rows."""

    def still(clip: Clip) -> Array:
        return np.broadcast_to(truth.average[clip.speaker], truth.faces[clip.id].shape)

    own = face_scores(truth, lambda clip: truth.faces[clip.id])
    return {"mean face": face_scores(truth, still), "truth": own}


def measure(
    config: Config, out: Path, commits: list[str], runs: list[Training]
) -> dict[str, tp.Any]:
    """Score every row and seed; return the content of table2.json."""
    corpus = Corpus(config.corpus)

    @functools.cache
    def truth(view: View) -> Truth:
        return true_faces(corpus, config.split, view)

    # Every metric of every row, a value for each seed.
    rows: dict[str, dict[str, list[float]]] = {}
    for name in (*(row.name for row in config.rows), FULL):
        rows[name] = {}
        for seed in config.seeds:
            folder = row_folder(out, name, seed)
            scores = predicted_scores(folder / LANDMARKS, truth)
            scores |= code_scores(folder / "disentangle" / CODES)
            for metric, value in scores.items():
                rows[name].setdefault(metric, []).append(value)
    # What the scores depend on; every row has the same steps, view and frozen encoders.
    one, two = runs[-2].settings, runs[-1].settings
    true = truth(two["view"])
    shared = config.pretrain_content is not None and config.pretrain_emotion is not None
    notes = [
        "M- mouth (20 points), F- face (68 points). LD in pixels of a 256 px face, LVD in pixels a "
        "frame: stage 2's landmarks against those found in the true clip. Means over frames, clips "
        "and seeds. The paper's corpus, clips and scale are others: compare the order of rows.",
        "Rows are paired: with one seed, every row starts from the same pretrained encoders and "
        "sees the same batches.",
        f"{len(true.clips)} held-out clips of {config.corpus} ({config.split}), view "
        f"{two['view']}; {one['run.steps']} steps of stage 1 and {two['run.steps']} of stage 2 in "
        f"every row; E_c {two['content_encoder']} and E_e {two['emotion_encoder']} in stage 2.",
        "The pretrained encoders hold none of the losses; "
        + ("they are trained once a seed and" if shared else "the same files serve every seed and")
        + " shared by its rows.",
        f"Trained at commit {', '.join(commits)} (+: with uncommitted changes).",
    ]
    return {
        "config": plain(config),
        "data": sha256(config.corpus / "manifest.jsonl"),
        "commits": commits,
        "rows": rows,
        "controls": controls(true),
        "notes": notes,
    }


def difference(rows: SeedScores, name: str, metric: str) -> Interval:
    """Return a row less the full method, seed by seed, with Student's interval over the seeds."""
    ours, full = rows[name][metric], rows[FULL][metric]
    return clustered_mean(np.subtract(ours, full), range(len(ours)))


def markdown(paper: PaperTable, ablation: Ablation) -> str:
    """Return the table, the differences from the full method, and what the codes hold."""
    columns = [column for column in paper.columns if column.metric in ablation.rows[FULL]]
    # Rows less the full method, in brackets the same of the paper's figures.
    printed = paper.by_ablation_row()
    lines = {name: [name] for name in ablation.rows if name != FULL}
    for metric in [column.metric for column in columns]:
        for name, line in lines.items():
            found = difference(ablation.rows, name, metric)
            text = f"{found.value:+.3f}"
            text += "" if found.half is None else f" {PLUS_MINUS} {found.half:.3f}"
            text = f"**{text}**" if found.excludes_zero else text
            if name in printed:
                text += f" ({printed[name][metric] - printed[FULL][metric]:+.2f})"
            line.append(text)
    # The probes of the codes.
    held = [
        TableRow(name, "result", {key: over_seeds(values) for key, values in row.items()})
        for name, row in ablation.rows.items()
    ] + [
        TableRow(name, "control", {key: Cell(value) for key, value in row.items()})
        for name, row in ablation.controls.items()
    ]
    return "\n".join(
        [
            render(build_ablation(paper, ablation), "md"),
            f"**Row less full {PLUS_MINUS} half its 95 % interval over seeds (the paper's)**, bold "
            "where that excludes 0",
            "",
            markdown_table(["", *(column.heading for column in columns)], list(lines.values())),
            "",
            render(Table("codes", "What the codes hold", CODE_COLUMNS, held), "md"),
        ]
    )


def _displacement(face: Array, neutral: Array) -> Array:
    """Return brows, lids and mouth corners of a clip's mean face less the neutral face, (D,)."""
    return (face.mean(axis=0) - neutral)[list(EMOTION)].ravel()
