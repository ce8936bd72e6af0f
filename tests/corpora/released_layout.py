"""Checkpoints laid out as the releases lay theirs out, with random weights.

`released_keys/*.json` hold names and shapes of the published checkpoints (facts, listed from them),
one module a line;
`fomm_shapes` derives FOMM's for any sizes, so that small ones can be tested.
"""

import json
import math
from pathlib import Path

import torch

KEYS = Path(__file__).parent / "released_keys"


def save(parts, path, legacy=True):
    """Write a torch file, by default in the format before 1.6, as most releases have; its path."""
    torch.save(parts, path, _use_new_zipfile_serialization=not legacy)
    return path


def released_shapes(file, network):
    """Shapes by name of one network of the published checkpoints."""
    modules = json.loads((KEYS / f"{file}.json").read_text())[network]
    named = (
        (f"{module}.{part}", shape) for module, of in modules.items() for part, shape in of.items()
    )
    return {name.lstrip("."): shape for name, shape in named}


def random_state(shapes, seed):
    """Weights that keep the size of activations, batch statistics included; none is as at birth."""
    generator = torch.Generator().manual_seed(seed)
    return {key: _random(key, shape, generator) for key, shape in shapes.items()}


def random_fomm(seed=0, shapes=None):
    """A whole FOMM checkpoint but for its optimizers, at the published size if no `shapes`."""
    names = "generator", "kp_detector", "discriminator"
    shapes = shapes or {name: released_shapes("fomm", name) for name in names}
    states = {name: random_state(of, seed + i) for i, (name, of) in enumerate(shapes.items())}
    heads = states["kp_detector"]
    states["generator"]["dense_motion_network.mask.weight"] *= 4  # motions take turns
    heads["kp.weight"] *= 0.3  # heatmaps neither flat nor a single pixel
    heads["jacobian.weight"] *= 0.1
    heads["jacobian.bias"] += torch.tensor([1.0, 0.0, 0.0, 1.0]).repeat(len(heads["kp.bias"]))
    if "discriminator" in states:
        _settle_spectral_norm(states["discriminator"])
    return {**states, "epoch": 99}


def small_fomm(seed=0, discriminator="discriminator", **sizes):
    """The same with few channels, but for the discriminator (None: without), in under a second."""
    small = {"points": 4, "motion": 4, "limit": 32, "channels": 4, "blocks": 3, "residual": 2}
    shapes = fomm_shapes(**(small | sizes))
    if discriminator:
        shapes["discriminator"] = released_shapes("fomm", discriminator)
    return random_fomm(seed, shapes)


def fomm_shapes(count=10, points=32, motion=64, blocks=5, limit=1024, channels=64, residual=6):
    """Shapes of generator and detector by their sizes; the defaults are vox-256's."""
    seen = 4 * (count + 1)
    generator = _hourglass("dense_motion_network.hourglass.", seen, motion, blocks, limit)
    out = motion + seen
    for head, outputs in (("mask", count + 1), ("occlusion", 1)):
        generator |= _conv(f"dense_motion_network.{head}", out, outputs, 7)
    generator["dense_motion_network.down.weight"] = [3, 1, 13, 13]
    generator |= _block("first.", 3, channels, 7)
    for i in range(2):
        generator |= _block(f"down_blocks.{i}.", channels << i, channels << (i + 1))
    for i in range(2):
        generator |= _block(f"up_blocks.{i}.", channels << (2 - i), channels << (1 - i))
    for i in range(residual):
        for half in "12":
            generator |= _conv(f"bottleneck.r{i}.conv{half}", 4 * channels, 4 * channels, 3)
            generator |= _norm(f"bottleneck.r{i}.norm{half}", 4 * channels)
    generator |= _conv("final", channels, 3, 7)
    detector = _hourglass("predictor.", 3, points, blocks, limit)
    detector |= _conv("kp", points + 3, count, 7) | _conv("jacobian", points + 3, 4 * count, 7)
    detector["down.weight"] = [3, 1, 13, 13]
    return {"generator": generator, "kp_detector": detector}


def _hourglass(name, inputs, channels, blocks, limit):
    shapes = {}
    widths = [min(limit, channels << i) for i in range(blocks + 1)]
    for i in range(blocks):
        before = inputs if i == 0 else widths[i]
        shapes |= _block(f"{name}encoder.down_blocks.{i}.", before, widths[i + 1])
    for place, i in enumerate(reversed(range(blocks))):
        before = widths[i + 1] * (1 if place == 0 else 2)
        shapes |= _block(f"{name}decoder.up_blocks.{place}.", before, widths[i])
    return shapes


def _block(name, inputs, outputs, kernel=3):
    return _conv(f"{name}conv", inputs, outputs, kernel) | _norm(f"{name}norm", outputs)


def _conv(name, inputs, outputs, kernel):
    return {f"{name}.weight": [outputs, inputs, kernel, kernel], f"{name}.bias": [outputs]}


def _norm(name, channels):
    parts = ("weight", "bias", "running_mean", "running_var")
    return {**{f"{name}.{part}": [channels] for part in parts}, f"{name}.num_batches_tracked": []}


def _random(key, shape, generator):
    if not shape:
        return torch.tensor(0)
    normal = torch.randn(shape, generator=generator)
    if key.endswith("running_var") or (key.endswith("weight") and len(shape) == 1):
        return 0.75 + 0.5 * torch.rand(shape, generator=generator)
    if key == "down.weight" or key.endswith("network.down.weight"):  # a blur, but not the Gaussian
        kernel = torch.rand(shape, generator=generator)
        return kernel / kernel.sum(dim=(2, 3), keepdim=True)
    if len(shape) == 1:
        return 0.1 * normal
    fan_in = math.prod(shape[1:])
    if key.startswith("decon."):  # transposed, of stride 2: a quarter of the taps meets a pixel
        fan_in = shape[0] * shape[2] * shape[3] / 4
    return normal * math.sqrt(2 / fan_in)


def _settle_spectral_norm(state):
    """Let weight_u and weight_v be the singular vectors, as they are after training."""
    for key in [key for key in state if key.endswith("weight_orig")]:
        stem = key.removesuffix("orig")
        matrix = state[key].flatten(1)
        u = state[f"{stem}u"]
        for _ in range(15):
            v = torch.nn.functional.normalize(matrix.T @ u, dim=0)
            u = torch.nn.functional.normalize(matrix @ v, dim=0)
        state[f"{stem}u"], state[f"{stem}v"] = u, v
