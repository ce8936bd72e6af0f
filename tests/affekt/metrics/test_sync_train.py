"""Training a sync network on made-up faces: learns, resumes exactly, is loaded by the evaluator."""

import json
import math
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from affekt.media.audio.mfcc import clip_mfcc
from affekt.media.audio.reader import write_wav
from affekt.media.corpus import SCHEMA
from affekt.media.validation import ValConfig
from affekt.metrics.sync import score as sync_score
from affekt.metrics.sync.network import SyncNetConfig, load_syncnet
from affekt.metrics.sync.score import clip_syncs, cut_faces, delayed, lag_metrics, sound_windows
from affekt.metrics.sync.train import (
    Config,
    SyncClips,
    SyncDataConfig,
    clip_rows,
    contrastive,
    multi_way,
    objective,
    scaled_channels,
    train,
)
from affekt.runtime.config import ConfigError
from affekt.runtime.files import save_npy, write_json, write_jsonl
from affekt.runtime.training.optim import OptimConfig
from tests.corpora.made_up_faces import plain_face
from tests.corpora.portrait_corpus import SIZE, picture, rows_of
from tests.corpora.prepared import write_clip, write_corpus
from tests.corpora.short_run import resumed, same, short_run

NETWORK = SyncNetConfig(56, "mouth", (4, 8, 8, 8, 8, 16), (4, 8, 8, 8, 8, 16), 16, 8)
STILL = SyncDataConfig(12, move=0, zoom=0, flip=0, colour=0, volume=0)
LOWER_LIP = (55, 56, 57, 58, 59, 65, 66, 67)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Mouths as far open as the sound is loud; the last of five speakers is held out."""
    root = tmp_path_factory.mktemp("sync") / "corpus"
    rng, rows = np.random.default_rng(0), []
    for number in range(10):
        speaker, frames = f"M90{number // 2}", 40
        opening = rng.choice([0, 2, 4, 6], frames)
        face = np.repeat(plain_face(SIZE)[None] + rng.uniform(-1, 1, (68, 2)), frames, axis=0)
        face[:, LOWER_LIP, 1] += opening[:, None]
        noise = rng.standard_normal(640 * frames)
        sound = (0.01 * np.repeat(1.6**opening, 640) * noise).clip(-1, 1)
        split, pictures = "train" if number < 8 else "test_speaker", map(picture, face)
        rows.append(write_clip(root, speaker, number, [*pictures], split, landmarks=face))
        write_wav(root / "clips" / speaker / rows[-1]["id"] / "audio.wav", sound)
    opened = write_corpus(root, rows, size=SIZE)
    for clip in opened.clips():
        save_npy(clip.folder / "mfcc.npy", clip_mfcc(clip.audio(), clip.frames))
    return opened


@pytest.fixture
def config(corpus, tmp_path):
    return Config(
        run=short_run(tmp_path / "run", steps=4, save_every=2),
        corpus=corpus.root,
        network=NETWORK,
        data=SyncDataConfig(6, voice=0.5),
        optim=OptimConfig(1e-2, schedule="one_cycle", clip_norm=5),
        val=ValConfig("test_speaker", every=4, clips=1),
    )


def test_the_contrastive_loss_by_hand():
    """Genuine pairs 2 and 0 apart, false ones 1 and 5 apart, margin 4: (4 + 0 + 9 + 0) / 8."""
    distances = torch.tensor([2.0, 0.0, 1.0, 5.0])
    genuine = torch.tensor([1.0, 1.0, 0.0, 0.0])
    assert contrastive(distances, genuine, 4.0).item() == pytest.approx(13 / 8)


def test_the_multi_way_loss_by_hand():
    """Own sounds at 0, the others at t ln 3: each picture finds its own with 3 / 4, and back."""
    distances = 2.0 * math.log(3) * (1 - torch.eye(2))[None]
    assert multi_way(distances, 2.0).item() == pytest.approx(math.log(4 / 3))
    one_sided = torch.tensor([[[0.0, 0.0], [2.0 * math.log(3)] * 2]])
    by_picture, by_sound = math.log(2), (math.log(4 / 3) + math.log(4)) / 2
    assert multi_way(one_sided, 2.0).item() == pytest.approx((by_picture + by_sound) / 2)


def test_a_false_pair_is_the_one_that_was_drawn(config):
    """Two windows, genuine 1 and 2 apart, false 3 (picture 0, sound 1) and 19 (1, 0); margin 20."""
    total = objective(torch.tensor([[[1.0, 3.0], [19.0, 2.0]]]), torch.tensor([[1, 0]]), config)
    assert total.item() == pytest.approx((1 + 4 + 17**2 + 1) / 8)


def test_an_item_is_a_segment_of_faces_and_the_sound_beside_them(corpus):
    clips = SyncClips(corpus.clips(), NETWORK, STILL, seed=3)
    clip, starts = clips.clips[4], []
    whole = sound_windows(clip.audio(), 40)
    square = sync_score.crop_square(clip.stored_landmarks(), "mouth")
    for draw in (4, 14, 24):
        item = clips[draw]
        assert item["faces"].shape == (3, 16, 56, 56)
        assert item["windows"].shape == (12, 13, 20)
        first = item["windows"][0].numpy()
        start = next(i for i in range(25) if np.allclose(whole[i], first, atol=1e-3))
        np.testing.assert_allclose(item["windows"], whole[start : start + 12], atol=1e-3)
        shown = cut_faces(clip.store()[start : start + 16], square, 56)
        np.testing.assert_array_equal(item["faces"].permute(1, 2, 3, 0), shown)
        starts.append(start)
    assert len(set(starts)) == 3


def test_false_partners_are_other_windows_of_the_segment(corpus):
    clips = SyncClips(corpus.clips(), NETWORK, STILL)
    others = torch.stack([clips[draw]["others"] for draw in range(99)])
    assert (others != torch.arange(12)).all()
    assert set(others[:, 0].tolist()) == set(range(1, 12))  # all of them, in 99 draws


def test_items_depend_on_seed_and_draw_alone(corpus):
    changing = SyncDataConfig(12, voice=1.0)
    one, two = (SyncClips(corpus.clips(), NETWORK, changing, seed=5) for _ in range(2))
    one[0]
    assert all(torch.equal(one[17][name], two[17][name]) for name in two[17])
    assert not torch.equal(one[17]["faces"], one[27]["faces"])


def test_augmentation_keeps_within_its_bounds(corpus):
    plain = SyncClips(corpus.clips(), NETWORK, STILL)[0]
    loud = SyncClips(corpus.clips(), NETWORK, replace(STILL, volume=0.1))[0]
    difference = loud["windows"] - plain["windows"]
    assert difference[:, 1:].abs().max() < 1e-4
    assert 0 < difference[:, 0].abs().max() <= 2 * math.log(1 / 0.9)
    assert torch.allclose(difference[:, 0], difference[0, 0, 0], atol=1e-4)
    mirrored = SyncClips(corpus.clips(), NETWORK, replace(STILL, flip=1.0))[0]
    assert torch.equal(mirrored["faces"].flip(3), plain["faces"])


def test_scaled_levels_are_those_of_scaling_each_pixel():
    faces, gain = np.random.default_rng(0).integers(0, 256, (2, 9, 8, 3), np.uint8), [0.9, 1, 1.13]
    wanted = np.clip(np.rint(faces[:, :, ::-1] * gain), 0, 255).astype(np.uint8)
    assert np.array_equal(scaled_channels(faces[:, :, ::-1], np.array(gain)), wanted)


def test_stored_sound_is_heard_as_the_sound_itself(corpus):
    """Also digital silence, whose log energy has a floor that no scale moves."""
    clip = corpus.clips()[0]
    windows = sound_windows(clip.audio(), clip.frames)
    rows = clip_rows(clip)
    for v in (0, 7, 35):
        np.testing.assert_allclose(rows[4 * v : 4 * v + 20].T, windows[v], atol=1e-3)
    silent = replace(clip, folder=clip.folder.parent / "silent")
    silent.folder.mkdir(exist_ok=True)
    save_npy(silent.folder / "mfcc.npy", clip_mfcc(np.zeros(1), clip.frames))
    quiet = sound_windows(np.zeros(1), clip.frames)[0].T
    np.testing.assert_allclose(clip_rows(silent)[:20], quiet, atol=1e-4)


@pytest.mark.parametrize("name", ["contrastive", "multi_way"])
def test_a_stopped_run_continues_exactly(config, name):
    constant = OptimConfig(1e-2, clip_norm=5)
    whole = replace(config, objective=name, optim=constant, val=ValConfig("none"))
    out = resumed(train, whole, stop=2)
    assert same(*(load_syncnet(each).state_dict() for each in (out, config.run.out)))


def test_it_learns_to_find_a_lag_in_speakers_it_has_not_seen(config, corpus, monkeypatch, capsys):
    quick = replace(
        config,
        run=replace(config.run, steps=80, batch_size=4, log_every=80, save_every=80),
        data=replace(STILL, windows=24),
        objective="multi_way",
        optim=OptimConfig(1e-2, betas=(0.9, 0.999), schedule="one_cycle", clip_norm=5),
        val=ValConfig("test_speaker", every=80),
    )
    train(quick)
    last = rows_of(config.run.out)[-1]
    assert last["val_exact"] > 0.95
    assert (config.run.out / "syncnet.safetensors").is_file()
    command = ["sync_score", str(config.run.out), "--corpus", str(corpus.root)]
    monkeypatch.setattr(sys, "argv", [*command, "--device", "cpu"])
    sync_score.main()
    assert "2 clips, lags to 5 frames" in capsys.readouterr().out
    written = json.loads((config.run.out / "sync.json").read_text())
    assert written["exact"] == last["val_exact"]
    assert written["lse_c"] == pytest.approx(last["val_lse_c"], abs=1e-6)


def test_lag_metrics_by_hand(corpus, monkeypatch):
    """Offsets 1, 0, -1 for sounds early, in time and late; one clip's late sound is missed by 2."""
    offsets = {0: (1, 0, -1), 1: (1, 0, 1)}
    clips = corpus.clips(split="test_speaker")

    def fake(network, clip, lags):
        return [sync_score.Sync(2.0, 1.0, offset) for offset in offsets[clips.index(clip)]]

    monkeypatch.setattr(sync_score, "clip_syncs", fake)
    rates = {"exact": 5 / 6, "within_one": 5 / 6, "worst": 0.5, "clips_exact": 0.5}
    found = lag_metrics(torch.nn.Linear(1, 1), clips, 1)
    assert found == {**rates, "lse_c": 2.0, "lse_d": 1.0}


