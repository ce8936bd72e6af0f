"""EVP stage 1: content and emotion codes by cross reconstruction (paper Sec. 3.2, eq. 2-6).

    python train_disentangle.py configs/evp/disentangle.yaml
    python train_disentangle.py configs/evp/ablations/disentangle_no_cross.yaml optim.lr=2e-4

Needs a prepared corpus with aligned sentences (data_prep.pairs), and the runs of both encoder
pretrainings unless `content_from` or `emotion_from` is null. The same command continues a stopped
run.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path

import torch

from affekt.media.corpus import Corpus
from affekt.media.validation import ValConfig, val_clips
from affekt.runtime.command import run_stage
from affekt.runtime.run import Run, RunConfig, restore
from affekt.runtime.training.optim import OptimConfig, make_optimizer, set_learning_rate
from evp.data.quads import (
    SCHEMES,
    Aligner,
    CepstralOffset,
    Quads,
    SchemeName,
    Timing,
    check_aligner,
)
from evp.data.speech import labels_of
from evp.inference.emotion_codes import check_emotions
from evp.losses import DisentanglementLossConfig, disentanglement_losses, needed_of_quads
from evp.networks.disentangle import Disentanglement, DisentanglementConfig
from evp.networks.encoders import EncodersDescription, load_pretrained, save_description
from evp.validation import class_accuracy, plot_windows


@dataclass(frozen=True)
class Config:
    """A whole run."""

    run: RunConfig
    corpus: Path = Path("data/mead")
    content_from: Path | None = Path("runs/evp/pretrain_content")  # null: from scratch
    emotion_from: Path | None = Path("runs/evp/pretrain_emotion")
    model: DisentanglementConfig = field(default_factory=DisentanglementConfig)
    aligner: Aligner | None = None  # that the pairs must be made by (data_prep.pairs); null: any
    sampling: SchemeName = "paper"
    shift: int = 0  # up to so many rows of 10 ms between frames, 0 to 3; ours
    cepstral_offset: float = 0.0  # deviation, at E_c's input; see evp.data.quads.CepstralOffset
    timing: Timing = "reference"  # see evp.data.quads.Quads; own is ours
    loss: DisentanglementLossConfig = field(default_factory=DisentanglementLossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    val: ValConfig = field(default_factory=ValConfig)


def train(cfg: Config) -> None:
    # data
    corpus = Corpus(cfg.corpus)
    aligner = check_aligner(corpus, cfg.aligner)
    quads = Quads(corpus, "train", cfg.sampling, cfg.run.seed, cfg.shift, cfg.timing)
    data = CepstralOffset(quads, cfg.cepstral_offset, cfg.run.seed)
    val_set = val_clips(corpus, cfg.val)
    labels = labels_of(val_set, corpus)

    # networks, optimizer, checkpoint
    run = Run(cfg)
    run.record(aligner=aligner)
    if run.is_main:
        save_description(cfg.run.out, EncodersDescription(cfg.model.encoders, corpus.emotions))
    model = Disentanglement(cfg.model, len(corpus.emotions)).to(run.device)
    start_from_pretrained(cfg, model, corpus)
    optimizer = make_optimizer(model.parameters(), cfg.optim)
    run.register(
        content_encoder=model.encoders.content,
        emotion_encoder=model.encoders.emotion,
        decoder=model.decoder,
        classifier=model.classifier,
        optimizer=optimizer,
    )

    scheme, weights = SCHEMES[cfg.sampling], cfg.loss.weights()
    needed = needed_of_quads(scheme, cfg.loss)
    for batch in run.batches(data):
        set_learning_rate(optimizer, cfg.optim, run.step, cfg.run.steps)

        # codes and reconstructions of the quads, and the terms of eq. 6
        windows = batch["windows"]
        with run.autocast():
            outputs = model(windows, batch["content_windows"], needed)
            terms = disentanglement_losses(outputs, windows, batch["emotions"], scheme, cfg.loss)
        total = torch.stack(
            [weights[name] * terms[name] for name in weights if name in terms]
        ).sum()

        # update
        run.backward(total, optimizer)
        grad_norm = run.take_step(optimizer, cfg.optim.clip_norm)

        # logs, and validation
        run.log(**terms, total=total, grad_norm=grad_norm)
        if val_set and run.due(cfg.val.every):
            accuracy = class_accuracy(model.encoders.emotion, model.classifier, val_set, labels)
            run.log_now(val_accuracy=accuracy)
            reconstructed = model.reconstruct(windows[:4], scheme.self_terms + scheme.cross_terms)
            run.picture("windows", plot_windows(reconstructed.cpu().numpy()))


def start_from_pretrained(cfg: Config, model: Disentanglement, corpus: Corpus) -> None:
    """Copy the pretrained encoders and the classifier; what decoded in pretraining is discarded."""
    if cfg.content_from is not None:
        load_pretrained(model.encoders, "content", cfg.content_from)
    if cfg.emotion_from is not None:
        check_emotions(cfg.emotion_from, corpus)
        load_pretrained(model.encoders, "emotion", cfg.emotion_from)
        restore(cfg.emotion_from, classifier=model.classifier)


if __name__ == "__main__":
    sys.exit(run_stage(train, Config, __doc__))
