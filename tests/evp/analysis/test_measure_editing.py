"""Figures of faces under blended emotion codes, by hand and of untrained runs."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from affekt.media.faces.points import BROWS, JAW, MOUTH_CORNERS
from affekt.runtime.files import read_json, write_text
from evp.analysis.measure_editing import (
    blended_faces,
    clip_paths,
    emotion_projection,
    main,
    measure,
    meets,
    path_figures,
    rank_correlation,
    summary,
    table,
    true_faces,
)
from evp.inference.emotion_codes import load_codes
from evp.networks.audio2lm import load_predictor, predict_faces
from evp.networks.encoders import encode
from tests.corpora.spoken_corpus import make_corpus
from tests.corpora.tiny_evp import make_run

RNG = np.random.default_rng(0)
FIRST = RNG.uniform(0, 256, (68, 2))
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
LOWER_LIP = [65, 66, 67]


def other_face(shift=8.0):
    face = FIRST.copy()
    face[list(BROWS), 1] -= shift
    return face


def test_the_projection_is_that_of_brows_and_mouth_corners_alone():
    second = other_face()
    second[48] += (3, 4)
    second[[0, 8, 30, 40, 57, 62, 66]] += 9  # jaw, nose, lids and lips: of no concern
    way = 10 * 8**2 + 25  # pixels^2: ten brow points, one corner
    faces = np.stack([FIRST, second, 3 * second - 2 * FIRST])
    np.testing.assert_allclose(emotion_projection(faces, FIRST, second), [0, 1, 3])
    moved = FIRST.copy()
    moved[17, 1] -= 4
    np.testing.assert_allclose(emotion_projection(moved, FIRST, second), 4 * 8 / way)
    moved = FIRST.copy()
    moved[list(JAW)] += 50
    moved[60:] += 20
    assert emotion_projection(moved, FIRST, second) == 0
    assert math.isnan(emotion_projection(FIRST, FIRST, FIRST))


def test_rank_correlation_is_spearmans():
    values = RNG.normal(size=(5, 40)).round(1)
    values[1, :20] = values[0, :20]  # ties
    found = [rank_correlation(column, WEIGHTS) for column in values.T]
    wanted = [spearmanr(column, WEIGHTS).statistic for column in values.T]
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    assert rank_correlation(np.array([0, 1, 2, 30, 4]), WEIGHTS) == pytest.approx(0.9)
    assert math.isnan(rank_correlation(np.ones(5), WEIGHTS))
    # Neighbours exchanged meet the bar, still tracks do not.
    ranks = [rank_correlation(np.array(v), WEIGHTS) for v in ([1, 0, 2, 3, 4], [0, 2, 1, 4, 3])]
    np.testing.assert_allclose(ranks, [0.9, 0.8])
    assert meets([*ranks, float("nan"), 0.9 - 1e-12]).tolist() == [True, False, False, True]


def moving(gone, openings):
    """Return faces (W, T, 68, 2) that are so far on the way, with lower lips so far down."""
    shown = FIRST + np.asarray(gone)[..., None, None] * (other_face() - FIRST)
    shown[..., LOWER_LIP, 0] = FIRST[[63, 62, 61], 0]
    shown[..., LOWER_LIP, 1] = FIRST[[63, 62, 61], 1] + np.asarray(openings)[..., None]
    return shown


def figures(gone, openings):
    truth = (FIRST, other_face())
    return path_figures(("c", "a", "b"), moving(gone, openings), WEIGHTS, truth)


def test_the_figures_of_a_path_are_those_by_hand():
    jitter = 0.3 * np.array([1, -1, 1, -1, 1, -1])
    gone = np.array([0, 0.1, 0.4, 0.35, 1])[:, None] + jitter
    talk = np.array([1, 5, 2, 7, 3, 4.0])
    mouths = np.stack([talk, 2 * talk + 1, talk, talk[::-1], talk**2])
    found = figures(gone, mouths)
    np.testing.assert_allclose(found.projection, [0, 0.1, 0.4, 0.35, 1], atol=1e-12)
    assert found.rank == pytest.approx(0.9)
    assert found.mouth_r == pytest.approx(np.corrcoef(talk, talk[::-1])[0, 1])
    assert found.mouth_r < np.corrcoef(talk**2, talk[::-1])[0, 1]
    assert (found.clip, found.first, found.second) == ("c", "a", "b")
    back = figures(gone[::-1], np.tile(talk, (5, 1)))
    assert back.rank == pytest.approx(-0.9)
    assert back.mouth_r == pytest.approx(1)
    flat = np.repeat(np.array(WEIGHTS)[:, None], 6, axis=1)
    assert math.isnan(figures(flat, np.ones((5, 6))).mouth_r)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("spoken"), frames=12, pairs=False)


@pytest.fixture(scope="module")
def run(corpus, tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"), corpus, codes=True)


@pytest.fixture(scope="module")
def parts(run, corpus):
    return load_predictor(run), load_codes(run), true_faces(corpus, "2d")


def test_true_faces_are_means_over_training_clips(corpus):
    faces = true_faces(corpus, "2d")
    assert len(faces) == 6
    clips = corpus.clips("train", "W902", "happy")
    assert len(clips) == 4
    wanted = np.mean([clip.aligned("2d").mean(axis=0) for clip in clips], axis=0)
    np.testing.assert_allclose(faces["W902", "happy"], wanted, atol=1e-3)
    brows, corners = (list(points) for points in (BROWS, MOUTH_CORNERS))
    way = faces["W902", "happy"] - faces["W902", "angry"]
    assert way[brows, 1].mean() > 2 > -2 > way[corners, 1].mean()


def test_all_weights_at_once_are_as_each_alone(parts, corpus):
    predictor, codes, _ = parts
    clip = corpus.clips("test_sentence")[0]
    neutral = predictor.space.neutral_of("W902")
    ends = codes.of("angry"), codes.of("happy")
    content = encode(predictor.encoders.content, torch.from_numpy(np.array(clip.windows())))
    faces = blended_faces(predictor, content, ends, WEIGHTS, "W902")
    assert faces.shape == (5, 12, 68, 2)

    def alone(code):
        encoder = predictor.encoders.content
        return predict_faces(predictor.model, encoder, clip.windows(), code, neutral)

    codes = np.stack([(1 - weight) * ends[0] + weight * ends[1] for weight in WEIGHTS])
    for found, code in zip(faces, codes, strict=True):
        np.testing.assert_allclose(found, alone(code), atol=1e-4)


def test_a_run_is_measured_on_every_held_out_clip_and_pair(run, corpus):
    found = measure(run, corpus, "test_sentence")
    assert (found["clips"], found["speakers"]) == (6, 2)
    assert (found["blends"]["paths"], found["intensity"]["paths"]) == (36, 12)
    assert list(found["pairs"])[:3] == ["angry:happy", "angry:neutral", "happy:angry"]
    assert all(row["paths"] == 6 for row in found["pairs"].values())
    there, back = found["pairs"]["angry:happy"], found["pairs"]["happy:angry"]
    assert there["rank_share"] == back["rank_share"]  # the same faces, the other way round
    reverse = 1 - np.array(back["projection"])[::-1]
    np.testing.assert_allclose(there["projection"], reverse, atol=1e-3)
    shares = [row["mouth_share"] for name, row in found["pairs"].items() if "neutral:" in name]
    assert found["intensity"]["mouth_share"] == pytest.approx(np.mean(shares))


def test_a_speaker_counts_for_the_emotions_that_training_showed_of_it(parts, corpus):
    predictor, codes, truth = parts
    truth = {key: face for key, face in truth.items() if key != ("M901", "angry")}
    clips = [corpus.clips("test_sentence", speaker)[0] for speaker in ("M901", "W902")]
    paths = [list(clip_paths(predictor, codes, truth, clip)) for clip in clips]
    assert [*map(len, paths)] == [2, 6]
    # A path is from the first label's code and face to the second's.
    windows = torch.from_numpy(np.array(clips[1].windows()))
    content = encode(predictor.encoders.content, windows)
    for path in paths[1]:
        ends = codes.of(path.first, "W902"), codes.of(path.second, "W902")
        both = truth["W902", path.first], truth["W902", path.second]
        faces = blended_faces(predictor, content, ends, WEIGHTS, "W902")
        name = (clips[1].id, path.first, path.second)
        assert path == path_figures(name, faces, WEIGHTS, both)


def test_summaries_are_medians_and_shares():
    talk = np.array([1, 5, 2, 7, 3, 4.0])
    one = figures(np.tile(np.array(WEIGHTS)[:, None], (1, 6)), np.tile(talk, (5, 1)))
    two = dataclasses.replace(one, rank=0.5, mouth_r=0.2)
    three = dataclasses.replace(one, mouth_r=0.3, projection=(9, 9, 9, 9, 9))
    found = summary([one, two, three])
    assert (found["rank"], found["rank_share"]) == (1, pytest.approx(2 / 3))
    assert (found["mouth_r"], found["mouth_share"]) == (0.3, pytest.approx(1 / 3))
    assert found["paths"] == 3
    np.testing.assert_allclose(found["projection"], WEIGHTS)
    assert summary([dataclasses.replace(one, mouth_r=float("nan"))])["mouth_r"] is None


def test_the_command_writes_what_it_prints(run, capsys, tmp_path):
    out = tmp_path / "editing.json"
    main([str(run), f"--out={out}"])
    found = read_json(out)
    text = capsys.readouterr().out
    assert text == table(found) + "\n"
    joined = " ".join(text.split())  # columns are aligned
    assert f"| rank | {found['blends']['rank']:.3f} | {found['intensity']['rank']:.3f} |" in joined
    assert "| paths | 36 | 12 |" in joined


def test_the_command_names_what_is_missing_in_one_line(run, tmp_path):
    write_text(tmp_path / "runs" / "audio2lm" / "config.yaml", "corpus: data/mini")
    for words, message in (
        ([run, "--split=val"], r"'val'"),
        ([tmp_path], r"config\.yaml is missing; name the folder of a stage"),
        ([tmp_path / "runs"], rf"did you mean {tmp_path / 'runs' / 'audio2lm'}\?"),
    ):
        with pytest.raises(SystemExit, match=message):
            main([str(word) for word in words])
