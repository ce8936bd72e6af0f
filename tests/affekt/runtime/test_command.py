"""What a stage prints where the user can mend it: one line, no traceback."""

import numpy as np
import pytest
from torch.utils.data import DataLoader, Dataset

import train_disentangle
from affekt.nets.perceptual import Vgg, VggConfig
from affekt.runtime.command import run_stage
from affekt.runtime.files import load_npy

YAML = "configs/evp/disentangle.yaml"


def start(*overrides):
    return run_stage(train_disentangle.train, train_disentangle.Config, "doc", [YAML, *overrides])


def test_a_corpus_that_is_not_there_names_the_command_that_makes_it(tmp_path, capsys):
    assert start(f"corpus={tmp_path / 'nowhere'}", f"run.out={tmp_path / 'run'}") == 1
    error = capsys.readouterr().err
    assert "run python -m data_prep.prepare" in error
    assert "Traceback" not in error
    assert not (tmp_path / "run").exists()


class Stored(Dataset):
    """One array of three numbers, read when asked for."""

    def __init__(self, path):
        self.path = path

    def __len__(self):
        return 1

    def __getitem__(self, draw):
        return load_npy(self.path, (3,), "make it anew")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_file_is_one_line_wherever_it_is_read(tmp_path, capsys, workers):
    np.save(tmp_path / "stored.npy", np.zeros(2))

    def read(_):
        next(iter(DataLoader(Stored(tmp_path / "stored.npy"), num_workers=workers)))

    assert run_stage(read, train_disentangle.Config, "doc", [YAML]) == 1
    said = capsys.readouterr().err.partition(": ")[2]
    assert said == f"{tmp_path / 'stored.npy'} has shape (2,), wanted (3,); make it anew\n"


def test_a_wrong_vgg_file_is_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("AFFEKT_WEIGHTS", str(tmp_path))
    (tmp_path / "vgg19-dcbb9e9d.pth").write_bytes(b"PK\x03\x04 another file")

    def read(_):
        Vgg(VggConfig(weights="imagenet"))

    assert run_stage(read, train_disentangle.Config, "doc", [YAML]) == 1
    said = capsys.readouterr().err
    assert f"{tmp_path / 'vgg19-dcbb9e9d.pth'} is cut off: " in said
    assert len(said.splitlines()) == 1


def test_a_bug_keeps_its_traceback():
    def broken(_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_stage(broken, train_disentangle.Config, "doc", [YAML])
