"""EAMM stage 2: Audio2Facial-Dynamics, keypoints from a portrait, audio and pose (supplement A).

    python train_a2fd.py configs/eamm/a2fd.yaml
    python train_a2fd.py configs/eamm/a2fd_finetune.yaml optim.lr=1e-4

Needs a corpus prepared with frame profile eamm (data_prep.prepare) and poses (data_prep.pose), and
a FOMM: a run of train_fomm.py or what eamm.released.importer wrote. The perceptual term needs the
weights of VGG-19 in the weights folder, or vgg.weights=random, or loss.perceptual=0. The same
command continues a stopped run. One that fine-tunes the generator is a FOMM for later stages, too.
"""

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from affekt.media.corpus import Clip, Corpus
from affekt.media.validation import ValConfig, evenly_spread
from affekt.media.video.tensors import float_pictures
from affekt.nets.fingerprint import fingerprint
from affekt.nets.perceptual import Vgg, VggConfig
from affekt.runtime.command import run_stage
from affekt.runtime.config import ConfigError, load_config
from affekt.runtime.run import Run, RunConfig
from affekt.runtime.training.checkpoint import Stateful
from affekt.runtime.training.optim import (
    OptimConfig,
    make_optimizer,
    set_learning_rate,
    weighted_sum,
)
from eamm.a2fd.data import A2fdDataConfig, DrivenClips, driven_clips, pose_stats
from eamm.a2fd.layers import A2fdConfig, A2fdWidths
from eamm.a2fd.network import (
    DESCRIPTION,
    A2fd,
    check_fomm,
    config_for,
    load_a2fd,
    lsuv_init,
    save_a2fd_description,
)
from eamm.a2fd.teacher import cache_targets, source_stats
from eamm.a2fd.validation import keypoint_metrics, keypoint_val_set, sample_picture
from eamm.fomm.keypoints import Keypoints
from eamm.fomm.losses import perceptual
from eamm.fomm.model import Fomm, ImagePyramid, load_fomm, save_fomm_description
from eamm.losses import ImitationReduction, imitation

INIT_ITEMS = 64  # training items whose inputs `init: lsuv` normalises activations on

Batch = dict[str, Tensor]
Learner = tuple[torch.optim.Optimizer, OptimConfig]


@dataclass(frozen=True)
class LossConfig:
    """Weights, where 0 switches a term off (supplement A.2)."""

    value: float = 1.0
    jacobian: float = 1.0
    heatmap: float = 10.0  # lambda_h
    perceptual: float = 0.1  # lambda_per
    perceptual_every: int = 4  # frames: 0, 4, 8, 12 of 16 are rendered, as in the release
    # Of value, jacobian and heatmap: norm as printed; mean, the release's, wants other weights.
    reduction: ImitationReduction = "norm"  # see eamm/losses.py


