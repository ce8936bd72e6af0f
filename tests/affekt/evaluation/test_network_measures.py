"""The harness with networks: tiny random ones, of the genuine classes, on clips of a drawn face."""

import csv
import shutil
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from affekt.evaluation import measure as measuring
from affekt.evaluation import networks
from affekt.evaluation.pairing import ClipPair
from affekt.media.faces.points import MOUTH
from affekt.media.plots import write_png
from affekt.media.video.video import read_frames, write_video
from affekt.metrics import fid
from affekt.metrics.emotion.network import Description, Fan, FanConfig, save_classifier
from affekt.metrics.sync.network import SyncNet, SyncNetConfig, export_syncnet
from affekt.runtime.files import read_json, read_jsonl
from tests.corpora.drawn_clips import SIZE, BarDetector, draw, mouth
from tests.corpora.published_weights import publish
from tests.end_to_end.test_test_script import load_script

PROTOCOL = """id: networks
version: 1
title: what takes a network
tables: [xu-table1, evp-emotion]
measures: [landmarks, pictures, temporal, sync, identity, emotion, distribution]
distribution: {frames: 3}
emotion: {frames: 4}
"""
EMOTIONS = ("happy", "sad")
CLIPS = {"a": "happy", "b": "sad", "c": "happy"}


class WideDetector(BarDetector):
    """A bar's face with a mouth and eyes that have a width, as networks' crops need them."""

    def detect(self, frame):
        face = super().detect(frame)
        if face is not None:
            spread = np.linspace(-1, 1, len(MOUTH))
            face.points[list(MOUTH)] += np.stack([12 * spread, 4 * np.abs(spread)], axis=1)
            face.points[:, :] += 0.01 * np.arange(136).reshape(68, 2)
        return face


class Session:
    """An ArcFace that knows a face by its colours."""

    def get_inputs(self):
        return [SimpleNamespace(name="faces")]

    def get_outputs(self):
        return [SimpleNamespace(name="codes")]

    def run(self, names, inputs):
        small = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(inputs["faces"]), 16)
        return [small.flatten(1)[:, :512].numpy()]


