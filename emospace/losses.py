"""Losses of emospace: pure functions of tensors; weights live in the configurations.

AME: the paper aligns text, pictures and sound in one space and prints no loss that is at hand; the
choices and where they come from stand at each function.

Dimension letters in this file:
    B  clips or windows of a batch
    N  codes: those of all modalities one below the other
    C  numbers of an emotion code
    T  frames of a window, E expression modes, P points of a face
    N  landmarks; S  pixels of the finest picture's side; h, w of another one (HEF)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from affekt.nets.places import bumps
from affekt.nets.precision import in_float32

Pyramid = dict[int, Tensor]  # pictures by the factor that they are smaller by

LEVELS_APART = 2  # between the weakest and the strongest level of MEAD
BUMP = 0.035  # deviation of a landmark's weight, a share of the picture's side
BUMP_SIZE = 64  # pixels a side at which those weights are computed, and interpolated above


@dataclass(frozen=True)
class EmotionSpaceLossConfig:
    """Weights, where 0 switches a term off, and the temperature of the contrastive ones."""

    contrastive: float = 1.0  # see supervised_contrastive
    own_pair: float = 0.0  # see own_pair; CLIP's
    cosine: float = 0.0  # see one_minus_cosine
    temperature: float = 0.1  # C-MET's; where it is learned, what it begins with
    learn_temperature: bool = False  # as CLIP does, down to 0.01
    graded: bool = False  # positives of other levels count less; see level_weights

    def __post_init__(self) -> None:
        weights = (self.contrastive, self.own_pair, self.cosine)
        if min(weights) < 0 or not any(weights):
            raise ValueError(f"weights are {weights}, wanted none below 0 and one above")
        if self.temperature <= 0:
            raise ValueError(f"temperature is {self.temperature}, wanted above 0")


# AME


def emotion_space_losses(
    codes: Mapping[str, Tensor],
    labels_B: Tensor,
    levels_B: Tensor,
    loss: EmotionSpaceLossConfig,
    scale: Tensor | float,
) -> dict[str, Tensor]:
    """Return the terms whose weight is not 0, unweighted.

    Args:
        codes: unit codes (B, C) by modality, all of the same clips.
        labels_B: emotions.
        levels_B: MEAD's, 1 to 3.
        loss: which terms, and whether positives are graded.
        scale: 1 / temperature.
    """
    terms = {}
    if loss.contrastive:
        together_NC = torch.cat([*codes.values()])
        labels_N, levels_N = labels_B.repeat(len(codes)), levels_B.repeat(len(codes))
        weights_NN = level_weights(labels_N, levels_N, loss.graded)
        terms["contrastive"] = supervised_contrastive(together_NC, weights_NN, scale)
    if loss.own_pair:
        pairs = [own_pair(one, other, scale) for one, other in combinations(codes.values(), 2)]
        terms["own_pair"] = torch.stack(pairs).mean()
    if loss.cosine:
        pairs = [one_minus_cosine(one, other) for one, other in combinations(codes.values(), 2)]
        terms["cosine"] = torch.stack(pairs).mean()
    return terms


def level_weights(labels_N: Tensor, levels_N: Tensor, graded: bool) -> Tensor:
    """Return how much each pair of codes is a positive, (N, N): 1 of the same emotion, 0 of others.

    Graded (ours): 1 of the same level, 1/2 of the next one, 0 of the weakest with the strongest.
    """
    same_NN = (labels_N[:, None] == labels_N).float()
    if not graded:
        return same_NN
    apart_NN = (levels_N[:, None] - levels_N).abs().float()
    return same_NN * (1 - apart_NN / LEVELS_APART).clamp(min=0)


def supervised_contrastive(codes_NC: Tensor, weights_NN: Tensor, scale: Tensor | float) -> Tensor:
    """Return the supervised contrastive loss over codes of all modalities together.

        L = mean_i  - sum_p w_ip log(exp(z_i z_p / t) / sum_{a != i} exp(z_i z_a / t)) / sum_p w_ip

    over all p != i (Khosla et al., arXiv:2004.11362, eq. 2, with weights; C-MET puts the codes of
    two modalities together in the same way). An anchor without a positive has no term.

    Args:
        codes_NC: of unit length.
        weights_NN: see `level_weights`; the diagonal is ignored.
        scale: 1 / t.
    """
    itself_NN = torch.eye(len(codes_NC), dtype=torch.bool, device=codes_NC.device)
    logits_NN = (scale * codes_NC @ codes_NC.T).masked_fill(itself_NN, -torch.inf)
    log_share_NN = logits_NN.log_softmax(dim=1).masked_fill(itself_NN, 0.0)
    weights_NN = weights_NN.masked_fill(itself_NN, 0.0)
    whole_N = weights_NN.sum(dim=1)
    each_N = -(weights_NN * log_share_NN).sum(dim=1) / whole_N.clamp(min=1e-6)
    return each_N.sum() / (whole_N > 0).sum().clamp(min=1)


def own_pair(one_BC: Tensor, other_BC: Tensor, scale: Tensor | float) -> Tensor:
    """Return CLIP's loss: of all codes of the other modality, that of the same clip is right.

    The mean of both directions (arXiv:2103.00020, Fig. 3). Clips of the same emotion repel each
    other here, so it is an ablation.
    """
    logits_BB = scale * one_BC @ other_BC.T
    right_B = torch.arange(len(one_BC), device=one_BC.device)
    return (F.cross_entropy(logits_BB, right_B) + F.cross_entropy(logits_BB.T, right_B)) / 2


def one_minus_cosine(one_BC: Tensor, other_BC: Tensor) -> Tensor:
    """Return the mean of 1 - cos between two codes of the same clip. Ours, as an ablation.

    It closes the gap between modalities by drawing all codes together, other emotions' as well.
    """
    return (1 - (one_BC * other_BC).sum(dim=1)).mean()


# EAC


@dataclass(frozen=True)
class ExpressionLossConfig:
    """Weights of EAC's terms, where 0 switches one off. Ours: the supplement prints no loss."""

    coefficients: float = 1.0  # see coefficient_distance
    landmarks: float = 5.0  # see landmark_displacement, whose errors are hundredths of a unit
    velocity: float = 0.5  # of the coefficients; see coefficient_velocity

    def __post_init__(self) -> None:
        weights = (self.coefficients, self.landmarks, self.velocity)
        if min(weights) < 0 or not any(weights):
            raise ValueError(f"weights are {weights}, wanted none below 0 and one above")


