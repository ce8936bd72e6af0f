"""Sampling a picture pixel by pixel: what the fast code of flow is measured against."""

import math

import torch


def sampled(picture_CHW, x, y):
    """Return the values at one place, bilinearly; beyond the picture its border goes on."""
    H, W = picture_CHW.shape[1:]
    x, y = min(max(float(x), 0.0), W - 1.0), min(max(float(y), 0.0), H - 1.0)
    left, top = math.floor(x), math.floor(y)
    right, bottom = min(left + 1, W - 1), min(top + 1, H - 1)
    upper = (1 - x + left) * picture_CHW[:, top, left] + (x - left) * picture_CHW[:, top, right]
    lower = (1 - x + left) * picture_CHW[:, bottom, left]
    lower = lower + (x - left) * picture_CHW[:, bottom, right]
    return (1 - y + top) * upper + (y - top) * lower


def moved_slowly(picture_CHW, flow_2HW):
    """Return a picture sampled where each pixel's flow points."""
    out = torch.empty(picture_CHW.shape[0], *flow_2HW.shape[1:], dtype=picture_CHW.dtype)
    for row in range(out.shape[1]):
        for column in range(out.shape[2]):
            right, down = flow_2HW[:, row, column].tolist()
            out[:, row, column] = sampled(picture_CHW, column + right, row + down)
    return out
