"""l_a never comes from the clip that is predicted, and one pass gives what all faces give."""

import numpy as np
import pytest

import pretrain_encoders
from affekt.media.corpus import by_speaker
from affekt.media.validation import ValConfig
from affekt.runtime.config import ConfigError
from affekt.runtime.files import DamagedFileError, read_jsonl, write_jsonl
from affekt.runtime.run import RunConfig
from evp.data.speech import LandmarkClips, clips_of
from evp.landmark_space import LandmarkSpace, fit_space, flatten, load_space, save_space
from tests.corpora.many_speakers import many_speakers
from tests.corpora.spoken_corpus import make_corpus

MOUTH = slice(48, 68)


def items_of(corpus, neutral_from="others"):
    space = fit_space(corpus, "2d", 4, neutral_from)
    return LandmarkClips(clips_of(corpus, "train"), space, "2d", 8, "window", seed=0)


@pytest.fixture
def words(tmp_path):
    """Six clips as LRW's, each a speaker of its own."""
    return many_speakers(tmp_path, 6)


def changed(clip, pixels):
    """Move a clip's mouth; the rigid points, which align it, stay."""
    landmarks = clip.landmarks()
    landmarks[:, MOUTH] += pixels
    (clip.folder / "landmarks.npy").unlink()  # it is a hard link
    np.save(clip.folder / "landmarks.npy", landmarks)


def test_no_frame_of_the_predicted_clip_enters_its_neutral_face(words):
    before = items_of(words)
    changed(before.clips[2], 50)
    after = items_of(words)
    assert np.abs(after.faces[2] - before.faces[2]).max() > 0.1
    for clip in range(6):
        moved = np.abs(after[clip]["neutral"] - before[clip]["neutral"]).max()
        assert moved < 1e-6 if clip == 2 else moved > 0.02  # a fifth of the others' mean


def test_the_neutral_face_is_the_mean_of_all_other_people(words):
    items = items_of(words)
    for own, clip in enumerate(items.clips):
        others = [flatten(c.aligned("2d")) for c in items.clips if c is not clip]
        wanted = np.concatenate(others).mean(axis=0, dtype=np.float64)
        np.testing.assert_allclose(items[own]["neutral"], wanted, atol=1e-6)


def test_clips_of_one_speaker_are_all_left_out_of_its_neutral_face(tmp_path):
    items = items_of(many_speakers(tmp_path, 6, clips_each=2))
    assert [clip.speaker for clip in items.clips[:2]] == ["WORD-train-00000"] * 2
    wanted = np.concatenate(items.faces[2:]).mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(items[0]["neutral"], wanted, atol=1e-6)


def test_a_speakers_only_clip_is_refused_as_its_own_neutral_face(words):
    wanted = r"speaker 'WORD-train-00000' has one training clip.*neutral_from=others"
    with pytest.raises(ConfigError, match=wanted):
        items_of(words, "speaker")


def test_others_need_two_speakers(tmp_path):
    with pytest.raises(ConfigError, match="2 speakers, found 1"):
        items_of(many_speakers(tmp_path, 2, clips_each=2))


