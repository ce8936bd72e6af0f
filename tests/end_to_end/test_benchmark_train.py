"""benchmarks.train: what it measures of a stage, in that stage's own script."""

import argparse

import pytest

from benchmarks.train import EAMM, EVP, METRICS, demo_command, figures, measure_stage, paper_command
from tests.corpora.spoken_corpus import make_corpus


@pytest.fixture
def command(tmp_path):
    """A small pretraining of the demo on made-up speech."""
    make_corpus(tmp_path / "data/mini", pairs=False)
    found = demo_command("pretrain_emotion", tmp_path, tmp_path / "runs")
    return [*found, "run.batch_size=8", "val.split=none", "run.progress=false", "run.device=cpu"]


def test_a_step_and_its_loader_are_measured_in_the_stages_own_script(command):
    probe = measure_stage(command, steps=3)
    assert len(probe.waits) == len(probe.taken) == len(probe.alone) == 3
    assert all(wait < taken for wait, taken in zip(probe.waits, probe.taken, strict=True))
    assert probe.batch_bytes == 8 * (28 * 12 * 4 + 8)  # a window and a label
    assert probe.operations > 0
    found = figures(probe, gpu_step=None)
    rates = found["loader_samples_per_second"] * found["step_seconds"] / 8
    assert found["loader"] == pytest.approx(rates, rel=0.02)  # three digits
    assert 0 < found["waiting"] < 1
    assert (found["gpu_step"], found["workers"]) == (0.005, 0)


def test_the_workers_that_a_gpu_needs_follow_from_its_step(command):
    probe = measure_stage(command, steps=2, loader_only=True)
    assert not probe.alone
    probe.one_process = 0.9  # seconds a batch
    found = figures(probe, gpu_step=0.4)
    assert found["workers_needed"] == 3
    assert found["shared_mib"] == pytest.approx(3 * 2 * probe.batch_bytes / 2**20, rel=0.01)


def test_every_stage_has_a_command_at_the_demos_size(tmp_path):
    for stage in (*EVP, *EAMM, *METRICS):
        script, *_, out = (
            each for each in demo_command(stage, tmp_path, tmp_path / "runs") if each != "-m"
        )
        assert script.endswith(".py") or script.startswith("affekt.metrics.")
        assert out == f"run.out={tmp_path / 'runs' / stage}"


def test_a_stage_without_its_corpus_names_the_option(tmp_path):
    given = {"corpus": None, "eamm_corpus": tmp_path, "speaker": "", "batch": 1, "size": None}
    with pytest.raises(ValueError, match="disentangle needs --corpus"):
        paper_command("disentangle", argparse.Namespace(**given, device="cpu"), tmp_path)
