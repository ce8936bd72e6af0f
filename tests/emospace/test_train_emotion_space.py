"""AME end to end on made-up clips whose emotion is seen and heard; a small space on a CPU."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from affekt.media.validation import ValConfig
from affekt.runtime.config import ConfigError
from affekt.runtime.training.optim import OptimConfig
from emospace.data.emotions import EmotionDataConfig
from emospace.losses import EmotionSpaceLossConfig
from emospace.networks.audio_encoder import AudioEncoderConfig
from emospace.networks.emotion_space import EmotionSpaceConfig, load_emotion_space
from emospace.networks.towers import ImageTowerConfig, TextTowerConfig
from emospace.validation import nearest, space_val_set, text_centres, val_codes
from tests.corpora.emotion_space_corpus import make_emotion_corpus
from tests.corpora.portrait_corpus import rows_of
from tests.corpora.short_run import parts_of, resumed, same, short_run
from train_emotion_space import Config, train

PROMPTS = Path(__file__).parents[2] / "configs/emospace/prompts.yaml"
EMOTIONS = ("angry", "happy", "neutral", "surprised")
MINI = EmotionSpaceConfig(
    code_dim=32,
    audio=AudioEncoderConfig(layers=2, heads=4, width=32, feedforward=64),
    text=TextTowerConfig("mini", "finetune"),
    image=ImageTowerConfig("mini", "finetune", size=32),
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_emotion_corpus(tmp_path_factory.mktemp("emotions") / "corpus", emotions=EMOTIONS)


@pytest.fixture
def config(corpus, tmp_path):
    return Config(
        run=short_run(tmp_path / "run", batch_size=16),
        corpus=corpus.root,
        prompts=PROMPTS,
        data=EmotionDataConfig(seconds=0.8, frames=3),
        space=MINI,
        optim=OptimConfig(2e-3, (0.9, 0.999), 0.01, clip_norm=1.0, schedule="one_cycle"),
        val=ValConfig("none"),
    )


def test_it_learns_sounds_and_pictures_of_held_out_sentences_and_people(config, corpus):
    val = ValConfig("test_speaker", every=240)
    run = replace(config.run, steps=200, save_every=240)
    train(replace(config, run=run, val=val))
    figures = rows_of(run.out)[-1]
    assert figures["val_audio_accuracy"] > 0.8  # of four emotions
    assert figures["val_image_accuracy"] > 0.7
    assert figures["val_prompt_accuracy"] > 0.4  # of a tower that has read 3,840 prompts in all
    assert figures["val_same_minus_other"] > 0.25
    assert (run.out / f"pictures/attention_{run.steps:09d}.png").exists()

    # The run folder gives the same space back, which beats the nearest mean mel
    space = load_emotion_space(run.out)
    for split in ("test_sentence", "test_speaker"):
        clips = corpus.clips(split)
        val_set = space_val_set(clips, corpus.emotions)
        audio = val_codes(space, val_set)["audio"]
        accuracy = float((nearest(audio, text_centres(space)) == val_set.labels).mean())
        assert accuracy > mean_mel_accuracy(corpus, clips) + 0.05
        if split == val.split:
            assert accuracy == pytest.approx(figures["val_audio_accuracy"])
    torch.testing.assert_close(audio.norm(dim=1), torch.ones(len(audio)))


def mean_mel_accuracy(corpus, clips):
    """The baseline: the emotion whose mean spectrum over training clips is nearest to a clip's."""
    means = {
        emotion: np.mean([c.mel().mean(0) for c in corpus.clips("train", emotion=emotion)], axis=0)
        for emotion in corpus.emotions
    }
    right = 0
    for clip in clips:
        own = clip.mel().mean(axis=0)
        guess = min(means, key=lambda emotion: np.abs(means[emotion] - own).sum())
        right += guess == clip.emotion
    return right / len(clips)


def test_a_stopped_run_continues_bit_for_bit(config):
    config = replace(
        config,
        run=replace(config.run, workers=2),
        optim=OptimConfig(1e-3),
        data=replace(config.data, adverbs=True),
        loss=EmotionSpaceLossConfig(1.0, 0.5, 0.1, learn_temperature=True, graded=True),
    )
    out = resumed(train, config, stop=3)
    assert same(parts_of(out)["space"], parts_of(config.run.out)["space"])
    row = rows_of(out)[-1]
    assert {"contrastive", "own_pair", "cosine", "total", "scale"} <= set(row)
    assert row["scale"] != pytest.approx(10.0, abs=1e-6)


def test_the_code_of_neutral_is_followed_and_taken_off_where_asked(config, corpus):
    config = replace(config, run=replace(config.run, steps=4, save_every=4, batch_size=40))
    train(replace(config, space=replace(MINI, relative=True)))
    relative = load_emotion_space(config.run.out)
    texts = ["a neutral person", "a very angry man"]
    codes = relative.text_codes(texts)
    origin = relative.origin("text")
    assert origin.norm() > 0.5
    torch.testing.assert_close((codes + origin).norm(dim=1), torch.ones(2))
    assert codes[0].norm() < codes[1].norm()
    assert relative.audio_codes([corpus.clips()[0].mel()]).shape == (1, 32)


