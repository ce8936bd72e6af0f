"""test.py ablate: rows are fair or refused, runs are kept, figures by hand."""

import argparse
import importlib.util
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from affekt.evaluation import ablation
from affekt.evaluation.ablation import FULL, Config, RowConfig
from affekt.evaluation.commands import ablate
from affekt.evaluation.commands.ablate import TABLE, difference, face_scores, true_faces
from affekt.evaluation.tables.evaluations import Ablation
from affekt.evaluation.tables.papers import load_papers
from affekt.media.corpus import Corpus
from affekt.runtime.command import config_from_argv
from affekt.runtime.config import flat, load_config, plain
from affekt.runtime.files import read_json, save_npy, sha256, write_json, write_text
from affekt.runtime.plan import StageError
from affekt.runtime.training.checkpoint import save
from tests.corpora.spoken_corpus import make_corpus
from train_disentangle import Config as DisentangleConfig

PAPER = load_papers()[TABLE]
TABLE_2 = PAPER.by_ablation_row()
ROOT = Path(__file__).parents[3]
ROW = RowConfig("no_con", Path("no_con.yaml"), "loss.content")
SETTINGS = {"run.out": "a", "run.seed": 0, "run.steps": 5, "loss.content": 1.0, "optim.lr": 0.1}


class Stand:
    """Stands for training scripts and what measures their runs, and keeps what each promises.

    A prediction is the truth moved by `moved` pixels in x, a setting of stage 1 made up for this.
    """

    def __init__(self, corpus, fails=None):
        self.hash = sha256(corpus.root / "manifest.jsonl")
        self.done, self.fails = [], fails

    def run_plan(self, stages, logs, cores):
        done = set()
        for stage in stages:
            assert set(stage.after) <= done
            program, *arguments = [each for each in stage.command[1:] if each != "-m"]
            name = program.rpartition(".")[2] if program.startswith("evp.") else program
            assert "evp" not in program or importlib.util.find_spec(program), program
            if name == self.fails:
                raise StageError(f"{stage.name} failed")
            getattr(self, name, self.train)(*arguments)
            self.done.append(stage.name)
            done.add(stage.name)

    def train(self, config, *changes):
        settings = yaml.safe_load(Path(config).read_text())
        for change in changes:
            key, _, value = change.partition("=")
            section, _, leaf = key.rpartition(".")
            (settings[section] if section else settings)[leaf] = yaml.safe_load(value)
        out = Path(settings["run"]["out"])
        write_text(out / "config.yaml", yaml.safe_dump(settings))
        save(out / "checkpoints", settings["run"]["steps"], {})
        data = {settings["corpus"]: self.hash}
        start = {"commit": "0123456789ab", "uncommitted": None, "data": data}
        write_json(out / "run.json", {"starts": [start]})

    def measure_codes(self, run, *_):
        figures = {"emotion": 0.5, "silhouette": 0.1}
        write_json(Path(run) / "codes.json", {"emotion": figures, "content": figures})

    def emotion_codes(self, run, *_):
        write_json(Path(run) / "emotion_codes.json", {})

    def predict(self, run, _, root, *rest):
        encoders = yaml.safe_load((Path(run) / "config.yaml").read_text())["encoders"]
        moved = yaml.safe_load((Path(encoders) / "config.yaml").read_text())["moved"]
        clips = Corpus(Path(root)).clips("test_sentence")
        for clip in clips:
            face = clip.aligned("2d") + np.float32([moved, 0])
            save_npy(Path(rest[-1]) / f"{clip.id}.npy", face)
        record = {"view": "2d", "clips": sorted(clip.id for clip in clips), "corpus": root}
        write_json(Path(rest[-1]) / "predictions.json", record | {"split": "test_sentence"})


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("spoken"), frames=12, pairs=False)


@pytest.fixture
def stand(corpus, monkeypatch):
    stand = Stand(corpus)
    monkeypatch.setattr(ablate, "run_plan", stand.run_plan)
    monkeypatch.setattr(ablation, "resolve", lambda _, path: flat(yaml.safe_load(path.read_text())))
    return stand


