"""The release's 106 points: the same parts of a face as the 68, through alignment and edge maps."""

import cv2
import numpy as np
import pytest

from affekt.media.faces import edges, geometry, points
from affekt.media.faces.schemes import IBUG68, SCHEMES, SENSE106, scheme_of, to_ibug68
from tests.corpora.made_up_faces import made_up_frame, plain_face

PARTS = ("jaw", "brows", "nose", "eyes", "mouth")


def face_106(size=256):
    """A plain face with 106 points: the 68, and those between, beside and below them."""
    known, face = plain_face(size), np.zeros((106, 2))
    face[list(SENSE106.ibug)] = known
    face[1:33:2] = (face[0:32:2] + face[2:33:2]) / 2  # contour
    for bottom, top in zip(
        (*range(64, 68), *range(68, 72)), (33, 34, 36, 37, 38, 39, 41, 42), strict=True
    ):
        face[bottom] = face[top] + (0, size * 0.02)
    for middle, (one, other) in {72: (53, 54), 73: (56, 57), 75: (59, 60), 76: (62, 63)}.items():
        face[middle] = (face[one] + face[other]) / 2
    face[[74, 104]] = face[52:58].mean(axis=0)
    face[[77, 105]] = face[58:64].mean(axis=0)
    for number, side in enumerate((-1, 1, -1, 1, -1, 1)):
        face[78 + number] = face[44 + number // 2] + (side * size * 0.03, 0)
    return face


def mirrored(face, size=256):
    return np.array([size, 0]) + face * [-1, 1]


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_mirroring_twice_is_nothing_keeps_every_group_and_is_ibugs(scheme):
    flip, ibug = np.array(scheme.flip), np.array(scheme.ibug)
    np.testing.assert_array_equal(flip[ibug], ibug[list(points.FLIP)])
    np.testing.assert_array_equal(flip[flip], np.arange(scheme.count))
    for group in scheme.groups.values():
        assert set(flip[list(group)]) == set(group)


def test_a_symmetric_face_is_its_own_mirror_image():
    face = face_106()
    np.testing.assert_allclose(mirrored(face)[list(SENSE106.flip)], face, atol=1e-9)


def test_every_point_of_a_group_of_68_lies_in_that_group_of_106():
    for group in PARTS:
        chosen = {SENSE106.ibug[point] for point in points.GROUPS[group]}
        assert chosen <= set(SENSE106.groups[group]), group
    assert [len(SENSE106.groups[group]) for group in PARTS] == [33, 18, 9, 12, 20]
    grouped = sorted(point for group in SENSE106.groups.values() for point in group)
    assert sorted({*grouped}) == grouped == sorted({*range(72), *range(84, 104)})


def test_landmarks_by_hand_are_the_known_ones_of_ibug():
    numbered = np.arange(106)[:, None] * np.ones(2)
    chosen = to_ibug68(numbered)[:, 0].astype(int)
    named = {8: 16, 16: 32, 17: 33, 21: 37, 22: 38, 30: 46, 33: 49, 36: 52, 39: 55, 42: 58, 45: 61}
    named |= {48: 84, 54: 90, 57: 93, 60: 96, 62: 98, 64: 100, 66: 102}  # 98, 102: the lips' middle
    assert {ibug: chosen[ibug] for ibug in named} == named
    assert SENSE106.rigid == (43, 44, 45, 46, 52, 55, 58, 61)
    assert IBUG68.rigid == points.RIGID


def test_68_points_pass_through_untouched():
    face = plain_face(256)
    assert to_ibug68(face) is face
    assert scheme_of(face) is IBUG68
    assert scheme_of(np.zeros((5, 106, 3))) is SENSE106
    with pytest.raises(ValueError, match=r"\(98, 2\).*68 \(ibug68\), 106 \(sense106\)"):
        scheme_of(np.zeros((98, 2)))
    with pytest.raises(ValueError, match="68"):
        scheme_of(np.zeros(212))


@pytest.mark.parametrize("view", ["2d", "3d"])
def test_both_schemes_of_a_face_are_aligned_alike(view):
    rng = np.random.default_rng(0)
    dims = int(view[0])
    face = np.concatenate([face_106(), rng.normal(0, 20, (106, 1))], axis=1)[:, :dims]
    turn = geometry.rotation_matrix([0, 0, 0.4])[:dims, :dims]
    raw = 1.7 * face @ turn.T + 40
    align = {"2d": geometry.align_2d, "3d": geometry.align_3d}[view]
    aligned = align(raw[None], scheme=SENSE106)
    assert aligned.shape == (1, 106, 2)
    np.testing.assert_allclose(to_ibug68(aligned), align(to_ibug68(raw)[None]), atol=1e-9)


def test_an_edge_map_has_the_same_parts_in_both_schemes():
    names = [[name for name, _ in scheme.curves] for scheme in SCHEMES.values()]
    assert len(names[0]) == len(names[1]) == 14
    assert [*names[0][:3], *names[0][6:]] == [*names[1][:3], *names[1][6:]]
    frame, _ = made_up_frame(256)
    face = face_106()
    map_106 = edges.guidance_map(frame, face, "distance", scheme=SENSE106)
    map_68 = edges.guidance_map(frame, to_ibug68(face), "distance")
    assert map_106.shape == map_68.shape == (15, 256, 256)
    eyes_and_lips = slice(6, 14)  # whose lines are the same points
    np.testing.assert_array_equal(map_106[eyes_and_lips], map_68[eyes_and_lips])
    assert np.abs(map_106[0].astype(int) - map_68[0]).max() <= 2  # contour: through points between


def test_the_lines_of_106_points_are_the_releases():
    drawn = {tuple(sorted(line)) for _, line in SENSE106.curves}
    face = face_106()
    picture = edges.sketch(face, (256, 256), SENSE106)
    on_a_line = {point for line in drawn for point in line}
    assert on_a_line == set(range(106)) - {43, 45, 46, *range(72, 84), 104, 105}
    for point in on_a_line:
        x, y = np.rint(face[point]).astype(int)
        assert picture[y - 1 : y + 2, x - 1 : x + 2].any(), point
    x, y = np.rint(face[46]).astype(int)
    assert not picture[y - 2 : y + 3, x - 2 : x + 3].any()  # the tip of the nose is not drawn


def test_the_face_region_is_that_of_the_finer_contour():
    face = face_106()
    one = edges.face_region(face, (256, 256), SENSE106) > 0
    other = edges.face_region(to_ibug68(face), (256, 256)) > 0
    assert (one & other).sum() / (one | other).sum() > 0.995
    frame, _ = made_up_frame(256)
    ours = edges.guidance_map(frame, face, "plain", also_cleared=face, scheme=SENSE106)[0]
    np.testing.assert_array_equal(ours[one], edges.sketch(face, (256, 256), SENSE106)[one])


def test_landmarks_of_the_other_scheme_are_refused_by_name():
    frame, face = made_up_frame(128)
    with pytest.raises(ValueError, match=r"\(106, 2\), which is sense106.*68, 2 or 3.*of ibug68"):
        edges.guidance_map(frame, face_106(128), "plain")
    with pytest.raises(ValueError, match="which is ibug68"):
        edges.face_region(face, (128, 128), SENSE106)
    with pytest.raises(ValueError, match="wanted"):
        geometry.align_2d(face_106()[None])
    with pytest.raises(ValueError, match="wanted"):
        geometry.align_3d(np.zeros((1, 68, 3)), SENSE106)


def test_distances_are_to_the_parts_of_106_points():
    face = face_106()
    maps = edges.part_distances(edges.curve_points(face, SENSE106), (256, 256), SENSE106)
    right_brow = maps[[name for name, _ in SENSE106.curves].index("right brow")]
    brow = np.zeros((256, 256), np.uint8)
    line = face[[38, 39, 40, 41, 42, 71, 70, 69, 68, 38]]
    cv2.polylines(brow, [np.rint(line).astype(np.int32)], False, (255,))
    away = cv2.distanceTransform(255 - brow, cv2.DIST_L1, 3) / 3
    assert np.abs(right_brow - np.minimum(away, 255)).max() < 2


@pytest.mark.data
@pytest.mark.parametrize("speaker", ["M003", "M030"])
def test_the_releases_mean_faces_have_their_points_where_the_scheme_says(media_root, speaker):
    mean = np.load(media_root / "evp_arrays" / f"basics__{speaker}_mean_106.npy").reshape(106, 2)
    face = geometry.align_2d(255 * mean[None], SENSE106)[0]
    rigid = face[list(SENSE106.rigid)]
    assert np.linalg.norm(rigid - geometry.RIGID_TEMPLATE[:, :2], axis=1).max() < 5
    apart = np.linalg.norm(mirrored(face)[list(SENSE106.flip)] - face, axis=1)
    assert apart.max() < 12  # people are symmetric but for some pixels; a wrong pair is 20 apart
    tops, bottoms = face[[72, 75]], face[[73, 76]]
    assert (tops[:, 1] < face[[74, 77], 1]).all()
    assert (bottoms[:, 1] > face[[74, 77], 1]).all()