def test_an_adverb_changes_the_code_only_where_prompts_have_levels(config):
    config = replace(config, run=replace(config.run, steps=1, save_every=1))
    train(config)
    graded = replace(config.run, out=config.run.out.with_name("graded"))
    train(replace(config, run=graded, data=replace(config.data, adverbs=True)))
    texts = ["a slightly angry man", "an angry man"]
    for out, changes in ((config.run.out, False), (graded.out, True)):
        one, other = load_emotion_space(out).text_codes(texts)
        assert torch.equal(one, other) != changes


def test_an_emotion_that_is_left_out_is_neither_seen_nor_heard_nor_read(config, corpus):
    data = replace(config.data, leave_out=("happy",))
    config = replace(config, data=data, run=replace(config.run, steps=1, save_every=1))
    from train_emotion_space import EmotionSpace, load_bank, prompt_inputs, training_clips

    assert {clip.emotion for clip in training_clips(corpus, data)} == {*EMOTIONS} - {"happy"}
    space = EmotionSpace(MINI, corpus.emotions, load_bank(PROMPTS))
    happy = corpus.emotions.index("happy")
    assert {label for label, _ in prompt_inputs(space, config)} == {*range(4)} - {happy}
    train(replace(config, val=ValConfig(every=1)))
    assert "val_audio_accuracy" in rows_of(config.run.out)[-1]
    with pytest.raises(ConfigError, match=r"leave_out names 'bored', which .* does not have"):
        training_clips(corpus, replace(data, leave_out=("bored",)))


def test_mistakes_of_a_user_end_in_one_line(config, corpus, tmp_path):
    with pytest.raises(ValueError, match=r"graded positives want prompts of levels"):
        replace(config, loss=EmotionSpaceLossConfig(graded=True))
    with pytest.raises(ValueError, match=r"a mini tower has no weights of its own"):
        TextTowerConfig("mini", "frozen")
    with pytest.raises(FileNotFoundError, match=r"emotion_space\.yaml is missing.*train_emotion_"):
        load_emotion_space(tmp_path)
    with pytest.raises(ConfigError, match=r"no configuration file"):
        train(replace(config, prompts=tmp_path / "no.yaml"))
    other = make_emotion_corpus(tmp_path / "corpus", speakers=1, held_out=0, frames=8)
    (other.clips("train")[0].folder / "mel.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"mel\.npy is missing; run python -m data_prep"):
        train(replace(config, corpus=other.root))


def test_a_corpus_of_sound_alone_teaches_text_and_sound(config, corpus, monkeypatch):
    monkeypatch.setattr("affekt.media.corpus.Clip.store", None)
    space = replace(MINI, image=ImageTowerConfig("none"))
    run = replace(config.run, steps=2, save_every=2)
    train(replace(config, run=run, space=space, val=ValConfig(every=2)))
    figures = rows_of(run.out)[-1]
    assert "val_audio_accuracy" in figures
    assert not [name for name in figures if "image" in name]
    with pytest.raises(ValueError, match=r"trained without pictures \(space\.image\.kind=none\)"):
        load_emotion_space(run.out).image_codes(np.zeros((1, 32, 32, 3), np.uint8))


def test_codes_do_not_depend_on_what_stands_beside_them(config, corpus):
    train(replace(config, run=replace(config.run, steps=1, save_every=1)))
    space = load_emotion_space(config.run.out)
    clips = corpus.clips("test_speaker")[:5]
    mels = [clip.mel()[: 30 + 10 * k] for k, clip in enumerate(clips)]
    frames = np.concatenate([clip.store()[:1] for clip in clips])
    texts = ["fear", "a joyful man", "the speaker sounds very sad today", "", "what a surprise"]
    for codes, given in (
        (space.audio_codes, mels),
        (space.image_codes, frames),
        (space.text_codes, texts),
    ):
        together = codes(given)
        alone = torch.cat([codes(given[k : k + 1]) for k in range(5)])
        torch.testing.assert_close(alone, together, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(F.normalize(together, dim=1), together)
        assert codes(given[:0]).shape == (0, 32)
    attention = space.audio_attention(mels[4])
    assert attention.shape == (18,)
    assert attention.sum() == pytest.approx(1, abs=1e-5)
    assert not space.training


def test_a_text_far_from_every_known_word_is_named_with_the_nearest_one(config):
    train(replace(config, run=replace(config.run, steps=1, save_every=1)))
    space = load_emotion_space(config.run.out)
    assert space.remarks("a slightly furious man") == []
    (remark,) = space.remarks("a man with a zzyzx qopq")
    assert "far from every word known" in remark
    assert space.nearest_known("someone who looks furious!")[:2] == ("furious", "angry")
    assert "'not' were not there" in space.remarks("not furious")[0]
