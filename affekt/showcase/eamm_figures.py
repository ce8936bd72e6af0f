"""Measure EAMM's demo on held-out people: reenactment, A2FD's keypoints, mouths, emotion.

    python -m affekt.showcase.eamm_figures runs/demo/eamm --corpus data/mini_eamm

RUNS holds fomm/, a2fd/ and displacement/; figures.json is written there. Clips are generated from
their own sound and pose and a picture of the person, emotional clips with the emotion of another
person.
"""

import typing as tp
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from affekt.arrays import Array
from affekt.media.corpus import Clip, Corpus
from affekt.media.emotions import NEUTRAL
from affekt.media.faces.detector import Detector, make_detector
from affekt.media.faces.points import mouth_opening
from affekt.media.plots import enlarged
from affekt.media.validation import ValConfig
from affekt.media.video.tensors import to_tensor
from affekt.runtime.command import CommandParser
from affekt.runtime.files import write_json
from affekt.showcase.thresholds import Results, without_nan
from eamm.a2fd.data import clip_frames
from eamm.a2fd.network import A2fd, load_a2fd
from eamm.a2fd.validation import keypoint_metrics, keypoint_val_set
from eamm.analysis.networks import (
    DETECTED,
    align_faces,
    clip_figures,
    detect_faces,
    emotion_summary,
    render_clip,
)
from eamm.displacement.data import neutral_keypoints
from eamm.displacement.network import Displacement, DisplacementDescription, load_displacement
from eamm.displacement.validation import displacement_metrics, prepare, val_pairs, with_emotion
from eamm.fomm.data import FrameDataConfig
from eamm.fomm.keypoints import Keypoints
from eamm.fomm.model import Fomm, load_fomm
from eamm.fomm.validation import frame_val_set, reenactment_metrics

STRIDE = 2  # every second frame of a clip is rendered: neighbours hardly differ


class MouthFigures(tp.NamedTuple):
    """Mouth opening of a generated clip against the true clip's."""

    r: float  # correlation
    gain: float  # spread of the opening / of the true one
    coverage: float  # share of the generated frames in which a face is found


def mouth_figures(generated: Array, truth: Array) -> MouthFigures:
    """Compare landmarks (T, 68, 2) of a generated clip, NaN without a face, with the truth's."""
    found = ~np.isnan(generated).any(axis=(1, 2))
    if found.sum() < 3:
        return MouthFigures(float("nan"), float("nan"), float(found.mean()))
    ours, true = (mouth_opening(align_faces(faces[found])) for faces in (generated, truth))
    r = float(np.corrcoef(ours, true)[0, 1]) if ours.std() and true.std() else float("nan")
    return MouthFigures(r, float(ours.std() / true.std()), float(found.mean()))


def neutral_mouths(
    fomm: Fomm, a2fd: A2fd, clips: Sequence[Clip], detector: Detector
) -> list[MouthFigures]:
    """Return the figures of neutral clips, each animated from its first frame by A2FD alone."""
    found = []
    for clip in tqdm(clips, "neutral speech", unit="clip"):
        picture = to_tensor(clip_frames(clip, 0, 1, fomm.config.size))
        everywhere = neutral_keypoints(a2fd, clip, picture, range(clip.frames))
        neutral = Keypoints(*(part[0] for part in everywhere))
        generated = faces_of(fomm, picture, neutral, detector)
        found.append(mouth_figures(generated, clip.landmarks()[::STRIDE]))
    return found


def emotional_clips(
    networks: tuple[Fomm, A2fd, Displacement, DisplacementDescription],
    corpus: Corpus,
    detector: Detector,
    count: int,
) -> tuple[list[dict[str, float]], list[MouthFigures], dict[str, float]]:
    """Return the emotion's effect on faces, mouths against the truth, and keypoint errors."""
    fomm, a2fd, model, description = networks
    pairs = val_pairs(corpus, ValConfig("test_speaker", clips=count))
    measured = [prepare(fomm, a2fd, pair) for pair in pairs]
    faces, mouths = [], []
    for each in tqdm(measured, "emotional speech", unit="clip"):
        keypoints = (each.neutral, with_emotion(model, description, each))
        without, emotional = (faces_of(fomm, each.picture, one, detector) for one in keypoints)
        truth, other = (one.landmarks() for one in (each.pair.clip, each.pair.source))
        faces.append(clip_figures(without, emotional, truth, other))
        mouths.append(mouth_figures(emotional, truth[::STRIDE]))
    return faces, mouths, displacement_metrics(model, description, measured)


def faces_of(fomm: Fomm, picture: Tensor, keypoints: Keypoints, detector: Detector) -> Array:
    """Return the landmarks found in every `STRIDE`-th generated frame; NaN without a face."""
    frames = render_clip(fomm, picture, Keypoints(*(part[::STRIDE] for part in keypoints)))
    return detect_faces(detector, np.stack([enlarged(frame, DETECTED) for frame in frames]))


def measure_runs(runs: Path, corpus: Corpus, clips: int) -> Results:
    """Return every figure of EAMM's demo.

    mouth_r is the median over neutral clips, from A2FD alone, and emotional ones, with the
    displacement; both medians stand next to it.
    """
    fomm, a2fd = load_fomm(runs / "fomm"), load_a2fd(runs / "a2fd")
    model, description = load_displacement(runs / "displacement")
    detector = make_detector()
    neutral = corpus.clips("test_speaker", emotion=NEUTRAL)
    calm = [clip for clip in neutral if not clip.id.endswith("lively")]
    # Reenactment and keypoints, then mouths and emotion of generated clips.
    data, val = FrameDataConfig((corpus.root,)), ValConfig("test_speaker", clips=100)
    reenacted = reenactment_metrics(fomm, frame_val_set(data, val, 4, fomm.config.size))
    learned = keypoint_metrics(a2fd, keypoint_val_set(fomm, calm))
    without = neutral_mouths(fomm, a2fd, calm, detector)
    networks = (fomm, a2fd, model, description)
    faces, emotional, moved = emotional_clips(networks, corpus, detector, clips)
    mouths = without + emotional
    return {
        "reenact_l1_ratio": reenacted.pop("l1_ratio"),
        "a2fd_keypoint_ratio": learned.pop("keypoint_ratio"),
        "a2fd_shuffled_ratio": learned.pop("shuffled_ratio"),
        "mouth_r": _median(mouths, "r"),
        "mouth_r_neutral": _median(without, "r"),
        "mouth_r_emotional": _median(emotional, "r"),
        "mouth_gain": _median(mouths, "gain"),
        "mouth_coverage": float(np.mean([each.coverage for each in mouths])),
        "mouth_clips": len(mouths),
        **emotion_summary(faces),
        "reenact": reenacted,
        "a2fd": learned,
        "displacement": moved,
    }


def _median(figures: Sequence[MouthFigures], name: str) -> float:
    return float(np.nanmedian([getattr(each, name) for each in figures]))


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = CommandParser(__doc__)
    parser.add_argument("runs", type=Path, help="folder of the demo's EAMM runs")
    parser.add_argument("--corpus", type=Path, required=True, help="prepared, profile eamm")
    parser.add_argument("--clips", type=int, default=60, help="emotional clips at most")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    results = measure_runs(args.runs, Corpus(args.corpus), args.clips)
    write_json(args.runs / "figures.json", without_nan(results))


if __name__ == "__main__":
    main()
