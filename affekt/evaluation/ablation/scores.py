"""Scores of an ablation's runs on held-out clips: landmarks against the truth, codes by probes.

LD and LVD (EVP Sec. 4.1) are taken between the landmarks that stage 2 predicts and those found in
the true clip, both aligned to the 256 px face: Table 2 before anything is rendered, without the
errors of renderer and detector. Beside them stand figures of the losses themselves:

    mouth_r           median over clips, correlation of the mouth's opening with the truth's
    face_emotion      share of clips whose mean face shows their own emotion: brows, lids and mouth
                      corners, less the speaker's neutral face, nearest the mean of true clips
    code_emotion      the emotion read from emotion codes by a linear probe
    code_clusters     silhouette of the emotions among emotion codes, -1 to 1 (what Fig. 5 shows)
    code_sentence     the sentence read from emotion codes: content where none should be
    content_emotion   the emotion read from content codes: emotion where none should be
    content_sentence  the sentence read from content codes

The probes are those of python -m evp.analysis.measure_codes, on the encoders as stage 1 leaves
them.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from affekt.arrays import Array
from affekt.evaluation.ablation.runs import (
    CODES,
    FULL,
    LANDMARKS,
    PREDICTIONS,
    Config,
    Training,
    row_folder,
)
from affekt.media.corpus import Clip, Corpus
from affekt.media.emotions import NEUTRAL
from affekt.media.faces.geometry import View
from affekt.media.faces.points import COUNT, EMOTION
from affekt.metrics.landmark import landmark_scores, mouth_correlation
from affekt.metrics.probes import nearest_mean_accuracy
from affekt.runtime.config import plain
from affekt.runtime.files import load_npy, read_json, sha256

Scores = dict[str, float]

SCHEMA = 1  # of table2.json
NOTES = [
    "M- mouth (20 points), F- face (68 points). LD in pixels of a 256 px face, LVD in pixels a "
    "frame: landmarks that stage 2 predicts against those found in the true clip, before anything "
    "is rendered. Means over frames, then over clips, then over seeds. The paper's corpus, clips "
    "and scale are others: compare the order of rows, not the level.",
    "Rows are paired: with one seed, every row starts from the same pretrained encoders and sees "
    "the same batches.",
]
PROBES = {  # our name -> kind of code and figure in evp.analysis.measure_codes's codes.json
    "code_emotion": ("emotion", "emotion"),
    "code_clusters": ("emotion", "silhouette"),
    "code_sentence": ("emotion", "sentence"),
    "content_emotion": ("content", "emotion"),
    "content_sentence": ("content", "sentence"),
}


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
    strangers = {clip.speaker for clip in clips} - {
        c.speaker for c in train if c.emotion == NEUTRAL
    }
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
        FileNotFoundError: no such folder.
        ValueError: it holds other clips than are to be measured.
    """
    if not (folder / PREDICTIONS).is_file():
        raise FileNotFoundError(
            f"{folder / PREDICTIONS} is missing; run python -m evp.inference.predict"
        )
    record = read_json(folder / PREDICTIONS)
    truth = truths(record["view"])
    if record["clips"] != sorted(truth.faces):
        raise ValueError(
            f"{folder} holds {len(record['clips'])} clips of {record['corpus']} "
            f"({record['split']}), not the {len(truth.faces)} that are measured"
        )

    def face_of(clip: Clip) -> Array:
        shape = (clip.frames, COUNT, 2)
        return load_npy(folder / f"{clip.id}.npy", shape, "run python -m evp.inference.predict")

    return face_scores(truth, face_of)


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

    def mean_face(clip: Clip) -> Array:
        return np.broadcast_to(truth.average[clip.speaker], truth.faces[clip.id].shape)

    still = face_scores(truth, mean_face)
    return {"mean face": still, "truth": face_scores(truth, lambda clip: truth.faces[clip.id])}


def measure(config: Config, out: Path, commits: list[str], runs: list[Training]) -> dict[str, Any]:
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
    # With what the scores depend on.
    true = truth(runs[-1].settings["view"])
    return {
        "schema": SCHEMA,
        "name": "EVP, Table 2",
        "config": plain(config),
        "seeds": list(config.seeds),
        "steps": {run.kind: run.settings["run.steps"] for run in runs},
        "data": sha256(config.corpus / "manifest.jsonl"),
        "commits": commits,
        "clips": len(true.clips),
        "rows": rows,
        "controls": controls(true),
        "notes": [*NOTES, *_notes(config, runs, len(true.clips), commits)],
    }


def _notes(config: Config, runs: list[Training], clips: int, commits: list[str]) -> list[str]:
    one, two = runs[-2].settings, runs[-1].settings  # every row has the same
    shared = config.pretrain_content is not None and config.pretrain_emotion is not None
    return [
        f"{clips} held-out clips of {config.corpus} ({config.split}), view {two['view']}; "
        f"{one['run.steps']} steps of stage 1 and {two['run.steps']} of stage 2 in every row; "
        f"E_c {two['content_encoder']} and E_e {two['emotion_encoder']} in stage 2.",
        "The pretrained encoders hold none of the losses; "
        + ("they are trained once a seed and" if shared else "the same files serve every seed and")
        + " shared by its rows.",
        f"Trained at commit {', '.join(commits)} (+: with uncommitted changes).",
    ]


def _displacement(face: Array, neutral: Array) -> Array:
    """Return brows, lids and mouth corners of a clip's mean face less the neutral face, (D,)."""
    return (face.mean(axis=0) - neutral)[list(EMOTION)].ravel()
