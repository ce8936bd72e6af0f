"""What a stage prints where the user can mend it: one line, no traceback."""

import pytest

import train_disentangle
from runtime.stage import run_stage

YAML = "configs/evp/disentangle.yaml"


def start(*overrides):
    return run_stage(train_disentangle.train, train_disentangle.Config, "doc", [YAML, *overrides])


def test_a_corpus_that_is_not_there_names_the_command_that_makes_it(tmp_path, capsys):
    assert start(f"corpus={tmp_path / 'nowhere'}", f"run.out={tmp_path / 'run'}") == 1
    error = capsys.readouterr().err
    assert "run python -m data_prep.prepare" in error
    assert "Traceback" not in error
    assert not (tmp_path / "run").exists()


def test_a_typo_names_the_nearest_key(capsys):
    with pytest.raises(SystemExit):
        start("optim.ler=1")
    assert "did you mean 'lr'" in capsys.readouterr().err


def test_a_bug_keeps_its_traceback():
    def broken(_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_stage(broken, train_disentangle.Config, "doc", [YAML])
