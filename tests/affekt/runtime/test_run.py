"""A run continues exactly, survives a damaged checkpoint and stops at what is not finite."""

import errno
import json
import math
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from affekt.runtime.config import ConfigError
from affekt.runtime.files import (
    DamagedFileError,
    load_npy,
    read_jsonl,
    replacing,
    replacing_folder,
    save_npy,
    sha256,
    write_json,
)
from affekt.runtime.run import InfiniteSampler, Run, RunConfig, restore
from affekt.runtime.training import checkpoint
from affekt.runtime.training.optim import OptimConfig, make_optimizer
from tests.corpora.noise_stage import Noise
from tests.corpora.short_run import same


@dataclass(frozen=True)
class Config:
    run: RunConfig
    lr: float = 0.05
    explode_at: int = 0
    plain: bool = False  # no batch norm or dropout, which parts of a batch change; float64
    clip_norm: float = math.inf
    fused: bool = False


def train(cfg):
    run = Run(cfg)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 1))
    if cfg.plain:
        model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    optimizer = make_optimizer(model.parameters(), OptimConfig(cfg.lr, fused=cfg.fused))
    run.register(model=model, optimizer=optimizer)
    for batch in run.batches(Noise()):
        total = model(batch["x"].to(model[0].weight)).square().mean()
        run.backward(total, optimizer)
        grad_norm = run.take_step(optimizer, cfg.clip_norm)
        factor = float("nan") if run.step == cfg.explode_at else 1.0
        run.log(total=total * factor, weight=0.5, grad_norm=grad_norm)
    return model


@pytest.fixture
def config(tmp_path):
    run = RunConfig(
        tmp_path / "run", device="cpu", steps=12, batch_size=3, workers=0, log_every=1, save_every=5
    )
    return Config(replace(run, progress=False))


@pytest.fixture(autouse=True)
def _flags():
    """Leave torch's and OpenCV's switches as they were."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark, cv2.getNumThreads()
    yield
    matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark, threads = before
    cv2.setNumThreads(threads)


def history(config):
    rows = read_jsonl(config.run.out / "metrics.jsonl")
    return [{key: row[key] for key in row if key != "time"} for row in rows]


def with_run(config, **changes):
    return replace(config, run=replace(config.run, **changes))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stopped_run_continues_bit_for_bit(config, workers):
    whole = train(config)
    stopped = with_run(config, out=config.run.out / "stopped", steps=7, workers=workers)
    train(stopped)
    continued = train(with_run(stopped, steps=12))
    assert history(stopped) == history(config)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, continued.state_dict()[name]), name
    starts = json.loads((stopped.run.out / "run.json").read_text())["starts"]
    assert len(starts) == 2
    assert starts[0]["packages"]["torch"]


@pytest.mark.parametrize("option", ["accumulate", "fused", "tf32", "cudnn_benchmark"])
def test_a_stopped_run_continues_bit_for_bit_with_every_option(config, option):
    chosen = replace(config, fused=option == "fused")
    changes = {"accumulate": 3} if option == "accumulate" else {option: True}
    chosen = chosen if option == "fused" else with_run(chosen, **changes)
    whole = train(chosen)
    stopped = with_run(chosen, out=config.run.out / "stopped", steps=7)
    train(stopped)
    continued = train(with_run(stopped, steps=12))
    assert history(stopped) == history(chosen)
    assert same(whole.state_dict(), continued.state_dict())


@pytest.mark.parametrize("clip_norm", [math.inf, 0.5])
def test_accumulated_batches_are_one_large_one(config, clip_norm):
    whole = with_run(replace(config, plain=True, clip_norm=clip_norm, lr=0.01), batch_size=6)
    parts = with_run(whole, out=config.run.out / "parts", batch_size=2, accumulate=3)
    one, other = train(whole).state_dict(), train(parts).state_dict()
    for name in one:
        torch.testing.assert_close(one[name], other[name], atol=0, rtol=1e-10)
    assert len(history(parts)) == len(history(whole)) == 12
    for first, second in zip(history(whole), history(parts), strict=True):
        assert first == pytest.approx(second, rel=1e-6)


def test_a_step_returns_the_gradients_norm_before_it_is_cut(config):
    run, network = Run(config), nn.Linear(1, 1, bias=False)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    start = network.weight.detach().clone()
    for _ in range(2):  # the first one's gradient is forgotten
        run.backward(30 * network.weight.sum(), optimizer)
        assert run.take_step(optimizer, clip_norm=1e-3) == pytest.approx(30)
    torch.testing.assert_close(network.weight.detach(), start - 2 * 0.5 * 1e-3)


def test_options_of_the_device_are_set_and_torchs_own_left_alone(config):
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    Run(config)
    assert (matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark) == (*before, False)
    faster = with_run(config, out=config.run.out / "fast", tf32=True, cudnn_benchmark=True)
    Run(faster)
    assert matmul.allow_tf32
    assert cudnn.allow_tf32
    assert cudnn.benchmark
    Run(with_run(config, out=config.run.out / "exact", tf32=False))
    assert not matmul.allow_tf32
    assert not cudnn.allow_tf32


class Threads(Noise):
    """Says how many threads OpenCV has where an item is loaded."""

    def __getitem__(self, draw):
        return {"x": torch.tensor([float(cv2.getNumThreads())])}


def test_opencv_has_one_thread_in_a_loader_process(config):
    """Where this process has OpenCV's threads at rest, as after drawing pictures, too."""
    cv2.setNumThreads(2)
    cv2.GaussianBlur(np.zeros((2000, 2000, 3), np.uint8), (31, 31), 5.0)
    time.sleep(0.5)
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("the loader process does not answer"))
    signal.alarm(60)
    batch = next(Run(with_run(config, workers=1)).batches(Threads()))
    signal.alarm(0)
    assert batch["x"].tolist() == [[1.0]] * 3


