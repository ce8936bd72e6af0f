"""How well pose alignment and the renderer do: against the truth, and against simple baselines.

Letters: T frames, S pixels a side of a generated picture.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from affekt.arrays import Array, Image
from affekt.media.audio.reader import read_audio
from affekt.media.corpus import Clip, Corpus
from affekt.media.face3d.fit import fit_clip, px_at_256, rotation_error_deg
from affekt.media.face3d.model import FaceModel, project
from affekt.media.faces.detector import make_detector
from affekt.media.faces.geometry import align_2d
from affekt.media.faces.points import MOUTH, mouth_opening
from affekt.metrics.image import psnr, ssim
from affekt.metrics.temporal import loudness, opening_lag
from data_prep.clips.clip import analyse_video
from evp.data.portraits import OpenClip, nearest_frames
from evp.inference.drawing import render
from evp.inference.renderer import Renderer

TEST = "test_sentence"
MOUTH_MARGIN = 0.5  # of the mouth's width, around it, for the mouth box
STRIDE = 3  # every third frame of a held-out clip is rendered: neighbours say the same


def alignment_figures(corpus: Corpus, model: FaceModel, truth_root: Path) -> dict[str, float]:
    """Return how well the fitted pose is the true one, on held-out clips of turning heads.

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
            fitted.append(_distance(points, clip.landmarks()) * to_256)
            true.append(_distance(points, arrays["landmarks"]) * to_256)
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
    """Return SSIM and PSNR of held-out frames drawn from their own detected landmarks.

    Beside them the same for the training frame whose aligned landmarks are nearest, and both in a
    box around the true mouth.
    """
    ours, nearest, our_mouth, near_mouth = [], [], [], []
    opened = {clip.id: OpenClip(clip, renderer.guidance) for clip in train}
    for clip in test:
        held = OpenClip(clip, renderer.guidance)
        chosen = list(range(0, clip.frames, STRIDE))
        frames, guidance = held.read(chosen)
        pictures = render(renderer.generator, guidance)
        closest = nearest_frames(train, clip)
        copies = [opened[closest[k][0].id].read([closest[k][1]])[0][0] for k in chosen]
        scale = renderer.guidance.size / clip.crop().size[0]
        boxes = [mouth_box(held.landmarks[k] * scale, renderer.guidance.size) for k in chosen]
        for truth, made, copy, box in zip(frames, pictures, copies, boxes, strict=True):
            ours.append(_scores(made, truth))
            nearest.append(_scores(copy, truth))
            our_mouth.append(_scores(made[box], truth[box]))
            near_mouth.append(_scores(copy[box], truth[box]))
    us, them, mouth, their_mouth = (
        np.mean(each, axis=0).tolist() for each in (ours, nearest, our_mouth, near_mouth)
    )
    return {
        "ssim": us[0],
        "psnr": us[1],
        "nearest_ssim": them[0],
        "nearest_psnr": them[1],
        "dssim_ratio": (1 - us[0]) / (1 - them[0]),
        "psnr_gain": us[1] - them[1],
        "mouth_ssim": mouth[0],
        "mouth_psnr": mouth[1],
        "mouth_dssim_ratio": (1 - mouth[0]) / (1 - their_mouth[0]),
        "mouth_psnr_gain": mouth[1] - their_mouth[1],
        "frames": len(ours),
    }


def sync_figures(media: Path) -> dict[str, float]:
    """Return by how many frames the mouth follows the sound in result.mp4 and in truth.mp4.

    Both files are read, heard and looked at like any video; `behind_truth` is their difference.
    """
    detector = make_detector()
    lags = {}
    for name in ("result", "truth"):
        path = media / f"{name}.mp4"
        landmarks = analyse_video(path, detector).landmarks
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
    """Return the renderer's truth of a mini corpus clip: landmarks, pose, opening, ...

    Raises:
        FileNotFoundError: the clip's video does not lie in a mini corpus.
    """
    speaker, _, view, emotion, level, name = Path(clip.source).parts[-6:]
    path = truth_root / speaker / view / emotion / level / Path(name).with_suffix(".npz")
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; only a mini corpus has a known truth")
    with np.load(path, allow_pickle=False) as kept:
        return {key: kept[key] for key in ("landmarks", "pose", "opening")}


def _scores(picture: Image, truth: Image) -> tuple[float, float]:
    return ssim(picture, truth), psnr(picture, truth)


def _distance(points: Array, other: Array) -> Array:
    return np.linalg.norm(points - other, axis=-1)


def _mean(parts: Sequence[Array]) -> float:
    return float(np.concatenate([part.reshape(-1) for part in parts]).mean())
