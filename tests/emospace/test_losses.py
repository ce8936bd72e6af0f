"""Losses of emospace against numbers by hand, a slow loop, and their properties."""

import math

import pytest
import torch
import torch.nn.functional as F

from emospace.losses import (
    EmotionSpaceLossConfig,
    emotion_space_losses,
    level_weights,
    one_minus_cosine,
    own_pair,
    supervised_contrastive,
)

LABELS = torch.tensor([0, 1, 0, 2, 1, 0])
LEVELS = torch.tensor([1, 3, 3, 1, 2, 1])


def unit(count, dim=5, seed=0):
    return F.normalize(
        torch.randn(count, dim, generator=torch.Generator().manual_seed(seed)), dim=1
    )


def test_the_supervised_contrastive_loss_of_three_codes_by_hand():
    # Codes 0 and 1 are of one emotion and at a right angle, code 2 of another and equal to code 0.
    codes = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    weights = level_weights(torch.tensor([4, 4, 7]), torch.tensor([1, 1, 1]), graded=False)
    # Anchor 0: exp(0) of exp(0) + exp(2); anchor 1: exp(0) of exp(0) + exp(0); anchor 2 has no term
    by_hand = (math.log(1 + math.exp(2)) + math.log(2)) / 2
    assert supervised_contrastive(codes, weights, scale=2.0).item() == pytest.approx(by_hand, 1e-6)


@pytest.mark.parametrize("graded", [False, True])
def test_the_supervised_contrastive_loss_is_that_of_a_slow_loop(graded):
    codes, scale = unit(6), 1 / 0.3
    terms = []
    for i in range(6):
        weights, shares = [], []
        whole = sum(math.exp(scale * float(codes[i] @ codes[a])) for a in range(6) if a != i)
        for p in range(6):
            if p != i and LABELS[p] == LABELS[i]:
                apart = abs(int(LEVELS[p]) - int(LEVELS[i]))
                weights.append({0: 1.0, 1: 0.5, 2: 0.0}[apart] if graded else 1.0)
                shares.append(math.log(math.exp(scale * float(codes[i] @ codes[p])) / whole))
        if sum(weights):
            product = sum(w * share for w, share in zip(weights, shares, strict=True))
            terms.append(-product / sum(weights))
    weights = level_weights(LABELS, LEVELS, graded)
    found = supervised_contrastive(codes, weights, scale)
    assert found.item() == pytest.approx(sum(terms) / len(terms), rel=1e-5)


def test_levels_weigh_positives_by_hand_and_only_within_an_emotion():
    graded = level_weights(LABELS, LEVELS, graded=True)
    assert graded[0].tolist() == [1, 0, 0, 0, 0, 1]
    assert graded[1].tolist() == [0, 1, 0, 0, 0.5, 0]


def test_the_order_of_the_clips_and_the_names_of_the_emotions_do_not_matter():
    codes, order = unit(6), torch.tensor([3, 1, 5, 0, 4, 2])
    weights = level_weights(LABELS, LEVELS, graded=True)
    loss = supervised_contrastive(codes, weights, 5.0)
    again = level_weights(LABELS[order], LEVELS[order], graded=True)
    torch.testing.assert_close(supervised_contrastive(codes[order], again, 5.0), loss)
    renamed = level_weights(torch.tensor([7, 2, 7, 5, 2, 7]), LEVELS, graded=True)
    torch.testing.assert_close(supervised_contrastive(codes, renamed, 5.0), loss)


def test_codes_of_an_emotion_that_draw_together_lower_the_loss():
    centres, scattered = unit(3, 8), unit(6, 8, seed=1)
    weights = level_weights(LABELS, LEVELS, graded=False)
    near = F.normalize(centres[LABELS] + 0.2 * scattered, dim=1)
    assert supervised_contrastive(near, weights, 10.0) < supervised_contrastive(
        scattered, weights, 10.0
    )


def test_clips_that_are_all_of_other_emotions_have_a_loss_of_0_with_a_gradient():
    codes = unit(4).requires_grad_()
    weights = level_weights(torch.arange(4), torch.ones(4), graded=False)
    loss = supervised_contrastive(codes, weights, 10.0)
    loss.backward()
    assert loss.item() == 0
    assert codes.grad.isfinite().all()


def test_clips_own_pair_loss_by_hand():
    one = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    other = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    # Rows: log(2) twice. Columns: the first wants row 0 of (1, 0), the second row 1 of (1, 0).
    columns = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(1))) / 2
    found = own_pair(one, other, 1.0)
    assert found.item() == pytest.approx((math.log(2) + columns) / 2, rel=1e-6)
    torch.testing.assert_close(own_pair(other, one, 1.0), found)


def test_one_minus_cosine_by_hand():
    one = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    other = torch.tensor([[0.0, 1.0], [0.8, 0.6]])
    assert one_minus_cosine(one, other).item() == pytest.approx((1 + 0.04) / 2, rel=1e-5)


def test_terms_are_those_with_a_weight_over_all_pairs_of_modalities():
    codes = {"text": unit(6), "image": unit(6, seed=1), "audio": unit(6, seed=2)}
    every = EmotionSpaceLossConfig(1.0, 1.0, 1.0)
    terms = emotion_space_losses(codes, LABELS, LEVELS, every, 10.0)
    assert set(terms) == {"contrastive", "own_pair", "cosine"}
    pairs = [("text", "image"), ("text", "audio"), ("image", "audio")]
    for name, loss in (
        ("own_pair", lambda a, b: own_pair(a, b, 10.0)),
        ("cosine", one_minus_cosine),
    ):
        wanted = torch.stack([loss(codes[a], codes[b]) for a, b in pairs]).mean()
        torch.testing.assert_close(terms[name], wanted)
    only = emotion_space_losses(codes, LABELS, LEVELS, EmotionSpaceLossConfig(), 10.0)
    assert set(only) == {"contrastive"}
    # A code of another modality of the same clip is a positive: 3 of each clip
    together = torch.cat([*codes.values()])
    weights = level_weights(LABELS.repeat(3), LEVELS.repeat(3), graded=False)
    torch.testing.assert_close(only["contrastive"], supervised_contrastive(together, weights, 10.0))


@pytest.mark.parametrize("weights", [(0.0, 0.0, 0.0), (1.0, -1.0, 0.0)])
def test_weights_that_teach_nothing_are_refused(weights):
    with pytest.raises(ValueError, match="wanted none below 0 and one above"):
        EmotionSpaceLossConfig(*weights)
    with pytest.raises(ValueError, match=r"temperature is 0\.0"):
        EmotionSpaceLossConfig(temperature=0.0)
