"""One odd name refuses one clip; a wrong folder is answered by the one that was meant."""

import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest

from affekt.evaluation.pairing import find_pairs
from affekt.runtime.files import read_jsonl
from data_prep.clips.layouts.config import CorpusConfig
from data_prep.clips.layouts.listing import find_sources
from data_prep.clips.splits import SplitConfig, numbered, split_of
from data_prep.prepare import Config, prepare, summary
from tests.corpora.drawn_face import talking_clip
from tests.data_prep.test_layouts import mead_copy, touched


def reasons(listing):
    return {refusal.path.name: refusal.reason for refusal in listing.refused}


@pytest.mark.parametrize("ending", [".MTS", ".ts", ".m2ts", ".3gp", ".ogv", ".vob", ".mxf"])
def test_the_files_of_cameras_and_phones_are_videos_for_every_reader(tmp_path, ending):
    touched(tmp_path, f"truth/clip{ending}", f"results/clip{ending.swapcase()}")
    (source,) = find_sources(CorpusConfig("folder", tmp_path / "truth")).sources
    assert source.number == "clip"
    assert len(find_pairs(tmp_path / "results", tmp_path / "truth", "val").pairs) == 1


def test_files_of_other_kinds_are_counted_by_kind(tmp_path, caplog):
    root = touched(tmp_path, "a.mp4", "a.gif", "b.jpg", "c.JPG", ".hidden", "sound.wav")
    listing = find_sources(CorpusConfig("folder", root))
    (note,) = listing.notes
    assert note.startswith("3 files of other kinds are left out (.jpg 2, .gif 1), as ")
    caplog.set_level("INFO")
    find_pairs(None, root, "val")
    assert "4 files of other kinds are left out" in caplog.text  # a sound is none of its kinds


def test_pictures_alone_are_no_corpus_and_the_error_says_what_they_are_for(tmp_path):
    root = touched(tmp_path, "001_happy.jpg", "001_neutral.jpg")
    with pytest.raises(FileNotFoundError, match=r"2 files of other kinds.*--source of generate"):
        find_sources(CorpusConfig("folder", root))


def test_a_speakers_name_becomes_a_safe_folders_name(tmp_path):
    root = touched(tmp_path, "Anna's clips/one.mp4", "+bob/two.mp4", "eve/three.mp4", "'/x.mp4")
    listing = find_sources(CorpusConfig("folder", root))
    assert {s.speaker for s in listing.sources} == {"Anna-s clips", "bob", "eve"}
    assert reasons(listing) == {"x.mp4": "bad_name"}
    (note,) = listing.notes
    assert "\"Anna's clips\" as 'Anna-s clips'" in note
    only = find_sources(CorpusConfig("folder", root, speakers=("Anna's clips", "nobody")))
    assert [s.speaker for s in only.sources] == ["Anna-s clips"]
    assert any("nobody" in note for note in only.notes)
    held_out = SplitConfig(test_speakers=("Anna's clips",))
    assert split_of(only.sources[0], held_out) == "test_speaker"


def test_two_speakers_never_share_a_folder(tmp_path):
    root = touched(tmp_path, "ann!/one.mp4", "ann?/two.mp4")
    listing = find_sources(CorpusConfig("folder", root))
    assert len(listing.sources) == 1
    assert "would both be called 'ann-'" in listing.refused[0].message


def test_the_speaker_of_the_current_folder_is_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(touched(tmp_path / "ann", "one.mp4"))
    for root in (".", "../ann", "../ann/../ann"):
        (source,) = find_sources(CorpusConfig("folder", Path(root))).sources
        assert source.speaker == "ann"


