"""FOMM written a second time: plain functions on a state dict with the release's own names.

The oracle of `test_fomm_parity.py`. It shares no code with `eamm`: every step is spelled out,
keypoint by keypoint, sampling, resizing, normalisation and the spline included, so that a
misreading in one of the two shows as a difference. Facts: the FOMM paper (NeurIPS 2019) and its
release. Slow.

Letters: B batch, K keypoints, h w pixels of a map. Coordinates are (x, y) in [-1, 1].
"""

import math
import typing as tp

import torch
import torch.nn.functional as F
from torch import Tensor

State = tp.Mapping[str, Tensor]
Points = tuple[Tensor, Tensor]  # value (B, K, 2), jacobian (B, K, 2, 2)

VARIANCE = 0.01  # of the Gaussians that stand for keypoints
TEMPERATURE = 0.1


def coordinate_grid(height: int, width: int) -> Tensor:
    """(h, w, 2), order (x, y), both ends on pixel centres: 2 i / (n - 1) - 1."""
    grid = torch.empty(height, width, 2)
    for row in range(height):
        grid[row, :, 1] = 2 * row / (height - 1) - 1
    for column in range(width):
        grid[:, column, 0] = 2 * column / (width - 1) - 1
    return grid


def _reflected(position: Tensor, low: float, high: float, size: int) -> Tensor:
    span = high - low
    folded = torch.remainder(position - low, 2 * span)
    inside = torch.where(folded > span, 2 * span - folded, folded) + low
    return inside.clamp(0, size - 1)


def sample(image: Tensor, grid: Tensor, align_corners: bool, reflect: bool = False) -> Tensor:
    """Bilinear reading of image (B, C, H, W) at grid (B, h, w, 2); zero outside, or reflected.

    With `align_corners` -1 and 1 are the centres of the border pixels, without it their edges.
    """
    B, C, H, W = image.shape
    pixel = []
    for axis, size in ((0, W), (1, H)):
        unit = grid[..., axis]
        position = (unit + 1) / 2 * (size - 1) if align_corners else ((unit + 1) * size - 1) / 2
        if reflect:
            ends = (0.0, size - 1.0) if align_corners else (-0.5, size - 0.5)
            position = _reflected(position, *ends, size)
        pixel.append(position)
    x, y = pixel
    left, top = x.floor(), y.floor()
    out = torch.zeros(B, C, *grid.shape[1:3])
    for dx in (0, 1):
        for dy in (0, 1):
            column, row = left + dx, top + dy
            share = (1 - (x - column).abs()) * (1 - (y - row).abs())
            inside = (column >= 0) & (column < W) & (row >= 0) & (row < H)
            for b in range(B):
                rows, columns = row[b].clamp(0, H - 1).long(), column[b].clamp(0, W - 1).long()
                out[b] += image[b, :, rows, columns] * (share[b] * inside[b])
    return out


def resize(image: Tensor, height: int, width: int) -> Tensor:
    """Bilinear, pixel edges aligned, border repeated; the image itself at its own size."""
    H, W = image.shape[-2:]
    if (height, width) == (H, W):
        return image

    def read(line: Tensor, old: int, new: int) -> Tensor:  # along the last axis
        place = ((torch.arange(new) + 0.5) * old / new - 0.5).clamp(0, old - 1)
        low = place.floor().long()
        high = (low + 1).clamp(max=old - 1)
        share = place - low
        return line[..., low] * (1 - share) + line[..., high] * share

    return read(read(image, W, width).transpose(-1, -2), H, height).transpose(-1, -2)


def conv(state: State, name: str, x: Tensor, padding: int = 0) -> Tensor:
    return F.conv2d(x, state[f"{name}.weight"], state.get(f"{name}.bias"), padding=padding)


def batch_norm(state: State, name: str, x: Tensor) -> Tensor:
    """(x - running mean) / sqrt(running variance + 1e-5), scaled and shifted."""
    parts = ("running_mean", "running_var", "weight", "bias")
    columns = [state[f"{name}.{part}"] for part in parts]
    mean, var, weight, bias = (column[:, None, None] for column in columns)
    return (x - mean) / torch.sqrt(var + 1e-5) * weight + bias


