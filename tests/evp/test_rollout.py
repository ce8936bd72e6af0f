"""Sequences are drawn as a plain loop draws them, with gradients as far back as said."""

from dataclasses import replace

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from evp.networks.blocks import halved
from evp.networks.generator import Generator, GeneratorConfig
from evp.networks.temporal_generator import TemporalGenerator
from evp.rollout import (
    SequenceConfig,
    Sequences,
    generate_sequences,
    initial_history,
    set_trainable,
    training_phase,
)
from evp.rollout import TrainingPhase as Phase

SMALL = GeneratorConfig(4, 1, 2, 1, 1, outer_kernel=3, previous=2)


def moving(config=SMALL):
    torch.manual_seed(0)
    generator = TemporalGenerator(1, config)
    for heads in generator.heads:
        torch.nn.init.normal_(heads.flow.weight, std=0.02)
    return generator


def some(batch=2, frames=6, size=16, flow=False):
    generator = torch.Generator().manual_seed(1)

    def random(channels):
        return torch.rand(batch, frames, channels, size, size, generator=generator)

    more = (10 * random(2) - 5, (random(1) > 0.5).float()) if flow else ()
    return Sequences(2 * random(3) - 1, random(1), *more)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize(("level", "previous"), [(0, 2), (1, 2), (0, 1)])
def test_each_frame_is_drawn_from_its_maps_and_the_generators_own_frames(
    level, previous, checkpointing
):
    generator, truth = moving(replace(SMALL, previous=previous)), some(size=16 >> level)
    made = generate_sequences(generator, truth, SequenceConfig(2, checkpointing), level)
    frames = [truth.frames[:, t] for t in range(previous)]
    for t in range(previous, 6):
        maps = torch.stack([truth.guidance[:, t - k] for k in range(previous, -1, -1)], dim=1)
        drawn = generator(maps, torch.stack(frames[t - previous : t], dim=1), level)
        frames.append(drawn.frame)
        found = (made.frames, made.hallucinated, made.flow, made.mask)
        for one, other in zip(found, drawn, strict=True):
            torch.testing.assert_close(one[:, t - previous], other)
    assert made.frames.shape[1] == 6 - previous


def test_a_generator_of_single_frames_draws_them_all_from_their_maps():
    generator = Generator(1, replace(SMALL, previous=0))
    truth = some(frames=3)
    made = generate_sequences(generator, truth, SequenceConfig())
    assert made.flow is made.mask is made.hallucinated is None
    for b in range(2):
        torch.testing.assert_close(made.frames[b], generator(truth.guidance[b]))


def test_a_share_of_the_sequences_begins_with_nothing():
    frames = torch.rand(400, 2, 3, 1, 1) + 0.1
    begun = torch.stack(initial_history(frames, dropout=0.25), dim=1)
    blank = (begun == 0).flatten(1).all(dim=1)
    assert torch.equal(begun[~blank], frames[~blank])  # all of a sequence, or none of it
    assert 0.15 < blank.float().mean() < 0.35
    assert torch.equal(torch.stack(initial_history(frames, dropout=0.0), dim=1), frames)

    generator, truth = moving(), some()
    made = generate_sequences(generator, truth, SequenceConfig(history_dropout=1.0))
    drawn = generator(truth.guidance[:, :3], torch.zeros(2, 2, 3, 16, 16))
    torch.testing.assert_close(made.frames[:, 0], drawn.frame)


class Remembering(TemporalGenerator):
    """Keeps what it drew, so that gradients into it can be seen."""

    def forward(self, guidance_BLCHW, before_BLCHW, level=0):
        drawn = super().forward(guidance_BLCHW, before_BLCHW, level)
        drawn.frame.retain_grad()
        self.frames.append(drawn.frame)
        return drawn


@pytest.mark.parametrize("backpropagation", [1, 2, 3, 9])
def test_a_gradient_goes_back_within_groups_of_frames_and_not_beyond(backpropagation):
    generator, truth = Remembering(1, SMALL), some(batch=1, frames=7)  # 5 drawn
    found = torch.zeros(5, 5, dtype=torch.bool)
    for late in range(5):
        generator.frames = []
        generate_sequences(generator, truth, SequenceConfig(backpropagation))
        generator.frames[late].sum().backward()
        for early, frame in enumerate(generator.frames):
            found[late, early] = frame.grad is not None and bool(frame.grad.abs().max() > 0)
    wanted = [
        [
            early <= late and early // backpropagation == late // backpropagation
            for early in range(5)
        ]
        for late in range(5)
    ]
    assert found.tolist() == wanted


def learned(generator, truth, config):
    """Return loss, gradients, and how many bytes were kept for them beside the weights."""
    generator.zero_grad()
    kept = {}
    weights = {weight.data_ptr() for weight in generator.parameters()}

    def keep(tensor):
        if tensor.data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        made = generate_sequences(generator, truth, config)
        loss = made.frames.square().mean() + 0.01 * made.flow.square().mean()
    loss.backward()
    gradients = [p.grad.clone() for p in generator.parameters() if p.grad is not None]
    return loss.detach(), gradients, sum(kept.values())


