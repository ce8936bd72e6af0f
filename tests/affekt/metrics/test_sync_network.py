"""SyncNet: the released layout, the window of a frame, the crop, LSE-C and LSE-D."""

import numpy as np
import pytest
import python_speech_features
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.functional import pairwise_distance

from affekt.metrics.sync import score as sync
from affekt.metrics.sync.network import SyncNet, SyncNetConfig, export_syncnet, load_syncnet
from affekt.metrics.sync.score import (
    Square,
    crop_square,
    cut_faces,
    delayed,
    embed_audio,
    embed_clip,
    embed_video,
    lag_distances,
    sound_windows,
    sync_scores,
)
from affekt.runtime.training import checkpoint

TINY = SyncNetConfig(56, "mouth", (4, 4, 4, 4, 4, 8), (4, 4, 4, 4, 4, 8), 8, 6)
RELEASED_BYTES = 54_573_114  # of syncnet_v2.model
PLACES = (0, 4, 8, 11, 14, 18)  # of the convolutions in the released file's Sequentials
WIDTHS = {"netcnnaud": (1, 64, 192, 384, 256, 256, 512), "netcnnlip": (3, 96, *[256] * 4, 512)}
KERNELS = {
    "netcnnaud": [*[(3, 3)] * 5, (5, 4)],
    "netcnnlip": [(5, 7, 7), (1, 5, 5), *[(1, 3, 3)] * 3, (1, 6, 6)],
}


def speech(frames, seed=0):
    """Noise with syllables, 16-bit steps in [-1, 1]."""
    rng = np.random.default_rng(seed)
    loud = np.repeat(rng.uniform(0, 0.3, frames), 640)
    return np.rint(loud * rng.standard_normal(640 * frames).clip(-3, 3) * 32768) / 32768


def tiny():
    """A network with statistics of its own, so that evaluation mode is tested."""
    torch.manual_seed(0)
    network = SyncNet(TINY)
    network.encode_video(255 * torch.rand(2, 3, 9, 56, 56))
    for _ in range(20):  # the statistics move by a tenth
        network.encode_audio(torch.from_numpy(sound_windows(speech(40), 40).copy()))
    return network.eval()


def test_the_default_network_has_the_released_weights():
    state = SyncNet(SyncNetConfig()).state_dict()
    for part, widths in WIDTHS.items():
        layers = zip(PLACES, widths[1:], widths[:-1], KERNELS[part], strict=True)
        for number, outputs, inputs, kernel in layers:
            assert state[f"{part}.{number}.weight"].shape == (outputs, inputs, *kernel)
            assert state[f"{part}.{number + 1}.running_mean"].shape == (outputs,)
    for part in ("netfcaud", "netfclip"):
        assert state[f"{part}.0.weight"].shape == (512, 512)
        assert state[f"{part}.1.running_mean"].shape == (512,)
        assert state[f"{part}.3.weight"].shape == (1024, 512)
    held = sum(value.numel() * value.element_size() for value in state.values())
    assert 0 < RELEASED_BYTES - held < 200 * len(state)  # the rest of the file: names, shapes


def test_full_size_maps_and_embeddings_have_the_releases_sizes():
    network = SyncNet(SyncNetConfig()).eval()
    maps = []
    for module in (*network.netcnnlip, *network.netcnnaud):
        if isinstance(module, (nn.Conv3d, nn.MaxPool3d, nn.Conv2d, nn.MaxPool2d)):
            module.register_forward_hook(lambda *given: maps.append(tuple(given[2].shape[-2:])))
    with torch.no_grad():
        assert network.encode_video(torch.zeros(1, 3, 5, 224, 224)).shape == (1, 1, 1024)
        assert network.encode_audio(torch.zeros(2, 13, 20)).shape == (2, 1024)
    assert [height for height, _ in maps[:9]] == [109, 54, 26, 13, 13, 13, 13, 6, 1]
    assert maps[9:] == [(13, 20)] * 3 + [(11, 9)] * 4 + [(5, 4), (1, 1)]


