"""The contact sheet shows each clip in its place, and the counts add up."""

import re
import shutil

import cv2
import numpy as np
import pytest

from affekt.media.corpus import Corpus
from affekt.media.faces.track import FramesConfig
from affekt.media.integrity import write_sealed
from affekt.media.video.video import write_video
from affekt.runtime.files import read_json
from data_prep.clips.layouts.config import CorpusConfig
from data_prep.clips.splits import SplitConfig
from data_prep.inspect import (
    CELL,
    HEAD,
    MARGIN,
    SHOWN,
    contact_sheet,
    counts,
    draw_landmarks,
    main,
    state,
)
from data_prep.prepare import Config, prepare
from tests.corpora.drawn_face import draw_face, talking_clip, tone
from tests.corpora.many_speakers import many_speakers

COLOURS = {"ann_happy_1": (160, 40, 40), "ann_sad_2": (40, 160, 40), "bob_sad_1": (40, 40, 160)}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, one_detector):
    root, out = tmp_path_factory.mktemp("raw"), tmp_path_factory.mktemp("out") / "corpus"
    for name, colour in COLOURS.items():
        talking_clip(root / f"{name}.mp4", 10, 128, background=colour)
    talking_clip(root / "ann_sad_9.mp4", 20, 128)
    gap = [np.full((128, 128, 3), 90, np.uint8)] * 2
    write_video(root / "bob_sad_3.mp4", [draw_face(128)] * 4 + gap + [draw_face(128)] * 4, tone(10))
    (root / "bob_happy_1.mp4").touch()
    pattern = r"(?P<speaker>[a-z]+)_(?P<emotion>[a-z]+)_(?P<number>\d+)"
    config = Config(
        CorpusConfig("folder", root, pattern=pattern),
        SplitConfig(test_sentences=("9",)),
        frames=FramesConfig(size=64),
        out=out,
        workers=0,
        progress=False,
    )
    prepare(config)
    return Corpus(out)


def test_each_clip_stands_in_its_speakers_row_and_emotions_column(corpus):
    sheet = contact_sheet(corpus, corpus.clips())
    assert sheet.shape == (HEAD + 2 * CELL, MARGIN + 2 * CELL, 3)

    def corner(row, column):
        top, left = HEAD + row * CELL, MARGIN + column * CELL
        return sheet[top + 8 : top + 24, left + 8 : left + 24].mean((0, 1))

    np.testing.assert_allclose(corner(0, 0), COLOURS["ann_happy_1"], atol=12)
    np.testing.assert_allclose(corner(0, 1), COLOURS["ann_sad_2"], atol=12)
    np.testing.assert_allclose(corner(1, 1), COLOURS["bob_sad_1"], atol=12)
    np.testing.assert_allclose(corner(1, 0), (245, 245, 245))  # bob has no happy clip


def test_landmarks_are_drawn_where_they_are():
    picture = np.zeros((100, 120, 3), np.uint8)
    points = np.full((68, 2), -50.0)
    points[30] = (80.0, 25.0)
    drawn = draw_landmarks(picture, points)
    rows, columns = np.nonzero(drawn[..., 0] > 200)
    assert (columns.mean(), rows.mean()) == pytest.approx((80, 25), abs=0.1)
    assert not picture.any()


def test_counts_by_speaker_emotion_and_split(corpus):
    text = counts(corpus, corpus.clips()).replace("|", " ")
    lines = [line.split() for line in text.splitlines() if "---" not in line]
    splits = ["train", "val", "test_sentence", "test_speaker"]
    assert lines[0] == ["speaker", "happy", "sad", "clips", "minutes", *splits]
    assert lines[1] == ["ann", "1", "2", "3", "0.0", "2", "0", "1", "0"]
    assert lines[2] == ["bob", "0", "2", "2", "0.0", "2", "0", "0", "0"]
    assert lines[3] == ["all", "1", "4", "5", "0.0", "4", "0", "1", "0"]


def test_of_many_speakers_some_are_shown_and_the_others_share_a_row(tmp_path):
    corpus = many_speakers(tmp_path, SHOWN + 10)
    lines = counts(corpus, corpus.clips()).splitlines()
    names = [line.strip("|").split("|")[0].strip() for line in lines[2:]]
    assert len(names) == SHOWN + 2
    assert names[0] == "WORD-train-00000"
    assert names[-3:] == [f"WORD-train-{SHOWN + 9:05d}", "10 others", "all"]
    assert re.sub(r"[ |]+", " ", lines[-2]).startswith(" 10 others 10 10 0.2 10 0 0 0")


def test_the_state_names_lengths_filled_frames_and_refusals(corpus):
    text = state(corpus, corpus.clips())
    assert "0.40 to 0.80, median 0.40" in text
    assert "2 of 60 (3.33%), in 1 clips" in text
    assert "refused: 1" in text


def test_the_command_writes_the_sheet(corpus, tmp_path, capsys):
    assert main([str(corpus.root)]) == 0
    sheet = cv2.imread(str(corpus.root / "contact_sheet.png"))
    assert sheet.shape == (HEAD + 2 * CELL, MARGIN + 2 * CELL, 3)
    place = tmp_path / "s.png"
    assert main([str(corpus.root), "--speakers", "bob", "--out", str(place)]) == 0
    assert cv2.imread(str(place)).shape[0] == HEAD + CELL
    capsys.readouterr()
    with pytest.raises(SystemExit, match="no clip of that choice"):
        main([str(corpus.root), "--split", "val"])
    with pytest.raises(SystemExit, match=re.escape("data_prep.prepare")):
        main([str(tmp_path / "nowhere")])


def test_a_corpus_of_sounds_has_counts_and_no_sheet(corpus, tmp_path, capsys):
    copy = tmp_path / "sounds"
    shutil.copytree(corpus.root, copy)
    info = read_json(copy / "corpus.json")
    del info["profile"]
    write_sealed(copy / "corpus.json", info)
    for path in copy.rglob("clip.json"):
        path.unlink()  # a corpus without pictures has none
    (copy / "contact_sheet.png").unlink(missing_ok=True)
    assert main([str(copy)]) == 0
    assert "clips" in capsys.readouterr().out
    assert not (copy / "contact_sheet.png").exists()
