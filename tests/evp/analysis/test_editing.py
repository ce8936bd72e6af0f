"""evp.analysis.editing: pictures, video and figures of a sentence between emotions."""

import shutil
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from affekt.media.audio.reader import write_wav
from affekt.media.corpus import Corpus
from affekt.media.plots import LABEL_HEIGHT
from affekt.media.video.video import probe, read_frames
from affekt.runtime.files import read_json, write_json
from evp.analysis.editing import TILE, main, plot_blend, widest
from evp.analysis.measure_editing import emotion_projection, true_faces
from tests.corpora.spoken_corpus import make_corpus
from tests.corpora.tiny_evp import make_run

FRAMES = 20
SIDE = 32
UPPER, LOWER = [61, 62, 63], [67, 66, 65]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """An untrained run with mean codes, whose corpus has sound and a crop where they are used."""
    root = tmp_path_factory.mktemp("runs")
    corpus = make_corpus(root / "corpus", frames=12, pairs=False)
    make_run(root / "audio2lm", corpus, codes=True)
    rng = np.random.default_rng(0)
    crop = {"matrix": np.eye(2, 3).tolist(), "size": [64, 64], "source_size": [64, 64]}
    for clip in corpus.clips("test_sentence"):
        write_wav(clip.folder / "audio.wav", rng.uniform(-0.3, 0.3, 640 * FRAMES))
        write_json(clip.folder / "crop.json", crop)
    return root


@pytest.fixture(autouse=True)
def drawn(monkeypatch):
    """Stand in for the renderer: a picture's grey says how many were drawn before. Calls."""
    calls = []

    def edit(_renderer, target, face, _model):
        calls.append((target, face))
        for k in range(len(face)):
            yield SimpleNamespace(picture=np.full((SIDE, SIDE, 3), 10 * k, np.uint8))

    speaker = SimpleNamespace(speaker="W902")
    monkeypatch.setattr("evp.analysis.editing.load_renderer", lambda *_: speaker)
    monkeypatch.setattr("evp.analysis.editing.load_face_model", lambda _: None)
    monkeypatch.setattr("evp.analysis.editing.edit", edit)
    return calls


def command(runs, out, *more):
    main([str(runs), f"--out={out}", *more])
    return read_json(out / "figures.json")


def test_a_blend_is_drawn_filmed_and_measured_for_every_weight(runs, tmp_path, drawn, capsys):
    figures = command(runs, tmp_path, "--blend=angry:happy", "--steps=3")
    assert (figures["first"], figures["second"], figures["speaker"]) == ("angry", "happy", "W902")
    assert figures["weights"] == [0, 0.5, 1]
    assert len(figures["projection"]) == 3
    assert f"projection: {tuple(figures['projection'])}" in capsys.readouterr().out
    height = TILE + LABEL_HEIGHT
    assert cv2.imread(str(tmp_path / "strip.png")).shape == (3 * height, 3 * TILE, 3)
    assert cv2.imread(str(tmp_path / "curves.png")).std() > 1
    shown = probe(tmp_path / "video.mp4")
    assert (shown.width, shown.height, shown.frames) == (3 * TILE, height, FRAMES)
    assert shown.has_audio
    faces = [face for _, face in drawn]
    assert [face.shape for face in faces] == [(FRAMES, 68, 2)] * 3
    truth = true_faces(Corpus(runs / "corpus"), "2d")
    truth = truth["W902", "angry"], truth["W902", "happy"]
    projections = [emotion_projection(face, *truth).mean() for face in faces]
    np.testing.assert_allclose(figures["projection"], projections, atol=1e-6)
    half = (faces[0] + faces[2]) / 2
    assert np.abs(faces[1] - half).max() < np.abs(faces[2] - faces[0]).max() / 2
    frames = read_frames(tmp_path / "video.mp4")
    levels = frames[:, LABEL_HEIGHT + 20 :, 20:-20].mean(axis=(1, 2, 3))
    np.testing.assert_allclose(levels, 10 * np.arange(FRAMES), atol=4)


