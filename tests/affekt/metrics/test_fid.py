"""FID and KID: against torch-fidelity as a whole, by hand, by slow loops, by what moves them."""

import io
import pickle
import socket
from itertools import islice

import numpy as np
import pytest
import torch
from PIL import Image
from torch_fidelity import calculate_metrics
from torch_fidelity.metric_kid import kid_features_to_metric

import affekt.metrics.fid
from affekt.media.video.video import read_video
from affekt.metrics.fid import (
    Inception,
    features,
    fid,
    fid_interval,
    kid,
    kid_interval,
    load_inception,
)


def normal(rows=40, seed=0, size=6):
    return np.random.default_rng(seed).standard_normal((rows, size))


def clips(count=7, seed=0, size=5, moved=0.0):
    """Features of clips with 2 to 4 frames that are alike."""
    normal = np.random.default_rng(seed).standard_normal
    sizes = [2 + k % 3 for k in range(count)]
    every = (normal(size) + 0.3 * normal((rows, size)) + moved for rows in sizes)
    return {f"clip {k}": each for k, each in enumerate(every)}


def test_fid_by_hand():
    ours, theirs = np.array([[0.0, 9.0], [2.0, 9.0]]), np.array([[3.0, 9.0], [7.0, 9.0]])
    # means 1 and 5, sample variances 2 and 8: 16 + 2 + 8 - 2 sqrt(16)
    assert fid(ours, theirs) == pytest.approx(18)
    rows = normal(size=2)
    assert fid(rows + np.array([3, 4]), rows) == pytest.approx(25)  # a shift: its squared length
    mean, variance = (rows.mean(axis=0) ** 2).sum(), rows.var(axis=0, ddof=1).sum()
    assert fid(3 * rows, rows) == pytest.approx(4 * mean + (9 + 1 - 2 * 3) * variance)


def test_fid_is_the_same_with_fewer_rows_than_features():
    ours, theirs = normal(20, seed=1), normal(30, seed=2) + 1
    basis = np.linalg.qr(normal(80, seed=3, size=80))[0][:6]  # 6 orthonormal directions of 80
    assert fid(ours @ basis + 7, theirs @ basis + 7) == pytest.approx(fid(ours, theirs))
    root = np.sqrt(np.linalg.eigvals(np.cov(ours.T) @ np.cov(theirs.T)).real).sum()
    spread = ours.var(axis=0, ddof=1).sum() + theirs.var(axis=0, ddof=1).sum()
    apart = np.square(ours.mean(axis=0) - theirs.mean(axis=0)).sum()
    assert fid(ours, theirs) == pytest.approx(apart + spread - 2 * root)


def test_kid_by_hand():
    # the kernel (x y + 1)^3 is 1 among zeros, 8 among ones, 1 between them: 1 + 8 - 2
    assert kid(np.zeros((6, 1)), np.ones((9, 1))) == pytest.approx(7)
    # with two features, x y / 2 = 1 and 4: 8 + 125 - 2 * 27
    assert kid(np.ones((4, 2)), np.full((4, 2), 2.0)) == pytest.approx(8 + 125 - 2 * 27)


def test_a_set_against_itself_is_0_in_any_order():
    rows = normal(300, size=64).astype(np.float32)
    assert abs(fid(rows, rows)) < 1e-3
    assert abs(fid(rows[::-1].copy(), rows)) < 1e-3
    # its unbiased estimate leaves each row's own kernel out within a set, not between the two
    assert -0.1 < kid(rows[::-1].copy(), rows) < 0


def test_both_grow_with_what_is_wrong():
    truth = normal(200, seed=1)
    for metric in (fid, kid):
        values = [metric(normal(200, seed=2) + shift, truth) for shift in (0, 0.5, 1, 2)]
        assert values == sorted(values)
        assert metric(2 * normal(200, seed=2), truth) > values[0] + 0.5


