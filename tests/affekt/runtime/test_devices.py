"""Where networks compute: bfloat16 where the processor has no instructions for it."""

import logging

import pytest
import torch

from affekt.runtime.devices import warn_of_slow_bfloat16
from affekt.runtime.run import Run, RunConfig
from tests.affekt.runtime.test_run import Config


@pytest.mark.parametrize(
    ("device", "capabilities", "warned"),
    [
        ("cpu", {"avx2": True, "avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, True),
        ("cpu", {"avx512_bf16": True, "amx_bf16": False}, False),
        ("cpu", {"avx512_bf16": False, "amx_bf16": True}, False),
        ("cpu", {"neon": True, "bf16": True}, False),
        ("cuda", {"avx2": True}, False),
    ],
)
def test_a_cpu_without_bfloat16_is_warned_about_once(
    monkeypatch, caplog, device, capabilities, warned
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    warn_of_slow_bfloat16.cache_clear()
    with caplog.at_level(logging.WARNING):
        warn_of_slow_bfloat16(device)
        warn_of_slow_bfloat16(device)
    warn_of_slow_bfloat16.cache_clear()
    assert len(caplog.records) == warned
    assert not warned or "none of avx512_bf16, amx_bf16; use float32" in caplog.text


def test_a_torch_that_cannot_say_is_believed(monkeypatch, caplog):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    warn_of_slow_bfloat16.cache_clear()
    warn_of_slow_bfloat16("cpu")
    warn_of_slow_bfloat16.cache_clear()
    assert not caplog.records


@pytest.mark.parametrize(("precision", "warned"), [("bfloat16", 1), ("float32", 0)])
def test_a_training_in_bfloat16_is_warned_too(tmp_path, monkeypatch, caplog, precision, warned):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True}, raising=False)
    warn_of_slow_bfloat16.cache_clear()
    Run(Config(RunConfig(tmp_path / "run", device="cpu", workers=0, precision=precision)))
    warn_of_slow_bfloat16.cache_clear()
    assert caplog.text.count("bfloat16 is slower than float32") == warned
