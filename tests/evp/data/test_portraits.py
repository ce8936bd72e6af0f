"""Items of a person's clips: frames, their own maps and flow, and training frames looked up."""

import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from affekt.media.video.flow_store import FILE
from affekt.runtime.config import ConfigError
from affekt.runtime.files import DamagedFileError
from evp.data.portraits import (
    GuidanceConfig,
    OpenClip,
    PortraitClips,
    VideoDataConfig,
    nearest_frames,
    speaker_clips,
    training_clips,
)
from evp.rollout import Sequences
from tests.corpora.portrait_corpus import SIZE, picture, write_flow, write_portraits

PLAIN = GuidanceConfig("plain", SIZE // 2)


@pytest.fixture
def data(tmp_path):
    write_portraits(tmp_path / "corpus")
    return VideoDataConfig((tmp_path / "corpus",))


@pytest.mark.parametrize("size", [SIZE // 2, SIZE])
def test_an_item_has_the_flow_of_its_frames_at_their_size(data, size):
    write_flow(data.corpora[0])
    clips = training_clips(data)
    item = PortraitClips(clips, replace(PLAIN, size=size), 4, flow=True)[9 + 5]
    flow, trusted = clips[1].flow().read(range(5, 9), size)
    assert set(item) == {"frames", "guidance", "flow", "confidence"}
    assert item["flow"].shape == (4, 2, size, size)
    np.testing.assert_array_equal(item["flow"].permute(0, 2, 3, 1), flow)
    assert item["confidence"].dtype == torch.bool
    np.testing.assert_array_equal(item["confidence"][:, 0], trusted)
    assert 0 < item["confidence"].float().mean() < 1
    assert set(PortraitClips(clips, PLAIN)[0]) == {"frames", "guidance"}


def test_a_shift_moves_flow_with_its_frames_and_believes_none_that_is_repeated(data):
    write_flow(data.corpora[0])
    clips = training_clips(data)
    still, shaken = (PortraitClips(clips, PLAIN, 3, shift, flow=True) for shift in (0, 5))
    rows, columns = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    seen = set()
    for draw in range(20):
        base, item = still[draw], shaken[draw]
        moves = {}
        for x in range(-5, 6):
            for y in range(-5, 6):
                taken = (rows - y).clamp(0, 31), (columns - x).clamp(0, 31)
                if torch.equal(item["frames"], base["frames"][..., *taken]):
                    moves[x, y] = taken, (rows - y == taken[0]) & (columns - x == taken[1])
        assert len(moves) == 1
        ((move, (taken, true)),) = moves.items()
        assert torch.equal(item["flow"], base["flow"][..., *taken])
        assert torch.equal(item["confidence"], base["confidence"][..., *taken] * true)
        seen.add(move)
    assert len(seen) > 10


def test_missing_flow_is_refused_with_the_command_that_makes_it(data):
    command = f"{FILE} is missing; run python -m data_prep.flow {data.corpora[0]}"
    with pytest.raises(FileNotFoundError, match=re.escape(command)):
        PortraitClips(training_clips(data), PLAIN, flow=True)


def test_flow_of_another_number_of_frames_is_refused_when_a_clip_is_opened(data, tmp_path):
    write_flow(data.corpora[0])
    write_portraits(tmp_path / "longer", frames=13)
    write_flow(tmp_path / "longer")
    clips = training_clips(data)
    other = training_clips(VideoDataConfig((tmp_path / "longer",)))
    shutil.copy(other[1].folder / FILE, clips[1].folder / FILE)
    with pytest.raises(DamagedFileError) as refused:
        PortraitClips(clips, PLAIN, flow=True)
    wrong = f"{clips[1].folder / FILE} is damaged: it has the flow of 13 frames, wanted 12; "
    way_out = f"run python -m data_prep.flow {data.corpora[0]}, which makes it anew"
    assert str(refused.value) == wrong + way_out


def test_flow_that_is_cut_short_is_a_damaged_file(data):
    write_flow(data.corpora[0])
    clips = training_clips(data)
    path = clips[0].folder / FILE
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DamagedFileError, match=r"is damaged: it has \d+ bytes, wanted"):
        PortraitClips(clips, PLAIN, flow=True)


def test_a_configuration_that_does_not_fit_the_corpus_is_refused_as_such(data, tmp_path):
    with pytest.raises(ConfigError, match="there is no speaker 'M999', only M901"):
        training_clips(replace(data, speaker="M999"))
    with pytest.raises(ConfigError, match="has no 'val' clip of M901"):
        speaker_clips(data, "val")
    with pytest.raises(ConfigError, match="none of the 3 clips has 13 frames"):
        PortraitClips(training_clips(data), PLAIN, 13)
    write_portraits(tmp_path / "faces", profile="face")
    with pytest.raises(ConfigError, match="stores frame profile 'face', wanted 'portrait'"):
        training_clips(VideoDataConfig((tmp_path / "faces",)))


def test_an_item_is_a_run_of_frames_with_their_own_maps(data):
    clips = training_clips(data)
    items = PortraitClips(clips, replace(PLAIN, size=SIZE), frames=3)
    assert len(items) == 3 * (12 - 2)
    second = items[10]  # the first run of the second clip
    assert second["frames"].shape == (3, 3, SIZE, SIZE)
    assert second["guidance"].shape == (3, 1, SIZE, SIZE)
    faces = clips[1].stored_landmarks()
    for k in range(3):
        wanted = torch.from_numpy(picture(faces[k])).permute(2, 0, 1)
        assert torch.equal(second["frames"][k], wanted)
    assert torch.equal(items[9 + len(items)]["frames"], items[9]["frames"])
    assert set(second["guidance"].unique().tolist()) == {0, 255}


def test_pictures_travel_as_bytes_and_are_floats_where_they_are_used(data):
    """A byte a value, a quarter of the floats, which are those of numpy's float32."""
    write_flow(data.corpora[0])
    items = PortraitClips(training_clips(data), GuidanceConfig("distance", 32), 3, flow=True)
    batch = default_collate([items[0], items[5]])
    assert [batch[name].element_size() for name in ("frames", "guidance", "confidence")] == [1] * 3
    made = Sequences.of(batch)
    one, last = np.float32(1), np.float32(255)
    frames, maps = (batch[name].numpy().astype(np.float32) for name in ("frames", "guidance"))
    np.testing.assert_array_equal(made.frames, frames / np.float32(127.5) - one)
    np.testing.assert_array_equal(made.guidance, maps / last)
    np.testing.assert_array_equal(made.confidence, batch["confidence"].numpy().astype(np.float32))
    assert {each.dtype for each in (made.frames, made.guidance, made.flow, made.confidence)} == {
        torch.float32
    }
    alone = Sequences.of({name: batch[name] for name in ("frames", "guidance")})
    assert alone.flow is alone.confidence is None


def test_a_shift_moves_frame_and_map_together_and_depends_on_the_draw_alone(data):
    clips = training_clips(data)
    still, shaken = (PortraitClips(clips, PLAIN, shift=shift) for shift in (0, 5))
    seen = set()
    for draw in range(40):
        frame, moved = still[draw]["frames"][0], shaken[draw]
        assert torch.equal(moved["frames"], PortraitClips(clips, PLAIN, shift=5)[draw]["frames"])
        places = [(y, x) for x in range(-5, 6) for y in range(-5, 6)]
        inner = slice(6, -6)
        shown = moved["frames"][0][:, inner, inner]
        rolled = (frame.roll(place, dims=(1, 2))[:, inner, inner] for place in places)
        fits = [at for at, each in zip(places, rolled, strict=True) if torch.equal(shown, each)]
        assert len(fits) == 1
        seen.add(fits[0])
        drawn = still[draw]["guidance"][0, 0].roll(fits[0], dims=(0, 1))
        assert (moved["guidance"][0, 0] != drawn)[inner, inner].float().mean() < 0.02
    assert len(seen) > 20


def test_the_size_is_the_generators(data):
    clip = training_clips(data)[0]
    frames, maps = OpenClip(clip, GuidanceConfig("distance", 32)).read([4, 7])
    assert (frames.shape, maps.shape) == ((2, 32, 32, 3), (2, 15, 32, 32))
    large, _ = OpenClip(clip, GuidanceConfig("plain", SIZE)).read([4])
    assert np.abs(frames[0] - large[0].reshape(32, 2, 32, 2, 3).mean(axis=(1, 3))).max() <= 1


def test_the_nearest_frame_of_a_training_clip_is_itself(data):
    clips = training_clips(data)
    found = nearest_frames(clips, clips[1])
    assert [clip.id for clip, _ in found] == [clips[1].id] * 12
    assert [frame for _, frame in found] == list(range(12))


def test_a_small_corpus_can_be_seen_more_often(data, tmp_path):
    write_portraits(tmp_path / "lively", splits=("train",))
    both = (tmp_path / "corpus", tmp_path / "lively")
    clips = training_clips(VideoDataConfig(both, repeats=(1, 4)))
    assert [clip.folder.parents[2].name for clip in clips] == ["corpus"] * 3 + ["lively"] * 4
    assert len(training_clips(VideoDataConfig(both))) == 4
    with pytest.raises(ValueError, match="1 repeats for 2 corpora"):
        VideoDataConfig(both, repeats=(2,))