@pytest.fixture
def file(corpus, tmp_path):
    """An ablation of two rows and two seeds, with the content encoder pretrained."""
    run = {"out": "nowhere", "seed": 0, "steps": 5, "threads": 1}
    frozen = {"content_encoder": "frozen", "emotion_encoder": "frozen", "view": "2d"}
    stage_1 = {"content_from": "x", "emotion_from": "x", "moved": 1}
    files = {"pretrain": {}, "audio2lm": {"encoders": "x", **frozen}}
    files |= {name: {"loss": {"content": k}, **stage_1} for name, k in (("full", 1), ("no_con", 0))}
    for name, values in files.items():
        write_text(tmp_path / f"{name}.yaml", yaml.safe_dump({"run": run, "corpus": "x", **values}))
    row = {"name": "no_con", "config": f"{tmp_path}/no_con.yaml", "switches": "loss.content"}
    config = {
        "corpus": str(corpus.root),
        "disentangle": f"{tmp_path}/full.yaml",
        "audio2lm": f"{tmp_path}/audio2lm.yaml",
        "pretrain_content": f"{tmp_path}/pretrain.yaml",
        "rows": [row],
        "seeds": [0, 1],
    }
    write_text(tmp_path / "ablation.yaml", yaml.safe_dump(config))
    return tmp_path / "ablation.yaml"


def command(file, *arguments):
    parser = argparse.ArgumentParser()
    ablate.add_arguments(parser)
    return ablate.main(parser.parse_args([str(file), "--out", f"{file.parent}/out", *arguments]))


@pytest.fixture
def trained(stand, file):
    """The ablation of seed 0, its finished runs, and their folder."""
    command(file, "--seeds", "0")
    config = replace(load_config(Config, file), seeds=(0,))
    return config, ablation.trainings(config, file.parent / "out"), file.parent / "out"


def test_a_row_that_switches_off_its_one_loss_is_fair():
    elsewhere = {"run.out": "b", "run.seed": 7, "loss.content": 0.0}
    ablation.check_row(SETTINGS, SETTINGS | elsewhere, ROW)
    assert ablation.differing({"a": None, "b": 1}, {"b": 1}) == ["a"]  # one side lacks a key


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({}, "no_con .* differs in nothing"),
        ({"loss.content": 0.0, "optim.lr": 0.2}, r"content \(1.0 and 0.0\), optim.lr \(0.1 and"),
        ({"loss.content": 0.0, "run.steps": 6}, r"run.steps \(5 and 6\)"),
        ({"loss.content": 0.0, "shift": 3}, r"shift \(None and 3\)"),
        ({"optim.lr": 0.2}, "in loss.content alone, but differs in optim.lr"),
        ({"loss.content": 0.5}, "sets loss.content to 0.5, wanted 0"),
    ],
)
def test_a_row_that_differs_otherwise_is_refused_by_name(changed, message):
    with pytest.raises(ValueError, match=message):
        ablation.check_row(SETTINGS, SETTINGS | changed, ROW)


@pytest.mark.parametrize("path", ["configs/evp/table_2.yaml", "configs/demo/ablation.yaml"])
def test_the_projects_own_rows_are_the_papers_and_fair(path):
    config = load_config(Config, ROOT / path)
    assert {row.name for row in config.rows} | {FULL} == TABLE_2.keys()
    assert TABLE_2["no_cross"] == {"m_ld": 2.54, "m_lvd": 1.80, "f_ld": 3.19, "f_lvd": 1.59}
    full = flat(plain(load_config(DisentangleConfig, ROOT / config.disentangle)))
    for row in config.rows:
        ablation.check_row(
            full, flat(plain(load_config(DisentangleConfig, ROOT / row.config))), row
        )
        assert row.config.stem == f"disentangle_{row.name}"


