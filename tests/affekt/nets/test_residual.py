"""ResNet's blocks are torchvision's: by name, by first weights, by number."""

import pytest
import torch
from torch import nn
from torchvision.models import resnet

from affekt.nets.residual import BasicBlock, residual_stage


@pytest.mark.parametrize(("outputs", "stride"), [(4, 1), (6, 1), (6, 2)])
def test_a_block_is_torchvisions_from_the_same_seed(outputs, stride):
    torch.manual_seed(0)
    ours = BasicBlock(4, outputs, stride)
    torch.manual_seed(0)
    shortcut = nn.Sequential(nn.Conv2d(4, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    if (outputs, stride) == (4, 1):
        torch.manual_seed(0)
        shortcut = None
    theirs = resnet.BasicBlock(4, outputs, stride, shortcut)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    x = torch.randn(2, 4, 9, 8)
    assert torch.equal(ours(x), theirs(x))


def test_a_stage_changes_size_and_channels_in_its_first_block():
    stage = residual_stage(4, 6, 2, 3)
    assert stage(torch.randn(2, 4, 8, 8)).shape == (2, 6, 4, 4)
    assert [block.downsample is None for block in stage] == [False, True, True]
