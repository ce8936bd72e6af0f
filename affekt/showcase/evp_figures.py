"""Measure EVP's demo on held-out clips: landmarks, emotion, 3D alignment, video, sync.

    python -m affekt.showcase.evp_figures runs/demo --speech data/mini --lively data/mini_lively \\
        --truth data/raw/mini/truth

Writes RUNS/figures.json, nested by section. `speech` is calm heads in every emotion, `lively`
turning ones; both are prepared mini corpora, whose ground truth no stage has seen. Needs RUNS/media
of affekt.showcase.videos.

Letters: N clips, T frames, S pixels a side of a generated picture.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from affekt.arrays import Array
from affekt.media.audio.reader import read_audio
from affekt.media.corpus import Clip, Corpus
from affekt.media.face3d.fit import fit_clip, px_at_256, rotation_error_deg
from affekt.media.face3d.model import FaceModel, load_face_model, project
from affekt.media.faces.detector import make_detector
from affekt.media.faces.geometry import align_2d
from affekt.media.faces.points import GROUPS, MOUTH, mouth_opening
from affekt.media.faces.track import track_face
from affekt.metrics.image import psnr, ssim
from affekt.metrics.landmark import mouth_correlation, moved_toward, point_distance
from affekt.metrics.probes import nearest_mean_accuracy
from affekt.metrics.temporal import loudness, opening_lag
from affekt.runtime.command import CommandParser
from affekt.runtime.files import write_json
from affekt.runtime.npz_files import load_npz
from affekt.showcase.thresholds import Results, without_nan
from evp.analysis.content_leak import content_leaks
from evp.analysis.measure_editing import true_faces
from evp.data.portraits import OpenClip, nearest_frames
from evp.data.speech import labels_of
from evp.inference.emotion_codes import (
    EmotionCodes,
    at_length,
    clip_codes,
    load_codes,
    sound_codes,
)
from evp.inference.renderer import Renderer, load_renderer, render
from evp.landmark_space import unflatten
from evp.networks.audio2lm import Predictor, load_predictor, predict_faces

TEST = "test_sentence"
MOUTH_MARGIN = 0.5  # of the mouth's width, around it, for the mouth box
MOUTH_ERRORS = ("m_ld", "mean_face", "shuffled", "own")
STRIDE = 3  # every third frame of a held-out clip is rendered: neighbours hardly differ
CONTENT_LEAKS = {  # figure -> the run whose content encoder is probed for emotion
    "content_leak": "disentangle",
    "content_leak_pretrained": "pretrain_content",
    "content_leak_audio2lm": "audio2lm",
    "content_leak_no_cross": "disentangle_no_cross",
}


def measure(runs: Path, speech: Corpus, lively: Corpus, truth: Path) -> Results:
    """Return every figure of a demo, by section."""
    predictor = load_predictor(runs / "audio2lm")
    codes = load_codes(runs / "audio2lm")
    renderer = load_renderer(runs / "edge2video", "cpu")
    speaker = renderer.speaker
    train = [*speech.clips("train", speaker), *lively.clips("train", speaker)]
    return {
        "landmark": landmark_figures(predictor, speech),
        "emotion": emotion_figures(predictor, codes, speech, runs),
        "alignment": alignment_figures(lively, load_face_model(runs / "face_model.npz"), truth),
        "video": video_figures(renderer, train, speech.clips(TEST, speaker)),
        "video_turning": video_figures(renderer, train, lively.clips(TEST, speaker)),
        "sync": sync_figures(runs / "media"),
    }


def predicted(predictor: Predictor, clip: Clip, code: Array, spoken: Clip | None = None) -> Array:
    """Return the clip's speaker with the sound of `spoken` (default: its own), (T, 68, 2)."""
    sound = (spoken or clip).windows()
    neutral = predictor.space.neutral_of(clip.speaker)
    code = at_length(code, len(sound))
    return predict_faces(predictor.model, predictor.encoders.content, sound, code, neutral)


def landmark_figures(predictor: Predictor, corpus: Corpus) -> dict[str, float]:
    """Return mouth distance in 256 px, against the speaker's mean and against shuffled sound.

    The emotion code is that of the clip's own sound. `m_ld_shuffled` is what the same model
    predicts from another held-out sentence of the same speaker in the same emotion, over the
    frames that both have.
    """
    clips = corpus.clips(TEST)
    sounds = [clip.windows() for clip in clips]
    codes = sound_codes(predictor.encoders.emotion, sounds, predictor.emotion_code)
    px: dict[str, list[float]] = {name: [] for name in (*MOUTH_ERRORS, *GROUPS)}
    correlations = []
    for clip, code in zip(clips, codes, strict=True):
        truth, face = clip.aligned(predictor.view), predicted(predictor, clip, code)
        mean_face = unflatten(predictor.space.average_of(clip.speaker))
        px["m_ld"].append(point_distance(face, truth))
        px["mean_face"].append(point_distance(np.broadcast_to(mean_face, truth.shape), truth))
        correlations.append(mouth_correlation(face, truth))
        for name, members in GROUPS.items():
            px[name].append(point_distance(face, truth, members))
        # The same model with the sound of the speaker's other sentences in this emotion.
        alike = corpus.clips(TEST, clip.speaker, clip.emotion)
        for other in (other for other in alike if other.sentence != clip.sentence):
            shuffled = predicted(predictor, clip, code, other)
            both = min(len(shuffled), len(truth))
            px["shuffled"].append(point_distance(shuffled[:both], truth[:both]))
            px["own"].append(point_distance(face[:both], truth[:both]))
    mean = {name: float(np.mean(values)) for name, values in px.items()}
    return {
        "m_ld_px": mean["m_ld"],
        "m_ld_mean_face_px": mean["mean_face"],
        "m_ld_ratio": mean["m_ld"] / mean["mean_face"],
        "m_ld_shuffled_px": mean["shuffled"],
        "m_ld_shuffled_ratio": mean["own"] / mean["shuffled"],
        "mouth_r": float(np.nanmedian(correlations)),
        **{f"{name}_px": mean[name] for name in GROUPS},
        "clips": len(clips),
    }


