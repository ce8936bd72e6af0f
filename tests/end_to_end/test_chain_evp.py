"""The demo from end to end at a tiny size: every command, every file, the page in a browser.

Networks of a few steps meet no threshold; tested is that every figure is measured and every video
plays.
"""

import json
from pathlib import Path

import pytest

from affekt.media.video.video import probe
from affekt.showcase.plans import EvpDemo
from affekt.showcase.thresholds import EVP_THRESHOLDS, look_up
from demo import Config, run_demo
from evp.inference.renderer import load_renderer
from generate import main as generate
from tests.affekt.showcase.test_page import CHROMIUM, opened

ROOT = Path(__file__).parents[2]
STEPS = {
    "pretrain_emotion": 6,
    "pretrain_content": 6,
    "disentangle": 6,
    "disentangle_no_cross": 6,
    "audio2lm": 6,
    "edge2video": 200,
}
HELD_OUT = {"prepare": '["003", "004"]', "prepare_lively": '["002"]'}


def tiny_configs(folder):
    """Write the demo's YAML files with fewer steps and less held out."""
    folder.mkdir()
    for name, sentences in HELD_OUT.items():
        lines = [(ROOT / f"configs/demo/evp/{name}.yaml").read_text().split("out: data")[0]]
        lines = [line for line in "".join(lines).splitlines() if "test_sentences" not in line]
        text = "\n".join(lines).replace("split:", f"split:\n  test_sentences: {sentences}")
        (folder / f"{name}.yaml").write_text(text + "\n")
    for name, steps in STEPS.items():
        base = ROOT / f"configs/demo/evp/{name}.yaml"
        run = f"run: {{steps: {steps}, log_every: 2, save_every: {steps}, batch_size: 2}}"
        (folder / f"{name}.yaml").write_text(f"base: {base}\n{run}\n")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    root = tmp_path_factory.mktemp("demo")
    tiny_configs(root / "configs")
    evp = EvpDemo(
        configs=root / "configs",
        speech=root / "speech",
        lively=root / "lively",
        speakers=1,
        sentences=4,
        lively_clips=2,
    )
    config = Config(system="evp", out=root / "run", raw=root / "raw", evp=evp)
    return config, run_demo(config)


def test_every_threshold_is_measured_and_written(demo):
    config, results = demo
    for threshold in EVP_THRESHOLDS:
        assert isinstance(look_up(results, threshold.key), float)
    assert json.loads((config.out / "results.json").read_text()) == results


@pytest.mark.skipif(not CHROMIUM, reason="no chromium on this machine: apt-get install chromium")
def test_the_report_plays_in_a_browser(demo, tmp_path):
    config, _ = demo
    source = opened(config.out / "report.html", tmp_path / "profile")
    assert 'data-state="ready"' in source
    assert "6 videos, 5 images, 0 not shown" in source


def test_the_command_line_makes_a_video_of_any_sound_on_any_target(demo, tmp_path):
    config, _ = demo
    speaker = load_renderer(config.out / "edge2video", "cpu").speaker
    target = next((config.raw / speaker / "video/lively").rglob("*.mp4"))
    sound = next((config.raw / speaker / "audio/sad").rglob("003.m4a"))
    out = tmp_path / "out.mp4"
    common = [f"--run={config.out}", f"--audio={sound}", f"--target={target}", f"--out={out}"]
    for more in (["--emotion=happy"], ["--emotion-blend=sad:happy:0.3", "--alignment=none"]):
        assert generate(["evp", *common, *more]) == 0
        made = probe(out)
        assert (made.width, made.height, made.fps, made.has_audio) == (256, 256, 25.0, True)
        assert 0 <= made.frames - probe(sound_video(sound)).frames <= 2  # AAC pads the sound's end


def sound_video(sound):
    """The video that a sound file of the corpus belongs to."""
    parts = list(sound.parts)
    parts[parts.index("audio")] = "video/front"
    return Path(*parts).with_suffix(".mp4")


def test_a_wrong_label_is_refused_with_those_that_are_known(demo, tmp_path, capsys):
    config, _ = demo
    video = next(config.raw.rglob("front/**/003.mp4"))
    where = [f"--run={config.out}", f"--audio={video}", f"--target={video}"]
    out = tmp_path / "out.mp4"
    assert generate(["evp", *where, f"--out={out}", "--emotion=hapy"]) == 1
    assert "unknown emotion 'hapy'" in capsys.readouterr().err
    assert not out.exists()
