"""Optical flow is right where it is trusted, and comes back from its file for any size."""

import io
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.nn.functional import pad
from torchvision.models import get_model

from affekt.media.video.flow import NETWORKS, Dis, Raft, confident, make_estimator, origins, sampled
from affekt.media.video.flow_store import FILE, flow_writer, open_flow, resized
from affekt.media.video.frames import write_frames
from affekt.media.video.packed import HEADER
from tests.corpora.drawn_face import talking
from tests.corpora.published_weights import publish


def texture(seed=0, size=(96, 128), blur=2.0):
    """A smooth picture full of contrast, (H, W, 3) uint8."""
    noise = np.random.default_rng(seed).random((*size, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), blur)
    return cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


# The flow and its mask


def test_a_picture_moved_by_a_known_step_has_that_flow_and_its_far_edges_are_not_trusted():
    wide = texture(size=(120, 160))
    before, now = wide[10:106, 10:138], wide[14:110, 7:135]  # from 3 left and 4 below
    back, forth = Dis()(before, now)
    trusted = confident(back, forth)
    assert back.shape == (96, 128, 2)
    assert back.dtype == np.float32
    inner = np.s_[16:-16, 16:-16]
    assert np.abs(back - [-3, 4])[inner].max() < 0.1
    assert np.abs(forth - [3, -4])[inner].max() < 0.1
    assert trusted[inner].all()
    assert not trusted[:, :2].any()  # from outside the picture
    assert not trusted[-3:].any()
    x, y = origins(back)
    assert np.abs(sampled(before[..., 1].astype(np.float32), x, y) - now[..., 1])[inner].max() < 4


def test_what_something_uncovers_is_not_trusted():
    before, patch = texture(1), texture(2)[30:70, 30:70]
    now = before.copy()
    before[30:70, 30:70] = now[30:70, 38:78] = patch  # 8 to the right
    trusted = confident(*Dis()(before, now))
    assert trusted[35:65, 48:73].mean() > 0.95  # the patch itself
    assert trusted[:, 90:-4].mean() > 0.95  # the wall that is seen in both
    assert trusted[35:65, 31:37].mean() < 0.3  # the wall behind it, seen now alone


def uniform(x, width=64):
    flow = np.zeros((20, width, 2), np.float32)
    flow[..., 0] = x
    return flow


@pytest.mark.parametrize(
    ("step", "error", "fine"),
    # by hand: the error's square is below 0.01 (the sum of both flows' squares) + 0.5
    [(2, 0.74, True), (2, 0.75, False), (20, 2.7, True), (20, 2.8, False)],
)
def test_flows_that_undo_one_another_are_trusted_within_the_bound_of_the_paper(step, error, fine):
    trusted = confident(uniform(-step), uniform(step - error))
    assert trusted[:, step:].all() == fine
    assert not trusted[:, :step].any()  # from outside, whatever the forward flow says
    assert trusted.any() == fine


def test_the_forward_flow_is_that_of_the_place_where_a_pixel_came_from():
    forth = uniform(4)
    forth[:, 20:] = 0
    trusted = confident(uniform(-4), forth)
    columns = np.arange(64)
    np.testing.assert_array_equal(trusted[0], (columns >= 4) & (columns < 24))


def test_pictures_too_small_for_the_flow_are_refused():
    with pytest.raises(ValueError, match=r"16 pixels a side, found \(20, 8\)"):
        Dis()(texture()[:8, :20], texture()[:8, :20])


# The file


