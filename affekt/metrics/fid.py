"""FID and KID: the distance of two sets of pictures in Inception features (2048 numbers).

The network is torch-fidelity's (0.4.0): that of December 2015 with its own pooling, TensorFlow 1's
bilinear resizing to 299 px, (x - 128) / 128. Other resizing, or torchvision's network, moves FID by
more than methods differ (Parmar et al. 2022, On Aliased Resizing, arXiv:2104.11222): figures of
pytorch-fid, clean-fid or torchmetrics are not comparable with these.

Both are figures of a whole set. FID has a bias that falls with its size: two samples of one
distribution, 64 normal features, are 22 apart at 100 rows each, 2.2 at 1000. Frames of one clip are
alike, so the number of clips is what counts: 100 clips of 8 frames are 21 apart. KID has no bias
for independent rows; frames that are alike within a clip lift it too. So figures of different
numbers of clips, or of frames per clip, are not comparable.

Intervals resample clips with replacement. FID's are biased upwards: a resample has fewer
different clips than the set, and the set's own figure may lie below the interval.
"""

import io
import typing as tp
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.metric_fid import (
    KEY_METRIC_FID,
    fid_features_to_statistics,
    fid_statistics_to_metric,
)
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

from affekt.arrays import Array, Image
from affekt.runtime.weights.convert import fill, read_torch, tensors

Clips = Mapping[str, Array]  # features (N, D) by clip id
Bounds = tuple[float, float] | tuple[None, None]

SUBSETS, SUBSET_SIZE = 100, 1000  # of KID: torch-fidelity's
SEED = 2020  # torch-fidelity's
DRAWS = 200  # resamples of clips; one of 100 clips of 8 frames takes 0.1 s
LEVELS = (0.025, 0.975)
LAYER = "2048"  # the features before the classifier
BATCH = 16  # frames; a choice of speed alone
WANTED = "wanted is the Inception of FID (python test.py weights list), not torchvision's"


class Inception(FeatureExtractorInceptionV3):
    """torch-fidelity's network, built without weights.

    Its own constructor unpickles a file unchecked, or downloads it. This one is given a file of
    nothing, and the weights afterwards.
    """

    def __init__(self) -> None:
        nothing = io.BytesIO()
        torch.save({}, nothing)
        nothing.seek(0)
        with torch.device("meta"):  # no time for weights that are replaced
            super().__init__("inception-v3-compat", [LAYER], feature_extractor_weights_path=nothing)

    def load_state_dict(
        self, state_dict: Mapping[str, Tensor], strict: bool = True, assign: bool = False
    ) -> tp.Any:
        """Take weights; the constructor's own call, without any, is let through."""
        return super().load_state_dict(
            state_dict, strict=strict and bool(state_dict), assign=assign
        )


def load_inception(path: Path, device: torch.device | str = "cpu") -> Inception:
    """Return the network with the weights of a file, that of the registry's key "inception_fid".

    Args:
        path: a file that was checked (affekt.runtime.weights.registry.find); nothing in it is
            executed.
        device: where it runs. On a GPU, convolutions round to TF32 where torch's settings allow it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a damaged file, or one of another layout.
    """
    weights = tensors(read_torch(path, WANTED), "Inception", path)
    network = Inception().to_empty(device="cpu")
    try:
        fill(network, weights, {name: name for name in weights})
    except ValueError as error:
        raise ValueError(f"{path} is of another layout: {error}; {WANTED}") from None
    network.to(torch.float32, memory_format=torch.channels_last)  # 1.5 times as fast on a CPU
    return network.requires_grad_(False).to(device)


def features(
    network: Inception, frames: Iterable[Image], batch: int = BATCH
) -> NDArray[np.float32]:
    """Return the features of pictures, (N, 2048) float32.

    Args:
        frames: RGB (H, W, 3) uint8, all of one size; resized inside, whatever their shape.
        batch: frames at a time; changes nothing but the time, and rounding of 1e-6.

    """
    device = next(network.parameters()).device
    remaining, found = iter(frames), []
    with torch.inference_mode():
        while chunk := list(islice(remaining, batch)):
            pictures = torch.from_numpy(np.stack(chunk)).to(device)
            found.append(network(pictures.movedim(-1, 1))[0].cpu().numpy())
    return np.concatenate(found)


def fid(ours: Array, theirs: Array) -> float:
    """Return the squared Frechet distance of two sets of features, 0 for equal sets.

        |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))

    of their means and sample covariances (Heusel et al. 2017, arXiv:1706.08500, eq. 6), by
    torch-fidelity. Where rows are fewer than features, it is given the rows' coordinates in their
    own span: the same distances, and matrices of N + M instead of 2048 numbers a side.

    Args:
        ours, theirs: (N, D) and (M, D), finite, N and M at least 2.
    """
    pair = _in_their_span(torch.from_numpy(ours), torch.from_numpy(theirs))
    statistics = [fid_features_to_statistics(each) for each in pair]
    return float(fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID])


