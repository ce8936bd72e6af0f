"""Every clip gets expression coefficients under one identity a speaker, which holds no emotion."""

import functools
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from affekt.media.corpus import Corpus
from affekt.media.face3d.coefficients import IDENTITIES, MODEL, open_expression
from affekt.media.face3d.fit import fit_clip
from affekt.media.face3d.model import project, save_face_model
from affekt.media.faces.points import EMOTION
from affekt.media.integrity import clip_faults, corpus_faults, write_sealed
from affekt.runtime.files import save_npy, sha256
from data_prep import expression as step
from data_prep.face_model import ModesConfig, learn_face_model
from data_prep.mini import clip as mini
from data_prep.mini.head.head import make_head
from data_prep.mini.render import head_pose, posed
from data_prep.mini.speakers import make_speaker
from data_prep.mini.voice.speech import Phoneme
from data_prep.mini.voice.visemes import frame_times
from tests.corpora.made_up_faces import made_up_clip, made_up_model
from tests.corpora.prepared import write_clip, write_corpus

FRAMES = 20
# Speaker: split and emotions of the clips. W904 has no neutral clip, M905 is unseen.
PEOPLE = {
    "M901": (("train", "neutral"), ("train", "neutral"), ("train", "happy"),
             ("test_sentence", "neutral")),
    "W904": (("train", "happy"), ("train", "happy")),
    "M905": (("test_speaker", "neutral"), ("test_speaker", "happy")),
}  # fmt: skip


@pytest.fixture
def corpus(tmp_path):
    """A prepared corpus of three people, and a config of the step with the true face model."""
    model = made_up_model(K=4, E=5)
    save_face_model(model, tmp_path / "model.npz")
    rows = []
    for index, (speaker, clips) in enumerate(PEOPLE.items()):
        face = made_up_clip(model, 2, seed=index).identity
        for number, (split, emotion) in enumerate(clips, 1):
            made = made_up_clip(model, FRAMES, turn=0.2, seed=100 * index + number)
            landmarks = project(model.shapes(face, made.expression), made.pose)
            pictures = np.zeros((FRAMES, 8, 8, 3), np.uint8)
            about = {"emotion": emotion, "landmarks": landmarks}
            rows.append(write_clip(tmp_path, speaker, number, pictures, split, **about))
            folder = tmp_path / "clips" / speaker / rows[-1]["id"]
            write_sealed(folder / "clip.json", {"files": {}})
    write_corpus(tmp_path, rows)
    return tmp_path, step.Config(tmp_path, tmp_path / "model.npz", progress=False)


def stamps(root):
    files = root.glob("clips/*/*/expression.npy")
    return {path.parent.name: path.stat().st_mtime_ns for path in files}


def test_every_clip_has_coefficients_of_its_speakers_identity_and_the_corpus_their_model(corpus):
    root, config = corpus
    results = step.fit_corpus(config)
    assert (len(results.clips.records), results.clips.made, results.clips.failed) == (8, 8, {})
    shared = open_expression(Corpus(root))
    clips = Corpus(root).clips()
    shared.check_clips(clips)
    assert (shared.modes, shared.sha256) == (5, sha256(root / "model.npz"))
    for clip in clips:
        assert clip.expression().shape == (FRAMES, 5)
        assert clip.expression().dtype == np.float32
        faces = shared.model.shapes(shared.identity_of(clip.speaker), clip.expression())
        away = project(faces, clip.expression_pose()) - clip.landmarks()
        assert np.linalg.norm(away, axis=-1).mean() < 1.0
        assert clip_faults(clip.folder) == []
    record = json.loads((root / "expression.json").read_text())
    assert (record["clips"], record["speakers"], record["modes"]) == (8, 3, 5)
    assert record["median_residual_px"] < 1.0
    assert (root / MODEL).read_bytes() == (root / "model.npz").read_bytes()
    # A flipped byte of what the clips share is found
    assert corpus_faults(root, {}) == []
    content = bytearray((root / IDENTITIES).read_bytes())
    content[-1] ^= 1
    (root / IDENTITIES).write_bytes(content)
    (fault,) = corpus_faults(root, {})
    assert re.search(r"identities\.npz is damaged.*run python -m data_prep\.expression", fault)


