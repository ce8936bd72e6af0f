"""evp.inference.predict: the landmarks of held-out clips as files, from their sound alone."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from affekt.runtime.files import read_json
from evp.inference import predict
from evp.inference.emotion_codes import at_length, clip_codes
from evp.inference.landmarks import Emotion, emotion_code
from evp.inference.predict import predict_clips, write_predictions
from evp.landmark_space import unflatten
from evp.networks.audio2lm import load_predictor, predict_landmarks
from tests.corpora.spoken_corpus import make_corpus
from tests.corpora.tiny_evp import make_run


@pytest.fixture
def corpus(tmp_path):
    return make_corpus(tmp_path / "corpus", frames=12, pairs=False)


@pytest.fixture
def run(corpus, tmp_path):
    return make_run(tmp_path / "run", corpus)


def test_every_held_out_clip_is_predicted_from_its_own_sound_and_its_speakers_face(
    corpus, run, tmp_path
):
    out = tmp_path / "out"
    assert write_predictions(run, corpus, "test_sentence", out) == 6
    predictor, clips = load_predictor(run), corpus.clips("test_sentence")
    networks = predictor.model, predictor.encoders
    record = read_json(out / "predictions.json")
    assert (record["view"], record["split"]) == ("2d", "test_sentence")
    assert record["clips"] == [clip.id for clip in clips]
    for clip in clips:
        written = np.load(out / f"{clip.id}.npy")
        assert written.shape == (clip.frames, 68, 2)
        code = clip_codes(predictor.encoders.emotion, [clip])[0]
        neutral = unflatten(predictor.space.neutral_of(clip.speaker))
        alone = predict_landmarks(*networks, clip.windows(), code, neutral)
        np.testing.assert_allclose(written, alone, atol=1e-3)


def encoded_alone(predictor, clip):
    """The emotion code of each window of a clip, encoded one at a time."""
    with torch.no_grad():
        windows = torch.from_numpy(np.array(clip.windows()))
        return np.stack([predictor.encoders.emotion(w[None])[0].numpy() for w in windows])


@pytest.mark.parametrize("kind", ["window", "clip"])
def test_a_sounds_emotion_conditions_a_run_in_the_form_that_it_was_trained_with(
    corpus, tmp_path, kind
):
    run = make_run(tmp_path / kind, corpus, emotion_code=kind)
    predictor = load_predictor(run)
    clip = corpus.clips("test_sentence")[0]
    codes = encoded_alone(predictor, clip)
    code = codes if kind == "window" else codes.mean(axis=0)
    neutral = unflatten(predictor.space.neutral_of(clip.speaker))
    wanted = predict_landmarks(predictor.model, predictor.encoders, clip.windows(), code, neutral)
    np.testing.assert_allclose(predict_clips(predictor, [clip])[clip.id], wanted, atol=1e-3)
    # generate.py: the driving sound's own, and that of a shorter and a longer recording
    np.testing.assert_allclose(own_code(predictor, Emotion(), clip.windows()), code, atol=1e-5)
    assert np.ptp(codes, axis=0).max() > 0.01
    for frames in (5, clip.frames + 4):
        driving = np.zeros((frames, 28, 12), np.float32)
        found = at_length(code, len(driving))
        if kind == "clip":
            np.testing.assert_array_equal(found, code)
        else:  # cut, or the last one held
            shown = [codes[min(k, clip.frames - 1)] for k in range(frames)]
            np.testing.assert_array_equal(found, shown)


def own_code(predictor, emotion, windows):
    """The emotion code of generate.py, of a sound that is all there is."""
    return emotion_code(predictor, Path("no codes are read"), emotion, "M901", windows)


def test_a_run_that_does_not_say_is_used_with_the_mean_as_it_was(corpus, run):
    description = run / "audio2lm.yaml"
    lines = description.read_text().splitlines()
    description.write_text("\n".join(line for line in lines if "emotion_code" not in line))
    assert load_predictor(run).emotion_code == "clip"


def test_a_held_out_clips_own_face_has_no_part_in_it(corpus, run, tmp_path):
    write_predictions(run, corpus, "test_sentence", tmp_path / "before")
    for clip in corpus.clips("test_sentence"):
        np.save(clip.folder / "landmarks.npy", clip.landmarks() * 2)
    write_predictions(run, corpus, "test_sentence", tmp_path / "after")
    for clip in corpus.clips("test_sentence"):
        before, after = (np.load(tmp_path / f"{x}/{clip.id}.npy") for x in ("before", "after"))
        np.testing.assert_array_equal(before, after)


def test_another_sound_gives_another_face(corpus, run, tmp_path):
    write_predictions(run, corpus, "test_sentence", tmp_path / "before")
    clip = corpus.clips("test_sentence")[0]
    np.save(clip.folder / "mfcc.npy", clip.mfcc()[::-1])
    write_predictions(run, corpus, "test_sentence", tmp_path / "after")
    before, after = (np.load(tmp_path / f"{x}/{clip.id}.npy") for x in ("before", "after"))
    assert np.abs(before - after).max() > 0


def test_other_emotions_or_an_empty_split_are_refused_and_nothing_is_written(corpus, tmp_path):
    strange = make_run(tmp_path / "strange", corpus, ("angry", "bored", "happy"))
    with pytest.raises(ValueError, match="bored"):
        write_predictions(strange, corpus, "test_sentence", tmp_path / "out")
    with pytest.raises(ValueError, match="no clips in split 'val'"):
        write_predictions(make_run(tmp_path / "run", corpus), corpus, "val", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_takes_the_runs_own_corpus_and_says_how_many(
    run, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(sys, "argv", ["predict", str(run), "--out", str(tmp_path / "out")])
    predict.main()
    assert capsys.readouterr().out == f"6 clips in {tmp_path / 'out'}\n"


def test_the_command_names_what_is_missing_in_one_line(corpus, tmp_path, monkeypatch):
    nowhere = [str(tmp_path / "nowhere"), "--corpus", str(corpus.root), "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["predict", *nowhere])
    with pytest.raises(SystemExit, match=r"nowhere"):
        predict.main()