def test_few_rows_raise_fid_and_not_kid():
    pairs = [(normal(30, seed=k), normal(30, seed=100 + k)) for k in range(20)]
    assert np.mean([fid(*pair) for pair in pairs]) > 0.5
    assert abs(np.mean([kid(*pair) for pair in pairs])) < 0.05
    assert min(kid(*pair) for pair in pairs) < 0  # an estimate without bias falls on both sides


def test_kids_subsets_are_half_of_the_smaller_set_and_1000_rows_at_most(monkeypatch):
    ours, theirs = normal(60, seed=1) + 0.4, normal(51, seed=2)
    pair = torch.from_numpy(ours), torch.from_numpy(theirs)
    for limit, size in ((1000, 25), (9, 9)):
        monkeypatch.setattr(affekt.metrics.fid, "SUBSET_SIZE", limit)
        options = {"kid_subsets": 100, "kid_subset_size": size, "rng_seed": 2020}
        library = kid_features_to_metric(*pair, **options, verbose=False)
        assert kid(ours, theirs) == library["kernel_inception_distance_mean"]


def test_kid_is_repeatable_and_near_that_of_all_rows():
    ours, theirs = normal(60, seed=1) + 0.4, normal(60, seed=2)
    kernels = [(a @ b.T / 6 + 1) ** 3 for a, b in ((ours, ours), (theirs, theirs), (ours, theirs))]
    within = sum((k.sum() - np.trace(k)) / (60 * 59) for k in kernels[:2])
    assert kid(ours, theirs) == kid(ours, theirs)
    assert kid(ours, theirs) == pytest.approx(within - 2 * kernels[2].mean(), rel=0.15)


# --- intervals


def drawn_clips(count, draws, seed):
    rng = np.random.default_rng(seed)
    names = sorted(clips(count))
    return [[names[k] for k in rng.integers(0, count, count)] for _ in range(draws)]


def test_fids_interval_is_that_of_a_slow_loop_over_draws_of_clips():
    results, truths = clips(seed=1, moved=0.5), clips(seed=2)
    slow = [
        fid(*(np.concatenate([side[name] for name in draw]) for side in (results, truths)))
        for draw in drawn_clips(7, draws=30, seed=3)
    ]
    found = fid_interval(results, truths, draws=30, seed=3)
    assert found == pytest.approx(tuple(np.quantile(slow, [0.025, 0.975])), rel=1e-6)


def slow_kid(results, truths, draw):
    """Compare every frame with every other, but never a clip with a copy of itself."""

    def mean(one, other, same):
        values = []
        for i, first in enumerate(draw):
            for j, second in enumerate(draw):
                if first == second and i != j:
                    continue
                for m, x in enumerate(one[first]):
                    for n, y in enumerate(other[second]):
                        if not (same and i == j and m == n):
                            values.append((x @ y / len(x) + 1) ** 3)
        return np.mean(values)

    within = mean(results, results, True) + mean(truths, truths, True)
    return within - 2 * mean(results, truths, False)


def test_kids_interval_is_that_of_a_slow_loop_over_draws_of_clips():
    results, truths = clips(4, seed=1, moved=0.5), clips(4, seed=2)
    slow = [slow_kid(results, truths, draw) for draw in drawn_clips(4, draws=12, seed=5)]
    found = kid_interval(results, truths, draws=12, seed=5)
    assert found == pytest.approx(tuple(np.quantile(slow, [0.025, 0.975])))


def test_intervals_depend_on_the_seed_alone_and_hold_the_figure_as_said():
    results, truths = clips(30, seed=1, moved=1.0), clips(30, seed=2)
    joined = [np.concatenate([*side.values()]) for side in (results, truths)]
    shuffled = dict(reversed(results.items()))
    for interval in (fid_interval, kid_interval):
        low, high = interval(results, truths)
        assert low < high
        assert interval(shuffled, truths) == (low, high)
        assert interval(results, truths, seed=1) != (low, high)
        assert interval(results, truths, draws=20) != (low, high)
    low, high = kid_interval(results, truths)
    assert low < kid(*joined) < high
    assert np.mean(fid_interval(results, truths)) > fid(*joined)  # the bias that the page states


