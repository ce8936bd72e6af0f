"""EAMM's two networks written a second time, on state dicts with the release's own names.

The oracle of `test_eamm_parity.py`: plain functions, frame by frame, no code shared with `eamm`;
what FOMM's definition has already is taken from there. Facts: EAMM's supplement (A.1), its release.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.corpora.fomm_definition import (
    Points,
    State,
    batch_norm,
    blurred,
    conv,
    conv_block,
    hourglass,
    keypoints_of_features,
)


def linear(state: State, name: str, x: Tensor) -> Tensor:
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def relu(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, torch.zeros_like(x))


# --- Audio2Facial-Dynamics: `audio_feature` and the two heads of `kp_detector_a`


def identity_feature(state: State, source: Tensor) -> Tensor:
    """(B, 3, 256, 256) to f_I (B, 512): eight blocks, each halves the picture."""
    x = source
    for level in range(8):
        x = conv_block(state, f"down_blocks.{level}", x, "down")
    return x[:, :, 0, 0]


def audio_feature(state: State, window: Tensor) -> Tensor:
    """One window (B, 28, 12) to f_a (B, 256)."""
    x = window[:, None]
    for place in (0, 1, (1, 2), 3, 4, 5, (2, 2)):
        if isinstance(place, tuple):
            x = F.max_pool2d(x, 3, place)  # strides
        else:
            x = conv(state, f"audio_eocder.{place}.0", x, 1)  # the release's spelling
            x = relu(batch_norm(state, f"audio_eocder.{place}.1", x))
    x = x.reshape(len(x), 12288)
    for place in (0, 2):
        x = relu(linear(state, f"audio_eocder_fc.{place}", x))
    return x


def pose_feature(state: State, pose: Tensor) -> Tensor:
    """One pose (B, 6), raw degrees and pixels, to f_p (B, 256)."""
    for place in (0, 2):
        pose = relu(linear(state, f"pose_encoder.{place}", pose))
    return pose


def lstm(state: State, codes: list[Tensor]) -> list[Tensor]:
    """Three layers from zero states; gates in torch's order: input, forget, cell, output."""
    for layer in range(3):
        weights = [state[f"lstm.{part}_l{layer}"] for part in ("weight_ih", "weight_hh")]
        biases = [state[f"lstm.{part}_l{layer}"] for part in ("bias_ih", "bias_hh")]
        hidden = torch.zeros(len(codes[0]), weights[1].shape[1])
        cell = torch.zeros_like(hidden)
        outputs = []
        for code in codes:
            gates = code @ weights[0].T + biases[0] + hidden @ weights[1].T + biases[1]
            let_in, keep, new, let_out = gates.chunk(4, dim=1)
            cell = keep.sigmoid() * cell + let_in.sigmoid() * new.tanh()
            hidden = let_out.sigmoid() * cell.tanh()
            outputs.append(hidden)
        codes = outputs
    return codes


def feature_map(state: State, hidden: Tensor) -> Tensor:
    """(B, 256) to (B, 35, 64, 64) by transposed convolutions, 1 -> 4 -> 8 -> 16 -> 32 -> 64."""
    x = hidden[:, :, None, None]
    for place in (0, 3, 6, 9, 12):
        weight, bias = state[f"decon.{place}.weight"], state[f"decon.{place}.bias"]
        x = F.conv_transpose2d(x, weight, bias, stride=2, padding=1)
        if place < 12:
            x = relu(batch_norm(state, f"decon.{place + 1}", x))
    return x


def audio_keypoints(
    network: State, heads: State, source: Tensor, windows: Tensor, pose: Tensor, gain: float
) -> tuple[list[Points], list[Tensor]]:
    """Keypoints and heatmap of every frame; `gain` multiplies f_a (1 in training, demo 1.6)."""
    face = identity_feature(network, source)
    codes = []
    for t in range(windows.shape[1]):
        sound = gain * audio_feature(network, windows[:, t])
        codes.append(torch.cat([face, sound, pose_feature(network, pose[:, t])], dim=1))
    points, heatmaps = [], []
    for hidden in lstm(network, codes):
        found, heatmap = keypoints_of_features(heads, feature_map(network, hidden))
        points.append(found)
        heatmaps.append(heatmap)
    return points, heatmaps


