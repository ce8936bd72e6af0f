"""Datasets on a corpus whose MFCC say where they come from: speaker, sentence, emotion, row."""

import json

import numpy as np
import pytest
import torch

from affekt.media.audio.mfcc import windows
from affekt.media.corpus import SCHEMA, Corpus
from affekt.runtime.files import write_json, write_jsonl
from evp.data import speech
from evp.data.quads import CepstralOffset, Quads, read_sentences, window_starts
from evp.data.speech import EmotionWindows, FrameCodes, LandmarkClips, clips_of, every_row
from evp.landmark_space import fit_space, flatten, unflatten

EMOTIONS = ("angry", "happy", "neutral", "sad")
FRAMES = 9
SPEAKER, SENTENCE, EMOTION, ROW = 1, 2, 3, 4  # columns of the MFCC; the network sees them less 1


def telling_mfcc(speaker, sentence, label, frames=FRAMES):
    mfcc = np.zeros((4 * frames + 24, 13), np.float32)
    mfcc[:, [SPEAKER, SENTENCE, EMOTION]] = speaker, sentence, label
    mfcc[:, ROW] = np.arange(len(mfcc))
    return mfcc


def telling_faces(label, frames=FRAMES):
    """All points move by the frame's number; the rigid points are everywhere the same."""
    faces = np.random.default_rng(0).uniform(50, 200, (68, 2)) + np.zeros((frames, 1, 1))
    faces[:, 60, 1] += np.arange(frames)
    faces[:, 20, 1] -= 3 * label
    return faces.astype(np.float32)


@pytest.fixture
def corpus(tmp_path):
    rows, pairs = [], []
    for speaker in (1, 2):
        for sentence in (1, 2, 3, 4):
            for label, emotion in enumerate(EMOTIONS):
                if (speaker, sentence, emotion) == (1, 2, "sad"):
                    continue  # sentence 2 of speaker 1 was not said sadly
                split = "test_sentence" if sentence == 4 else "train"
                name = f"M90{speaker}_{emotion}_3_00{sentence}"
                row = {"id": name, "speaker": f"M90{speaker}", "emotion": emotion, "level": 3}
                row |= {"sentence": f"00{sentence}", "split": split, "frames": FRAMES}
                rows.append(row | {"sha256": "0", "source": "made up"})
                folder = tmp_path / "clips" / f"M90{speaker}" / name
                folder.mkdir(parents=True)
                np.save(folder / "mfcc.npy", telling_mfcc(speaker, sentence, label))
                np.save(folder / "landmarks.npy", telling_faces(label))
                place = tmp_path / "pairs" / f"{name}.npy"
                place.parent.mkdir(exist_ok=True)
                np.save(place, telling_mfcc(speaker, sentence, label))
                pair = {key: row[key] for key in ("speaker", "sentence", "emotion", "split")}
                pairs.append(pair | {"reference": "angry", "file": place.name})
    write_json(tmp_path / "corpus.json", {"schema": SCHEMA, "emotions": list(EMOTIONS)})
    write_jsonl(tmp_path / "manifest.jsonl", rows)
    write_jsonl(tmp_path / "pairs/pairs.jsonl", pairs)
    return Corpus(tmp_path)


def tags(window):
    """(speaker, sentence, emotion, first row) of a window."""
    return tuple(int(window[0, column - 1]) for column in (SPEAKER, SENTENCE, EMOTION, ROW))


def test_the_window_of_every_fourth_row_is_the_video_frames():
    mfcc = np.random.default_rng(0).normal(size=(60, 13)).astype(np.float32)
    np.testing.assert_array_equal(every_row(mfcc)[::4], windows(mfcc))


def test_an_epoch_shows_each_training_window_once_with_its_label(corpus):
    data = EmotionWindows(corpus, "train", seed=0)
    seen = [data[draw] for draw in range(len(data))]
    assert len({tags(item["window"]) for item in seen}) == len(seen) == 23 * FRAMES
    assert all(int(item["emotion"]) == tags(item["window"])[2] for item in seen)
    assert all(tags(item["window"])[1] != 4 for item in seen)