def test_an_identity_is_the_mean_over_the_speakers_neutral_training_clips(corpus):
    root, config = corpus
    results = step.fit_corpus(config)
    model = open_expression(Corpus(root)).model
    neutral = [f"M901_neutral_1_{number:03d}" for number in (1, 2)]
    own = [fit_clip(model, Corpus(root).clip(name).landmarks()).identity for name in neutral]
    found = results.identities["M901"]
    np.testing.assert_allclose(found.values, np.mean(own, axis=0), rtol=1e-5)
    assert (found.clips, found.neutral) == (2, True)
    # An unseen speaker's own neutral clips; all emotions, where there is no neutral one
    assert (results.identities["M905"].clips, results.identities["M905"].neutral) == (1, True)
    assert (results.identities["W904"].clips, results.identities["W904"].neutral) == (2, False)
    said = step.summary(results, config)
    assert "3 speakers, one identity each" in said
    assert re.search(r"of 1 from clips of all emotions.*: W904$", said, re.MULTILINE)


def test_held_out_clips_of_a_training_speaker_take_no_part_in_the_identity(corpus):
    root, config = corpus
    before = step.fit_corpus(config).identities["M901"].values
    held_out = Corpus(root).clip("M901_neutral_1_004")
    other = made_up_clip(made_up_model(K=4, E=5), FRAMES, seed=77).landmarks
    save_npy(held_out.folder / "landmarks.npy", other.astype(np.float32))
    for name in (IDENTITIES, "expression.json"):
        (root / name).unlink()
    np.testing.assert_array_equal(step.fit_corpus(config).identities["M901"].values, before)


def test_a_second_run_fits_what_is_missing_or_of_another_identity_or_model(corpus):
    root, config = corpus
    step.fit_corpus(config)
    before = stamps(root)
    gone, damaged = Corpus(root).clip("M901_happy_1_003"), Corpus(root).clip("M905_happy_1_002")
    (gone.folder / "expression.npy").unlink()
    (damaged.folder / "expression.json").write_text("{ damaged")
    assert step.fit_corpus(config).clips.made == 2
    after = stamps(root)
    assert {name for name in before if before[name] != after[name]} == {gone.id, damaged.id}
    # Without the second neutral clip the first gives the identity: all four of M901 are fitted anew
    assert step.fit_corpus(replace(config, identity_clips=1)).clips.made == 4 + 2
    assert step.fit_corpus(config).clips.made == 4 + 2
    firmer = replace(config, fit=replace(config.fit, expression_weight=2.0))
    assert step.fit_corpus(firmer).clips.made == 8
    assert step.fit_corpus(firmer).clips.made == 0


def test_a_bad_clip_is_named_and_stops_neither_the_others_nor_its_speaker(corpus, capsys):
    root, config = corpus
    step.fit_corpus(config)
    for name in ("M901_neutral_1_001", "M905_neutral_1_001"):
        broken = Corpus(root).clip(name)
        landmarks = broken.landmarks()
        landmarks[3] = np.nan
        save_npy(broken.folder / "landmarks.npy", landmarks)
    for path in (root / IDENTITIES, *root.glob("clips/*/*/expression.json")):
        path.unlink()
    arguments = ["--corpus", str(root), "--model", str(config.model)]
    assert step.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "6 clips have expression coefficients" in printed
    assert re.search(r"failed M901_neutral_1_001: .*NaN", printed)
    assert "of 2 from clips of all emotions" in printed  # M905's only neutral clip is broken
    assert not (Corpus(root).clip("M901_neutral_1_001").folder / "expression.npy").exists()


def test_a_speaker_of_whom_nothing_can_be_fitted_is_named(corpus):
    root, config = corpus
    for clip in Corpus(root).clips(speaker="W904"):
        save_npy(clip.folder / "landmarks.npy", np.full((FRAMES, 68, 2), np.inf, np.float32))
    results = step.fit_corpus(config)
    assert set(results.no_identity) == {"W904"}
    assert set(results.clips.failed) == {"W904_happy_1_001", "W904_happy_1_002"}
    assert "no identity of W904: W904_happy" in step.summary(results, config)
    assert set(open_expression(Corpus(root)).identities) == {"M901", "M905"}


def test_shares_and_processes_fit_what_one_run_fits(corpus):
    root, config = corpus
    step.fit_corpus(config)
    alone = [clip.expression() for clip in Corpus(root).clips()]
    record = (root / "expression.json").read_bytes()
    for path in (root / IDENTITIES, root / "expression.json", *root.glob("clips/*/*/expression.*")):
        path.unlink()
    made = [
        step.fit_corpus(replace(config, shard=f"{i}/2", workers=workers)).clips.made
        for i, workers in ((1, 2), (0, 0))
    ]
    assert sum(made) == 8
    assert max(made) < 8
    assert not (root / "expression.json").exists()
    assert step.fit_corpus(config).clips.made == 0
    np.testing.assert_array_equal([clip.expression() for clip in Corpus(root).clips()], alone)
    assert (root / "expression.json").read_bytes() == record


