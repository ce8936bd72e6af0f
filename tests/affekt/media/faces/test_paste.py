import numpy as np
import pytest

from affekt.media.faces.crop import Crop
from affekt.media.faces.paste import border_mask, face_mask, paste
from affekt.media.video.result import ping_pong


def crop(scale=0.5, shift=(-10.0, -20.0), size=64):
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    return Crop(matrix, (size, size), (200, 160))


def test_ping_pong_by_hand():
    assert ping_pong(3, 8).tolist() == [0, 1, 2, 2, 1, 0, 0, 1]
    assert ping_pong(1, 3).tolist() == [0, 0, 0]
    assert ping_pong(5, 2).tolist() == [0, 1]
    with pytest.raises(ValueError, match="without frames"):
        ping_pong(0, 3)


def test_what_was_cut_out_goes_back_where_it_was():
    y, x = np.mgrid[:160, :200]
    frame = np.stack([x, y, 255 - x], axis=2).astype(np.uint8)
    cut = crop()
    sy, sx = np.mgrid[:64, :64]
    source = cut.to_source(np.stack([sx, sy], axis=2).reshape(-1, 2)).reshape(64, 64, 2)
    picture = np.stack([source[..., 0], source[..., 1], 255 - source[..., 0]], axis=2)
    back = paste(frame, picture.astype(np.uint8), cut, np.ones((64, 64)))
    inside = (slice(45, 160), slice(25, 140))
    assert np.abs(back[inside].astype(int) - frame[inside]).max() <= 2
    np.testing.assert_array_equal(back[:36], frame[:36])  # above the crop nothing changes


def test_a_picture_of_another_size_covers_the_same_place():
    frame = np.zeros((160, 200, 3), np.uint8)
    small, large = (
        paste(frame, np.full((s, s, 3), 200, np.uint8), crop(), border_mask(s)) for s in (32, 128)
    )
    both = (small > 100) & (large > 100)
    assert both.sum() > 0.9 * ((small > 100) | (large > 100)).sum()
    assert not frame.any()  # the frame that was given is not changed


def test_a_crop_outside_the_frame_changes_nothing():
    frame = np.full((160, 200, 3), 7, np.uint8)
    away = paste(
        frame, np.zeros((64, 64, 3), np.uint8), crop(shift=(900.0, 0.0)), np.ones((64, 64))
    )
    np.testing.assert_array_equal(away, frame)


def test_the_face_mask_covers_both_faces_and_not_the_corners():
    angle = np.linspace(0, np.pi, 17)
    face = np.zeros((68, 2))
    face[:17] = np.stack([64 - 30 * np.cos(angle), 60 + 40 * np.sin(angle)], axis=1)
    face[17:] = (64, 70)
    moved = face + np.array([12, 0])
    mask = face_mask([face, moved], 128)
    for landmarks in (face, moved):
        assert (mask[landmarks[1:16, 1].astype(int), landmarks[1:16, 0].astype(int)] > 0.6).all()
    assert mask[[0, 0, -1, -1], [0, -1, 0, -1]].max() == 0