def kid(ours: Array, theirs: Array) -> float:
    """Return the squared kernel distance of two sets of features; without bias: it may be below 0.

    The unbiased MMD^2 with the kernel (x y / D + 1)^3, mean of 100 random subsets of both, by
    torch-fidelity (Binkowski et al. 2018, arXiv:1801.01401, section 4). A subset has 1000 rows, or
    half of the smaller set; the seed is fixed. A set against itself is a little below 0.

    Args:
        ours, theirs: (N, D) and (M, D), finite, N and M at least 4.
    """
    pair = torch.from_numpy(ours), torch.from_numpy(theirs)
    size = min(SUBSET_SIZE, *(len(each) // 2 for each in pair))
    options = {"kid_subsets": SUBSETS, "kid_subset_size": size, "rng_seed": SEED}
    return float(kid_features_to_metric(*pair, **options, verbose=False)[KEY_METRIC_KID_MEAN])


def fid_interval(results: Clips, truths: Clips, draws: int = DRAWS, seed: int = SEED) -> Bounds:
    """Return the 2.5 and 97.5 % percentiles of `fid` over resampled clips; biased upwards.

    A resample has as many clips as there are, with replacement, the same ones of both sides: of
    default_rng(seed), integers(0, C, C) into the sorted ids. None, None for a single clip.

    Args:
        results, truths: features (N, D), finite, of the frames of each clip; the same clips.
    """
    (ours, own), (theirs, owned) = _rows(results, truths), _rows(truths, results)
    middle = theirs.mean(axis=0)  # FID has no origin; a near one keeps digits
    ours, theirs = ours - middle, theirs - middle
    products = ours @ ours.T, theirs @ theirs.T, ours @ theirs.T
    return _bounds(lambda n: _fid(*products, n[own], n[owned]), len(results), draws, seed)


def kid_interval(results: Clips, truths: Clips, draws: int = DRAWS, seed: int = SEED) -> Bounds:
    """Return the 2.5 and 97.5 % percentiles of KID over resampled clips, as `fid_interval` does.

    Of each resample it is the unbiased MMD^2 of all frames at once, which `kid` estimates by
    subsets. Copies of a clip are not compared with each other, so that a resample has no bias.
    """
    (ours, own), (theirs, owned) = _rows(results, truths), _rows(truths, results)
    sides = [(ours, own, ours, own), (theirs, owned, theirs, owned), (ours, own, theirs, owned)]
    means = [_kernel_sums(*side) for side in sides]
    return _bounds(lambda n: _kid(means, n), len(results), draws, seed)


def _in_their_span(ours: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
    """Return the coordinates of rows in an orthonormal basis of all of them, if that is shorter."""
    rows = torch.cat([ours, theirs]).double()
    if rows.shape[0] < rows.shape[1]:
        rows = torch.linalg.qr(rows.T, mode="r").R.T
    return rows[: len(ours)], rows[len(ours) :]


def _rows(clips: Clips, others: Clips) -> tuple[Array, Array]:
    """Return all features by clip id, float64, and the place of each row's clip in that order."""
    assert clips.keys() == others.keys(), clips.keys() ^ others.keys()
    parts = [clips[name] for name in sorted(clips)]
    owners = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return np.concatenate(parts).astype(np.float64), owners


def _bounds(distance: Callable[[Array], float], clips: int, draws: int, seed: int) -> Bounds:
    """Return percentiles of a distance, given how often each clip is in a resample (C,)."""
    if clips < 2:
        return None, None
    rng = np.random.default_rng(seed)
    resamples = (rng.integers(0, clips, clips) for _ in range(draws))
    found = np.array([distance(np.bincount(each, minlength=clips)) for each in resamples])
    low, high = np.quantile(found[np.isfinite(found)], LEVELS)
    return float(low), float(high)


def _fid(oo: Array, tt: Array, ot: Array, ours: Array, theirs: Array) -> float:
    """Return FID from the inner products of all rows and how often each is in the resample.

    With centred rows A and B scaled so that S1 = A^T A and S2 = B^T B, the root's trace is the sum
    of the singular values of A B^T: no matrix of D x D is needed.
    """
    a, b = ours > 0, theirs > 0
    oo, tt, ot = oo[np.ix_(a, a)], tt[np.ix_(b, b)], ot[np.ix_(a, b)]
    ours, theirs = ours[a], theirs[b]
    p, q = ours / ours.sum(), theirs / theirs.sum()
    first, second, mixed = p @ oo @ p, q @ tt @ q, p @ ot @ q
    spread = _spread(oo, ours, first) + _spread(tt, theirs, second)
    centred = ot - p @ ot - (ot @ q)[:, None] + mixed
    rows, columns = np.sqrt(ours / (ours.sum() - 1)), np.sqrt(theirs / (theirs.sum() - 1))
    root = np.linalg.svd(rows[:, None] * centred * columns, compute_uv=False).sum()
    return float(first + second - 2 * mixed + spread - 2 * root)


def _spread(products: Array, times: Array, mean: float) -> float:
    """Return the trace of the sample covariance; `mean` is the squared length of the mean row."""
    rows = times.sum()
    return float((times @ products.diagonal() - rows * mean) / (rows - 1))


def _kernel_sums(left: Array, left_clip: Array, right: Array, right_clip: Array) -> Array:
    """Return KID's kernel by clip of either side: its sums and their numbers, (2, C, C).

    A row is not compared with itself.
    """
    kernel = (left @ right.T / left.shape[1] + 1) ** 3
    count = np.ones_like(kernel)
    if left is right:
        np.fill_diagonal(kernel, 0)
        np.fill_diagonal(count, 0)
    starts = [np.flatnonzero(np.diff(owners, prepend=-1)) for owners in (left_clip, right_clip)]
    values = np.stack([kernel, count])
    return np.asarray(np.add.reduceat(np.add.reduceat(values, starts[0], 1), starts[1], 2))


def _kid(sums: list[Array], times: Array) -> float:
    """Return KID of a resample in which clip k is `times[k]` times; NaN for a lone frame."""
    weights = np.outer(times, times)
    np.fill_diagonal(weights, times)  # each copy against itself alone
    with np.errstate(invalid="ignore"):
        ours, theirs, mixed = ((weights * s).sum() / (weights * n).sum() for s, n in sums)
    return float(ours + theirs - 2 * mixed)
