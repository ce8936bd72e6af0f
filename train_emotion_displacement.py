"""EAMM stage 3: an emotion source displaces A2FD's neutral keypoints (supplement A.1, A.2).

    python train_emotion_displacement.py configs/eamm/displacement.yaml
    python train_emotion_displacement.py configs/demo/eamm/displacement.yaml run.out=runs/again

Needs a corpus prepared with frame profile eamm and its poses (data_prep.prepare, data_prep.pose), a
run of train_fomm.py and one of train_a2fd.py on it, both of which stay as they are. Which keypoints
move with emotion depends on that FOMM: run python -m eamm.displacement.keypoint_choice first and
name its file as `keypoint_choice`, or give indices as `model.keypoint_ids`. The same command
continues a stopped run.
"""

import shutil
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from affekt.media.corpus import Corpus
from affekt.media.validation import ValConfig
from affekt.media.video.tensors import float_pictures
from affekt.nets.fingerprint import fingerprint
from affekt.runtime.command import run_stage
from affekt.runtime.config import ConfigError, load_config
from affekt.runtime.files import replacing
from affekt.runtime.run import Run, RunConfig
from affekt.runtime.training.optim import OptimConfig, make_optimizer, set_learning_rate
from eamm.a2fd.network import A2fd, check_fomm, load_a2fd
from eamm.augment import AugmentConfig
from eamm.displacement.data import DisplacementDataConfig, EmotionClips, cached_keypoints
from eamm.displacement.keypoint_choice import FILE, read_choice
from eamm.displacement.network import (
    DESCRIPTION,
    Displacement,
    DisplacementConfig,
    DisplacementDescription,
    apply_displacement,
    save_displacement_description,
    select,
)
from eamm.displacement.validation import displacement_metrics, prepare, val_pairs
from eamm.fomm.keypoints import Keypoints
from eamm.fomm.model import Fomm, load_fomm
from eamm.losses import Reduction, classification, error_ratios, keypoint_terms


@dataclass(frozen=True)
class LossConfig:
    """Weights, where 0 switches a term off, and what the norms are."""

    value: float = 1.0
    jacobian: float = 1.0
    reduction: Reduction = "frame"  # see eamm/losses.py
    classification: float = 0.0  # cross entropy of the emotion feature; needs model.classes