def test_a_shift_is_drawn_anew_each_epoch_but_the_same_for_the_same_draw(corpus):
    data = EmotionWindows(corpus, "train", seed=0, shift=3)
    rows = {tags(data[7 + epoch * len(data)]["window"])[3] for epoch in range(30)}
    assert rows == {28, 29, 30, 31}  # frame 7 and up to 3 rows later
    torch.testing.assert_close(data[7]["window"], data[7]["window"])


def test_paper_quads_are_two_contents_by_two_emotions_of_one_speaker(corpus):
    data = Quads(corpus, "train", "paper", seed=0, shift=3)
    for draw in range(0, 40 * len(data), 37):
        item = data[draw]
        im, jn, jm, in_ = (tags(window) for window in item["windows"])
        m, n = im[2], jn[2]
        assert item["emotions"].tolist() == [m, n, m, n]
        assert m != n
        assert in_ == (im[0], im[1], n, im[3])  # the same content, row for row
        assert jm == (jn[0], jn[1], m, jn[3])
        assert jn[0] == im[0]
        assert jn[1] != im[1]
        assert 4 not in (im[1], jn[1])


def test_every_window_of_an_aligned_sentence_is_a_first_window_once_an_epoch(corpus):
    data = Quads(corpus, "train", "paper", seed=0)
    firsts = {tags(data[draw]["windows"][0]) for draw in range(len(data))}
    assert len(firsts) == len(data) == 23 * FRAMES


def test_release_quads_take_emotions_from_other_sentences(corpus):
    data = Quads(corpus, "train", "release", seed=0)
    for draw in range(0, 20 * len(data), 19):
        item = data[draw]
        i1, i2, i3, i4 = (tags(window) for window in item["windows"])
        assert item["emotions"].tolist() == [i1[2], i1[2], i4[2], i4[2]]
        assert i1[2] != i4[2]
        assert i4 == (i1[0], i1[1], i4[2], i1[3])
        assert (i2[2], i3[2]) == (i1[2], i4[2])
        assert i1[1] not in (i2[1], i3[1])
        assert {i1[0]} == {i2[0], i3[0]}


def test_the_same_draw_is_the_same_quad_and_the_next_epoch_another(corpus):
    data = Quads(corpus, "train", "paper", seed=5)
    again = Quads(corpus, "train", "paper", seed=5)
    assert torch.equal(data[11]["windows"], again[11]["windows"])
    later = [data[11 + epoch * len(data)]["windows"] for epoch in range(1, 6)]
    assert any(not torch.equal(data[11]["windows"], windows) for windows in later)


def test_a_speaker_of_one_sentence_takes_both_contents_from_it(corpus):
    path = corpus.root / "pairs/pairs.jsonl"
    path.write_text("".join(row for row in path.read_text().splitlines(True) if '"001"' in row))
    item = Quads(corpus, "train", "paper", seed=0)[0]
    assert {tags(window)[1] for window in item["windows"]} == {1}


def test_own_timing_finds_each_row_where_it_was_spoken(corpus):
    """A recording of 80 rows whose warp repeats row 20 ten times and skips rows 50 to 59."""
    own = telling_mfcc(1, 1, 0, frames=14)
    source = np.array([*range(20), *[20] * 10, *range(20, 50), *range(60, 80)])
    starts = window_starts(own, own[source])
    assert len(starts) == len(source) - 27
    middles = starts + 14
    np.testing.assert_array_equal(middles[:6], [14, 15, 16, 17, 18, 19])
    assert (middles[6:17] == 20).all()
    np.testing.assert_array_equal(middles[17:], source[31 : 31 + len(middles[17:])].clip(14, 66))
    with pytest.raises(ValueError, match=r"row 3 of the pairs is not in the clip's MFCC"):
        window_starts(own, own[source] + 0.5 * (np.arange(len(source)) == 3)[:, None])


def test_own_timing_of_an_unwarped_sentence_is_the_reference_timing(corpus):
    path = corpus.root / "pairs/pairs.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        row["clip"] = row["file"].removesuffix(".npy")
    write_jsonl(path, rows)
    for timing in ("reference", "own"):
        item = Quads(corpus, "train", "paper", seed=0, shift=3, timing=timing)[42]
        assert torch.equal(item["windows"], Quads(corpus, "train", "paper", 0, 3)[42]["windows"])