def test_an_unknown_emotion_or_a_level_that_is_none_refuses_its_clip_alone(tmp_path):
    root = touched(tmp_path, "ann_happy_1_a.mp4", "ann_hapy_1_b.mp4", "ann_sad_x_c.mp4")
    pattern = r"(?P<speaker>\w+?)_(?P<emotion>\w+?)_(?P<level>\w+?)_(?P<number>\w+)"
    listing = find_sources(CorpusConfig("folder", root, pattern=pattern))
    assert [s.id for s in listing.sources] == ["ann_happy_1_a"]
    assert reasons(listing) == {
        "ann_hapy_1_b.mp4": "unknown_emotion",
        "ann_sad_x_c.mp4": "bad_name",
    }
    mead = mead_copy(tmp_path / "mead", "M003/video/front")
    touched(mead, "M003/video/front/angri/level_3/002.mp4", "M003/video/top/odd/level_1/001.mp4")
    listing = find_sources(CorpusConfig("mead", mead))
    assert reasons(listing) == {"002.mp4": "unknown_emotion"}  # a view not asked for is none


def test_lines_of_a_list_are_refused_one_by_one(tmp_path):
    lines = [
        "video,audio,speaker,emotion,level,sentence",
        "one.mp4,,eve,happy,1,a",
        ",,eve,happy,1,a",
        "two.mp4,,eve,happy,strong,a",
        "three.mp4,,eve,hapy,1,a",
        "four.mp4,,,happy,1,a",
    ]
    (tmp_path / "list.csv").write_text("\n".join(lines))
    listing = find_sources(CorpusConfig("list", tmp_path / "list.csv"))
    assert [s.video.name for s in listing.sources] == ["one.mp4"]
    messages = [refusal.message for refusal in listing.refused]
    assert ["line 3" in messages[0], "line 4" in messages[1]] == [True, True]
    assert "'hapy'" in messages[2]
    assert "cannot name a speaker's folder" in messages[3]


def test_two_files_of_one_id_are_both_refused_and_equal_files_count_once(tmp_path):
    root = touched(tmp_path, "ann/one.mp4", "ann/one.mov", "ann/two.mp4", "ann/two.avi")
    (root / "ann/two.avi").write_bytes((root / "ann/two.mp4").read_bytes())
    touched(root, "ann/a b.mp4", "ann/a!b.mp4", "ann/good.mp4")
    listing = find_sources(CorpusConfig("folder", root))
    assert [s.video.name for s in listing.sources] == ["good.mp4", "two.avi"]
    assert reasons(listing) == {
        "one.mp4": "same_id",
        "one.mov": "same_id",
        "two.mp4": "copy",
        "a b.mp4": "same_id",
        "a!b.mp4": "same_id",
    }


def test_a_number_that_is_none_cannot_be_held_out_and_is_refused(tmp_path):
    root = touched(tmp_path, "ann/1.mp4", "ann/12.mp4", "ann/extra.mp4", "ann/².mp4")
    listing = find_sources(CorpusConfig("folder", root))
    assert len(numbered(listing, SplitConfig()).sources) == 4
    held_out = numbered(listing, SplitConfig(test_numbers_below=10))
    assert [s.number for s in held_out.sources] == ["1", "12"]
    assert set(reasons(held_out)) == {"extra.mp4", "².mp4"}
    only = replace(listing, sources=listing.sources[2:3])
    with pytest.raises(ValueError, match="is no number"):
        numbered(only, SplitConfig(test_numbers_below=10))


def test_composed_and_decomposed_letters_are_one_name(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "Zoë") for form in ("NFC", "NFD"))
    root = touched(tmp_path, f"truth/{decomposed}.mp4", f"results/{composed}.mp4")
    touched(root, f"sounds/{composed}.WAV")
    (pair,) = find_pairs(root / "results", root / "truth", "val").pairs
    assert pair.id == composed
    (root / "m.csv").write_text(f"clip_id,speaker\n{decomposed},ann\n", encoding="utf-8")
    (pair,) = find_pairs(root / "results", root / "truth", "val", root / "m.csv").pairs
    assert pair.speaker == "ann"
    config = CorpusConfig("folder", root / "truth", speaker="ann", sound_folder=root / "sounds")
    (source,) = find_sources(config).sources
    assert source.id == f"ann_neutral_1_{composed}"
    assert source.audio == root / f"sounds/{composed}.WAV"
    text = (
        f"video,audio,speaker,emotion,level,sentence\ntruth/{composed}.mp4,,{decomposed},sad,1,a\n"
    )
    (root / "list.csv").write_text(text, encoding="utf-8")
    (source,) = find_sources(CorpusConfig("list", root / "list.csv")).sources
    assert source.video.is_file()
    assert source.speaker == composed


