"""Importing the releases' checkpoints: all of it accounted for, safely, or one clear refusal."""

import json
import os
import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from affekt.nets.fingerprint import fingerprint
from eamm.a2fd.layers import A2fdConfig
from eamm.a2fd.network import AUDIO_GAIN, load_a2fd
from eamm.displacement.network import RELEASED_GAINS, ExtractorConfig, load_displacement
from eamm.fomm.discriminator import DiscriminatorConfig
from eamm.fomm.model import FommConfig, load_discriminator, load_fomm
from eamm.released.importer import import_released, main
from eamm.released.models import Options
from tests.corpora.released_layout import (
    fomm_shapes,
    random_fomm,
    random_state,
    released_shapes,
    save,
    small_fomm,
)


@pytest.fixture(scope="module")
def eamm_parts():
    """The networks of EAMM's audio and emotion checkpoints at the published size."""
    shapes = {name: released_shapes("eamm", name) for name in ("audio_feature", "emo_detector")}
    shapes["kp_detector_a"] = released_shapes("fomm", "kp_detector")
    return {name: random_state(of, i) for i, (name, of) in enumerate(shapes.items())}


@pytest.fixture(scope="module")
def eamm(eamm_parts, tmp_path_factory):
    """An import of all three files of EAMM, the FOMM a small one of the same keypoint detector."""
    folder = tmp_path_factory.mktemp("eamm")
    shapes = fomm_shapes(motion=4, channels=4, residual=1)
    audio = {name: eamm_parts[name] for name in ("audio_feature", "kp_detector_a")}
    emotion = {"emo_detector": eamm_parts["emo_detector"]}
    files = [
        save(random_fomm(7, shapes), folder / "124_52000.pth.tar"),
        save({**audio, "epoch": 1, "step": 6000}, folder / "1-6000.pth.tar"),
        save({**audio, **emotion, "optimizer_emo_detector": {}}, folder / "5-3000.pth.tar"),
    ]
    report = import_released(files, folder / "out")
    for file in files:
        file.unlink()
    return folder / "out", report


def test_the_layouts_derived_from_sizes_are_the_published_ones():
    for network, shapes in fomm_shapes().items():
        assert shapes == released_shapes("fomm", network)


def test_sizes_of_the_published_fomm_are_the_defaults(tmp_path):
    file = save(random_fomm(), tmp_path / "vox-cpk.pth.tar")
    report = import_released([file], tmp_path / "out")
    assert load_fomm(tmp_path / "out").config == FommConfig()
    assert load_discriminator(tmp_path / "out").config == DiscriminatorConfig()
    assert report.models["fomm"]["parameters"] / 1e6 == pytest.approx(45.575 + 14.215, abs=2e-3)
    assert report.models["discriminator"]["parameters"] / 1e6 == pytest.approx(2.759, abs=1e-3)
    assert report.left_out == {}
    assert len(report.models["fomm"]["names"]) == 196 + 75
    assert len(report.models["discriminator"]["names"]) == 26


def test_sizes_of_the_published_a2fd_and_displacement_are_the_defaults(eamm):
    folder, _ = eamm
    teacher = fingerprint(load_fomm(folder).detector)
    assert load_a2fd(folder).config == A2fdConfig(teacher=teacher)
    model, description = load_displacement(folder)
    assert model.config.extractor == ExtractorConfig(head="release")
    assert (model.config.head, model.config.keypoint_ids) == ("release", (1, 4, 6, 8))
    assert (description.teacher, description.keypoint_gains) == (teacher, RELEASED_GAINS)
    assert AUDIO_GAIN == 1.6