# --- The emotion network: `emo_detector`


def residual_block(state: State, name: str, x: Tensor, stride: int) -> Tensor:
    """Of ResNet-18: conv-BN-ReLU-conv-BN plus the input, or its 1x1 projection; then ReLU."""
    out = F.conv2d(x, state[f"{name}.conv1.weight"], stride=stride, padding=1)
    out = relu(batch_norm(state, f"{name}.bn1", out))
    out = batch_norm(state, f"{name}.bn2", conv(state, f"{name}.conv2", out, 1))
    if f"{name}.downsample.0.weight" in state:
        x = F.conv2d(x, state[f"{name}.downsample.0.weight"], stride=stride)
        x = batch_norm(state, f"{name}.downsample.1", x)
    return relu(out + x)


def emotion_feature(state: State, frames: Tensor) -> Tensor:
    """(B, 3, 256, 256) to f_e (B, 512)."""
    x = hourglass(state, "predictor", blurred(frames, state["down.weight"], 4))
    x = relu(batch_norm(state, "bn1", conv(state, "conv1", x, 1)))
    x = F.max_pool2d(x, 3, 2, 1)
    for stage in (1, 2, 3, 4):
        for block in (0, 1):
            stride = 2 if stage > 1 and block == 0 else 1
            x = residual_block(state, f"layer{stage}.{block}", x, stride)
    return x.mean((2, 3))


def encoded(points: Points) -> Tensor:
    """(B, 10 x 126): a keypoint's six numbers, then their sines and cosines at 2^0 ... 2^9."""
    value, jacobian = points
    rows = []
    for b in range(len(value)):
        row = []
        for k in range(value.shape[1]):
            (j00, j01), (j10, j11) = jacobian[b, k]
            numbers = torch.stack([value[b, k, 0], value[b, k, 1], j00, j01, j10, j11])
            row.append(numbers)
            for power in range(10):
                row.append(torch.sin(2**power * numbers))
                row.append(torch.cos(2**power * numbers))
        rows.append(torch.cat(row))
    return torch.stack(rows)


def emotion_displacement(state: State, emotion: Tensor, points: Points) -> Points:
    """Displacements of keypoints 1, 4, 6 and 8: (B, 4, 2) and (B, 4, 2, 2)."""
    x = encoded(points)
    for place in (0, 2):
        x = relu(linear(state, f"fc_p.{place}", x))
    x = torch.cat([emotion, x], dim=1)
    for place in (0, 2, 4):
        x = relu(linear(state, f"fc_all.{place}", x))
    x = x[:, None]
    x = F.conv1d(x, state["final.0.weight"], state["final.0.bias"], stride=2, padding=1)
    x = relu(F.max_pool1d(x, 2))
    x = relu(F.conv1d(x, state["final.3.weight"], state["final.3.bias"], stride=2, padding=1))
    x = F.conv1d(x, state["final.5.weight"], state["final.5.bias"])
    return x[:, :, :2], x[:, :, 2:].reshape(len(x), 4, 2, 2)


def demo_keypoints(points: Points, displacement: Points) -> Points:
    """Keypoint 1 moves by a fifth of its displacement, 4 and 6 by all of theirs, 8 does not."""
    value, jacobian = points[0].clone(), points[1].clone()
    for place, (k, gain) in enumerate(((1, 0.2), (4, 1.0), (6, 1.0))):
        value[:, k] += gain * displacement[0][:, place]
        jacobian[:, k] += gain * displacement[1][:, place]
    return value, jacobian
