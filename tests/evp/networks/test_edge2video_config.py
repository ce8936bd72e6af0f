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

OFF = {"gan": 0, "gan_video": 0, "flow": 0, "warp": 0, "hallucinated": 0}
NO_PHASES = {"coarse_steps": 0, "enhancer_steps": 0}
BATCH = {"generator": {"norm": "batch"}}
STILL = {"generator": GeneratorConfig(8, 2, 2, 1, 1), "sequence": SequenceConfig()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": {"frames": 2}}, r"data\.frames is 2, wanted 5 or more: 2 before the first gener"),
        ({"data": {"frames": 4}}, r"data\.frames is 4, wanted 5 or more"),
        ({"generator": {"enhancers": 0}}, r"are for enhancers, and generator\.enhancers is 0"),
        ({"loss": {**OFF, "feature_matching": 1}}, "features of discriminators, and there is none"),
        (BATCH, r"enhancer_steps leave alone; set generator\.norm=instance"),
        (
            {**BATCH, "sequence": {**NO_PHASES, "checkpointing": True}},
            r"twice under sequence\.checkpointing.*set generator\.norm=instance",
        ),
    ],
)
def test_settings_that_contradict_one_another_are_refused(change, message):
    changes = {name: replace(getattr(CONFIG, name), **each) for name, each in change.items()}
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **changes)


@pytest.mark.parametrize("term", ["flow", "warp", "hallucinated"])
def test_terms_of_motion_want_a_generator_with_history(term):
    with pytest.raises(ValueError, match=r"set generator\.previous"):
        replace(CONFIG, **STILL, loss=VideoLossConfig(**{term: 1}))


@pytest.mark.parametrize(
    "setting", [{"coarse_steps": 1}, {"enhancer_steps": 1}, {"history_dropout": 0.5}]
)
def test_settings_of_sequences_want_a_generator_with_history(setting):
    changes = STILL | {"loss": VideoLossConfig(), "sequence": SequenceConfig(**setting)}
    with pytest.raises(ValueError, match="sequence are for a generator with history"):
        replace(CONFIG, **changes)


def test_a_generator_of_single_frames_may_be_judged_as_a_video():
    alone = replace(CONFIG, **STILL, loss=VideoLossConfig(gan_video=1.0, feature_matching=1.0))
    assert alone.video_discriminator.shortest == 3
    with pytest.raises(ValueError, match="frames is 2, wanted 3 or more"):
        replace(alone, data=replace(alone.data, frames=2))
