"""Several processes that train together end together, saved where they can be."""

import os
import signal

import pytest
import torch

from affekt.runtime.run import RunConfig
from tests.corpora import noise_stage
from tests.corpora.noise_stage import Config, Noise, train
from tests.corpora.portrait_corpus import rows_of
from tests.corpora.short_run import parts_of, same, short_run
from tests.corpora.two_processes import in_two

AT = 25  # an item of the third epoch, in step 6 or 7, which one of the two processes gets


class Signalling(Noise):
    def __getitem__(self, draw):
        if draw == AT:
            os.kill(os.getpid(), signal.SIGUSR1)
        return super().__getitem__(draw)


class Exploding(Noise):
    def __getitem__(self, draw):
        return {"x": super().__getitem__(draw)["x"] * (torch.inf if draw == AT else 1)}


@pytest.fixture
def run(tmp_path):
    return short_run(tmp_path / "run", steps=12, batch_size=4, save_every=100, log_every=4)


def in_two_on(data: type[Noise], run: RunConfig, monkeypatch):
    monkeypatch.setattr(noise_stage, "Noise", data)
    return in_two(lambda rank: train(Config(run)))


def test_a_signal_to_one_process_saves_and_ends_both(run, tmp_path, monkeypatch):
    stopped = short_run(tmp_path / "stopped", steps=12, batch_size=4, save_every=100, log_every=4)
    assert in_two_on(Signalling, stopped, monkeypatch) == [128 + signal.SIGUSR1] * 2
    (saved,) = (stopped.out / "checkpoints").iterdir()
    assert 5 < int(saved.stem) < 12
    assert in_two_on(Noise, stopped, monkeypatch) == [0, 0]
    assert in_two_on(Noise, run, monkeypatch) == [0, 0]
    assert rows_of(stopped.out) == rows_of(run.out)
    assert same(parts_of(stopped.out)["model"], parts_of(run.out)["model"])


def test_what_is_not_finite_in_one_process_ends_both(run, monkeypatch, capfd):
    assert in_two_on(Exploding, run, monkeypatch) == [1, 1]
    assert capfd.readouterr().err.count("FloatingPointError: step ") == 2
    assert not list((run.out / "checkpoints").glob("*.pt"))
    (row,) = [row for row in rows_of(run.out) if row["step"] > 4]
    assert row["total"] in ("inf", "nan")
