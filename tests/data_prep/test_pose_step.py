import json
import re
from dataclasses import replace

import numpy as np
import pytest

from affekt.media.corpus import SCHEMA, Corpus, by_speaker
from affekt.media.face3d.fit import fit_clip, px_at_256, rotation_error_deg
from affekt.media.face3d.model import load_face_model, save_face_model
from affekt.media.faces import geometry
from affekt.media.faces.points import FLIP, RIGID
from affekt.media.integrity import clip_faults
from affekt.runtime.files import save_npy, write_json, write_jsonl
from data_prep import face_model as face_model_step
from data_prep import pose as pose_step
from data_prep.face_model import ModesConfig, aligned_frames, learn_face_model, sample
from tests.corpora.made_up_faces import made_up_clip, made_up_model
from tests.corpora.many_speakers import many_speakers

SPEAKERS = ("M901", "W902", "M903")


def faces_in_space(model, clip, depth_noise=0.0):
    """Return what a detector with depth would see: (T, 68, 3), s R L + t."""
    faces = model.shapes(clip.identity, clip.expression)
    turned = faces @ geometry.rotation_matrix(clip.pose[:, :3]).swapaxes(1, 2)
    seen = np.exp(clip.pose[:, 3, None, None]) * turned
    seen[..., :2] += clip.pose[:, None, 4:]
    return seen + np.random.default_rng(0).normal(size=seen.shape) * depth_noise


def person(model, seed, T=120, turn=1.0):
    """Return frames in space of a person of their own identity, and the clip they come from."""
    clip = made_up_clip(model, T, turn=turn, seed=seed)
    return faces_in_space(model, clip), clip


def write_clip(root, speaker, number, split, landmarks3d):
    T = len(landmarks3d)
    clip_id = f"{speaker}_neutral_1_{number:03d}"
    folder = root / "clips" / speaker / clip_id
    save_npy(folder / "landmarks3d.npy", landmarks3d.astype(np.float32))
    save_npy(folder / "landmarks.npy", landmarks3d[..., :2].astype(np.float32))
    row = {"id": clip_id, "speaker": speaker, "emotion": "neutral", "level": 1}
    row |= {"sentence": str(number), "split": split, "frames": T, "sha256": "", "source": ""}
    return row


@pytest.fixture
def corpus(tmp_path):
    """A prepared corpus of three people, two training clips and a held-out one each."""
    model = made_up_model(K=6, E=4)
    rows = []
    for index, speaker in enumerate(SPEAKERS):
        _, first = person(model, seed=index)
        for number, split in enumerate(("train", "train", "test_sentence"), 1):
            clip = made_up_clip(model, 30, turn=0.2, seed=100 * index + number)
            own = replace_identity(model, clip, first.identity)
            rows.append(write_clip(tmp_path, speaker, number, split, own))
    write_jsonl(tmp_path / "manifest.jsonl", rows)
    write_json(tmp_path / "corpus.json", {"schema": SCHEMA})
    return tmp_path


def replace_identity(model, clip, identity):
    return faces_in_space(model, clip._replace(identity=identity), depth_noise=0.3)


def captured(modes, wanted):
    """Return the share of the variance of `wanted` (E, 68, 3) that lies in the span of `modes`."""
    basis, _ = np.linalg.qr(modes.reshape(len(modes), -1).T)
    flat = wanted.reshape(len(wanted), -1)
    return np.square(flat @ basis).sum() / np.square(flat).sum()


def test_frames_are_turned_to_the_front_on_their_rigid_points():
    model = made_up_model(K=3, E=3)
    seen, clip = person(model, seed=1)
    aligned = aligned_frames(seen)
    spread = aligned[:, list(RIGID)].std(axis=0).max()
    assert spread < 1e-6  # expression leaves them alone, so nothing is left of the motion
    mean = aligned.mean(axis=0)
    assert np.linalg.norm(mean[36] - mean[45]) == pytest.approx(1, abs=1e-3)
    onto = geometry.similarity(model.shapes(clip.identity, clip.expression.mean(axis=0)), mean)
    assert geometry.rotation_angle_deg(onto.rotation, np.eye(3)) < 15  # to the front, roughly


