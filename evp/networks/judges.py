"""The discriminators of EVP's renderer, D_I and D_V (supplement eq. 3), as one network.

Dimension letters: B sequences, T frames, H, W pixels.
"""

from torch import Tensor, nn

from evp.networks.discriminator import Answers, Discriminator, DiscriminatorConfig
from evp.networks.video_discriminator import VideoDiscriminator, VideoDiscriminatorConfig
from evp.rollout import Sequences


class Judges(nn.Module):
    """Those that take part; their answers are named as the weights of their terms."""

    def __init__(
        self,
        guidance_channels: int,
        image: DiscriminatorConfig | None,
        video: VideoDiscriminatorConfig | None,
    ) -> None:
        super().__init__()
        self.image = None if image is None else Discriminator(guidance_channels, image)
        self.video = None if video is None else VideoDiscriminator(video)

    def forward(self, frames_BTCHW: Tensor, truth: Sequences) -> dict[str, Answers]:
        """Return the answers to frames that stand for the true ones, by `gan` and `gan_video`.

        Args:
            frames_BTCHW: (B, T, 3, H, W) in [-1, 1].
            truth: whose guidance maps and flow condition the judgement; the flow is needed by D_V.
        """
        answers = {}
        if self.image is not None:
            answers["gan"] = self.image(frames_BTCHW.flatten(0, 1), truth.guidance.flatten(0, 1))
        if self.video is not None:
            assert truth.flow is not None
            answers["gan_video"] = self.video(frames_BTCHW, truth.flow, truth.confidence)
        return answers