def test_a_clip_in_one_pass_gives_what_its_windows_give_one_by_one():
    network = tiny()
    faces = 255 * torch.rand(2, 3, 9, 56, 56)
    together = network.encode_video(faces)
    assert together.shape == (2, 5, 6)
    for start in range(5):
        alone = network.encode_video(faces[:, :, start : start + 5])
        torch.testing.assert_close(together[:, start], alone[:, 0])


def test_pictures_too_small_for_the_layers_are_refused():
    assert SyncNetConfig(size=51).size == 51
    with pytest.raises(ValueError, match="size is 50"):
        SyncNetConfig(size=50)


def test_windows_of_sound_are_the_releases():
    sound = speech(12)
    rows = python_speech_features.mfcc(np.rint(sound * 32768).astype(np.int16), 16000)
    windows = sound_windows(sound, 12)
    assert windows.shape == (8, 13, 20)
    for frame in range(8):
        wanted = rows[4 * frame : 4 * frame + 20].T
        present = wanted.shape[1]  # the very last row of the last window is past the sound's end
        assert present >= 19
        np.testing.assert_allclose(windows[frame, :, : present - 1], wanted[:, :-1], atol=1e-3)
    np.testing.assert_allclose(windows[6], rows[24:44].T, atol=1e-3)


def test_a_sound_that_is_too_short_ends_with_silence():
    windows = sound_windows(speech(6), 12)
    np.testing.assert_array_equal(windows[:2, :, :19], sound_windows(speech(6), 6)[:, :, :19])
    assert np.allclose(windows[-1, 0], np.log(np.finfo(float).eps), atol=1e-4)


def test_sound_is_heard_as_16_bit_samples():
    faint = 0.4 / 32768 * np.ones(6400)
    np.testing.assert_array_equal(sound_windows(faint, 10), sound_windows(0 * faint, 10))
    loud = speech(10)
    beyond = np.where(loud > 0, 2.0, loud)
    limit = np.where(loud > 0, 32767 / 32768, loud)
    np.testing.assert_array_equal(sound_windows(beyond, 10), sound_windows(limit, 10))


def test_scores_are_the_releases_loop():
    video, audio = np.random.default_rng(0).standard_normal((2, 40, 8))
    padded = np.pad(audio, ((15, 15), (0, 0)))
    rows = []
    for i in range(40):
        picture = torch.from_numpy(video[[i]]).repeat(31, 1)
        rows.append(pairwise_distance(picture, torch.from_numpy(padded[i : i + 31])))
    mean = torch.stack(rows, 1).mean(1)
    np.testing.assert_allclose(lag_distances(video, audio), mean, atol=1e-10)
    scores = sync_scores(video, audio)
    assert scores.lse_d == pytest.approx(float(mean.min()), abs=1e-10)
    assert scores.lse_c == pytest.approx(float(mean.median() - mean.min()), abs=1e-10)
    assert scores.offset == 15 - int(mean.argmin())


def test_scores_by_hand():
    """Pictures 0 and 3, sounds 0 and 3: lag 0 costs nothing, lags of 1 cost (0 + 3) / 2 or 3."""
    video = np.array([[0.0], [3.0]])
    padded = lag_distances(video, video, vshift=1)  # lag -1: |0 - 0|, |3 - 0|; +1: |0 - 3|, |3 - 0|
    np.testing.assert_allclose(padded, [1.5, 0, 3], atol=1e-5)
    scores = sync_scores(video, video, vshift=1)
    assert (scores.lse_c, scores.lse_d) == pytest.approx((1.5, 0), abs=1e-5)
    overlapping = lag_distances(video, video, vshift=1, padding=False)
    np.testing.assert_allclose(overlapping, [3, 0, 3], atol=1e-5)


