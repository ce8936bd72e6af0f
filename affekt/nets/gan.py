"""Losses of adversarial training.

With discriminators at several scales: least squares (LSGAN) and feature matching. Each function
returns a loss for every scale, (scales,): papers sum or average over scales and weigh them
differently, which their own loss functions state.

With one logit a picture: the non-saturating loss and R1, as StyleGAN2 has them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class DiscriminatorOutput(NamedTuple):
    """What a patch discriminator returns at one scale."""

    features: list[Tensor]  # after each layer before the last
    logits: Tensor  # (B, 1, h, w), one a patch; trained towards 1 for real, 0 for generated


def lsgan_discriminator(
    real: Sequence[DiscriminatorOutput], fake: Sequence[DiscriminatorOutput]
) -> Tensor:
    """Return the discriminator's loss at each scale.

        1/2 E[(D(x) - 1)^2] + 1/2 E[D(G(z))^2]

    LSGAN (arXiv:1611.04076v3), eq. 2 with a = 0 and b = 1, on the logits of every patch. `fake`
    must come from detached pictures.
    """
    losses = [
        0.5 * ((one.logits.float() - 1).square().mean() + other.logits.float().square().mean())
        for one, other in zip(real, fake, strict=True)
    ]
    return torch.stack(losses)


def lsgan_generator(fake: Sequence[DiscriminatorOutput]) -> Tensor:
    """Return the generator's loss at each scale, 1/2 E[(D(G(z)) - 1)^2] (LSGAN, eq. 2, c = 1)."""
    return torch.stack([0.5 * (each.logits.float() - 1).square().mean() for each in fake])


def feature_matching(
    real: Sequence[DiscriminatorOutput], fake: Sequence[DiscriminatorOutput]
) -> Tensor:
    """Return sum over layers i of mean |D_i(x) - D_i(G(z))| at each scale.

    pix2pixHD (arXiv:1711.11585), eq. 3. Real features are targets and get no gradient.
    """
    losses = []
    for one, other in zip(real, fake, strict=True):
        pairs = zip(one.features, other.features, strict=True)
        losses.append(torch.stack([(a.detach() - b).abs().float().mean() for a, b in pairs]).sum())
    return torch.stack(losses)


def non_saturating_generator(fake_B1: Tensor) -> Tensor:
    """Return E[softplus(-D(G(z)))] (Goodfellow et al., arXiv:1406.2661, Sec. 3)."""
    return F.softplus(-fake_B1.float()).mean()


def non_saturating_discriminator(real_B1: Tensor, fake_B1: Tensor) -> Tensor:
    """Return E[softplus(-D(x))] + E[softplus(D(G(z)))]; `fake` must come from detached pictures."""
    return F.softplus(-real_B1.float()).mean() + F.softplus(fake_B1.float()).mean()


def r1_penalty(real_B1: Tensor, pictures_BCHW: Tensor) -> Tensor:
    """Return E[|grad_x D(x)|^2] at the real pictures, which must require a gradient.

    R1 of Mescheder et al. (arXiv:1801.04406, eq. 9) without its factor gamma / 2.
    """
    (gradient,) = torch.autograd.grad(real_B1.sum(), pictures_BCHW, create_graph=True)
    return gradient.float().square().flatten(1).sum(dim=1).mean()
