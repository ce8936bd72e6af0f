"""Fig. 5: scores of codes whose labels are known, the picture, the runs that are compared."""

import json
from dataclasses import replace

import numpy as np
import pytest

from affekt.media.plots import MARKS, OKABE_ITO, clouds
from affekt.metrics.intervals import clustered_share
from affekt.metrics.probes import fit_probe, silhouettes
from affekt.runtime.files import read_json, write_text
from affekt.runtime.training.checkpoint import save
from evp.analysis.codes import (
    METRICS,
    Labels,
    embed,
    entry,
    labels_of_clips,
    main,
    models_of_runs,
    report,
    score,
    significant,
    units_of,
)
from evp.inference.emotion_codes import clip_codes, mean_mfcc, part_codes
from evp.networks.encoders import (
    ContentEncoderConfig,
    EmotionEncoderConfig,
    Encoders,
    EncodersConfig,
    EncodersDescription,
    load_encoders,
    save_description,
)
from tests.corpora.spoken_corpus import make_corpus

SIZES = EncodersConfig(
    ContentEncoderConfig((2, 4, 4, 4, 4), hidden=8, dim=4),
    EmotionEncoderConfig((2, 4, 4, 8), hidden=8, dim=6),
)


def everyone(emotions=4, sentences=6, speakers=3, heard=0):
    """Return the labels of every speaker saying every sentence in every emotion."""
    grid = np.indices((emotions, sentences, speakers)).reshape(3, -1)
    names = [np.array([f"{mark}{i}" for i in row]) for mark, row in zip("ets", grid, strict=True)]
    return Labels(*names, grid[1] >= heard), grid


def test_a_probe_that_never_saw_the_sentence_cannot_use_it():
    labels, (emotion, sentence, _) = everyone()
    rng = np.random.default_rng(0)
    meaning = np.stack([rng.permutation(4) for _ in range(6)])  # what a channel says is the
    codes = np.eye(24)[4 * sentence + meaning[sentence, emotion]]  # sentence's own secret
    classes = np.unique(labels.emotion, return_inverse=True)[1]
    assert (fit_probe(codes, classes).predict(codes) == classes).all()
    found = score(codes, labels)
    assert found["emotion_probe"].mean() <= 0.3  # of 0.25 by chance
    assert found["sentence_probe"].mean() == 1  # speakers say it alike


def test_separate_codes_are_read_and_shuffled_ones_are_not():
    labels, (emotion, sentence, speaker) = everyone()
    codes = np.concatenate(
        [np.eye(n)[i] for n, i in ((4, emotion), (6, sentence), (3, speaker))], 1
    )
    found = score(codes, labels)
    assert found["emotion_probe"].mean() == found["sentence_probe"].mean() == 1
    assert score(np.eye(4)[emotion], labels)["emotion_silhouette"].mean() == 1
    found = score(np.random.default_rng(0).normal(size=(len(emotion), 8)), labels)
    for name, chance in (("emotion_probe", 1 / 4), ("sentence_probe", 1 / 6)):
        value = entry(name, labels, found[name][None])["value"]
        assert value == pytest.approx(chance, abs=0.15)
    assert abs(found["emotion_silhouette"].mean()) < 0.1


def test_held_out_clips_have_silhouettes_among_themselves_and_probes_that_learned_from_the_rest():
    labels, _ = everyone(sentences=5, heard=4)  # one held-out sentence: its probes know four
    codes = np.random.default_rng(0).normal(size=(len(labels.emotion), 5))
    found, every = score(codes, labels), score(codes, replace(labels, held_out=labels.emotion > ""))
    chosen = labels.held_out
    assert 0 < chosen.sum() < len(chosen)
    for name in ("emotion_probe", "sentence_probe"):
        np.testing.assert_array_equal(found[name], every[name][chosen])
    among = silhouettes(codes[chosen], labels.emotion[chosen])
    np.testing.assert_array_equal(found["emotion_silhouette"], among)
    assert not np.allclose(every["emotion_silhouette"][chosen], among)


def test_what_cannot_be_measured_is_left_out():
    labels, _ = everyone(speakers=1)
    codes = np.random.default_rng(0).normal(size=(len(labels.emotion), 5))
    assert METRICS.keys() - score(codes, labels).keys() == {"sentence_probe"}
    labels, (_, sentence, speaker) = everyone()
    own = replace(labels, sentence=10 * speaker + sentence)
    codes = np.random.default_rng(0).normal(size=(len(own.emotion), 5))
    assert METRICS.keys() - score(codes, own).keys() == {"sentence_probe"}


