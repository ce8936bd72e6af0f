"""Losses of EVP (CVPR 2021): pure functions of tensors; weights live in the configurations.

Landmark stages: Sec. 3.2 and 3.3 of the paper. Renderer: supplement eq. 2-5, whose equations 2 and
4 exchange x and x-hat; here the network's output is `generated`. Where the paper writes a bare norm
of a window, a code or a face, the configuration defines what is summed: see `distance`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from affekt.nets import gan
from affekt.nets.gan import DiscriminatorOutput
from affekt.nets.perceptual import Layer
from affekt.runtime.training import ranks
from evp.data.quads import QuadScheme, Reconstruction

Norm = Literal["l1", "l2", "l2_squared"]
Reduction = Literal["sample", "element"]
FrameReduction = Literal["rms", "norm", "mse"]

TINY = 1e-6  # keeps a quotient of distances finite when every code is the same
VGG_WEIGHTS: dict[Layer, float] = {  # of pix2pixHD and vid2vid
    "relu1_1": 1 / 32,
    "relu2_1": 1 / 16,
    "relu3_1": 1 / 8,
    "relu4_1": 1 / 4,
    "relu5_1": 1.0,
}
ROOT_FLOOR = 1e-8  # under the root, whose slope at 0 is infinite; in squares of [-1, 1]


def distance(predicted: Tensor, target: Tensor, norm: Norm, reduction: Reduction) -> Tensor:
    """Return the norm of predicted - target for each sample, averaged over the batch.

    The first axis counts samples, all others belong to one sample.
        sample: the norm as the paper writes it: l1 sums magnitudes, l2 is the root of the summed
            squares, l2_squared the sum itself. A 28 x 12 window's l2 norm is in the hundreds
            before training, against a cross entropy of 2: the term rules the sum.
        element: the same with a mean in the place of the sum (mean absolute error, root mean
            square, mean square); the release's L1Loss and MSELoss are l1 and l2_squared here.
    """
    difference = (predicted - target).flatten(1)
    if norm == "l1":
        each = difference.abs().sum(1)
    elif norm == "l2":
        each = torch.linalg.vector_norm(difference, dim=1)  # its gradient at 0 is 0, not NaN
    else:
        each = difference.square().sum(1)
    if reduction == "element":
        each = each / (difference.shape[1] ** 0.5 if norm == "l2" else difference.shape[1])
    return each.mean()


def classification(logits_NK: Tensor, labels_N: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return the cross entropy of eq. 4, -sum_k p_k log q_k, averaged over the samples.

    p is 1 for the sample's label; `smoothing` (ours) takes that share away from it and gives it to
    all labels alike, which moves the codes of a label closer together (arXiv:1906.02629).
    """
    return F.cross_entropy(logits_NK, labels_N, label_smoothing=smoothing)


def content_spread(codes_NC: Tensor) -> Tensor:
    """Return the standard deviation of each channel over the codes, averaged over channels.

    It goes to 0 where the content loss collapses the codes. With several processes it is that of
    all their codes.
    """
    return ranks.of_all(codes_NC).std(dim=0).mean()


def normalised(content_loss: Tensor, different: Tensor) -> Tensor:
    """Divide the content loss by the distance between codes of different contents. Ours.

    Eq. 5 alone is smallest where all codes are equal. The quotient does not change when the codes
    shrink, so it only falls where different contents get different codes.
    """
    return ranks.mean_of_all(content_loss) / (ranks.mean_of_all(different) + TINY)


def velocity(predicted_BTL: Tensor, target_BTL: Tensor, norm: Norm, reduction: Reduction) -> Tensor:
    """Return the distance between frame-to-frame motions. Ours, not from the paper.

    It penalises jitter and missed motion, which barely change the distance of positions.
    """
    predicted = predicted_BTL.diff(dim=1).flatten(0, 1)
    target = target_BTL.diff(dim=1).flatten(0, 1)
    return distance(predicted, target, norm, reduction)


# Disentanglement (eq. 2-6)


@dataclass(frozen=True)
class DisentanglementLossConfig:
    """Weights of eq. 6, where 0 switches a term off, and what the norms are."""

    cross_reconstruction: float = 1.0
    self_reconstruction: float = 1.0
    classification: float = 1.0  # lambda_cla, supplement Sec. 2.1
    content: float = 1.0  # lambda_con
    norm: Norm = "l2"  # of the reconstructions; the release has l1
    reduction: Reduction = "sample"  # see `distance`; the release has element
    content_loss: Literal["plain", "normalised"] = "plain"  # normalised: see `normalised`
    label_smoothing: float = 0.0  # see `classification`

    def __post_init__(self) -> None:
        if min(self.weights().values()) < 0 or not any(self.weights().values()):
            raise ValueError(f"weights are {self.weights()}, wanted none below 0 and one above")

    def weights(self) -> dict[str, float]:
        """Return the weight of each term by its name in the logs."""
        names = ("cross_reconstruction", "self_reconstruction", "classification", "content")
        return {name: getattr(self, name) for name in names}


