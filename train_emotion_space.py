"""emospace, AME: one emotion space for text, picture and sound (Xu et al. 2023; supplement 1.1).

    python train_emotion_space.py configs/emospace/emotion_space.yaml
    python train_emotion_space.py configs/emospace/ablations/emotion_space_own_pair.yaml run.seed=1

Needs a prepared corpus with frames (data_prep.prepare) and log-mels (data_prep.mel), and for each
tower that is not `mini` its package or weights file. The same command continues a stopped run.
"""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from affekt.media.corpus import Clip, Corpus
from affekt.media.emotions import NEUTRAL
from affekt.media.validation import ValConfig, val_clips
from affekt.runtime.command import run_stage
from affekt.runtime.run import Run, RunConfig
from affekt.runtime.training.optim import (
    OptimConfig,
    make_optimizer,
    set_learning_rate,
    weighted_sum,
)
from emospace.data.emotions import (
    LEVEL_INTENSITY,
    WITHOUT_LEVEL,
    EmotionClips,
    EmotionDataConfig,
    spread_frames,
    training_clips,
)
from emospace.data.prompts import load_bank
from emospace.losses import EmotionSpaceLossConfig, emotion_space_losses
from emospace.networks.emotion_space import EmotionSpace, EmotionSpaceConfig, save_description
from emospace.networks.towers import frozen_codes
from emospace.validation import compound_metrics, plot_attention, space_metrics, space_val_set


@dataclass(frozen=True)
class Config:
    """A whole run."""

    run: RunConfig
    corpus: Path = Path("data/mead_emospace")
    prompts: Path = Path("configs/emospace/prompts.yaml")
    data: EmotionDataConfig = field(default_factory=EmotionDataConfig)
    space: EmotionSpaceConfig = field(default_factory=EmotionSpaceConfig)
    loss: EmotionSpaceLossConfig = field(default_factory=EmotionSpaceLossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    val: ValConfig = field(default_factory=ValConfig)

    def __post_init__(self) -> None:
        if self.loss.graded and not self.data.adverbs:
            raise ValueError("graded positives want prompts of levels: set data.adverbs=true")


def train(cfg: Config) -> None:
    # Data, and the space with its towers
    corpus = Corpus(cfg.corpus)
    clips = training_clips(corpus, cfg.data)
    bank = load_bank(cfg.prompts)
    held_out = val_clips(corpus, cfg.val)
    pictures = cfg.space.image.kind != "none"
    val_set = space_val_set(held_out, corpus.emotions, pictures) if held_out else None
    run = Run(cfg)
    space = EmotionSpace(cfg.space, corpus.emotions, bank, cfg.data.adverbs).to(run.device)
    space.set_temperature(cfg.loss.temperature)

    # Codes of frozen towers, once; items of the trained ones
    with run.main_first():
        texts = prompt_inputs(space, cfg)
        images = picture_inputs(space, corpus, clips, cfg)
    items = EmotionClips(clips, corpus.emotions, texts, cfg.data, cfg.run.seed, images)
    space.audio.set_stats(*items.stats())

    # Optimizer, checkpoint
    trained = [each for each in space.parameters() if each.requires_grad]
    optimizer = make_optimizer(trained, cfg.optim)
    if run.is_main:
        save_description(cfg.run.out, space)
    run.register(space=space, optimizer=optimizer)
    neutral = corpus.emotions.index(NEUTRAL) if NEUTRAL in corpus.emotions else -1

    for batch in run.batches(items):
        set_learning_rate(optimizer, cfg.optim, run.step, cfg.run.steps)
        space.train()

        # Codes of the three modalities, drawn together by emotion
        with run.autocast():
            codes = space(batch)
        scale = space.scale if cfg.loss.learn_temperature else 1 / cfg.loss.temperature
        terms = emotion_space_losses(codes, batch["label"], batch["level"], cfg.loss, scale)
        total = weighted_sum(terms, cfg.loss)

        # Update; the mean neutral codes follow
        run.backward(total, optimizer)
        grad_norm = run.take_step(optimizer, cfg.optim.clip_norm)
        space.follow_neutral(codes, batch["label"] == neutral)

        # Logs, and validation
        run.log(**terms, total=total, grad_norm=grad_norm, scale=scale)
        if val_set is not None and run.due(cfg.val.every):
            figures = space_metrics(space, val_set) | compound_metrics(space)
            run.log_now(**{f"val_{name}": value for name, value in figures.items()})
            mel = val_set.mels[0]
            run.picture("attention", plot_attention(mel, space.audio_attention(mel)))


def prompt_inputs(space: EmotionSpace, cfg: Config) -> dict[tuple[int, int], Tensor]:
    """Return the tokens of the prompts, or a frozen tower's features, by label and level.

    Without adverbs the level is WITHOUT_LEVEL alone. Emotions that are left out have none.
    """
    tower = space.towers["text"]
    prompts: dict[tuple[int, int], list[str]] = {}
    for label, emotion in enumerate(space.emotions):
        if emotion not in cfg.data.leave_out:
            prompts[label, WITHOUT_LEVEL] = space.bank.prompts(emotion)
            if cfg.data.adverbs and emotion != NEUTRAL:
                for level, intensity in LEVEL_INTENSITY.items():
                    prompts[label, level] = space.bank.prompts(emotion, intensity=intensity)
    texts = [text for some in prompts.values() for text in some]
    if "text" in space.frozen:

        def tokens(start: int, stop: int) -> Tensor:
            return tower.tokens(texts[start:stop])  # type: ignore[operator]

        what = "\n".join(texts)
        inputs = frozen_codes(tower, tokens, len(texts), what, cfg.run.out / "codes")
    else:
        inputs = tower.tokens(texts)  # type: ignore[operator]
    parts = inputs.split([len(some) for some in prompts.values()])
    return dict(zip(prompts, parts, strict=True))


def picture_inputs(
    space: EmotionSpace, corpus: Corpus, clips: list[Clip], cfg: Config
) -> Tensor | int | None:
    """Return a frozen picture tower's features (clips, K, D); of a trained one its pixels."""
    if "image" not in space.towers:
        return None
    tower, count = space.towers["image"], cfg.data.frames
    if "image" not in space.frozen:
        return cfg.space.image.size

    places = [(clip, frame) for clip in clips for frame in spread_frames(clip, count)]

    def pixels(start: int, stop: int) -> Tensor:
        frames = (clip.store()[frame : frame + 1] for clip, frame in places[start:stop])
        return torch.cat([tower.pixels(each) for each in frames])  # type: ignore[operator]

    what = "\n".join(f"{clip.id} {clip.sha256} {frame}" for clip, frame in places)
    what += json.dumps(corpus.info, sort_keys=True)
    codes = frozen_codes(tower, pixels, len(places), what, cfg.run.out / "codes")
    return codes.unflatten(0, (len(clips), count))


if __name__ == "__main__":
    sys.exit(run_stage(train, Config, __doc__))
