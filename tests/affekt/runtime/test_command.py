"""What a stage prints where the user can mend it: one line, no traceback."""

import os
import signal

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

import train_disentangle
from affekt.nets.perceptual import Vgg, VggConfig
from affekt.runtime.command import run_stage, user_errors
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


def shortage_of(error, capsys):
    """Return the one line in which a stage ends whose step raises an error."""

    def step(_):
        raise error

    assert run_stage(step, train_disentangle.Config, "doc", [YAML]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee"),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_a_full_gpu_is_one_line_that_says_what_to_do(error, capsys):
    line = shortage_of(error, capsys)
    assert "the GPU's memory is full: in training make run.batch_size smaller" in line
    assert str(error).splitlines()[0] in line
    with pytest.raises(SystemExit, match="the GPU's memory is full"), user_errors():
        raise error


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that "
            "dataloader's workers are out of shared memory.",
            "--shm-size",
        ),
        (
            "Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback (most recent "
            "call last):\n  File\nRuntimeError: unable to allocate shared memory(shm) for file "
            "</torch_7_8>: No space left on device (28)\n",
            "--shm-size",
        ),
        ("DataLoader worker (pid 7) is killed by signal: Killed. ", "make run.workers smaller"),
        ("Too many open files. Communication with the workers is no longer", "ulimit -n"),
    ],
)
def test_full_shared_memory_and_other_ends_of_loaders_are_one_line(text, wanted, capsys):
    assert wanted in shortage_of(RuntimeError(text), capsys)


class BusError(Dataset):
    """Dies in a loader process as where /dev/shm is full."""

    def __len__(self):
        return 1

    def __getitem__(self, draw):
        os.kill(os.getpid(), signal.SIGBUS)


def test_what_dataloader_raises_of_a_bus_error_is_known(capsys):
    def read(_):
        next(iter(DataLoader(BusError(), num_workers=1)))

    assert run_stage(read, train_disentangle.Config, "doc", [YAML]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert "shared memory (/dev/shm) is full: make run.workers" in said


def test_a_bug_keeps_its_traceback():
    def broken(_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_stage(broken, train_disentangle.Config, "doc", [YAML])

    def mismatch(_):
        torch.zeros(2, 3) @ torch.zeros(2, 3)

    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        run_stage(mismatch, train_disentangle.Config, "doc", [YAML])