def test_known_modes_are_found_again():
    model = made_up_model(K=3, E=4)
    people = {str(seed): person(model, seed)[0] for seed in range(6)}
    exact = ModesConfig(mirror=False, warp_std=0.0)
    learned = learn_face_model(people, exact)
    assert len(learned.identity) <= 5
    assert captured(learned.expression, model.expression) > 0.99
    landmarks, pose, *_ = made_up_clip(model, 60, noise=0.3, seed=3)  # one of the people
    fit = fit_clip(learned, landmarks)
    assert rotation_error_deg(fit.pose, pose).mean() < 1.0
    assert (fit.residual_px * px_at_256(fit.pose)).mean() < 1.0


def test_a_mirrored_model_is_symmetric():
    model = made_up_model(K=3, E=4)
    people = {str(seed): person(model, seed)[0] for seed in range(2)}
    learned = learn_face_model(people, ModesConfig(mirror=True))
    flipped = learned.mean[list(FLIP)] * [-1, 1, 1]
    np.testing.assert_allclose(flipped, learned.mean, atol=1e-6)
    assert captured(learned.expression, learned.expression[:, FLIP] * [-1, 1, 1]) > 0.99


def test_one_person_makes_a_model_without_identity_modes():
    model = made_up_model(K=3, E=4)
    seen, _ = person(model, seed=1)
    learned = learn_face_model({"only": seen}, ModesConfig(mirror=False, warp_std=0.0))
    assert learned.identity.shape == (0, 68, 3)
    landmarks, pose, *_ = made_up_clip(model, 60, noise=0.3, seed=1)
    assert rotation_error_deg(fit_clip(learned, landmarks).pose, pose).mean() < 1.0


def test_smooth_warps_help_with_a_stranger():
    model = made_up_model(K=3, E=4)
    seen, _ = person(model, seed=1)
    landmarks, *_ = made_up_clip(model, 60, noise=0.3, seed=9)
    plain, warped = (
        fit_clip(learn_face_model({"only": seen}, ModesConfig(warp_std=std)), landmarks)
        for std in (0.0, 0.02)
    )
    assert warped.residual_px.mean() < 0.8 * plain.residual_px.mean()


def test_the_range_holds_what_was_seen():
    model = made_up_model(K=3, E=4)
    learned = learn_face_model({"only": person(model, seed=1)[0]}, ModesConfig(mirror=False))
    assert (learned.expression_range[:, 0] < 0).all()
    assert (learned.expression_range[:, 1] > 0).all()
    assert (np.abs(learned.expression_range) < 6 * learned.expression_std[:, None]).all()


def test_only_training_clips_are_learned_from(corpus):
    out = corpus / "model.npz"
    assert face_model_step.main(["--corpus", str(corpus), "--out", str(out)]) == 0
    before = load_face_model(out)
    assert before.name == f"learned from {corpus.name}: 3 speakers, 180 frames"
    for clip in Corpus(corpus).clips(split="test_sentence"):
        save_npy(clip.folder / "landmarks3d.npy", np.ones((30, 68, 3), np.float32))
    assert face_model_step.main(["--corpus", str(corpus), "--out", str(out)]) == 0
    np.testing.assert_array_equal(load_face_model(out).mean, before.mean)


def test_a_corpus_within_the_limits_is_learned_from_whole(tmp_path):
    people = by_speaker(many_speakers(tmp_path, 12, clips_each=2).clips())
    config = face_model_step.Config(tmp_path, tmp_path / "m.npz", speakers=6, frames=6 * 58)
    assert sample(people, config) == (people, 3000)