@pytest.mark.parametrize("padding", [True, False])
@pytest.mark.parametrize("late", [-5, 0, 3])
def test_a_late_sound_has_a_negative_offset(late, padding):
    video = 3 + np.random.default_rng(1).standard_normal((40, 8))
    audio = np.roll(video, late, axis=0)  # sound i + late belongs to picture i
    assert sync_scores(video, audio, padding=padding).offset == -late


def test_without_padding_the_confidence_does_not_grow_with_the_length():
    """The release's bias: lags near the ends of the reach compare a short clip with zeros."""

    def confidence(count, padding):
        rng = np.random.default_rng(count)
        video = rng.standard_normal((8, count, 64))
        pairs = zip(video, video + 0.5 * rng.standard_normal(video.shape), strict=True)
        return np.mean([sync_scores(*pair, padding=padding).lse_c for pair in pairs])

    assert confidence(20, True) < confidence(200, True) - 0.5
    assert confidence(20, False) == pytest.approx(confidence(200, False), abs=0.1)


@pytest.mark.parametrize("late", [-4, 0, 7])
def test_a_sound_that_was_delayed_is_found_late(late):
    """The cepstra themselves are the embeddings; the sound's own take the pictures' place."""
    sound = speech(40)
    true, heard = (sound_windows(s, 40).reshape(36, -1) for s in (sound, delayed(sound, late)))
    assert sync_scores(true, heard).offset == -late
    moved = embed_audio(tiny(), delayed(sound, late), 40)
    kept = slice(max(0, late) + 1, 34 + min(0, late))  # the sound's ends are heard otherwise
    same = slice(kept.start - late, kept.stop - late)
    np.testing.assert_allclose(moved[kept], embed_audio(tiny(), sound, 40)[same], atol=1e-5)


def test_a_clip_is_embedded_window_by_window(monkeypatch):
    """In chunks, in BGR, from 0 to 255, and without the last window, as the release does."""
    monkeypatch.setattr(sync, "CHUNK", 3)
    network, frames = tiny(), np.random.default_rng(0).integers(0, 256, (13, 70, 90, 3), np.uint8)
    landmarks = np.random.default_rng(1).uniform(20, 60, (12, 68, 3))
    video, audio = embed_clip(network, frames, landmarks, speech(12)[:-1])
    assert video.shape == audio.shape == (6, 6)  # the sound lasts 11 whole frames
    faces = cut_faces(frames, crop_square(landmarks, "mouth"), 56)
    for start in range(6):
        shown = torch.from_numpy(faces[start : start + 5]).float().permute(3, 0, 1, 2)[None]
        with torch.no_grad():
            np.testing.assert_allclose(video[start], network.encode_video(shown)[0, 0], atol=1e-5)
    windows = torch.from_numpy(sound_windows(speech(12)[:-1], 11).copy())
    with torch.no_grad():
        np.testing.assert_allclose(audio, network.encode_audio(windows)[:6], atol=1e-5)


def test_the_faces_square_is_1_4_times_the_box_and_reaches_down():
    """Landmarks 60 wide, 70 high: a box of 100 from 0 to 100, s = 50."""
    points = np.random.default_rng(0).uniform((70, 30), (130, 100), (68, 2))
    points[:4] = (70, 60), (130, 60), (100, 30), (100, 100)
    left, top, side = crop_square(points[None])
    assert side == 140
    assert left == pytest.approx(100 - 70, abs=1)
    assert top == pytest.approx(0, abs=1)


def test_one_square_serves_all_frames_and_ignores_those_without_a_face():
    points = np.random.default_rng(0).uniform(40, 100, (1, 68, 2))
    still = np.repeat(points, 9, axis=0)
    still[0], still[1] = np.nan, 1000
    assert crop_square(still) == crop_square(points)
    assert crop_square(still, "mouth") == crop_square(points, "mouth")
    with pytest.raises(ValueError, match="no frame of the true video has a face"):
        crop_square(np.full((3, 68, 2), np.nan))