def test_the_strip_shows_the_widest_mouth_of_each_part(runs, tmp_path, drawn):
    command(runs, tmp_path, "--blend=angry:happy", "--steps=2")
    times = widest(drawn[0][1], 3)
    strip = cv2.imread(str(tmp_path / "strip.png")).reshape(3, TILE + LABEL_HEIGHT, 2 * TILE, 3)
    np.testing.assert_allclose(strip[:, LABEL_HEIGHT + 50, 50, 0], 10 * np.array(times), atol=1)
    face = np.zeros((7, 68, 2))
    face[:, LOWER, 1] = np.array([1, 3, 2, 9, 4, 5, 6])[:, None]
    assert widest(face, 3) == [1, 3, 6]
    assert widest(face[:2], 3) == [0, 1]


def test_sound_and_target_are_those_named_or_held_out(runs, tmp_path, drawn):
    corpus = Corpus(runs / "corpus")
    sound = tmp_path / "said.wav"
    write_wav(sound, np.random.default_rng(1).uniform(-0.3, 0.3, 640 * 9))
    named = corpus.clips("test_sentence", "M901")[2]
    targets = tmp_path / "targets"
    shutil.copytree(runs / "corpus", targets)
    elsewhere = Corpus(targets).clip(named.id)
    np.save(elsewhere.folder / "landmarks.npy", 2 * named.landmarks())
    options = [f"--audio={sound}", f"--target={named.id}", f"--targets={targets}"]
    figures = command(runs, tmp_path / "one", "--blend=neutral:happy", *options)
    assert (figures["clip"], figures["target"]) == (str(sound), named.id)
    target, face = drawn[0]
    np.testing.assert_array_equal(target.landmarks, 2 * named.landmarks())
    assert len(face) == 9
    figures = command(runs, tmp_path / "two", "--blend=neutral:happy")
    first = corpus.clips("test_sentence", "W902")[0]
    assert (figures["clip"], figures["target"]) == (str(first.folder / "audio.wav"), first.id)


def test_lines_are_drawn_for_every_weight_and_both_true_faces(tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr("evp.analysis.editing.save", lambda figure, *_, **__: kept.append(figure))
    rng = np.random.default_rng(0)
    first, second = rng.uniform(0, 256, (2, 68, 2))
    faces = first + np.array([0, 0.3, 1])[:, None, None, None] * (second - first)
    faces = np.repeat(faces, 4, axis=1)
    plot_blend(tmp_path / "a.png", "title", faces, (0, 0.3, 1), (first, second))
    (figure,) = kept
    gone, mouth = figure.axes
    assert [len(axis.lines) for axis in figure.axes] == [5, 3]
    shares = [line.get_ydata()[0] for line in gone.lines]
    np.testing.assert_allclose(shares, [0, 0.3, 1, 0, 1], atol=1e-9)
    np.testing.assert_allclose(gone.lines[0].get_xdata(), [0.02, 0.06, 0.1, 0.14])
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["w = 0", "w = 0.3", "w = 1"]
    assert mouth.get_ylabel() == "mouth opening, px"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--blend=happy"], "'happy' is not of the form a:b"),
        (["--blend=happy:happy"], "is not of the form a:b"),
        (["--blend=happy:sad:0.3"], "is not of the form a:b"),
        (["--blend=happy:joyful"], "unknown emotion 'joyful'"),
        (["--blend=happy:angry", "--steps=1"], "--steps is 1, wanted 2"),
        (["--blend=happy:angry", "--target=nobody"], "no clip 'nobody'"),
        (["--blend=happy:angry", "--corpus=nowhere"], "nowhere is no prepared corpus"),
        (["--blend=happy:angry", "--audio=none.wav"], "none.wav"),
    ],
)
def test_what_cannot_be_shown_is_one_clear_line(runs, tmp_path, given, said):
    with pytest.raises(SystemExit) as error:
        main([str(runs), f"--out={tmp_path / 'out'}", *given])
    assert said in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("lacking", "message"),
    [
        (("train", "happy"), "no training clip of W902, happy"),
        (("test_sentence", None), "no clip of W902 in split test_sentence"),
    ],
)
def test_what_has_no_clips_is_named(runs, tmp_path, monkeypatch, lacking, message):
    clips = Corpus.clips

    def found(corpus, split=None, speaker=None, emotion=None):
        return [] if (split, emotion) == lacking else clips(corpus, split, speaker, emotion)

    monkeypatch.setattr(Corpus, "clips", found)
    with pytest.raises(SystemExit, match=message):
        main([str(runs), f"--out={tmp_path}", "--blend=angry:happy"])