@pytest.mark.parametrize(
    ("layout", "name", "wrong", "meant"),
    [
        ("mead", "MEAD/M003/video/front/angry/level_3/001.mp4", "MEAD/M003", "MEAD"),
        ("mead", "MEAD/M003/video/front/angry/level_3/001.mp4", "MEAD/M003/video/front", "MEAD"),
        ("mead", "all/MEAD/M003/video/front/angry/level_3/001.mp4", "all", "all/MEAD"),
        ("lrw", "LRW/mp4/ABOUT/test/ABOUT_00001.mp4", "LRW", "LRW/mp4"),
        ("lrw", "LRW/mp4/ABOUT/test/ABOUT_00001.mp4", "LRW/mp4/ABOUT", "LRW/mp4"),
        ("emodb", "emodb/wav/03a01Fa.wav", "emodb/wav", "emodb"),
        ("grid", "grid/s1/video/bbaf2n.mpg", "grid/s1/video", "grid/s1"),
        ("voxceleb", "vox2/dev/mp4/id00012/abc/00001.mp4", "vox2/dev/mp4/id00012", "vox2/dev/mp4"),
        ("voxceleb", "x/vox2/dev/mp4/id00012/abc/00001.mp4", "x", "x/vox2"),
    ],
)
def test_a_wrong_folder_is_answered_by_the_one_that_was_meant(tmp_path, layout, name, wrong, meant):
    touched(tmp_path, name)
    with pytest.raises(FileNotFoundError) as error:
        find_sources(CorpusConfig(layout, tmp_path / wrong))
    assert f"did you mean corpus.root={tmp_path / meant} ?" in str(error.value)
    assert find_sources(CorpusConfig(layout, tmp_path / meant)).sources


def test_linked_speakers_are_followed_and_prepared_corpora_are_not(tmp_path):
    touched(tmp_path / "disk2", "bob/two.mp4")
    root = touched(tmp_path / "clips", "ann/one.mp4", "out/corpus.json", "out/manifest.jsonl")
    touched(root, "out/clips/ann/x/frames.mp4")
    (root / "bob").symlink_to(tmp_path / "disk2/bob")
    (root / "ann/loop").symlink_to(root)
    listing = find_sources(CorpusConfig("folder", root))
    assert [s.speaker for s in listing.sources] == ["ann", "bob"]


@pytest.mark.usefixtures("one_detector")
def test_refused_names_stand_in_the_quarantine_and_the_rest_is_prepared(tmp_path):
    root = tmp_path / "raw"
    talking_clip(root / "M003/video/front/angry/level_3/001.mp4", 12, 128)
    touched(root, "M003/video/front/angry/level_3/001 (1).mp4")
    config = Config(CorpusConfig("mead", root), out=tmp_path / "out", workers=0, progress=False)
    for made in (1, 0):
        result = prepare(config)
        assert (result.made, len(result.manifest)) == (made, 1)
        (row,) = read_jsonl(tmp_path / "out/quarantine.jsonl")
        assert (row["stage"], row["reason"]) == ("name", "bad_name")
        assert row["path"].endswith("001 (1).mp4")


@pytest.mark.usefixtures("one_detector")
def test_a_corpus_without_a_training_clip_says_so(tmp_path):
    talking_clip(tmp_path / "grid/s1/bbaf2n.mp4", 12, 128)
    split = SplitConfig(test_speakers=("s1",))
    corpus = CorpusConfig("grid", tmp_path / "grid")
    config = Config(corpus, split, out=tmp_path / "out", workers=0, progress=False)
    assert "no clip is train" in summary(prepare(config), config.out)
