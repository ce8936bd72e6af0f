import numpy as np

from affekt.media.face3d.crop_pose import crop_pose, picture_places, picture_pose
from affekt.media.face3d.model import project
from affekt.media.faces.crop import Crop
from tests.corpora.made_up_faces import made_up_clip, made_up_model

TURN = np.radians(20)
ROTATED = 0.4 * np.array([[np.cos(TURN), -np.sin(TURN)], [np.sin(TURN), np.cos(TURN)]])
CROP = Crop(np.column_stack([ROTATED, [30.0, -12.0]]), (96, 96), (256, 256))


def test_a_face_under_the_crops_pose_is_the_crops_view_of_the_face():
    model = made_up_model()
    clip = made_up_clip(model, 5)
    faces = model.shapes(clip.identity, clip.expression)
    found = project(faces, crop_pose(clip.pose, CROP))
    np.testing.assert_allclose(found, CROP.to_stored(clip.landmarks), atol=1e-9)


def test_in_units_of_the_picture_a_pose_gives_places_and_knows_no_size():
    model = made_up_model()
    clip = made_up_clip(model, 3)
    faces = model.shapes(clip.identity, clip.expression)
    found = project(faces, picture_pose(clip.pose, 256))
    np.testing.assert_allclose(found, picture_places(clip.landmarks, 256), atol=1e-12)
    half = Crop(np.array([[0.5, 0, -0.25], [0, 0.5, -0.25]]), (128, 128), (256, 256))
    np.testing.assert_allclose(
        picture_pose(crop_pose(clip.pose, half), 128), picture_pose(clip.pose, 256), atol=1e-9
    )


def test_places_have_the_edges_of_the_picture_at_their_ends():
    assert picture_places(np.array([[-0.5, 7.5], [3.5, 0.0]]), 8).tolist() == [[-1, 1], [0, -0.875]]
