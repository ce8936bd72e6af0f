"""EAMM's emotion extractor E_e: a frame to its emotion feature (supplement A.1; sizes of the
release).

FOMM's downsampling and hourglass read the picture, a ResNet-18 without its 7x7 stem reduces the
hourglass's map to one feature. The shapes of the release: 256 px -> 35 x 64 x 64 -> 64 x 32 x 32 ->
512 x 4 x 4 -> 512.
"""

from dataclasses import dataclass, field

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from eamm.fomm.blocks import AntiAlias, Hourglass, HourglassConfig


@dataclass(frozen=True)
class ExtractorConfig:
    """Sizes; the defaults are the release's."""

    downscale: int = 4  # the picture is made this much smaller first
    hourglass: HourglassConfig = field(default_factory=lambda: HourglassConfig(32))
    widths: tuple[int, ...] = (64, 128, 256, 512)  # channels of the residual stages
    blocks: int = 2  # residual blocks a stage
    sigma: float = 1.5  # pixels, of the blur before `downscale`: fixed in the EAMM release

    def __post_init__(self) -> None:
        if not self.widths or self.blocks < 1:
            raise ValueError(
                f"widths are {self.widths} and blocks {self.blocks}, wanted one at least"
            )

    @property
    def dim(self) -> int:
        """Length of the emotion feature: 512 in the paper."""
        return self.widths[-1]


class EmotionExtractor(nn.Module):
    """Frames (B, 3, S, S) in [0, 1] to emotion features (B, dim), which are not negative."""

    def __init__(self, config: ExtractorConfig) -> None:
        super().__init__()
        self.down = AntiAlias(3, config.downscale, config.sigma)
        self.hourglass = Hourglass(3, config.hourglass)
        first = config.widths[0]
        self.stem = nn.Sequential(
            nn.Conv2d(self.hourglass.out_channels, first, 3, padding=1, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        ins = (first, *config.widths[:-1])
        self.stages = nn.Sequential(
            *(
                _stage(*sizes, stride=1 + (number > 0), blocks=config.blocks)
                for number, sizes in enumerate(zip(ins, config.widths, strict=True))
            )
        )
        for part in (*self.stem.modules(), *self.stages.modules()):
            if isinstance(part, nn.Conv2d):  # as torchvision's ResNet begins
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, frames_BCHW: Tensor) -> Tensor:
        """Return the emotion feature of each frame."""
        features: Tensor = self.stages(self.stem(self.hourglass(self.down(frames_BCHW))))
        return features.mean(dim=(2, 3))


def _stage(inputs: int, outputs: int, stride: int, blocks: int) -> nn.Sequential:
    skip = None
    if stride != 1 or inputs != outputs:
        skip = nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
        )
    first = BasicBlock(inputs, outputs, stride, skip)
    return nn.Sequential(first, *(BasicBlock(outputs, outputs) for _ in range(blocks - 1)))