def test_resolve_prints_every_value_and_stops(capsys, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("run: {out: runs/x}\nloss: {content: 0}\n")
    with pytest.raises(SystemExit) as stop:
        config_from_argv(DisentangleConfig, "doc", [str(path), "shift=2", "--resolve"])
    assert stop.value.code == 0
    settings = flat(yaml.safe_load(capsys.readouterr().out))
    assert settings["loss.content"] == 0
    assert settings["loss.cross_reconstruction"] == 1.0  # a default
    assert settings["shift"] == 2


def test_a_configuration_that_its_script_refuses_is_refused_in_its_words(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import sys\nsys.exit('unknown key lr')")
    with pytest.raises(ValueError, match=r"x\.yaml: unknown key lr"):
        ablation.resolve(str(script), Path("x.yaml"))


def test_rows_of_a_seed_share_everything_but_their_loss(stand, file):
    runs = ablation.trainings(load_config(Config, file), file.parent / "out")
    names = [run.name for run in runs]
    assert names[0] == "seed0_pretrain_content"
    assert names.index("no_con_seed0_audio2lm") < names.index("full_seed1_disentangle")
    by_name = {run.name: run for run in runs}
    for kind, expected in (("disentangle", ["loss.content"]), ("audio2lm", ["encoders"])):
        full, row = (by_name[f"{name}_seed1_{kind}"].settings for name in (FULL, "no_con"))
        assert ablation.differing(full, row) == expected
        assert full["run.seed"] == row["run.seed"] == 1
    taught = by_name["full_seed1_disentangle"].settings
    assert taught["content_from"] == by_name["seed1_pretrain_content"].settings["run.out"]
    assert taught["emotion_from"] == "x"  # not pretrained here: as its own file says
    two = by_name["no_con_seed1_audio2lm"]
    assert two.settings["encoders"] == by_name["no_con_seed1_disentangle"].settings["run.out"]
    assert f"encoders={two.settings['encoders']}" in two.command


def test_the_table_comes_out_of_runs_and_finished_ones_are_kept(stand, file, capsys):
    assert command(file, "--seeds", "0") == 0
    assert len(stand.done) == 1 + 2 * (2 + 3)  # pretraining; two trainings, three measures a row
    stand.done.clear()
    assert command(file) == 0
    assert len(stand.done) == 1 + 2 * (2 + 3)  # the second seed alone
    assert all("seed1" in name for name in stand.done)
    record = read_json(file.parent / "out/table2.json")
    assert record["rows"]["no_con"]["m_ld"] == pytest.approx([1, 1], abs=1e-5)
    assert record["rows"][FULL]["m_lvd"] == pytest.approx([0, 0], abs=1e-5)
    assert record["rows"][FULL]["content_emotion"] == [0.5, 0.5]
    assert record["controls"]["truth"]["f_ld"] == 0
    written = (file.parent / "out/table2.md").read_text()
    assert "(+0.20)" in written
    assert "| no_con" in capsys.readouterr().out


def test_only_what_is_missing_or_older_than_its_run_is_done_again(trained):
    config, runs, out = trained
    assert ablation.remaining(config, runs) == []
    (out / "no_con/seed0/landmarks/predictions.json").unlink()
    (out / "full/seed0/audio2lm/checkpoints/000000005.pt").unlink()
    codes = out / "full/seed0/disentangle/codes.json"
    os.utime(codes, (0, 0))
    two = "full_seed0_audio2lm"
    again = ["full_seed0_disentangle_measure_codes", two, f"{two}_predict", f"{two}_emotion_codes"]
    stages = ablation.remaining(config, runs)
    assert [stage.name for stage in stages] == [*again, "no_con_seed0_audio2lm_predict"]
    assert [stage.after for stage in stages] == [(), (), (two,), (two,), ()]


def test_a_plan_or_a_row_that_is_not_fair_trains_nothing(stand, file, capsys):
    assert command(file, "--plan") == 0
    assert "run.seed=1" in capsys.readouterr().out
    path = file.parent / "no_con.yaml"
    path.write_text(path.read_text().replace("steps: 5", "steps: 6"))
    with pytest.raises(ValueError, match=r"run\.steps \(5 and 6\)"):
        command(file)
    assert stand.done == []
    assert not (file.parent / "out").exists()


def test_a_run_of_other_settings_in_the_folder_is_refused_by_key(trained, monkeypatch):
    run = trained[1][1]

    def with_settings(**settings):
        changed = {key.replace("__", "."): value for key, value in settings.items()}
        return ablation.finished(replace(run, settings=run.settings | changed))

    assert with_settings()
    assert with_settings(run__threads=8)
    with pytest.raises(ValueError, match=r"holds a run with loss\.content 1, wanted 2"):
        with_settings(loss__content=2)
    with pytest.raises(ValueError, match=r"run\.steps 5, wanted 6"):
        with_settings(run__steps=6)
    # an option that came after the run counts as its default
    older = ablation.resolve
    monkeypatch.setattr(ablation, "resolve", lambda *args: {"model.added": "plain"} | older(*args))
    assert with_settings(model__added="plain")
    with pytest.raises(ValueError, match=r"model\.added plain, wanted other"):
        with_settings(model__added="other")


def test_a_run_that_lacks_steps_is_not_finished(trained):
    run = trained[1][1]
    save(run.out / "checkpoints", 3, {})
    assert ablation.finished(run)
    (run.out / "checkpoints/000000005.pt").unlink()
    assert not ablation.finished(run)


def test_runs_on_other_data_are_refused_by_name(trained, corpus):
    _, runs, out = trained
    assert ablation.check_runs(runs, corpus.root) == ["012345678"]
    path = out / "no_con/seed0/audio2lm/run.json"
    record = read_json(path)
    stale = record["starts"][0] | {"data": {str(corpus.root): "0" * 64}}
    write_json(path, {"starts": [*record["starts"], stale]})
    with pytest.raises(ValueError, match="no_con/seed0/audio2lm was trained on"):
        ablation.check_runs(runs, corpus.root)
    (runs[1].out / "checkpoints/000000005.pt").unlink()
    with pytest.raises(ValueError, match="full/seed0/disentangle has not done its 5 steps"):
        ablation.check_runs(runs, corpus.root)


def test_predictions_of_other_clips_are_refused(trained, file):
    path = file.parent / "out/full/seed0/landmarks/predictions.json"
    record = read_json(path)
    write_json(path, record | {"clips": record["clips"][1:]})
    with pytest.raises(ValueError, match=r"holds 5 clips of .* not the 6 that are measured"):
        command(file, "--seeds", "0")


def test_a_failed_command_and_bad_rows_or_seeds_are_bad_input(stand, file):
    with pytest.raises(ValueError, match="different names"):
        Config(Path(), Path(), Path(), rows=(replace(ROW, name=FULL),))
    with pytest.raises(ValueError, match="seeds"):
        Config(Path(), Path(), Path(), rows=(ROW,), seeds=(1, 1))
    with pytest.raises(ValueError, match="--seeds is 'a'"):
        command(file, "--seeds", "a")
    stand.fails = "predict"
    with pytest.raises(ValueError, match="full_seed0_audio2lm_predict failed"):
        command(file, "--seeds", "0")


def test_ld_and_lvd_are_those_of_a_face_moved_by_known_pixels(corpus):
    truth = true_faces(corpus, "test_sentence", "2d")
    scores = face_scores(truth, lambda clip: truth.faces[clip.id] + np.array([3.0, 4.0]))
    wanted = pytest.approx((5, 5, 0), abs=1e-9)
    assert (scores["m_ld"], scores["f_ld"], scores["m_lvd"]) == wanted

    def drifting(clip):
        face = truth.faces[clip.id].astype(float)
        face[:, 48:] += np.arange(len(face))[:, None, None] * np.array([2.0, 0])
        return face

    scores = face_scores(truth, drifting)
    assert scores["m_lvd"] == pytest.approx(2)
    assert scores["f_lvd"] == pytest.approx(2 * 20 / 68)
    assert scores["m_ld"] == pytest.approx(11)  # mean of 0, 2, ... 22 over 12 frames


def test_true_faces_show_their_emotion_and_another_emotions_faces_do_not(corpus):
    truth = true_faces(corpus, "test_sentence", "2d")
    scale = ablate.controls(truth)
    assert scale["truth"]["face_emotion"] == 1
    assert scale["truth"]["mouth_r"] == pytest.approx(1)
    assert scale["mean face"]["m_ld"] > 0
    assert "mouth_r" not in scale["mean face"]
    others = {"angry": "happy", "happy": "neutral", "neutral": "angry"}

    def disguised(clip):
        return truth.faces[clip.id.replace(clip.emotion, others[clip.emotion])]

    assert face_scores(truth, disguised)["face_emotion"] == 0


def test_what_the_truth_learns_comes_from_training_clips_alone(tmp_path):
    corpus = make_corpus(tmp_path, frames=12, pairs=False)
    before = true_faces(corpus, "test_sentence", "2d")
    for clip in corpus.clips("test_sentence"):
        raw = clip.landmarks().copy()
        raw[:, 48:] += 9
        np.save(clip.folder / "landmarks.npy", raw)
    after = true_faces(corpus, "test_sentence", "2d")
    assert any((before.faces[name] != after.faces[name]).any() for name in before.faces)
    for name in before.neutral:
        np.testing.assert_array_equal(before.neutral[name], after.neutral[name])
        np.testing.assert_array_equal(before.average[name], after.average[name])
    np.testing.assert_array_equal(before.displacements, after.displacements)
    with pytest.raises(ValueError, match="has no clips"):
        true_faces(corpus, "val", "2d")


def test_figures_that_a_corpus_cannot_give_are_left_out(tmp_path):
    path = tmp_path / "codes.json"
    write_json(path, {"split": "x", "emotion": {"emotion": 0.9, "silhouette": 0.2}})
    assert ablate.code_scores(path) == {"code_emotion": 0.9, "code_clusters": 0.2}


def rows_of(**values):
    return {name: {"m_ld": list(each)} for name, each in values.items()}


def test_a_difference_is_significant_where_the_seeds_agree_on_it():
    rows = rows_of(full=[1, 2, 3], no_con=[2, 4, 6], no_cla=[3, 4.1, 4.9])
    # differences 1, 2, 3: mean 2, sd 1, t(0.975, 2) = 4.3027, half 4.3027 / sqrt(3) = 2.4841
    found = difference(rows, "no_con", "m_ld")
    assert (found.value, found.half) == pytest.approx((2, 2.4841), abs=1e-4)
    assert not found.excludes_zero
    # differences 2, 2.1, 1.9: sd 0.1
    found = difference(rows, "no_cla", "m_ld")
    assert found.half == pytest.approx(0.24841, abs=1e-5)
    assert found.excludes_zero
    one = difference(rows_of(full=[1], no_con=[9]), "no_con", "m_ld")
    assert (one.value, one.half, one.excludes_zero) == (8, None, False)


def test_the_markdown_holds_the_table_the_differences_and_the_codes():
    rows = rows_of(no_con=[1, 3], no_cla=[3, 4.01], full=[1, 2])
    rows["full"]["code_emotion"] = [0.5, 0.7]
    made = Ablation(rows, {"truth": {"m_ld": 0, "face_emotion": 1}}, ["N."])
    text = " ".join(ablate.markdown(PAPER, made).split())  # columns are aligned
    for wanted in (
        "- N. ",
        "2.00 ± 1.41",
        "EVP w/o L_con (paper)",
        "| no_con | +0.500 ± 6.353 (+0.20) |",
        "| no_cla | **+2.005 ± 0.064** (+0.27) |",
        "| full | n/a | n/a | 0.600 ± 0.141 | n/a | n/a | n/a | n/a |",
        "| truth | n/a | 1.000 | n/a | n/a | n/a | n/a | n/a |",
    ):
        assert wanted in text
