"""Settings of edge-to-video that contradict one another are refused before anything begins."""

from dataclasses import replace
from pathlib import Path

import pytest

from affekt.runtime.run import RunConfig
from evp.data.portraits import VideoDataConfig
from evp.losses import VideoLossConfig
from evp.networks.discriminators import DiscriminatorConfig, VideoDiscriminatorConfig
from evp.networks.generator import GeneratorConfig
from evp.rollout import SequenceConfig
from train_edge2video import Config

CONFIG = Config(
    run=RunConfig(out=Path("run")),
    data=VideoDataConfig((Path("corpus"),), frames=5),
    generator=GeneratorConfig(8, 2, 2, 1, 1, previous=2),
    sequence=SequenceConfig(coarse_steps=4, enhancer_steps=4),
    video_discriminator=VideoDiscriminatorConfig(2, 2, patches=DiscriminatorConfig(4, 2, 1)),
    loss=VideoLossConfig(gan_video=1.0, flow=1.0, warp=1.0, hallucinated=1.0),
)

STILL = {"generator": GeneratorConfig(8, 2, 2, 1, 1), "sequence": SequenceConfig()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"data": replace(CONFIG.data, frames=2)},
            r"data\.frames is 2, wanted 5 or more: 2 before the first generated one",
        ),
        ({"data": replace(CONFIG.data, frames=4)}, r"data\.frames is 4, wanted 5 or more"),
        ({**STILL, "loss": VideoLossConfig(flow=1)}, r"set generator\.previous"),
        ({**STILL, "loss": VideoLossConfig(warp=1)}, r"set generator\.previous"),
        ({**STILL, "loss": VideoLossConfig(hallucinated=1)}, r"set generator\.previous"),
        (
            {**STILL, "loss": VideoLossConfig(), "sequence": SequenceConfig(coarse_steps=1)},
            r"sequence are for a generator with history",
        ),
        (
            {**STILL, "loss": VideoLossConfig(), "sequence": SequenceConfig(enhancer_steps=1)},
            r"sequence are for a generator with history",
        ),
        (
            {**STILL, "loss": VideoLossConfig(), "sequence": SequenceConfig(history_dropout=0.5)},
            r"sequence are for a generator with history",
        ),
        (
            {"generator": replace(CONFIG.generator, enhancers=0)},
            r"enhancer_steps are for enhancers, and generator\.enhancers is 0",
        ),
        (
            {"loss": VideoLossConfig(gan=0, feature_matching=1)},
            r"feature_matching compares features of discriminators, and there is none",
        ),
        (
            {
                "sequence": SequenceConfig(enhancer_steps=1),
                "generator": GeneratorConfig(norm="batch", previous=2),
            },
            r"enhancer_steps leave alone; set generator\.norm=instance",
        ),
        (
            {
                "sequence": SequenceConfig(checkpointing=True),
                "generator": GeneratorConfig(norm="batch", previous=2),
            },
            r"twice under sequence\.checkpointing.*set generator\.norm=instance",
        ),
    ],
)
def test_settings_that_contradict_one_another_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **change)


def test_a_generator_of_single_frames_may_be_judged_as_a_video():
    alone = replace(CONFIG, **STILL, loss=VideoLossConfig(gan_video=1.0, feature_matching=1.0))
    assert alone.video_discriminator.shortest == 3
    with pytest.raises(ValueError, match="frames is 2, wanted 3 or more"):
        replace(alone, data=replace(alone.data, frames=2))