def expression_losses(
    predicted_BTE: Tensor,
    truth_BTE: Tensor,
    std_E: Tensor,
    modes_EP3: Tensor | None,
    loss: ExpressionLossConfig,
) -> dict[str, Tensor]:
    """Return the terms whose weight is not 0, unweighted.

    Args:
        predicted_BTE, truth_BTE: expression coefficients of B windows of T frames, E modes.
        std_E: deviations of the coefficients over the training frames, floored.
        modes_EP3: the face model's expression modes of P points; None where `landmarks` is 0.
        loss: the weights.
    """
    terms = {}
    if loss.coefficients:
        terms["coefficients"] = coefficient_distance(predicted_BTE, truth_BTE, std_E)
    if loss.landmarks and modes_EP3 is not None:
        terms["landmarks"] = landmark_displacement(predicted_BTE, truth_BTE, modes_EP3)
    if loss.velocity:
        terms["velocity"] = coefficient_velocity(predicted_BTE, truth_BTE, std_E)
    return terms


def coefficient_distance(predicted_BTE: Tensor, truth_BTE: Tensor, std_E: Tensor) -> Tensor:
    """Return mean |p - t| / std over coefficients, frames and windows. Ours."""
    return ((predicted_BTE - truth_BTE) / std_E).abs().mean()


def coefficient_velocity(predicted_BTE: Tensor, truth_BTE: Tensor, std_E: Tensor) -> Tensor:
    """Return `coefficient_distance` of the steps from frame to frame; 0 of single frames. Ours."""
    if truth_BTE.shape[1] < 2:
        return torch.zeros((), device=truth_BTE.device)
    return coefficient_distance(predicted_BTE.diff(dim=1), truth_BTE.diff(dim=1), std_E)


def landmark_displacement(predicted_BTE: Tensor, truth_BTE: Tensor, modes_EP3: Tensor) -> Tensor:
    """Return the mean distance of the faces' points in 3D, in the face model's unit. Ours.

        mean over points n of | sum_e (p_e - t_e) b_en |

    Mean shape, identity and pose are the same on both sides and fall out. It weighs modes by what
    they move, where `coefficient_distance` weighs them all alike.
    """
    shift_BTP3 = torch.einsum("bte,epx->btpx", predicted_BTE - truth_BTE, modes_EP3)
    return shift_BTP3.norm(dim=3).mean()


# HEF