def test_a_single_clip_has_no_interval_and_two_of_one_frame_do():
    one = clips(1)
    assert fid_interval(one, one) == kid_interval(one, one) == (None, None)
    two = {name: rows[:1] for name, rows in clips(2).items()}
    for interval in (fid_interval, kid_interval):
        assert np.isfinite(interval(two, two)).all()


# --- the network


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


def random_inception(seed):
    """Weights that keep the size of activations; batch norms change nothing."""
    network = Inception().to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            value.zero_()
            if value.ndim > 1:
                torch.nn.init.kaiming_normal_(value, nonlinearity="relu", generator=generator)
            elif name.endswith(("bn.weight", "running_var")):
                value += 1
    return network.to(memory_format=torch.channels_last).requires_grad_(False).eval()


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
    folder = media_root / "mead_same_sentence"
    clips = ("M030_front_happy_level3_001.mp4", "W009_front_sad_level3_001.mp4")
    frames = [list(islice(read_video(folder / clip), 0, 32, 8)) for clip in clips]
    assert_torch_fidelity_agrees(network, weights_file, tmp_path, frames)


def assert_torch_fidelity_agrees(network, weights_file, folder, sides):
    """Hold our figures against those of the library, which reads files of pictures and weights."""
    for name, frames in zip("ab", sides, strict=True):
        (folder / name).mkdir()
        for k, frame in enumerate(frames):
            Image.fromarray(frame).save(folder / name / f"{k}.png")
    inputs = {"input1": str(folder / "a"), "input2": str(folder / "b")}
    weights = {"feature_extractor_weights_path": str(weights_file)}
    wanted = {"fid": True, "kid": True, "kid_subset_size": 2, "save_cpu_ram": True}  # no workers
    quiet = {"cuda": False, "cache": False, "verbose": False}
    library = calculate_metrics(**inputs, **weights, **wanted, **quiet)
    found = [features(network, frames) for frames in sides]
    assert library["frechet_inception_distance"] > 0.1
    assert fid(*found) == pytest.approx(library["frechet_inception_distance"], rel=1e-4)
    assert kid(*found) == pytest.approx(library["kernel_inception_distance_mean"], abs=1e-5)


def test_features_depend_neither_on_the_batch_nor_on_the_order(network):
    frames = pictures(3)
    whole = features(network, frames, batch=3)
    assert (whole.shape, whole.dtype) == ((3, 2048), np.float32)
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
    with pytest.raises(ValueError, match=r"trap\.pth is a pickle, but none of torch's"):
        load_inception(tmp_path / "trap.pth")
    assert not (tmp_path / "sprung").exists()


def test_files_that_are_not_the_network_are_refused(network, weights_file, tmp_path):
    state = dict(network.state_dict())
    path = tmp_path / "weights.pth"
    for wrong, message in (
        ({**state, "fc.weight": torch.zeros(1000, 2048)}, r"fc.weight has shape \(1000, 2048\)"),
        ({**state, "AuxLogits.fc.bias": torch.zeros(3)}, r"AuxLogits.fc.bias \(3,\) has no place"),
        ({k: v for k, v in state.items() if k != "fc.bias"}, "fc.bias is missing"),
        ([1, 2], "Inception is a list, wanted a state dict"),
    ):
        torch.save(wrong, path)
        with pytest.raises(ValueError, match=rf"weights\.pth.*{message}"):
            load_inception(path)
    whole = weights_file.read_bytes()
    for part in (whole[: len(whole) // 2], b"", b"<!DOCTYPE html>"):
        path.write_bytes(part)
        with pytest.raises(ValueError, match="wanted is the Inception of FID"):
            load_inception(path)
    with pytest.raises(FileNotFoundError, match=r"none\.pth"):
        load_inception(tmp_path / "none.pth")


@pytest.mark.gpu
def test_the_gpu_gives_the_cpus_features(network, weights_file):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    frames = pictures(4)
    ours = features(load_inception(weights_file, "cuda"), frames)
    theirs = features(network, frames)
    assert np.abs(ours - theirs).max() < 1e-2 * theirs.std()  # TF32 may round convolutions
