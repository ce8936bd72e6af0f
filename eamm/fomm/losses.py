"""Losses of FOMM (arXiv:2003.00196, Sec. 3.3 and appendix; weights and means of its release): pure
functions whose weights live in the configuration.

Letters: B pictures, K keypoints, H, W pixels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from affekt.nets import gan
from affekt.nets.gan import DiscriminatorOutput
from affekt.nets.perceptual import Vgg
from affekt.nets.precision import in_float32
from eamm.fomm.blocks import gaussians
from eamm.fomm.keypoints import Keypoints, invert
from eamm.fomm.transform import Transform

Pyramid = dict[int, Tensor]  # pictures by the factor they are smaller by


def perceptual(vgg: Vgg, prediction: Pyramid, target: Pyramid) -> Tensor:
    """Return sum over scales and VGG levels of mean |VGG_i(prediction) - VGG_i(target)|.

    The reconstruction loss (eq. 7; Johnson et al., arXiv:1603.08155), at each of the pyramid's
    scales. The release weighs every term by 10.
    """
    terms = [
        (one - other.detach()).abs().float().mean()
        for factor, frames in prediction.items()
        for one, other in zip(vgg(frames), vgg(target[factor]), strict=True)
    ]
    return torch.stack(terms).sum()


def pixels(prediction: Pyramid, target: Pyramid, weights: Pyramid | None = None) -> Tensor:
    """Return sum over scales of mean |prediction - target|. Ours, for the small setting.

    Args:
        prediction: pictures by scale.
        target: the true ones.
        weights: how much each pixel counts, (B, 1, h, w) by scale; None: all alike.
    """
    terms = []
    for factor, frames in prediction.items():
        differences = (frames - target[factor]).abs()
        terms.append((differences if weights is None else differences * weights[factor]).mean())
    return torch.stack(terms).sum()


def keypoint_weights(
    places_BK2: Tensor, pictures: Pyramid, extra: float, variance: float = 0.01
) -> Pyramid:
    """Return pixel weights, 1 far from all places and 1 + `extra` at each, by scale. Ours."""
    bumps = {
        factor: gaussians(places_BK2, (frames.shape[2], frames.shape[3]), variance)
        for factor, frames in pictures.items()
    }
    return {factor: 1 + extra * bump.amax(dim=1, keepdim=True) for factor, bump in bumps.items()}


@in_float32
def equivariance_value(driving: Keypoints, warped: Keypoints, transform: Transform) -> Tensor:
    """Return mean |p - T(p')|: keypoints of the frame and of the warped frame (eq. 9)."""
    return (driving.value - transform.points(warped.value)).abs().mean()


@in_float32
def equivariance_jacobian(driving: Keypoints, warped: Keypoints, transform: Transform) -> Tensor:
    """Return mean |1 - J^-1 T'(p') J'| (eq. 11)."""
    expected = transform.jacobian(warped.value) @ warped.jacobian
    ratio = invert(driving.jacobian) @ expected
    return (torch.eye(2, dtype=ratio.dtype, device=ratio.device) - ratio).abs().mean()


def generator_loss(
    real: Sequence[DiscriminatorOutput], fake: Sequence[DiscriminatorOutput]
) -> dict[str, Tensor]:
    """Return the generator's adversarial terms, sums over scales, as in the release.

    gan: mean (1 - D(fake))^2, LSGAN without its 1/2; feature_matching: a sum over layers too.
    """
    return {
        "gan": 2 * gan.lsgan_generator(fake).sum(),
        "feature_matching": gan.feature_matching(real, fake).sum(),
    }


def discriminator_loss(
    real: Sequence[DiscriminatorOutput], fake: Sequence[DiscriminatorOutput]
) -> Tensor:
    """Return sum over scales of mean (1 - D(real))^2 + mean D(fake)^2; `fake` is detached."""
    return 2 * gan.lsgan_discriminator(real, fake).sum()


def landmark_distance(keypoints: Keypoints, landmarks_BK2: Tensor) -> Tensor:
    """Return mean |p - a|: keypoints against the landmark means that supervise them.

    Ours, for the small setting. Without it keypoints begin in the middle of the picture and need
    tens of thousands of steps to find the mouth.
    """
    return (keypoints.value - landmarks_BK2).abs().mean()
