"""EAMM's poses: signs and units against pictures, rotations and the release's files."""

import cv2
import numpy as np
import pytest
import scipy.io
from scipy.spatial.transform import Rotation

from affekt.media.corpus import Clip
from affekt.media.face3d.model import load_face_model, project
from affekt.media.faces.crop import EAMM_TEMPLATE, Crop, choose_crop
from affekt.media.faces.detector import make_detector
from affekt.media.faces.one_euro import one_euro
from affekt.runtime.files import save_npy, write_json
from eamm.pose import (
    ORIGIN,
    fitted_pose,
    pose_for,
    read_pose_file,
    relative_pose,
    release_pose,
    to_release,
)
from tests.corpora.made_up_faces import made_up_clip, made_up_model

TO_UPWARDS = np.diag([1.0, -1.0, -1.0])  # from y down, z away to y up, z to the viewer, and back
CENTRE = EAMM_TEMPLATE.mean(axis=0)
SAME = Crop(np.array([[1.0, 0, 0], [0, 1, 0]]), (256, 256), (256, 256))


def rotation_vectors(angles):
    """The project's rotation vectors of yaw, pitch, roll (T, 3), degrees, as the release means."""
    yaw, pitch, roll = np.asarray(angles, float).T
    about = np.column_stack([roll, -yaw, pitch])
    upwards = Rotation.from_euler("ZYX", about, degrees=True).as_matrix()
    return Rotation.from_matrix(TO_UPWARDS @ upwards @ TO_UPWARDS).as_rotvec()


def poses_of(angles, unit=77.0, at=CENTRE):
    """Poses (T, 6) of heads turned by angles (T, 3), `unit` pixels from eye to eye, at a point."""
    vectors = rotation_vectors(angles)
    return np.column_stack([vectors, np.tile([np.log(unit), *at], (len(vectors), 1))])


def turned(**degrees):
    """The mean face (68, 2) in pixels, turned by one of the release's angles."""
    angles = [[degrees.get(name, 0) for name in ("yaw", "pitch", "roll")]]
    return project(made_up_model().mean, poses_of(angles))[0]


# signs and units


def test_positive_angles_turn_to_the_viewers_left_look_down_and_lift_the_eye_at_the_image_right():
    left, down, leaning, ahead = turned(yaw=20), turned(pitch=20), turned(roll=20), turned()
    assert left[30, 0] - left[27, 0] < ahead[30, 0] - ahead[27, 0] - 3
    assert down[30, 1] - down[27, 1] > ahead[30, 1] - ahead[27, 1] + 3
    assert leaning[45, 1] < leaning[36, 1] - 20


def test_angles_come_back_from_any_rotation():
    angles = np.random.default_rng(0).uniform([-70, -60, -60], [70, 60, 60], (50, 3))
    found = to_release(poses_of(angles), SAME)
    assert (found.shape, found.dtype) == ((50, 6), np.float32)
    np.testing.assert_allclose(found[:, :3], angles, atol=1e-4)


def test_scale_and_place_by_hand():
    """120 units are 224 px of the 256 px crop, 89200 micrometres the distance of the eyes."""
    ahead = to_release(poses_of([[0, 0, 0]]), SAME)[0]
    np.testing.assert_allclose(ahead[4:], ORIGIN, atol=1e-4)
    assert ahead[3] == pytest.approx(77 * 120 / 224 / 89_200, rel=1e-6)
    moved = to_release(poses_of([[0, 0, 0]], unit=154, at=CENTRE + np.array([22.4, 11.2])), SAME)[0]
    np.testing.assert_allclose(moved[4:] - ahead[4:], [12, -6], atol=1e-4)  # ty counts upwards
    assert moved[3] == pytest.approx(2 * ahead[3], rel=1e-6)


def test_the_origin_lies_behind_the_face():
    """0.65 eye distances of 77 px deep, times 120 / 224 units a pixel, times sin 30."""
    lever = 0.65 * 77 * 120 / 224 / 2
    yaw, pitch = to_release(poses_of([[30, 0, 0], [0, 30, 0]]), SAME)
    np.testing.assert_allclose(yaw[4:] - ORIGIN, [lever, 0], atol=1e-4)
    np.testing.assert_allclose(pitch[4:] - ORIGIN, [0, lever], atol=1e-4)


