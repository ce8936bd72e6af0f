"""EAMM stage 1, FOMM: a source animated by the keypoints of a driving frame (arXiv:2003.00196).

    python train_fomm.py configs/eamm/fomm_vox256.yaml
    python train_fomm.py configs/demo/eamm/fomm.yaml run.out=runs/fomm_try run.steps=500

Needs a corpus prepared with frame profile eamm (data_prep.prepare), and VGG-19's weights in the
weights folder, or vgg.weights=random, or loss.perceptual=0. The same command continues a stopped
run.
"""

import sys
from dataclasses import dataclass, field

from torch import Tensor

from affekt.media.validation import ValConfig
from affekt.media.video.tensors import float_pictures
from affekt.nets.perceptual import Vgg, VggConfig
from affekt.runtime.command import run_stage
from affekt.runtime.config import ConfigError
from affekt.runtime.run import Run, RunConfig
from affekt.runtime.training.optim import (
    OptimConfig,
    make_optimizer,
    set_learning_rate,
    weighted_sum,
)
from eamm.fomm.data import FrameDataConfig, FramePairs
from eamm.fomm.discriminator import Discriminator, DiscriminatorConfig
from eamm.fomm.losses import (
    Pyramid,
    discriminator_loss,
    equivariance_jacobian,
    equivariance_value,
    generator_loss,
    keypoint_weights,
    landmark_distance,
    perceptual,
    pixels,
)
from eamm.fomm.model import Fomm, FommConfig, ImagePyramid, save_fomm_description
from eamm.fomm.transform import TransformConfig, random_transform
from eamm.fomm.validation import frame_val_set, reenactment_metrics, sample_picture

RELEASE = OptimConfig(lr=2e-4, betas=(0.5, 0.999))  # of all three networks


@dataclass(frozen=True)
class LossConfig:
    """Weights, where 0 switches a term off; the defaults are vox-256's."""

    perceptual: float = 10.0  # of every VGG level and scale
    pixels: float = 0.0  # of every scale; ours
    equivariance_value: float = 10.0
    equivariance_jacobian: float = 10.0
    landmarks: float = 0.0  # ours: keypoints against data.landmarks
    pixels_at_landmarks: float = 0.0  # ours: how much more than others the pixels there count
    gan: float = 0.0  # vox-adv: 1
    feature_matching: float = 10.0  # where gan is not 0
    scales: tuple[int, ...] = (1, 2, 4, 8)  # by how much the compared pictures are made smaller