def test_lines_after_the_last_checkpoint_are_written_once(config):
    exploding = replace(config, explode_at=8)
    with pytest.raises(FloatingPointError, match=r"step 8: .*'total': nan.*'weight': 0.5"):
        train(exploding)
    assert [row["step"] for row in history(config)] == [1, 2, 3, 4, 5, 6, 7, 8]
    # checkpoint 5 is the last before the explosion: the run goes on there, and stops there again
    with pytest.raises(FloatingPointError, match="step 8"):
        train(exploding)
    assert [row["step"] for row in history(config)] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_damaged_checkpoint_falls_back_to_the_one_before_and_says_so(config, caplog):
    train(config)
    expected = history(config)
    newest = sorted((config.run.out / "checkpoints").glob("*.pt"))[-1]
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
    train(config)
    assert "is damaged" in caplog.text
    assert newest.name in caplog.text
    assert history(config) == expected
    for path in newest.parent.glob("*.pt"):
        path.write_bytes(b"PK\x03\x04 not a checkpoint")
    with pytest.raises(DamagedFileError, match=r"every checkpoint in .* is damaged"):
        train(config)


def test_a_metrics_line_cut_short_is_dropped_and_written_again(config, caplog):
    train(with_run(config, steps=10))
    path = config.run.out / "metrics.jsonl"
    path.write_text(path.read_text() + '{"step": 11, "tot')
    train(config)
    assert [row["step"] for row in history(config)] == list(range(1, 13))
    assert "cut short" in caplog.text


@pytest.mark.parametrize("line", [b'{"step": 4, "to', b"\xff\xfe", b"[1]", b'{"step": "x"}', b""])
def test_damaged_metrics_are_put_aside_and_the_run_goes_on(config, caplog, line):
    train(with_run(config, steps=10))
    path = config.run.out / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    damaged = b"".join([*lines[:3], line + b"\n", *lines[4:]])
    path.write_bytes(damaged)
    train(config)
    assert [row["step"] for row in history(config)] == [1, 2, 3, *range(5, 13)]
    assert path.with_name("metrics.jsonl.damaged").read_bytes() == damaged
    assert f"{path} had 1 damaged lines; it is now metrics.jsonl.damaged" in caplog.text


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b'{"starts": []}', b"[" * 10**6])
def test_a_damaged_run_json_is_put_aside_and_the_run_goes_on(config, caplog, content):
    train(with_run(config, steps=5))
    path = config.run.out / "run.json"
    path.write_bytes(content)
    Run(config).record(aligner="dtw")
    assert path.with_name("run.json.damaged").read_bytes() == content
    assert "it is now run.json.damaged" in caplog.text
    (start,) = json.loads(path.read_text())["starts"]
    assert start["aligner"] == "dtw"


@pytest.mark.parametrize("content", ["run: {out: [}", "", "run: {out: x}\nlr: fast", "a: \x01"])
def test_a_damaged_config_yaml_is_named_with_what_to_do(config, content):
    train(with_run(config, steps=5))
    path = config.run.out / "config.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError) as refused:
        train(config)
    said = str(refused.value)
    assert str(path) in said
    assert "delete this file; if not, give this run another run.out" in said
    path.unlink()
    train(config)
    assert [row["step"] for row in history(config)] == list(range(1, 13))


def test_weights_that_became_nan_are_not_saved(config):
    class Broken(nn.Linear):
        def state_dict(self, *args, **kwargs):
            found = super().state_dict(*args, **kwargs)
            found["weight"] = found["weight"] * float("nan")
            return found

    run = Run(config)
    run.register(model=Broken(2, 2))
    with pytest.raises(FloatingPointError, match=r"step 0: model\.weight holds NaN"):
        run.save()
    assert checkpoint.newest(config.run.out / "checkpoints") is None


