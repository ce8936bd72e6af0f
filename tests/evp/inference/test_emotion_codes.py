import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from affekt.runtime.files import DamagedFileError, read_json, write_json
from evp.analysis.measure_codes import measure_run, table
from evp.inference.emotion_codes import EmotionCodes, clip_codes, load_codes, mean_codes, save_codes
from tests.corpora.spoken_corpus import make_corpus
from tests.corpora.tiny_evp import write_encoders

ROOT = Path(__file__).parents[3]


class Means(nn.Module):
    """An encoder whose code is the mean row of a window."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, windows):
        return windows.mean(dim=1)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("spoken"), frames=12, pairs=False)


@pytest.fixture
def run_dir(corpus, tmp_path):
    return write_encoders(tmp_path, corpus)


_codes = {"happy": [1.0, 0.0], "sad": [0.0, 1.0], "M901/sad": [0.0, 3.0]}
CODES = EmotionCodes(("happy", "sad", "fear"), {key: np.array(c) for key, c in _codes.items()})


def test_a_blend_is_1_minus_w_of_the_first_and_w_of_the_second():
    np.testing.assert_allclose(CODES.blend("sad:happy:0.25"), [0.25, 0.75])
    np.testing.assert_allclose(CODES.blend("sad:happy:0"), CODES.of("sad"))
    np.testing.assert_allclose(CODES.blend("sad:happy:1"), CODES.of("happy"))


def test_a_speakers_own_mean_is_preferred():
    np.testing.assert_allclose(CODES.of("sad", "M901"), [0, 3])
    np.testing.assert_allclose(CODES.of("happy", "M901"), [1, 0])
    np.testing.assert_allclose(CODES.blend("sad:happy:0.5", "M901"), [0.5, 1.5])


@pytest.mark.parametrize("text", ["sad:happy", "sad:happy:much", "sad::0.5", "a:b:0.5:1", ""])
def test_text_that_is_no_blend_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match=r"not of the form a:b:w, such as sad:happy:0\.3"):
        CODES.blend(text)


def test_a_weight_outside_0_to_1_is_refused():
    with pytest.raises(ValueError, match=r"is 1\.5, wanted 0 to 1"):
        CODES.blend("sad:happy:1.5")


def test_unknown_and_unheard_labels_are_refused():
    with pytest.raises(ValueError, match="emotion 'joyful'; this run has happy, sad, fear"):
        CODES.of("joyful")
    with pytest.raises(ValueError, match="no training clip is labelled 'fear'"):
        CODES.blend("sad:fear:0.5")


def test_a_clips_code_is_the_mean_over_its_windows(corpus):
    clips = corpus.clips()[:3]
    for code, clip in zip(clip_codes(Means(), clips), clips, strict=True):
        np.testing.assert_allclose(code, clip.windows().mean(axis=(0, 1)), atol=1e-4)


def test_a_labels_code_is_the_mean_over_its_training_clips(corpus):
    codes = mean_codes(Means(), corpus)
    for speaker in (None, "W902"):
        clips = corpus.clips("train", speaker, "happy")
        by_hand = np.mean([clip.windows().mean(axis=(0, 1)) for clip in clips], axis=0)
        np.testing.assert_allclose(codes.of("happy", speaker), by_hand, atol=1e-4)


def test_saved_codes_come_back(corpus, run_dir):
    codes = mean_codes(Means(), corpus)
    save_codes(codes, run_dir, corpus)
    again = load_codes(run_dir)
    assert again.emotions == codes.emotions
    assert set(again.codes) == set(codes.codes)
    np.testing.assert_array_equal(again.of("happy"), codes.of("happy"))
    made_of = read_json(run_dir / "emotion_codes.json")
    assert made_of["clips"] == {"angry": 8, "happy": 8, "neutral": 8}  # without sentence 004


def test_codes_not_computed_yet_name_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"run python -m evp\.inference\.emotion_codes"):
        load_codes(tmp_path)


def test_the_command_writes_codes_of_the_runs_corpus(run_dir):
    command = [sys.executable, "-m", "evp.inference.emotion_codes", str(run_dir)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    assert load_codes(run_dir).of("angry", "M901").shape == (6,)


def test_the_command_refuses_a_corpus_of_other_emotions(run_dir, corpus):
    write_encoders(run_dir, corpus, emotions=("angry", "bored"))
    command = [sys.executable, "-m", "evp.inference.emotion_codes", str(run_dir)]
    command += ["--corpus", str(corpus.root)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "trained on the emotions angry, bored" in done.stderr
    assert "Traceback" not in done.stderr


def test_measures_stand_beside_those_of_raw_mfcc(run_dir, corpus):
    figures = measure_run(run_dir, corpus, "test_sentence")
    assert set(figures) == {"mfcc", "content", "emotion"}
    assert figures["mfcc"]["nearest_mean"] == 1  # made-up emotions are constant offsets
    assert figures["mfcc"]["emotion"] == 1
    assert all(-1 <= row["silhouette"] <= 1 for row in figures.values())
    assert re.search(r"\| mfcc +\| +1.000 \| +1.000 \|", table(figures))


def test_codes_without_their_list_of_emotions_are_damaged(run_dir, corpus):
    save_codes(mean_codes(Means(), corpus), run_dir, corpus)
    write_json(run_dir / "emotion_codes.json", {})
    with pytest.raises(DamagedFileError, match=r"codes\.json lists no emotions; run python"):
        load_codes(run_dir)
