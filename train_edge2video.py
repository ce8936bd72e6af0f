"""EVP stage 3: portrait frames from guidance maps (paper Sec. 3.3, supplement 1.2, eq. 2-5).

    python train_edge2video.py configs/evp/edge2video.yaml data.speaker=M003
    python train_edge2video.py configs/demo/evp/edge2video.yaml data.speaker=W902 run.out=runs/w902

Needs a corpus prepared with frame profile portrait (data_prep.prepare), and VGG-19's weights in the
weights folder, or vgg.weights=random, or loss.vgg=0. The same command continues a stopped run.
"""

import sys
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from evp.discriminator import Discriminator, DiscriminatorConfig
from evp.generator import (
    Generator,
    GeneratorConfig,
    GuidanceConfig,
    Image,
    RendererDescription,
    averaged,
    render,
    save_description,
)
from evp.video_data import (
    HeldOutFrames,
    Measured,
    PortraitClips,
    VideoDataConfig,
    measured_frames,
    training_clips,
)
from evp.video_losses import (
    VGG_WEIGHTS,
    Reduction,
    lsgan_discriminator,
    lsgan_generator,
    reconstruction,
    vgg_distance,
)
from media.vgg import Vgg, VggConfig
from metrics.image import psnr, ssim
from runtime.optim import OptimConfig, make_optimizer, set_learning_rate
from runtime.run import Run, RunConfig
from runtime.stage import run_stage

PICTURED = 4  # held-out frames in a sample picture
EPSILON = 1e-9  # of a distance that another is divided by


@dataclass(frozen=True)
class LossConfig:
    """Weights, where 0 switches a term off (supplement 2.1: lambda_recon = lambda_vgg = 2)."""

    gan: float = 1.0
    gan_from: int = 1  # the step at which the adversarial game begins
    reconstruction: float = 2.0
    vgg: float = 2.0
    reduction: Reduction = "rms"  # of the reconstruction; see video_losses.reconstruction


@dataclass(frozen=True)
class Config:
    """A whole run."""

    run: RunConfig
    data: VideoDataConfig
    guidance: GuidanceConfig = field(default_factory=GuidanceConfig)
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    vgg: VggConfig = field(default_factory=VggConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    discriminator_optim: OptimConfig = field(default_factory=OptimConfig)
    average: float = 0.0  # decay a step of the weights' moving average, which is what is used
    precision: Literal["float32", "bfloat16"] = "float32"  # bfloat16: autocast
    held_out: HeldOutFrames = field(default_factory=HeldOutFrames)


def train(cfg: Config) -> None:
    clips = training_clips(cfg.data)
    frames = PortraitClips(clips, cfg.guidance, cfg.data.frames, cfg.data.shift, cfg.run.seed)
    measured = measured_frames(cfg.data, cfg.held_out, cfg.guidance)

    run = Run(cfg)
    device = run.device
    generator = Generator(cfg.guidance.channels, cfg.generator).to(device)
    discriminator = Discriminator(cfg.guidance.channels, cfg.discriminator).to(device)
    vgg = Vgg(cfg.vgg).to(device) if cfg.loss.vgg else None
    layer_weights = [VGG_WEIGHTS[layer] for layer in cfg.vgg.layers]
    average = averaged(generator, cfg.average)
    optimizer = make_optimizer(generator.parameters(), cfg.optim)
    discriminator_optimizer = make_optimizer(discriminator.parameters(), cfg.discriminator_optim)
    run.keep(
        generator=generator,
        discriminator=discriminator,
        average=average,
        optimizer=optimizer,
        discriminator_optimizer=discriminator_optimizer,
    )
    description = RendererDescription(cfg.generator, cfg.guidance, clips[0].speaker)
    save_description(cfg.run.out, description)
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=cfg.precision == "bfloat16")

    for batch in run.batches(frames):
        set_learning_rate(optimizer, cfg.optim, run.step, cfg.run.steps)
        set_learning_rate(discriminator_optimizer, cfg.discriminator_optim, run.step, cfg.run.steps)
        truth, guidance = batch["frames"].flatten(0, 1), batch["guidance"].flatten(0, 1)
        adversarial = cfg.loss.gan > 0 and run.step >= cfg.loss.gan_from

        with autocast:
            generated = generator(guidance).float()
            terms = {"reconstruction": reconstruction(generated, truth, cfg.loss.reduction)}
            total = cfg.loss.reconstruction * terms["reconstruction"]
            if vgg is not None:
                made, real = (vgg((frames + 1) / 2) for frames in (generated, truth))
                terms["vgg"] = vgg_distance(made, real, layer_weights)
                total = total + cfg.loss.vgg * terms["vgg"]
            if adversarial:
                discriminator.requires_grad_(False)
                terms["gan"] = lsgan_generator(discriminator(generated, guidance))
                total = total + cfg.loss.gan * terms["gan"]
        terms["total"] = total
        terms["grad_norm"] = take_step(optimizer, total, generator, cfg.optim)
        average.update_parameters(generator)

        if adversarial:
            discriminator.requires_grad_(True)
            with autocast:
                real = discriminator(truth, guidance)
                fake = discriminator(generated.detach(), guidance)
                terms["discriminator"] = lsgan_discriminator(real, fake)
            terms["discriminator_grad_norm"] = take_step(
                discriminator_optimizer,
                terms["discriminator"],
                discriminator,
                cfg.discriminator_optim,
            )

        run.log(**terms)
        if measured is not None and run.due(cfg.held_out.every):
            average.module.eval()
            shown = render(average.module, measured.guidance)
            run.record(**held_out_figures(shown, measured))
            run.picture("held_out", sample_picture(measured.guidance, shown, measured.frames))


def take_step(
    optimizer: torch.optim.Optimizer, loss: Tensor, network: nn.Module, config: OptimConfig
) -> Tensor:
    """Change the network by the loss's gradient; return the gradient's norm before clipping."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(network.parameters(), config.clip_norm)
    optimizer.step()
    return norm


def held_out_figures(result: Image, measured: Measured) -> dict[str, float]:
    """Return SSIM and PSNR of the result, and both against the nearest training frames."""
    ours, looked_up = (compared(each, measured.frames) for each in (result, measured.nearest))
    return {
        "held_out_ssim": ours["ssim"],
        "held_out_psnr": ours["psnr"],
        "held_out_dssim_ratio": (1 - ours["ssim"]) / max(1 - looked_up["ssim"], EPSILON),
        "held_out_psnr_gain": ours["psnr"] - looked_up["psnr"],
    }


def compared(result: Image, truth: Image) -> dict[str, float]:
    """Return mean SSIM and PSNR of frames (N, H, W, 3) against the true ones."""
    pairs = list(zip(result, truth, strict=True))
    return {
        "ssim": float(np.mean([ssim(*pair) for pair in pairs])),
        "psnr": float(np.mean([psnr(*pair) for pair in pairs])),
    }


def sample_picture(guidance: Image, result: Image, truth: Image) -> Image:
    """Return a few frames below each other: plain guidance map, result, truth."""
    chosen = np.linspace(0, len(truth) - 1, PICTURED).round().astype(int)
    plain = np.repeat(guidance[chosen, -1, :, :, None], 3, axis=3)
    rows = np.concatenate([plain, result[chosen], truth[chosen]], axis=2)
    return np.concatenate(list(rows), axis=0)


if __name__ == "__main__":
    sys.exit(run_stage(train, Config, __doc__))