def test_an_entry_is_the_mean_over_runs_with_the_sentence_as_unit():
    labels, (_, sentence, _) = everyone()
    runs = np.stack([sentence < 3, sentence < 5]).astype(float)
    found = entry("emotion_probe", labels, runs)
    bounds = clustered_share(runs.mean(axis=0), labels.sentence)
    assert found["value"] == pytest.approx((3 / 6 + 5 / 6) / 2)
    assert (found["low"], found["high"]) == (bounds.low, bounds.high)
    assert found["by_run"] == pytest.approx([3 / 6, 5 / 6])
    assert (found["unit"], found["units"]) == ("sentence", 6)


def test_where_sentences_are_few_their_speakers_are_drawn_too_and_below_that_nothing():
    labels, _ = everyone(sentences=2, speakers=3)
    unit, clusters = units_of(labels, "sentence")
    assert (unit, len(set(clusters))) == ("speaker and sentence", 6)
    assert units_of(everyone(sentences=2, speakers=5)[0], "speaker")[0] == "speaker"
    few, (emotion, *_) = everyone(sentences=2, speakers=2)
    found = entry("emotion_probe", few, (emotion > 1)[None].astype(float))
    assert (found["low"], found["high"], found["units"]) == (None, None, 2)


def test_a_difference_is_paired_and_significant_only_with_one_sign_in_every_run():
    labels, (_, sentence, speaker) = everyone(sentences=8)
    none, some = np.zeros((2, len(sentence))), (speaker > 0).astype(float)
    for runs, by_run in (([some, some], [2 / 3, 2 / 3]), ([some, none[0]], [2 / 3, 0])):
        found = entry("emotion_probe", labels, np.stack(runs), none)
        assert found["value"] == pytest.approx(np.mean(by_run))
        assert found["low"] > 0
        assert found["by_run"] == pytest.approx(by_run)
        assert significant(found) == (by_run[1] > 0)
    rough = np.random.default_rng(0).normal(size=len(sentence))
    found = entry("emotion_silhouette", labels, (rough + 0.1)[None], rough[None])
    assert found["low"] == pytest.approx(0.1)  # paired: what the clips share cancels


# evp/analysis/codes.py: the picture, and affekt/media/plots.py


def test_the_same_codes_give_the_same_picture_in_any_order_and_near_codes_lie_near():
    rng = np.random.default_rng(0)
    groups = np.arange(60) % 3
    codes = 10 * np.eye(8)[groups] + rng.normal(size=(60, 8))
    plane = embed(codes)
    np.testing.assert_array_equal(plane, embed(codes))
    assert silhouettes(plane, groups).min() > 0.5
    order = rng.permutation(60)  # it begins with their plane
    assert np.corrcoef(plane[order].ravel(), embed(codes[order]).ravel())[0, 1] > 0.9


@pytest.mark.parametrize("count", [4, 5, 12])
def test_few_codes_have_a_picture_and_codes_that_do_not_differ_lie_on_one_point(count):
    plane = embed(np.random.default_rng(0).normal(size=(count, 3)))
    assert plane.shape == (count, 2)
    assert np.isfinite(plane).all()
    assert np.ptp(plane) > 0
    np.testing.assert_array_equal(embed(np.ones((count, 3))), np.zeros((count, 2)))
    with pytest.raises(ValueError, match="t-SNE of 3 codes: wanted at least 4"):
        embed(np.eye(3))


def test_eight_colours_and_all_marks_are_told_apart(tmp_path):
    shades = [np.array([int(ink[i : i + 2], 16) for i in (1, 3, 5)]) for ink in OKABE_ITO]
    apart = [np.abs(a - b).max() for i, a in enumerate(shades) for b in shades[:i]]
    assert (len(OKABE_ITO), len(set(MARKS))) == (8, len(MARKS))
    assert min(apart) >= 60
    points = np.random.default_rng(0).normal(size=(30, 2))
    kinds = [f"emotion {i % 10}" for i in range(30)]  # more than the eight
    pictures = []
    for front in (None, [False] * 30, [i < 5 for i in range(30)]):
        clouds(tmp_path / "clouds.png", {"a": points}, kinds, ["x"] * 30, front)
        pictures.append((tmp_path / "clouds.png").read_bytes())
    assert len(set(pictures)) == 3


# The runs and the command


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("spoken"), frames=6, pairs=False)


@pytest.fixture
def make_run(tmp_path, corpus):
    """Return a maker of run folders of untrained encoders."""

    def made(name, parts=("content", "emotion"), emotions=corpus.emotions, **config):
        run, encoders = tmp_path / name, Encoders(SIZES)
        run.mkdir()
        save_description(run, EncodersDescription(SIZES, emotions, parts))
        save(run / "checkpoints", 1, {f"{part}_encoder": getattr(encoders, part) for part in parts})
        write_text(run / "config.yaml", json.dumps({"corpus": str(corpus.root)} | config))
        return run

    return made


def loss(weight):
    return {"loss": {"cross_reconstruction": weight}}


def command(*words):
    main([str(word) for word in words])


