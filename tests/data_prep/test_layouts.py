"""Published corpora are read by their genuine names: speakers, emotions, levels, splits, sounds."""

from dataclasses import replace

import pytest

from affekt.runtime.config import load_config
from data_prep.clips.layouts.config import CorpusConfig
from data_prep.clips.layouts.listing import find_sources
from data_prep.clips.splits import splits_of
from data_prep.prepare import Config
from tests.test_configs import ROOT

CALM = ("angry", "calm", "disgusted", "fear", "happy", "neutral", "sad", "surprised")


def touched(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)  # no two files are equal
    return root


def ids(config):
    return [source.id for source in find_sources(config).sources]


def test_ravdess_names_are_seven_numbers(tmp_path):
    root = touched(
        tmp_path,
        "Video_Speech_Actor_12/Actor_12/01-01-06-02-01-02-12.mp4",
        "Video_Speech_Actor_12/Actor_12/02-01-06-02-01-02-12.mp4",  # the same without sound
        "Video_Speech_Actor_24/Actor_24/02-01-02-01-02-01-24.mp4",  # no other picture of it
        "Audio_Speech_Actors_01-24/Actor_24/03-01-02-01-02-01-24.wav",
        "Video_Song_Actor_12/Actor_12/01-02-03-01-02-01-12.mp4",
    )
    config = CorpusConfig("ravdess", root, classes=CALM)
    listing = find_sources(config)
    assert [source.id for source in listing.sources] == [
        "Actor_12_fear_2_kids-2",
        "Actor_24_calm_1_calm-dogs-1",
    ]
    fear, calm = listing.sources
    assert (fear.speaker, fear.level, fear.sentence) == ("Actor_12", 2, "kids")
    assert (fear.video.name, fear.audio) == ("01-01-06-02-01-02-12.mp4", None)
    assert (calm.video.name[:2], calm.audio.name[:2]) == ("02", "03")
    assert ids(replace(config, channels=("song",))) == ["Actor_12_happy_1_dogs-song-1"]
    assert len(ids(replace(config, channels=("speech", "song")))) == 3
    assert any("1 recordings are of other channels" in note for note in listing.notes)


def test_calm_is_no_neutral_unless_the_config_says_so(tmp_path):
    root = touched(tmp_path, "03-01-02-01-01-01-01.wav", "03-01-01-01-01-01-01.wav")
    config = CorpusConfig("ravdess", root, sound_only=True)
    listing = find_sources(config)
    assert [source.emotion for source in listing.sources] == ["neutral"]
    (refusal,) = listing.refused
    assert refusal.reason == "unknown_emotion"
    assert "'calm'" in refusal.message
    assert "corpus.spellings" in refusal.message
    merged = replace(config, spellings=(("calm", "neutral"),))
    assert ids(merged) == ["Actor_01_neutral_1_calm-kids-1", "Actor_01_neutral_1_kids-1"]


def test_crema_d_names_hold_actor_sentence_emotion_and_level(tmp_path):
    root = touched(
        tmp_path,
        "VideoFlash/1001_DFA_ANG_XX.flv",
        "AudioWAV/1001_DFA_ANG_XX.wav",
        "AudioMP3/1001_DFA_ANG_XX.mp3",
        "VideoFlash/1001_IEO_HAP_LO.flv",
        "VideoFlash/1001_IEO_SAD_MD.flv",
        "VideoFlash/1001_IEO_FEA_HI.FLV",
        "VideoFlash/1040_ITH_SAD_X.flv",  # published so
        "VideoFlash/1001_IEO_ODD_HI.flv",
        "VideoFlash/notes.mp4",
    )
    listing = find_sources(CorpusConfig("cremad", root))
    found = {s.id: (s.speaker, s.emotion, s.level, s.sentence) for s in listing.sources}
    assert found == {
        "1001_angry_0_DFA": ("1001", "angry", 0, "DFA"),
        "1001_fear_3_IEO": ("1001", "fear", 3, "IEO"),
        "1001_happy_1_IEO": ("1001", "happy", 1, "IEO"),
        "1001_sad_2_IEO": ("1001", "sad", 2, "IEO"),
        "1040_sad_0_ITH": ("1040", "sad", 0, "ITH"),
    }
    assert [r.reason for r in listing.refused] == ["unknown_emotion"]
    assert listing.unmatched == (root / "VideoFlash/notes.mp4",)
    sounds = find_sources(CorpusConfig("cremad", root, sound_only=True)).sources
    assert sounds[0].video == root / "AudioWAV/1001_DFA_ANG_XX.wav"  # .wav before .mp3 and .flv
    assert len(sounds) == 5