class QuadOutputs(NamedTuple):
    """What the networks compute of quads, by places 0 ... 3 in the quad."""

    content: dict[int, Tensor]  # content codes (B, C)
    logits: dict[int, Tensor]  # of emotions, (B, classes)
    decoded: dict[Reconstruction, Tensor]  # (B, 28, 12)


class QuadNeeds(NamedTuple):
    """What the losses that are switched on need; the networks compute that alone."""

    content: list[int]  # places whose content is encoded
    emotion: list[int]  # places whose emotion is encoded
    classified: tuple[int, ...]
    reconstructions: tuple[Reconstruction, ...]


def needed_of_quads(scheme: QuadScheme, loss: DisentanglementLossConfig) -> QuadNeeds:
    """Return which codes and reconstructions the terms whose weight is not 0 are made of."""
    reconstructions = scheme.self_terms if loss.self_reconstruction else ()
    reconstructions += scheme.cross_terms if loss.cross_reconstruction else ()
    classified = scheme.classified if loss.classification else ()
    content = {each.content for each in reconstructions}
    if loss.content:
        pairs = scheme.same_content
        pairs += scheme.different_content if loss.content_loss == "normalised" else ()
        content |= {place for pair in pairs for place in pair}
    emotion = {each.emotion for each in reconstructions} | {*classified}
    return QuadNeeds(sorted(content), sorted(emotion), classified, reconstructions)


def disentanglement_losses(
    outputs: QuadOutputs,
    windows_B4TM: Tensor,
    emotions_B4: Tensor,
    scheme: QuadScheme,
    loss: DisentanglementLossConfig,
) -> dict[str, Tensor]:
    """Return the terms of eq. 6 whose weight is not 0, unweighted, and `content_spread`.

    Args:
        outputs: of what `needed_of_quads` names.
        windows_B4TM: (B, 4, 28, 12), the targets.
        emotions_B4: labels.
        scheme: which windows each term compares.
        loss: weights and norms.
    """
    terms = {}
    # eq. 3 and 2: each a sum over its two reconstructions
    for name, chosen in (
        ("self_reconstruction", scheme.self_terms),
        ("cross_reconstruction", scheme.cross_terms),
    ):
        if getattr(loss, name):
            errors = [
                distance(outputs.decoded[r], windows_B4TM[:, r.target], loss.norm, loss.reduction)
                for r in chosen
            ]
            terms[name] = torch.stack(errors).sum()
    # eq. 4, a sum over the windows whose emotion is classified
    if loss.classification:
        entropies = [
            classification(logits, emotions_B4[:, place], loss.label_smoothing)
            for place, logits in outputs.logits.items()
        ]
        terms["classification"] = torch.stack(entropies).sum()
    # eq. 5, or its normalised form
    if loss.content:
        terms["content"] = _content(outputs.content, scheme, loss)
    if outputs.content:
        codes_NC = torch.cat([*outputs.content.values()])
        terms["content_spread"] = content_spread(codes_NC)
    return terms


def _content(
    codes: dict[int, Tensor], scheme: QuadScheme, loss: DisentanglementLossConfig
) -> Tensor:
    """Return eq. 5, the l1 distance of the codes of the same content, or its normalised form."""

    def distances(pairs: Sequence[tuple[int, int]]) -> Tensor:
        return torch.stack([distance(codes[a], codes[b], "l1", loss.reduction) for a, b in pairs])

    total = distances(scheme.same_content).sum()
    if loss.content_loss == "plain":
        return total
    return normalised(total, distances(scheme.different_content).mean())


# Renderer (supplement eq. 2-5)