class Colours(torch.nn.Module):
    """An Inception whose features are a small picture."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))


def small_pictures(network, frames):
    return np.stack([cv2.resize(frame, (6, 6)).reshape(-1) for frame in frames]).astype(np.float32)


@pytest.fixture
def judged(tmp_path, monkeypatch):
    """Truth with sound, results that are copies, tiny judges; returns a function that measures."""
    monkeypatch.setattr(measuring, "make_detector", lambda *_: WideDetector())
    monkeypatch.setattr(measuring, "detector_version", lambda name: "wide bar")
    monkeypatch.setattr(networks, "load_arcface", lambda path, device: Session())
    monkeypatch.setattr(fid, "load_inception", lambda path, device: Colours())
    monkeypatch.setattr(fid, "features", small_pictures)
    folder = tmp_path / "weights"
    for key in ("arcface", "inception_fid"):
        publish(monkeypatch, folder, key, key.encode() * 100)
    monkeypatch.setenv("AFFEKT_WEIGHTS", str(folder))
    sizes = SyncNetConfig(64, "mouth", (4,) * 6, (4,) * 6, 8, 8)
    export_syncnet(tmp_path / "syncnet", SyncNet(sizes).eval())
    fan = FanConfig(widths=(4, 4, 4, 4))
    about = Description(fan, EMOTIONS, 32, "drawn", "0", ("nobody",))
    (tmp_path / "fan").mkdir()
    save_classifier(tmp_path / "fan", Fan(fan, len(EMOTIONS)).eval(), about)
    (tmp_path / "networks.yaml").write_text(PROTOCOL)
    with (tmp_path / "clips.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["clip_id", "speaker", "label", "source"])
        for number, (clip, emotion) in enumerate(CLIPS.items()):
            sound = 0.2 * np.sin(np.arange(16 * 640) ** (1.2 + number / 10)).astype(np.float32)
            frames = draw(mouth(number, 16), number)
            for side in ("truth", "results"):
                write_video(tmp_path / side / f"{clip}.mp4", frames, sound)
            write_png(tmp_path / f"{clip}.png", frames[0])
            writer.writerow([clip, f"speaker {clip}", emotion, f"{clip}.png"])

    def measure(*options):
        arguments = ["run", "--results", tmp_path / "results", "--truth", tmp_path / "truth",
                     "--manifest", tmp_path / "clips.csv", "--out", tmp_path / "out/mine",
                     "--protocol", tmp_path / "networks.yaml", "--syncnet", tmp_path / "syncnet",
                     "--emotion-classifier", tmp_path / "fan", "sync.reach=3"]  # fmt: skip
        code = load_script().main([*map(str, arguments), *options])
        return code, tmp_path

    return measure


def rows_of(root):
    """Return {metric: {row: {clip: value}}}."""
    found = {}
    for line in read_jsonl(root / "out/mine/scores.jsonl"):
        row = found.setdefault(line["metric"], {}).setdefault(line["row"], {})
        row[line["clip"]] = line["value"]
    return found


def test_every_metric_has_a_figure_and_the_truth_is_its_own_equal(judged, capsys):
    code, root = judged()
    assert code == 0
    found = rows_of(root)
    for metric in ("lse_c", "lse_d", "sync_offset", "csim", "emotion_correct", "warp_error"):
        assert found[metric]["result"] == pytest.approx(found[metric]["truth"])
        assert found[metric]["result"].keys() == CLIPS.keys()
    assert max(found["efd_proxy"]["result"].values()) < 1e-6
    assert set(found["emotion_correct"]["result"].values()) <= {0, 1}
    record = read_json(root / "out/mine/evaluation.json")
    assert record["unavailable"] == {}
    assert record["weights"].keys() == {"sync", "identity", "emotion", "distribution"}
    fid = {row: each["fid"]["value"] for row, each in record["distribution"].items()}
    assert abs(fid["result"]) < 1e-2
    assert fid["frozen first frame"] > fid["truth re-encoded"] > 1
    assert "another speaker" not in fid  # the same pictures, handed round: FID cannot tell
    assert "Xu et al., supplement, Table 1" in capsys.readouterr().out


def test_other_pictures_move_what_looks_at_pictures_and_nothing_else(judged):
    """Brighter, by less than the drawn face's detector sees: landmarks and their jitter stay."""
    _, root = judged()
    before = rows_of(root)
    frames = draw(mouth(0, 16), 0)
    brighter = np.clip(frames.astype(int) + (frames > 100) * 20, 0, 255).astype(np.uint8)
    write_video(root / "results/a.mp4", brighter)
    judged()
    after = rows_of(root)
    for metric, rows in after.items():
        moved = {clip for clip in CLIPS if rows["result"][clip] != before[metric]["result"][clip]}
        assert moved <= {"a"}, metric
    still = ("m_ld", "f_ld", "jitter")
    assert all(after[name]["result"]["a"] == pytest.approx(0, abs=0.3) for name in still[:2])
    assert after["psnr"]["result"]["a"] < 40
    assert after["csim"]["result"]["a"] != before["csim"]["result"]["a"]


def test_a_truth_without_sound_has_no_sync_figure_and_all_others(judged, tmp_path):
    write_video(tmp_path / "truth/a.mp4", read_frames(tmp_path / "results/a.mp4"))
    code, root = judged()
    assert code == 0
    found = rows_of(root)
    assert found["lse_c"]["result"]["a"] is None
    assert found["lse_c"]["result"]["b"] is not None
    assert found["ssim"]["result"]["a"] > 0.9


def test_a_label_that_the_classifier_does_not_know_costs_the_emotion_alone(
    judged, tmp_path, caplog
):
    text = (tmp_path / "clips.csv").read_text().replace("sad", "bored")
    (tmp_path / "clips.csv").write_text(text)
    code, root = judged()
    assert code == 0
    assert "b is labelled 'bored'" in caplog.text
    found = rows_of(root)
    assert found["emotion_correct"]["result"]["b"] is None
    assert found["ssim"]["result"]["b"] > 0.9
    record = read_json(root / "out/mine/evaluation.json")
    assert record["without"] == {"emotion_correct": ["b"]}


def test_a_source_picture_counts_by_its_content(judged, tmp_path):
    judged()
    before = rows_of(tmp_path)["csim"]["result"]
    write_png(tmp_path / "a.png", draw(mouth(5, 16), 5)[3])
    judged()
    after = rows_of(tmp_path)["csim"]["result"]
    assert after["a"] != before["a"]
    assert (after["b"], after["c"]) == (before["b"], before["c"])


