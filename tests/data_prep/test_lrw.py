"""LRW becomes a prepared corpus: its own splits, a speaker a clip, 29 frames and windows."""

import dataclasses
import io
import tarfile

import cv2
import numpy as np
import pytest

from affekt.media.audio.mfcc import clip_mfcc, mfcc, windows
from affekt.media.corpus import Corpus
from affekt.media.faces.track import FramesConfig
from affekt.media.video.video import write_video
from data_prep.clips.layouts.config import CorpusConfig
from data_prep.clips.layouts.listing import find_sources
from data_prep.clips.splits import SplitConfig, splits_of
from data_prep.prepare import Config, prepare
from tests.corpora.drawn_face import talking, talking_clip, tone

FRAMES = 29
SIZE = 96
LRW_SAMPLES = 19 * 1024  # of a published clip's sound: 1.216 s, the pictures last 1.16 s


pytestmark = pytest.mark.usefixtures("one_detector")


def named(root, word, part, number):
    path = root / word / part / f"{word}_{number:05d}.mp4"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".txt").write_text("Disk reference: 1\nDuration: 0.53 seconds\n")
    return path


def word_clip(root, word, part, number):
    """Write a clip as published: the sound lasts longer than the pictures."""
    path = named(root, word, part, number)
    write_video(path, talking(FRAMES, SIZE), tone(40)[:LRW_SAMPLES])
    return path


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Two words; a number stands for another clip in each set. Two clips that cannot be used."""
    root = tmp_path_factory.mktemp("lipread_mp4")
    for word, part in (("ABOUT", "train"), ("ABOUT", "val"), ("ABOUT", "test"), ("AFTER", "train")):
        word_clip(root, word, part, 1)
    silent = named(root, "AFTER", "train", 2)
    write_video(silent, talking(FRAMES, SIZE), np.zeros(LRW_SAMPLES, np.float32))
    whole = word_clip(root, "AFTER", "val", 7)
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    return root


@pytest.fixture(scope="module")
def prepared(raw, tmp_path_factory):
    out = tmp_path_factory.mktemp("prepared") / "lrw"
    frames = FramesConfig("eamm", 64, "mp4")
    corpus = CorpusConfig("lrw", raw)
    return prepare(Config(corpus, frames=frames, out=out, workers=0, progress=False)), Corpus(out)


def test_its_sets_are_the_splits_and_every_clip_has_a_speaker_of_its_own(prepared):
    clips = {clip.id: clip for clip in prepared[1].clips()}
    assert {name: (clip.split, clip.sentence) for name, clip in clips.items()} == {
        "ABOUT-test-00001_neutral_1_00001": ("test_speaker", "ABOUT"),
        "ABOUT-train-00001_neutral_1_00001": ("train", "ABOUT"),
        "ABOUT-val-00001_neutral_1_00001": ("val", "ABOUT"),
        "AFTER-train-00001_neutral_1_00001": ("train", "AFTER"),
    }
    assert len({clip.speaker for clip in clips.values()}) == len(clips)
    assert {(clip.emotion, clip.level) for clip in clips.values()} == {("neutral", 1)}


def test_silent_and_damaged_clips_are_refused(prepared):
    refused = {row["id"]: row["reason"] for row in prepared[0].quarantine}
    assert refused == {
        "AFTER-train-00002_neutral_1_00002": "silent",
        "AFTER-val-00007_neutral_1_00007": "truncated",
    }


def test_a_clip_has_29_frames_29_windows_and_as_much_sound(prepared):
    for clip in prepared[1].clips():
        assert (clip.frames, len(clip.store())) == (FRAMES, FRAMES)
        assert clip.windows().shape == (FRAMES, 28, 12)
        assert clip.audio().shape == (FRAMES * 640,)
        assert np.abs(clip.audio()[-640:]).max() > 0.2  # sound to the end: cut, not padded
    assert prepared[1].info["profile"] == "eamm"


def test_sound_that_is_a_little_short_is_padded_to_the_pictures(tmp_path):
    path = named(tmp_path / "raw", "ABOUT", "train", 1)
    write_video(path, talking(FRAMES, SIZE), tone(27))
    corpus, frames = CorpusConfig("lrw", tmp_path / "raw"), FramesConfig("eamm", 64)
    prepare(Config(corpus, frames=frames, out=tmp_path / "out", workers=0, progress=False))
    (clip,) = Corpus(tmp_path / "out").clips()
    assert clip.audio().shape == (FRAMES * 640,)
    assert not clip.audio()[-640:].any()
    assert clip.windows().shape == (FRAMES, 28, 12)


def test_words_are_chosen_by_pattern_and_other_files_are_left_out(raw, tmp_path):
    listing = find_sources(CorpusConfig("lrw", raw, pattern="ABOUT_.*"))
    assert {source.sentence for source in listing.sources} == {"ABOUT"}
    assert len(listing.unmatched) == 3  # AFTER's
    strange = tmp_path / "raw"
    talking_clip(strange / "ABOUT/train/ABOUT_00001.mp4", 8, SIZE)
    for name in (
        "ABOUT/train/AFTER_00002.mp4",
        "ABOUT/train/ABOUT_x.mp4",
        "ABOUT/dev/ABOUT_00001.mp4",
    ):
        (strange / name).parent.mkdir(exist_ok=True)
        (strange / name).touch()
    listing = find_sources(CorpusConfig("lrw", strange))
    assert [source.number for source in listing.sources] == ["00001"]
    assert len(listing.unmatched) == 3
    with pytest.raises(FileNotFoundError, match="no clip of the layout 'lrw'"):
        find_sources(CorpusConfig("lrw", strange / "ABOUT"))


def test_rules_of_the_config_hold_out_of_train_alone(raw):
    sources = find_sources(CorpusConfig("lrw", raw)).sources
    splits = splits_of(sources, SplitConfig(test_sentences=("ABOUT",)))
    by_set = {(source.sentence, source.speaker.split("-")[1]): source.id for source in sources}
    assert splits[by_set["ABOUT", "train"]] == "test_sentence"
    assert splits[by_set["ABOUT", "val"]] == "val"
    assert splits[by_set["ABOUT", "test"]] == "test_speaker"
    assert splits[by_set["AFTER", "train"]] == "train"


@pytest.fixture(scope="module")
def sample(media_root):
    """The release's own LRW clip: frames (29, 256, 256, 3) RGB and MFCC windows (30, 28, 13)."""
    frames, release = {}, None
    with tarfile.open(media_root / "eamm_lrw" / "LRW_ABOUT_00001.tar") as archive:
        for member in archive.getmembers():
            if not member.isfile():
                continue
            data = archive.extractfile(member).read()
            if member.name.endswith(".png"):
                number = int(member.name.split("/")[-1].removesuffix(".png"))
                picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
                frames[number] = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
            elif "MFCC" in member.name:
                release = np.load(io.BytesIO(data), allow_pickle=False)
    return np.stack([frames[k] for k in range(len(frames))]), release