def test_a_picture_that_cannot_be_written_is_an_error(config, monkeypatch):
    monkeypatch.setattr(cv2, "imwrite", lambda *_: False)
    with pytest.raises(OSError, match="OpenCV could not write a picture into"):
        Run(config).picture("sample", np.zeros((4, 6, 3), np.uint8))
    assert list((config.run.out / "pictures").iterdir()) == []


def test_a_folder_of_another_config_is_refused_by_key(config):
    train(config)
    with pytest.raises(ConfigError, match=r"lr is 0\.05 there and 0\.1 here"):
        train(replace(config, lr=0.1))
    train(with_run(config, steps=13, log_every=2, workers=0))  # these may change


def test_the_order_depends_on_seed_and_position_alone():
    def take(seed, start, count):
        order = iter(InfiniteSampler(7, seed, start))
        return [next(order) for _ in range(count)]

    assert take(0, 10, 20) == take(0, 0, 30)[10:]
    assert take(0, 0, 30) != take(1, 0, 30)
    assert sorted(draw % 7 for draw in take(0, 0, 7)) == list(range(7))
    assert sorted(take(0, 0, 14))[7:] == list(range(7, 14))  # a second epoch draws anew


def test_restore_wants_the_parts_it_names(config):
    model = train(config)
    other = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 1))
    assert restore(config.run.out, model=other) == 12
    assert torch.equal(other[0].weight, model[0].weight)
    with pytest.raises(ConfigError, match="no part 'generator', only model, optimizer: it is of"):
        restore(config.run.out, generator=other)
    with pytest.raises(FileNotFoundError, match="train this run first"):
        restore(config.run.out / "nowhere", model=other)


def test_a_part_with_other_weights_is_named_with_one_example_of_each_difference(config):
    model = train(config)
    smaller = torch.optim.Adam(list(model.parameters())[:2], config.lr)
    with pytest.raises(ConfigError, match="the optimizer of its checkpoint does not fit"):
        Run(config).register(model=model, optimizer=smaller)
    other = nn.Sequential(nn.Linear(4, 9), nn.BatchNorm1d(8, affine=False), nn.PReLU(), nn.PReLU())
    with pytest.raises(ConfigError) as refused:
        restore(config.run.out, model=other)
    said = str(refused.value)
    assert said.startswith(f"{config.run.out} was trained by another version or configuration: ")
    assert "the model of its checkpoint does not fit" in said
    assert 'Missing key(s) in state_dict: "2.weight"' in said
    assert 'Unexpected key(s) in state_dict: "1.weight"' in said
    assert "size mismatch for 0.weight" in said
    assert said.endswith("into another run.out or after deleting that folder")
    assert "\n" not in said


def test_cuda_without_a_cuda_device_is_refused(config, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="torch sees no CUDA device"):
        Run(with_run(config, device="cuda"))


def test_a_picture_and_a_record_are_written_down(config):
    run = Run(config)
    run.picture("sample", np.full((4, 6, 3), 200, np.uint8))
    run.log_now(accuracy=0.5)
    run.logger.close()
    assert (config.run.out / "pictures/sample_000000000.png").stat().st_size > 0
    assert history(config)[-1] == {"step": 0, "accuracy": 0.5}
    assert list(config.run.out.glob("events.out.tfevents*"))


def fill_disk_while_writing(context, path):
    with context(path) as temporary:
        (temporary / "x" if temporary.is_dir() else temporary).write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(OSError, match="No space"):
        fill_disk_while_writing(replacing, path)
    assert json.loads(path.read_text()) == {"a": 1}
    with pytest.raises(OSError, match="No space"):
        fill_disk_while_writing(replacing_folder, tmp_path / "clip")
    assert [item.name for item in tmp_path.iterdir()] == ["a.json"]


def test_a_full_disk_while_a_checkpoint_is_written_keeps_the_one_before(config, monkeypatch):
    train(with_run(config, steps=5))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space"):
        train(config)
    names = [path.name for path in (config.run.out / "checkpoints").iterdir()]
    assert names == ["000000005.pt"]


def test_arrays_are_checked_when_read(tmp_path):
    path = tmp_path / "landmarks.npy"
    with pytest.raises(FileNotFoundError, match=r"landmarks\.npy is missing; run prepare"):
        load_npy(path, (None, 2), "run prepare")
    save_npy(path, np.zeros((3, 2)))
    whole = path.read_bytes()
    assert load_npy(path, (None, 2), "run prepare").shape == (3, 2)
    save_npy(path, np.array([[0.0, np.nan]]))
    for content, width, message in (
        (whole, 3, r"shape \(3, 2\), wanted \('any', 3\)"),
        (path.read_bytes(), 2, r"NaN or infinity, first at index \[0, 1\]"),
        (whole[:60], 2, "is damaged"),
        (b"<html>", 2, "is no numpy array"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            load_npy(path, (None, width), "run prepare")


def test_sha256_is_the_known_one(tmp_path):
    path = Path(tmp_path / "abc")
    path.write_bytes(b"abc")
    assert sha256(path).startswith("ba7816bf8f01cfea")
