"""On a GPU, steps of every training script in its paper's setting, on made-up data."""

import argparse
from pathlib import Path

import pytest
import torch

from affekt.runtime.files import read_jsonl
from benchmarks.full_size import commands, measure
from tests.corpora.emotion_space_corpus import make_emotion_corpus
from tests.corpora.emotional_corpus import make_emotional_corpus
from tests.corpora.portrait_corpus import write_flow, write_portraits
from tests.corpora.spoken_corpus import make_corpus

ROOT = Path(__file__).parents[2]
# What each stage takes, and the runs that it needs before it.
STAGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "pretrain_emotion": ("spoken", ()),
    "pretrain_content": ("spoken", ()),
    "disentangle": ("spoken", ()),
    "audio2lm": ("spoken", ("disentangle",)),
    "edge2video": ("portraits", ()),
    "fomm": ("emotional", ()),
    "a2fd": ("emotional", ("fomm",)),
    "displacement": ("emotional", ("fomm", "a2fd")),
    "emotion_space": ("emospace", ()),
    "expression": ("emospace", ("emotion_space",)),
    "renderer": ("emospace", ()),
}


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """A corpus of sound and landmarks, one of portraits with flow, EAMM's and emospace's."""
    root = tmp_path_factory.mktemp("full_size")
    make_corpus(root / "spoken")
    write_portraits(root / "portraits")
    write_flow(root / "portraits")
    make_emotional_corpus(root / "emotional", frames=24)
    make_emotion_corpus(root / "emospace", frames=50, size=64)
    return root


def take_steps(name, root, device):
    """Take two steps of a stage and of those before it, each once; return the run folder."""
    kind, before = STAGES[name]
    for needed in before:
        take_steps(needed, root, device)
    runs = root / device
    if not (runs / name).is_dir():
        runs.mkdir(exist_ok=True)
        evp = root / kind if kind in ("spoken", "portraits") else None
        eamm = root / kind if kind == "emotional" else None
        emospace = root / kind if kind == "emospace" else None
        settings = {"corpus": evp, "eamm_corpus": eamm, "emospace_corpus": emospace}
        settings |= {"speaker": "M901", "batch": 2, "size": None}
        wanted = argparse.Namespace(**settings, device=device)
        measure(name, commands(wanted, runs)[name], runs)
    return runs / name


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", STAGES)
def test_a_stage_of_the_papers_size_takes_steps_on_a_gpu(name, corpora, monkeypatch):
    monkeypatch.chdir(ROOT)
    run_dir = take_steps(name, corpora, "cuda")
    assert [row["step"] for row in read_jsonl(run_dir / "metrics.jsonl")] == [1, 2]
    assert list((run_dir / "checkpoints").glob("*.pt"))


def test_every_training_script_is_among_them(tmp_path):
    folders = dict.fromkeys(("corpus", "eamm_corpus", "emospace_corpus"), tmp_path)
    rest = {"speaker": "", "batch": 1, "size": None, "device": "cuda"}
    found = commands(argparse.Namespace(**folders, **rest), tmp_path)
    assert found.keys() == STAGES.keys()
    scripts = {
        path.name for pattern in ("train_*.py", "pretrain_*.py") for path in ROOT.glob(pattern)
    }
    assert {command[1] for command in found.values()} == scripts
