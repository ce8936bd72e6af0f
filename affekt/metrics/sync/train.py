"""Train SyncNet, the network of LSE-C and LSE-D (Chung and Zisserman 2016).

    python -m affekt.metrics.sync.train configs/metrics/syncnet.yaml
    python -m affekt.metrics.sync.train configs/demo/metrics/syncnet.yaml objective=contrastive

Where the authors' syncnet_v2.model is at hand, figures that are compared with papers are its own;
this trains the same network, of any size, where it is not. Needs a prepared corpus with frames and
sound (data_prep.prepare). The same command continues a stopped run. A finished run holds
syncnet.safetensors; python -m affekt.metrics.sync.score RUN measures it on held-out clips.

Letters: B clips, V windows of a clip's segment.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from affekt.media.corpus import Corpus
from affekt.media.validation import ValConfig, val_clips
from affekt.metrics.sync.data import SyncClips, SyncDataConfig
from affekt.metrics.sync.network import SyncNet, SyncNetConfig, export_syncnet, save_description
from affekt.metrics.sync.score import lag_metrics
from affekt.runtime.command import run_stage
from affekt.runtime.config import ConfigError
from affekt.runtime.optim import OptimConfig, make_optimizer, set_learning_rate
from affekt.runtime.run import Run, RunConfig

Objective = Literal["contrastive", "multi_way"]


@dataclass(frozen=True)
class Config:
    """A whole run."""

    run: RunConfig
    corpus: Path = Path("data/mead")
    network: SyncNetConfig = field(default_factory=SyncNetConfig)
    data: SyncDataConfig = field(default_factory=SyncDataConfig)
    objective: Objective = "contrastive"  # the paper's; multi_way converges sooner
    margin: float = 20.0  # contrastive: ours, the paper does not state it
    temperature: float = 1.0  # multi_way: see `multi_way`
    optim: OptimConfig = field(default_factory=OptimConfig)
    val: ValConfig = field(default_factory=lambda: ValConfig("test_speaker"))


def train(cfg: Config) -> None:
    """Train, from the last checkpoint on where there is one."""
    corpus = Corpus(cfg.corpus)
    if "size" not in corpus.info:
        raise ConfigError(f"{cfg.corpus} was prepared without frames; a sync network needs them")
    # Data: segments of training clips and a validation set
    clips = SyncClips(corpus.clips(split="train"), cfg.network, cfg.data, cfg.run.seed)
    val_set = val_clips(corpus, cfg.val)

    # Network, optimizer and what a checkpoint holds
    run = Run(cfg)
    save_description(cfg.run.out, cfg.network)
    network = SyncNet(cfg.network).to(run.device)
    parameters = [*network.parameters()]
    optimizer = make_optimizer(parameters, cfg.optim)
    run.register(network=network, optimizer=optimizer)

    # Training loop: faces and sound of each segment, all pairs of them
    for batch in run.batches(clips):
        set_learning_rate(optimizer, cfg.optim, run.step, cfg.run.steps)
        video = network.encode_video(batch["faces"].float())
        audio = network.encode_audio(batch["windows"])
        distances = torch.cdist(video, audio, compute_mode="donot_use_mm_for_euclid_dist")
        total = objective(distances, batch["others"], cfg)

        optimizer.zero_grad(set_to_none=True)
        total.backward()
        grad_norm = torch.nn.utils.clip_grad_norm_(parameters, cfg.optim.clip_norm)
        optimizer.step()

        # Share of segments whose own sound is nearest
        own = distances.detach().diagonal(dim1=1, dim2=2)
        found = (own <= distances.detach().amin(dim=2)).float().mean()
        run.log(total=total, own_distance=own.mean(), found=found, grad_norm=grad_norm)
        if val_set and run.due(cfg.val.every):
            metrics = lag_metrics(network, val_set)
            run.log_now(**{f"held_out_{name}": value for name, value in metrics.items()})
    export_syncnet(cfg.run.out, network)


def objective(distances_BVV: Tensor, others_BV: Tensor, cfg: Config) -> Tensor:
    """Return the loss of a batch of segments: one false pair for each genuine one, or all."""
    if cfg.objective == "multi_way":
        return multi_way(distances_BVV, cfg.temperature)
    own = distances_BVV.diagonal(dim1=1, dim2=2)
    false = distances_BVV.gather(2, others_BV[..., None])[..., 0]
    genuine = torch.cat([torch.ones_like(own), torch.zeros_like(false)])
    return contrastive(torch.cat([own, false]), genuine, cfg.margin)


def contrastive(distances: Tensor, genuine: Tensor, margin: float) -> Tensor:
    """Return the contrastive loss of pairs, a scalar.

    Chung and Zisserman 2016, eq. 1: E = 1 / (2 N) sum y d^2 + (1 - y) max(margin - d, 0)^2.

    Args:
        distances: d, any shape, at least 0.
        genuine: y of the same shape: 1 where picture and sound belong together, else 0.
        margin: the distance from which false pairs cost nothing.
    """
    pull = genuine * distances.square()
    push = (1 - genuine) * (margin - distances).clamp(min=0).square()
    return 0.5 * (pull + push).mean()


def multi_way(distances_BVV: Tensor, temperature: float) -> Tensor:
    """Return the cross entropy of each picture's own sound among a segment's, and back; a scalar.

    Chung, Chung and Kang, "Perfect match" (arXiv:1809.08001, Sec. 2): the cross entropy of a
    softmax over similarities. There the similarity is 1 / d; here it is -d / temperature (ours),
    which does not flatten as distances grow. Both directions count alike (ours).

    Args:
        distances_BVV: between picture i and sound j of one clip.
        temperature: the distance that changes a softmax weight by a factor e.
    """
    B, V, _ = distances_BVV.shape
    logits = -distances_BVV / temperature
    own = torch.arange(V, device=logits.device).expand(B, V)
    by_picture = functional.cross_entropy(logits.flatten(0, 1), own.flatten())
    by_sound = functional.cross_entropy(logits.transpose(1, 2).flatten(0, 1), own.flatten())
    return (by_picture + by_sound) / 2


if __name__ == "__main__":
    sys.exit(run_stage(train, Config, __doc__))
