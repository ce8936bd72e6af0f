"""The features of FID and KID: against torch-fidelity as a whole, and files that are not right."""

import io
import pickle
import socket
from itertools import islice

import numpy as np
import pytest
import torch
from PIL import Image
from torch_fidelity import calculate_metrics

from affekt.media.video.video import read_video
from affekt.metrics.fid import features, fid, kid, load_inception, random_inception


@pytest.fixture(scope="module")
def network():
    torch.set_num_threads(1)
    return random_inception(seed=0)


@pytest.fixture(scope="module")
def weights_file(network, tmp_path_factory):
    """Random weights in a file of the layout that is published."""
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save(network.state_dict(), path)
    return path


def pictures(count=4, seed=0, size=(20, 24)):
    rng = np.random.default_rng(seed)
    colours = rng.integers(0, 256, (count, 1, 1, 3))
    return (0.7 * colours + 0.3 * rng.integers(0, 256, (count, *size, 3))).astype(np.uint8)


def test_fid_and_kid_of_pictures_are_torch_fidelitys(network, weights_file, tmp_path):
    ours, theirs = pictures(4, seed=1), pictures(4, seed=2)
    assert_torch_fidelity_agrees(network, weights_file, tmp_path, (ours, theirs))


@pytest.mark.data
def test_fid_and_kid_of_real_frames_are_torch_fidelitys(
    network, weights_file, tmp_path, media_root
):
    clips = ("M030_front_happy_level3_001.mp4", "W009_front_sad_level3_001.mp4")
    frames = [
        list(islice(read_video(media_root / "mead_same_sentence" / clip), 0, 32, 8))
        for clip in clips
    ]
    assert_torch_fidelity_agrees(network, weights_file, tmp_path, frames)


def assert_torch_fidelity_agrees(network, weights_file, folder, sides):
    """Hold our figures against those of the library, which reads files of pictures and weights."""
    for name, frames in zip("ab", sides, strict=True):
        (folder / name).mkdir()
        for k, frame in enumerate(frames):
            Image.fromarray(frame).save(folder / name / f"{k}.png")
    library = calculate_metrics(
        input1=str(folder / "a"),
        input2=str(folder / "b"),
        feature_extractor_weights_path=str(weights_file),
        fid=True,
        kid=True,
        kid_subset_size=2,
        cuda=False,
        cache=False,
        save_cpu_ram=True,  # no worker processes
        verbose=False,
    )
    found = [features(network, frames) for frames in sides]
    assert library["frechet_inception_distance"] > 0.1
    assert fid(*found) == pytest.approx(library["frechet_inception_distance"], rel=1e-4)
    assert kid(*found) == pytest.approx(library["kernel_inception_distance_mean"], abs=1e-5)


def test_features_depend_neither_on_the_batch_nor_on_the_order(network):
    frames = pictures(3)
    whole = features(network, frames, batch=3)
    assert whole.shape == (3, 2048)
    assert whole.dtype == np.float32
    for batch in (1, 2):
        again = features(network, iter(frames[::-1]), batch)[::-1]
        np.testing.assert_allclose(again, whole, rtol=0, atol=1e-5)
    assert whole.std(axis=0).mean() > 1e-3  # random weights do not map all pictures to one point


def test_a_file_of_any_age_gives_the_same_features(network, tmp_path):
    old = network.state_dict()
    for name in [name for name in old if name.endswith("num_batches_tracked")]:
        del old[name]
    assert len(old) < len(network.state_dict())
    torch.save(old, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    loaded = load_inception(tmp_path / "old.pth")
    assert not loaded.training
    assert not any(weight.requires_grad for weight in loaded.parameters())
    frames = pictures(1)
    np.testing.assert_array_equal(features(loaded, frames), features(network, frames))


def test_random_weights_follow_the_seed(network):
    again, other = random_inception(seed=0), random_inception(seed=1)
    for name, weight in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], weight)
    assert not torch.equal(other.fc.weight, network.fc.weight)


def test_nothing_is_fetched_and_no_file_is_unpickled_unchecked(weights_file, monkeypatch, tmp_path):
    def refuse(*args, **kwargs):
        raise AssertionError("a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    read, load = [], torch.load

    def watched(file, *args, **kwargs):
        read.append((file, kwargs.get("weights_only")))
        return load(file, *args, **kwargs)

    monkeypatch.setattr(torch, "load", watched)
    load_inception(weights_file)
    unchecked = [file for file, safe in read if not safe]
    assert (weights_file, True) in read
    assert all(isinstance(file, io.BytesIO) for file in unchecked)  # our own, of nothing

    class Trap:
        def __reduce__(self):
            return (tmp_path.joinpath("sprung").touch, ())

    (tmp_path / "trap.pth").write_bytes(pickle.dumps({"fc.weight": Trap()}, protocol=2))
    with pytest.raises(ValueError, match=r"trap\.pth is damaged, or holds more than tensors"):
        load_inception(tmp_path / "trap.pth")
    assert not (tmp_path / "sprung").exists()


def test_files_that_are_not_the_network_are_refused(network, weights_file, tmp_path):
    state = dict(network.state_dict())
    path = tmp_path / "weights.pth"
    for wrong, message in (
        ({**state, "fc.weight": torch.zeros(1000, 2048)}, r"fc.weight is \(1000, 2048\), wanted"),
        ({**state, "AuxLogits.fc.bias": torch.zeros(3)}, "AuxLogits.fc.bias is .* no such weight"),
        ({k: v for k, v in state.items() if k != "fc.bias"}, "fc.bias is missing, wanted"),
        ([1, 2], "holds a list, wanted weights by name"),
    ):
        torch.save(wrong, path)
        with pytest.raises(ValueError, match=rf"weights\.pth .*{message}"):
            load_inception(path)
    whole = weights_file.read_bytes()
    for part in (whole[: len(whole) // 2], b"", b"<!DOCTYPE html>"):
        path.write_bytes(part)
        with pytest.raises(ValueError, match="is damaged"):
            load_inception(path)
    with pytest.raises(FileNotFoundError, match=r"none\.pth"):
        load_inception(tmp_path / "none.pth")


def test_what_is_no_picture_is_refused(network):
    frame = pictures(1)[0]
    for frames, message in (
        ([], "no picture"),
        ([frame.astype(float)], r"wanted pictures .* found \['float64 \(20, 24, 3\)'\]"),
        ([frame[..., 0]], r"uint8 \(20, 24\)"),
        ([frame[..., :2]], r"uint8 \(20, 24, 2\)"),
        ([frame, frame[1:]], r"one size, found \['uint8 \(19, 24, 3\)', 'uint8 \(20, 24, 3\)'\]"),
    ):
        with pytest.raises(ValueError, match=message):
            features(network, frames)


@pytest.mark.gpu
def test_the_gpu_gives_the_cpus_features(network, weights_file):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    frames = pictures(4)
    ours = features(load_inception(weights_file, "cuda"), frames)
    theirs = features(network, frames)
    assert np.abs(ours - theirs).max() < 1e-2 * theirs.std()  # TF32 may round convolutions