@dataclass(frozen=True)
class VideoLossConfig:
    """Weights, where 0 switches a term off (supplement 2.1: lambda_recon = lambda_vgg = 2).

    Feature matching, flow and warp are vid2vid's, with 10 each in the release; the paper has none.
    `hallucinated` is ours: vid2vid gives that picture to its discriminator and to VGG instead.
    """

    gan: float = 1.0  # by the image discriminator
    gan_video: float = 0.0  # by the video discriminator; the paper's weight is 1
    gan_from: int = 1  # the step at which adversarial training begins
    reconstruction: float = 2.0
    vgg: float = 2.0
    reduction: FrameReduction = "rms"  # of the reconstruction; see `reconstruction`
    feature_matching: float = 0.0  # in the features of both discriminators
    flow: float = 0.0  # of the generator's flow to the stored one
    warp: float = 0.0  # of the true previous frame, warped by the generator's flow, to the frame
    hallucinated: float = 0.0  # reconstruction by the hallucinated picture alone

    @property
    def need_flow(self) -> bool:
        """Whether a term needs the corpus's optical flow."""
        return bool(self.gan_video or self.flow or self.warp)


def reconstruction(generated: Tensor, target: Tensor, reduction: FrameReduction) -> Tensor:
    """Return L_recon = ||target - generated||_2 (supplement eq. 2), a mean over the batch.

    Args:
        generated, target: (B, 3, H, W) in [-1, 1].
        reduction: of a frame's D = 3 H W squared errors e^2:

            norm  sqrt(sum e^2), as printed. At 512 px it is 887 times the next, and GAN terms of
                  the printed weights have no effect next to it.
            rms   sqrt(sum e^2 / D), the same with the mean that VGG and GAN terms have. Default.
            mse   sum e^2 / D, the squared error, which barely penalises small errors.
    """
    squares = (generated - target).square().flatten(1)
    if reduction == "mse":
        return squares.mean()
    total = squares.sum(dim=1) if reduction == "norm" else squares.mean(dim=1)
    return (total + ROOT_FLOOR).sqrt().mean()


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


def discriminator_loss(
    real: Mapping[str, Sequence[DiscriminatorOutput]],
    fake: Mapping[str, Sequence[DiscriminatorOutput]],
) -> dict[str, Tensor]:
    """Return the least-squares losses of D_I and D_V (supplement eq. 3), averaged over scales.

    The average keeps the weight of a term when scales are added; pix2pixHD sums. Both are outputs
    by `gan` and `gan_video`, `fake` those of detached frames.
    """
    names = {"gan": "discriminator", "gan_video": "video_discriminator"}
    return {names[key]: gan.lsgan_discriminator(real[key], fake[key]).mean() for key in real}


def generator_loss(
    fake: Mapping[str, Sequence[DiscriminatorOutput]],
    real: Mapping[str, Sequence[DiscriminatorOutput]] | None = None,
) -> dict[str, Tensor]:
    """Return the generator's adversarial terms (supplement eq. 3), averaged over scales.

    With the outputs for real frames also `feature_matching`, a sum over D_I and D_V.
    """
    terms = {key: gan.lsgan_generator(outputs).mean() for key, outputs in fake.items()}
    if real is not None:
        matched = [feature_matching(real[key], fake[key]) for key in fake]
        terms["feature_matching"] = torch.stack(matched).sum()
    return terms


def feature_matching(
    real: Sequence[DiscriminatorOutput], fake: Sequence[DiscriminatorOutput]
) -> Tensor:
    """Return the distance of one discriminator's features, 4 / N sum over its N layers.

    pix2pixHD (arXiv:1711.11585), eq. 3, averaged over scales. The paper of EVP does not print it;
    the release's networks have it, with weight 10 and the factor 4 / N.
    """
    return (4 / len(real[0].features) * gan.feature_matching(real, fake)).mean()


def flow_distance(generated: Tensor, flow: Tensor, confidence: Tensor) -> Tensor:
    """Return mean |w - w*| over the pixels whose flow is reliable, in pixels.

    The first half of vid2vid's flow loss (arXiv:1808.06601, eq. 9; the release's weight is 10).

    Args:
        generated, flow: (N, 2, H, W), pixels.
        confidence: (N, 1, H, W), 1 where `flow` is reliable.
    """
    return _masked_mean((generated - flow).abs(), confidence)


def warp_distance(warped: Tensor, target: Tensor, confidence: Tensor) -> Tensor:
    """Return mean |w(x_{t-1}) - x_t| over the pixels whose flow is reliable.

    The second half of vid2vid's flow loss: the true previous frame, warped by the generated flow,
    should be the true frame.

    Args:
        warped, target: (N, 3, H, W) in [-1, 1].
        confidence: (N, 1, H, W).
    """
    return _masked_mean((warped - target).abs(), confidence)


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    count = ranks.mean_of_all(mask.sum())  # of reliable pixels; as of one batch in one process
    return (values * mask).sum() / (count * values.shape[1]).clamp(min=1)
