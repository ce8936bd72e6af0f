"""Losses of Audio2Facial-Dynamics (EAMM, supplement A.2): pure functions, weights in configs.

The supplement prints norms: L_kp = 1/T sum_t |x_t^a - x_t^v|_1 + |J_t^a - J_t^v|_1 + lambda_h
|h_t^a - h_t^v|_1, a predicted from audio and v detected in the video. A norm of L1 is a
sum; the release takes means, and so does the default here, since a heatmap has 1682 times as many
numbers as a frame has coordinates. The perceptual term is FOMM's, see eamm/fomm/losses.py.

Letters: B clips, T frames, K keypoints, h, w pixels of a heatmap.
"""

from typing import Literal

from torch import Tensor

from eamm.fomm.keypoints import Keypoints

Reduction = Literal["mean", "norm"]


def distance(predicted_BTX: Tensor, truth_BTX: Tensor, reduction: Reduction) -> Tensor:
    """Return |predicted - truth|_1 of a frame, a mean over frames and clips.

    Args:
        predicted_BTX, truth_BTX: (B, T, ...) of one shape.
        reduction: of a frame's numbers: their `mean` (EAMM release), or their sum, the `norm`.
    """
    errors = (predicted_BTX - truth_BTX).abs().flatten(2)
    each = errors.mean(dim=2) if reduction == "mean" else errors.sum(dim=2)
    return each.mean()


def imitation(
    predicted: tuple[Keypoints, Tensor], teacher: tuple[Keypoints, Tensor], reduction: Reduction
) -> dict[str, Tensor]:
    """Return the terms of L_kp (supplement A.2) unweighted: value, jacobian and heatmap.

    Args:
        predicted, teacher: keypoints of value (B, T, K, 2) and jacobian (B, T, K, 2, 2), and their
            heatmaps (B, T, K, h, w).
        reduction: see `distance`.
    """
    (ours, heatmap), (theirs, wanted) = predicted, teacher
    return {
        "value": distance(ours.value, theirs.value, reduction),
        "jacobian": distance(ours.jacobian, theirs.jacobian, reduction),
        "heatmap": distance(heatmap, wanted, reduction),
    }