@dataclass(frozen=True)
class Config:
    """A whole run."""

    run: RunConfig
    corpus: Path = Path("data/mead_eamm")
    fomm: Path = Path("runs/eamm/fomm")  # whose detector is the teacher
    a2fd: Path = Path("runs/eamm/a2fd")  # that gives the neutral keypoints
    # A file of eamm.displacement.keypoint_choice; its keypoints replace model.keypoint_ids.
    keypoint_choice: Path | None = None
    model: DisplacementConfig = field(default_factory=DisplacementConfig)
    keypoint_gains: tuple[float, ...] = ()  # of the displacements at inference; empty: 1
    data: DisplacementDataConfig = field(default_factory=DisplacementDataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    val: ValConfig = field(default_factory=lambda: ValConfig("test_speaker", clips=28))


def train(cfg: Config) -> None:
    # Data, and the frozen networks whose keypoints are displaced and wanted
    corpus = Corpus(cfg.corpus)
    fomm, a2fd = load_fomm(cfg.fomm), load_a2fd(cfg.a2fd)
    check_fomm(a2fd.config, fomm.config, fomm.detector)
    sizes = model_config(cfg, fomm, corpus.emotions)
    ids = sizes.keypoint_ids
    clips = EmotionClips(corpus, cfg.data, cfg.augment, fomm.config.size, cfg.run.seed)
    pairs = val_pairs(corpus, cfg.val)

    # The network and its optimizer; the run folder describes it for inference
    run = Run(cfg)
    for network in (fomm, a2fd):
        freeze(network).to(run.device)
    model = Displacement(sizes).to(run.device)
    optimizer = make_optimizer(model.parameters(), cfg.optim)
    description = DisplacementDescription(
        sizes,
        fomm.config.size,
        cfg.keypoint_gains,
        cfg.augment.mouth,
        corpus.emotions if sizes.classes else (),
        fingerprint(fomm.detector),
    )
    refuse_other_teacher(cfg.run.out, description)
    run.register(model=model, optimizer=optimizer)
    if run.is_main:
        save_displacement_description(cfg.run.out, description)
        if cfg.keypoint_choice is not None:
            with replacing(cfg.run.out / FILE) as temporary:
                shutil.copyfile(cfg.keypoint_choice, temporary)
    if cfg.data.cached_pictures:
        with run.main_first():
            clips.cache = cached_keypoints(cfg.run.out / "keypoints", clips, fomm, a2fd)
    val_set = [prepare(fomm, a2fd, pair) for pair in pairs]

    for batch in run.batches(clips):
        set_learning_rate(optimizer, cfg.optim, run.step, cfg.run.steps)

        # A2FD's keypoints, displaced by the emotion frames
        batch = float_pictures(batch)
        neutral, teacher = keypoints_of(batch, fomm, a2fd)
        with run.autocast():
            features = model.extractor(batch["emotion"].flatten(0, 1))
            displaced = apply_displacement(neutral, model.predict(features, neutral), ids)

        # Losses of the displaced keypoints and, where it has a weight, of the emotion's class
        ours, still, truth = (select(each, ids) for each in (displaced, neutral, teacher))
        terms = keypoint_terms(ours, truth, cfg.loss.reduction)
        total = cfg.loss.value * terms["value"] + cfg.loss.jacobian * terms["jacobian"]
        if cfg.loss.classification:
            labels = batch["label"].repeat_interleave(cfg.data.frames)
            terms["classification"] = classification(model.classify(features), labels)
            total = total + cfg.loss.classification * terms["classification"]

        run.backward(total, optimizer)
        grad_norm = run.take_step(optimizer, cfg.optim.clip_norm)

        # Metrics of the step, and of the validation clips when due
        ratios = {f"{name}_ratio": each for name, each in error_ratios(ours, still, truth).items()}
        run.log(**terms, **ratios, total=total, grad_norm=grad_norm)
        if val_set and run.due(cfg.val.every):
            metrics = displacement_metrics(model, description, val_set)
            run.log_now(**{f"val_{name}": each for name, each in metrics.items()})


def model_config(cfg: Config, fomm: Fomm, emotions: tuple[str, ...]) -> DisplacementConfig:
    """Return the network's sizes for this FOMM, with the measured choice of keypoints.

    Raises:
        ConfigError: the sizes contradict the FOMM or the corpus, or an index is out of range.
    """
    K = fomm.config.keypoints.count
    if cfg.model.keypoints != K:
        raise ConfigError(f"model.keypoints is {cfg.model.keypoints}, {cfg.fomm} has {K}")
    if cfg.loss.classification and cfg.model.classes != len(emotions):
        raise ConfigError(
            f"model.classes is {cfg.model.classes}, {cfg.corpus} has {len(emotions)} emotions"
        )
    if cfg.keypoint_choice is None:
        return cfg.model
    ids = read_choice(cfg.keypoint_choice, fomm.detector)
    try:
        return replace(cfg.model, keypoint_ids=ids)
    except ValueError as error:
        raise ConfigError(f"{cfg.keypoint_choice} does not fit model: {error}") from None


def refuse_other_teacher(run_dir: Path, wanted: DisplacementDescription) -> None:
    """Refuse to go on with a run whose FOMM or choice of keypoints is another one since.

    Raises:
        ConfigError: the folder's displacement belongs to another detector, or displaces others.
    """
    path = run_dir / DESCRIPTION
    if not path.is_file():
        return
    existing = load_config(DisplacementDescription, path)
    if existing.teacher != wanted.teacher:
        raise ConfigError(
            f"{run_dir} displaces the keypoints of detector {existing.teacher}, this FOMM's is "
            f"{wanted.teacher}; give this run another run.out, or delete that folder"
        )
    before, now = existing.displacement.keypoint_ids, wanted.displacement.keypoint_ids
    if before != now:
        raise ConfigError(
            f"{run_dir} displaces the keypoints {list(before)}, now {list(now)} were chosen; give "
            "this run another run.out, or delete that folder"
        )


def freeze(network: nn.Module) -> nn.Module:
    """Return the network in evaluation mode and without gradients: nothing of it changes.

    The release leaves its frozen networks in training mode, so that their batch norm drifts.
    """
    return network.requires_grad_(False).eval()


@torch.no_grad()
def keypoints_of(batch: dict[str, Tensor], fomm: Fomm, a2fd: A2fd) -> tuple[Keypoints, Keypoints]:
    """Return A2FD's neutral and the teacher's keypoints of a batch, its frames in one axis."""
    if "teacher_value" in batch:
        neutral, teacher = (
            Keypoints(*(batch[f"{who}_{what}"].flatten(0, 1) for what in Keypoints._fields))
            for who in ("neutral", "teacher")
        )
        return neutral, teacher
    found, _ = a2fd(batch["identity"], batch["windows"], batch["pose"])
    neutral = Keypoints(*(each.flatten(0, 1) for each in found))
    return neutral, fomm.detector(batch["driving"].flatten(0, 1))


if __name__ == "__main__":
    sys.exit(run_stage(train, Config, __doc__))