@pytest.mark.parametrize("backpropagation", [1, 3])
def test_checkpointing_changes_no_gradient_and_keeps_a_fraction_of_the_memory(backpropagation):
    generator, truth = moving(), some()
    whole = learned(generator, truth, SequenceConfig(backpropagation))
    again = learned(generator, truth, SequenceConfig(backpropagation, checkpointing=True))
    torch.testing.assert_close(again[0], whole[0], rtol=1e-6, atol=0)
    assert len(again[1]) == len(whole[1])
    for one, other in zip(again[1], whole[1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-8)
    assert again[2] < 0.1 * whole[2]


COARSEST, COARSE, WHOLE = (Phase(level, freeze_coarser=False) for level in (2, 1, 0))
MIDDLE, FINE = (Phase(level, freeze_coarser=True) for level in (1, 0))


@pytest.mark.parametrize(
    ("enhancers", "coarse", "alone", "phases"),
    [
        (0, 2, 1, [WHOLE] * 5),
        (1, 0, 0, [WHOLE] * 5),
        (1, 2, 0, [COARSE] * 2 + [WHOLE] * 3),
        (1, 2, 1, [COARSE] * 2 + [FINE] + [WHOLE] * 2),
        (1, 0, 2, [FINE] * 2 + [WHOLE] * 3),
        (2, 1, 2, [COARSEST] + [MIDDLE] * 2 + [FINE] * 2 + [WHOLE] * 2),
        (2, 3, 0, [COARSEST] * 3 + [WHOLE] * 2),
    ],
)
def test_the_coarse_networks_come_first_then_each_finer_one_alone_then_all(
    enhancers, coarse, alone, phases
):
    config = SequenceConfig(coarse_steps=coarse, enhancer_steps=alone)
    assert [training_phase(step, enhancers, config) for step in range(1, len(phases) + 1)] == phases


def test_in_each_phase_exactly_its_networks_can_learn():
    generator = TemporalGenerator(1, replace(SMALL, enhancers=2))
    alone = {1: ("enhancers.0.", "heads.1."), 0: ("enhancers.1.", "heads.2.")}
    for level, networks in alone.items():
        set_trainable(generator, Phase(level, freeze_coarser=True))
        for name, parameter in generator.named_parameters():
            assert parameter.requires_grad == name.startswith(networks), name
    for level in (0, 2):  # at the coarse one the others take no part, so they need no rest
        set_trainable(generator, Phase(level, freeze_coarser=False))
        assert all(parameter.requires_grad for parameter in generator.parameters())


def test_a_generator_of_single_frames_always_learns_as_a_whole():
    generator = Generator(1, replace(SMALL, previous=0))
    set_trainable(generator, Phase(0, freeze_coarser=True))
    assert all(parameter.requires_grad for parameter in generator.parameters())


def test_a_level_down_has_half_the_size_and_half_the_motion():
    truth = some(flow=True)
    half = truth.at_level(1)
    for name, scale in (("frames", 1), ("guidance", 1), ("flow", 0.5)):
        wanted = scale * halved(getattr(truth, name).flatten(0, 1)).unflatten(0, (2, 6))
        torch.testing.assert_close(getattr(half, name), wanted)
    for name in ("frames", "guidance", "flow", "confidence"):
        quarter = getattr(truth.at_level(2), name)
        assert quarter.shape == (2, 6, getattr(truth, name).shape[2], 4, 4)
        assert torch.equal(quarter, getattr(half.at_level(1), name))
        assert torch.equal(getattr(truth.at_level(0), name), getattr(truth, name))
    plain = some().at_level(1)
    assert plain.flow is plain.confidence is None


def test_flow_is_believed_a_level_down_where_all_that_it_is_made_of_is():
    confidence = torch.ones(1, 1, 1, 8, 8)
    confidence[..., 3, 4] = 0  # between the means of two rows, in the middle of one column
    truth = some(1, 1, 8, flow=True)._replace(confidence=confidence)
    wanted = torch.ones(4, 4)
    wanted[1:3, 2] = 0
    torch.testing.assert_close(truth.at_level(1).confidence[0, 0, 0], wanted)


def test_what_comes_after_the_first_frames_is_everythings_later_part():
    truth = some(flow=True)
    later = truth.after(2)
    for name in ("frames", "guidance", "flow", "confidence"):
        assert torch.equal(getattr(later, name), getattr(truth, name)[:, 2:])
    plain = some().after(1)
    assert plain.flow is plain.confidence is None
    assert plain.frames.shape[1] == 5


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"backpropagation": 0}, "backpropagation is 0, wanted at least 1"),
        ({"history_dropout": -0.1}, r"history_dropout is -0\.1, wanted 0 to 1"),
        ({"history_dropout": 1.1}, r"history_dropout is 1\.1"),
    ],
)
def test_settings_out_of_range_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        SequenceConfig(**wrong)