def test_of_too_many_people_the_seed_chooses_and_of_too_many_frames_each_gives_fewer(tmp_path):
    corpus = many_speakers(tmp_path, 40, clips_each=2)
    people = by_speaker(corpus.clips())
    config = face_model_step.Config(tmp_path, tmp_path / "m.npz", speakers=8, progress=False)
    chosen, most = sample(people, config)
    assert most == 3000
    assert len(chosen) == 8
    assert list(chosen) == sorted(chosen)
    assert chosen == sample(people, config)[0] != sample(people, replace(config, seed=1))[0]
    assert chosen.items() <= people.items()
    # 58 frames each are too many for 8 x 20
    config = replace(config, frames=160)
    assert sample(people, config) == (chosen, 20)
    model = face_model_step.learn(config)
    count = int(re.search(r"8 speakers, (\d+) frames", model.name)[1])
    assert 80 < count <= 160


def test_a_face_model_of_all_frames_is_that_of_their_singular_vectors():
    people = {str(seed): person(made_up_model(K=6, E=4), seed)[0] for seed in range(3)}
    learned = learn_face_model(people, ModesConfig(mirror=False, expression_modes=2))
    aligned = [aligned_frames(frames) for frames in people.values()]
    moves = np.concatenate([one - one.mean(axis=0) for one in aligned]).reshape(-1, 204)
    _, singular, vectors = np.linalg.svd(moves, full_matrices=False)
    modes = learned.expression.reshape(2, -1)
    modes /= np.linalg.norm(modes, axis=1, keepdims=True)
    np.testing.assert_allclose(np.abs((modes * vectors[:2]).sum(axis=1)), 1, atol=1e-9)
    ratio = learned.expression_std[1] / learned.expression_std[0]
    np.testing.assert_allclose(ratio, singular[1] / singular[0], rtol=1e-9)


def test_a_clip_without_depth_is_left_out_and_a_corpus_without_is_refused(corpus, capsys, caplog):
    first, *others = Corpus(corpus).clips(split="train")
    (first.folder / "landmarks3d.npy").unlink()
    arguments = ["--corpus", str(corpus), "--out", str(corpus / "model.npz")]
    assert face_model_step.main(arguments) == 0
    assert first.id in caplog.text
    for clip in others:
        (clip.folder / "landmarks3d.npy").unlink()
    with pytest.raises(SystemExit, match=re.escape("no training clip with landmarks3d.npy")):
        face_model_step.main(arguments)


@pytest.fixture
def fitted(corpus):
    """The corpus, its learned model, and the arguments of the pose step."""
    model = corpus / "model.npz"
    face_model_step.learn(face_model_step.Config(corpus, model, progress=False))
    return corpus, pose_step.Config(corpus, model, progress=False)


def test_every_clip_gets_a_pose_and_a_record(fitted):
    root, config = fitted
    poses = pose_step.fit_corpus(config)
    assert (len(poses.residuals), poses.made, poses.failed) == (9, 9, {})
    for clip in Corpus(root).clips():
        assert clip.pose().shape == (30, 6)
        assert clip.pose().dtype == np.float32
        record = json.loads((clip.folder / "pose.json").read_text())
        assert record["model"].startswith("learned from")
        assert record["residual_px"] == poses.residuals[clip.id] < 1.0
    total = json.loads((root / "pose.json").read_text())
    assert (total["clips"], total["flagged"], total["failed"]) == (9, [], {})
    for name in ("pose.npy", "pose.json"):  # a flipped byte is found
        good = (clip.folder / name).read_bytes()
        (clip.folder / name).write_bytes(good[:60] + bytes([good[60] ^ 1]) + good[61:])
        assert [name in line for line in clip_faults(clip.folder) if "/pose." in line] == [True]
        (clip.folder / name).write_bytes(good)
    assert not [line for line in clip_faults(clip.folder) if "/pose." in line]


def test_a_second_run_does_only_what_is_missing(fitted):
    root, config = fitted
    pose_step.fit_corpus(config)
    clips = Corpus(root).clips()
    stamps = {clip.id: (clip.folder / "pose.npy").stat().st_mtime_ns for clip in clips}
    (clips[4].folder / "pose.npy").unlink()
    (clips[5].folder / "pose.json").write_text("{ damaged")
    assert pose_step.fit_corpus(config).made == 2
    same = [(c.folder / "pose.npy").stat().st_mtime_ns == stamps[c.id] for c in clips]
    assert [clip.id for clip, kept in zip(clips, same, strict=True) if not kept] == [
        clips[4].id,
        clips[5].id,
    ]