def seen(size_of_source, turn, stored=256):
    """The release poses of one moving head, filmed larger or with the camera turned (degrees)."""
    model = made_up_model(K=3, E=3)
    pose = made_up_clip(model, 12, turn=0.5, seed=4).pose.copy()
    camera = Rotation.from_euler("z", turn, degrees=True)
    pose[:, :3] = (camera * Rotation.from_rotvec(pose[:, :3])).as_rotvec()
    pose[:, 3] += np.log(size_of_source / 256)
    pose[:, 4:] = pose[:, 4:] @ camera.as_matrix()[:2, :2].T * size_of_source / 256 + turn
    landmarks = project(model.mean, pose)
    size = (size_of_source, size_of_source)
    return to_release(pose, choose_crop("eamm", landmarks[0], size, stored))


@pytest.mark.parametrize(
    ("source", "turn", "stored"), [(1080, 0, 256), (256, 25, 256), (90, -9, 64)]
)
def test_the_source_and_the_stored_size_do_not_matter(source, turn, stored):
    plain, other = seen(256, 0), seen(source, turn, stored)
    assert np.ptp(plain, axis=0)[:3].min() > 1  # it moves
    np.testing.assert_allclose(other, plain, rtol=1e-4, atol=0.02)
    np.testing.assert_allclose(other[:, 3], plain[:, 3], rtol=1e-5)


def test_a_square_that_follows_the_face_leaves_the_angles_alone_to_decide():
    angles = np.array([[10, 5, -3], [-20, 0, 4.0]])
    near, far = poses_of(angles), poses_of(angles, unit=50, at=CENTRE + 30)
    clip = [to_release(pose, SAME) for pose in (near, far)]
    face = [to_release(pose, SAME, "face") for pose in (near, far)]
    np.testing.assert_array_equal(*face)
    np.testing.assert_allclose(face[0], clip[0], rtol=1e-5)  # a head on the template: the same
    assert np.abs(clip[0] - clip[1])[:, 4:].min() > 5


def test_poses_of_another_form_are_refused():
    for wrong in (np.zeros(6), np.zeros((3, 7)), np.full((2, 6), np.nan)):
        with pytest.raises(ValueError, match="wanted finite \\(T, 6\\)"):
            to_release(wrong, SAME)


# clips, portraits and sequences


def test_a_clip_of_a_corpus_is_converted_with_its_own_crop(tmp_path):
    pose = poses_of([[10, 0, 0]] * 4, at=(400, 300)).astype(np.float32)
    crop = {"matrix": [[0.5, 0, -60], [0, 0.5, -30]], "size": [128, 128], "source_size": [900, 600]}
    clip = Clip("a", "b", "neutral", 1, "1", "train", 4, "", "", tmp_path)
    write_json(tmp_path / "crop.json", crop)
    with pytest.raises(FileNotFoundError, match=r"data_prep\.pose"):
        release_pose(clip)
    save_npy(tmp_path / "pose.npy", pose)
    expected = to_release(pose, clip.crop())
    np.testing.assert_array_equal(release_pose(clip), expected)
    assert expected[0, 3] == pytest.approx(77 * 120 / 224 / 89_200, rel=1e-5)  # 0.5 * 256 / 128
    place = 2 * (0.5 * 400 - 60 + 0.5) - 0.5 - CENTRE[0] + 0.65 * 77 * np.sin(np.radians(10))
    assert expected[0, 4] == pytest.approx(ORIGIN[0] + place * 120 / 224, abs=1e-3)