def test_every_weight_of_eamm_is_mapped_or_left_out_with_a_reason(eamm, eamm_parts):
    _, report = eamm
    mapped = {name for model in report.models.values() for name in model["names"]}
    left = {name for names in report.left_out.values() for name in names}
    every = {f"{network}.{key}" for network, state in eamm_parts.items() for key in state}
    assert every <= mapped | left
    assert not mapped & left
    counts = {reason: len(names) for reason, names in report.left_out.items()}
    assert sum(counts.values()) == 99 + 71 + 14 + 1 + 2
    assert [count for reason, count in counts.items() if "StyleGAN2" in reason] == [99]
    assert {"audio_feature of 5-3000.pth.tar", "kp_detector_a of 5-3000.pth.tar"} <= left
    unused = ("fc.weight", "fc_n.0.bias", "final_10.3.weight")
    assert {f"emo_detector.{name}" for name in unused} <= left


def test_other_sizes_are_read_from_the_shapes(tmp_path):
    file = save(small_fomm(count=5, blocks=3, limit=16, points=4), tmp_path / "taichi.pth.tar")
    import_released([file], tmp_path / "out", Options(size=64, align_corners=False))
    config = load_fomm(tmp_path / "out").config
    assert (config.size, config.align_corners) == (64, False)
    assert config.keypoints.count == 5
    points, motion = config.keypoints.hourglass, config.motion.hourglass
    assert (points.channels, points.blocks, points.max_channels) == (4, 3, 16)
    assert motion.max_channels == 16
    assert (config.generator.channels, config.generator.blocks) == (4, 2)


def test_an_optimizer_and_numpy_numbers_beside_the_networks_do_no_harm(tmp_path):
    released = small_fomm(discriminator=None)
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.Adam([parameter], betas=(0.5, 0.999))
    parameter.sum().backward()
    optimizer.step()
    released["optimizer_generator"] = optimizer.state_dict()
    released["epoch"] = np.int64(99)
    released["loss"] = np.float64(0.5)
    for legacy in (True, False):
        file = save(released, tmp_path / "vox.pth.tar", legacy)
        report = import_released([file], tmp_path / "out")
        assert report.sources[0]["epoch"] == 99
        left = {name for names in report.left_out.values() for name in names}
        assert left == {"loss of vox.pth.tar", "optimizer_generator of vox.pth.tar"}


def test_state_dicts_saved_on_a_gpu_by_a_module_are_read(tmp_path, monkeypatch):
    released = small_fomm(discriminator=None)
    for name in ("generator", "kp_detector"):
        released[name] = OrderedDict(released[name])
        released[name]._metadata = OrderedDict({"": {"version": 1}})  # as Module.state_dict gives
    monkeypatch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
    file = save(released, tmp_path / "vox.pth.tar")
    assert b"cuda:0" in file.read_bytes()
    import_released([file], tmp_path / "out")
    bias = load_fomm(tmp_path / "out").generator.final.bias
    assert torch.equal(bias, released["generator"]["final.bias"])


def test_weights_that_share_one_storage_are_written_apart(tmp_path):
    released = small_fomm(discriminator=None)
    weight, bias = (released["kp_detector"][f"kp.{part}"] for part in ("weight", "bias"))
    storage = torch.cat([weight.flatten(), bias])  # as cuDNN's LSTM weights are
    released["kp_detector"]["kp.weight"] = storage[: weight.numel()].view(weight.shape)
    released["kp_detector"]["kp.bias"] = storage[weight.numel() :]
    import_released([save(released, tmp_path / "a.pth.tar")], tmp_path / "out")
    written = load_file(tmp_path / "out" / "fomm.safetensors")
    assert torch.equal(written["detector.heads.kp.weight"], weight)
    assert torch.equal(written["detector.heads.kp.bias"], bias)


