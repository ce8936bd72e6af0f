"""EAMM stage 2: Audio2Facial-Dynamics, keypoints from a portrait, sound and pose (supplement A).

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
from affekt.nets.perceptual import Vgg, VggConfig
from affekt.runtime.checkpoint import Stateful
from affekt.runtime.command import run_stage
from affekt.runtime.config import ConfigError, load_config
from affekt.runtime.optim import OptimConfig, make_optimizer, set_learning_rate
from affekt.runtime.run import Run, RunConfig
from eamm.a2fd.data import A2fdDataConfig, DrivenClips, driven_clips, pose_standard
from eamm.a2fd.initialisation import even_out
from eamm.a2fd.layers import A2fdConfig, A2fdWidths
from eamm.a2fd.losses import Reduction, imitation
from eamm.a2fd.network import (
    DESCRIPTION,
    A2fd,
    check_fomm,
    config_for,
    fingerprint,
    load_a2fd,
    save_a2fd_description,
)
from eamm.a2fd.teacher import source_standard, taught_frames
from eamm.a2fd.validation import (
    HeldOut,
    driven_from_first,
    keypoint_figures,
    sample_picture,
    spread,
)
from eamm.fomm.keypoints import Keypoints
from eamm.fomm.losses import perceptual
from eamm.fomm.model import Fomm, ImagePyramid, load_fomm, save_fomm_description

EVENED = 64  # items that first weights are evened out on

Batch = dict[str, Tensor]
Learner = tuple[nn.Module, torch.optim.Optimizer, OptimConfig]


@dataclass(frozen=True)
class LossConfig:
    """Weights, where 0 switches a term off (supplement A.2); of means, see a2fd/losses.py."""

    value: float = 1.0
    jacobian: float = 1.0
    heatmap: float = 10.0  # lambda_h
    perceptual: float = 0.1  # lambda_per
    perceptual_every: int = 4  # frames: 0, 4, 8, 12 of 16 are rendered, as in the release
    reduction: Reduction = "mean"


@dataclass(frozen=True)
class Config:
    """A whole run."""

    run: RunConfig
    corpus: Path = Path("data/lrw")
    fomm: Path = Path("runs/eamm/fomm")  # whose detector is imitated and whose generator draws
    start_from: Path | None = None  # an A2FD run whose weights are taken, for the second phase
    generator: Literal["frozen", "finetune"] = "frozen"  # finetune: EAMM release's second phase
    # fomm: the heads begin as the detector's; frozen: they stay it, ours; fresh: random weights.
    # The release trains heads of A2FD's own; paper and release do not say how they begin.
    heads: Literal["fomm", "frozen", "fresh"] = "fomm"
    first_weights: Literal["torch", "even"] = "torch"  # even: see eamm/a2fd/initialisation.py
    teacher: Literal["loop", "cached"] = "loop"  # cached: once for all frames, without jitter
    data: A2fdDataConfig = field(default_factory=A2fdDataConfig)
    model: A2fdWidths = field(default_factory=A2fdWidths)
    vgg: VggConfig = field(default_factory=VggConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    generator_optim: OptimConfig = field(default_factory=OptimConfig)
    held_out: HeldOut = field(default_factory=HeldOut)

    def __post_init__(self) -> None:
        if self.teacher == "cached" and self.data.jitter:
            raise ValueError("a cached teacher sees unchanged colours; set data.jitter=0")
        if self.generator == "finetune" and not self.loss.perceptual:
            raise ValueError("the generator learns from the perceptual term, whose weight is 0")


def train(cfg: Config) -> None:
    corpus = Corpus(cfg.corpus)
    clips = driven_clips(corpus, "train", cfg.data.emotion)
    fomm = load_fomm(cfg.fomm)
    config = model_config(cfg, fomm, clips)
    held_out = cfg.held_out.split != "none" and spread(
        driven_clips(corpus, cfg.held_out.split, cfg.data.emotion), cfg.held_out.clips
    )

    run = Run(cfg)
    device = run.device
    fomm = fomm.to(device).requires_grad_(False)
    taught = (
        taught_frames(fomm, clips, cfg.run.out / "teacher") if cfg.teacher == "cached" else None
    )
    pictures = taught is None or cfg.loss.perceptual > 0
    items = DrivenClips(clips, cfg.data, fomm.config.size, cfg.run.seed, taught, pictures)
    measured = driven_from_first(fomm, held_out) if held_out else None

    model = first_model(cfg, config, fomm)
    if cfg.first_weights == "even" and cfg.start_from is None:
        even_out(model, *(torch.stack(part) for part in first_inputs(items)))
    model = model.to(device)
    optimizer = make_optimizer(learned(model), cfg.optim)
    parts: dict[str, Stateful] = {"model": model, "optimizer": optimizer}
    learners: list[Learner] = [(model, optimizer, cfg.optim)]
    if cfg.generator == "finetune":
        fomm.generator.requires_grad_(True)
        generator_optimizer = make_optimizer(learned(fomm.generator), cfg.generator_optim)
        learners.append((fomm.generator, generator_optimizer, cfg.generator_optim))
        parts |= {"detector": fomm.detector, "generator": fomm.generator}
        parts |= {"generator_optimizer": generator_optimizer}
        save_fomm_description(cfg.run.out, fomm.config)
    run.register(**parts)
    save_a2fd_description(cfg.run.out, config)
    vgg = Vgg(cfg.vgg).to(device) if cfg.loss.perceptual else None
    pyramid = ImagePyramid().to(device)

    for batch in run.batches(items):
        for _, each, optim in learners:
            set_learning_rate(each, optim, run.step, cfg.run.steps)
        model.train()
        fomm.generator.train(cfg.generator == "finetune")
        keypoints, heatmap = model(batch["source"], batch["windows"], batch["pose"])
        terms = imitation((keypoints, heatmap), teacher_of(fomm, batch), cfg.loss.reduction)
        if vgg is not None:
            prediction, truth = rendered(fomm, keypoints, batch, cfg.loss.perceptual_every)
            terms["perceptual"] = perceptual(vgg, pyramid(prediction), pyramid(truth))
        total = torch.stack([getattr(cfg.loss, name) * term for name, term in terms.items()]).sum()

        for _, each, _ in learners:
            each.zero_grad(set_to_none=True)
        total.backward()
        norms = [
            nn.utils.clip_grad_norm_(learned(network), optim.clip_norm)
            for network, _, optim in learners
        ]
        for _, each, _ in learners:
            each.step()

        run.log(**terms, total=total, grad_norm=norms[0])
        if measured is not None and run.due(cfg.held_out.every):
            model.eval()
            fomm.eval()
            figures = keypoint_figures(model, measured)
            run.log_now(**{f"held_out_{name}": figure for name, figure in figures.items()})
            run.picture("held_out", sample_picture(model, fomm, measured[0]))


def model_config(cfg: Config, fomm: Fomm, clips: list[Clip]) -> A2fdConfig:
    """Return the network's sizes, and the pose constants that are kept with them.

    Raises:
        ConfigError: the run folder or `start_from` holds an A2FD of other widths or another FOMM.
    """
    config = config_for(cfg.model, fomm.config, fingerprint(fomm.detector))
    if cfg.data.pose == "standardised":
        config = replace(config, pose=pose_standard(clips))
    if cfg.model.residual:
        config = replace(config, source=source_standard(fomm, clips))
    for folder in (cfg.start_from, cfg.run.out):
        if folder is not None and (folder / DESCRIPTION).is_file():
            known = load_config(A2fdConfig, folder / DESCRIPTION)
            check_fomm(known, fomm.config, fomm.detector)
            if known.widths != cfg.model:
                raise ConfigError(f"{folder} holds {known.widths}, this run wants {cfg.model}")
            config = replace(known, teacher=config.teacher)
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
    drawn = [items[draw] for draw in range(EVENED)]
    return [item["windows"] for item in drawn], [item["pose"] for item in drawn]


def learned(network: nn.Module) -> list[nn.Parameter]:
    """Return what an optimizer may change of a network."""
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


@torch.no_grad()
def teacher_of(fomm: Fomm, batch: Batch) -> tuple[Keypoints, Tensor]:
    """Return what the frozen detector sees in the driving frames, from the batch if it is there."""
    if "heatmap" in batch:
        return Keypoints(batch["value"], batch["jacobian"]), batch["heatmap"]
    B, T = batch["frames"].shape[:2]
    keypoints, heatmap = fomm.detector.with_heatmap(batch["frames"].flatten(0, 1))
    value, jacobian, heatmap = (part.unflatten(0, (B, T)) for part in (*keypoints, heatmap))
    return Keypoints(value, jacobian), heatmap


def rendered(fomm: Fomm, keypoints: Keypoints, batch: Batch, every: int) -> tuple[Tensor, Tensor]:
    """Return every `every`-th driving frame as the generator draws it, and as it is."""
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