def test_landmarks_give_the_pose_of_a_clip_and_of_one_portrait():
    model = made_up_model(K=3, E=3)
    landmarks, truth, *_ = made_up_clip(model, 30, turn=0.5, noise=0.1, seed=2)
    crop = choose_crop("eamm", landmarks[0], (256, 256), 128)
    expected = to_release(truth, crop)
    found = fitted_pose(model, landmarks, crop)
    assert np.abs(found - expected)[:, :3].mean() < 1.5
    assert np.abs(found - expected)[:, 4:].mean() < 1
    assert np.corrcoef(found[:, 0], expected[:, 0])[0, 1] > 0.99
    still = fitted_pose(model, landmarks[:1], crop)
    assert still.shape == (1, 6)
    assert np.abs(still - expected[:1])[:, :3].max() < 8  # one view does not know its depth


def sequence(count):
    return np.arange(count * 6, dtype=np.float32).reshape(count, 6)


def test_poses_are_repeated_to_and_fro_cut_or_held():
    three = sequence(3)
    np.testing.assert_array_equal(pose_for(8, three), three[[0, 1, 2, 2, 1, 0, 0, 1]])
    np.testing.assert_array_equal(pose_for(2, three), three[:2])
    np.testing.assert_array_equal(pose_for(3, three), three)
    np.testing.assert_array_equal(pose_for(5, three[1:2], smooth=True), three[[1] * 5])


def test_smoothing_is_the_releases_and_comes_before_repeating():
    poses = np.random.default_rng(0).normal(size=(20, 6)).cumsum(axis=0)
    expected = one_euro(poses, 0.004, 0.7, 1.0, 100.0)
    np.testing.assert_array_equal(pose_for(20, poses, smooth=True), expected)
    np.testing.assert_array_equal(pose_for(40, poses, smooth=True)[20:], expected[::-1])


def test_poses_move_from_a_start():
    start, poses = np.array([5, 0, 0, 5e-4, 60, 70.0]), sequence(4)
    moved = relative_pose(start, poses)
    np.testing.assert_allclose(moved[0], start, rtol=1e-6)
    np.testing.assert_allclose(np.diff(moved, axis=0), np.diff(poses, axis=0), rtol=1e-6)


@pytest.mark.parametrize(
    ("length", "poses"), [(0, sequence(3)), (4, sequence(0)), (4, np.zeros(6))]
)
def test_nothing_cannot_fill_a_sound(length, poses):
    with pytest.raises(ValueError, match="cannot fill"):
        pose_for(length, poses)


# files


def file_of(path, width=6, rows=5, dtype=np.float64):
    poses = np.tile([3.0, 4, -1, 4.7e-4, 61, 72, -66.67][:width], (rows, 1)).astype(dtype)
    np.save(path, poses)
    return poses


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("width", [6, 7])
def test_both_widths_are_read_and_tz_is_dropped(tmp_path, width, dtype):
    poses = file_of(tmp_path / "p.npy", width, dtype=dtype)
    found = read_pose_file(tmp_path / "p.npy")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, poses[:, :6], rtol=1e-6)


def damage(path, kind):
    """Write a pose file that is wrong in one way."""
    poses = file_of(path, 5 if kind == "narrow" else 7)
    arrays = {
        "flat": poses[0],
        "empty": poses[:0],
        "nan": np.where(np.arange(poses.size).reshape(poses.shape) == 22, np.nan, poses),
        "text": np.array([["a"] * 6]),
        "complex": poses.astype(complex),
        "ours": np.tile([0.1, 0, 0, 4.3, 120, 130], (5, 1)),
        "zero": poses * 0,
        "pickled": np.array([{"pose": 1}], dtype=object),
    }
    contents = {"csv": b"1,2,3,4,5,6\n", "half": path.read_bytes()[:150], "nothing": b""}
    if kind in contents:
        path.write_bytes(contents[kind])
    elif kind == "npz":
        with path.open("wb") as file:
            np.savez(file, poses)
    else:
        np.save(path, arrays.get(kind, poses), allow_pickle=True)


