"""Train the classifier of emotion accuracy: FAN (ICIP 2019), retrained as EVP does (Sec. 4).

    python -m affekt.metrics.emotion.train configs/metrics/emotion_classifier.yaml
    python -m affekt.metrics.emotion.train configs/demo/metrics/emotion_classifier.yaml

Needs a corpus prepared with frames (data_prep.prepare), of either profile, and for `pretrained` the
published backbone in the weights folder. Trained on split `train`; a test on other people
(test_speaker) is the one that counts. The last step writes emotion_classifier.safetensors, which
`network.load_classifier` reads. The same command continues a stopped run.
"""

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch.nn import functional

from affekt.media.corpus import Clip, Corpus
from affekt.media.validation import ValConfig, val_clips
from affekt.media.video.tensors import unit_range
from affekt.metrics.emotion.data import FaceClips, FaceDataConfig, split_hash
from affekt.metrics.emotion.network import (
    Classifier,
    Description,
    Fan,
    FanConfig,
    load_backbone,
    save_classifier,
)
from affekt.metrics.emotion.score import classify_clips, count_correct
from affekt.runtime.command import run_stage
from affekt.runtime.run import Run, RunConfig
from affekt.runtime.training.optim import OptimConfig, make_optimizer, set_learning_rate
from affekt.runtime.weights import registry as weights

log = logging.getLogger(__name__)


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
    val: ValConfig = field(default_factory=lambda: ValConfig("test_speaker"))


def train(cfg: Config) -> None:
    """Train, from the last checkpoint on where there is one."""
    # Data: training clips and a validation set
    corpus = Corpus(cfg.corpus)
    clips = FaceClips(corpus, "train", cfg.data, cfg.run.seed)
    val_set = val_clips(corpus, cfg.val)
    published = weights.find("fan_backbone") if cfg.pretrained else None

    # Network, optimizer and what a checkpoint holds
    run = Run(cfg)
    model = Fan(cfg.fan, len(corpus.emotions)).to(run.device)
    if published:
        load_backbone(model.backbone, published)
    optimizer = make_optimizer(model.parameters(), cfg.optim)
    run.register(model=model, optimizer=optimizer)

    # Training loop: one label a clip
    for batch in run.batches(clips):
        set_learning_rate(optimizer, cfg.optim, run.step, cfg.run.steps)
        with run.autocast():
            logits = model(unit_range(batch["faces"]))
        loss = functional.cross_entropy(
            logits.float(), batch["label"], label_smoothing=cfg.label_smoothing
        )

        run.backward(loss, optimizer)
        grad_norm = run.take_step(optimizer, cfg.optim.clip_norm)

        # Training accuracy, and the accuracy on validation clips
        right = (logits.argmax(dim=1) == batch["label"]).float().mean()
        run.log(classification=loss, clip_accuracy=right, total=loss, grad_norm=grad_norm)
        if val_set and run.due(cfg.val.every):
            correct = truth_correct(model, cfg, corpus, val_set)
            run.log_now(val_accuracy=correct / len(val_set))

    # Export with sizes and accuracies
    if run.is_main:
        path = save_classifier(cfg.run.out, model, finished(model, cfg, corpus, val_set))
        log.info("wrote %s", path)


def describe(cfg: Config, corpus: Corpus) -> Description:
    """Return the classifier's description, without its accuracies."""
    training = corpus.clips("train")
    return Description(
        fan=cfg.fan,
        emotions=corpus.emotions,
        size=cfg.data.size,
        corpus=corpus.root.name,
        split_sha256=split_hash(training),
        speakers=tuple(sorted({clip.speaker for clip in training})),
    )


def finished(model: Fan, cfg: Config, corpus: Corpus, clips: Sequence[Clip]) -> Description:
    """Return the description with the accuracy on the truth, where there is any to measure."""
    description = describe(cfg, corpus)
    if not clips:
        return description
    correct = truth_correct(model, cfg, corpus, clips)
    return replace(
        description, truth_split=cfg.val.split, truth_clips=len(clips), truth_correct=correct
    )


def truth_correct(model: Fan, cfg: Config, corpus: Corpus, clips: Sequence[Clip]) -> int:
    """Return how many of these true clips the model classifies right; it stays in training mode."""
    device = next(model.parameters()).device
    classifier = Classifier(model.eval(), describe(cfg, corpus), device)
    found = count_correct(*classify_clips(classifier, corpus, clips))
    model.train()
    return found


if __name__ == "__main__":
    sys.exit(run_stage(train, Config, __doc__))