def test_the_command_writes_picture_figures_and_tables(make_run, tmp_path, capsys):
    before = make_run("before", ("emotion",))
    runs, others = (
        [make_run(f"{weight}_{i}", emotion_from=str(before), **loss(weight)) for i in (0, 1)]
        for weight in (1, 0)
    )
    out = tmp_path / "out"
    command("--run", *runs, "--no-cross", *others, "--out", out)
    assert (out / "figure_5.png").stat().st_size > 10_000
    found = read_json(out / "analysis.json")
    assert found["corpus"] == {"root": found["corpus"]["root"], "clips": 30, "held_out": 6}
    assert found["runs"]["pretrained"] == [str(before)] * 2
    assert set(found["figures"]) == {"no_network", "pretrained", "cross", "no_cross"}
    assert len(found["figures"]["cross"]["emotion_probe"]["by_run"]) == 2
    difference = found["differences"]["cross_minus_no_cross"]["emotion_probe"]
    one, other = (found["figures"][name]["emotion_probe"] for name in ("cross", "no_cross"))
    assert difference["value"] == pytest.approx(one["value"] - other["value"])
    text = capsys.readouterr().out
    assert text == report(found) == (out / "analysis.md").read_text(encoding="utf-8")
    for part in ("# Emotion codes of 6 held-out clips", "| no_network ", "| cross_minus_no_cross "):
        assert part in text


def test_codes_are_those_of_the_runs_weights(make_run, corpus):
    run, clips = make_run("run"), corpus.clips()[:4]
    trained = load_encoders(run)
    for part in ("content", "emotion"):
        wanted = clip_codes(getattr(trained, part), clips)
        np.testing.assert_array_equal(part_codes(run, part, clips), wanted)
    sound = np.stack([clip.mfcc()[:, 1:][12:-12].mean(axis=0) for clip in clips])
    assert np.abs(mean_mfcc(clips) - sound).max() < 3  # windows weigh the ends less
    assert mean_mfcc(clips).shape == (4, 12)


def test_pretrained_runs_are_those_that_every_run_was_begun_with(make_run, tmp_path):
    mood = make_run("mood", ("emotion",))
    run, bare = make_run("run", emotion_from=str(mood), **loss(1)), make_run("bare", **loss(1))
    assert models_of_runs([run, run], []) == {"pretrained": (mood, mood), "cross": (run, run)}
    assert models_of_runs([run, bare], []) == {"cross": (run, bare)}
    landmarks = make_run("landmarks", emotion_from="other_clip")  # an audio2lm run's own key
    assert [*models_of_runs([landmarks], [])] == ["cross"]
    lost = make_run("lost", emotion_from=str(tmp_path / "gone"), **loss(1))
    with pytest.raises(ValueError, match=r"gone, which is not there"):
        models_of_runs([lost], [])


def test_runs_that_are_not_what_they_are_named_as_are_refused(make_run, tmp_path):
    run, other = make_run("run", **loss(1)), make_run("other", **loss(0))
    later, half = make_run("later"), make_run("half", ("emotion",))
    for words, message in (
        ((tmp_path,), r"encoders\.yaml is missing; name the run folder of"),
        ((half,), r"half holds one encoder alone; name runs of train_disentangle"),
        ((other,), r"other was trained with loss\.cross_reconstruction at 0"),
        ((run, "--no-cross", run), r"run is loss\.cross_reconstruction at 1; --no-cross"),
        ((run, "--no-cross", later), r"later is no run of train_disentangle\.py; --no-cross"),
        ((run, run, "--no-cross", other), "1 runs after --no-cross, 2 after --run"),
    ):
        with pytest.raises(SystemExit, match=message):
            command("--run", *words)


def test_runs_of_two_corpora_or_of_other_emotions_are_refused(make_run, corpus):
    run, strange = make_run("run", **loss(1)), make_run("strange", corpus="elsewhere", **loss(0))
    with pytest.raises(SystemExit, match=r"strange on elsewhere; use runs of one corpus"):
        command("--run", run, "--no-cross", strange)
    moods = make_run("moods", emotions=("angry", "bored"), **loss(1))
    with pytest.raises(SystemExit, match="trained on the emotions angry, bored"):
        command("--run", moods)
    nameless = make_run("nameless")
    (nameless / "config.yaml").unlink()
    with pytest.raises(SystemExit, match="does not name its corpus; name it with --corp"):
        command("--run", nameless)
    command("--run", nameless, "--corpus", corpus.root)
    found = read_json(nameless / "analysis/analysis.json")  # of a run alone
    assert (set(found["runs"]), found["differences"]) == ({"cross"}, {})
    for chosen, message in (
        ({"emotion": "happy"}, r"10 clips of one emotion \(happy\): wanted at least two"),
        ({"split": "test_sentence"}, r"6 clips of one sentence \(004\)"),
        ({"split": "train"}, "none of 24 clips is held out"),
    ):
        with pytest.raises(ValueError, match=message):
            labels_of_clips(corpus.clips(**chosen))
