"""HEF's training items: a portrait, a frame of the same person to draw, and what drives it there.

Sources, sampling and augmentation are ours; the paper names MEAD and nothing of them. A source is a
frame of a neutral clip of the person, as at inference, or of the driving clip itself.

Letters: S the picture's side in pixels, W = 2 w + 1 frames of a window, M numbers of a motion
(emospace/data/motions.py), E expression modes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from affekt.arrays import Array, Image
from affekt.media.corpus import Clip, Corpus, by_speaker
from affekt.media.emotions import NEUTRAL
from affekt.media.face3d.crop_pose import LOG_SCALE, SHIFT, picture_places
from affekt.media.video.pictures import resized
from affekt.media.video.tensors import channels_first
from affekt.runtime.config import ConfigError
from emospace.data.motions import clip_motion, turn

INNER_LIPS = slice(60, 68)
SUBPIXEL = 4  # bits of OpenCV's fixed point


@dataclass(frozen=True)
class PortraitDataConfig:
    """Which pairs are trained on."""

    repeats: int = 1  # pairs a clip and epoch
    neutral_source: float = 0.5  # share of pairs whose source is of a neutral clip of the person
    # Share of pairs from clips in which the head turns by `turning_deg` or more; 0: as they come.
    # Corpora hold few of them, and without more they stay worse than a frozen picture.
    turning: float = 0.0
    turning_deg: float = 15.0
    zoom: float = 0.0  # both frames grow or shrink by a factor e^-x ... e^x: any crop will do
    shift: float = 0.0  # and move by so much of their side at most, to either side, up or down
    landmark_noise: float = 0.0  # deviation of the prior's source landmarks, shares of the side

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise ValueError(f"repeats is {self.repeats}, wanted at least 1")
        for key in ("neutral_source", "turning"):
            if not 0 <= getattr(self, key) <= 1:
                raise ValueError(f"{key} is {getattr(self, key)}, wanted 0 to 1")


@dataclass(frozen=True)
class Place:
    """A frame of a clip."""

    clip: Clip
    frame: int


class PortraitPairs(Dataset[dict[str, Tensor]]):
    """Pairs of frames with what drives one to the other:

    source, driving (3, S, S) uint8; mouth (1, S, S) uint8, 255 inside the driving frame's inner
    lips; source_motion (M,), window (W, M) float32; source_landmarks, driving_landmarks and
    prior_landmarks (68, 2) float32 in [-1, 1], the last the source's with noise. Pictures become
    floats on the device (tensors.float_pictures). Every choice is chosen by (seed, index).
    """

    def __init__(
        self, clips: Sequence[Clip], data: PortraitDataConfig, size: int, window: int, seed: int
    ) -> None:
        """Keep the clips; they are opened and read when asked for.

        Raises:
            ConfigError: no clip; a speaker without a neutral one; no head turns.
        """
        if not clips:
            raise ConfigError("there is no clip to train on")
        self.data, self.size, self.window, self.seed = data, size, window, seed
        self.calm, self.turning = list(clips), list[Clip]()
        if data.turning:
            turns = [turn(clip) for clip in clips]
            pairs = list(zip(clips, turns, strict=True))
            self.turning = [clip for clip, angle in pairs if angle >= data.turning_deg]
            self.calm = [clip for clip, angle in pairs if angle < data.turning_deg]
            if not self.turning or not self.calm:
                raise ConfigError(
                    f"heads turn by {min(turns):.0f} to {max(turns):.0f} degrees in {len(clips)} "
                    f"clips, with data.turning_deg={data.turning_deg} between calm and turning "
                    "ones; set it so that both are there, or data.turning=0"
                )
        self.neutral = neutral_clips(clips) if data.neutral_source else {}

    def __len__(self) -> int:
        return self.data.repeats * (len(self.calm) + len(self.turning))

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((self.seed, index))
        driving = self._driving(index, rng)
        source = self._source(driving.clip, rng)
        zoom = float(np.exp(rng.uniform(-1, 1) * self.data.zoom))
        shift = 2 * self.data.shift * rng.uniform(-1, 1, 2)  # a side is 2 long
        item = read_pair(source, driving, self.size, self.window, (zoom, shift))
        noise = 2 * self.data.landmark_noise * rng.standard_normal((68, 2))
        item["prior_landmarks"] = item["source_landmarks"] + torch.from_numpy(noise).float()
        return item

    def _driving(self, index: int, rng: np.random.Generator) -> Place:
        if rng.random() < self.data.turning:
            clip = self.turning[int(rng.integers(len(self.turning)))]
        else:
            clip = self.calm[index % len(self.calm)]
        return Place(clip, int(rng.integers(clip.frames)))

    def _source(self, clip: Clip, rng: np.random.Generator) -> Place:
        if rng.random() < self.data.neutral_source:
            neutral = self.neutral[clip.speaker]
            clip = neutral[int(rng.integers(len(neutral)))]
        return Place(clip, int(rng.integers(clip.frames)))


def portrait_clips(corpus: Corpus, split: str) -> list[Clip]:
    """Return the clips of a split, sorted by id.

    Raises:
        ConfigError: there is none.
    """
    clips = corpus.clips(split=split)
    if not clips:
        raise ConfigError(f"{corpus.root} has no clip of split {split!r}")
    return clips


def neutral_clips(clips: Sequence[Clip]) -> dict[str, list[Clip]]:
    """Return each speaker's neutral clips.

    Raises:
        ConfigError: a speaker has none.
    """
    found = {
        speaker: [clip for clip in own if clip.emotion == NEUTRAL]
        for speaker, own in by_speaker(clips).items()
    }
    missing = [speaker for speaker, own in found.items() if not own]
    if missing:
        raise ConfigError(
            f"no neutral clip of {', '.join(missing)} in split {clips[0].split!r} of "
            f"{clips[0].folder.parents[2]}, from which a source could be taken; leave them out, or "
            "set data.neutral_source=0 (val.split=none)"
        )
    return found


def read_pair(
    source: Place,
    driving: Place,
    size: int,
    window: int,
    change: tuple[float, Array] = (1.0, np.zeros(2)),
) -> dict[str, Tensor]:
    """Return a pair as a training item; see `PortraitPairs`.

    Args:
        source, driving: frames of one person.
        size: S.
        window: w; at a clip's ends its first or last motion is repeated.
        change: zoom and shift of both frames, x -> zoom x + shift in [-1, 1].
    """
    places = np.clip(driving.frame + np.arange(-window, window + 1), 0, driving.clip.frames - 1)
    motions = clip_motion(source.clip, [source.frame]), clip_motion(driving.clip, places.tolist())
    source_motion, window_WM = (zoomed_motion(each, *change) for each in motions)
    own, other = (
        (change[0] * landmarks_of(place) + change[1]).astype(np.float32)
        for place in (source, driving)
    )
    pictures = [zoomed(picture_of(place, size), *change) for place in (source, driving)]
    return {
        "source": channels_first(pictures[0]),
        "driving": channels_first(pictures[1]),
        "mouth": torch.from_numpy(inner_mouth(other, size))[None],
        "source_motion": torch.from_numpy(source_motion[0]),
        "window": torch.from_numpy(window_WM),
        "source_landmarks": torch.from_numpy(own),
        "driving_landmarks": torch.from_numpy(other),
    }


def picture_of(place: Place, size: int) -> Image:
    """Return a frame at a size, (size, size, 3) RGB uint8."""
    return resized(place.clip.store().read([place.frame]), size)[0]


def landmarks_of(place: Place) -> Array:
    """Return a frame's landmarks (68, 2) in [-1, 1], the picture's edges at the ends."""
    pixels = place.clip.stored_landmarks()[place.frame]
    return picture_places(pixels, place.clip.crop().size[0])


def zoomed_motion(motion: Array, zoom: float, shift: Array) -> Array:
    """Return motions (T, M) of a picture whose places x became zoom x + shift."""
    result = motion.copy()
    result[:, LOG_SCALE] += np.log(zoom)
    result[:, SHIFT] = zoom * motion[:, SHIFT] + shift
    return result


def zoomed(picture: Image, zoom: float, shift: Array) -> Image:
    """Return a picture (S, S, 3) whose places x become zoom x + shift; its border is repeated."""
    if zoom == 1 and not np.any(shift):
        return picture
    S = len(picture)
    offset = 0.5 * (zoom - 1) + 0.5 * S * (1 + shift - zoom)
    matrix = np.array([[zoom, 0, offset[0]], [0, zoom, offset[1]]])
    moved = cv2.warpAffine(
        picture, matrix, (S, S), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return moved.astype(np.uint8, copy=False)


def inner_mouth(landmarks: Array, size: int) -> Image:
    """Return 255 inside the inner lips and on their line, else 0, (size, size) uint8."""
    mask = np.zeros((size, size), np.uint8)
    pixels = (landmarks[INNER_LIPS] + 1) * (size / 2) - 0.5
    outline = np.rint(pixels * (1 << SUBPIXEL)).astype(np.int32)
    cv2.fillPoly(mask, [outline], (255,), shift=SUBPIXEL)
    return mask
