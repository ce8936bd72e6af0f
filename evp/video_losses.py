"""Losses of the edge-to-video network (EVP supplement eq. 2-5): pure functions, weights in configs.

The supplement's equations 2 and 4 exchange x and x-hat; here the network's output is `generated`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from affekt.nets.perceptual import Layer

Reduction = Literal["rms", "norm", "mse"]

VGG_WEIGHTS: dict[Layer, float] = {  # of pix2pixHD and vid2vid
    "relu1_1": 1 / 32,
    "relu2_1": 1 / 16,
    "relu3_1": 1 / 8,
    "relu4_1": 1 / 4,
    "relu5_1": 1.0,
}
EPSILON = 1e-8  # under the root, whose slope at 0 is infinite; in squares of [-1, 1]


@dataclass(frozen=True)
class LossConfig:
    """Weights, where 0 switches a term off (supplement 2.1: lambda_recon = lambda_vgg = 2).

    Feature matching, flow and warp are vid2vid's, with 10 each in the release; the paper has none.
    `hallucinated` is ours: vid2vid shows that picture to its discriminator and to VGG instead.
    """

    gan: float = 1.0  # by the image discriminator
    gan_video: float = 0.0  # by the video discriminator; the paper's weight is 1
    gan_from: int = 1  # the step at which the adversarial game begins
    reconstruction: float = 2.0
    vgg: float = 2.0
    reduction: Reduction = "rms"  # of the reconstruction; see `reconstruction`
    feature_matching: float = 0.0  # in the features of both discriminators
    flow: float = 0.0  # of the generator's flow to the stored one
    warp: float = 0.0  # of the true frame before, moved along the generator's flow, to the frame
    hallucinated: float = 0.0  # reconstruction by the hallucinated picture alone

    @property
    def need_flow(self) -> bool:
        """Whether a term needs the corpus's optical flow."""
        return bool(self.gan_video or self.flow or self.warp)


def reconstruction(generated: Tensor, target: Tensor, reduction: Reduction) -> Tensor:
    """Return L_recon = ||target - generated||_2 (supplement eq. 2), a mean over the batch.

    Args:
        generated, target: (B, 3, H, W) in [-1, 1].
        reduction: of a frame's D = 3 H W squared errors e^2:

            norm  sqrt(sum e^2), as printed. At 512 px it is 887 times the next, and no GAN term
                  of the printed weights is felt beside it.
            rms   sqrt(sum e^2 / D), the same with the mean that VGG and GAN terms have. Default.
            mse   sum e^2 / D, the squared error, which cares little for small errors.
    """
    squares = (generated - target).square().flatten(1)
    if reduction == "mse":
        return squares.mean()
    total = squares.sum(dim=1) if reduction == "norm" else squares.mean(dim=1)
    return (total + EPSILON).sqrt().mean()


def vgg_distance(
    generated: Sequence[Tensor], target: Sequence[Tensor], weights: Sequence[float]
) -> Tensor:
    """Return L_vgg = ||VGG(target) - VGG(generated)||_1 (supplement eq. 4).

    Both are the feature maps of the layers that `weights` are of. A layer's norm is a mean over
    its values; the layers' weights are pix2pixHD's, since EVP does not print any.
    """
    terms = [
        weight * (one - other.detach()).abs().float().mean()
        for weight, one, other in zip(weights, generated, target, strict=True)
    ]
    return torch.stack(terms).sum()


def lsgan_discriminator(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """Return the discriminator's least-squares loss, averaged over scales.

        1/2 E[(D(x) - 1)^2] + 1/2 E[D(G(e))^2]

    LSGAN (arXiv:1611.04076v3) eq. 2 with a = 0, b = 1, on the logits of every patch. `fake` must
    come from detached frames; this function cannot tell. The average over scales keeps the weight
    of the term when scales are added; pix2pixHD sums.
    """
    terms = [
        0.5 * ((one - 1).square().mean() + other.square().mean())
        for one, other in zip(real, fake, strict=True)
    ]
    return torch.stack(terms).mean()


def lsgan_generator(fake: Sequence[Tensor]) -> Tensor:
    """Return the generator's least-squares loss 1/2 E[(D(G(e)) - 1)^2], averaged over scales."""
    return torch.stack([0.5 * (one - 1).square().mean() for one in fake]).mean()


def feature_matching(real: Sequence[Sequence[Tensor]], fake: Sequence[Sequence[Tensor]]) -> Tensor:
    """Return the distance of a discriminator's features (pix2pixHD, arXiv:1711.11585, eq. 3).

        mean over scales of 4 / N  sum_i mean |D_i(x) - D_i(G(e))|

    over a scale's N layers. The paper of EVP does not print it; the release's networks have it,
    with weight 10 and the factor 4 / N. Real features are targets and get no gradient.
    """
    scales = []
    for one, other in zip(real, fake, strict=True):
        terms = [(a.detach() - b).abs().mean() for a, b in zip(one, other, strict=True)]
        scales.append(4 / len(terms) * torch.stack(terms).sum())
    return torch.stack(scales).mean()


def flow_distance(generated: Tensor, flow: Tensor, confidence: Tensor) -> Tensor:
    """Return mean |w - w*| over the pixels whose flow is to be believed, in pixels.

    The first half of vid2vid's flow loss (arXiv:1808.06601, eq. 9; the release's weight is 10).

    Args:
        generated, flow: (N, 2, H, W), pixels.
        confidence: (N, 1, H, W), 1 where `flow` is to be believed.
    """
    return _mean_where((generated - flow).abs(), confidence)


def warp_distance(moved: Tensor, target: Tensor, confidence: Tensor) -> Tensor:
    """Return mean |w(x_{t-1}) - x_t| over the pixels whose flow is to be believed.

    The second half of vid2vid's flow loss: the true frame before, moved along the generated flow,
    should be the true frame.

    Args:
        moved, target: (N, 3, H, W) in [-1, 1].
        confidence: (N, 1, H, W).
    """
    return _mean_where((moved - target).abs(), confidence)


def _mean_where(values: Tensor, confidence: Tensor) -> Tensor:
    return (values * confidence).sum() / (confidence.sum() * values.shape[1]).clamp(min=1)
