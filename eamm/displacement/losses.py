"""Losses and error ratios of the emotion displacement (EAMM, supplement A.2): pure functions, whose
weights live in the configuration.

Letters: N frames, M displaced keypoints, E classes.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from eamm.fomm.keypoints import Keypoints

Reduction = Literal["frame", "keypoint_means"]


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
def error_ratios(displaced: Keypoints, neutral: Keypoints, teacher: Keypoints) -> dict[str, float]:
    """Return the error with displacement over the error without, for value and for jacobian.

    Errors are mean magnitudes over every keypoint given. 1 is what no displacement at all reaches,
    0 is the teacher.
    """
    return {
        name: float((ours - truth).abs().mean() / (still - truth).abs().mean())
        for name, ours, still, truth in zip(
            Keypoints._fields, displaced, neutral, teacher, strict=True
        )
    }


def _distance(predicted: Tensor, target: Tensor, reduction: Reduction) -> Tensor:
    difference = (predicted - target).abs().flatten(2)
    each = difference.sum(2) if reduction == "frame" else difference.mean(2)
    return each.sum(1).mean()