@dataclass(frozen=True)
class Config:
    """A whole run."""

    run: RunConfig
    data: FrameDataConfig
    fomm: FommConfig = field(default_factory=FommConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    vgg: VggConfig = field(default_factory=VggConfig)
    transform: TransformConfig = field(default_factory=TransformConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    generator_optim: OptimConfig = RELEASE
    detector_optim: OptimConfig = RELEASE
    discriminator_optim: OptimConfig = RELEASE
    val: ValConfig = field(default_factory=lambda: ValConfig("test_speaker", clips=100))
    val_frames: int = 4  # driving frames of a validation clip, evenly spread behind the first


def train(cfg: Config) -> None:
    check_sizes(cfg)

    # Data
    pairs = FramePairs(cfg.data, cfg.fomm.size, cfg.run.seed)
    val_set = frame_val_set(cfg.data, cfg.val, cfg.val_frames, cfg.fomm.size)

    # Networks and their optimizers
    run = Run(cfg)
    fomm = Fomm(cfg.fomm).to(run.device)
    discriminator = Discriminator(cfg.fomm.keypoints.count, cfg.discriminator).to(run.device)
    vgg = Vgg(cfg.vgg).to(run.device) if cfg.loss.perceptual else None
    pyramid = ImagePyramid(cfg.loss.scales).to(run.device)
    generator_optimizer = make_optimizer(fomm.generator.parameters(), cfg.generator_optim)
    detector_optimizer = make_optimizer(fomm.detector.parameters(), cfg.detector_optim)
    discriminator_optimizer = make_optimizer(discriminator.parameters(), cfg.discriminator_optim)
    run.register(
        generator=fomm.generator,
        detector=fomm.detector,
        discriminator=discriminator,
        generator_optimizer=generator_optimizer,
        detector_optimizer=detector_optimizer,
        discriminator_optimizer=discriminator_optimizer,
    )
    if run.is_main:
        save_fomm_description(cfg.run.out, cfg.fomm)

    for batch in run.batches(pairs):
        set_learning_rate(generator_optimizer, cfg.generator_optim, run.step, cfg.run.steps)
        set_learning_rate(detector_optimizer, cfg.detector_optim, run.step, cfg.run.steps)
        set_learning_rate(discriminator_optimizer, cfg.discriminator_optim, run.step, cfg.run.steps)
        batch = float_pictures(batch)
        source, driving = batch["source"], batch["driving"]

        # Reconstruction of the driving frames, equivariance of their keypoints
        with run.autocast():
            source_keypoints, keypoints = fomm.detector(source), fomm.detector(driving)
            generated = fomm.generator(source, source_keypoints, keypoints)
            made, real = pyramid(generated.prediction), pyramid(driving)
            places = batch.get("driving_landmarks")
            terms = reconstruction_terms(cfg.loss, vgg, made, real, places)
            if cfg.loss.equivariance_value or cfg.loss.equivariance_jacobian:
                transform = random_transform(len(driving), cfg.transform, driving)
                warped = fomm.detector(transform.frames(driving, cfg.fomm.align_corners))
                terms["equivariance_value"] = equivariance_value(keypoints, warped, transform)
                terms["equivariance_jacobian"] = equivariance_jacobian(keypoints, warped, transform)
            if cfg.loss.landmarks:
                terms["landmarks"] = landmark_distance(source_keypoints, batch["source_landmarks"])
                terms["landmarks"] = terms["landmarks"] + landmark_distance(
                    keypoints, batch["driving_landmarks"]
                )
            if cfg.loss.gan:  # generator's part of the adversarial game
                discriminator.requires_grad_(False)
                place = keypoints.value.detach()
                fake = discriminator(made, place)
                # The truth once, for both losses; but spectral norm's weights change at every use
                discriminator.requires_grad_(not cfg.discriminator.spectral_norm)
                on_real = discriminator(real, place)
                terms |= generator_loss(on_real, fake)

        # One step of generator and detector
        terms["total"] = weighted_sum(terms, cfg.loss)
        run.backward(terms["total"], generator_optimizer, detector_optimizer)
        for name, optimizer, optim in (
            ("generator", generator_optimizer, cfg.generator_optim),
            ("detector", detector_optimizer, cfg.detector_optim),
        ):
            terms[f"{name}_grad_norm"] = run.take_step(optimizer, optim.clip_norm)

        # One step of the discriminator
        if cfg.loss.gan:
            discriminator.requires_grad_(True)
            with run.autocast():
                detached = {factor: frames.detach() for factor, frames in made.items()}
                if cfg.discriminator.spectral_norm:
                    on_real = discriminator(real, place)
                fake = discriminator(detached, place)
                terms["discriminator"] = discriminator_loss(on_real, fake)
            run.backward(terms["discriminator"], discriminator_optimizer)
            terms["discriminator_grad_norm"] = run.take_step(
                discriminator_optimizer, cfg.discriminator_optim.clip_norm
            )

        run.log(**terms)

        # Metrics of the validation clips when due
        if val_set and run.due(cfg.val.every):
            fomm.eval()
            metrics = reenactment_metrics(fomm, val_set)
            run.log_now(**{f"val_{name}": value for name, value in metrics.items()})
            run.picture("val", sample_picture(fomm, val_set))
            fomm.train()


def reconstruction_terms(
    config: LossConfig, vgg: Vgg | None, made: Pyramid, real: Pyramid, places_BK2: Tensor | None
) -> dict[str, Tensor]:
    """Return the terms that compare pictures, those whose weight is not 0."""
    terms = {}
    if vgg is not None:
        terms["perceptual"] = perceptual(vgg, made, real)
    if config.pixels:
        extra = config.pixels_at_landmarks
        weights = None if places_BK2 is None else keypoint_weights(places_BK2, real, extra)
        terms["pixels"] = pixels(made, real, weights)
    return terms


def check_sizes(cfg: Config) -> None:
    """Refuse a size of pictures that the networks cannot halve.

    Raises:
        ConfigError: which network, its size and the multiple that is wanted.
    """
    sizes = cfg.fomm
    found, count = len(cfg.data.landmarks), sizes.keypoints.count
    if cfg.loss.landmarks and found != count:
        raise ConfigError(f"data.landmarks has {found} groups for {count} keypoints")
    wanted = {
        "keypoints": sizes.keypoints.downscale << sizes.keypoints.hourglass.blocks,
        "motion": sizes.motion.downscale << sizes.motion.hourglass.blocks,
        "generator": 1 << sizes.generator.downsamplings,
    }
    for name, multiple in wanted.items():
        if sizes.size % multiple:
            raise ConfigError(
                f"fomm.size is {sizes.size}, wanted a multiple of {multiple} for fomm.{name}; "
                "change the size, or its downscale or levels"
            )


if __name__ == "__main__":
    sys.exit(run_stage(train, Config, __doc__))