@dataclass(frozen=True)
class Config:
    """A whole run."""

    run: RunConfig
    corpus: Path = Path("data/lrw")
    fomm: Path = Path("runs/eamm/fomm")  # its detector gives the targets
    start_from: Path | None = None  # an A2FD run whose weights are taken, for the second phase
    generator: Literal["frozen", "finetune"] = "frozen"  # finetune: EAMM release's second phase
    # fomm: the heads begin as the detector's; frozen: they stay it, ours; fresh: random weights.
    # The release trains heads of A2FD's own; paper and release leave their initialisation open.
    heads: Literal["fomm", "frozen", "fresh"] = "fomm"
    init: Literal["torch", "lsuv"] = "torch"  # of the encoders and the LSTM's input weights
    # Compute the detector's keypoints of all frames before the first step, which needs data.jitter
    # 0, instead of those of each batch.
    cache_targets: bool = False
    data: A2fdDataConfig = field(default_factory=A2fdDataConfig)
    model: A2fdWidths = field(default_factory=A2fdWidths)
    vgg: VggConfig = field(default_factory=VggConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    generator_optim: OptimConfig = field(default_factory=OptimConfig)
    val: ValConfig = field(default_factory=lambda: ValConfig("test_speaker", clips=24))

    def __post_init__(self) -> None:
        if self.cache_targets and self.data.jitter:
            raise ValueError("cached targets are of unchanged colours; set data.jitter=0")
        if self.generator == "finetune" and not self.loss.perceptual:
            raise ValueError("the generator learns from the perceptual term, whose weight is 0")


def train(cfg: Config) -> None:
    # Data, and the frozen FOMM whose detector gives the targets
    corpus = Corpus(cfg.corpus)
    clips = driven_clips(corpus, "train", cfg.data.emotion)
    fomm = load_fomm(cfg.fomm)
    config = model_config(cfg, fomm, clips)
    val = val_clips_of(corpus, cfg)

    run = Run(cfg)
    device = run.device
    fomm = fomm.to(device).requires_grad_(False)
    targets = None
    if cfg.cache_targets:
        with run.main_first():
            targets = cache_targets(fomm, clips, cfg.run.out / "teacher")
    pictures = targets is None or cfg.loss.perceptual > 0
    items = DrivenClips(clips, cfg.data, fomm.config.size, cfg.run.seed, targets, pictures)
    val_set = keypoint_val_set(fomm, val) if val else None

    # Networks and their optimizers
    model = first_model(cfg, config, fomm)
    if cfg.init == "lsuv" and cfg.start_from is None:
        lsuv_init(model, *(torch.stack(part) for part in first_inputs(items)))
    model = model.to(device)
    optimizer = make_optimizer(trainable(model), cfg.optim)
    parts: dict[str, Stateful] = {"model": model, "optimizer": optimizer}
    learners: list[Learner] = [(optimizer, cfg.optim)]
    if cfg.generator == "finetune":
        fomm.generator.requires_grad_(True)
        generator_optimizer = make_optimizer(trainable(fomm.generator), cfg.generator_optim)
        learners.append((generator_optimizer, cfg.generator_optim))
        parts |= {"detector": fomm.detector, "generator": fomm.generator}
        parts |= {"generator_optimizer": generator_optimizer}
    run.register(**parts)
    if run.is_main:
        save_a2fd_description(cfg.run.out, config)
        if cfg.generator == "finetune":
            save_fomm_description(cfg.run.out, fomm.config)
    vgg = Vgg(cfg.vgg).to(device) if cfg.loss.perceptual else None
    pyramid = ImagePyramid().to(device)

    for batch in run.batches(items):
        for each, optim in learners:
            set_learning_rate(each, optim, run.step, cfg.run.steps)
        model.train()
        fomm.generator.train(cfg.generator == "finetune")

        # Keypoints against the detector's, and every few frames the picture rendered from them
        batch = float_pictures(batch)
        with run.autocast():
            keypoints, heatmap = model(batch["source"], batch["windows"], batch["pose"])
        terms = imitation((keypoints, heatmap), targets_of(fomm, batch), cfg.loss.reduction)
        if vgg is not None:
            with run.autocast():
                prediction, truth = rendered(fomm, keypoints, batch, cfg.loss.perceptual_every)
                terms["perceptual"] = perceptual(vgg, pyramid(prediction), pyramid(truth))
        total = weighted_sum(terms, cfg.loss)

        # One step of A2FD and, where it is fine-tuned, of the generator
        run.backward(total, *(each for each, _ in learners))
        norms = [run.take_step(each, optim.clip_norm) for each, optim in learners]

        # Metrics of the step, and of the validation clips when due
        run.log(**terms, total=total, grad_norm=norms[0])
        if val_set is not None and run.due(cfg.val.every):
            model.eval()
            fomm.eval()
            metrics = keypoint_metrics(model, val_set)
            run.log_now(**{f"val_{name}": value for name, value in metrics.items()})
            run.picture("val", sample_picture(model, fomm, val_set[0]))


def val_clips_of(corpus: Corpus, cfg: Config) -> list[Clip]:
    """Return the validation clips of the training clips' emotion; none for the split "none"."""
    if cfg.val.split == "none":
        return []
    clips = driven_clips(corpus, cfg.val.split, cfg.data.emotion)
    return evenly_spread(clips, cfg.val.clips or len(clips))


def model_config(cfg: Config, fomm: Fomm, clips: list[Clip]) -> A2fdConfig:
    """Return the network's sizes, and the pose constants that are kept with them.

    Raises:
        ConfigError: the run folder or `start_from` holds an A2FD of other widths or another FOMM.
    """
    config = config_for(cfg.model, fomm.config, fingerprint(fomm.detector))
    if cfg.data.pose == "normalized":
        config = replace(config, pose=pose_stats(clips))
    if cfg.model.residual:
        config = replace(config, source=source_stats(fomm, clips))
    for folder in (cfg.start_from, cfg.run.out):
        if folder is not None and (folder / DESCRIPTION).is_file():
            existing = load_config(A2fdConfig, folder / DESCRIPTION)
            check_fomm(existing, fomm.config, fomm.detector)
            if existing.widths != cfg.model:
                raise ConfigError(f"{folder} holds {existing.widths}, this run wants {cfg.model}")
            config = replace(existing, teacher=config.teacher)
    return config


def first_model(cfg: Config, config: A2fdConfig, fomm: Fomm) -> A2fd:
    """Return the network as it is before the first step, on the CPU."""
    if cfg.start_from is not None:
        model = load_a2fd(cfg.start_from)
    else:
        model = A2fd(config)
        model.start_from(fomm.detector, heads=cfg.heads != "fresh")
    model.heads.requires_grad_(cfg.heads != "frozen")
    return model


def first_inputs(items: DrivenClips) -> tuple[list[Tensor], list[Tensor]]:
    """Return windows and poses of some items."""
    sampled = [items[index] for index in range(INIT_ITEMS)]
    return [item["windows"] for item in sampled], [item["pose"] for item in sampled]


def trainable(network: nn.Module) -> list[nn.Parameter]:
    """Return what an optimizer may change of a network."""
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


@torch.no_grad()
def targets_of(fomm: Fomm, batch: Batch) -> tuple[Keypoints, Tensor]:
    """Return the frozen detector's keypoints and heatmaps of the driving frames."""
    if "heatmap" in batch:
        return Keypoints(batch["value"], batch["jacobian"]), batch["heatmap"]
    B, T = batch["frames"].shape[:2]
    keypoints, heatmap = fomm.detector.with_heatmap(batch["frames"].flatten(0, 1))
    value, jacobian, heatmap = (part.unflatten(0, (B, T)) for part in (*keypoints, heatmap))
    return Keypoints(value, jacobian), heatmap


def rendered(fomm: Fomm, keypoints: Keypoints, batch: Batch, every: int) -> tuple[Tensor, Tensor]:
    """Return every `every`-th driving frame as the generator renders it, and as it is."""
    truth = batch["frames"][:, ::every]
    n = truth.shape[1]
    with torch.no_grad():
        still = fomm.detector(batch["source"])
    source_kp = Keypoints(*(part.repeat_interleave(n, dim=0) for part in still))
    driving_kp = Keypoints(*(part[:, ::every].flatten(0, 1) for part in keypoints))
    sources = batch["source"].repeat_interleave(n, dim=0)
    return fomm.generator(sources, source_kp, driving_kp).prediction, truth.flatten(0, 1)


if __name__ == "__main__":
    sys.exit(run_stage(train, Config, __doc__))