def emotion_figures(
    predictor: Predictor, codes: EmotionCodes, corpus: Corpus, runs: Path
) -> dict[str, float]:
    """Return accuracies of emotion codes and raw MFCC, effects of swapped codes, content leaks."""
    train, test = corpus.clips("train"), corpus.clips(TEST)
    labels, wanted = (labels_of(clips, corpus) for clips in (train, test))
    known, held_out = (clip_codes(predictor.encoders.emotion, clips) for clips in (train, test))
    by_speaker = [
        _raw_accuracy(corpus.clips("train", speaker), corpus.clips(TEST, speaker), corpus)
        for speaker in corpus.speakers
    ]
    return {
        "code_accuracy": nearest_mean_accuracy(known, labels, held_out, wanted),
        "raw_mfcc_accuracy": _raw_accuracy(train, test, corpus),
        "raw_mfcc_accuracy_per_speaker": float(np.mean(by_speaker)),  # a harder baseline
        **swap_figures(predictor, codes, corpus),
        **leak_figures(corpus, runs),
    }


def swap_figures(predictor: Predictor, codes: EmotionCodes, corpus: Corpus) -> dict[str, float]:
    """Return how a held-out clip's face changes with another label's mean code."""
    means = true_faces(corpus, predictor.view)
    toward, kept = [], []
    for clip in corpus.clips(TEST):
        plain = predicted(predictor, clip, codes.of(clip.emotion, clip.speaker))
        for label in (label for label in corpus.emotions if label != clip.emotion):
            face = predicted(predictor, clip, codes.of(label, clip.speaker))
            source, target = (means[clip.speaker, name] for name in (clip.emotion, label))
            toward.append(moved_toward(face, source, target))
            kept.append(mouth_correlation(face, plain))
    return {
        "swap_toward_target": float(np.mean(toward)),
        "swap_mouth_r": float(np.nanmedian(kept)),
        "swaps": len(toward),
    }


def leak_figures(corpus: Corpus, runs: Path) -> dict[str, float]:
    """Return how often a probe reads emotion from content codes (chance 1 / K), by run and timing.

    At equal timing, and as spoken (`_own_timing`); see evp.analysis.content_leak.
    """
    leaks: dict[str, float] = {}
    for key, run in CONTENT_LEAKS.items():
        leak = content_leaks(runs / run, corpus, TEST)
        leaks |= {key: leak["equal_timing"], f"{key}_own_timing": leak["own_timing"]}
    return leaks


def alignment_figures(corpus: Corpus, model: FaceModel, truth_root: Path) -> dict[str, float]:
    """Return the error of the fitted pose on held-out clips of turning heads.

    rotation_deg is the mean angle between fitted and true rotation, after one constant turn per
    speaker (a model's frontal view is a convention); rotation_ratio divides it by the error of
    assuming that the head never turns. Residuals are in pixels of the 256 px aligned face.
    """
    errors, still, fitted, true = [], [], [], []
    for speaker in corpus.speakers:
        clips = corpus.clips(TEST, speaker)
        truths = [true_arrays(clip, truth_root) for clip in clips]
        pose = np.concatenate([clip.pose() for clip in clips])
        truth = np.concatenate([arrays["pose"] for arrays in truths])
        errors.append(rotation_error_deg(pose, truth))
        still.append(rotation_error_deg(np.zeros_like(pose), truth))
        for clip, arrays in zip(clips, truths, strict=True):
            fit = fit_clip(model, clip.landmarks())
            points = project(model.shapes(fit.identity, fit.expression), fit.pose)
            to_256 = px_at_256(fit.pose)[:, None]
            fitted.append(np.linalg.norm(points - clip.landmarks(), axis=-1) * to_256)
            true.append(np.linalg.norm(points - arrays["landmarks"], axis=-1) * to_256)
    return {
        "rotation_deg": _mean(errors),
        "no_rotation_deg": _mean(still),
        "rotation_ratio": _mean(errors) / _mean(still),
        "reprojection_px": _mean(fitted),
        "reprojection_to_truth_px": _mean(true),
        "frames": int(sum(len(each) for each in errors)),
    }


