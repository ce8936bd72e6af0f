"""The device that a command is given is where every network that it loads goes.

`pick_device` stands in for a GPU: it gives torch's device `meta`, whose tensors have a place and a
shape but no numbers. Loaders are watched; what is computed with their networks is not.
"""

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from affekt.evaluation.networks import IdentityMeasure
from affekt.metrics import identity
from affekt.runtime.command import DEVICES
from eamm.inference.fomm_pipeline import RenderOptions
from evp.inference.emotion_codes import part_codes
from evp.inference.pipeline import EvpJob, EvpPipeline, EvpRuns
from evp.networks.audio2lm import load_predictor
from evp.networks.encoders import load_encoders
from tests.corpora.spoken_corpus import make_corpus
from tests.corpora.tiny_evp import make_run

META = torch.device("meta")
NETWORKS = {  # a command's module -> its arguments and the loaders that are given a device
    "evp.inference.predict": (["RUN", "--out", "OUT"], {"load_predictor"}),
    "evp.inference.emotion_codes": (["RUN"], {"load_encoders"}),
    "evp.analysis.measure_codes": (["RUN"], {"part_codes"}),
    "evp.analysis.codes": (["--run", "RUN", "--out", "OUT"], {"part_codes"}),
    "evp.analysis.measure_editing": (["RUN"], {"load_predictor"}),
    "evp.analysis.editing": (
        ["RUNS", "--blend", "angry:happy"],
        {"load_predictor", "load_renderer"},
    ),
    "eamm.analysis.supplement": (["RUNS", "--corpus", "CORPUS"], {"open_networks"}),
    "eamm.displacement.keypoint_choice": (["--fomm", "RUN", "--corpus", "CORPUS"], {"load_fomm"}),
    "affekt.metrics.emotion.score": (["RUN", "--corpus", "CORPUS"], {"load_classifier"}),
}


class EnoughError(Exception):
    """Ends a command where its last network is loaded."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("devices")
    corpus = make_corpus(root / "corpus", frames=12, pairs=False)
    make_run(root / "audio2lm", corpus)
    places = {"RUN": root / "audio2lm", "RUNS": root, "CORPUS": corpus.root, "OUT": root / "out"}
    return {name: str(path) for name, path in places.items()}


@pytest.mark.parametrize("command", NETWORKS)
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_commands_networks_are_loaded_onto_its_device(command, device, folders, monkeypatch):
    module = importlib.import_module(command)
    arguments, loaders = NETWORKS[command]
    arguments = [folders.get(word, word) for word in arguments]
    given, asked = {}, []

    def spy(name):
        def loader(*values):
            given[name] = [str(value) for value in values][-1]
            if set(given) == loaders:
                raise EnoughError
            return SimpleNamespace(speaker="M901")

        return loader

    for name in loaders:
        monkeypatch.setattr(module, name, spy(name))
    if hasattr(module, "load_codes"):
        monkeypatch.setattr(module, "load_codes", lambda _: None)
    monkeypatch.setattr(module, "pick_device", lambda name: asked.append(name) or device)
    monkeypatch.setattr(sys, "argv", ["command", *arguments, "--device=cuda"])
    with pytest.raises(EnoughError):
        module.main()
    assert set(asked) == {"cuda"}
    # EVP's renderer is given the name, and picks the device itself
    assert given == {name: "cuda" if name == "load_renderer" else device for name in loaders}


def test_encoders_and_landmark_network_go_where_they_are_sent(folders):
    run = Path(folders["RUN"])
    predictor = load_predictor(run, META)
    tensors = [*predictor.model.parameters(), *predictor.model.buffers()]
    tensors += [*predictor.encoders.parameters(), *load_encoders(run, META).parameters()]
    assert {tensor.device for tensor in tensors} == {META}
    assert {tensor.device.type for tensor in load_encoders(run).parameters()} == {"cpu"}
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "evp.inference.emotion_codes.clip_codes", lambda encoder, _: seen.append(encoder)
        )
        part_codes(run, "emotion", [], META)
    assert {tensor.device for tensor in seen[0].parameters()} == {META}


@pytest.mark.parametrize("device", DEVICES)
def test_evps_pipeline_loads_everything_onto_one_device(tmp_path, monkeypatch, device):
    given = {}
    spies = {
        "load_predictor": lambda _, where: given.update(predictor=where),
        "load_renderer": lambda _, where, __: given.update(renderer=where) or SimpleNamespace(),
        "load_face_model": lambda _: None,
        "make_detector": lambda _, where: given.update(detector=where),
        "pick_device": lambda name: f"picked {name}",
    }
    for name, spy in spies.items():
        monkeypatch.setattr(f"evp.inference.pipeline.{name}", spy)
    runs = EvpRuns(tmp_path, tmp_path, tmp_path, device)
    EvpPipeline.for_jobs([EvpJob(runs, tmp_path, tmp_path, tmp_path)])
    assert given == {"predictor": f"picked {device}", "renderer": device, "detector": device}


def test_the_detector_follows_the_networks_unless_it_is_told_otherwise():
    assert RenderOptions(device="cuda").chosen_detector == ("mediapipe", "cuda")
    options = RenderOptions(device="cuda", detector="face_alignment", detector_device="cpu")
    assert options.chosen_detector == ("face_alignment", "cpu")


def test_arcface_is_loaded_where_the_other_metrics_are(tmp_path, monkeypatch, caplog):
    given = []
    monkeypatch.setattr("affekt.evaluation.networks.load_arcface", lambda *them: given.append(them))
    assert IdentityMeasure(tmp_path, "1 x", "cuda", None)._session is None
    assert given == [(tmp_path, "cuda")]
    # onnxruntime: on the GPU where it can, else on the CPU, and says so
    has = [identity.CUDA, "CPUExecutionProvider"]
    for known, wanted in ((has, has), (has[1:], has[1:])):
        monkeypatch.setattr(identity.onnxruntime, "get_available_providers", lambda k=known: k)
        assert identity._providers("cuda") == wanted
        assert identity._providers("cpu") == has[1:]
    assert "ArcFace runs on the CPU" in caplog.text
