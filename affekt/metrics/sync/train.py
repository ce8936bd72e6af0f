"""Train SyncNet, the network of LSE-C and LSE-D (Chung and Zisserman 2016).

    python -m affekt.metrics.sync.train configs/metrics/syncnet.yaml
    python -m affekt.metrics.sync.train configs/demo/metrics/syncnet.yaml objective=contrastive

Where the authors' syncnet_v2.model is at hand, figures that are compared with papers are its own;
this trains the same network, of any size, where it is not. Needs a prepared corpus with frames and
sound (data_prep.prepare). The same command continues a stopped run. A finished run holds
syncnet.safetensors; python -m affekt.metrics.sync.score RUN measures it on held-out clips.

Augmentation as the paper describes it ("Out of time", Sec. 4: a volume within 10 %; random
cropping, flipping and a shift of colour, the same for all frames of a clip); its strengths are
ours. Letters: B clips, V windows of a clip's segment, S pixels a side.
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from affekt.arrays import Array, Image
from affekt.media.audio.mfcc import FRAME_STEP, PADDING, WINDOW_STEP
from affekt.media.corpus import Clip, Corpus
from affekt.media.validation import ValConfig, val_clips
from affekt.metrics.sync.network import (
    WINDOW_FRAMES,
    SyncNet,
    SyncNetConfig,
    export_syncnet,
    save_description,
)
from affekt.metrics.sync.score import (
    FULL_SCALE,
    Square,
    crop_square,
    cut_faces,
    lag_metrics,
    row_windows,
)
from affekt.runtime.command import run_stage
from affekt.runtime.config import ConfigError
from affekt.runtime.run import Run, RunConfig
from affekt.runtime.training.optim import OptimConfig, make_optimizer, set_learning_rate

Objective = Literal["contrastive", "multi_way"]


SILENCE = math.log(np.finfo(np.float64).eps)  # the log energy of digital silence, whatever scale
SCALE = 2 * math.log(FULL_SCALE)  # added to the log energy by samples of 16 bits


@dataclass(frozen=True)
class SyncDataConfig:
    """What a segment holds and how it is changed; 0 leaves it as it is."""

    windows: int = 16  # V; also the reach of false partners, in frames
    move: float = 0.05  # to the sides and up, in sides of the square
    zoom: float = 0.05  # of the side, larger or smaller
    flip: float = 0.5  # how often a segment is mirrored
    colour: float = 0.1  # of each channel's values, brighter or darker
    volume: float = 0.1  # of the amplitude, louder or softer; the paper's
    voice: float = 0.0  # standard deviation of an offset to each cepstrum of a segment; ours

    def __post_init__(self) -> None:
        if self.windows < 2:
            raise ValueError(f"windows is {self.windows}; a false partner needs 2 or more")
        if not 0 <= self.volume < 1 or not 0 <= self.zoom < 1:
            raise ValueError("volume and zoom must be 0 or more, and less than 1")


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
    if run.is_main:
        save_description(cfg.run.out, cfg.network)
    network = SyncNet(cfg.network).to(run.device)
    parameters = [*network.parameters()]
    optimizer = make_optimizer(parameters, cfg.optim)
    run.register(network=network, optimizer=optimizer)

    # Training loop: faces and sound of each segment, all pairs of them
    for batch in run.batches(clips):
        set_learning_rate(optimizer, cfg.optim, run.step, cfg.run.steps)
        with run.autocast():
            video = network.encode_video(batch["faces"].float())
            audio = network.encode_audio(batch["windows"])
        distances = torch.cdist(
            video.float(), audio.float(), compute_mode="donot_use_mm_for_euclid_dist"
        )
        total = objective(distances, batch["others"], cfg)

        run.backward(total, optimizer)
        grad_norm = run.take_step(optimizer, cfg.optim.clip_norm)

        # Share of segments whose own sound is nearest
        own = distances.detach().diagonal(dim1=1, dim2=2)
        found = (own <= distances.detach().amin(dim=2)).float().mean()
        run.log(total=total, own_distance=own.mean(), found=found, grad_norm=grad_norm)
        if val_set and run.due(cfg.val.every):
            metrics = lag_metrics(network, val_set)
            run.log_now(**{f"val_{name}": value for name, value in metrics.items()})
    if run.is_main:
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


class SyncClips(Dataset[dict[str, Tensor]]):
    """Every clip is an item, with a random segment of it each time:

    faces (3, V + 4, S, S) uint8 BGR, windows (V, 13, 20) float32, and others (V,) int64, for each
    window another one of the segment, uniformly at random, whose sound is not its own.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        network: SyncNetConfig,
        config: SyncDataConfig,
        seed: int = 0,
    ) -> None:
        """Keep the clips that are long enough; they are read when asked for.

        Raises:
            ConfigError: no clip has V + 4 frames.
        """
        self.frames = config.windows + WINDOW_FRAMES - 1
        self.clips = [clip for clip in clips if clip.frames >= self.frames]
        if not self.clips:
            raise ConfigError(f"none of the {len(clips)} clips has {self.frames} frames")
        self.network, self.config, self.seed = network, config, seed

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        clip = self.clips[index % len(self)]
        rng = np.random.default_rng((self.seed, index))
        start = int(rng.integers(clip.frames - self.frames + 1))
        shift = rng.integers(1, self.config.windows, self.config.windows)
        others = (np.arange(self.config.windows) + shift) % self.config.windows
        return {
            "faces": torch.from_numpy(self._faces(clip, start, rng)),
            "windows": torch.from_numpy(self._windows(clip, start, rng)),
            "others": torch.from_numpy(others),
        }

    def _faces(self, clip: Clip, start: int, rng: np.random.Generator) -> Array:
        config = self.config
        square = crop_square(clip.stored_landmarks(), self.network.crop)
        moved = _moved(square, config.move, config.zoom, rng)
        frames = clip.store()[start : start + self.frames]
        faces = cut_faces(frames, moved, self.network.size)
        if rng.random() < config.flip:
            faces = faces[:, :, ::-1]
        gain = 1 + config.colour * rng.uniform(-1, 1, 3)
        return np.ascontiguousarray(scaled_channels(faces, gain).transpose(3, 0, 1, 2))

    def _windows(self, clip: Clip, start: int, rng: np.random.Generator) -> Array:
        config = self.config
        rows = clip_rows(clip)[WINDOW_STEP * start :]
        offset = config.voice * rng.standard_normal(rows.shape[1])
        offset[0] = 2 * math.log(1 + config.volume * rng.uniform(-1, 1))
        windows = row_windows((rows + offset).astype(np.float32), config.windows)
        return np.ascontiguousarray(windows)


