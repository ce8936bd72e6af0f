"""Terms of edge-to-video's loss: which pictures, flows and answers each of them compares."""

import pytest
import torch

from affekt.runtime.training.optim import weighted_sum
from evp.losses import VideoLossConfig, generator_loss, reconstruction
from evp.networks.discriminators import (
    DiscriminatorConfig,
    Discriminators,
    VideoDiscriminatorConfig,
)
from evp.rollout import GeneratedSequences, Sequences
from tests.corpora.slow_warp import moved_slowly
from train_edge2video import motion_terms, picture_terms

PATCHES = DiscriminatorConfig(4, 1, 2)
DRAWN = 3  # frames, after two


@pytest.fixture
def truth():
    known = (torch.rand(2, 5, 1, 8, 8) > 0.3).float()
    flow = 2 * torch.randn(2, 5, 2, 8, 8)
    return Sequences(torch.rand(2, 5, 3, 8, 8), torch.rand(2, 5, 1, 8, 8), flow, known)


def test_pictures_are_compared_frame_by_frame_with_the_true_ones(truth):
    made = GeneratedSequences(torch.rand(2, 5, 3, 8, 8), torch.rand(2, 5, 3, 8, 8))
    terms = picture_terms(made, truth, VideoLossConfig(hallucinated=1.0, reduction="norm"))
    for name, pictures in (("reconstruction", made.frames), ("hallucinated", made.hallucinated)):
        pairs = zip(pictures.flatten(0, 1), truth.frames.flatten(0, 1), strict=True)
        each = [reconstruction(one[None], other[None], "norm") for one, other in pairs]
        torch.testing.assert_close(terms[name], torch.stack(each).mean())
    assert [*picture_terms(made, truth, VideoLossConfig())] == ["reconstruction"]
    alone = GeneratedSequences(made.frames)
    assert [*picture_terms(alone, truth, VideoLossConfig(hallucinated=1.0))] == ["reconstruction"]


def test_flow_is_compared_with_that_of_the_same_frame_and_moves_the_true_frame_before(truth):
    flow = 2 * torch.randn(2, DRAWN, 2, 8, 8)
    terms = motion_terms(flow, truth, VideoLossConfig(flow=1.0, warp=1.0))
    off = amiss = count = 0
    for b in range(2):
        for t in range(DRAWN):
            known = truth.confidence[b, 2 + t]
            off += ((flow[b, t] - truth.flow[b, 2 + t]).abs() * known).sum() / 2
            moved = moved_slowly(truth.frames[b, 1 + t], flow[b, t])
            amiss += ((moved - truth.frames[b, 2 + t]).abs() * known).sum() / 3
            count += known.sum()
    torch.testing.assert_close(terms["flow"], off / count)
    torch.testing.assert_close(terms["warp"], amiss / count)


def test_a_term_of_motion_that_is_off_is_not_worked_out(truth):
    flow = torch.zeros(2, DRAWN, 2, 8, 8)
    for weights in ({}, {"flow": 1.0}, {"warp": 1.0}):
        assert [*motion_terms(flow, truth, VideoLossConfig(**weights))] == [*weights]
    for loss, needed in (
        (VideoLossConfig(), False),
        (VideoLossConfig(hallucinated=1, feature_matching=1), False),
        (VideoLossConfig(gan_video=1), True),
        (VideoLossConfig(flow=1), True),
        (VideoLossConfig(warp=1), True),
    ):
        assert loss.need_flow == needed


def test_every_adversarial_term_moves_the_generated_frames(truth):
    networks = Discriminators(1, PATCHES, VideoDiscriminatorConfig(2, 2, patches=PATCHES))
    made = torch.rand(2, 5, 3, 8, 8, requires_grad=True)
    condition = truth.guidance, truth.flow, truth.confidence
    terms = generator_loss(networks(made, *condition), networks(truth.frames, *condition))
    assert [*terms] == ["gan", "gan_video", "feature_matching"]
    for name, term in terms.items():
        (slope,) = torch.autograd.grad(term, made, retain_graph=True)
        assert slope.abs().max() > 0, name


def test_the_total_weighs_each_term_by_its_name():
    terms = {"reconstruction": torch.tensor(3.0), "gan_video": torch.tensor(5.0)}
    total = weighted_sum(terms, VideoLossConfig(reconstruction=2.0, gan_video=0.1, gan=100.0))
    torch.testing.assert_close(total, torch.tensor(6.5))
