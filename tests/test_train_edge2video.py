"""Stage edge-to-video end to end on made-up portraits: learns, resumes exactly, refuses."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from portrait_corpus import SIZE, picture, rows_of, write_portraits

from evp.discriminator import DiscriminatorConfig
from evp.drawing import load_generator, render
from evp.generator import GeneratorConfig, GuidanceConfig
from evp.held_out_frames import HeldOutFrames, measured_frames
from evp.video_data import (
    OpenClip,
    PortraitClips,
    VideoDataConfig,
    nearest_frames,
    training_clips,
)
from media.corpus import Corpus
from media.vgg import VggConfig
from runtime.optim import OptimConfig
from runtime.run import RunConfig
from train_edge2video import Config, LossConfig, compared, train

PLAIN = GuidanceConfig("plain", SIZE // 2)


@pytest.fixture
def config(tmp_path):
    write_portraits(tmp_path / "corpus")
    return Config(
        run=RunConfig(
            out=tmp_path / "run",
            device="cpu",
            steps=10,
            batch_size=2,
            workers=0,
            log_every=1,
            save_every=5,
            progress=False,
        ),
        data=VideoDataConfig((tmp_path / "corpus",)),
        guidance=PLAIN,
        generator=GeneratorConfig(8, 2, 2, 1, 1),
        discriminator=DiscriminatorConfig(4, 2, 2),
        vgg=VggConfig("random", ("relu1_1",)),
        loss=LossConfig(gan=0.1, gan_from=4, vgg=0.5),
        average=0.9,
        held_out=HeldOutFrames("none"),
    )


def test_it_learns_faces_that_it_has_not_seen(config):
    quick = replace(
        config,
        run=replace(config.run, steps=250),
        loss=LossConfig(gan=0.01, gan_from=200, vgg=0.0),
        optim=OptimConfig(lr=4e-3, schedule="one_cycle"),
        held_out=HeldOutFrames(every=250, frames=12),
    )
    train(quick)
    last = rows_of(config.run.out)[-1]
    seen = PortraitClips(training_clips(config.data), PLAIN)
    measured = measured_frames(config.data, quick.held_out, PLAIN)
    mean = torch.stack([seen[draw]["frames"][0] for draw in range(len(seen))]).mean(dim=0)
    grey = (127.5 * (mean + 1)).round().byte().permute(1, 2, 0).numpy()
    mean_face = compared(np.repeat(grey[None], 12, axis=0), measured.frames)
    assert last["held_out_psnr"] > mean_face["psnr"] + 3
    assert last["held_out_ssim"] > mean_face["ssim"]
    assert list((config.run.out / "pictures").glob("held_out_*.png"))

    generator, description = load_generator(config.run.out)
    assert description.speaker == "M901"
    again = compared(render(generator, measured.guidance), measured.frames)
    assert again["psnr"] == pytest.approx(last["held_out_psnr"], abs=1e-6)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stopped_run_continues_exactly(config, workers):
    whole = replace(config, run=replace(config.run, workers=workers))
    train(whole)
    out = config.run.out.with_name("stopped")
    stopped = replace(whole, run=replace(whole.run, out=out, steps=5))
    train(stopped)
    train(replace(stopped, run=replace(stopped.run, steps=10)))
    assert rows_of(out) == rows_of(config.run.out)
    last = [torch.load(sorted((o / "checkpoints").iterdir())[-1]) for o in (out, config.run.out)]
    for name in ("generator", "discriminator", "average"):
        one, two = (state["parts"][name] for state in last)
        assert all(torch.equal(one[key], two[key]) for key in two)


def test_terms_appear_when_they_are_switched_on(config):
    train(config)
    rows = rows_of(config.run.out)
    assert ["gan" in row for row in rows] == [False] * 3 + [True] * 7
    assert ["discriminator" in row for row in rows] == [False] * 3 + [True] * 7
    for row in rows:
        expected = 2 * row["reconstruction"] + 0.5 * row["vgg"] + 0.1 * row.get("gan", 0)
        assert row["total"] == pytest.approx(expected, rel=1e-5)


def test_the_generator_step_leaves_the_discriminator_alone(config):
    """Until its game begins it keeps the weights it was born with."""
    born, later = (
        replace(config.run, steps=steps, out=config.run.out.with_name(f"after{steps}"))
        for steps in (1, 3)
    )
    for run in (born, later):
        train(replace(config, run=run))
    states = [torch.load(next((run.out / "checkpoints").iterdir())) for run in (born, later)]
    one, two = (state["parts"]["discriminator"] for state in states)
    assert one
    assert all(torch.equal(one[key], two[key]) for key in two)


def test_bfloat16_trains_nearly_as_float32(config):
    short = replace(config.run, steps=5)
    train(replace(config, run=short))
    other = replace(short, out=config.run.out.with_name("bfloat16"))
    train(replace(config, run=other, precision="bfloat16"))
    exact, rough = (rows_of(run.out) for run in (short, other))
    assert exact[0]["reconstruction"] != rough[0]["reconstruction"]
    for one, two in zip(exact, rough, strict=True):
        assert two["reconstruction"] == pytest.approx(one["reconstruction"], rel=0.05)


def test_a_loss_that_is_not_finite_stops_the_run(config):
    with pytest.raises(FloatingPointError, match="step 1"):
        train(replace(config, loss=replace(config.loss, reconstruction=float("inf"))))


def test_an_item_is_a_run_of_frames_with_their_own_maps(config):
    clips = training_clips(config.data)
    items = PortraitClips(clips, replace(PLAIN, size=SIZE), frames=3)
    assert len(items) == 3 * (12 - 2)
    second = items[10]  # the first run of the second clip
    assert second["frames"].shape == (3, 3, SIZE, SIZE)
    assert second["guidance"].shape == (3, 1, SIZE, SIZE)
    faces = clips[1].stored_landmarks()
    for k in range(3):
        wanted = torch.from_numpy(picture(faces[k])).permute(2, 0, 1) / 127.5 - 1
        torch.testing.assert_close(second["frames"][k], wanted)
    assert torch.equal(items[9 + len(items)]["frames"], items[9]["frames"])
    assert set(second["guidance"].unique().tolist()) == {0.0, 1.0}


def test_a_shift_moves_frame_and_map_together_and_depends_on_the_draw_alone(config):
    clips = training_clips(config.data)
    still, shaken = (PortraitClips(clips, PLAIN, shift=shift) for shift in (0, 5))
    seen = set()
    for draw in range(40):
        frame, moved = still[draw]["frames"][0], shaken[draw]
        again = PortraitClips(clips, PLAIN, shift=5)[draw]
        assert torch.equal(moved["frames"], again["frames"])
        places = [(x, y) for x in range(-5, 6) for y in range(-5, 6)]
        inner = slice(6, -6)
        fits = [
            (x, y)
            for x, y in places
            if torch.equal(
                moved["frames"][0][:, inner, inner],
                frame.roll((y, x), dims=(1, 2))[:, inner, inner],
            )
        ]
        assert len(fits) == 1
        seen.add(fits[0])
        drawn = still[draw]["guidance"][0, 0].roll(fits[0][::-1], dims=(0, 1))
        assert (moved["guidance"][0, 0] != drawn)[inner, inner].float().mean() < 0.02
    assert len(seen) > 20


def test_the_size_is_the_generators(config):
    clip = training_clips(config.data)[0]
    frames, maps = OpenClip(clip, GuidanceConfig("distance", 32)).read([4, 7])
    assert (frames.shape, maps.shape) == ((2, 32, 32, 3), (2, 15, 32, 32))
    large, _ = OpenClip(clip, GuidanceConfig("plain", SIZE)).read([4])
    means = large[0].reshape(32, 2, 32, 2, 3).mean(axis=(1, 3))
    assert np.abs(frames[0] - means).max() <= 1


def test_the_nearest_frame_of_a_training_clip_is_itself(config):
    clips = training_clips(config.data)
    found = nearest_frames(clips, clips[1])
    assert [clip.id for clip, _ in found] == [clips[1].id] * 12
    assert [frame for _, frame in found] == list(range(12))


def test_measured_frames_are_spread_evenly_over_the_held_out_clips(tmp_path):
    write_portraits(tmp_path, ("train", *["test_sentence"] * 5), frames=7)
    data = VideoDataConfig((tmp_path,))
    assert len(measured_frames(data, HeldOutFrames(frames=100), PLAIN).frames) == 35
    few = measured_frames(data, HeldOutFrames(frames=4), PLAIN)  # every ninth of 35
    assert len(few.frames) == len(few.guidance) == len(few.nearest) == 4
    clips = Corpus(tmp_path).clips(split="test_sentence")
    wanted = [
        OpenClip(clips[c], PLAIN).read([k])[0][0] for c, k in ((0, 4), (1, 6), (3, 1), (4, 3))
    ]
    np.testing.assert_array_equal(few.frames, wanted)
    assert measured_frames(data, HeldOutFrames("none"), PLAIN) is None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"speaker": "M902"}, "no speaker 'M902', only M901"),
        ({"frames": 13}, "none of the 3 clips has 13 frames"),
    ],
)
def test_a_wrong_choice_of_clips_is_refused_by_name(config, data, message):
    with pytest.raises(ValueError, match=message):
        train(replace(config, data=replace(config.data, **data)))


def test_a_small_corpus_can_be_seen_more_often(config, tmp_path):
    write_portraits(tmp_path / "lively", splits=("train",))
    both = (tmp_path / "corpus", tmp_path / "lively")
    clips = training_clips(VideoDataConfig(both, repeats=(1, 4)))
    assert [clip.folder.parents[2].name for clip in clips] == ["corpus"] * 3 + ["lively"] * 4
    assert len(training_clips(VideoDataConfig(both))) == 4
    with pytest.raises(ValueError, match="1 repeats for 2 corpora"):
        VideoDataConfig(both, repeats=(2,))


def test_a_corpus_of_another_frame_profile_is_refused(config, tmp_path):
    write_portraits(tmp_path / "eamm", profile="eamm")
    with pytest.raises(ValueError, match=r"profile 'eamm', wanted 'portrait'"):
        train(replace(config, data=VideoDataConfig((tmp_path / "eamm",))))


def test_a_corpus_without_clips_to_learn_from_is_refused(config, tmp_path):
    write_portraits(tmp_path / "held_out", splits=("test_sentence",))
    with pytest.raises(ValueError, match="no 'train' clip"):
        train(replace(config, data=VideoDataConfig((tmp_path / "held_out",))))


def test_a_size_that_the_generator_cannot_halve_is_refused(config):
    with pytest.raises(ValueError, match="36x36 pixels, wanted multiples of 8"):
        train(replace(config, guidance=GuidanceConfig("plain", 36)))
