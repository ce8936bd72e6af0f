"""HEF: a portrait under other expressions and poses (Xu et al. 2023, supplement Sec. 1.3, 1.4).

    python train_face_renderer.py configs/emospace/renderer_256.yaml
    python train_face_renderer.py configs/emospace/ablations/renderer_no_residual.yaml

Needs a prepared corpus (data_prep.prepare) with expression coefficients (data_prep.expression), of
any frame profile; VGG-19's weights in the weights folder, or vgg.weights=random, or
loss.features=effnet_lite0, or loss.perceptual=0. The same command continues a stopped run.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from affekt.media.corpus import Corpus
from affekt.media.face3d.coefficients import open_expression
from affekt.media.validation import ValConfig, evenly_spread, val_clips
from affekt.media.video.tensors import float_pictures
from affekt.nets.efficientnet import EfficientNetLite0
from affekt.nets.gan import (
    non_saturating_discriminator,
    non_saturating_generator,
    r1_penalty,
)
from affekt.nets.perceptual import Vgg, VggConfig
from affekt.runtime.command import run_stage
from affekt.runtime.run import Run, RunConfig
from affekt.runtime.training.checkpoint import Stateful
from affekt.runtime.training.optim import (
    Ema,
    OptimConfig,
    make_optimizer,
    set_learning_rate,
    weighted_sum,
)
from emospace.data.motions import motion_stats
from emospace.data.portraits import PortraitDataConfig, PortraitPairs, portrait_clips
from emospace.inference.renderer import FaceRenderer, FaceRendererDescription, save_description
from emospace.losses import (
    RendererLossConfig,
    flow_anchors,
    perceptual_distance,
    pixel_distance,
    pixel_weights,
    pyramid,
    warped_distance,
)
from emospace.networks.discriminator import Discriminator, DiscriminatorConfig
from emospace.networks.renderer import Level, Renderer, RendererConfig, frame_of
from emospace.renderer_validation import (
    portrait_picture,
    portrait_val_set,
    reenactment_metrics,
    temporal_metrics,
)

Batch = dict[str, Tensor]
Features = Callable[[Tensor], list[Tensor]]


@dataclass(frozen=True)
class Config:
    """A whole run."""

    run: RunConfig
    corpus: Path = Path("data/mead_emospace")
    data: PortraitDataConfig = field(default_factory=PortraitDataConfig)
    renderer: RendererConfig = field(default_factory=RendererConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    vgg: VggConfig = field(default_factory=VggConfig)
    loss: RendererLossConfig = field(default_factory=RendererLossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    discriminator_optim: OptimConfig = field(default_factory=OptimConfig)
    ema_decay: float = 0.0  # a step, of the weights' moving average, which is what is used
    val: ValConfig = field(default_factory=lambda: ValConfig("test_speaker", clips=24))
    val_frames: int = 4  # driving frames of a validation clip, evenly spread
    val_videos: int = 0  # validation clips that are drawn whole, for the temporal metrics

    def __post_init__(self) -> None:
        if self.loss.gan and self.discriminator.size != self.renderer.size:
            raise ValueError(
                f"discriminator.channels are for {self.discriminator.size} px, renderer.size is "
                f"{self.renderer.size}"
            )


def train(cfg: Config) -> None:
    # Data, and how it is normalised
    corpus = Corpus(cfg.corpus)
    about = open_expression(corpus)
    clips = portrait_clips(corpus, "train")
    about.check_clips(clips)
    size, window = cfg.renderer.size, cfg.renderer.window
    items = PortraitPairs(clips, cfg.data, size, window, cfg.run.seed)
    held_out = val_clips(corpus, cfg.val)
    val_set = portrait_val_set(held_out, cfg.val_frames, size, window)
    description = FaceRendererDescription(
        cfg.renderer, motion_stats(clips), about.name, about.sha256
    )

    # Networks and their optimizers
    run = Run(cfg)
    face = about.model if cfg.renderer.prior else None
    renderer = Renderer(cfg.renderer, description.motion, face).to(run.device)
    discriminator = Discriminator(cfg.discriminator).to(run.device) if cfg.loss.gan else None
    features = perceptual_features(cfg, run)
    ema = Ema(renderer, cfg.ema_decay)
    optimizer = make_optimizer(renderer.parameters(), cfg.optim)
    parts: dict[str, Stateful] = {"renderer": renderer, "ema": ema, "optimizer": optimizer}
    if discriminator is not None:
        discriminator_optimizer = make_optimizer(
            discriminator.parameters(), cfg.discriminator_optim
        )
        parts |= {"discriminator": discriminator}
        parts |= {"discriminator_optimizer": discriminator_optimizer}
    run.register(**parts)
    if run.is_main:
        save_description(cfg.run.out, description, face)

    for batch in run.batches(items):
        set_learning_rate(optimizer, cfg.optim, run.step, cfg.run.steps)
        batch = float_pictures(batch)
        real = batch["driving"]

        # Renderer: pictures, flows, and its part of the adversarial game
        with run.autocast():
            source = renderer.encode(batch["source"])
            motions = batch["source_motion"], batch["window"], batch["prior_landmarks"]
            levels = renderer(source, *motions)
            made = frame_of(levels)
            terms = picture_terms(levels, batch, cfg.loss)
            terms |= perceptual_terms(levels, real, cfg.loss, features)
            if discriminator is not None:
                discriminator.requires_grad_(False)
                terms["gan"] = non_saturating_generator(discriminator(made))
        terms["total"] = weighted_sum(terms, cfg.loss)
        run.backward(terms["total"], optimizer)
        terms["grad_norm"] = run.take_step(optimizer, cfg.optim.clip_norm)
        if run.step_done:
            ema.update_parameters(renderer)

        # Discriminator: real against drawn pictures, and every few steps R1
        if discriminator is not None:
            set_learning_rate(
                discriminator_optimizer, cfg.discriminator_optim, run.step, cfg.run.steps
            )
            discriminator.requires_grad_(True)
            with run.autocast():
                outputs = discriminator(real), discriminator(made.detach())
                terms["discriminator"] = total = non_saturating_discriminator(*outputs)
            if cfg.loss.r1 and run.step % cfg.loss.r1_every == 0:
                shown = real.detach().requires_grad_()  # float32: a gradient of gradients
                terms["r1"] = r1_penalty(discriminator(shown), shown)
                total = total + 0.5 * cfg.loss.r1 * cfg.loss.r1_every * terms["r1"]
            run.backward(total, discriminator_optimizer)
            terms["discriminator_grad_norm"] = run.take_step(
                discriminator_optimizer, cfg.discriminator_optim.clip_norm
            )
        run.log(**terms)

        # Metrics of the validation clips when due, with the averaged weights
        if val_set and run.due(cfg.val.every):
            averaged = ema.module.eval()
            assert isinstance(averaged, Renderer)
            metrics = reenactment_metrics(averaged, val_set)
            videos = evenly_spread(held_out, cfg.val_videos) if cfg.val_videos else []
            metrics |= temporal_metrics(FaceRenderer(averaged, description), videos)
            run.log_now(**{f"val_{name}": value for name, value in metrics.items()})
            run.picture("val", portrait_picture(averaged, val_set))


def picture_terms(levels: list[Level], batch: Batch, loss: RendererLossConfig) -> dict[str, Tensor]:
    """Return the terms that compare pixels and flows, those whose weight is not 0."""
    real, made = batch["driving"], frame_of(levels)
    weights = None
    if loss.at_landmarks or loss.in_mouth:
        around = batch["driving_landmarks"], batch["mouth"]
        weights = pixel_weights(*around, loss.at_landmarks, loss.in_mouth)
    terms = {}
    if loss.pixels:
        scaled = None if weights is None else pyramid(weights, loss.scales)
        pyramids = pyramid(made, loss.scales), pyramid(real, loss.scales)
        terms["pixels"] = pixel_distance(*pyramids, scaled)
    moving = [(each.warped, each.flow) for each in levels if each.warped is not None]
    if loss.warped:
        terms["warped"] = warped_distance([warped for warped, _ in moving], real, weights)
    if loss.anchors:
        ends = batch["driving_landmarks"], batch["source_landmarks"]
        found = [flow_anchors(flow, *ends) for _, flow in moving if flow is not None]
        terms["anchors"] = sum(found[1:], found[0]) / len(found)
    return terms


def perceptual_terms(
    levels: list[Level], real: Tensor, loss: RendererLossConfig, features: Features | None
) -> dict[str, Tensor]:
    """Return the terms that compare feature maps, those whose weight is not 0."""
    terms = {}
    for name, shown in (
        ("perceptual", frame_of(levels)),
        ("warped_perceptual", levels[-1].warped),
    ):
        if features is not None and getattr(loss, name) and shown is not None:
            pyramids = pyramid(shown, loss.scales), pyramid(real, loss.scales)
            terms[name] = perceptual_distance(features, *pyramids)
    return terms


def perceptual_features(cfg: Config, run: Run) -> Features | None:
    """Return the frozen network whose feature maps are compared; None where no term does."""
    if not (cfg.loss.perceptual or cfg.loss.warped_perceptual):
        return None
    if cfg.loss.features == "effnet_lite0":
        return EfficientNetLite0().requires_grad_(False).to(run.device).stages
    return Vgg(cfg.vgg).to(run.device)


if __name__ == "__main__":
    sys.exit(run_stage(train, Config, __doc__))
