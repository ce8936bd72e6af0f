"""SyncNet's training segments of prepared clips: faces, their sound, and false pairs.

Augmentation as the paper describes it ("Out of time", Sec. 4: a volume within 10 %; random
cropping, flipping and a shift of colour, the same for all frames of a clip); its strengths are
ours. Letters: V windows of a segment, S pixels a side.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from affekt.arrays import Array
from affekt.media.audio.mfcc import FRAME_STEP, PADDING, WINDOW_STEP
from affekt.media.corpus import Clip
from affekt.metrics.sync.network import WINDOW_FRAMES, SyncNetConfig
from affekt.metrics.sync.score import FULL_SCALE, Square, crop_square, cut_faces, row_windows
from affekt.runtime.config import ConfigError

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
        faces = np.clip(np.rint(faces * gain), 0, 255).astype(np.uint8)
        return np.ascontiguousarray(faces.transpose(3, 0, 1, 2))

    def _windows(self, clip: Clip, start: int, rng: np.random.Generator) -> Array:
        config = self.config
        rows = clip_rows(clip)[WINDOW_STEP * start :]
        offset = config.voice * rng.standard_normal(rows.shape[1])
        offset[0] = 2 * math.log(1 + config.volume * rng.uniform(-1, 1))
        windows = row_windows((rows + offset).astype(np.float32), config.windows)
        return np.ascontiguousarray(windows)


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
