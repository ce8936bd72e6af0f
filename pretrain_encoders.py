"""EVP, before stage 1: pretrain the emotion encoder or the content encoder (paper Sec. 4).

    python pretrain_encoders.py configs/evp/pretrain_emotion.yaml
    python pretrain_encoders.py configs/evp/pretrain_content.yaml run.out=runs/try run.steps=200

`target: emotion` classifies single windows; `target: content` predicts landmarks from the sound of
neutral clips. The paper pretrains content on LRW, a lip-reading corpus with barely any emotion; any
prepared corpus with neutral clips serves here. Needs a prepared corpus (data_prep.prepare). The
same command continues a stopped run.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from affekt.media.audio.mfcc import WINDOW_STEP
from affekt.media.corpus import Clip, Corpus
from affekt.media.emotions import NEUTRAL
from affekt.media.faces.geometry import View
from affekt.media.validation import ValConfig, val_clips
from affekt.runtime.command import run_stage
from affekt.runtime.config import ConfigError
from affekt.runtime.run import Run, RunConfig
from affekt.runtime.training.optim import OptimConfig, make_optimizer, set_learning_rate
from evp.data.speech import EmotionWindows, LandmarkClips, clips_of, labels_of
from evp.landmark_space import NeutralFrom, fit_space
from evp.losses import Norm, Reduction, classification, distance
from evp.networks.audio2lm import Audio2Landmark, Audio2LandmarkConfig, predict_faces
from evp.networks.encoders import (
    ContentEncoder,
    EmotionClassifier,
    EmotionEncoder,
    EncodersConfig,
    EncodersDescription,
    save_description,
)
from evp.validation import class_accuracy, landmark_metrics

Target = Literal["emotion", "content"]
KEYS: dict[Target, tuple[str, ...]] = {  # of Config, those that one target alone has
    "emotion": ("shift", "label_smoothing"),
    "content": ("head", "view", "neutral_from", "frames", "norm", "reduction"),
}
HEAD = Audio2LandmarkConfig()


@dataclass(frozen=True)
class Config:
    """A whole run.

    Raises:
        ConfigError: a key of the other target is set, or the shift reaches the next frame.
    """

    run: RunConfig
    target: Target
    corpus: Path = Path("data/mead")
    encoders: EncodersConfig = field(default_factory=EncodersConfig)
    shift: int = 0  # emotion: windows begin up to so many rows of 10 ms late, 0 to 3; ours
    label_smoothing: float = 0.0  # emotion: see losses.classification
    head: Audio2LandmarkConfig = HEAD  # content; discarded
    view: View = "2d"  # content: how landmarks are aligned
    # content: l_a is the speaker's own neutral face or, where every clip is a speaker of its own,
    # that of all other people (evp/landmark_space.py)
    neutral_from: NeutralFrom = "speaker"
    frames: int = 16  # content: of a training sequence; the release's audio-to-landmark has 16
    norm: Norm = "l2"  # content: of eq. 7
    reduction: Reduction = "sample"
    optim: OptimConfig = field(default_factory=OptimConfig)
    val: ValConfig = field(default_factory=ValConfig)

    def __post_init__(self) -> None:
        other: Target = "content" if self.target == "emotion" else "emotion"
        for key in KEYS[other]:
            if getattr(self, key) != getattr(Config, key):
                raise ConfigError(
                    f"{key} is of target={other} and has no effect with target={self.target}; "
                    "leave it out"
                )
        if not 0 <= self.shift < WINDOW_STEP:
            raise ConfigError(f"shift is {self.shift}, wanted 0 to {WINDOW_STEP - 1} rows")


def train(cfg: Config) -> None:
    corpus = Corpus(cfg.corpus)
    if cfg.target == "emotion":
        train_emotion(cfg, corpus)
    else:
        train_content(cfg, corpus)


def train_emotion(cfg: Config, corpus: Corpus) -> None:
    windows = EmotionWindows(corpus, "train", cfg.run.seed, cfg.shift)
    val_set = val_clips(corpus, cfg.val)
    labels = labels_of(val_set, corpus)

    # networks, optimizer, checkpoint
    run = Run(cfg)
    description = EncodersDescription(cfg.encoders, corpus.emotions, (cfg.target,))
    if run.is_main:
        save_description(cfg.run.out, description)
    encoder = EmotionEncoder(cfg.encoders.emotion).to(run.device)
    classifier = EmotionClassifier(cfg.encoders.emotion.dim, len(corpus.emotions)).to(run.device)
    parameters = [*encoder.parameters(), *classifier.parameters()]
    optimizer = make_optimizer(parameters, cfg.optim)
    run.register(emotion_encoder=encoder, classifier=classifier, optimizer=optimizer)

    for batch in run.batches(windows):
        set_learning_rate(optimizer, cfg.optim, run.step, cfg.run.steps)

        # eq. 4 on single windows
        with run.autocast():
            logits = classifier(encoder(batch["window"]))
            loss = classification(logits, batch["emotion"], cfg.label_smoothing)

        # update
        run.backward(loss, optimizer)
        grad_norm = run.take_step(optimizer, cfg.optim.clip_norm)

        # logs, and validation
        accuracy = (logits.argmax(dim=1) == batch["emotion"]).float().mean()
        run.log(classification=loss, window_accuracy=accuracy, total=loss, grad_norm=grad_norm)
        if val_set and run.due(cfg.val.every):
            run.log_now(val_accuracy=class_accuracy(encoder, classifier, val_set, labels))


def train_content(cfg: Config, corpus: Corpus) -> None:
    space = fit_space(corpus, cfg.view, cfg.head.components, cfg.neutral_from)
    neutral = [clip for clip in clips_of(corpus, "train") if clip.emotion == NEUTRAL]
    clips = LandmarkClips(neutral, space, cfg.view, cfg.frames, "window", cfg.run.seed)
    val_set = [clip for clip in val_clips(corpus, cfg.val) if clip.emotion == NEUTRAL]

    # networks, optimizer, checkpoint
    run = Run(cfg)
    description = EncodersDescription(cfg.encoders, corpus.emotions, (cfg.target,))
    if run.is_main:
        save_description(cfg.run.out, description)
    encoder = ContentEncoder(cfg.encoders.content).to(run.device)
    head = Audio2Landmark(cfg.head, cfg.encoders.content.dim, space).to(run.device)
    parameters = [*encoder.parameters(), *head.parameters()]
    optimizer = make_optimizer(parameters, cfg.optim)
    run.register(content_encoder=encoder, head=head, optimizer=optimizer)

    def predict(clip: Clip) -> NDArray[np.float32]:
        neutral_face = space.neutral_of(clip.speaker)
        return predict_faces(head, encoder, clip.windows(), np.zeros(0), neutral_face)

    for batch in run.batches(clips):
        set_learning_rate(optimizer, cfg.optim, run.step, cfg.run.steps)

        # eq. 7 from content alone
        with run.autocast():
            content = encoder(batch["windows"])
            no_emotion = content[..., :0]
            faces = head(content, no_emotion, batch["neutral"])
        loss = distance(
            faces.flatten(0, 1), batch["landmarks"].flatten(0, 1), cfg.norm, cfg.reduction
        )

        # update
        run.backward(loss, optimizer)
        grad_norm = run.take_step(optimizer, cfg.optim.clip_norm)

        # logs, and validation
        run.log(position=loss, total=loss, grad_norm=grad_norm)
        if val_set and run.due(cfg.val.every):
            run.log_now(**landmark_metrics(predict, val_set, space, cfg.view))


if __name__ == "__main__":
    sys.exit(run_stage(train, Config, __doc__))
