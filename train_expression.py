"""emospace, EAC: expression coefficients from sound, emotion code and intensity (Xu et al. 2023).

    python train_expression.py configs/emospace/expression.yaml
    python train_expression.py configs/emospace/ablations/expression_plain_token.yaml run.seed=1

Needs a prepared corpus with log-mels and expression coefficients (data_prep.prepare, data_prep.mel,
data_prep.expression) and a run of train_emotion_space.py on the same emotions, which stays as it
is: its codes are computed once, before the first step. The same command continues a stopped run.
Afterwards: python -m emospace.analysis.expression RUN --space RUN --corpus CORPUS.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from affekt.media.corpus import Clip, Corpus
from affekt.media.face3d.coefficients import CorpusExpression, open_expression
from affekt.media.validation import ValConfig, val_clips
from affekt.nets.fingerprint import fingerprint
from affekt.runtime.command import run_stage
from affekt.runtime.config import ConfigError, load_config
from affekt.runtime.run import Run, RunConfig
from affekt.runtime.training.optim import (
    OptimConfig,
    make_optimizer,
    set_learning_rate,
    weighted_sum,
)
from emospace.data.expressions import ExpressionDataConfig, ExpressionWindows
from emospace.inference.emotion_codes import check_space, emotion_codes, prompt_code
from emospace.inference.expression import (
    DESCRIPTION,
    ExpressionDescription,
    ExpressionPredictor,
    save_expression_description,
)
from emospace.losses import ExpressionLossConfig, expression_losses
from emospace.networks.emotion_space import EmotionSpace, load_emotion_space
from emospace.networks.expression import ExpressionNetConfig, ExpressionTransformer
from emospace.validation import expression_metrics, expression_val_set, plot_weights


@dataclass(frozen=True)
class Config:
    """A whole run."""

    run: RunConfig
    corpus: Path = Path("data/mead_emospace")
    emotion_space: Path = Path("runs/emospace/emotion_space")  # whose codes are given
    data: ExpressionDataConfig = field(default_factory=ExpressionDataConfig)
    model: ExpressionNetConfig = field(default_factory=ExpressionNetConfig)
    loss: ExpressionLossConfig = field(default_factory=ExpressionLossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    val: ValConfig = field(default_factory=lambda: ValConfig("test_speaker", clips=24))


def train(cfg: Config) -> None:
    # Data, and the frozen emotion space
    corpus = Corpus(cfg.corpus)
    shared = open_expression(corpus)
    clips, held_out = training_clips(corpus), val_clips(corpus, cfg.val)
    shared.check_clips([*clips, *held_out])
    face = shared.model if cfg.loss.landmarks or held_out else None
    space = load_emotion_space(cfg.emotion_space).requires_grad_(False)
    check_space(space, [*clips, *held_out], corpus)
    description = describe(cfg, space, shared)

    # The space's codes, once; items of training and validation
    run = Run(cfg)
    space = space.to(run.device)
    kinds, pictures = cfg.data.codes_from, cfg.data.pictures
    with run.main_first():
        codes = emotion_codes(space, clips, pictures, kinds, cfg.run.out / "codes")
    items = ExpressionWindows(clips, codes, cfg.data, cfg.model.mel_rows, cfg.run.seed)
    asked = {emotion: prompt_code(space, emotion) for emotion in {c.emotion for c in held_out}}
    val_set = expression_val_set(held_out, corpus, asked, shared) if held_out else []

    # Network, optimizer, checkpoint
    model = ExpressionTransformer(cfg.model, space.code_dim, shared.modes)
    model.set_stats(*items.stats())
    model = model.to(run.device)
    optimizer = make_optimizer(model.parameters(), cfg.optim)
    if run.is_main:
        save_expression_description(cfg.run.out, description)
    run.register(model=model, optimizer=optimizer)
    predictor = ExpressionPredictor(model, description)
    modes = None if face is None else torch.from_numpy(face.expression).float().to(run.device)

    for batch in run.batches(items):
        set_learning_rate(optimizer, cfg.optim, run.step, cfg.run.steps)
        model.train()

        # Expression of every frame of the windows
        with run.autocast():
            predicted = model(*inputs_of(batch), batch["known"])
        truth, std = batch["expression"], model.expression_std
        terms = expression_losses(predicted, truth, std, modes, cfg.loss)
        total = weighted_sum(terms, cfg.loss)

        # Update
        run.backward(total, optimizer)
        grad_norm = run.take_step(optimizer, cfg.optim.clip_norm)

        # Logs, and validation
        run.log(**terms, total=total, grad_norm=grad_norm)
        if val_set and face is not None and run.due(cfg.val.every):
            model.eval()
            figures = expression_metrics(predictor, val_set, face)
            run.log_now(**{f"val_{name}": value for name, value in figures.items()})
            weights = model.attention(*(each[:1] for each in inputs_of(batch)))
            run.picture("attention", plot_weights(weights[:, 0].mean(dim=0).cpu().numpy()))


def training_clips(corpus: Corpus) -> list[Clip]:
    """Return the clips of split train.

    Raises:
        ConfigError: there is none.
    """
    clips = corpus.clips("train")
    if not clips:
        raise ConfigError(f"{corpus.root} has no clips in split 'train'; see its manifest.jsonl")
    return clips


def describe(cfg: Config, space: EmotionSpace, shared: CorpusExpression) -> ExpressionDescription:
    """Return what the run folder holds of its network besides the weights.

    Raises:
        ConfigError: the run was begun with another face model or another emotion space.
    """
    description = ExpressionDescription(
        cfg.model,
        space.code_dim,
        shared.modes,
        cfg.data.window,
        cfg.data.overlap,
        space.emotions,
        shared.name,
        shared.sha256,
        fingerprint(space),
    )
    path = cfg.run.out / DESCRIPTION
    if path.is_file():
        before = load_config(ExpressionDescription, path)
        for what in ("sha256", "emotion_space"):
            there, here = getattr(before, what), getattr(description, what)
            if there != here:
                name = {"sha256": "face model", "emotion_space": "emotion space"}[what]
                raise ConfigError(
                    f"{cfg.run.out} was begun with the {name} {there[:16]}, now it is {here[:16]}; "
                    "give this run another run.out, or delete that folder"
                )
    return description


def inputs_of(batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return what the network takes of a batch: sound, code, intensity, reference."""
    return batch["mel"], batch["code"], batch["intensity"], batch["reference"]


if __name__ == "__main__":
    sys.exit(run_stage(train, Config, __doc__))
