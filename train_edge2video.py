"""EVP stage 3: portrait frames from guidance maps (paper Sec. 3.3, supplement 1.2, eq. 2-5).

    python train_edge2video.py configs/evp/edge2video.yaml data.speaker=M003
    python train_edge2video.py configs/demo/evp/edge2video.yaml data.speaker=W902 run.out=runs/w902

Needs a corpus prepared with frame profile portrait (data_prep.prepare), and VGG-19's weights in the
weights folder, or vgg.weights=random, or loss.vgg=0. The video discriminator and the losses of flow
need the corpus's optical flow (data_prep.flow). The same command continues a stopped run.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from affekt.media.validation import ValConfig
from affekt.nets.perceptual import Vgg, VggConfig
from affekt.nets.warp import warp_by_flow
from affekt.runtime.command import run_stage
from affekt.runtime.run import Run, RunConfig
from affekt.runtime.training.optim import (
    Ema,
    OptimConfig,
    make_optimizer,
    set_learning_rate,
    weighted_sum,
)
from evp.data.portraits import (
    GuidanceConfig,
    PortraitClips,
    VideoDataConfig,
    stored_size,
    training_clips,
)
from evp.inference.renderer import RendererDescription, make_generator, save_description
from evp.losses import (
    VGG_WEIGHTS,
    VideoLossConfig,
    discriminator_loss,
    flow_distance,
    generator_loss,
    reconstruction,
    vgg_distance,
    warp_distance,
)
from evp.networks.discriminators import (
    DiscriminatorConfig,
    Discriminators,
    VideoDiscriminatorConfig,
)
from evp.networks.generator import GeneratorConfig
from evp.rollout import (
    GeneratedSequences,
    SequenceConfig,
    Sequences,
    generate_sequences,
    set_trainable,
    training_phase,
)
from evp.validation import frame_metrics, plot_samples, render_val, val_frames


@dataclass(frozen=True)
class Config:
    """A whole run."""

    run: RunConfig
    data: VideoDataConfig
    guidance: GuidanceConfig = field(default_factory=GuidanceConfig)
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    sequence: SequenceConfig = field(default_factory=SequenceConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    video_discriminator: VideoDiscriminatorConfig = field(default_factory=VideoDiscriminatorConfig)
    vgg: VggConfig = field(default_factory=VggConfig)
    loss: VideoLossConfig = field(default_factory=VideoLossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    discriminator_optim: OptimConfig = field(default_factory=OptimConfig)
    ema_decay: float = 0.0  # a step, of the weights' moving average, which is what is used
    val: ValConfig = field(default_factory=ValConfig)

    def __post_init__(self) -> None:
        for wrong, message in self._contradictions():
            if wrong:
                raise ValueError(message)

    def _contradictions(self) -> Iterator[tuple[bool, str]]:
        """Yield contradictions of settings: whether there is one, and its message."""
        # Length of the training sequences
        frames, previous = self.data.frames, self.generator.previous
        wanted = previous + (self.video_discriminator.shortest if self.loss.gan_video else 1)
        yield (
            frames < wanted,
            f"data.frames is {frames}, wanted {wanted} or more: {previous} before the first "
            "generated one (generator.previous), and what the video discriminator's scales want",
        )
        # Settings that only a temporal generator has
        moving = bool(self.loss.flow or self.loss.warp or self.loss.hallucinated)
        yield (
            not previous and (moving or self.sequence != SequenceConfig()),
            "loss.flow, loss.warp, loss.hallucinated and sequence are for a generator with "
            "history; set generator.previous, or leave them at their defaults",
        )
        yield (
            bool(self.sequence.enhancer_steps) and not self.generator.enhancers,
            "sequence.enhancer_steps are for enhancers, and generator.enhancers is 0",
        )
        # Batch norm with activations computed twice
        again = self.sequence.checkpointing or bool(self.sequence.enhancer_steps)
        yield (
            again and self.generator.norm == "batch",
            "batch norm counts every picture of its input: twice under sequence.checkpointing, and "
            "in networks that sequence.enhancer_steps leave alone; set generator.norm=instance",
        )
        yield (
            bool(self.loss.feature_matching) and not (self.loss.gan or self.loss.gan_video),
            "loss.feature_matching compares features of discriminators, and there is none; set "
            "loss.gan or loss.gan_video",
        )


def train(cfg: Config) -> None:
    # data: runs of frames with their guidance maps, and flow where a loss needs it
    clips = training_clips(cfg.data)
    frames = PortraitClips(
        clips, cfg.guidance, cfg.data.frames, cfg.data.shift, cfg.run.seed, cfg.loss.need_flow
    )
    val_set = val_frames(cfg.data, cfg.val, cfg.guidance, cfg.generator.previous)

    # networks, optimizers, checkpoint
    run = Run(cfg)
    device = run.device
    generator = make_generator(cfg.guidance, cfg.generator).to(device)
    discriminators = Discriminators(
        cfg.guidance.channels,
        cfg.discriminator if cfg.loss.gan else None,
        cfg.video_discriminator if cfg.loss.gan_video else None,
    ).to(device)
    vgg = Vgg(cfg.vgg).to(device) if cfg.loss.vgg else None
    ema = Ema(generator, cfg.ema_decay)
    optimizer = make_optimizer(generator.parameters(), cfg.optim)
    discriminator_optimizer = make_optimizer(discriminators.parameters(), cfg.discriminator_optim)
    run.register(
        generator=generator,
        discriminator=discriminators,
        ema=ema,
        optimizer=optimizer,
        discriminator_optimizer=discriminator_optimizer,
    )
    description = RendererDescription(
        cfg.generator, cfg.guidance, clips[0].speaker, stored_size(cfg.data.corpora)
    )
    if run.is_main:
        save_description(cfg.run.out, description)

    for batch in run.batches(frames):
        # learning rates and what this phase of coarse-to-fine training updates
        set_learning_rate(optimizer, cfg.optim, run.step, cfg.run.steps)
        set_learning_rate(discriminator_optimizer, cfg.discriminator_optim, run.step, cfg.run.steps)
        phase = training_phase(run.step, cfg.generator.enhancers, cfg.sequence)
        set_trainable(generator, phase)
        sequences = Sequences.of(batch).at_level(phase.level)
        truth = sequences.after(cfg.generator.previous)
        adversarial = cfg.loss.gan + cfg.loss.gan_video > 0 and run.step >= cfg.loss.gan_from

        # generator: reconstruction, flow, VGG and adversarial terms
        with run.autocast():
            generated = generate_sequences(generator, sequences, cfg.sequence, phase.level)
            terms = picture_terms(generated, truth, cfg.loss)
            if generated.flow is not None and cfg.loss.need_flow:
                terms |= motion_terms(generated.flow, sequences, cfg.loss)
            if vgg is not None:
                terms["vgg"] = perceptual_term(vgg, generated.frames, truth.frames, cfg.vgg)
            if adversarial:
                condition = truth.guidance, truth.flow, truth.confidence
                real = discriminators(truth.frames, *condition)  # for the discriminators' loss, too
                discriminators.requires_grad_(False)
                fake = discriminators(generated.frames, *condition)
                terms |= generator_loss(fake, real if cfg.loss.feature_matching else None)
        # L of supplement eq. 5, with the optional terms that are switched on
        terms["total"] = weighted_sum(terms, cfg.loss)
        run.backward(terms["total"], optimizer)
        terms["grad_norm"] = run.take_step(optimizer, cfg.optim.clip_norm)
        if run.step_done:
            ema.update_parameters(generator)

        # discriminators: real against generated frames
        if adversarial:
            discriminators.requires_grad_(True)
            with run.autocast():
                fake = discriminators(generated.frames.detach(), *condition)
                losses = discriminator_loss(real, fake)
            total = torch.stack(list(losses.values())).sum()
            terms |= losses
            run.backward(total, discriminator_optimizer)
            terms["discriminator_grad_norm"] = run.take_step(
                discriminator_optimizer, cfg.discriminator_optim.clip_norm
            )

        # validation with the averaged weights, at the full size
        run.log(**terms)
        if val_set is not None and phase.level == 0 and run.due(cfg.val.every):
            ema.module.eval()
            rendered = render_val(ema.module, val_set)
            generator.train()  # without an average it is ema.module
            run.log_now(**frame_metrics(rendered, val_set))
            run.picture("val", plot_samples(val_set.guidance, rendered, val_set.frames))


def picture_terms(
    generated: GeneratedSequences, truth: Sequences, loss: VideoLossConfig
) -> dict[str, Tensor]:
    """Return the reconstruction terms of generated frames (supplement eq. 2)."""
    target = truth.frames.flatten(0, 1)
    terms = {
        "reconstruction": reconstruction(generated.frames.flatten(0, 1), target, loss.reduction)
    }
    if generated.hallucinated is not None and loss.hallucinated:
        hallucinated = generated.hallucinated.flatten(0, 1)
        terms["hallucinated"] = reconstruction(hallucinated, target, loss.reduction)
    return terms


def motion_terms(
    flow_BT2HW: Tensor, sequences: Sequences, loss: VideoLossConfig
) -> dict[str, Tensor]:
    """Return the flow terms: distance to the stored flow, and the error of warping by it."""
    first = sequences.frames.shape[1] - flow_BT2HW.shape[1]
    truth, flow = sequences.after(first), flow_BT2HW.flatten(0, 1)
    assert truth.flow is not None
    assert truth.confidence is not None
    confidence = truth.confidence.flatten(0, 1)
    terms = {}
    if loss.flow:
        terms["flow"] = flow_distance(flow, truth.flow.flatten(0, 1), confidence)
    if loss.warp:
        before = sequences.frames[:, first - 1 : -1].flatten(0, 1)
        terms["warp"] = warp_distance(
            warp_by_flow(before, flow), truth.frames.flatten(0, 1), confidence
        )
    return terms


def perceptual_term(vgg: Vgg, generated: Tensor, truth: Tensor, config: VggConfig) -> Tensor:
    """Return L_vgg of frames (B, T, 3, H, W) in [-1, 1] (supplement eq. 4)."""
    one, other = (vgg((frames.flatten(0, 1) + 1) / 2) for frames in (generated, truth))
    return vgg_distance(one, other, [VGG_WEIGHTS[layer] for layer in config.layers])


if __name__ == "__main__":
    sys.exit(run_stage(train, Config, __doc__))
