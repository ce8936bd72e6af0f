"""The frame attention network: attention by hand, order of frames, ResNet-18's layout."""

import math
from dataclasses import replace

import pytest
import torch
from torchvision.models import resnet18

from affekt.metrics.emotion.network import Backbone, Fan, FanConfig, weighted_mean

SMALL = FanConfig(widths=(4, 4, 8, 8), blocks=1)
LN3 = math.log(3)  # sigmoid(ln 3) = 3/4, sigmoid(2 ln 3) = 9/10
# Two frames, each with one of the two things a frame can show.
FEATURES = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])


def network(attention="relation", classes=3, seed=0):
    torch.manual_seed(seed)
    return Fan(replace(SMALL, attention=attention), classes)


def two_numbers(attention):
    """A network whose frames have two numbers, with weights that make round attention."""
    fan = Fan(FanConfig((4, 4, 4, 2), 1, attention), 3).eval()
    fan.alpha.weight.data[:] = torch.tensor([[LN3, 0.0]])  # 3/4 and 1/2
    if attention == "relation":
        fan.beta.weight.data[:] = torch.tensor([[0.0, LN3, 5 / 3 * LN3, 0.0]])
    return fan


def faces(*shape, seed=1):
    return torch.rand(*shape, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def test_self_attention_by_hand():
    pooled = two_numbers("self").pool(FEATURES)
    assert pooled[0].tolist() == pytest.approx([0.75 / 1.25, 0.5 / 1.25])


def test_relation_attention_by_hand():
    # f'_v = (0.6, 0.4); beta = sigmoid(ln 3) = 3/4 and sigmoid(2 ln 3) = 9/10; the products are
    # 9/16 and 9/20, whose shares are 5/9 and 4/9.
    pooled = two_numbers("relation").pool(FEATURES)
    assert pooled[0].tolist() == pytest.approx([5 / 9, 4 / 9, 0.6, 0.4])


def test_one_frame_is_its_own_video():
    alone = two_numbers("relation").pool(FEATURES[:, :1])
    assert alone[0].tolist() == pytest.approx([1, 0, 1, 0])


def test_a_weighted_mean_by_hand():
    assert weighted_mean(FEATURES, torch.tensor([[1.0, 3.0]]))[0].tolist() == [0.25, 0.75]


@pytest.mark.parametrize("attention", ["self", "relation"])
def test_the_order_of_frames_does_not_matter_but_the_frames_do(attention):
    fan, video = network(attention).eval(), faces(2, 5)
    logits = fan(video)
    assert torch.allclose(fan(video[:, [3, 0, 4, 1, 2]]), logits, atol=1e-6)
    assert not torch.allclose(fan(video[:, [0, 0, 1, 2, 3]]), logits, atol=1e-6)


def test_the_full_backbone_is_torchvisions_resnet18_by_name_and_number():
    torch.manual_seed(0)
    theirs = resnet18(weights=None).eval()
    theirs.fc = torch.nn.Identity()
    ours = Backbone(FanConfig()).eval()
    ours.load_state_dict(theirs.state_dict())
    assert list(ours.state_dict()) == list(theirs.state_dict())
    picture = faces(2)
    with torch.no_grad():
        assert torch.equal(ours(picture), theirs(picture))
    assert FanConfig().dim == 512


def test_self_attention_has_no_second_query_and_half_the_feature():
    assert not hasattr(network("self"), "beta")
    assert network("self").classifier.in_features * 2 == network().classifier.in_features
    assert network().alpha.bias is None
    assert network().beta.bias is None


@pytest.mark.parametrize("wrong", [{"widths": (8, 8)}, {"blocks": 0}, {"dropout": 1.0}])
def test_sizes_that_make_no_network_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        replace(SMALL, **wrong)
