"""Portraits of any kind: read as upright RGB, cut on the template, never black at the edges."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from affekt.media.faces.crop import EAMM_TEMPLATE, centred_square, choose_crop, cut
from affekt.media.faces.detector import Detection, make_detector
from affekt.media.faces.points import RIGID
from affekt.media.faces.portrait import cut_whole, load_portrait
from affekt.media.video.container import MediaError
from affekt.media.video.pictures import BACKGROUND, is_picture, read_picture
from eamm.inference.inputs import load_driving
from tests.corpora.drawn_face import draw_face, talking_clip

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (12, 20, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def detector():
    return make_detector()


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "webp", "gif", "ppm"])
def test_the_content_is_read_as_rgb_whatever_the_format_and_the_name(tmp_path, suffix):
    few = COLOURS // 64 * 64  # GIF holds 256 colours
    path = tmp_path / f"picture.{suffix}"
    Image.fromarray(few).save(path, **({"lossless": True} if suffix == "webp" else {}))
    np.testing.assert_array_equal(read_picture(path.rename(tmp_path / "picture.jpg")), few)


def test_modes_become_rgb(tmp_path):
    grey = COLOURS[:, :, 0]
    path = tmp_path / "picture.png"
    Image.fromarray(grey).save(path)
    np.testing.assert_array_equal(read_picture(path), grey[..., None].repeat(3, 2))
    Image.fromarray(grey > 127).save(path)
    np.testing.assert_array_equal(read_picture(path)[..., 1], np.where(grey > 127, 255, 0))
    Image.fromarray(grey.astype(np.uint16) << 8 | 77).save(path)
    np.testing.assert_array_equal(read_picture(path)[..., 2], grey)
    Image.fromarray(grey.astype(np.float32) / 255).save(tmp_path / "picture.tiff")
    np.testing.assert_array_equal(read_picture(tmp_path / "picture.tiff")[..., 0], grey)
    deep = COLOURS.astype(np.uint16) << 8 | 99
    cv2.imwrite(str(path), deep[..., ::-1])
    np.testing.assert_array_equal(read_picture(path), COLOURS)
    flat = Image.new("RGB", (16, 16), (200, 30, 60)).convert("CMYK")
    flat.save(tmp_path / "cmyk.jpg", quality=95)
    assert np.abs(read_picture(tmp_path / "cmyk.jpg").astype(int) - (200, 30, 60)).max() < 6
    Image.new("RGB", (16, 16), (250, 10, 10)).save(tmp_path / "red.jpg", quality=95)
    assert np.abs(read_picture(tmp_path / "red.jpg").astype(int) - (250, 10, 10)).max() < 4


def test_transparent_pixels_lie_over_white(tmp_path):
    alpha = np.zeros((12, 20), np.uint8)
    alpha[:, 10:], alpha[:, 5:10] = 255, 128
    Image.fromarray(np.dstack([COLOURS, alpha])).save(tmp_path / "p.png")
    read = read_picture(tmp_path / "p.png")
    assert (read[:, :5] == BACKGROUND).all()
    np.testing.assert_array_equal(read[:, 10:], COLOURS[:, 10:])
    half = (COLOURS[:, 5:10] * (128 / 255) + 255 * (127 / 255)).round()
    assert np.abs(read[:, 5:10] - half).max() <= 1
    palette = Image.fromarray(COLOURS // 64 * 64).convert("P", palette=Image.Palette.ADAPTIVE)
    palette.save(tmp_path / "palette.png", transparency=palette.getpixel((3, 3)))
    assert (read_picture(tmp_path / "palette.png")[3, 3] == BACKGROUND).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientations_are_made_upright(tmp_path, orientation):
    stored = {  # how a camera that is held so stores the upright picture
        1: COLOURS,
        2: COLOURS[:, ::-1],
        3: COLOURS[::-1, ::-1],
        4: COLOURS[::-1],
        5: COLOURS.swapaxes(0, 1),
        6: np.rot90(COLOURS, 1),
        7: COLOURS[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(COLOURS, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "p.png", exif=exif)
    np.testing.assert_array_equal(read_picture(tmp_path / "p.png"), COLOURS)


def test_of_an_animation_the_first_picture_is_read(tmp_path):
    pages = [Image.new("RGB", (9, 9), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    pages[0].save(tmp_path / "two.gif", save_all=True, append_images=pages[1:])
    assert (read_picture(tmp_path / "two.gif") == (255, 0, 0)).all()
    assert not is_picture(tmp_path / "two.gif")
    pages[0].save(tmp_path / "one.gif")
    assert is_picture(tmp_path / "one.gif")


def test_a_huge_picture_is_reduced_by_averaging(tmp_path):
    checks = np.indices((600, 6000)).sum(axis=0) % 2 * 255
    Image.fromarray(checks.astype(np.uint8)).save(tmp_path / "huge.png")
    read = read_picture(tmp_path / "huge.png", longest=1000)
    assert read.shape == (100, 1000, 3)
    assert np.abs(read.astype(int) - 127).max() <= 1  # aliasing would show stripes


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        (b"", "is empty"),
        (b"no picture at all", "no picture that can be read"),
        (b"\x89PNG\r\n\x1a\n" + b"junk" * 20, "picture"),
    ],
)
def test_what_is_no_picture_is_named_in_one_line(tmp_path, content, message):
    path = tmp_path / "p.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(MediaError, match=message) as error:
        read_picture(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_picture_cut_short_or_a_decompression_bomb_is_damaged(tmp_path, monkeypatch):
    for name in ("p.png", "p.jpg", "p.tiff", "p.webp"):
        Image.fromarray(draw_face(96)).save(tmp_path / name)
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(MediaError) as error:
            read_picture(tmp_path / name)
        assert error.value.reason == "damaged"
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    Image.fromarray(COLOURS).save(tmp_path / "bomb.png")
    with pytest.raises(MediaError, match="too large"):
        read_picture(tmp_path / "bomb.png")


def test_the_face_lies_on_the_template_wherever_it_was_and_however_large(tmp_path, detector):
    turn, ground = cv2.getRotationMatrix2D((200, 200), 15, 1), {"borderValue": (70, 90, 110)}
    turned = cv2.warpAffine(draw_face(400, height=0.5), turn, (400, 400), **ground)
    for picture in (draw_face(300, center=(0.4, 0.6), height=0.3), turned):
        Image.fromarray(picture).save(tmp_path / "p.png")
        portrait = load_portrait(tmp_path / "p.png", 128, detector, "eamm")
        assert portrait.stored.shape == (128, 128, 3)
        there = portrait.crop.to_stored(portrait.landmarks)[list(RIGID)]
        eyes = there[[4, 7]]  # outer corners; the drawn face is not the template's
        assert np.abs(eyes - ((EAMM_TEMPLATE[[4, 7]] + 0.5) / 2 - 0.5)).max() < 5
        assert np.abs(detector.detect(portrait.stored).points[list(RIGID)] - there).max() < 3
    Image.fromarray(draw_face(48, height=0.8)).save(tmp_path / "tiny.png")
    assert load_portrait(tmp_path / "tiny.png", 64, detector, "eamm").landmarks is not None


def test_colours_stay_in_order_through_the_cut(tmp_path, detector):
    Image.fromarray(draw_face(256, background=(20, 90, 200))).save(tmp_path / "p.png")
    stored = load_portrait(tmp_path / "p.png", 64, detector, "eamm").stored
    assert np.abs(stored[2, 2].astype(int) - (20, 90, 200)).max() < 6
    skin = stored[28, 32].astype(int)  # between the brows
    assert skin[0] > skin[1] > skin[2]


def test_edges_are_never_black(detector):
    bright = np.full((100, 100, 3), (90, 160, 220), np.uint8)
    points = detector.detect(draw_face(200, height=0.9)).points / 2
    crop = choose_crop("eamm", points, (100, 100), 96)
    stored = cut_whole(bright, crop)
    assert np.abs(stored.astype(int) - (90, 160, 220)).max() <= 1
    coloured = draw_face(200, height=0.95)[50:150, 50:150]
    stored = cut_whole(np.ascontiguousarray(coloured), crop)
    assert stored.min() >= coloured.min() - 1
    outside = cv2.warpAffine(np.ones((100, 100), np.uint8), crop.matrix, (96, 96)) == 0
    assert outside.mean() > 0.2  # else this test shows nothing


def test_inside_the_picture_the_cut_is_that_of_the_corpus(detector):
    face = draw_face(400, height=0.4)
    crop = choose_crop("eamm", detector.detect(face).points, (400, 400), 256)
    np.testing.assert_array_equal(cut_whole(face, crop), cut(face, crop))
    tight = face[100:330, 90:310].copy()  # the same crop leaves this part of the picture
    matrix = crop.matrix.copy()
    matrix[:, 2] += matrix[:, :2] @ (90, 100)
    there = replace(crop, matrix=matrix, source_size=(220, 230))
    inside = cv2.warpAffine(np.ones((230, 220), np.uint8), matrix, (256, 256))
    inside = cv2.erode(inside, np.ones((5, 5))) > 0
    difference = cut_whole(tight, there).astype(int) - cut_whole(face, crop)
    assert 0.3 < inside.mean() < 1
    assert np.abs(difference[inside]).max() <= 2


def test_no_face_is_an_error_unless_the_picture_is_cut_already(tmp_path, detector):
    Image.fromarray(np.full((90, 60, 3), 200, np.uint8)).save(tmp_path / "p.png")
    with pytest.raises(MediaError, match=r"p\.png: no face was found") as error:
        load_portrait(tmp_path / "p.png", 64, detector, "eamm")
    assert error.value.reason == "no_face"
    portrait = load_portrait(tmp_path / "p.png", 64, detector, "none")
    assert portrait.landmarks is None
    assert (portrait.stored == 200).all()


def test_a_square_picture_of_the_right_size_goes_in_as_it_is():
    picture = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    np.testing.assert_array_equal(cut_whole(picture, centred_square(64, 64, 64)), picture)
    wide = np.hstack([picture[:, :10], picture, picture[:, :10]])
    np.testing.assert_array_equal(cut_whole(wide, centred_square(*wide.shape[1::-1], 64)), picture)


class WhiteSquares:
    """Finds white squares of 120 px, the left one first."""

    version = "made up"

    def detect(self, picture):
        for left in (30, 210):
            if (picture[60:180, left : left + 120] > 200).all():
                x, y = np.meshgrid(np.linspace(left + 15, left + 105, 17), np.linspace(75, 165, 4))
                return Detection(np.stack([x.ravel(), y.ravel()], 1).astype(np.float32), None)
        return None


@pytest.mark.parametrize("faces", [1, 2])
def test_of_several_faces_one_is_taken_and_a_warning_says_so(tmp_path, caplog, faces):
    picture = np.zeros((240, 360, 3), np.uint8)
    for left in (30, 210)[:faces]:
        picture[60:180, left : left + 120] = 255
    Image.fromarray(picture).save(tmp_path / "p.png")
    portrait = load_portrait(tmp_path / "p.png", 64, WhiteSquares(), "eamm")
    assert portrait.landmarks[:, 0].max() < 180
    assert ("several faces" in caplog.text) == (faces == 2)


def test_the_driving_video_is_cut_around_its_first_face(tmp_path, detector):
    video = talking_clip(tmp_path / "v.mp4", 8)
    driving = load_driving(video, 64, detector, "eamm")
    frames = list(driving.frames())
    assert np.stack(frames).shape == (8, 64, 64, 3)
    assert driving.initial is None
    like = detector.detect(draw_face(256, mouth=1)).points  # widest open at frame 3
    best = load_driving(video, 64, detector, "eamm", like).initial
    assert int(np.argmin([np.abs(best.astype(int) - frame).mean() for frame in frames])) == 3


@pytest.mark.data
def test_real_portraits_lie_on_the_template(media_root, detector):
    found = 0
    for path in sorted((media_root / "portraits").iterdir()):
        again = detector.detect(load_portrait(path, 256, detector, "eamm").stored)
        error = again.points[list(RIGID)] - EAMM_TEMPLATE
        assert np.sqrt(np.square(error).sum(axis=1).mean()) < 12, path
        found += 1
    assert found >= 10


@pytest.mark.data
def test_a_picture_of_several_people_is_said_to_be_one(media_root, detector, caplog):
    load_portrait(media_root / "edge/multi_face.jpg", 256, detector, "eamm")
    assert "several faces" in caplog.text
    caplog.clear()
    load_portrait(media_root / "portraits/single_face.jpg", 256, detector, "eamm")
    assert "several faces" not in caplog.text


@pytest.mark.data
def test_a_video_without_a_face_drives_nothing(media_root, detector):
    with pytest.raises(MediaError, match="no face was found"):
        load_driving(media_root / "edge/no_face.mp4", 64, detector, "eamm")
