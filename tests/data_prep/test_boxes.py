"""Faces are searched in the boxes of VoxCeleb's text files, shares of the picture or pixels."""

import numpy as np
import pytest

from affekt.media.corpus import Corpus
from affekt.media.faces.track import FramesConfig
from affekt.media.video.container import MediaError
from affekt.media.video.video import write_video
from data_prep.clips.boxes import BoxedDetector, read_boxes
from data_prep.clips.layouts.config import CorpusConfig
from data_prep.prepare import Config, prepare
from tests.corpora.drawn_face import draw_face, tone

HEADER = (
    "Identity  : \tid00017\nReference : \t7t6lfzvVaTM\nOffset    : \t1\n\nFRAME \tX \tY \tW \tH \n"
)


def two_faces(frames):
    """Return pictures, (256, 512, 3): a large face at the left, a smaller one at the right."""
    faces = [(draw_face(256, height=0.7), draw_face(256, height=0.4)) for _ in range(1)] * frames
    return [np.concatenate(pair, axis=1) for pair in faces]


def write_boxes(path, rows, first=245):
    lines = (f"{first + k:06d} \t{x} \t{y} \t{w} \t{h} " for k, (x, y, w, h) in enumerate(rows))
    path.write_text(HEADER + "\n".join(lines) + "\n")
    return path


# The right face: centre (384, 128), 102 px high
PIXELS, SHARES = (334, 78, 100, 100), (0.652, 0.305, 0.195, 0.391)


def test_a_line_a_frame_is_a_box(tmp_path):
    path = write_boxes(tmp_path / "a.txt", [SHARES, SHARES])
    np.testing.assert_allclose(read_boxes(path), [SHARES, SHARES])
    for text in ("", HEADER, HEADER + "000245 \t0.1 \t0.2 \tx \t0.3", HEADER + "1 2 3 0 0\n"):
        path.write_text(text)
        with pytest.raises(MediaError, match="holds no boxes"):
            read_boxes(path)


@pytest.mark.parametrize("box", [PIXELS, SHARES], ids=["pixels", "shares"])
def test_the_face_in_the_box_is_found_and_not_the_larger_one(one_detector, tmp_path, box):
    (picture,) = two_faces(1)
    assert one_detector.detect(picture).points[:, 0].mean() < 256  # the large one
    boxed = BoxedDetector(one_detector, np.array([box]), tmp_path)
    face = boxed.detect(picture)
    assert np.abs(face.points.mean(axis=0) - (384, 135)).max() < 12
    np.testing.assert_array_equal(face.points3d[:, :2], face.points)
    alone = one_detector.detect(np.ascontiguousarray(picture[:, 256:]))
    assert np.abs(face.points - alone.points - (256, 0)).mean() < 1.5


def test_a_clip_that_outlasts_its_boxes_is_refused_and_a_box_outside_shows_no_face(
    one_detector, tmp_path
):
    (picture,) = two_faces(1)
    boxed = BoxedDetector(one_detector, np.array([[900, 900, 50, 50.0]]), tmp_path / "a.txt")
    assert [boxed.detect(picture) for _ in range(26)] == [None] * 26
    with pytest.raises(MediaError, match=r"boxes of 1 frames, the clip more than 26"):
        boxed.detect(picture)


def test_the_corpus_own_crops_are_searched_whole(one_detector, tmp_path):
    boxed = BoxedDetector(one_detector, np.array([[0.9, 0.9, 0.1, 0.1]]), tmp_path)
    assert boxed.detect(draw_face(224)) is not None


def test_a_voxceleb_clip_is_cut_at_the_face_in_its_boxes(one_detector, tmp_path):
    folder = tmp_path / "raw/dev/mp4/id00017/7t6lfzvVaTM"
    folder.mkdir(parents=True)
    for name in ("00001", "00002"):
        write_video(folder / f"{name}.mp4", two_faces(8), tone(8))
    write_boxes(folder / "00001.txt", [SHARES] * 8)
    config = Config(
        CorpusConfig("voxceleb", tmp_path / "raw"),
        frames=FramesConfig("eamm", 64),
        out=tmp_path / "out",
        workers=0,
        progress=False,
    )
    prepare(config)
    boxed, free = Corpus(tmp_path / "out").clips()
    assert boxed.landmarks()[..., 0].mean() > 300
    assert free.landmarks()[..., 0].mean() < 200
    assert boxed.split == "train"
