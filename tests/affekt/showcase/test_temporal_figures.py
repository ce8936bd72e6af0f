"""What the full demo says of the video discriminator, on made-up portraits and untrained runs."""

import numpy as np
import pytest

from affekt.media.audio.reader import write_wav
from affekt.media.corpus import Corpus
from affekt.media.validation import ValConfig
from affekt.media.video.video import read_frames
from affekt.metrics.image import ssim
from affekt.runtime.run import RunConfig
from affekt.showcase.temporal_figures import (
    ARMS,
    compared,
    main,
    measure,
    scored,
    seeds,
    sharpness,
    softened,
)
from evp.data.portraits import GuidanceConfig, VideoDataConfig
from evp.losses import VideoLossConfig
from evp.networks.discriminators import DiscriminatorConfig
from evp.networks.generator import GeneratorConfig
from tests.corpora.portrait_corpus import SIZE, write_flow, write_portraits
from train_edge2video import Config, train


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("portraits")
    write_portraits(root)
    write_flow(root)
    for folder in (root / "clips" / "M901").iterdir():
        write_wav(folder / "audio.wav", np.zeros(12 * 640, np.float32))
    return root


def run(corpus, out, seed):
    train(
        Config(
            run=RunConfig(out, seed, "cpu", 1, 1, workers=0, progress=False),
            data=VideoDataConfig((corpus,), frames=3),
            guidance=GuidanceConfig("plain", SIZE // 2),
            generator=GeneratorConfig(2, 1, 1, 0, 0, 3, previous=1),
            discriminator=DiscriminatorConfig(2, 1, 1),
            loss=VideoLossConfig(gan=0.0, vgg=0.0),
            val=ValConfig("none"),
        )
    )


def test_every_pair_of_runs_is_measured_beside_a_frozen_frame_and_the_truth(corpus, tmp_path):
    for name in [f"{arm}_{seed}" for arm in ARMS for seed in (0, 2)] + ["with_7"]:
        run(corpus, tmp_path / name, int(name[-1]))
    assert seeds(tmp_path) == [0, 2]  # there is no without_7
    figures = measure(tmp_path, [corpus])
    assert figures["clips"] == 1
    assert figures["truth"]["ssim"] == 1
    assert figures["frozen"]["warp_error"] > figures["truth"]["warp_error"]
    for seed in (0, 2):
        soft, sharp = (figures[f"{arm}_{seed}"]["sharpness"] for arm in ("softened", "with"))
        assert soft <= sharp * 1.02
    assert figures.items() >= compared(figures, [0, 2]).items()
    assert len(read_frames(tmp_path / "video.mp4")) == 11
    assert (tmp_path / "slices.png").is_file()


def test_scores_are_those_of_the_frames(corpus):
    clip = Corpus(corpus).clips("test_sentence", "M901")[0]
    truth = clip.store()[1:12]
    late = np.concatenate([truth[:1], truth[:-1]])
    scores = scored(clip, truth, {"late": late})
    pairs = zip(late, truth, strict=True)
    assert scores["late"]["ssim"] == pytest.approx(np.mean([ssim(*pair) for pair in pairs]))
    assert scores["truth"]["warp_error"] < scores["late"]["warp_error"]
    assert scores["truth"]["sharpness"] == 1
    assert scored(clip, truth, {"soft": truth // 2})["soft"]["sharpness"] == pytest.approx(
        0.5, 0.05
    )


def test_a_folder_without_pairs_is_refused(tmp_path):
    with pytest.raises(ValueError, match="has no runs with_0, without_0, frames_0"):
        seeds(tmp_path)
    with pytest.raises(SystemExit, match="has no runs"):
        main([str(tmp_path), "--corpora", str(tmp_path)])


def test_the_worst_seed_counts():
    names = ("with", "without", "softened", "frames")
    means = {
        f"{name}_{seed}": {"warp_error": value, "ssim": 0.9 - value / 100}
        for seed, errors in enumerate([(4, 5, 4.5, 6), (4.6, 5, 4, 5)])
        for name, value in zip(names, errors, strict=True)
    }
    found = compared(means, [0, 1])
    assert (found["warp_ratio"], found["ssim_change"]) == pytest.approx((0.92, 0.01))
    assert found["warp_ratio_softened"] == pytest.approx(1.15)
    assert (found["warp_ratio_frames"], found["warp_error_with"]) == pytest.approx((1.2, 4.6))


def test_a_softened_video_is_as_sharp_as_is_wanted():
    video = np.random.default_rng(0).integers(0, 256, (3, 24, 24, 3), np.uint8)
    wanted = 0.6 * sharpness(video)
    assert sharpness(softened(video, wanted)) == pytest.approx(wanted, rel=0.02)
    assert softened(video, 2 * sharpness(video)) is video
