"""EAMM's demo from end to end at a tiny size: every command, every file, the page in a browser.

Networks of a few steps meet no threshold; tested is that every figure is measured and every video
plays.
"""

import json
from pathlib import Path

import pytest

from affekt.showcase.plans import EammDemo
from affekt.showcase.thresholds import EAMM_THRESHOLDS, look_up
from demo import Config, run_demo
from tests.affekt.showcase.test_page import CHROMIUM, opened

ROOT = Path(__file__).parents[2]
STEPS = {"fomm": 6, "a2fd": 4, "displacement": 4}
PREPARE = """
base: {base}
corpus:
  speakers: [M901, W902, M903]
split:
  test_speakers: [W902, M903]
"""


def tiny_configs(folder):
    """Write the demo's YAML files with fewer steps and fewer people."""
    folder.mkdir()
    configs = ROOT / "configs/demo/eamm"
    (folder / "prepare.yaml").write_text(PREPARE.format(base=configs / "prepare.yaml"))
    for name, steps in STEPS.items():
        run = (
            f"run: {{steps: {steps}, log_every: 2, save_every: {steps}, batch_size: 2, threads: 1}}"
        )
        text = f"base: {configs / name}.yaml\n{run}\nval: {{clips: 2}}\n"
        (folder / f"{name}.yaml").write_text(text)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    root = tmp_path_factory.mktemp("demo")
    tiny_configs(root / "configs")
    eamm = EammDemo(
        configs=root / "configs",
        corpus=root / "corpus",
        first_speaker=0,
        speakers=3,
        emotional=1,
        neutral=2,
        lively_clips=1,
    )
    config = Config(system="eamm", out=root / "run", raw=root / "raw", eamm=eamm)
    return config, run_demo(config)


def test_every_threshold_is_measured_and_written(demo):
    config, results = demo
    for threshold in EAMM_THRESHOLDS:
        assert isinstance(look_up(results, threshold.key), float)
    assert json.loads((config.out / "results.json").read_text()) == results


@pytest.mark.skipif(not CHROMIUM, reason="no chromium on this machine: apt-get install chromium")
def test_the_report_plays_in_a_browser(demo, tmp_path):
    config, _ = demo
    source = opened(config.out / "report.html", tmp_path / "profile")
    assert 'data-state="ready"' in source
    assert ", 0 not shown" in source
