"""Emotion accuracy: figures by hand, which frames are read, how faces are cut out, the files."""

import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from affekt.media.faces.geometry import RIGID_TEMPLATE
from affekt.media.faces.points import RIGID
from affekt.metrics.emotion.data import (
    FACE_CENTRE,
    FACE_SIDE,
    aligned_faces,
    face_crop,
    frames_of,
    spread,
)
from affekt.metrics.emotion.network import (
    Backbone,
    Classifier,
    Description,
    Fan,
    FanConfig,
    load_backbone,
    load_classifier,
    save_classifier,
)
from affekt.metrics.emotion.score import (
    Reading,
    classify_clips,
    confusion,
    count_correct,
    efd_proxy,
    main,
    read_clip,
    read_emotion,
)
from affekt.metrics.intervals import wilson_interval
from affekt.runtime.files import read_json
from tests.corpora.emotional_corpus import (
    BROW_SHIFT,
    EMOTIONS,
    face_with_brows,
    make_emotional_corpus,
)
from tests.corpora.made_up_faces import plain_face
from tests.corpora.portrait_corpus import SIZE

FAN = FanConfig(widths=(4, 4, 8, 8), blocks=1)
TOLD = Description(FAN, EMOTIONS, 32, "faces", "0" * 64, ("M901",), "test_speaker", 8, 6)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_emotional_corpus(tmp_path_factory.mktemp("made") / "faces", speakers=2, held_out=1)


@pytest.fixture
def classifier():
    torch.manual_seed(0)
    return Classifier(Fan(FAN, 3).eval(), TOLD, torch.device("cpu"))


def reading(*probabilities):
    return Reading(np.array(probabilities), np.zeros((1, 2), np.float32))


# Figures


def test_a_clip_without_a_face_counts_as_wrong_and_is_not_left_out():
    assert count_correct([0, 1, None, 2], [0, 1, 2, 1]) == 2
    assert reading(np.nan, np.nan).label is None
    assert reading(0.2, 0.8).label == 1


def test_the_confusion_matrix_has_the_truth_down_and_the_guess_across():
    table = confusion([0, 1, 1, None], [0, 0, 1, 1], 3)
    assert table.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]