def blocks(seed, frames=5, side=32, most=40.0):
    """Flow that is constant in blocks of 2 x 2 pixels, (frames, side, side, 2), and its mask."""
    rng = np.random.default_rng(seed)
    flow = rng.uniform(-most, most, (frames, side // 2, side // 2, 2)).astype(np.float32)
    trusted = rng.random((frames, side // 2, side // 2)) < 0.7
    return flow.repeat(2, 1).repeat(2, 2), trusted.repeat(2, 1).repeat(2, 2)


def store(folder, flow, trusted):
    with flow_writer(folder) as write:
        for frame in zip(flow, trusted, strict=True):
            write(*frame)
    return open_flow(folder)


def test_stored_flow_comes_back_within_half_a_step(tmp_path):
    flow, trusted = blocks(0)
    flows = store(tmp_path, flow, trusted)
    assert len(flows) == 5
    assert flows.size == (16, 16)
    assert flows.path == tmp_path / FILE
    read, mask = flows.read([3, 0, 3], 16)
    assert read.dtype == np.float32
    wanted = flow[[3, 0, 3], ::2, ::2] / 2  # of half as many pixels
    assert np.abs(read - wanted).max() <= 1 / 128
    np.testing.assert_array_equal(mask, trusted[[3, 0, 3], ::2, ::2])
    for empty in flows.read([], 24):
        assert empty.shape[:3] == (0, 24, 24)


def test_a_frame_is_a_picture_as_kittis(tmp_path):
    flow, trusted = blocks(1)
    store(tmp_path, flow, trusted)
    content = (tmp_path / FILE).read_bytes()
    place = int.from_bytes(content[24:32], "little")
    places = np.frombuffer(content[place:], "<u8")
    picture = cv2.imdecode(
        np.frombuffer(content[places[2] : places[3]], np.uint8), cv2.IMREAD_UNCHANGED
    )
    red, green, blue = (picture[..., k].astype(float) for k in (2, 1, 0))
    assert picture.dtype == np.uint16
    assert np.abs((red - 2**15) / 64 - flow[2, ::2, ::2, 0] / 2).max() <= 1 / 128
    assert np.abs((green - 2**15) / 64 - flow[2, ::2, ::2, 1] / 2).max() <= 1 / 128
    np.testing.assert_array_equal(blue, trusted[2, ::2, ::2])


@pytest.mark.parametrize("size", [16, 24, 32, 48, 64, 100])
def test_flow_grows_with_the_picture(tmp_path, size):
    flow = np.full((2, 64, 64, 2), (4, -2), np.float32)
    flow[0] = 0
    trusted = np.ones((2, 64, 64), bool)
    trusted[0] = False
    flows = store(tmp_path, flow, trusted)
    read, mask = flows.read([0, 1], size)
    assert np.abs(read[1] - np.array([4, -2]) * size / 64).max() < 1e-5
    assert mask[1].all()
    assert not mask[0].any()
    assert not read[0].any()


def test_oblong_frames_are_squeezed_with_their_flow(tmp_path):
    flow = np.full((1, 32, 64, 2), (4, -2), np.float32)
    flows = store(tmp_path, flow, np.ones((1, 32, 64), bool))
    assert flows.size == (32, 16)
    read, _ = flows.read([0], 64)
    assert np.abs(read - [4, -4]).max() < 1e-5


@pytest.mark.parametrize("size", [16, 24, 32, 48, 64])
def test_no_pixel_is_trusted_that_an_untrusted_one_went_into(tmp_path, size):
    trusted = np.ones((1, 32, 32), bool)
    trusted[0, 10, 20] = False
    flow = np.zeros((1, 32, 32, 2), np.float32)
    flow[0, 10, 20] = 30
    read, mask = store(tmp_path, flow, trusted).read([0], size)
    assert mask.mean() > 0.9
    assert (np.abs(read[mask]) < 1e-6).all()
    assert np.abs(read[~mask]).max() > 1


def test_sizes_between_are_averages_and_interpolations():
    squares = np.zeros((3, 6, 2), np.float32)
    squares[..., 0] = np.arange(6) ** 2
    every = np.ones((3, 6), bool)
    smaller, _ = resized(squares, every, (2, 1))
    np.testing.assert_allclose(smaller[0, :, 0], np.array([5, 50]) / 3 / 3, rtol=1e-6)
    larger, _ = resized(squares, every, (12, 6))
    np.testing.assert_allclose(larger[0, :5, 0], np.array([0, 0.25, 0.75, 1.75, 3.25]) * 2)


def test_flow_that_16_bits_cannot_hold_is_not_trusted(tmp_path):
    flow = np.full((1, 8, 8, 2), 3, np.float32)
    flow[0, :2, :2], flow[0, 2:4, :2] = np.nan, np.inf
    flow[0, 4:6, :2, 1], flow[0, 6:, :2] = -3000, 1020
    read, mask = store(tmp_path, flow, np.ones((1, 8, 8), bool)).read([0], 4)
    np.testing.assert_array_equal(mask[0, :, 0], [False, False, False, True])
    assert mask[0, :, 1:].all()
    assert np.isfinite(read).all()
    np.testing.assert_array_equal(read[0, 3, 0], [510, 510])
    np.testing.assert_array_equal(read[0, 2, 0], [0, 0])


def test_a_store_travels_and_keeps_no_file_open(tmp_path):
    before = len(list(Path("/proc/self/fd").iterdir()))
    flows = store(tmp_path, *blocks(2))
    first = flows.read([4, 1], 32)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    for one, other in zip(pickle.loads(pickle.dumps(flows)).read([4, 1], 32), first, strict=True):
        np.testing.assert_array_equal(one, other)


def test_frames_that_are_not_there_are_named(tmp_path):
    flows = store(tmp_path, *blocks(3))
    for index in (5, -1):
        with pytest.raises(IndexError, match=f"has 5 frames; there is no frame {index}"):
            flows.read([0, index], 16)


def test_flow_that_is_missing_names_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"flow\.pngs is missing; run python -m data_prep"):
        open_flow(tmp_path)


def test_a_damaged_file_or_another_kind_of_file_is_refused(tmp_path):
    store(tmp_path, *blocks(4))
    path = tmp_path / FILE
    whole = path.read_bytes()
    for part in (0, 5, HEADER.size + 40, len(whole) - 1):
        path.write_bytes(whole[:part])
        with pytest.raises(ValueError, match=r"is damaged.*data_prep\.flow"):
            open_flow(tmp_path)
    path.write_bytes(whole[:8] + b"\x09" + whole[9:])
    with pytest.raises(ValueError, match="version is 9, wanted 1"):
        open_flow(tmp_path)
    write_frames(tmp_path, talking(2, 32), "jpeg")
    (tmp_path / "frames.jpegs").replace(path)
    with pytest.raises(ValueError, match="it begins with b'AFKTJPEG', not b'AFKTFLOW'"):
        open_flow(tmp_path)


def test_a_damaged_frame_is_named_and_the_others_are_read(tmp_path):
    store(tmp_path, *blocks(5))
    path = tmp_path / FILE
    spoilt = bytearray(path.read_bytes())
    spoilt[HEADER.size + 200] ^= 1  # within the first picture
    path.write_bytes(spoilt)
    flows = open_flow(tmp_path)
    flows.read([1, 2, 3, 4], 16)
    with pytest.raises(ValueError, match="frame 0 is no flow"):
        flows.read([1, 0], 16)


def test_nothing_remains_of_a_writing_that_failed(tmp_path):
    def interrupted():
        with flow_writer(tmp_path) as write:
            write(np.zeros((8, 8, 2), np.float32), np.zeros((8, 8), bool))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not list(tmp_path.iterdir())


# RAFT


def publish_network(monkeypatch, folder, method, change=None):
    """Write random weights as torchvision publishes them; return the network that has them."""
    torch.manual_seed(0)
    network = get_model(NETWORKS[method], weights=None).eval()
    state = network.state_dict()
    content = io.BytesIO()
    torch.save(change(state) if change else state, content)
    publish(monkeypatch, folder, method, content.getvalue())
    monkeypatch.setenv("AFFEKT_WEIGHTS", str(folder))
    return network


def normal(picture):
    return torch.from_numpy(picture / np.float32(127.5) - 1).permute(2, 0, 1)[None].float()


@pytest.mark.parametrize("method", ["raft", "raft_small"])
def test_raft_is_torchvisions_network_with_the_weights_of_its_file(method, tmp_path, monkeypatch):
    network = publish_network(monkeypatch, tmp_path, method)
    before, now = texture(3, (128, 136)), texture(4, (128, 136))
    back, forth = Raft(method, updates=2)(before, now)
    assert back.shape == (128, 136, 2)
    assert back.dtype == np.float32
    assert np.abs(back).max() > 0.1
    with torch.no_grad():
        wanted_back = network(normal(now), normal(before), num_flow_updates=2)[-1]
        wanted_forth = network(normal(before), normal(now), num_flow_updates=2)[-1]
    np.testing.assert_allclose(back, wanted_back[0].permute(1, 2, 0), atol=1e-3)
    np.testing.assert_allclose(forth, wanted_forth[0].permute(1, 2, 0), atol=1e-3)


@pytest.mark.parametrize(
    ("height", "width", "padded"), [(100, 60, (128, 128)), (129, 150, (136, 152))]
)
def test_raft_sees_pictures_of_any_size_with_their_edges_repeated(
    height, width, padded, tmp_path, monkeypatch
):
    network = publish_network(monkeypatch, tmp_path, "raft_small")
    before, now = texture(5, (height, width)), texture(6, (height, width))
    back, _ = Raft("raft_small", updates=1)(before, now)
    margins = (0, padded[1] - width, 0, padded[0] - height)
    one, other = (pad(normal(picture), margins, mode="replicate") for picture in (now, before))
    with torch.no_grad():
        wanted = network(one, other, num_flow_updates=1)[-1][0, :, :height, :width]
    np.testing.assert_allclose(back, wanted.permute(1, 2, 0), atol=1e-3)


def test_missing_weights_of_raft_are_named_with_their_source_and_place(tmp_path, monkeypatch):
    monkeypatch.setenv("AFFEKT_WEIGHTS", str(tmp_path))
    message = (
        rf"{tmp_path}/raft_large_C_T_SKHT_V2-ff5fadd5\.pth is missing; "
        r"wanted: https://download\.pytorch\.org/models/raft_large_C_T_SKHT_V2-ff5fadd5\.pth"
        r".*the method 'dis'"
    )
    with pytest.raises(FileNotFoundError, match=message):
        make_estimator("raft")


def test_weights_of_another_layout_are_refused(tmp_path, monkeypatch):
    publish_network(monkeypatch, tmp_path, "raft_small", lambda state: {"a": torch.zeros(1)})
    with pytest.raises(
        ValueError, match=r"is not of torchvision's layout: .*Missing key[^\n]{,200}$"
    ):
        Raft("raft_small")


def test_an_estimator_comes_by_its_name(monkeypatch):
    assert isinstance(make_estimator("dis"), Dis)
    with pytest.raises(ValueError, match="'farneback'; known: dis, raft, raft_small"):
        make_estimator("farneback")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="no CUDA device"):
        make_estimator("raft", "cuda")
