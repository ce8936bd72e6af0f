"""Motion transfer and re-enactment as a stream."""

import weakref

import cv2
import numpy as np
import pytest
import torch

from affekt.media.faces.compose import LONGEST, FrameComposer
from affekt.media.faces.crop import square_crop
from affekt.media.faces.portrait import Portrait, cut_whole
from affekt.media.video.pictures import reduced
from affekt.media.video.tensors import from_tensor, to_tensor
from eamm.fomm.animate import Animator, AnimatorOptions, Transfer
from eamm.fomm.generator import Generator
from eamm.fomm.keypoints import Keypoints
from eamm.fomm.transfer import hull_area, movement_scale, pose_distance, relative
from tests.corpora.drawn_face import draw_face, talking
from tests.corpora.tiny_fomm import SIZE, tiny_fomm


def random_keypoints(frames, seed=0):
    draw = torch.Generator().manual_seed(seed)
    value = torch.rand((frames, 5, 2), generator=draw) * 1.6 - 0.8
    return Keypoints(value, torch.eye(2) + 0.3 * torch.randn((frames, 5, 2, 2), generator=draw))


def frame(keypoints, k):
    return Keypoints(*(each[k : k + 1] for each in keypoints))


def test_relative_transfer_of_the_first_frame_leaves_the_source_as_it_is():
    source, driving = random_keypoints(1), random_keypoints(4, seed=1)
    moved = relative(source, driving, frame(driving, 0), scale=1.7)
    torch.testing.assert_close(frame(moved, 0), source)
    assert (frame(moved, 1).value - source.value).abs().max() > 0.1


def test_relative_transfer_by_hand():
    source = Keypoints(torch.tensor([[[0.1, 0.2]]]), torch.tensor([[[[2.0, 0.0], [0.0, 1.0]]]]))
    initial = Keypoints(torch.tensor([[[0.3, 0.3]]]), torch.tensor([[[[1.0, 1.0], [0.0, 1.0]]]]))
    driving = Keypoints(torch.tensor([[[0.5, 0.2]]]), torch.tensor([[[[0.0, -1.0], [1.0, 0.0]]]]))
    moved = relative(source, driving, initial, scale=0.5)
    torch.testing.assert_close(moved.value, torch.tensor([[[0.2, 0.15]]]))
    # J_d J_0^-1 J_s = [[0, -1], [1, 0]] [[1, -1], [0, 1]] [[2, 0], [0, 1]]
    torch.testing.assert_close(moved.jacobian, torch.tensor([[[[0.0, -1.0], [2.0, -1.0]]]]))


def test_a_driver_of_half_the_size_moves_the_source_by_twice_as_much():
    source = random_keypoints(1)
    driving = Keypoints(0.5 * source.value + torch.tensor([0.2, -0.1]), source.jacobian)
    scale = movement_scale(source, driving)
    assert scale == pytest.approx(2)
    moved = relative(source, Keypoints(driving.value + 0.1, driving.jacobian), driving, scale)
    torch.testing.assert_close(moved.value, source.value + 0.2)


def test_the_hulls_area_is_that_of_the_polygon():
    square = np.array([[0, 0], [2, 0], [2, 3], [0, 3], [1, 1]], float)
    assert hull_area(square) == pytest.approx(6)
    with pytest.raises(ValueError, match="keypoints of the source lie on a line"):
        hull_area(np.array([[0, 0], [1, 1], [2, 2]], float), "keypoints of the source")


def test_faces_are_compared_whatever_their_size_and_place():
    rng = np.random.default_rng(0)
    face = rng.normal(size=(68, 2))
    assert pose_distance(face, 3 * face + 20) == pytest.approx(0, abs=1e-12)
    mild, strong = (face + noise * rng.normal(size=(68, 2)) for noise in (0.05, 0.5))
    assert 0 < pose_distance(face, mild) < pose_distance(face, strong)


@pytest.fixture(scope="module")
def source():
    return draw_face(SIZE, background=(30, 120, 40))


@pytest.fixture
def animator(source):
    return Animator(tiny_fomm(), source)


def test_the_stream_shows_what_the_whole_network_shows(animator, source):
    driving = talking(4, SIZE, height=0.5)
    fomm = tiny_fomm()
    with torch.no_grad():
        drawn = fomm(to_tensor(np.stack([source] * 4)), to_tensor(np.stack(driving))).prediction
    expected = from_tensor(drawn)
    shown = list(animator.reenact(driving))
    for (frame_given, picture), wanted, given in zip(shown, expected, driving, strict=True):
        np.testing.assert_array_equal(frame_given, given)
        assert np.abs(picture.astype(int) - wanted).max() <= 1
    assert np.abs(expected[0].astype(int) - expected[2]).max() > 2  # else nothing is compared