@pytest.mark.parametrize("with_copy", [True, False])
def test_a_spectral_norm_of_torch_1_0_gives_the_same_weight(tmp_path, with_copy):
    released = small_fomm()
    new = import_released([save(released, tmp_path / "new.pth.tar")], tmp_path / "new")
    assert new.left_out == {}
    critic = released["discriminator"]
    for key in [key for key in critic if key.endswith("weight_orig")]:
        stem = key.removesuffix("_orig")
        sigma = critic[f"{stem}_u"] @ critic[key].flatten(1) @ critic.pop(f"{stem}_v")
        if with_copy:
            critic[stem] = critic[key] / sigma
    old = import_released([save(released, tmp_path / "old.pth.tar")], tmp_path / "old")
    assert sum(map(len, old.left_out.values())) == (5 if with_copy else 0)
    frames = torch.rand(1, 3, 64, 64)
    networks = [load_discriminator(tmp_path / name) for name in ("new", "old")]
    with torch.no_grad():
        one, other = (each({1: frames}, torch.zeros(1, 10, 2))[0].logits for each in networks)
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_of_two_files_with_the_same_network_the_first_one_counts(tmp_path):
    tuned, original = small_fomm(1, None), small_fomm(2, None)
    del tuned["kp_detector"]  # as EAMM's fine-tuning saves it
    names = {"fine-tuned.pth.tar": tuned, "124_52000.pth.tar": original}
    files = [save(content, tmp_path / name) for name, content in names.items()]
    report = import_released(files, tmp_path / "out")
    fomm = load_fomm(tmp_path / "out")
    assert torch.equal(fomm.generator.final.bias, tuned["generator"]["final.bias"])
    assert torch.equal(fomm.detector.heads.kp.bias, original["kp_detector"]["kp.bias"])
    reason = "that of fine-tuned.pth.tar was given first"
    assert report.left_out == {reason: ["generator of 124_52000.pth.tar"]}


