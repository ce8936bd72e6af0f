"""What a published corpus holds, by folders, tables and lists, and how it is split."""

import dataclasses

import av
import numpy as np
import pytest
import soundfile

from affekt.media.corpus import Corpus
from affekt.media.faces.track import FramesConfig
from data_prep.clips.layouts.config import CorpusConfig, Source
from data_prep.clips.layouts.listing import find_sources
from data_prep.clips.splits import SplitConfig, split_of, splits_of
from data_prep.prepare import Config, prepare
from tests.corpora.drawn_face import folder_config, talking_clip

pytestmark = pytest.mark.usefixtures("one_detector")

SIZE = 128


def write_sound(path, rate=48_000, channels=2, depth=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.repeat(np.sin(np.arange(rate) / 20)[:, None], channels, axis=1)
    if depth:
        soundfile.write(path, 0.3 * samples, rate, subtype=depth, format="WAV")
        return
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=rate, layout="stereo")
        data = np.ascontiguousarray(0.3 * samples.T).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(data, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts = rate, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def mead(root):
    """MEAD's folders: pictures and sound apart, one clip with its own sound, a second view."""
    front, audio = root / "M901/video/front", root / "M901/audio"
    talking_clip(front / "angry/level_3/001.mp4", 25, SIZE, sound=False)
    write_sound(audio / "angry/level_3/001.m4a")
    talking_clip(front / "angry/level_3/012.mp4", 25, SIZE)
    talking_clip(front / "disgust/level_1/001.mp4", 25, SIZE, sound=False)
    write_sound(audio / "disgust/level_1/001.wav", depth="PCM_U8", channels=1)
    talking_clip(front / "neutral/level_1/001.mp4", 25, SIZE, sound=False)
    write_sound(audio / "neutral/level_1/001.m4a")
    talking_clip(root / "M901/video/lively/angry/level_3/002.mp4", 25, SIZE, sound=False)
    write_sound(root / "M901/audio_lively/angry/level_3/002.m4a")
    talking_clip(root / "truth/M901/front/angry/level_3/001.mp4", 8, SIZE)  # not a clip
    return root


def test_meads_folders_are_understood(tmp_path):
    root = mead(tmp_path / "raw")
    config = Config(
        CorpusConfig("mead", root, views=("front", "lively"), levels=(3,)),
        SplitConfig(test_numbers_below=10),
        frames=FramesConfig(size=64),
        out=tmp_path / "out",
        workers=0,
        progress=False,
    )
    prepare(config)
    clips = {clip.id: clip for clip in Corpus(tmp_path / "out").clips()}
    assert {name: clip.split for name, clip in clips.items()} == {
        "M901_angry_3_001": "test_sentence",
        "M901_angry_3_002_lively": "test_sentence",
        "M901_angry_3_012": "train",
        "M901_neutral_1_001": "test_sentence",  # neutral has level 1 alone: kept
    }
    assert all(clip.audio().any() for clip in clips.values())
    assert clips["M901_angry_3_001"].sentence == clips["M901_neutral_1_001"].sentence == "001"
    everything = find_sources(dataclasses.replace(config.corpus, levels=()))
    assert [source.emotion for source in everything.sources].count("disgusted") == 1


def test_a_sentence_table_says_which_files_are_the_same_sentence(tmp_path):
    root = mead(tmp_path / "raw")
    table = tmp_path / "table.csv"
    table.write_text("speaker,emotion,number,sentence\nM901,angry,12,hello\nM901,neutral,1,hello\n")
    config = CorpusConfig("mead", root, sentence_table=table)
    sentences = {source.id: source.sentence for source in find_sources(config).sources}
    assert sentences["M901_angry_3_012"] == sentences["M901_neutral_1_001"] == "hello"
    assert sentences["M901_angry_3_001"] != sentences["M901_disgusted_1_001"]  # unknown: unpaired


def test_a_list_names_pictures_and_sound(tmp_path):
    talking_clip(tmp_path / "v/one.mp4", 25, SIZE, sound=False)
    write_sound(tmp_path / "s/uno.m4a")
    talking_clip(tmp_path / "v/two.mp4", 12, SIZE)
    lines = [
        "video,audio,speaker,emotion,level,sentence",
        "v/one.mp4,s/uno.m4a,eve,happiness,2,good morning",
        "v/two.mp4,,eve,sad,1,good night",
        "v/three.mp4,,eve,sad,1,good night",
    ]
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    corpus = CorpusConfig("list", tmp_path / "list.csv")
    result = prepare(folder_config(tmp_path, tmp_path / "out", corpus=corpus))
    rows = {row["id"]: row for row in result.manifest}
    assert set(rows) == {"eve_happy_2_one", "eve_sad_1_two"}
    assert rows["eve_happy_2_one"]["sentence"] == "good morning"
    assert result.quarantine[0]["reason"] == "missing"


def test_names_that_do_not_fit_are_errors_or_counted(raw, tmp_path):
    listing = find_sources(CorpusConfig("folder", raw, pattern=r"(?P<speaker>ann)_happy_.*"))
    assert [source.video.name for source in listing.sources] == ["ann_happy_1.mp4"]
    assert len(listing.unmatched) == 2
    with pytest.raises(FileNotFoundError, match="the pattern fits none of 3 files"):
        find_sources(CorpusConfig("folder", raw, pattern="x(?P<number>.*)"))
    with pytest.raises(ValueError, match="unknown emotion 'ann'"):
        find_sources(CorpusConfig("folder", raw, pattern="(?P<emotion>[a-z]+)_.*"))
    with pytest.raises(ValueError, match="have the same id 'bob_neutral_1_ann'"):
        find_sources(CorpusConfig("folder", raw, pattern="(?P<number>ann)_.*", speaker="bob"))
    with pytest.raises(FileNotFoundError, match="does not exist"):
        find_sources(CorpusConfig("mead", tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="is no regular expression"):
        CorpusConfig("folder", raw, pattern="(")
    with pytest.raises(ValueError, match=r"groups \['emotoin'\]"):
        CorpusConfig("folder", raw, pattern="(?P<emotoin>x)")


def test_a_corpus_with_classes_of_its_own(raw):
    config = CorpusConfig(
        "folder",
        raw,
        pattern="ann_(?P<emotion>[a-z]+)_.*",
        spellings=(("happy", "gay"),),
        classes=("gay", "neutral", "sad"),
    )
    assert {source.emotion for source in find_sources(config).sources} == {"gay", "neutral", "sad"}


def test_splits_hold_out_people_sentences_and_a_steady_part(raw):
    sources = find_sources(
        CorpusConfig(
            "folder", raw, pattern=r"ann_(?P<emotion>[a-z]+)_(?P<number>\d)", speaker="ann"
        )
    ).sources

    def splits(**rules):
        return [split_of(source, SplitConfig(**rules)) for source in sources]

    assert splits(test_speakers=("ann",), test_numbers_below=9) == ["test_speaker"] * 3
    assert splits(test_sentences=("2",)) == ["train", "test_sentence", "train"]
    assert splits(test_numbers_below=2) == ["test_sentence", "train", "test_sentence"]
    many = [dataclasses.replace(sources[0], sentence=str(k)) for k in range(2000)]
    drawn = [split_of(source, SplitConfig(val_share=0.2)) for source in many]
    assert 0.17 < drawn.count("val") / 2000 < 0.23
    both = [split_of(source, SplitConfig(test_share=0.3, val_share=0.2)) for source in many]
    assert 0.26 < both.count("test_sentence") / 2000 < 0.34
    assert 0.17 < both.count("val") / 2000 < 0.23
    with pytest.raises(ValueError, match="in all below 1"):
        SplitConfig(test_share=0.6, val_share=0.4)
    other = [dataclasses.replace(source, emotion="sad") for source in many]
    assert drawn == [split_of(source, SplitConfig(val_share=0.2)) for source in other]
    with pytest.raises(ValueError, match=r"'x' is no number"):
        split_of(dataclasses.replace(sources[0], number="x"), SplitConfig(test_numbers_below=5))


def test_a_sentence_is_held_out_in_all_its_emotions_whatever_their_numbers(tmp_path):
    def source(emotion, number, sentence, speaker="M003"):
        path = tmp_path / f"{emotion}_{number}.mp4"
        return Source(path, None, speaker, emotion, 3, number, sentence)

    sources = [
        source("angry", "001", "01"),
        source("disgusted", "028", "01"),
        source("angry", "020", "04"),
        source("disgusted", "028", "01", speaker="W009"),
    ]
    splits = list(splits_of(sources, SplitConfig(test_numbers_below=10)).values())
    assert splits[:3] == ["test_sentence", "test_sentence", "train"]
    alone = splits_of(sources, SplitConfig(test_speakers=("M003",), test_numbers_below=10))
    assert list(alone.values())[:3] == ["test_speaker"] * 3
    assert list(alone.values())[3] == "train"