def test_another_model_or_setting_makes_all_anew(fitted):
    _, config = fitted
    pose_step.fit_corpus(config)
    firmer = replace(config, fit=replace(config.fit, expression_weight=2.0))
    assert pose_step.fit_corpus(firmer).made == 9
    save_face_model(made_up_model(K=6, E=4), config.model)
    assert pose_step.fit_corpus(firmer).made == 9
    assert pose_step.fit_corpus(firmer).made == 0


def test_a_bad_clip_is_reported_and_the_others_are_fitted(fitted, capsys):
    root, config = fitted
    pose_step.fit_corpus(config)
    bad, far, *_ = Corpus(root).clips()
    broken = bad.landmarks()
    broken[7] = np.nan
    save_npy(bad.folder / "landmarks.npy", broken)
    noise = np.random.default_rng(0).normal(size=(30, 68, 2)) * 20
    save_npy(far.folder / "landmarks.npy", (far.landmarks() + noise).astype(np.float32))
    changed = replace(config, fit=replace(config.fit, expression_weight=2.0))
    poses = pose_step.fit_corpus(changed)
    assert list(poses.failed) == [bad.id]
    assert "NaN" in poses.failed[bad.id]
    assert not (bad.folder / "pose.npy").exists()  # the old one would mislead
    assert poses.flagged(changed.most_residual) == [far.id]
    arguments = ["--corpus", str(root), "--model", str(config.model)]
    assert pose_step.main(arguments) == 0
    printed = capsys.readouterr().out
    assert f"failed {bad.id}" in printed
    assert f"look at {far.id}" in printed


def test_processes_write_what_one_writes(fitted):
    root, config = fitted
    pose_step.fit_corpus(config)
    clips = Corpus(root).clips()
    alone = [clip.pose() for clip in clips]
    for clip in clips:
        (clip.folder / "pose.npy").unlink()
    assert pose_step.fit_corpus(replace(config, workers=2)).made == 9
    for clip, pose in zip(clips, alone, strict=True):
        np.testing.assert_array_equal(clip.pose(), pose)


def test_shares_fitted_apart_are_the_poses_of_one_run(fitted):
    root, config = fitted
    pose_step.fit_corpus(config)
    clips = Corpus(root).clips()
    alone = [clip.pose() for clip in clips], (root / "pose.json").read_bytes()
    for path in (root / "pose.json", *root.glob("clips/*/*/pose.*")):
        path.unlink()
    made = [pose_step.fit_corpus(replace(config, shard=f"{i}/3")).made for i in (2, 0, 1)]
    assert sum(made) == 9
    assert max(made) < 9
    assert not (root / "pose.json").exists()
    assert pose_step.fit_corpus(config).made == 0
    np.testing.assert_array_equal([clip.pose() for clip in clips], alone[0])
    assert (root / "pose.json").read_bytes() == alone[1]


def test_the_commands_say_what_is_missing(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        pose_step.main(["--corpus", str(tmp_path)])
    assert stopped.value.code == 2
    assert "--model" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="no prepared corpus"):
        pose_step.main(["--corpus", str(tmp_path), "--model", str(tmp_path / "x.npz")])


def test_a_clip_whose_fit_takes_too_long_has_no_pose(fitted):
    config = fitted[1]
    manifest = config.corpus / "manifest.jsonl"
    manifest.write_text(manifest.read_text().splitlines(True)[0])
    poses = pose_step.fit_corpus(replace(config, workers=1, clip_seconds=1e-3))
    assert [*poses.failed.values()] == ["it took longer than 0.001 s"]
    assert not list(config.corpus.glob("clips/*/*/pose.npy"))
    with pytest.raises(ValueError, match="clip_seconds is 0, wanted more than 0"):
        replace(config, clip_seconds=0)
