"""GRID's alignments: words in seconds of the clip, and files that time none."""

import pytest

from affekt.media.audio.reader import write_wav
from affekt.media.corpus import Corpus
from data_prep.clips.layouts.config import CorpusConfig
from data_prep.clips.layouts.listing import find_sources
from data_prep.clips.words import read_words
from data_prep.prepare import Config, prepare
from tests.corpora.drawn_face import tone

ALIGNED = "0 12500 sil\n12500 20000 bin\n20000 25000 blue\n25000 30000 sp\n30000 37500 at\n"


def test_a_tick_is_a_25000th_of_a_second_and_pauses_are_no_words(tmp_path):
    path = tmp_path / "bbaf2n.align"
    path.write_text(ALIGNED)
    assert read_words(path) == ((0.5, 0.8, "bin"), (0.8, 1.0, "blue"), (1.2, 1.5, "at"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no word"),
        ("0 23750 sil\n", "has no word"),
        ("0 1 sil\n1 x bin\n", r"line 2: wanted BEGIN END WORD, found '1 x bin'"),
        ("0 100 bin\n50 200 blue\n", "line 2"),
        ("100 100 bin\n", "line 1"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
        ("0 1 a\n" * 20_000, "more than 100000 bytes"),
    ],
)
def test_what_times_no_words_is_named(tmp_path, text, message):
    path = tmp_path / "bbaf2n.align"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_words(path)


def test_alignments_are_found_by_speaker_and_name_wherever_they_lie(tmp_path):
    for name in ("s1/video/mpg_6000/bbaf2n.mpg", "s2/bbaf2n.mpg", "s1/align/bbaf2n.align"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(ALIGNED)
    listing = find_sources(CorpusConfig("grid", tmp_path))
    found = {source.speaker: source.alignment for source in listing.sources}
    assert found == {"s1": tmp_path / "s1/align/bbaf2n.align", "s2": None}
    assert not any("align" in note for note in listing.notes)


def test_words_follow_the_sound_where_its_quiet_beginning_is_cut(tmp_path):
    root = tmp_path / "raw/s1"
    root.mkdir(parents=True)
    sound = tone(50)  # 2 s
    sound[: 16_000 * 2 // 5] = 0  # 0.4 s without sound
    write_wav(root / "bbaf2n.wav", sound)
    (root / "bbaf2n.align").write_text(ALIGNED)
    corpus = CorpusConfig("grid", tmp_path / "raw", sound_only=True)
    config = Config(corpus, out=tmp_path / "prepared", workers=0, progress=False)
    prepare(config)
    (clip,) = Corpus(config.out).clips()
    assert [word for *_, word in clip.words()] == ["bin", "blue", "at"]
    assert clip.words()[0][0] == pytest.approx(0.1, abs=2e-4)
    # An alignment that changed is read again
    (root / "bbaf2n.align").write_text(ALIGNED.replace("bin", "set"))
    prepare(config)
    assert Corpus(config.out).clip(clip.id).words()[0][2] == "set"