@dataclass(frozen=True)
class RendererLossConfig:
    """Weights, where 0 switches a term off, and what the terms compare.

    All ours: neither the paper's abstract nor its supplement prints a loss of HEF. L1, perceptual
    and adversarial terms (affekt/nets/gan.py) are those of LIA (arXiv:2203.09043), the terms of the
    warped portrait are PIRenderer's (arXiv:2109.08379).
    """

    pixels: float = 1.0  # L1, a mean over the scales
    at_landmarks: float = 0.0  # how much more than others the pixels there count
    in_mouth: float = 0.0  # and those inside the driving frame's inner lips
    warped: float = 0.0  # L1 of the warped portrait, a mean over the levels
    anchors: float = 0.0  # see flow_anchors; a mean over the levels
    perceptual: float = 1.0  # of the drawn picture
    warped_perceptual: float = 0.5  # of the warped portrait, which teaches the flow
    features: Literal["vgg", "effnet_lite0"] = "vgg"  # whose the perceptual terms compare
    gan: float = 0.0
    r1: float = 10.0  # gamma
    r1_every: int = 16  # steps; the penalty then counts as many times (StyleGAN2's lazy form)
    scales: tuple[int, ...] = (1, 2, 4)  # by how much the compared pictures are made smaller


def pyramid(pictures_BCSS: Tensor, factors: Sequence[int]) -> Pyramid:
    """Return pictures by the factor that they are smaller by, means of factor x factor pixels."""
    return {factor: F.avg_pool2d(pictures_BCSS, factor) for factor in factors}


def pixel_weights(
    landmarks_BN2: Tensor, mouth_B1SS: Tensor, at_landmarks: float, in_mouth: float
) -> Tensor:
    """Return how much a pixel counts, (B, 1, S, S): 1, and more at landmarks and inside the lips.

    1 + at_landmarks max_n exp(-r_n^2 / 2 sigma^2) + in_mouth [inside]. The mouth's interior is a
    hundredth of a picture: without a weight of its own it stays stretched lips.

    Args:
        landmarks_BN2: of the driving frame, (x, y) in [-1, 1].
        mouth_B1SS: 1 inside its inner lips, else 0.
        at_landmarks, in_mouth: what is added there.
    """
    S = mouth_B1SS.shape[-1]
    size = min(S, BUMP_SIZE)
    near = bumps(landmarks_BN2, (size, size), BUMP).amax(dim=1, keepdim=True)
    if size < S:
        near = F.interpolate(near, size=(S, S), mode="bilinear", align_corners=False)
    return 1 + at_landmarks * near + in_mouth * mouth_B1SS


def pixel_distance(prediction: Pyramid, target: Pyramid, weights: Pyramid | None = None) -> Tensor:
    """Return mean |prediction - target| w, a mean over scales, of pictures (B, 3, h, w)."""
    terms = []
    for factor, pictures in prediction.items():
        differences = (pictures - target[factor]).abs().float()
        terms.append((differences if weights is None else differences * weights[factor]).mean())
    return torch.stack(terms).mean()


def warped_distance(
    warped: Sequence[Tensor], target_B3SS: Tensor, weights_B1SS: Tensor | None = None
) -> Tensor:
    """Return mean |warped source - target| w, a mean over the levels, each at its own size.

    The flow's own term: it learns where things went while the drawn picture is still grey.

    Args:
        warped: (B, 3, h, w) of the levels that have a flow.
        target_B3SS: the driving frame, at the finest size.
        weights_B1SS: of `pixel_weights`.
    """
    terms = []
    for pictures in warped:
        size = pictures.shape[-2], pictures.shape[-1]
        differences = (pictures - F.adaptive_avg_pool2d(target_B3SS, size)).abs().float()
        if weights_B1SS is not None:
            differences = differences * F.adaptive_avg_pool2d(weights_B1SS, size)
        terms.append(differences.mean())
    return torch.stack(terms).mean()


@in_float32
def flow_anchors(flow_B2hw: Tensor, driving_BN2: Tensor, source_BN2: Tensor) -> Tensor:
    """Return mean |flow(l_d) - (l_s - l_d)| over the landmarks, in half sides of the picture.

    A backward flow, read at the driving frame's landmarks, should lead to the source's. Ours.
    """
    grid_BN12 = driving_BN2[:, :, None]
    read = F.grid_sample(flow_B2hw, grid_BN12, padding_mode="border", align_corners=False)
    found_BN2 = read[..., 0].transpose(1, 2)
    return (found_BN2 - (source_BN2 - driving_BN2)).abs().mean()


def perceptual_distance(
    features: Callable[[Tensor], list[Tensor]], prediction: Pyramid, target: Pyramid
) -> Tensor:
    """Return sum over layers, mean over scales, of mean |phi_i(prediction) - phi_i(target)|.

    Johnson et al., arXiv:1603.08155, on the feature maps of a frozen network of pictures in [0, 1].
    """
    terms = []
    for factor, pictures in prediction.items():
        with torch.no_grad():
            wanted = features(target[factor])
        pairs = zip(features(pictures), wanted, strict=True)
        terms.append(
            torch.stack([(one - other).abs().float().mean() for one, other in pairs]).sum()
        )
    return torch.stack(terms).mean()