@pytest.mark.parametrize("damage", ["missing", "no face", "no picture"])
def test_a_source_picture_that_cannot_be_used_costs_the_identity_alone(
    judged, tmp_path, caplog, damage
):
    path = tmp_path / "a.png"
    if damage == "missing":
        path.unlink()
    elif damage == "no face":
        write_png(path, np.zeros((SIZE, SIZE, 3), np.uint8))
    else:
        path.write_bytes(b"<html>")
    assert judged()[0] == 0
    assert "a has no identity figure" in caplog.text
    found = rows_of(tmp_path)
    assert found["csim"]["result"]["a"] is None
    assert found["csim"]["result"]["b"] is not None
    assert found["ssim"]["result"]["a"] > 0.9


def test_features_that_were_lost_are_made_again(judged, tmp_path):
    judged()
    before = read_json(tmp_path / "out/mine/evaluation.json")["distribution"]
    shutil.rmtree(tmp_path / "out/cache")
    assert judged()[0] == 0
    assert read_json(tmp_path / "out/mine/evaluation.json")["distribution"] == before


def test_a_second_run_opens_nothing_even_of_clips_without_label_or_source(
    judged, tmp_path, monkeypatch
):
    (tmp_path / "clips.csv").write_text("clip_id,speaker\na,A\nb,B\n")
    assert judged()[0] == 0
    monkeypatch.setattr(measuring, "_measure", None)  # what would measure a clip
    assert judged()[0] == 0


@pytest.mark.parametrize(
    ("content", "told"), [(b"<!DOCTYPE html>", "web page"), (b"x" * 700, "arcface")]
)
def test_weights_that_are_wrong_end_the_run_and_missing_ones_a_column(
    judged, tmp_path, capsys, content, told
):
    (tmp_path / "weights/pt_inception-2015-12-05-6726825d.pth").unlink()
    (tmp_path / "weights/w600k_r50.onnx").write_bytes(content)
    assert judged()[0] == 4
    assert told in capsys.readouterr().err
    (tmp_path / "weights/w600k_r50.onnx").unlink()
    code, root = judged()
    assert code == 0
    unavailable = read_json(root / "out/mine/evaluation.json")["unavailable"]
    assert unavailable.keys() == {"csim", "fid", "kid"}
    assert "w600k_r50.onnx" in unavailable["csim"]


def test_a_run_without_exported_weights_is_refused(judged, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert judged("--syncnet", str(tmp_path / "empty"))[0] == 2
    assert "holds 0 files *.safetensors" in capsys.readouterr().err


def test_pictures_of_another_size_have_no_rows_by_another_speaker(judged, tmp_path):
    small = draw(mouth(2, 16), 2)[:, : SIZE - 4]
    for side in ("truth", "results"):
        write_video(tmp_path / side / "c.mp4", small)
    _, root = judged()
    cases = [ClipPair(clip, Path(), None, clip, emotion) for clip, emotion in CLIPS.items()]
    partners = {case.id: measuring.another_speaker(case, cases).id for case in cases}
    same = {clip for clip, other in partners.items() if "c" not in (clip, other)}
    found = rows_of(root)["ssim"]
    assert set(found.get("another speaker", {})) == same
    assert set(found["result"]) == set(CLIPS)
    judged("landmarks.convention=atvg")  # pixels of the picture: they compare at one size alone
    assert set(rows_of(root)["m_ld"].get("another speaker", {})) == same


def test_another_speaker_is_framed_by_its_own_face_and_heard_with_the_truths_sound(
    judged, tmp_path, monkeypatch
):
    """Wherever a method draws its face, it is looked at where the true one is."""
    seen = []

    def spy(network, frames, landmarks, sound):
        seen.append((next(iter(frames)), landmarks, sound))
        return np.zeros((3, 2)), np.zeros((3, 2))

    monkeypatch.setattr(networks, "embed_clip", spy)
    monkeypatch.setattr(networks, "sync_scores", lambda *_: SimpleNamespace(
        lse_c=0.0, lse_d=0.0, offset=0))  # fmt: skip
    judged("--limit", "1")
    order = networks.SyncMeasure.rows
    framed = {row: landmarks for row, (_, landmarks, _) in zip(order, seen, strict=True)}
    heard = {row: sound for row, (_, _, sound) in zip(order, seen, strict=True)}
    assert all((framed[row] == framed["truth"]).all() for row in order if row != "another speaker")
    assert not (framed["another speaker"] == framed["truth"]).all()
    assert all((heard[row] == heard["truth"]).all() for row in order)