def test_one_face_for_everybody_is_anybodys_and_the_centre_of_the_motion(words):
    space = fit_space(words, "2d", 5, "others")
    faces = np.concatenate([flatten(clip.aligned("2d")) for clip in words.clips()]).astype(float)
    assert space.speakers == ()
    for mean in (space.neutral_of("nobody"), space.average_of("nobody")):
        np.testing.assert_allclose(mean, faces.mean(axis=0), atol=1e-6)
    # Their second moments about that face, by singular values of all frames at once
    _, singular, directions = np.linalg.svd(faces - faces.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(space.deviation, singular[:5] / np.sqrt(len(faces)), rtol=1e-4)
    along = np.abs((space.basis * directions[:5]).sum(axis=1))
    np.testing.assert_allclose(along, 1, atol=1e-5)


@pytest.mark.parametrize("view", ["2d", "3d"])
def test_one_pass_gives_what_all_faces_in_memory_give(tmp_path, view):
    corpus = many_speakers(tmp_path, 24, people=24, clips_each=3)
    faces = {
        speaker: np.concatenate([flatten(clip.aligned(view)) for clip in own])
        for speaker, own in by_speaker(corpus.clips()).items()
    }
    means = np.stack([own.mean(axis=0) for own in faces.values()])
    moved = [own - mean for own, mean in zip(faces.values(), means, strict=True)]
    rows = np.concatenate(moved).astype(float)
    values, vectors = np.linalg.eigh(rows.T @ rows / len(rows))
    space = fit_space(corpus, view, 6)
    assert space.speakers == tuple(faces)
    np.testing.assert_allclose(space.neutral, means, atol=1e-6)
    np.testing.assert_allclose(space.average, means, atol=1e-6)
    np.testing.assert_allclose(space.deviation, np.sqrt(values[::-1][:6]), atol=1e-6)
    np.testing.assert_allclose(space.basis, vectors[:, ::-1][:, :6].T, atol=1e-6)


def test_an_unknown_speaker_of_many_is_refused_with_ten_names(words, tmp_path):
    space = fit_space(many_speakers(tmp_path / "many", 13), "2d", 2)
    with pytest.raises(ValueError, match=r"'M1'; trained on WORD-train-00000, .*00009 and 3 more$"):
        space.neutral_of("M1")


def test_pretraining_measures_people_whom_it_has_not_seen(tmp_path):
    people = ("M901", "W902", "M903")
    corpus = make_corpus(tmp_path / "corpus", people, sentences=2, frames=20, pairs=False)
    manifest = corpus.root / "manifest.jsonl"
    rows = read_jsonl(manifest)
    splits = {"M903": "val"}
    write_jsonl(manifest, [row | {"split": splits.get(row["speaker"], "train")} for row in rows])
    run = RunConfig(tmp_path / "run", steps=1, batch_size=2, workers=0, threads=1, progress=False)
    settings = {"val": ValConfig("val", every=1), "neutral_from": "others", "frames": 4}
    config = pretrain_encoders.Config(run, "content", corpus.root, **settings)
    pretrain_encoders.train(config)
    assert "val_mouth_r" in (tmp_path / "run/metrics.jsonl").read_text()


def test_no_flipped_byte_of_a_saved_space_is_silent(tmp_path):
    """Every fifth byte of a small one in turn, one bit each: the same arrays, or one line."""
    rows = np.arange(8, dtype=np.float32).reshape(2, 4)
    space = LandmarkSpace(("M901", "W902"), rows, rows + 1, rows + 2, np.ones(2, np.float32))
    path = tmp_path / "landmark_space.npz"
    save_space(space, path)
    data, refused = path.read_bytes(), []
    for place in range(0, len(data), 5):
        path.write_bytes(data[:place] + bytes([data[place] ^ (1 << place % 8)]) + data[place + 1 :])
        try:
            found = load_space(path)
        except DamagedFileError as error:
            refused.append(str(error))
            continue
        assert found.speakers == space.speakers
        for name in ("neutral", "average", "basis", "deviation"):
            np.testing.assert_array_equal(getattr(found, name), getattr(space, name))
    assert all(str(path) in line and "\n" not in line for line in refused)
    assert len(refused) > 0.6 * len(data) / 5  # the rest are times and rights, which mean nothing
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(DamagedFileError, match=r"landmark_space\.npz is damaged"):
        load_space(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("neutral", np.zeros((1, 4), np.float32)),
        ("average", np.zeros((2, 4), np.int64)),
        ("basis", np.zeros((3, 4), np.float32)),
        ("deviation", np.array([1, np.nan], np.float32)),
    ],
)
def test_a_space_of_other_shapes_types_or_values_is_refused(tmp_path, name, value):
    rows = np.zeros((2, 4), np.float32)
    arrays = {"neutral": rows, "average": rows, "basis": rows, "deviation": np.ones(2)}
    path = tmp_path / "landmark_space.npz"
    np.savez(path, speakers=np.array(["M901", "W902"]), **arrays)
    assert load_space(path).speakers == ("M901", "W902")
    np.savez(path, speakers=np.array(["M901", "W902"]), **arrays | {name: value})
    with pytest.raises(DamagedFileError, match=rf"npz: {name} holds .*; train_audio2lm"):
        load_space(path)