def video_figures(
    renderer: Renderer, train: Sequence[Clip], test: Sequence[Clip]
) -> dict[str, float]:
    """Return SSIM and PSNR of held-out frames rendered from their own detected landmarks.

    Beside them the same for the training frame whose aligned landmarks are nearest, and both in a
    box around the true mouth.
    """
    scores: dict[str, list[tuple[float, float]]] = defaultdict(list)
    size = renderer.guidance.size
    opened = {clip.id: OpenClip(clip, renderer.guidance) for clip in train}
    for clip in test:
        # The held-out frames, what is generated from their landmarks, the nearest training frames.
        held = OpenClip(clip, renderer.guidance)
        chosen = list(range(0, clip.frames, STRIDE))
        frames, guidance = held.read(chosen)
        pictures = render(renderer.generator, guidance)
        closest = nearest_frames(train, clip)
        copies = [opened[closest[k][0].id].read([closest[k][1]])[0][0] for k in chosen]
        scale = size / clip.crop().size[0]
        boxes = [mouth_box(held.landmarks[k] * scale, size) for k in chosen]
        # Each against the truth, whole and around the mouth.
        for truth, made, copy, box in zip(frames, pictures, copies, boxes, strict=True):
            for name, shown in (("", made), ("nearest_", copy)):
                for part, where in (("", ...), ("mouth_", box)):
                    pair = shown[where], truth[where]
                    scores[name + part].append((ssim(*pair), psnr(*pair)))
    mean = {
        name + metric: value
        for name, pairs in scores.items()
        for metric, value in zip(("ssim", "psnr"), np.mean(pairs, axis=0).tolist(), strict=True)
    }
    nearest_mouth = {name: mean.pop(f"nearest_mouth_{name}") for name in ("ssim", "psnr")}
    return mean | {
        "dssim_ratio": (1 - mean["ssim"]) / (1 - mean["nearest_ssim"]),
        "psnr_gain": mean["psnr"] - mean["nearest_psnr"],
        "mouth_dssim_ratio": (1 - mean["mouth_ssim"]) / (1 - nearest_mouth["ssim"]),
        "mouth_psnr_gain": mean["mouth_psnr"] - nearest_mouth["psnr"],
        "frames": len(scores[""]),
    }


def sync_figures(media: Path) -> dict[str, float]:
    """Return the lag of the mouth behind the sound in result.mp4 and truth.mp4, in frames.

    Sound and landmarks are read from both files; `behind_truth` is the difference of their lags.
    """
    detector = make_detector()
    lags = {}
    for name in ("result", "truth"):
        path = media / f"{name}.mp4"
        landmarks = track_face(path, detector).landmarks
        level = loudness(read_audio(path))[: len(landmarks)]
        lags[name] = opening_lag(mouth_opening(align_2d(landmarks[: len(level)])), level)
    return {
        "lag_frames": lags["result"],
        "truth_lag_frames": lags["truth"],
        "behind_truth": abs(lags["result"] - lags["truth"]),
    }


def mouth_box(landmarks: Array, size: int) -> tuple[slice, slice]:
    """Return rows and columns around the mouth of a face (68, 2), inside a picture of `size`."""
    mouth = landmarks[list(MOUTH)]
    low, high = mouth.min(0), mouth.max(0)
    margin = MOUTH_MARGIN * (high[0] - low[0]) / 2
    left, top = np.clip(np.floor(low - margin), 0, size - 8).astype(int)
    right, bottom = np.clip(np.ceil(high + margin), 8, size).astype(int)
    return slice(int(top), int(bottom)), slice(int(left), int(right))


def true_arrays(clip: Clip, truth_root: Path) -> dict[str, Array]:
    """Return the true landmarks and pose of a clip; only a mini corpus has a known truth."""
    speaker, _, view, emotion, level, name = Path(clip.source).parts[-6:]
    path = truth_root / speaker / view / emotion / level / Path(name).with_suffix(".npz")
    kept = load_npz(path, "python -m data_prep.mini_corpus writes it")
    return {key: kept[key] for key in ("landmarks", "pose")}


def _raw_accuracy(train: Sequence[Clip], test: Sequence[Clip], corpus: Corpus) -> float:
    """Return the accuracy of the nearest mean MFCC, which needs no network."""
    means = [np.stack([c.mfcc()[:, 1:].mean(axis=0) for c in clips]) for clips in (train, test)]
    labels, wanted = (labels_of(clips, corpus) for clips in (train, test))
    return nearest_mean_accuracy(means[0], labels, means[1], wanted)


def _mean(parts: Sequence[Array]) -> float:
    return float(np.concatenate([part.reshape(-1) for part in parts]).mean())


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = CommandParser(__doc__)
    parser.add_argument("runs", type=Path, help="folder of the demo's runs")
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--lively", type=Path, required=True)
    parser.add_argument("--truth", type=Path, required=True)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    results = measure(args.runs, Corpus(args.speech), Corpus(args.lively), args.truth)
    write_json(args.runs / "figures.json", without_nan(results))


if __name__ == "__main__":
    main()