FAULTS = {
    "narrow": r"has shape \(5, 5\); wanted .* \(N, 6\) or \(N, 7\).*yaw, pitch, roll",
    "flat": r"has shape \(7,\)",
    "empty": r"has shape \(0, 7\)",
    "nan": r"NaN or infinity, first at index \[3, 1\]",
    "text": "wanted numbers",
    "complex": "holds complex128, wanted numbers",
    "ours": r"scale, is 4\.3 to 4\.3, wanted about 5e-4.*release_pose converts it",
    "zero": "scale, is 0 to 0",
    **dict.fromkeys(("pickled", "half"), "is damaged"),
    **dict.fromkeys(("npz", "csv", "nothing"), r"is no numpy array; wanted a \.npy file"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_wrong_file_is_refused_with_its_fault(tmp_path, kind):
    path = tmp_path / "pose.npy"
    damage(path, kind)
    with pytest.raises(ValueError, match=FAULTS[kind]) as error:
        read_pose_file(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(FileNotFoundError, match=r"away\.npy is missing; wanted a \.npy file"):
        read_pose_file(tmp_path / "away.npy")


# the release's own files


@pytest.fixture(scope="module")
def released(media_root):
    """The release's sample poses, by name: one row for portraits, a hundred for videos."""
    files = sorted((media_root / "eamm_arrays").glob("pose_*.npy"))
    return {path.stem.removeprefix("pose__"): read_pose_file(path) for path in files}


@pytest.mark.data
def test_released_poses_are_read_and_repeated(released):
    assert len(released) == 15
    assert sorted(len(poses) for poses in released.values()) == [1] * 12 + [93, 123, 170]
    assert pose_for(282, released["14"]).shape == (282, 6)


@pytest.mark.data
def test_place_and_scale_follow_from_the_angles_as_in_the_released_files(released):
    """A wrong sign of yaw or pitch would miss by up to 16 units."""
    found = np.concatenate([poses[:: max(1, len(poses) // 5)] for poses in released.values()])
    expected = to_release(poses_of(found[:, :3]), SAME, "face")
    error = found - expected
    np.testing.assert_allclose(error[:, 4:].mean(axis=0), 0, atol=1.0)
    assert error[:, 4].std() < 1.2 < 0.6 * found[:, 4].std()
    assert error[:, 5].std() < 1.6 < 0.8 * found[:, 5].std()
    np.testing.assert_allclose(expected[:, 3], found[:, 3], rtol=0.1)


@pytest.mark.data
@pytest.mark.parametrize("name", ["7", "60", "mona"])
def test_portraits_turn_as_the_release_says(released, media_root, name):
    """Yaws of -1, -5 and 20 degrees. ICT-FaceKit's front looks down by 6 degrees of the release."""
    files = {"7": "eamm_7.png", "60": "eamm_60.png", "mona": "mona.png"}
    picture = cv2.imread(str(media_root / "portraits" / files[name]))
    face = make_detector().detect(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
    model = load_face_model(media_root / "face_model" / "ict_68.npz")
    (found,) = fitted_pose(model, face.points[None], SAME)
    yaw, pitch, roll, *_ = found - released[name][0]
    assert abs(yaw) < 5
    assert 4 < pitch < 8
    assert abs(roll) < 1.5
    crop = choose_crop("eamm", face.points, (256, 256), 256)
    (cropped,) = fitted_pose(model, face.points[None], crop)
    assert abs(cropped - released[name][0])[4] < 3
    assert cropped[3] == pytest.approx(released[name][0][3], rel=0.12)


@pytest.mark.data
def test_angles_are_those_of_aflw2000(media_root):
    """Ten faces whose pose others have fitted, from their own 68 points: yaw -36 to 46 degrees."""
    model = load_face_model(media_root / "face_model" / "ict_68.npz")
    wanted, found = [], []
    for path in sorted((media_root / "landmark_gt/aflw2000").glob("*.mat")):
        truth = scipy.io.loadmat(path)
        wanted.append(np.degrees(truth["Pose_Para"][0, :3]))
        points = truth["pt3d_68"][:2].T.astype(float)
        found.append(fitted_pose(model, points[None], SAME)[0, :3])
    (pitch, yaw, roll), (our_yaw, our_pitch, our_roll) = np.transpose(wanted), np.transpose(found)
    assert np.ptp(yaw) > 80
    assert np.abs(our_yaw - yaw).mean() < 4
    assert np.abs(our_roll + roll).mean() < 5
    assert np.std(our_pitch + pitch) < 4.5  # its zero is the face model's
