"""Losses of A2FD and the emotion displacement, both of keypoints against those of FOMM's detector
(EAMM, supplement A.2): pure functions, weights live in the configurations.

A2FD: the supplement prints norms, L_kp = 1/T sum_t |x_t^a - x_t^v|_1 + |J_t^a - J_t^v|_1 + lambda_h
|h_t^a - h_t^v|_1, a predicted from audio and v detected in the video. A norm of L1 is a sum, which
is the default here; the release takes means and weighs them by 10, 10 and 1000. A heatmap sums to
1, so that two are 2 apart at most: 10 keypoints times lambda_h = 10 make 200 as a norm, 0.006 as a
mean over 58 x 58 pixels, 0.59 with the release's weight of that mean. The perceptual term is
FOMM's, see eamm/fomm/losses.py.

Letters: B clips, T frames, K keypoints, h, w pixels of a heatmap; N frames, M displaced keypoints,
E classes.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from affekt.runtime.training.ranks import mean_of_all
from eamm.fomm.keypoints import Keypoints

ImitationReduction = Literal["mean", "norm"]
Reduction = Literal["frame", "keypoint_means"]


def frame_distance(
    predicted_BTX: Tensor, truth_BTX: Tensor, reduction: ImitationReduction
) -> Tensor:
    """Return |predicted - truth|_1 of a frame, a mean over frames and clips.

    Args:
        predicted_BTX, truth_BTX: (B, T, ...) of one shape.
        reduction: of a frame's numbers: their sum, the `norm`, or their `mean` (EAMM release).
    """
    errors = (predicted_BTX - truth_BTX).abs().flatten(2)
    each = errors.mean(dim=2) if reduction == "mean" else errors.sum(dim=2)
    return each.mean()


def imitation(
    predicted: tuple[Keypoints, Tensor],
    teacher: tuple[Keypoints, Tensor],
    reduction: ImitationReduction,
) -> dict[str, Tensor]:
    """Return the terms of L_kp (supplement A.2) unweighted: value, jacobian and heatmap.

    Args:
        predicted, teacher: keypoints of value (B, T, K, 2) and jacobian (B, T, K, 2, 2), and their
            heatmaps (B, T, K, h, w).
        reduction: see `frame_distance`.
    """
    (ours, heatmap), (theirs, wanted) = predicted, teacher
    return {
        "value": frame_distance(ours.value, theirs.value, reduction),
        "jacobian": frame_distance(ours.jacobian, theirs.jacobian, reduction),
        "heatmap": frame_distance(heatmap, wanted, reduction),
    }


def keypoint_terms(
    predicted: Keypoints, teacher: Keypoints, reduction: Reduction
) -> dict[str, Tensor]:
    """Return the two terms of L_kp (EAMM, Sec. 3.1; supplement A.2), `value` and `jacobian`.

    L_kp = mean over frames of |x - x_v|_1 + |J - J_v|_1, between A2FD's neutral keypoints with
    their displacement and the teacher's keypoints of the frame as it was.
        frame: as printed: magnitudes are summed over a frame's keypoints and their numbers.
        keypoint_means: the EAMM release's: the mean over the elements of each keypoint (frames
            included), summed over keypoints; 1/2 and 1/4 of the former. Its weights are 10 and 10.

    Args:
        predicted: the displaced keypoints (N, M) only.
        teacher: the same ones of the detector.
        reduction: see above.
    """
    value = _distance(predicted.value, teacher.value, reduction)
    return {"value": value, "jacobian": _distance(predicted.jacobian, teacher.jacobian, reduction)}


def classification(logits_NE: Tensor, labels_N: Tensor) -> Tensor:
    """Return the cross entropy of emotion features, averaged over frames (EAMM release)."""
    return F.cross_entropy(logits_NE, labels_N)


@torch.no_grad()
def error_ratios(displaced: Keypoints, neutral: Keypoints, teacher: Keypoints) -> dict[str, Tensor]:
    """Return the error with displacement over the error without, for value and for jacobian.

    Errors are mean magnitudes over every keypoint given. 1 is what no displacement at all reaches,
    0 is the teacher. With several processes they are quotients of the means over all of them.
    """
    return {
        name: mean_of_all((ours - truth).abs().mean()) / mean_of_all((still - truth).abs().mean())
        for name, ours, still, truth in zip(
            Keypoints._fields, displaced, neutral, teacher, strict=True
        )
    }


def _distance(predicted: Tensor, target: Tensor, reduction: Reduction) -> Tensor:
    difference = (predicted - target).abs().flatten(2)
    each = difference.sum(2) if reduction == "frame" else difference.mean(2)
    return each.sum(1).mean()