def test_measuring_leaves_training_as_it_was(config, corpus):
    train(config)
    network = load_syncnet(config.run.out).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    lag_metrics(network, corpus.clips(split="test_speaker")[:1], 1)
    assert network.training
    assert same(network.state_dict(), before)
    assert len(clip_syncs(network.eval(), corpus.clips()[0], (-1, 2))) == 2


def test_a_delayed_sound_keeps_its_length():
    sound = np.arange(1, 640 * 3 + 1, dtype=np.float32)
    late, early = delayed(sound, 1), delayed(sound, -2)
    assert (late[:640] == 0).all()
    np.testing.assert_array_equal(late[640:], sound[:1280])
    np.testing.assert_array_equal(early[:640], sound[1280:])
    assert (early[640:] == 0).all()
    assert (delayed(sound, 5) == 0).all()
    np.testing.assert_array_equal(delayed(sound, 0), sound)


def test_what_cannot_be_trained_or_measured_on_is_named(config, corpus, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="none of the 10 clips has 64 frames"):
        SyncClips(corpus.clips(), NETWORK, SyncDataConfig(60))
    with pytest.raises(ConfigError, match="no clip of split 'val'"):
        train(replace(config, val=ValConfig("val")))
    with pytest.raises(ValueError, match="windows is 1"):
        SyncDataConfig(1)
    with pytest.raises(ValueError, match="volume"):
        SyncDataConfig(volume=1.0)
    write_json(tmp_path / "corpus.json", {"schema": SCHEMA})
    write_jsonl(tmp_path / "manifest.jsonl", [])
    with pytest.raises(ConfigError, match="prepared without frames"):
        train(replace(config, corpus=tmp_path))
    monkeypatch.setattr(sys, "argv", ["x", str(tmp_path), "--corpus", str(corpus.root)])
    with pytest.raises(SystemExit, match=r"syncnet\.yaml is missing"):
        sync_score.main()