def wrong_files(folder):
    """Path and what its refusal must say, of everything people give in a checkpoint's place."""
    good = save(small_fomm(), folder / "good.pth.tar").read_bytes()
    zipped = save(small_fomm(), folder / "zip.pth.tar", legacy=False).read_bytes()
    contents = {
        "empty": b"",
        "zeros": bytes(4096),
        "web page": b"<!DOCTYPE html><html><title>Google Drive - Quota exceeded</title></html>",
        "none of torch's": pickle.dumps({"generator": {}}),
        "no torch file": b"\xff\xd8\xff\xe0 a photograph",
        "cut off": good[: len(good) // 2],
        "is cut off or damaged": good[:40],
        "zip file that is cut off": zipped[: len(zipped) // 2],
        "gzip": b"\x1f\x8b\x08\x00",
        "safetensors": (8).to_bytes(8, "little") + b'{"a":{}}' + bytes(8),
    }
    for number, (words, content) in enumerate(contents.items()):
        path = folder / f"wrong{number}.pth.tar"
        path.write_bytes(content)
        yield path, words
    with zipfile.ZipFile(folder / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "no weights")
    yield folder / "other.zip", "readme.txt"
    flat = {"con_encoder.audio_eocder.0.0.weight": torch.zeros(2)}
    torches = {
        "an EVP network": flat,
        "EVP's disentanglement": {"train_step": 1, "test_step": 1, "epoch": 3, "model": flat},
        "own training": {"step": 1, "rng": {}, "parts": {}},
        "parts state_dict": {"state_dict": {}, "lr": 0.1},
        "holds a Tensor": torch.zeros(3),
    }
    for number, (words, content) in enumerate(torches.items()):
        yield save(content, folder / f"torch{number}.pth.tar"), words
    yield folder / "absent.pth.tar", "is no file"


def test_a_wrong_file_is_named_with_what_was_found_and_expected(tmp_path):
    for path, words in wrong_files(tmp_path):
        with pytest.raises((ValueError, FileNotFoundError)) as refusal:
            import_released([path], tmp_path / "out")
        text = str(refusal.value)
        assert str(path) in text
        assert words in text
        assert "vox-cpk.pth.tar" in text or "damaged" in text, text
        assert len(text.splitlines()) == 1
        assert not (tmp_path / "out").exists()


class Trap:
    def __reduce__(self):
        return os.mkdir, ("trapped",)


def test_nothing_in_a_checkpoint_is_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = save({**small_fomm(discriminator=None), "epoch": Trap()}, tmp_path / "vox.pth.tar")
    with pytest.raises(ValueError, match="more than tensors"):
        import_released([file], tmp_path / "out")
    assert not (tmp_path / "trapped").exists()


RESHAPED = {"kp_detector": {"kp.weight": torch.zeros(10, 9, 7, 7)}}
MISFITS = {
    r"kp\.weight has shape \(10, 9, 7, 7\), wanted \(10, 7, 7, 7\)": RESHAPED,
    r"detector\.heads\.jacobian\.weight is missing": {"kp_detector": {"jacobian.weight": None}},
    r"style\.weight": {"generator": {"style.weight": torch.zeros(3)}},
    r"generator\.final\.bias holds NaN": {"generator": {"final.bias": torch.full((3,), torch.nan)}},
    r"blur of 7 taps": {"kp_detector": {"down.weight": torch.ones(3, 1, 7, 7)}},
}


def altered(released, changes):
    """A checkpoint with other weights; None: without."""
    for network, weights in changes.items():
        state = released[network] | weights
        released[network] = {key: value for key, value in state.items() if value is not None}
    return released


@pytest.mark.parametrize("words", MISFITS)
def test_weights_that_do_not_fit_are_refused_by_name(tmp_path, words):
    file = save(altered(small_fomm(discriminator=None), MISFITS[words]), tmp_path / "vox.pth.tar")
    with pytest.raises(ValueError, match=words) as refusal:
        import_released([file], tmp_path / "out")
    assert str(file) in str(refusal.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["vox.pth.tar"]


def test_eamms_other_emotion_network_is_refused(tmp_path, eamm_parts):
    variant = dict(eamm_parts["emo_detector"])
    variant["fc_all.0.weight"] = torch.zeros(2048, 1024)
    variant["kp_4.bias"] = torch.zeros(4)
    file = save({"emo_detector": variant}, tmp_path / "5-3000.pth.tar")
    with pytest.raises(ValueError, match=r"kp_4\.bias.*5-3000"):
        import_released([file], tmp_path / "out")


def test_a_network_without_its_partner_says_which_file_is_missing(tmp_path):
    released = small_fomm(discriminator=None)
    del released["generator"]
    with pytest.raises(ValueError, match="of no use without generator"):
        import_released([save(released, tmp_path / "half.pth.tar")], tmp_path / "out")


def test_a_folder_of_other_files_is_never_replaced(tmp_path):
    file = save(small_fomm(), tmp_path / "vox.pth.tar")
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "vgg19.pth").write_text("precious")
    with pytest.raises(ValueError, match=r"vgg19\.pth"):
        import_released([file], weights)
    assert (weights / "vgg19.pth").read_text() == "precious"


def test_a_failed_import_leaves_the_former_one(tmp_path):
    import_released([save(small_fomm(), tmp_path / "vox.pth.tar")], tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    broken = altered(small_fomm(), RESHAPED)
    with pytest.raises(ValueError, match="do not fit"):
        import_released([save(broken, tmp_path / "b.pth.tar")], tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_the_command_prints_a_summary_and_ends_wrong_files_in_one_line(tmp_path, capsys):
    file = save({**small_fomm(), "optimizer_generator": {}}, tmp_path / "vox.pth.tar")
    main([str(file), "--out", str(tmp_path / "out"), "--align-corners", "false", "--size", "64"])
    printed = capsys.readouterr().out
    assert "wrote fomm:" in printed
    assert "left out 1 (" in printed
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in (tmp_path / "out").iterdir())
    config = load_fomm(tmp_path / "out").config
    assert (config.align_corners, config.size) == (False, 64)
    written = json.loads((tmp_path / "out" / "import.json").read_text())
    assert written["sources"][0]["file"] == "vox.pth.tar"
    assert written["models"]["fomm"]["names"]["generator.final.bias"] == "generator.final.bias"
    with pytest.raises(SystemExit, match="no file"):
        main([str(tmp_path / "absent"), "--out", str(tmp_path / "out")])