def conv_block(state: State, name: str, x: Tensor, resized: str = "same") -> Tensor:
    """[nearest x2] conv, batch norm, ReLU [2x2 mean]."""
    if resized == "up":
        x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    padding = state[f"{name}.conv.weight"].shape[-1] // 2
    x = batch_norm(state, f"{name}.norm", conv(state, f"{name}.conv", x, padding)).clamp(min=0)
    if resized == "down":
        x = (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4
    return x


def hourglass(state: State, name: str, x: Tensor) -> Tensor:
    skips = [x]
    while f"{name}.encoder.down_blocks.{len(skips) - 1}.conv.weight" in state:
        level = f"{name}.encoder.down_blocks.{len(skips) - 1}"
        skips.append(conv_block(state, level, skips[-1], "down"))
    x = skips.pop()
    for level in range(len(skips)):
        x = conv_block(state, f"{name}.decoder.up_blocks.{level}", x, "up")
        x = torch.cat([x, skips.pop()], dim=1)
    return x


def blurred(image: Tensor, kernel: Tensor, step: int) -> Tensor:
    """A kernel a channel (C, 1, n, n), zeros outside, then every `step`-th pixel."""
    if step == 1:
        return image
    n = kernel.shape[-1]
    padded = F.pad(image, (n // 2, n // 2, n // 2, n // 2))
    channels = [F.conv2d(padded[:, c : c + 1], kernel[c : c + 1]) for c in range(image.shape[1])]
    return torch.cat(channels, dim=1)[..., ::step, ::step]


def gaussian_kernel(step: int) -> Tensor:
    """(1, 1, n, n) of sum 1: sigma = (step - 1) / 2, n = 2 round(4 sigma) + 1."""
    sigma = (step - 1) / 2
    half = round(4 * sigma)
    kernel = torch.empty(2 * half + 1, 2 * half + 1)
    for i in range(-half, half + 1):
        for j in range(-half, half + 1):
            kernel[i + half, j + half] = math.exp(-(i * i + j * j) / (2 * sigma**2))
    return (kernel / kernel.sum())[None, None]


def detected_keypoints(detector: State, frames: Tensor) -> tuple[Points, Tensor]:
    """Keypoints of frames (B, 3, S, S) and their heatmap (B, K, h - 6, w - 6)."""
    small = blurred(frames, detector["down.weight"], 4)
    return keypoints_of_features(detector, hourglass(detector, "predictor", small))


def keypoints_of_features(detector: State, features: Tensor) -> tuple[Points, Tensor]:
    logits, entries = conv(detector, "kp", features), conv(detector, "jacobian", features)
    B, K, h, w = logits.shape
    grid = coordinate_grid(h, w)
    value, jacobian = torch.zeros(B, K, 2), torch.zeros(B, K, 2, 2)
    heatmap = torch.zeros_like(logits)
    for b in range(B):
        for k in range(K):
            powers = ((logits[b, k] - logits[b, k].max()) / TEMPERATURE).exp()
            heat = heatmap[b, k] = powers / powers.sum()
            for axis in range(2):
                value[b, k, axis] = (heat * grid[..., axis]).sum()
            for i in range(2):
                for j in range(2):
                    jacobian[b, k, i, j] = (heat * entries[b, 4 * k + 2 * i + j]).sum()
    return (value, jacobian), heatmap


def gaussian(point: Tensor, height: int, width: int) -> Tensor:
    """exp(-|z - point|^2 / (2 variance)) on the grid, (h, w)."""
    away = coordinate_grid(height, width) - point
    return torch.exp(-0.5 * (away**2).sum(-1) / VARIANCE)


def dense_motion(
    state: State, source: Tensor, kp_source: Points, kp_driving: Points, align_corners: bool
) -> dict[str, Tensor]:
    """Mask, deformation (B, h, w, 2), occlusion and the sparsely deformed sources."""
    name = "dense_motion_network"
    small = blurred(source, state[f"{name}.down.weight"], 4)
    B, _, h, w = small.shape
    grid = coordinate_grid(h, w)
    motions = [grid.expand(B, h, w, 2)]  # index 0: nothing moves
    heats = [torch.zeros(B, h, w)]
    for k in range(kp_source[0].shape[1]):
        motion, heat = torch.empty(B, h, w, 2), torch.empty(B, h, w)
        for b in range(B):
            turned = kp_source[1][b, k] @ torch.linalg.inv(kp_driving[1][b, k])
            motion[b] = (grid - kp_driving[0][b, k]) @ turned.T + kp_source[0][b, k]
            heat[b] = gaussian(kp_driving[0][b, k], h, w) - gaussian(kp_source[0][b, k], h, w)
        motions.append(motion)
        heats.append(heat)
    sparse = [sample(small, motion, align_corners) for motion in motions]
    layers = [torch.cat([h[:, None], s], 1) for h, s in zip(heats, sparse, strict=True)]
    features = hourglass(state, f"{name}.hourglass", torch.cat(layers, 1))
    logits = conv(state, f"{name}.mask", features, 3)
    powers = (logits - logits.amax(1, keepdim=True)).exp()
    mask = powers / powers.sum(1, keepdim=True)
    flow = torch.zeros(B, h, w, 2)
    for k, motion in enumerate(motions):
        flow = flow + mask[:, k, :, :, None] * motion
    occlusion = 1 / (1 + torch.exp(-conv(state, f"{name}.occlusion", features, 3)))
    parts = {"mask": mask, "deformation": flow, "occlusion": occlusion}
    return {**parts, "sparse_deformed": torch.stack(sparse, 1)}


def generated(
    state: State, source: Tensor, kp_source: Points, kp_driving: Points, align_corners: bool
) -> dict[str, Tensor]:
    """Everything the generator returns; `prediction` and `deformed` are of the source's size."""
    x, count = conv_block(state, "first", source), 0
    while f"down_blocks.{count}.conv.weight" in state:
        x, count = conv_block(state, f"down_blocks.{count}", x, "down"), count + 1
    out = dense_motion(state, source, kp_source, kp_driving, align_corners)

    def flow(height: int, width: int) -> Tensor:
        return resize(out["deformation"].permute(0, 3, 1, 2), height, width).permute(0, 2, 3, 1)

    height, width = x.shape[-2:]
    x = sample(x, flow(height, width), align_corners) * resize(out["occlusion"], height, width)
    block = 0
    while f"bottleneck.r{block}.conv1.weight" in state:
        name, kept = f"bottleneck.r{block}", x
        for half in (1, 2):
            normal = batch_norm(state, f"{name}.norm{half}", x).clamp(min=0)
            x = conv(state, f"{name}.conv{half}", normal, 1)
        x, block = x + kept, block + 1
    for level in range(count):
        x = conv_block(state, f"up_blocks.{level}", x, "up")
    out["prediction"] = 1 / (1 + torch.exp(-conv(state, "final", x, 3)))
    out["deformed"] = sample(source, flow(*source.shape[-2:]), align_corners)
    return out


def discriminated(
    state: State, frames: Tensor, points: Tensor | None
) -> tuple[list[Tensor], Tensor]:
    """The four feature maps and the prediction map; `points` (B, K, 2) for vox-adv alone."""
    x = frames
    if points is not None:
        h, w = frames.shape[-2:]
        heat = [torch.stack([gaussian(point, h, w) for point in row]) for row in points]
        x = torch.cat([frames, torch.stack(heat)], dim=1)

    def weight(name: str) -> Tensor:
        if f"{name}.weight" in state:
            return state[f"{name}.weight"]
        raw = state[f"{name}.weight_orig"]
        sigma = state[f"{name}.weight_u"] @ raw.flatten(1) @ state[f"{name}.weight_v"]
        return raw / sigma

    maps: list[Tensor] = []
    count = sum(key.endswith("conv.bias") for key in state) - 1
    for level in range(count):
        name = f"discs.1.down_blocks.{level}"
        x = F.conv2d(x, weight(f"{name}.conv"), state[f"{name}.conv.bias"])
        if level:
            mean = x.mean((2, 3), keepdim=True)
            spread = ((x - mean) ** 2).mean((2, 3), keepdim=True)
            x = (x - mean) / torch.sqrt(spread + 1e-5)
            x = x * state[f"{name}.norm.weight"][:, None, None]
            x = x + state[f"{name}.norm.bias"][:, None, None]
        x = torch.where(x > 0, x, 0.2 * x)
        if level < count - 1:
            x = F.avg_pool2d(x, 2)
        maps.append(x)
    return maps, F.conv2d(x, weight("discs.1.conv"), state["discs.1.conv.bias"])


VGG_PLAN = "1t1p1t1p1t111p1t111p1t"  # 1: convolution and ReLU, p: pooling, t: relu1_1, 2_1, ... 5_1


def perceptual(convs: tp.Sequence[Points], prediction: Tensor, frames: Tensor) -> Tensor:
    """10 x the sum over 5 taps and 4 scales of the mean |difference|; `convs` (weight, bias)."""

    def taps(image: Tensor) -> list[Tensor]:
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        x, number, found = (image - mean[:, None, None]) / std[:, None, None], 0, []
        for step in VGG_PLAN:
            if step == "1":
                x, number = F.conv2d(x, *convs[number], padding=1).clamp(min=0), number + 1
            elif step == "p":
                x = F.max_pool2d(x, 2)
            else:
                found.append(x)
        return found

    total = torch.zeros(())
    for step in (1, 2, 4, 8):
        kernel = gaussian_kernel(step).expand(3, 1, -1, -1) if step > 1 else torch.zeros(0)
        pair = [taps(blurred(image, kernel, step)) for image in (prediction, frames)]
        for mine, theirs in zip(*pair, strict=True):
            total = total + 10 * (mine - theirs).abs().mean()
    return total


def spline_map(points: Tensor, affine: Tensor, weights: Tensor) -> Tensor:
    """A (x, y, 1) + sum_c w_c r^2 log(r + 1e-6), r = |x - x_c| + |y - y_c|; points (n, 2).

    `affine` (2, 3), `weights` (25,) at the 5 x 5 grid; the same sum is added to x and to y.
    """
    centres = coordinate_grid(5, 5).reshape(25, 2)
    moved = points @ affine[:, :2].T + affine[:, 2]
    bend = torch.zeros(len(points))
    for centre, weight in zip(centres, weights, strict=True):
        r = (points - centre).abs().sum(1)
        bend = bend + weight * r**2 * torch.log(r + 1e-6)
    return moved + bend[:, None]


def equivariance(
    detector: State, frames: Tensor, affine: Tensor, weights: Tensor, align_corners: bool
) -> tuple[Tensor, Tensor]:
    """10 mean |kp_d - T(kp_T)| and 10 mean |I - J_d^-1 (dT/dkp at kp_T) J_T|, by autograd.

    `affine` (B, 2, 3), `weights` (B, 25); kp_T are the keypoints of the frames read at T(grid),
    reflected outside.
    """
    B, _, S, _ = frames.shape
    flat = coordinate_grid(S, S).reshape(-1, 2)
    grid = torch.stack([spline_map(flat, affine[b], weights[b]).reshape(S, S, 2) for b in range(B)])
    (value_d, jacobian_d), _ = detected_keypoints(detector, frames)
    turned, _ = detected_keypoints(detector, sample(frames, grid, align_corners, reflect=True))
    values, jacobians = [], []
    for b in range(B):
        values.append((value_d[b] - spline_map(turned[0][b], affine[b], weights[b])).abs())
        for k in range(value_d.shape[1]):
            point = turned[0][b, k : k + 1]
            whole = torch.autograd.functional.jacobian(
                lambda at, b=b: spline_map(at, affine[b], weights[b])[0], point
            )[:, 0]
            product = torch.linalg.inv(jacobian_d[b, k]) @ whole @ turned[1][b, k]
            jacobians.append((torch.eye(2) - product).abs())
    return 10 * torch.stack(values).mean(), 10 * torch.stack(jacobians).mean()
