"""CSIM: alignment, embedding through onnxruntime, and the cosine."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from affekt.metrics import identity
from affekt.metrics.identity import (
    TEMPLATE,
    aligned_face,
    csim,
    embed,
    five_points,
    load_arcface,
)
from tests.corpora.made_up_faces import plain_face


def numbered(*fields):
    """Encode (number, value) pairs as protobuf: whole numbers, bytes, text."""
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(data)) + data
    return out


def varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def tensor_type(name, *sizes):
    named = [(2 if isinstance(size, str) else 1, size) for size in sizes]
    shape = b"".join(numbered((1, numbered(each))) for each in named)
    return numbered((1, name), (2, numbered((1, numbered((1, 1), (2, shape))))))


def network(path, weights, size=112):
    """Write an ONNX network: means of 28 x 28 pixels, times `weights` (48, E)."""
    ints = numbered((1, "kernel_shape"), (20, 7), (8, 28), (8, 28))
    steps = numbered((1, "strides"), (20, 7), (8, 28), (8, 28))
    pool = numbered((1, "faces"), (2, "means"), (4, "AveragePool"), (5, ints), (5, steps))
    flat = numbered((1, "means"), (2, "flat"), (4, "Flatten"))
    product = numbered((1, "flat"), (1, "weights"), (2, "embedding"), (4, "MatMul"))
    raw = weights.astype("<f4").tobytes()
    lengths = [(1, length) for length in weights.shape]
    data = numbered(*lengths, (2, 1), (8, "weights"), (9, raw))
    nodes = [(1, node) for node in (pool, flat, product)]
    faces = tensor_type("faces", "N", 3, size, size)
    embedding = tensor_type("embedding", "N", weights.shape[1])
    graph = numbered(*nodes, (2, "tiny"), (5, data), (11, faces), (12, embedding))
    path.write_bytes(numbered((1, 8), (7, graph), (8, numbered((2, 13)))))
    return path


class MeanColour:
    """Embeds a face as its mean colour, and remembers what it was shown."""

    def __init__(self):
        self.shown = []

    def get_inputs(self):
        return [SimpleNamespace(name="in")]

    def get_outputs(self):
        return []

    def run(self, names, feed):
        self.shown.append(feed["in"])
        result = np.zeros((len(feed["in"]), 512), np.float32)
        result[:, :3] = feed["in"].mean(axis=(2, 3))
        return [result]


def smooth_picture(size=256):
    noise = np.random.default_rng(0).uniform(0, 255, (size // 16, size // 16, 3))
    return cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype("u1")


def test_five_points_by_hand():
    points = np.zeros((68, 3))
    points[36:42, :2] = [(1, 5), (2, 4), (3, 4), (4, 5), (3, 6), (2, 6)]
    points[42:48, :2] = points[36:42, :2] + (10, 0)
    points[30, :2], points[48, :2], points[54, :2] = (7, 9), (4, 12), (10, 13)
    wanted = [(2.5, 5), (12.5, 5), (7, 9), (4, 12), (10, 13)]
    np.testing.assert_allclose(five_points(points), wanted)
    np.testing.assert_allclose(five_points(np.stack([points, points + 1]))[1], np.array(wanted) + 1)


def test_points_that_lie_on_the_template_leave_the_picture_as_it_is():
    picture = smooth_picture(112)
    points = np.repeat(TEMPLATE.mean(axis=0)[None], 68, axis=0)
    points[36:42], points[42:48] = TEMPLATE[0], TEMPLATE[1]
    points[30], points[48], points[54] = TEMPLATE[2:]
    np.testing.assert_array_equal(aligned_face(picture, points), picture)


@pytest.mark.parametrize(("angle", "zoom"), [(20, 1.0), (-35, 0.8), (0, 1.4)])
def test_a_turned_and_scaled_picture_gives_the_same_face(angle, zoom):
    picture, points = smooth_picture(), plain_face(256)
    straight = aligned_face(picture, points)
    matrix = cv2.getRotationMatrix2D((128, 128), angle, zoom)
    moved = cv2.warpAffine(picture, matrix, (256, 256), flags=cv2.INTER_CUBIC)
    turned = aligned_face(moved, points @ matrix[:, :2].T + matrix[:, 2])
    middle = (slice(25, 100), slice(20, 92))  # corners may come from outside the turned picture
    assert np.abs(turned[middle].astype(int) - straight[middle]).mean() < 2
    elsewhere = aligned_face(picture, points + 8)
    assert np.abs(elsewhere[middle].astype(int) - straight[middle]).mean() > 10


def test_the_network_sees_rgb_between_minus_one_and_one():
    frame = np.zeros((256, 256, 3), np.uint8)
    frame[..., 0], frame[..., 1] = 255, 51  # red 1, green -0.6, blue -1
    session = MeanColour()
    result = embed(session, [frame], plain_face(256)[None])
    np.testing.assert_allclose(result[0, :3], (1, -0.6, -1), atol=1e-6)
    assert session.shown[0].shape == (1, 3, 112, 112)
    assert session.shown[0].dtype == np.float32


def test_frames_without_a_face_are_left_out_and_the_others_keep_their_places(monkeypatch):
    monkeypatch.setattr(identity, "BATCH", 2)
    frames = [np.full((256, 256, 3), 20 * i, np.uint8) for i in range(6)]
    landmarks = np.repeat(plain_face(256)[None], 6, axis=0)
    landmarks[2, 5] = np.nan
    session = MeanColour()
    result = embed(session, iter(frames), landmarks)
    assert np.isnan(result[2]).all()
    seen = result[[0, 1, 3, 4, 5], 0] * 127.5 + 127.5
    np.testing.assert_allclose(seen, (0, 20, 60, 80, 100), atol=1e-3)
    assert [len(shown) for shown in session.shown] == [2, 2, 1]


def test_csim_by_hand():
    """Cosines 1, 0 and -0.6 with the source, lengths do not matter, one frame has no face."""
    embeddings = np.array([[2.0, 0.0], [0.0, 5.0], [np.nan, np.nan], [-3.0, 4.0]])
    assert csim(embeddings, np.array([7.0, 0.0])) == pytest.approx((1 + 0 - 0.6) / 3)
    assert np.isfinite(embeddings).all(axis=1).tolist() == [True, True, False, True]
    assert csim(np.full((2, 2), np.nan), np.ones(2)) is None


def test_onnxruntime_runs_the_network_on_what_was_aligned(tmp_path):
    weights = np.random.default_rng(0).standard_normal((48, 512))
    session = load_arcface(network(tmp_path / "tiny.onnx", weights))
    picture, points = smooth_picture(), plain_face(256)
    result = embed(session, [picture] * 3, np.repeat(points[None], 3, axis=0))
    face = (aligned_face(picture, points).astype(float) - 127.5) / 127.5
    means = face.reshape(4, 28, 4, 28, 3).mean(axis=(1, 3)).transpose(2, 0, 1).ravel()
    np.testing.assert_allclose(result[2], means @ weights, atol=1e-4)
    assert csim(result, result[0]) == pytest.approx(1, abs=1e-6)


def test_a_session_takes_one_thread(tmp_path):
    path = network(tmp_path / "tiny.onnx", np.zeros((48, 512)))
    assert load_arcface(path).get_session_options().intra_op_num_threads == 1


def test_what_is_no_arcface_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="w600k_r50"):
        load_arcface(tmp_path / "nothing.onnx")
    whole = network(tmp_path / "whole.onnx", np.zeros((48, 512))).read_bytes()
    for content in (b"<html>not found</html>", b"", whole[: len(whole) // 2]):
        (tmp_path / "wrong.onnx").write_bytes(content)
        with pytest.raises(ValueError, match=r"wrong\.onnx is no ONNX network"):
            load_arcface(tmp_path / "wrong.onnx")
    with pytest.raises(ValueError, match=r"wanted faces \(N, 3, 112, 112\) to \(N, 512\)"):
        load_arcface(network(tmp_path / "short.onnx", np.zeros((48, 128))))


def test_inputs_that_do_not_fit_are_refused():
    landmarks = plain_face(256)[None]
    frame = np.zeros((256, 256, 3), np.uint8)
    for frames in ([], [frame, frame]):
        with pytest.raises(ValueError, match="argument"):
            embed(MeanColour(), frames, landmarks)
    with pytest.raises(ValueError, match="source picture has no face"):
        csim(np.ones((2, 3)), np.full(3, np.nan))
