"""Stored frames come back by number, whatever the kind; a damaged file says so."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from affekt.media.video.frames import FILES, open_frames, write_frames
from affekt.media.video.packed import HEADER
from tests.corpora.drawn_face import talking

COUNT = 20


@pytest.fixture(scope="module")
def frames():
    return talking(COUNT, 64)


@pytest.fixture(params=sorted(FILES))
def stored(request, tmp_path, frames):
    write_frames(tmp_path, iter(frames), request.param)
    return request.param, tmp_path


def distance(one, other):
    return np.abs(np.asarray(one, float) - np.asarray(other, float)).mean()


def test_frames_come_back_by_number_slice_and_list(stored, frames):
    kind, folder = stored
    store = open_frames(folder)
    assert (len(store), store.size) == (COUNT, (64, 64))
    tolerance = {"raw": 0, "jpeg": 3, "mp4": 4}[kind]
    for index in (0, 7, 19, -1):
        assert store[index].dtype == np.uint8
        assert distance(store[index], frames[index]) <= tolerance
    assert store[3:11].shape == (8, 64, 64, 3)
    assert distance(store[3:11], frames[3:11]) <= tolerance
    assert distance(store[::6], frames[::6]) <= tolerance
    assert distance(store.read([17, 2, 2, 9]), [frames[k] for k in (17, 2, 2, 9)]) <= tolerance
    assert store[5:5].shape == (0, 64, 64, 3)


def test_each_index_gives_its_own_frame(tmp_path):
    levels = np.random.default_rng(0).permutation(40) * 6
    for kind in FILES:
        folder = tmp_path / kind
        write_frames(folder, (np.full((32, 32, 3), level, np.uint8) for level in levels), kind)
        store = open_frames(folder)
        read = [int(np.rint(store[k].mean() / 6)) * 6 for k in range(40)]
        assert read == levels.tolist(), kind


def test_frames_outside_are_refused(stored):
    store = open_frames(stored[1])
    for index in (COUNT, -COUNT - 1):
        with pytest.raises(IndexError, match=f"has {COUNT} frames"):
            store[index]


def test_a_store_travels_and_keeps_no_file_open(stored):
    open_files = len(list(Path("/proc/self/fd").iterdir()))
    store = open_frames(stored[1])
    first = store[4]
    assert len(list(Path("/proc/self/fd").iterdir())) == open_files
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(store))[4], first)


class Frames(Dataset):
    def __init__(self, store):
        self.store = store

    def __len__(self):
        return len(self.store)

    def __getitem__(self, index):
        return torch.from_numpy(self.store[index])


def test_forked_loader_workers_read_what_the_parent_reads(stored):
    data = Frames(open_frames(stored[1]))
    here = torch.stack([data[k] for k in range(COUNT)])
    context = "fork"
    there = torch.cat(list(DataLoader(data, 5, num_workers=2, multiprocessing_context=context)))
    assert torch.equal(here, there)


def test_raw_frames_are_a_plain_numpy_file(tmp_path, frames):
    write_frames(tmp_path, frames, "raw")
    mapped = np.load(tmp_path / "frames.npy", mmap_mode="r")
    np.testing.assert_array_equal(mapped, np.stack(frames))


def test_jpeg_frames_are_small_and_close(tmp_path):
    frames = talking(8, 256)
    write_frames(tmp_path, frames, "jpeg")
    assert (tmp_path / "frames.jpegs").stat().st_size / 8 < 20_000
    error = np.square(open_frames(tmp_path)[:].astype(float) - np.stack(frames)).mean()
    assert 10 * np.log10(255**2 / error) > 38  # a drawing with sharp edges; 44 on photographs


def interrupted(frame):
    yield frame
    raise KeyboardInterrupt


def test_nothing_remains_of_a_writing_that_failed(tmp_path, frames):
    for kind in FILES:
        with pytest.raises(KeyboardInterrupt):
            write_frames(tmp_path, interrupted(frames[0]), kind)
        with pytest.raises(ValueError, match="no frame"):
            write_frames(tmp_path, [], kind)
        with pytest.raises(ValueError, match=r"uint8 \(32, 32, 3\), wanted uint8 \(64, 64, 3\)"):
            write_frames(tmp_path, [frames[0], frames[1][:32, :32]], kind)
        with pytest.raises(ValueError, match="float64"):
            write_frames(tmp_path, [frames[0] / 255], kind)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="known kinds: jpeg, raw, mp4"):
        write_frames(tmp_path, frames, "png")


@pytest.mark.parametrize("kind", ["jpeg", "raw"])
def test_a_truncated_or_damaged_file_is_refused_when_opened(tmp_path, frames, kind):
    write_frames(tmp_path, frames, kind)
    path = tmp_path / FILES[kind]
    whole = path.read_bytes()
    for part in (0, 5, HEADER.size + 40, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:part])
        with pytest.raises(ValueError, match=r"is damaged.*data_prep\.prepare"):
            open_frames(tmp_path)
    path.write_bytes(b"x" * len(whole))
    with pytest.raises(ValueError, match="is damaged"):
        open_frames(tmp_path)


def test_a_wrong_index_another_version_and_a_bad_picture_are_named(tmp_path, frames):
    write_frames(tmp_path, frames, "jpeg")
    path = tmp_path / "frames.jpegs"
    whole = bytearray(path.read_bytes())
    place = int.from_bytes(whole[24:32], "little")

    newer = whole.copy()
    newer[8] = 9
    path.write_bytes(newer)
    with pytest.raises(ValueError, match="version is 9, wanted 1"):
        open_frames(tmp_path)

    swapped = whole.copy()
    swapped[place + 8 : place + 24] = whole[place + 16 : place + 24] + whole[place + 8 : place + 16]
    path.write_bytes(swapped)
    with pytest.raises(ValueError, match="its index is wrong"):
        open_frames(tmp_path)

    spoilt = whole.copy()
    spoilt[HEADER.size : HEADER.size + 50] = bytes(50)
    path.write_bytes(spoilt)
    store = open_frames(tmp_path)
    assert store[1].shape == (64, 64, 3)
    with pytest.raises(ValueError, match="frame 0 is no JPEG"):
        store[0]


def test_a_folder_without_frames_names_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"python -m data_prep\.prepare"):
        open_frames(tmp_path)
