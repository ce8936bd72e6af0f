"""Files made to harm: they name other files, claim huge frames or last for hours."""

import numpy as np
import pytest

from affekt.media.video.container import MediaError
from affekt.media.video.video import read_video
from tests.corpora import clapper
from tests.soak import documents, playlists


@pytest.mark.parametrize(
    "name",
    [
        *("bomb_wide.png", "claims.png", "noisy.tiff", "claims.npy", "claims.npz", "torn.npz"),
        *("claims.h5", "half.mat", "code_inside.pt", "deep.jsonl", "deep_landmarks.json"),
    ],
)
def test_hostile_files_are_refused_in_one_line_that_names_them(tmp_path, name):
    passed, text = documents.refuses(tmp_path, name)
    assert passed, text


@pytest.mark.parametrize("name", ["hls_relative.m3u8", "concat.mp4", "%03d.png", "alias.mov"])
def test_a_file_that_names_other_files_opens_none_of_them(tmp_path, name):
    passed, text = playlists.follows(tmp_path, name)
    assert passed, text


def test_the_watch_of_other_files_sees_them_opened(tmp_path):
    (tmp_path / "a.ts").touch()
    watch = playlists.watch_folder(tmp_path)
    assert not playlists.opened_files(watch)
    (tmp_path / "a.ts").read_bytes()
    assert playlists.opened_files(watch) == {"a.ts"}


def test_frames_of_claimed_gigabytes_are_refused_before_room_is_made(tmp_path):
    """Each key frame of VP8 holds its own size: 15000 x 15000 here, after a header of 192 x 64."""
    path = clapper.write(tmp_path / "a.webm", 1.0, video="libvpx", audio="libopus")
    data = bytearray(path.read_bytes())
    start = data.index(b"\x9d\x01\x2a")
    data[start + 3 : start + 7] = 2 * (15000).to_bytes(2, "little")
    path.write_bytes(data)
    with pytest.raises(MediaError, match="more than 50 million pixels") as error:
        next(read_video(path))
    assert error.value.reason == "damaged"


def test_a_frame_that_lasts_for_hours_is_refused_with_its_place(tmp_path):
    """The last of 25 frames is to be shown for 10 hours: 900,000 pictures of 25 a second."""
    path = clapper.write(tmp_path / "a.mp4", 1.0, sounds=[])
    data = path.read_bytes()
    table = data.index(b"stts") + 8
    assert data[table:][:12] == np.array([1, 25, 640], ">u4").tobytes()  # 16000 ticks a second
    rows = np.array([2, 24, 640, 1, 36000 * 16000], ">u4").tobytes()
    path.write_bytes(playlists.resized_boxes(data, table, 12, rows))
    with pytest.raises(MediaError, match=r"one frame, at 0\.9\d s, lasts 36000 s") as error:
        list(read_video(path))
    assert error.value.reason == "jump"
