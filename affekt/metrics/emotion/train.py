"""The classifier behind emotion accuracy: FAN (ICIP 2019), retrained as EVP does (Sec. 4).

    python -m affekt.metrics.emotion.train configs/metrics/emotion_classifier.yaml
    python -m affekt.metrics.emotion.train configs/demo/metrics/emotion_classifier.yaml

Needs a corpus prepared with frames (data_prep.prepare), of either profile, and for `pretrained` the
published backbone in the weights folder. Learns from split `train`; a test on people that it never
saw (test_speaker) is the one that counts. The last step writes emotion_classifier.safetensors,
which affekt.metrics.emotion.weights.load_classifier reads. The same command continues a stopped
run.
"""

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from torch import nn
from torch.nn import functional

from affekt.media.corpus import Clip, Corpus
from affekt.metrics.emotion.data import FaceClips, FaceDataConfig, split_hash
from affekt.metrics.emotion.network import Fan, FanConfig
from affekt.metrics.emotion.score import FRAMES, Accuracy, accuracy, read_clip
from affekt.metrics.emotion.weights import Classifier, Description, load_backbone, save_classifier
from affekt.runtime.command import run_stage
from affekt.runtime.config import ConfigError
from affekt.runtime.optim import OptimConfig, make_optimizer, set_learning_rate
from affekt.runtime.run import Run, RunConfig
from affekt.runtime.weights import registry as weights

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HeldOutFaces:
    """Which clips are measured, and how often; nothing is chosen by the figures."""

    split: Literal["test_speaker", "test_sentence", "val", "none"] = "test_speaker"
    every: int = 1_000  # steps
    frames: int = FRAMES  # of a clip that are read


@dataclass(frozen=True)
class Config:
    """A whole run."""

    run: RunConfig
    corpus: Path = Path("data/mead_eamm")
    fan: FanConfig = field(default_factory=FanConfig)
    pretrained: bool = False  # start from the published backbone, weights key fan_backbone
    data: FaceDataConfig = field(default_factory=FaceDataConfig)
    label_smoothing: float = 0.0
    optim: OptimConfig = field(default_factory=OptimConfig)
    held_out: HeldOutFaces = field(default_factory=HeldOutFaces)


def train(cfg: Config) -> None:
    """Train, from the last checkpoint on where there is one."""
    corpus = Corpus(cfg.corpus)
    clips = FaceClips(corpus, "train", cfg.data, cfg.run.seed)
    measured = held_out_clips(corpus, cfg.held_out)
    published = weights.find("fan_backbone") if cfg.pretrained else None

    run = Run(cfg)
    model = Fan(cfg.fan, len(corpus.emotions)).to(run.device)
    if published:
        load_backbone(model.backbone, published)
    optimizer = make_optimizer(model.parameters(), cfg.optim)
    run.register(model=model, optimizer=optimizer)

    for batch in run.batches(clips):
        set_learning_rate(optimizer, cfg.optim, run.step, cfg.run.steps)
        logits = model(batch["faces"])
        loss = functional.cross_entropy(logits, batch["label"], label_smoothing=cfg.label_smoothing)

        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        grad_norm = nn.utils.clip_grad_norm_(model.parameters(), cfg.optim.clip_norm)
        optimizer.step()

        right = (logits.argmax(dim=1) == batch["label"]).float().mean()
        run.log(classification=loss, clip_accuracy=right, total=loss, grad_norm=grad_norm)
        if measured and run.due(cfg.held_out.every):
            run.log_now(held_out_accuracy=truth_accuracy(model, cfg, corpus, measured).rate)

    path = save_classifier(cfg.run.out, model, finished(model, cfg, corpus, measured))
    log.info("wrote %s", path)


def held_out_clips(corpus: Corpus, held_out: HeldOutFaces) -> list[Clip]:
    """Return the clips to measure, none for the split "none".

    Raises:
        ConfigError: the corpus has no clips in this split.
    """
    if held_out.split == "none":
        return []
    clips = corpus.clips(held_out.split)
    if not clips:
        raise ConfigError(
            f"{corpus.root} has no clip in split {held_out.split!r}; choose another one as "
            "held_out.split, or 'none'"
        )
    return clips


def describe(cfg: Config, corpus: Corpus) -> Description:
    """Return what is known of the classifier before it is measured."""
    learned = corpus.clips("train")
    return Description(
        fan=cfg.fan,
        emotions=corpus.emotions,
        size=cfg.data.size,
        corpus=corpus.root.name,
        split_sha256=split_hash(learned),
        speakers=tuple(sorted({clip.speaker for clip in learned})),
    )


def finished(model: Fan, cfg: Config, corpus: Corpus, clips: Sequence[Clip]) -> Description:
    """Return the description with the accuracy on the truth, where there is any to measure."""
    known = vars(describe(cfg, corpus))
    if not clips:
        return Description(**known)
    truth = truth_accuracy(model, cfg, corpus, clips)
    figures = {
        "truth_split": cfg.held_out.split,
        "truth_clips": truth.clips,
        "truth_correct": truth.correct,
    }
    return Description(**(known | figures))


def truth_accuracy(model: Fan, cfg: Config, corpus: Corpus, clips: Sequence[Clip]) -> Accuracy:
    """Return how many of these true clips the model reads right, leaving it in training mode."""
    device = next(model.parameters()).device
    reader = Classifier(model.eval(), describe(cfg, corpus), device)
    guesses = [read_clip(reader, clip, cfg.held_out.frames).label for clip in clips]
    model.train()
    return accuracy(guesses, [corpus.emotions.index(clip.emotion) for clip in clips])


if __name__ == "__main__":
    sys.exit(run_stage(train, Config, __doc__))