@pytest.mark.parametrize("inside", ["s1", "s1/video/mpg_6000", "s1.mpg_vcd/s1", "grid_s1"])
def test_grid_tells_the_speaker_by_a_folder_and_the_words_by_the_name(tmp_path, inside):
    root = touched(
        tmp_path / "grid",
        f"{inside}/bbaf2n.mpg",
        f"{inside}/swwjzp.mpg",
        f"{inside}/bbaf2n.align",
        f"{inside}/summary.mpg",
    )
    for config in (CorpusConfig("grid", root), CorpusConfig("grid", root / inside.split("/")[0])):
        listing = find_sources(config)
        assert [s.id for s in listing.sources] == ["s1_neutral_1_bbaf2n", "s1_neutral_1_swwjzp"]
        assert [s.sentence for s in listing.sources] == ["bbaf2n", "swwjzp"]
        assert [path.name for path in listing.unmatched] == ["summary.mpg"]
        assert [s.alignment for s in listing.sources] == [None, None]
        assert any(".align, line 1: wanted BEGIN END WORD" in note for note in listing.notes)


def test_voxceleb_trees_keep_their_published_parts_as_splits(tmp_path):
    root = touched(
        tmp_path,
        "dev/mp4/id00012/21Uxsk56VDQ/00001.mp4",
        "dev/mp4/id00012/21Uxsk56VDQ/00001.txt",
        "dev/aac/id00012/21Uxsk56VDQ/00001.m4a",
        "test/mp4/id00017/-_mjZ87sK6cA/00002.mp4",
    )
    first, second = find_sources(CorpusConfig("voxceleb", root)).sources
    assert (first.id, first.split) == ("id00012_neutral_1_21Uxsk56VDQ-00001", "train")
    assert (second.speaker, second.split) == ("id00017", "test_speaker")
    assert first.sentence != second.sentence
    assert (first.boxes, second.boxes) == (first.video.with_suffix(".txt"), None)
    unboxed = find_sources(CorpusConfig("voxceleb", root, boxes=False)).sources
    assert [source.boxes for source in unboxed] == [None, None]
    (alone,) = find_sources(CorpusConfig("voxceleb", root / "dev/mp4")).sources
    assert (alone.id, alone.split) == (first.id, None)
    (sound,) = find_sources(CorpusConfig("voxceleb", root, sound_only=True)).sources
    assert sound.video.suffix == ".m4a"


def test_sound_alone_is_read_from_any_layout(tmp_path):
    with pytest.raises(ValueError, match="leave out sound_folder"):
        CorpusConfig("folder", tmp_path, sound_only=True, sound_folder=tmp_path)
    root = touched(tmp_path / "mead", "M003/audio/angry/level_3/001.m4a", "M003/a/b/c.mp4")
    (source,) = find_sources(CorpusConfig("mead", root, sound_only=True)).sources
    assert source.id == "M003_angry_3_001"
    root = touched(tmp_path / "mine", "ann/one.wav", "ann/one.mp4", "ann/two.mp4")
    found = find_sources(CorpusConfig("folder", root, sound_only=True)).sources
    assert [source.video.name for source in found] == ["one.wav", "two.mp4"]
    found = find_sources(CorpusConfig("folder", root)).sources
    assert [source.video.name for source in found] == ["one.mp4", "two.mp4"]
    lines = ("video,audio,speaker,emotion,level,sentence", "v.mp4,s.wav,eve,sad,1,hi")
    (tmp_path / "list.csv").write_text("\n".join((*lines, "w.mp4,,eve,sad,1,ho")))
    found = find_sources(CorpusConfig("list", tmp_path / "list.csv", sound_only=True)).sources
    assert [(source.video.name, source.audio) for source in found] == [
        ("s.wav", None),
        ("w.mp4", None),
    ]