def test_reference_timing_cuts_at_the_reference_row(corpus):
    """Window k of a warped recording holds its rows k to k + 27, where the warp repeats one too."""
    name = "M901_happy_3_001"
    warped = telling_mfcc(1, 1, 1)[[*range(20), *[20] * 10, *range(20, 50)]]
    np.save(corpus.root / "pairs" / f"{name}.npy", warped)
    sentences = read_sentences(corpus, "train")
    happy = sentences[0].recordings[EMOTIONS.index("happy")][0]
    for row in (0, 6, 12, 25, 32):
        np.testing.assert_array_equal(happy.at(row), warped[row : row + 28, 1:])


def test_missing_pairs_name_their_command(corpus):
    (corpus.root / "pairs/pairs.jsonl").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"pairs.jsonl is missing; run python -m data_prep.pairs"
    ):
        Quads(corpus, "train", "paper", seed=0)


def test_a_split_without_pairs_is_refused(corpus):
    with pytest.raises(ValueError, match="no sentence in two emotions in split 'val'"):
        read_sentences(corpus, "val")


def test_an_emotion_outside_the_corpus_list_is_refused(corpus):
    path = corpus.root / "pairs/pairs.jsonl"
    path.write_text(path.read_text().replace('"happy"', '"bored"'))
    with pytest.raises(ValueError, match=r"'bored' is not in the list.*angry, happy"):
        read_sentences(corpus, "train")


def test_landmarks_and_sound_of_a_sequence_belong_to_the_same_frames(corpus):
    space = fit_space(corpus, "2d", 2)
    data = LandmarkClips(clips_of(corpus, "train"), space, "2d", 4, "window", seed=0)
    starts = set()
    for draw in range(200):
        item = data[draw]
        frames = [tags(window)[3] // 4 for window in item["windows"]]
        clip = data.clips[draw % len(data)]
        np.testing.assert_array_equal(item["landmarks"], flatten(clip.aligned("2d"))[frames])
        assert torch.equal(item["emotion_windows"], item["windows"])
        np.testing.assert_array_equal(item["neutral"], space.neutral_of(clip.speaker))
        starts.add(frames[0])
    assert starts == set(range(FRAMES - 3))


def test_another_clips_emotion_is_of_the_same_speaker_and_emotion(corpus):
    space = fit_space(corpus, "2d", 2)
    data = LandmarkClips(clips_of(corpus, "train"), space, "2d", 4, "other_clip", seed=0)
    for draw in range(100):
        own, other = (tags(data[draw][name][0]) for name in ("windows", "emotion_windows"))
        assert (own[0], own[2]) == (other[0], other[2])
        assert own[1] != other[1]


@pytest.mark.parametrize("emotion_from", ["window", "other_clip"])
def test_clips_of_too_many_frames_to_keep_are_read_when_asked_for(
    corpus, emotion_from, monkeypatch
):
    space, clips = fit_space(corpus, "2d", 2), clips_of(corpus, "train")

    def both():
        windows = EmotionWindows(corpus, "train", seed=0, shift=3)
        return windows, LandmarkClips(clips, space, "2d", 4, emotion_from, seed=0)

    kept = both()
    monkeypatch.setattr(speech, "MOST_KEPT", sum(clip.frames for clip in clips) - 1)
    for one, other in zip(kept, both(), strict=True):
        assert one.windows.kept is not None
        assert other.windows.kept is None
        for draw in range(0, 60, 7):
            pairs = zip(one[draw].items(), other[draw].items(), strict=True)
            assert all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)
    assert isinstance(kept[1], LandmarkClips)
    assert both()[1].faces.kept is None


def test_every_window_of_every_clip_is_an_item_in_the_clips_order(corpus):
    data, clips = EmotionWindows(corpus, "train", seed=0), clips_of(corpus, "train")
    windows = [window for clip in clips for window in clip.windows()]
    assert len(data) == len(windows)
    assert all(np.array_equal(data[i]["window"], each) for i, each in enumerate(windows))


def test_codes_of_frames_stand_for_windows_of_the_same_frames(corpus):
    space, clips = fit_space(corpus, "2d", 2), clips_of(corpus, "train")
    data = LandmarkClips(clips, space, "2d", 4, "other_clip", seed=0)
    plain = [data[draw] for draw in range(40)]
    flat = [clip.windows().reshape(clip.frames, -1).astype(np.float32) for clip in clips]
    data.codes = FrameCodes(flat, [2 * each for each in flat])
    for draw, item in enumerate(plain):
        coded = data[draw]
        assert set(coded) == {"content", "emotion", "landmarks", "neutral"}
        assert torch.equal(coded["content"], item["windows"].flatten(1))
        assert torch.equal(coded["emotion"], 2 * item["emotion_windows"].flatten(1))
        assert torch.equal(coded["landmarks"], item["landmarks"])