@pytest.mark.data
def test_the_release_cuts_its_windows_as_we_do(sample):
    _, release = sample
    rows = np.concatenate([release[0], *release[1:, 24:]])  # a window adds four rows
    np.testing.assert_array_equal(windows(rows), release[..., 1:])
    silence = mfcc(np.zeros(640))[0]  # what padding is in its file and in ours
    np.testing.assert_allclose(rows[:10], np.tile(silence, (10, 1)), atol=0.005)
    assert np.abs(rows[10, 1:]).max() > 1  # the first row whose 25 ms reach into the sound


@pytest.mark.data
def test_the_release_has_a_window_more_because_the_sound_lasts_longer(sample):
    """1.216 s of sound make 30 windows; the pictures last 1.16 s, and so does our sound."""
    frames, release = sample
    assert (len(frames), len(release)) == (FRAMES, 30)
    sound = tone(40)[:LRW_SAMPLES]
    theirs = windows(mfcc(sound))
    ours = windows(clip_mfcc(sound, FRAMES))
    assert (len(theirs), len(ours)) == (30, FRAMES)
    # Window k ends 0.2 s after its frame began: those of the last 3 frames reach past the cut.
    np.testing.assert_allclose(ours[:25], theirs[:25], atol=1e-4)


@pytest.mark.data
def test_the_releases_frames_pass_through_the_same_preparation(sample, tmp_path):
    frames, _ = sample
    path = named(tmp_path / "raw", "ABOUT", "train", 1)
    write_video(path, frames, tone(40)[:LRW_SAMPLES])
    config = Config(CorpusConfig("lrw", tmp_path / "raw"), out=tmp_path / "out", workers=0)
    config = dataclasses.replace(config, frames=FramesConfig("eamm", 256), progress=False)
    prepare(config)
    (clip,) = Corpus(tmp_path / "out").clips(split="train")
    assert clip.store()[:].shape == (FRAMES, 256, 256, 3)
    # The frames are crops of the release's already: ours of them changes little.
    assert clip.crop().scale == pytest.approx(1, abs=0.05)
    eyes = clip.stored_landmarks()[0][[36, 45]].mean(axis=0)
    np.testing.assert_allclose(eyes, [135, 114], atol=6)