def test_the_command_says_what_is_missing(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        step.main(["--corpus", str(tmp_path)])
    assert stopped.value.code == 2
    assert "--model" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="no prepared corpus"):
        step.main(["--corpus", str(tmp_path), "--model", str(tmp_path / "x.npz")])


# The trap: with an identity to each clip, the emotion is in the identity

SHOWN = ("neutral", "happy", "surprised", "angry")


@functools.cache
def head_of(index):
    return make_head(make_speaker(0, index))


def spoken(index, emotion, number):
    """Return (T, 68, 3), pixels: the mini corpus' head of a speaker who talks in an emotion."""
    rng = np.random.default_rng((index, SHOWN.index(emotion), number))
    names = rng.choice(["a", "i", "u", "p", "t", "s"], 9)
    sounds = [Phoneme(str(name), 0.12 * k, 0.12 * (k + 1)) for k, name in enumerate(names)]
    strengths = mini.act(sounds, 25, emotion, 1.0, rng)
    head = head_of(index)
    turns, shifts = mini.calm_turns(frame_times(25), rng)
    faces = posed(head.landmarks(head.vertices(strengths)), head_pose(turns, shifts, 256))
    return faces + rng.normal(size=faces.shape) * 0.5


@pytest.fixture(scope="module")
def talking(tmp_path_factory):
    """A prepared corpus of four people in four emotions, three clips each, and its face model."""
    root, rows, frames = tmp_path_factory.mktemp("talking"), [], {}
    for index in range(4):
        speaker = f"M90{index}"
        for emotion in SHOWN:
            for number in (1, 2, 3):
                seen = spoken(index, emotion, number)
                frames.setdefault(speaker, []).append(seen)
                about = {"emotion": emotion, "landmarks": seen[..., :2]}
                pictures = np.zeros((len(seen), 8, 8, 3), np.uint8)
                rows.append(write_clip(root, speaker, number, pictures, **about))
    people = {speaker: np.concatenate(clips) for speaker, clips in frames.items()}
    save_face_model(learn_face_model(people, ModesConfig()), root / "model.npz")
    write_corpus(root, rows)
    step.fit_corpus(step.Config(root, root / "model.npz", progress=False))
    return Corpus(root)


def told_by(values, clips):
    """Return how often the nearest mean of the other clips tells the emotion of (clips, K)."""
    right = 0
    for k, clip in enumerate(clips):
        means = []
        for emotion in SHOWN:
            other = [j for j, one in enumerate(clips) if one.emotion == emotion and j != k]
            means.append(values[other].mean(axis=0))
        away = np.linalg.norm(np.array(means) - values[k], axis=1)
        right += SHOWN[int(away.argmin())] == clip.emotion
    return right / len(clips)


def away_from_neutral(model, clips, expressions, emotion):
    """Return how far brows, lids and mouth corners of an emotion are from neutral, eye distances.

    The mean over people of the distance of their mean faces, by the expression alone.
    """
    still = np.zeros(len(model.identity))
    means = {}
    for clip, own in zip(clips, expressions, strict=True):
        shape = model.shapes(still, own)[:, list(EMOTION)].mean(axis=0)
        means.setdefault((clip.speaker, clip.emotion), []).append(shape)
    people = {speaker for speaker, _ in means}
    apart = [
        np.mean(means[who, emotion], axis=0) - np.mean(means[who, "neutral"], axis=0)
        for who in people
    ]
    return np.linalg.norm(np.array(apart), axis=-1).mean()


def test_an_identity_to_each_clip_hides_the_emotion_and_a_speakers_identity_does_not(talking):
    shared, clips = open_expression(talking), talking.clips()
    apart = [fit_clip(shared.model, clip.landmarks()) for clip in clips]
    # Identities about the mean of their speaker, in standard deviations
    own = np.array([fit.identity for fit in apart]) / shared.model.identity_std
    of = np.array([clip.speaker for clip in clips])
    own -= np.array([own[of == speaker].mean(axis=0) for speaker in of])
    assert told_by(own, clips) > 0.7  # of four; measured .92
    # What is left of the emotion in brows, lids and mouth corners: measured .11 against .13
    free = [fit.expression for fit in apart]
    held = [clip.expression() for clip in clips]
    sizes = [
        [away_from_neutral(shared.model, clips, own, emotion) for emotion in SHOWN[1:]]
        for own in (free, held)
    ]
    assert sum(sizes[1]) > 1.08 * sum(sizes[0])
    assert sizes[1][SHOWN.index("surprised") - 1] > 1.2 * sizes[0][SHOWN.index("surprised") - 1]