@pytest.mark.parametrize("batch", [2, 3, 8])
def test_batches_change_nothing(animator, batch):
    driving = talking(5, SIZE)
    for transfer in (Transfer(), Transfer(relative=True, adapt_scale=True)):
        one = [picture for _, picture in animator.reenact(driving, transfer)]
        other = Animator(animator.fomm, draw_face(SIZE, background=(30, 120, 40)))
        other.batch = batch
        given, many = zip(*other.reenact(driving, transfer), strict=True)
        np.testing.assert_array_equal(given, driving)
        assert np.abs(np.array(one).astype(int) - np.array(many)).max() <= 1


def test_the_sources_own_keypoints_show_the_source_at_rest(animator, source):
    _, absolute = next(animator.reenact([source]))
    # Whoever drives, relative motion begins with the source's own keypoints.
    other = talking(2, SIZE, height=0.4, center=(0.4, 0.6))
    _, moved = next(animator.reenact(other, Transfer(relative=True)))
    assert np.abs(absolute.astype(int) - moved).max() <= 1
    _, taken = next(animator.reenact(other))
    assert np.abs(absolute.astype(int) - taken).max() > 2
    (own,) = next(animator.render(animator.keypoints))
    np.testing.assert_array_equal(own, absolute)


def test_relative_motion_starts_at_the_initial_frame(animator):
    driving = talking(4, SIZE, height=0.5)
    (rest,) = next(animator.render(animator.keypoints))
    transfer = Transfer(relative=True, initial=driving[3])
    pictures = [picture for _, picture in animator.reenact(driving, transfer)]
    assert np.abs(pictures[3].astype(int) - rest).max() <= 1
    assert np.abs(pictures[0].astype(int) - rest).max() > 1


def test_the_source_is_encoded_once(animator, source, monkeypatch):
    calls = []
    encode = Generator.encode
    monkeypatch.setattr(
        Generator, "encode", lambda self, frames: calls.append(len(frames)) or encode(self, frames)
    )
    assert len(list(Animator(animator.fomm, source).reenact(talking(4, SIZE)))) == 4
    assert calls == [1]


def test_several_keypoints_are_played_side_by_side(animator):
    one, other = random_keypoints(5), random_keypoints(5, seed=1)
    rows = list(animator.render(one, other))
    alone = [[picture for (picture,) in animator.render(each)] for each in (one, other)]
    assert len(rows) == 5
    for k, row in enumerate(rows):
        for picture, pictures in zip(row, alone, strict=True):
            np.testing.assert_array_equal(picture, pictures[k])


def test_workers_draw_the_same_pictures_in_order(animator, source):
    several = Animator(animator.fomm, source, AnimatorOptions(workers=2))
    driving = talking(7, SIZE, height=0.5)
    pairs = zip(several.reenact(driving), animator.reenact(driving), strict=True)
    for (given, drawn), (same, wanted) in pairs:
        np.testing.assert_array_equal(given, same)
        assert np.abs(drawn.astype(int) - wanted).max() <= 1
    with pytest.raises(ValueError, match="workers is 0"):
        AnimatorOptions(workers=0)


class Counted(np.ndarray):
    """A picture that can be weakly referred to."""


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("transfer", [Transfer(), Transfer(relative=True, adapt_scale=True)])
def test_never_more_than_two_batches_of_frames_is_alive(animator, source, batch, transfer):
    given, most = [], []

    def frames():
        for k in range(24):
            picture = (source + k).view(Counted)
            given.append(weakref.ref(picture))
            most.append(sum(each() is not None for each in given))
            yield picture

    animator.batch = batch
    assert sum(1 for _pair in animator.reenact(frames(), transfer)) == 24
    assert max(most) <= 2 * batch + 1


def test_no_frame_gives_no_picture(animator):
    assert list(animator.reenact([])) == []


@pytest.mark.parametrize("side", [400, 3000])
def test_the_sources_own_crop_pasted_back_is_the_portrait(side):
    picture = cv2.resize(draw_face(400, height=0.5), (side, side), interpolation=cv2.INTER_LINEAR)
    crop = square_crop(side // 4, side // 5, side // 2, (side, side), 256)
    portrait = Portrait(picture, crop, cut_whole(picture, crop), None)
    frame = FrameComposer(portrait, paste_back=True)(portrait.stored)
    wanted = reduced(picture, LONGEST)
    assert frame.shape == wanted.shape
    assert max(frame.shape) == min(side, LONGEST)
    assert np.abs(frame.astype(int) - wanted).mean() < 1.5
    apart = FrameComposer(portrait, paste_back=True)(255 - portrait.stored)
    assert np.abs(apart.astype(int) - wanted).mean() > 10
