"""EVP stage 2: landmarks of a talking face from content and emotion codes (paper Sec. 3.3, eq. 7).

    python train_audio2lm.py configs/evp/audio2lm.yaml
    python train_audio2lm.py configs/evp/ablations/audio2lm_finetune.yaml optim.lr=2e-4

Needs a prepared corpus with landmarks (data_prep.prepare) and a run of train_disentangle.py. The
same command continues a stopped run. Afterwards: python -m evp.inference.emotion_codes RUN.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from affekt.media.corpus import Clip, Corpus
from affekt.media.faces.geometry import View
from affekt.media.validation import ValConfig, val_clips
from affekt.runtime.command import run_stage
from affekt.runtime.run import Run, RunConfig
from affekt.runtime.training.optim import OptimConfig, make_optimizer, set_learning_rate
from evp.data.speech import EmotionFrom, FrameCodes, LandmarkClips, clips_of
from evp.inference.emotion_codes import check_emotions, frame_codes, sound_codes
from evp.landmark_space import fit_space, unflatten
from evp.losses import Norm, Reduction, distance, velocity
from evp.networks.audio2lm import (
    Audio2Landmark,
    Audio2LandmarkConfig,
    EmotionCode,
    PredictorDescription,
    predict_faces,
    save_network,
)
from evp.networks.encoders import (
    Encoders,
    EncodersDescription,
    load_encoders,
    save_description,
)
from evp.validation import landmark_metrics, plot_faces

PLOTTED = 4  # frames of a batch, one a sequence


@dataclass(frozen=True)
class LandmarkLossConfig:
    """Weights, where 0 switches a term off, and what the norms are."""

    position: float = 1.0  # eq. 7
    velocity: float = 0.0  # ours: see losses.velocity
    norm: Norm = "l2"  # the release has l2_squared
    reduction: Reduction = "sample"  # see losses.distance; a sample is a frame


@dataclass(frozen=True)
class Config:
    """A whole run."""

    run: RunConfig
    corpus: Path = Path("data/mead")
    encoders: Path = Path("runs/evp/disentangle")  # the run whose encoders are taken
    content_encoder: Literal["frozen", "finetune"] = "frozen"  # the release fine-tunes both
    emotion_encoder: Literal["frozen", "finetune"] = "frozen"
    # Of each window; the mean over the sequence; or the mean over another clip of that speaker and
    # emotion (ours). In use too the code is of each window, or a mean: `EmotionCode`.
    emotion_from: EmotionFrom = "window"
    # Compute the codes of all training windows before the first step, which needs frozen encoders,
    # instead of those of each batch: 1.5 kB a frame at the paper's size. Equal to rounding.
    cache_codes: bool = False
    view: View = "2d"  # how landmarks are aligned; 3d takes the head's rotation out
    frames: int = 16  # of a training sequence; the release's
    model: Audio2LandmarkConfig = field(default_factory=Audio2LandmarkConfig)
    loss: LandmarkLossConfig = field(default_factory=LandmarkLossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    val: ValConfig = field(default_factory=ValConfig)

    def __post_init__(self) -> None:
        if self.cache_codes and "finetune" in (self.content_encoder, self.emotion_encoder):
            raise ValueError(
                "cached codes are those of encoders that stay as they are; set both encoders to "
                "frozen, or cache_codes=false"
            )


def train(cfg: Config) -> None:
    # data
    corpus = Corpus(cfg.corpus)
    check_emotions(cfg.encoders, corpus)
    space = fit_space(corpus, cfg.view, cfg.model.components)
    train_clips = clips_of(corpus, "train")
    clips = LandmarkClips(train_clips, space, cfg.view, cfg.frames, cfg.emotion_from, cfg.run.seed)
    val_set = val_clips(corpus, cfg.val)

    # networks, optimizer, checkpoint
    run = Run(cfg)
    encoders = load_encoders(cfg.encoders).to(run.device)
    sizes = encoders.config
    model = Audio2Landmark(cfg.model, sizes.content.dim + sizes.emotion.dim, space).to(run.device)
    emotion_code: EmotionCode = "window" if cfg.emotion_from == "window" else "clip"
    if run.is_main:
        save_description(cfg.run.out, EncodersDescription(sizes, corpus.emotions))
        save_network(cfg.run.out, PredictorDescription(cfg.model, cfg.view, emotion_code), space)
    parameters = [*model.parameters()]
    parameters += trainable(encoders.content, cfg.content_encoder)
    parameters += trainable(encoders.emotion, cfg.emotion_encoder)
    optimizer = make_optimizer(parameters, cfg.optim)
    run.register(
        model=model,
        content_encoder=encoders.content,
        emotion_encoder=encoders.emotion,
        optimizer=optimizer,
    )

    if cfg.cache_codes:
        parts = encoders.content, encoders.emotion
        clips.codes = FrameCodes(*(frame_codes(each, train_clips) for each in parts))

    def predict(clip: Clip) -> NDArray[np.float32]:
        (code,) = sound_codes(encoders.emotion, [clip.windows()], emotion_code)
        neutral = space.neutral_of(clip.speaker)
        return predict_faces(model, encoders.content, clip.windows(), code, neutral)

    for batch in run.batches(clips):
        set_learning_rate(optimizer, cfg.optim, run.step, cfg.run.steps)

        # faces from the codes of sound and emotion
        with run.autocast():
            content, codes = codes_of(batch, encoders)
            emotion = pooled(codes, emotion_code)
            faces, truth = model(content, emotion, batch["neutral"]), batch["landmarks"]

        # eq. 7, and the distance of motions
        norm, reduction = cfg.loss.norm, cfg.loss.reduction
        terms = {"position": distance(faces.flatten(0, 1), truth.flatten(0, 1), norm, reduction)}
        total = cfg.loss.position * terms["position"]
        if cfg.loss.velocity:
            terms["velocity"] = velocity(faces, truth, norm, reduction)
            total = total + cfg.loss.velocity * terms["velocity"]

        # update
        run.backward(total, optimizer)
        grad_norm = run.take_step(optimizer, cfg.optim.clip_norm)

        # logs, and validation
        run.log(**terms, total=total, grad_norm=grad_norm)
        if val_set and run.due(cfg.val.every):
            run.log_now(**landmark_metrics(predict, val_set, space, cfg.view))
            shown = [unflatten(f[:PLOTTED, -1].detach().cpu().numpy()) for f in (truth, faces)]
            run.picture("faces", plot_faces(*shown))


def trainable(encoder: nn.Module, mode: Literal["frozen", "finetune"]) -> list[nn.Parameter]:
    """Prepare an encoder and return what the optimizer may change.

    A frozen encoder stays in evaluation mode: its batch statistics do not move either.
    """
    encoder.train(mode == "finetune")
    encoder.requires_grad_(mode == "finetune")
    return [*encoder.parameters()] if mode == "finetune" else []


def codes_of(batch: dict[str, Tensor], encoders: Encoders) -> tuple[Tensor, Tensor]:
    """Return content codes (B, T, C) and emotion codes (B, T, E) of a batch's windows."""
    if "content" in batch:
        return batch["content"], batch["emotion"]
    return encoders.content(batch["windows"]), encoders.emotion(batch["emotion_windows"])


def pooled(codes: Tensor, kind: EmotionCode) -> Tensor:
    """Return emotion codes (B, T, E) as they are, or all of a sequence as their mean."""
    return codes if kind == "window" else codes.mean(dim=1, keepdim=True).expand_as(codes)


if __name__ == "__main__":
    sys.exit(run_stage(train, Config, __doc__))