def test_the_feature_distance_by_hand():
    truth = np.array([[1.0, 0.0], [1.0, 0.0], [2.0, 0.0]])
    result = np.array([[3.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    wanted = (0 + 1 + 1 - math.sqrt(0.5)) / 3
    assert efd_proxy(result, truth) == pytest.approx(wanted)
    assert efd_proxy(truth, truth) == pytest.approx(0)


def test_the_feature_distance_is_over_frames_with_faces_on_both_sides():
    one = np.array([[1.0, 0.0], [np.nan, np.nan], [1.0, 0.0]])
    other = np.array([[1.0, 1.0], [1.0, 0.0], [np.nan, np.nan]])
    assert efd_proxy(one, other) == pytest.approx(1 - math.sqrt(0.5))
    assert math.isnan(efd_proxy(one[1:2], other[1:2]))


# Reading


def test_frames_are_the_middles_of_equal_parts():
    assert spread(10, 5) == [1, 3, 5, 7, 9]
    assert spread(9, 3) == [1, 4, 7]
    assert spread(2, 16) == [0, 1]


def test_the_clip_is_read_at_evenly_spaced_frames_and_no_others(corpus, classifier):
    clip = corpus.clips()[0]
    frames, landmarks = frames_of(clip, range(clip.frames))
    found = read_emotion(classifier, frames, landmarks, 2)
    others = frames.copy()
    others[[0, 1, 3, 4, 5, 6, 8, 9]] = 0
    again = read_emotion(classifier, iter(others), landmarks, 2)
    assert np.array_equal(again.probabilities, found.probabilities)
    others[7] = 0
    again = read_emotion(classifier, others, landmarks, 2)
    assert not np.array_equal(again.features, found.features)


def test_a_stored_clip_reads_as_its_frames_and_landmarks_do(corpus, classifier):
    clip = corpus.clips()[3]
    frames, landmarks = frames_of(clip, range(clip.frames))
    deep = np.concatenate([landmarks, np.full((clip.frames, 68, 1), np.nan)], axis=2)
    ours, theirs = read_clip(classifier, clip, 4), read_emotion(classifier, frames, deep, 4)
    assert np.array_equal(ours.probabilities, theirs.probabilities)
    assert ours.probabilities.sum() == pytest.approx(1)
    assert ours.features.shape == (4, FAN.dim)


def test_the_reading_is_the_networks_answer_to_the_aligned_faces(corpus, classifier):
    clip = corpus.clips()[1]
    faces = aligned_faces(*frames_of(clip, spread(clip.frames, 3)), 32)
    pixels = torch.from_numpy(faces.transpose(0, 3, 1, 2).astype(np.float32) / 255)[None]
    with torch.no_grad():
        wanted = classifier.network(pixels).softmax(dim=1)[0]
    assert read_clip(classifier, clip, 3).probabilities == pytest.approx(wanted.numpy(), abs=1e-6)


def test_frames_without_a_face_are_not_read_and_leave_a_gap(corpus, classifier):
    clip = corpus.clips()[0]
    frames, landmarks = frames_of(clip, range(clip.frames))
    gap = landmarks.copy()
    gap[2] = np.nan
    found = read_emotion(classifier, frames, gap, 2)
    alone = read_emotion(classifier, frames[7:8], landmarks[7:8], 1)
    assert np.isnan(found.features).all(axis=1).tolist() == [True, False]
    assert found.probabilities == pytest.approx(alone.probabilities, abs=1e-6)

    nobody = read_emotion(classifier, frames, np.full_like(landmarks, np.nan), 2)
    assert nobody.label is None
    assert np.isnan(nobody.features).all()


def test_frames_and_landmarks_that_do_not_belong_together_are_refused(corpus, classifier):
    frames, landmarks = frames_of(corpus.clips()[0], range(10))
    with pytest.raises(ValueError, match="end before frame 9 of 10"):
        read_emotion(classifier, frames[:8], landmarks, 5)


# Faces


def test_a_face_is_cut_out_of_the_square_around_the_template():
    points = np.zeros((68, 2))
    points[list(RIGID)] = RIGID_TEMPLATE[:, :2]
    side = round(FACE_SIDE)
    whole = face_crop(points, (256, 256), side)  # unturned, a pixel of the template is a pixel
    corner = np.array(FACE_CENTRE) - side / 2  # the upper left one of the square
    assert whole.to_stored(corner) == pytest.approx([-0.5, -0.5])
    assert whole.to_stored(corner + side) == pytest.approx([side - 0.5, side - 0.5])
    quarter = face_crop(3 * points + 20, (800, 800), side // 4)
    assert quarter.to_stored(3 * corner + 20) == pytest.approx([-0.5, -0.5])
    assert quarter.to_stored(3 * (corner + side) + 20) == pytest.approx([side // 4 - 0.5] * 2)


def test_a_face_looks_the_same_in_its_crop_and_turned_in_a_larger_frame():
    points = plain_face(SIZE)
    angle = math.radians(12)
    turn = 2.0 * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    elsewhere = points @ turn.T + [60, 30]
    small, large = face_with_brows(points), np.zeros((260, 260, 3), np.uint8)
    rows, columns = np.mgrid[0:260, 0:260]  # each pixel of the frame asks the small picture
    asked = (np.stack([columns, rows], axis=-1) - [60, 30]) @ np.linalg.inv(turn).T
    nearest = np.rint(asked).astype(int).clip(0, SIZE - 1)
    inside = ((asked > -0.5) & (asked < SIZE - 0.5)).all(axis=-1)
    large[inside] = small[nearest[..., 1], nearest[..., 0]][inside]

    one = aligned_faces([small], points[None], 48)[0].astype(float)
    other = aligned_faces([large], elsewhere[None], 48)[0].astype(float)
    middle = (slice(8, 40), slice(8, 40))
    assert np.abs(one - other)[middle].mean() < 6
    sad = points + np.array([0, BROW_SHIFT["angry"]]) * np.isin(range(68), range(17, 27))[:, None]
    frowning = aligned_faces([face_with_brows(sad)], sad[None], 48)[0].astype(float)
    assert np.abs(one - frowning)[middle].mean() > 10


# Files


def test_weights_come_back_with_everything_that_is_known_of_them(classifier, tmp_path):
    for place in (tmp_path, save_classifier(tmp_path, classifier.network, TOLD)):
        again = load_classifier(place)
        assert again.description == TOLD
        assert not again.network.training
        state = classifier.network.state_dict()
        assert all(torch.equal(v, state[k]) for k, v in again.network.state_dict().items())


def test_a_missing_or_damaged_or_foreign_file_is_refused(classifier, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"affekt.metrics.emotion.train"):
        load_classifier(tmp_path)
    path = save_classifier(tmp_path, classifier.network, TOLD)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="damaged"):
        load_classifier(tmp_path)
    for wrong in ({}, {"fan": 3}, {"emotions": EMOTIONS}):
        save_file({"x": torch.zeros(1)}, path, {"emotion_classifier": json.dumps(wrong)})
        with pytest.raises(ValueError, match=r"no emotion classifier .*: its description"):
            load_classifier(tmp_path)
    # another number of emotions than its weights have
    told = Description(FAN, EMOTIONS[:2], 32, "faces", "0" * 64, ("M901",))
    save_classifier(tmp_path, classifier.network, told)
    with pytest.raises(ValueError, match="no emotion classifier of this project"):
        load_classifier(tmp_path)


def test_a_backbone_is_read_without_its_last_layer_and_its_wrapping(tmp_path):
    theirs, ours = Backbone(FAN), Backbone(FAN)
    state = {f"module.{k}": v for k, v in theirs.state_dict().items() if "tracked" not in k}
    state["module.fc.weight"] = torch.zeros(1)
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "a")
    load_backbone(ours, tmp_path / "a")
    assert torch.equal(ours.layer4[0].conv2.weight, theirs.layer4[0].conv2.weight)


def test_a_file_that_is_no_such_backbone_is_refused(tmp_path):
    torch.save(Backbone(FanConfig(widths=(8, 8, 8, 8), blocks=1)).state_dict(), tmp_path / "wide")
    torch.save({"epoch": 1}, tmp_path / "empty")
    (tmp_path / "text").write_text("not weights")
    for name, message in (
        ("wide", r"conv1.weight has shape \(8, 3, 7, 7\)"),
        ("empty", "wanted a tensor"),
        ("text", "wanted is the published backbone"),
    ):
        with pytest.raises(ValueError, match=message):
            load_backbone(Backbone(FAN), tmp_path / name)


# The command


@pytest.fixture
def run(classifier, tmp_path):
    save_classifier(tmp_path / "run", classifier.network, TOLD)
    return str(tmp_path / "run")


def test_the_command_prints_and_writes_the_truths_accuracy(run, corpus, tmp_path, capsys):
    path = tmp_path / "figures.json"
    argv = [run, "--corpus", str(corpus.root), "--json", str(path)]
    assert main(argv) == 0
    figures, printed = read_json(path), capsys.readouterr().out
    assert figures["truth"]["clips"] == 4
    assert np.sum(figures["truth"]["confusion"]) == 4
    right = np.trace(figures["truth"]["confusion"])
    found = wilson_interval(right, 4)
    assert figures["truth"]["accuracy"] == found.value
    assert figures["truth"]["wilson_95"] == [found.low, found.high]
    assert figures["truth"]["correct"] == right
    assert f"{right} of 4 clips" in printed
    assert "trained on" not in printed
    assert main([*argv, "--split", "train"]) == 0
    assert "trained on M901 too" in capsys.readouterr().out


def test_the_command_refuses_what_cannot_be_measured(run, corpus, tmp_path, capsys):
    with pytest.raises(SystemExit, match="no prepared corpus"):
        main([run, "--corpus", str(tmp_path)])
    with pytest.raises(SystemExit, match="no clip of nobody in split 'test_speaker'"):
        main([run, "--corpus", str(corpus.root), "--speaker", "nobody"])


def test_labels_follow_the_classifiers_order_not_the_corpuss(classifier, corpus):
    told = Description(FAN, EMOTIONS[::-1], 32, "faces", "0" * 64, ("M901",))
    other = Classifier(classifier.network, told, classifier.device)
    clips = corpus.clips("train")
    _, ours = classify_clips(classifier, corpus, clips)
    assert classify_clips(other, corpus, clips)[1] == [2 - label for label in ours]
    told = Description(FAN, ("angry", "sad"), 32, "faces", "", ())
    few = Classifier(classifier.network, told, classifier.device)
    with pytest.raises(ValueError, match="has clips of happy, neutral; the classifier has"):
        classify_clips(few, corpus, clips)