def scaled_channels(faces: Image, gain: Array) -> Image:
    """Return faces (N, H, W, 3) whose channels are multiplied by `gain` (3,) and rounded."""
    table = np.clip(np.rint(np.arange(256)[:, None] * gain), 0, 255).astype(np.uint8)
    flat = np.ascontiguousarray(faces).reshape(-1, faces.shape[2], 3)
    return np.asarray(cv2.LUT(flat, table[None]), np.uint8).reshape(faces.shape)


def clip_rows(clip: Clip) -> Array:
    """Return the MFCC rows of a clip as SyncNet takes them, (4T + 12, 13) float32.

    From the stored mfcc.npy, whose samples are in [-1, 1] and whose first rows are padding: the
    log energy of 16-bit samples is higher by a constant, but for digital silence.
    """
    rows: Array = clip.mfcc()[PADDING // FRAME_STEP :].copy()
    rows[:, 0] += np.where(rows[:, 0] > SILENCE + 1e-3, np.float32(SCALE), np.float32(0))
    return rows


def _moved(square: Square, move: float, zoom: float, rng: np.random.Generator) -> Square:
    left, top, side = square
    right, down = move * side * rng.uniform(-1, 1, 2)
    scaled = max(1, round(side * (1 + zoom * rng.uniform(-1, 1))))
    inset = (side - scaled) / 2
    return Square(round(left + right + inset), round(top + down + inset), scaled)


if __name__ == "__main__":
    sys.exit(run_stage(train, Config, __doc__))
