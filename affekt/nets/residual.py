"""Residual stages of ResNet-18 (He et al. 2016, arXiv:1512.03385, Sec. 4.1).

Names, layout and the order of random numbers are torchvision's, whose weights fit; its package
takes as long to import as torch itself.
"""

from torch import Tensor, nn


class BasicBlock(nn.Module):
    """relu(x + F(x)) with F two 3 x 3 convolutions, each with batch norm."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        """Make a block; where size or channels change, the shortcut is a 1 x 1 convolution."""
        super().__init__()
        downsample = None
        if stride != 1 or inputs != outputs:
            downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = downsample

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return (B, outputs, H / stride, W / stride), not negative."""
        identity = x_BCHW if self.downsample is None else self.downsample(x_BCHW)
        out = self.relu(self.bn1(self.conv1(x_BCHW)))
        out = self.bn2(self.conv2(out))
        out += identity
        return self.relu(out)


def residual_stage(inputs: int, outputs: int, stride: int, blocks: int) -> nn.Sequential:
    """Return a stage of `blocks` blocks, of which the first changes size and channels."""
    first = BasicBlock(inputs, outputs, stride)
    return nn.Sequential(first, *(BasicBlock(outputs, outputs) for _ in range(blocks - 1)))
