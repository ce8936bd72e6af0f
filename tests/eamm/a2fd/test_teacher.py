"""The teacher's cached targets are those of the detector, whole, or named as damaged."""

import errno

import numpy as np
import pytest
import torch

from affekt.media.corpus import Corpus
from affekt.runtime.files import DamagedFileError
from eamm.a2fd.teacher import SEAL, cache_targets, teacher_keypoints
from eamm.fomm.model import load_fomm
from tests.corpora.driven_corpus import make_driven_corpus, make_fomm


@pytest.fixture
def given(tmp_path):
    """Three clips and a FOMM."""
    torch.manual_seed(0)
    make_driven_corpus(tmp_path / "corpus", clips=4)
    make_fomm(tmp_path / "fomm")
    return Corpus(tmp_path / "corpus").clips("train")[:3], load_fomm(tmp_path / "fomm")


def test_cached_keypoints_are_used_again_for_the_same_detector_alone(given, tmp_path):
    clips, fomm = given
    first = cache_targets(fomm, clips, tmp_path / "t")
    keypoints, heatmap = teacher_keypoints(fomm, clips[2].store()[5:9])
    part = first.of(clips[2], slice(5, 9))
    torch.testing.assert_close(part["value"], keypoints.value)
    torch.testing.assert_close(part["jacobian"], keypoints.jacobian)
    torch.testing.assert_close(part["heatmap"], heatmap, rtol=1e-3, atol=1e-6)
    written = (tmp_path / "t/value.npy").stat().st_mtime_ns
    cache_targets(fomm, clips, tmp_path / "t")
    assert (tmp_path / "t/value.npy").stat().st_mtime_ns == written
    fomm.detector.heads.kp.bias.data[0] += 1
    cache_targets(fomm, clips, tmp_path / "t")
    assert (tmp_path / "t/value.npy").stat().st_mtime_ns != written


def test_no_damaged_byte_of_the_targets_is_silent(given, tmp_path):
    """Of each file: a flipped byte is refused when it is opened or read, and so is a cut."""
    (clip, *_), fomm = given
    folder, rng = tmp_path / "t", np.random.default_rng(0)

    def read():
        return cache_targets(fomm, [clip], folder).of(clip, slice(0, clip.frames))

    read()
    files = sorted(folder.glob("*.npy"))
    assert len(files) == 4
    for path in files:
        data = path.read_bytes()
        flipped = [*range(8), *rng.integers(len(data), size=24), len(data) - 1]
        damaged = [data[:k] + bytes([data[k] ^ 4]) + data[k + 1 :] for k in flipped]
        for bad in (*damaged, data[:-1], data[:200], b""):
            path.write_bytes(bad)
            with pytest.raises(DamagedFileError, match=rf"{path.name} .*; remove {folder}, then"):
                read()
        path.write_bytes(data)
    read()


def test_targets_whose_record_is_damaged_are_computed_anew(given, tmp_path):
    clips, fomm = given
    seal = tmp_path / "t" / SEAL
    cache_targets(fomm, clips, tmp_path / "t")
    good = seal.read_bytes()
    for bad in (good[:-9], b"[]", b"\xff", good.replace(b"teacher", b"taecher")):
        seal.write_bytes(bad)
        cache_targets(fomm, clips, tmp_path / "t")
        assert seal.read_bytes() == good


@pytest.mark.parametrize("kind", ["pickle", "type", "shape", "npz"])
def test_targets_of_another_kind_are_refused_in_one_line(given, tmp_path, kind):
    clips, fomm = given
    value = np.array(cache_targets(fomm, clips, tmp_path / "t").parts["value"])
    with (tmp_path / "t/value.npy").open("wb") as file:
        if kind == "npz":
            np.savez(file, value=value)
        elif kind == "pickle":
            np.save(file, np.array([{"a": 1}], object), allow_pickle=True)
        else:
            np.save(file, value.astype(np.float64) if kind == "type" else value[:, :1])
    with pytest.raises(
        DamagedFileError, match=r"value\.npy (is damaged|holds).*; remove .*t, then"
    ):
        cache_targets(fomm, clips, tmp_path / "t")


def test_a_disk_that_fills_up_leaves_no_part_of_the_targets(given, tmp_path, monkeypatch):
    """Written through a memory map, a full disk would end the process with a bus error."""
    clips, fomm = given

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("eamm.a2fd.teacher._checksums", full)
    with pytest.raises(OSError, match="No space left"):
        cache_targets(fomm, clips, tmp_path / "t")
    assert not (tmp_path / "t").exists()
    assert not list(tmp_path.glob(".affekt-*"))