def test_the_mouths_square_is_around_the_mouth():
    points = np.full((1, 68, 2), 50.0)
    points[0, 0], points[0, 1] = (20, 10), (80, 110)  # brows to chin: 100
    points[0, 48:] = (60, 90)
    assert crop_square(points, "mouth") == Square(20, 50, 80)


def test_what_lies_outside_the_picture_is_the_releases_grey():
    frame = np.zeros((4, 4, 3), np.uint8)
    frame[..., 0] = 200  # red
    faces = cut_faces([frame], Square(-2, 1, 4), 4)
    assert faces.shape == (1, 4, 4, 3)
    assert (faces[0, :, :2] == 110).all()
    assert (faces[0, 3] == 110).all()
    assert (faces[0, :3, 2:] == (0, 0, 200)).all()
    assert (cut_faces([frame], Square(50, 50, 3), 5) == 110).all()


def test_bad_clips_are_refused():
    network = tiny()
    with pytest.raises(ValueError, match="5 frames with sound is too short"):
        embed_video(network, np.zeros((5, 56, 56, 3), np.uint8))
    with pytest.raises(ValueError, match="NaN"):
        embed_audio(network, np.full(6400, np.nan), 10)
    with pytest.raises(ValueError, match="needs 21 frames or more"):
        sync_scores(np.zeros((15, 2)), np.zeros((15, 2)), padding=False)


def test_the_released_file_loads_with_and_without_its_batch_counters(tmp_path):
    torch.manual_seed(1)
    state = SyncNet(SyncNetConfig()).state_dict()
    old = {name: value for name, value in state.items() if "num_batches" not in name}
    torch.save(old, tmp_path / "syncnet_v2.model", _use_new_zipfile_serialization=False)
    network = load_syncnet(tmp_path / "syncnet_v2.model")
    assert not network.training
    assert all(torch.equal(network.state_dict()[name], value) for name, value in old.items())


def test_a_file_of_another_layout_names_the_weight(tmp_path):
    torch.save(tiny().state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ValueError, match=r"netcnnaud.0.weight has shape \(4, 1, 3, 3\)"):
        load_syncnet(tmp_path / "weights.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match=r"list\.pt: SyncNet is a list, wanted a state dict"):
        load_syncnet(tmp_path / "list.pt")
    state = tiny().state_dict()
    path = export_syncnet(tmp_path, tiny())
    save_file({name: v for name, v in state.items() if name != "netfclip.3.bias"}, path)
    with pytest.raises(ValueError, match=r"netfclip.3.bias is missing"):
        load_syncnet(tmp_path)


def test_a_pickled_module_is_not_opened(tmp_path):
    torch.save(tiny(), tmp_path / "module.pt")
    with pytest.raises(ValueError, match=r"damaged.*state_dict\(\)"):
        load_syncnet(tmp_path / "module.pt")
    (tmp_path / "short.pt").write_bytes((tmp_path / "module.pt").read_bytes()[:1000])
    with pytest.raises(ValueError, match="damaged"):
        load_syncnet(tmp_path / "short.pt")


def test_a_network_comes_back_from_its_export_and_from_a_run(tmp_path):
    network = tiny()
    with pytest.raises(FileNotFoundError, match=r"syncnet.yaml.*affekt.metrics.sync.train"):
        load_syncnet(tmp_path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_syncnet(tmp_path / "nowhere")
    path = export_syncnet(tmp_path, network)
    faces = 255 * torch.rand(1, 3, 5, 56, 56)
    wanted = network.encode_video(faces)
    torch.testing.assert_close(load_syncnet(tmp_path).encode_video(faces), wanted)
    path.unlink()
    checkpoint.save(tmp_path / "checkpoints", 1, {"network": network})
    torch.testing.assert_close(load_syncnet(tmp_path).encode_video(faces), wanted)
    assert load_syncnet(tmp_path).config == TINY
