"""What is cut out of a frame, and that its transform says where everything went."""

import cv2
import numpy as np
import pytest

from affekt.media.faces.crop import EAMM_TEMPLATE, Crop, block_means, choose_crop, cut, square_crop
from affekt.media.faces.geometry import apply, similarity
from affekt.media.faces.points import RIGID
from tests.corpora.made_up_faces import plain_face


def face_points(left, right, top, bottom):
    points = np.zeros((68, 2))
    points[:] = ((left + right) / 2, (top + bottom) / 2)
    points[0], points[16], points[19], points[8] = (
        (left, top + 20),
        (right, top + 20),
        (left + 20, top),
        ((left + right) / 2, bottom),
    )
    return points


def test_the_portrait_square_by_hand():
    # side 2.1 x 200 = 420, centre x 500, centre y (3 x 300 + 500) / 4 = 350
    crop = choose_crop("portrait", face_points(400, 600, 300, 500), (1920, 1080), 210)
    corners = crop.to_stored(np.array([[290.0, 140.0], [709.0, 559.0]]))  # first, last pixel
    np.testing.assert_allclose(corners, [[-0.25, -0.25], [209.25, 209.25]])
    assert crop.scale == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("points", "size", "square"),
    [
        (face_points(20, 120, 30, 130), (640, 360), (0, 0, 210)),  # pushed out of the corner
        (face_points(500, 620, 200, 330), (640, 360), (388, 106, 252)),  # and of the other one
        (face_points(60, 210, 70, 230), (256, 256), (0, 0, 256)),  # larger than the frame
        (face_points(100, 300, 200, 400), (400, 640), (0, 50, 400)),  # wider than the frame
    ],
)
def test_the_portrait_square_never_leaves_the_frame(points, size, square):
    crop = choose_crop("portrait", points, size, 128)
    left, top, side = square
    corner = crop.to_source(np.array([[-0.5, -0.5], [127.5, 127.5]]))
    np.testing.assert_allclose(corner, np.array([[left, top], [left + side, top + side]]) - 0.5)


@pytest.mark.parametrize("size", [128, 256])
def test_the_eamm_crop_brings_the_rigid_points_to_the_template(size):
    angle = np.radians(20)
    turn = 1.7 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = np.random.default_rng(0).uniform(200, 400, (68, 2))
    points[list(RIGID)] = EAMM_TEMPLATE @ turn.T + (300, 150)
    crop = choose_crop("eamm", points, (900, 700), size)
    wanted = (EAMM_TEMPLATE + 0.5) * size / 256 - 0.5
    np.testing.assert_allclose(crop.to_stored(points[list(RIGID)]), wanted, atol=1e-9)


def spot_picture(x, y, size=(500, 400)):
    """A soft bright spot at a place that need not be whole."""
    columns, rows = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    spot = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 6**2))
    return np.repeat((20 + 200 * spot).astype(np.uint8)[..., None], 3, axis=2)


def centre_of(picture):
    weight = np.clip(picture[..., 0].astype(float) - 40, 0, None)
    rows, columns = np.mgrid[: picture.shape[0], : picture.shape[1]]
    return np.array([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum()


@pytest.mark.parametrize("side", [100, 130, 211, 256, 387, "turned"])
def test_a_cut_picture_shows_a_spot_where_the_transform_says(side):
    place = np.array([263.3, 201.8])
    if side == "turned":
        cos, sin = 0.4 * np.cos(np.radians(25)), 0.4 * np.sin(np.radians(25))
        rotation = np.array([[cos, -sin], [sin, cos]])
        crop = Crop(np.column_stack([rotation, 64 - rotation @ place]), (128, 128), (500, 400))
    else:
        crop = square_crop(*((220, 160) if side < 240 else (60, 10)), side, (500, 400), 128)
    shown = centre_of(cut(spot_picture(*place), crop))
    assert np.abs(shown - crop.to_stored(place)).max() < 0.15


def test_shrinking_does_not_alias():
    stripes = np.zeros((400, 400, 3), np.uint8)
    stripes[:, ::2] = 255  # finer than the stored picture can show: it must be even grey
    stored = cut(stripes, square_crop(8, 8, 384, (400, 400), 96)).astype(float)
    assert stored.std() < 3
    assert stored.mean() == pytest.approx(127.5, abs=2)


def test_outside_the_source_it_is_black_and_at_the_edge_it_is_not():
    bright = np.full((100, 100, 3), 200, np.uint8)
    for size in (50, 100, 150):  # enlarged, the outer pixels lie beyond the first centres
        assert cut(bright, square_crop(0, 0, 100, (100, 100), size)).min() == 200
    turned = Crop(np.array([[0.5, 0, 20], [0, 0.5, 20]]), (90, 90), (100, 100))
    stored = cut(bright, turned)
    assert stored[45, 45, 0] == 200
    assert stored[:15].max() == stored[:, :15].max() == 0


def test_a_frame_of_another_size_is_refused():
    crop = square_crop(0, 0, 64, (100, 100), 32)
    with pytest.raises(ValueError, match="the picture is 80 x 100, its crop is of 100 x 100"):
        cut(np.zeros((100, 80, 3), np.uint8), crop)


def test_a_frontal_face_is_not_rolled_by_the_eamm_template():
    bridge, eyes = EAMM_TEMPLATE[:4], EAMM_TEMPLATE[4:]
    middle = eyes[:, 0].mean()
    assert np.abs(bridge[:, 0] - middle).max() <= 0.5  # a turned nose would roll every other face
    assert np.abs(eyes[:, 0] + eyes[::-1, 0] - 2 * middle).max() <= 1
    symmetric = plain_face(256)
    assert np.abs(symmetric[list(RIGID)][:4, 0] - symmetric[[36, 45], 0].mean()).max() < 1e-6
    matrix = choose_crop("eamm", symmetric, (256, 256), 256).matrix
    assert abs(np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0]))) < 0.6


@pytest.mark.data
def test_the_eamm_crop_puts_a_frontal_face_where_the_releases_alignment_does(media_root):
    template = np.load(media_root / "eamm_arrays" / "M003_template.npy", allow_pickle=False)
    with np.load(media_root / "face_model" / "ict_68.npz", allow_pickle=False) as model:
        face = model["mean"][:, :2].astype(float)
    if face[8, 1] < face[27, 1]:  # the model's y may point up
        face = face * [1, -1]
    face = 900 * (face - face.min(0)) / np.ptp(face, axis=0).max() + 50
    released = apply(similarity(face[:47], template[:47]), face)[list(RIGID)]
    ours = choose_crop("eamm", face, (1000, 1000), 256).to_stored(face)[list(RIGID)]
    assert np.abs(ours - released).max() < 2


@pytest.mark.parametrize("block", [3, 4, 7, 16])
def test_block_means_equal_opencvs_area_filter_also_beyond_the_border(block):
    picture = np.random.default_rng(block).integers(0, 256, (90, 130, 3), dtype=np.uint8)
    width, height = 96 // block, 64 // block
    margin = 50
    framed = cv2.copyMakeBorder(picture, *[margin] * 4, cv2.BORDER_REPLICATE)
    for left, top in ((11, 5), (-20, -9), (60, 50), (-50, 70)):
        found = block_means(picture, (left, top), (width, height), block)
        inside = framed[top + margin :, left + margin :][: height * block, : width * block]
        wanted = cv2.resize(inside, (width, height), interpolation=cv2.INTER_AREA)
        np.testing.assert_array_equal(found, wanted)