def mead_copy(root, *names):
    return touched(root, *(f"{name}/angry/level_3/001.mp4" for name in names))


def test_every_view_of_mead_is_a_clip_and_missing_views_are_named(tmp_path):
    views = ("down", "front", "left_30", "left_60", "right_30", "right_60", "top")
    root = mead_copy(tmp_path, *(f"M003/video/{view}" for view in views), "W017/video/down")
    every = find_sources(CorpusConfig("mead", root, views=()))
    assert sorted(s.view for s in every.sources if s.speaker == "M003") == list(views)
    assert any("no view 'left_60': W017" in note for note in every.notes)
    assert "M003_angry_3_001_left_30" in [source.id for source in every.sources]
    some = find_sources(CorpusConfig("mead", root, views=("front", "top")))
    assert [s.view for s in some.sources] == ["front", "top"]
    assert [note for note in some.notes if "W017" in note] == [
        "1 speakers have no view 'front': W017 (W017 has down)",
        "1 speakers have no view 'top': W017 (W017 has down)",
    ]


def test_unpacked_archives_of_mead_are_read_where_they_lie(tmp_path):
    root = mead_copy(
        tmp_path,
        "M003/video/video/front",
        "M005/video.tar/video/front",
        "M007.zip/M007/video/front",
        "M009.zip/video/front",
    )
    touched(root, "M003/audio/audio/angry/level_3/001.M4A", "truth/M011/front/angry/level_3/1.mp4")
    listing = find_sources(CorpusConfig("mead", root))
    assert [source.speaker for source in listing.sources] == ["M003", "M005", "M007", "M009"]
    assert listing.sources[0].audio == root / "M003/audio/audio/angry/level_3/001.M4A"


def test_what_a_copy_of_mead_lacks_is_named(tmp_path):
    root = mead_copy(tmp_path, "M003/video/front", "M003.zip/M003/video/front")
    (root / "M003.zip/M003/video/front/angry/level_3/001.mp4").write_bytes(
        (root / "M003/video/front/angry/level_3/001.mp4").read_bytes()
    )
    touched(root, "M003/video/front/angry/level_3/001 (1).mp4", "M025/readme.txt")
    (root / "W009").mkdir()
    listing = find_sources(CorpusConfig("mead", root))
    assert [s.video for s in listing.sources] == [root / "M003/video/front/angry/level_3/001.mp4"]
    assert {(r.path.name, r.reason) for r in listing.refused} == {
        ("001.mp4", "copy"),
        ("001 (1).mp4", "bad_name"),
    }
    assert "speakers without a clip of this layout: M025, W009" in listing.notes


def test_mead_for_emospace_has_three_levels_of_the_front_view_and_the_four_unseen_people(tmp_path):
    root = touched(
        tmp_path,
        *(f"{name}/video/front/sad/level_{k}/001.mp4" for name in ("M003", "M005") for k in (1, 3)),
        "M005/video/left_30/sad/level_2/001.mp4",
        "M005/video/front/sad/level_2/001.mp4",
        "W009/video/front/neutral/level_1/012.mp4",
    )
    path = ROOT / "configs/data/mead_emospace.yaml"
    config = load_config(Config, path, [f"corpus.root={root}"])
    sources = find_sources(config.corpus).sources
    assert splits_of(sources, config.split) == {
        "M003_sad_1_001": "test_speaker",
        "M003_sad_3_001": "test_speaker",
        "M005_sad_1_001": "train",
        "M005_sad_2_001": "train",
        "M005_sad_3_001": "train",
        "W009_neutral_1_012": "test_speaker",
    }
    assert (config.frames.profile, config.frames.size) == ("eamm", 256)


def test_every_actor_of_ravdess_is_for_testing_in_emospaces_table(tmp_path):
    files = (f"Actor_{k:02d}/01-01-02-01-01-01-{k:02d}.mp4" for k in range(1, 25))
    root = touched(tmp_path, *files)
    path = ROOT / "configs/data/ravdess_video.yaml"
    config = load_config(Config, path, [f"corpus.root={root}"])
    splits = splits_of(find_sources(config.corpus).sources, config.split)
    assert list(splits.values()) == ["test_speaker"] * 24
