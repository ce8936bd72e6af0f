"""EAC on a real emotion space, from the command line to the figures."""

import json
import sys

import numpy as np
import pytest

import train_emotion_space
import train_expression
from affekt.media.validation import ValConfig
from affekt.runtime.training.optim import OptimConfig
from emospace.analysis.expression import main
from emospace.data.emotions import EmotionDataConfig
from emospace.data.expressions import ExpressionDataConfig
from emospace.data.prompts import save_bank
from emospace.inference.expression import load_expression_predictor
from emospace.networks.audio_encoder import AudioEncoderConfig
from emospace.networks.emotion_space import EmotionSpaceConfig, load_emotion_space
from emospace.networks.expression import ExpressionNetConfig
from emospace.networks.towers import ImageTowerConfig, TextTowerConfig
from tests.corpora.emotion_space_corpus import make_emotion_corpus
from tests.corpora.made_up_space import BANK
from tests.corpora.portrait_corpus import rows_of
from tests.corpora.short_run import short_run

KEYS = {
    *("coefficient_mouth_r", "landmark_ratio", "shuffled_ratio", "swap_text", "swap_image"),
    *("swap_audio", "swap_mouth_r", "intensity_ratio", "intensity_size", "blend_rank"),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A corpus, a space and an expression network of two steps each."""
    root = tmp_path_factory.mktemp("chain")
    corpus = make_emotion_corpus(root / "corpus", 3, 2, frames=30, levels=(1, 3), size=32)
    save_bank(BANK, root / "prompts.yaml")
    mini = EmotionSpaceConfig(
        code_dim=16,
        audio=AudioEncoderConfig(1, 2, 16, 32),
        text=TextTowerConfig("mini", "finetune"),
        image=ImageTowerConfig("mini", "finetune", size=16),
    )
    train_emotion_space.train(
        train_emotion_space.Config(
            short_run(root / "space", steps=2),
            corpus=corpus.root,
            prompts=root / "prompts.yaml",
            data=EmotionDataConfig(seconds=0.5, frames=2),
            space=mini,
            val=ValConfig("none"),
        )
    )
    config = train_expression.Config(
        short_run(root / "expression", steps=2),
        corpus=corpus.root,
        emotion_space=root / "space",
        data=ExpressionDataConfig(window=16, overlap=6, pictures=2),
        model=ExpressionNetConfig(1, 2, 16, 32, mel_hidden=16),
        optim=OptimConfig(lr=1e-3),
        val=ValConfig("test_speaker", every=2, clips=4),
    )
    train_expression.train(config)
    return corpus, config


def test_a_run_on_a_real_space_validates_and_pictures_its_attention(runs):
    _, config = runs
    last = rows_of(config.run.out)[-1]
    assert last["val_landmark_ratio"] > 0
    assert (config.run.out / "pictures/attention_000000002.png").is_file()


def test_the_figures_of_a_run_are_one_json_object(runs, monkeypatch, capsys):
    corpus, config = runs
    named = ["--space", str(config.emotion_space), "--corpus", str(corpus.root)]
    argv = ["expression", str(config.run.out), *named, "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", argv)
    main()
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures.keys() >= KEYS
    monkeypatch.setattr(sys, "argv", ["expression", str(corpus.root), *argv[2:]])
    with pytest.raises(SystemExit, match=r"expression.yaml is missing; name the run folder"):
        main()


@pytest.mark.parametrize("kind", ["text", "image", "audio"])
def test_any_modality_gives_a_clip_its_expression(runs, kind):
    corpus, config = runs
    space = load_emotion_space(config.emotion_space)
    predictor = load_expression_predictor(config.run.out)
    clip = corpus.clips("test_speaker")[0]
    codes = {
        "text": lambda: space.text_codes(["a slightly happy person"]),
        "image": lambda: space.image_codes(np.asarray(clip.store()[0:1])),
        "audio": lambda: space.audio_codes([clip.mel()]),
    }
    code = codes[kind]().numpy()[0]
    found = predictor.predict(clip.mel(), code, 0.45, clip.expression()[0], guidance=1.5)
    assert found.shape == clip.expression().shape
    assert np.isfinite(found).all()