def test_a_clip_shorter_than_a_sequence_holds_its_last_frame(corpus):
    space = fit_space(corpus, "2d", 2)
    data = LandmarkClips(clips_of(corpus, "train"), space, "2d", 12, "window", seed=0)
    assert [tags(window)[3] // 4 for window in data[0]["windows"]] == [*range(FRAMES), 8, 8, 8]


def test_nan_landmarks_stop_before_training_and_name_the_file(corpus):
    clip = clips_of(corpus, "train")[3]
    faces = clip.landmarks()
    faces[4, 10, 1] = np.nan
    np.save(clip.folder / "landmarks.npy", faces)
    with pytest.raises(ValueError, match=rf"{clip.id}/landmarks.npy holds NaN.*\[4, 10, 1\]"):
        fit_space(corpus, "2d", 2)


def test_no_statistic_of_faces_sees_a_held_out_clip(corpus):
    before = fit_space(corpus, "2d", 3)
    for clip in corpus.clips(split="test_sentence"):
        np.save(clip.folder / "landmarks.npy", 3 * clip.landmarks() ** 1.2)
    after = fit_space(corpus, "2d", 3)
    np.testing.assert_array_equal(before.neutral, after.neutral)
    np.testing.assert_array_equal(before.average, after.average)
    np.testing.assert_array_equal(before.basis, after.basis)


def test_the_neutral_face_is_the_mean_of_neutral_training_clips(corpus):
    space = fit_space(corpus, "2d", 2)
    clips = [c for c in corpus.clips("train", "M901") if c.emotion == "neutral"]
    mean = np.concatenate([clip.aligned("2d") for clip in clips]).mean(axis=0)
    np.testing.assert_allclose(unflatten(space.neutral_of("M901")), mean, atol=1e-3)


def test_motion_components_are_orthonormal_and_span_the_training_motion(corpus):
    space = fit_space(corpus, "2d", 2)
    np.testing.assert_allclose(space.basis @ space.basis.T, np.eye(2), atol=1e-5)
    clip = clips_of(corpus, "train")[0]
    motion = flatten(clip.aligned("2d")) - space.neutral_of(clip.speaker)
    # Only two coordinates move: one with the frame, one with the emotion.
    np.testing.assert_allclose(motion @ space.basis.T @ space.basis, motion, atol=1e-5)


def test_a_speaker_without_neutral_clips_is_named(corpus):
    path = corpus.root / "manifest.jsonl"
    rows = path.read_text().splitlines(True)
    path.write_text("".join(row for row in rows if not ("M902" in row and "neutral" in row)))
    with pytest.raises(ValueError, match=r"speaker 'M902'.* no neutral training clip"):
        fit_space(Corpus(corpus.root), "2d", 2)


def test_an_unknown_speaker_is_refused_with_the_known_ones(corpus):
    with pytest.raises(ValueError, match=r"M903.*trained on M901, M902"):
        fit_space(corpus, "2d", 2).neutral_of("M903")


def test_a_cepstral_offset_changes_what_the_content_encoder_reads_by_constants(corpus):
    quads = Quads(corpus, "train", "paper", seed=0)
    item = CepstralOffset(quads, 5.0, seed=0)[7]
    assert torch.equal(item["windows"], quads[7]["windows"])
    offset = item["content_windows"] - item["windows"]
    torch.testing.assert_close(offset, offset[:, :1].expand_as(offset), atol=1e-4, rtol=0)
    assert 2 < offset[:, 0].std() < 10
    again = CepstralOffset(quads, 5.0, seed=0)[7]
    assert torch.equal(again["content_windows"], item["content_windows"])
    plain = CepstralOffset(quads, 0.0, seed=0)[7]
    assert torch.equal(plain["content_windows"], plain["windows"])
    with pytest.raises(ValueError, match="cepstral_offset is -1"):
        CepstralOffset(quads, -1, seed=0)
