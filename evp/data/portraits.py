"""Frames and guidance maps of one person's clips, from prepared corpora of profile `portrait`.

Dimension letters: K consecutive frames of a clip, C guidance channels, H, W pixels, T frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from affekt.arrays import Array, Image
from affekt.media.corpus import Clip, Corpus
from affekt.media.faces.edges import CHANNELS, Form, guidance_map
from affekt.media.faces.geometry import align_2d
from affekt.media.video.frames import FrameStore
from affekt.media.video.pictures import resized
from affekt.media.video.tensors import channels_first
from affekt.runtime.config import ConfigError

Points = NDArray[np.floating[Any]]

PROFILE = "portrait"  # of data_prep's frame profiles, the one with head and shoulders


@dataclass(frozen=True)
class VideoDataConfig:
    """Which clips are trained on."""

    corpora: tuple[Path, ...]  # prepared corpora, of profile portrait
    repeats: tuple[int, ...] = ()  # how often an epoch goes through each corpus; empty: once
    speaker: str | None = None  # EVP's renderer is of one person; None: there is only one
    frames: int = 1  # K, consecutive frames in an item, history included
    shift: int = 0  # pixels that frame and landmarks are moved by, at most; see PortraitClips

    def __post_init__(self) -> None:
        if not self.corpora:
            raise ValueError("corpora is empty")
        if self.repeats and len(self.repeats) != len(self.corpora):
            raise ValueError(f"{len(self.repeats)} repeats for {len(self.corpora)} corpora")


@dataclass(frozen=True)
class GuidanceConfig:
    """Form and size of the generator's guidance maps."""

    form: Form = "distance"
    size: int = 512  # pixels a side; stored frames of another size are resized

    @property
    def channels(self) -> int:
        """Channels of a guidance map."""
        return CHANNELS[self.form]


class PortraitClips(Dataset[dict[str, Tensor]]):
    """Every run of K consecutive frames of the clips is an item:

    frames (K, 3, H, W) and guidance (K, C, H, W), both uint8, a quarter of the bytes of the floats
    that evp.rollout.Sequences makes of them on the device; on request also the backward flow that
    `python -m data_prep.flow` stored, flow (K, 2, H, W) float32 in pixels to the frame before, and
    where it is reliable, confidence (K, 1, H, W) bool (False in a repeated border).

    With a `shift`, each index moves the run as a whole by so many pixels at most, to either side
    and up or down, and repeats the border. Ours: a person's clips are cut around their first frame,
    so that the head keeps its place in most of them, and a generator trained on them alone fails
    where a lively head goes.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        guidance: GuidanceConfig,
        frames: int = 1,
        shift: int = 0,
        seed: int = 0,
        flow: bool = False,
    ) -> None:
        """Open the clips; their landmarks are kept, their frames are read when asked for.

        Raises:
            ConfigError: no clip has K frames.
            FileNotFoundError: flow is wanted and not there; the message names the command.
            DamagedFileError: a file is damaged, or the flow that of another number of frames.
        """
        # Clips long enough for a sequence
        self.clips = [OpenClip(clip, guidance) for clip in clips if clip.frames >= frames]
        if not self.clips:
            raise ConfigError(f"none of the {len(clips)} clips has {frames} frames")
        self.frames, self.shift, self.seed, self.size = frames, shift, seed, guidance.size
        self.flows = [clip.clip.flow() for clip in self.clips] if flow else []
        # Sequences are indexed across clips by their first frame
        runs = [len(clip) - frames + 1 for clip in self.clips]
        self.ends = np.cumsum(runs)

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        place = index % len(self)
        which = int(np.searchsorted(self.ends, place, side="right"))
        start = place - (int(self.ends[which - 1]) if which else 0)
        rng = np.random.default_rng((self.seed, index))
        right, down = rng.integers(-self.shift, self.shift + 1, 2).tolist()
        chosen, move = range(start, start + self.frames), (right, down)
        frames, guidance = self.clips[which].read(chosen, move)
        item = {"frames": channels_first(frames), "guidance": torch.from_numpy(guidance)}
        if self.flows:
            flow, confidence = self.flows[which].read(chosen, self.size)
            item["flow"] = channels_first(shifted(flow, move))
            reliable = shifted(confidence, move) & unpadded(self.size, move)
            item["confidence"] = channels_first(reliable[..., None])
        return item


class OpenClip:
    """A clip at the generator's size."""

    def __init__(self, clip: Clip, guidance: GuidanceConfig) -> None:
        self.clip, self.guidance = clip, guidance
        self.store: FrameStore = clip.store()
        self.landmarks = clip.stored_landmarks()

    def __len__(self) -> int:
        return self.clip.frames

    def read(self, indices: Sequence[int], move: tuple[int, int] = (0, 0)) -> tuple[Image, Image]:
        """Return frames (K, H, W, 3) and guidance maps (K, C, H, W), uint8.

        Args:
            indices: the frames wanted.
            move: pixels to the right and down by which frames and landmarks are moved.
        """
        size = self.guidance.size
        stored = self.store.read(indices)
        points = scaled(self.landmarks[list(indices)], size / stored.shape[2]) + np.array(move)
        frames = shifted(resized(stored, size), move)
        return frames, guidance_maps(frames, points, self.guidance)


def speaker_clips(data: VideoDataConfig, split: str) -> list[list[Clip]]:
    """Return the clips of the configured speaker in a split, by corpus, sorted by id.

    Raises:
        ConfigError: a corpus stores another frame profile, the speaker is unknown or not stated,
            or has no clip in the split.
    """
    corpora = [Corpus(root) for root in data.corpora]
    for corpus in corpora:
        corpus.check_profile(PROFILE)
    speakers = sorted({speaker for corpus in corpora for speaker in corpus.speakers})
    names = ", ".join(speakers)
    if data.speaker is None and len(speakers) > 1:
        raise ConfigError(f"there are several speakers; set data.speaker to one of {names}")
    if data.speaker is not None and data.speaker not in speakers:
        raise ConfigError(f"there is no speaker {data.speaker!r}, only {names}")
    found = [corpus.clips(split=split, speaker=data.speaker) for corpus in corpora]
    if not any(found):
        roots = ", ".join(str(root) for root in data.corpora)
        raise ConfigError(f"{roots} has no {split!r} clip of {data.speaker or names}")
    return found


def stored_size(corpora: Sequence[Path]) -> int:
    """Return the pixels a side of the corpora's frames.

    Raises:
        ConfigError: they differ.
    """
    sizes = {root: int(Corpus(root).info["size"]) for root in corpora}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{root} {size}" for root, size in sizes.items())
        raise ConfigError(f"the corpora's frames differ in size ({listed}); prepare them alike")
    return next(iter(sizes.values()))


def training_clips(data: VideoDataConfig) -> list[Clip]:
    """Return the speaker's training clips, those of a corpus `repeats` times."""
    by_corpus = speaker_clips(data, "train")
    repeats = data.repeats or (1,) * len(by_corpus)
    return [clip for clips, times in zip(by_corpus, repeats, strict=True) for clip in times * clips]


def shifted(frames: Array, move: tuple[int, int]) -> Array:
    """Return frames (K, H, W, ...) moved right and down by whole pixels, their border repeated."""
    if move == (0, 0):
        return frames
    H, W = frames.shape[1:3]
    columns = np.clip(np.arange(W) - move[0], 0, W - 1)
    rows = np.clip(np.arange(H) - move[1], 0, H - 1)
    return frames[:, rows[:, None], columns]


def unpadded(size: int, move: tuple[int, int]) -> NDArray[np.bool_]:
    """Return (size, size) bool: where `shifted` pictures are no repeated border."""
    columns, rows = (np.arange(size) - by for by in move)
    inside = [(places >= 0) & (places < size) for places in (rows, columns)]
    return np.logical_and.outer(*inside)


def guidance_maps(
    frames: Image,
    landmarks: Points,
    config: GuidanceConfig,
    also_cleared: Points | None = None,
) -> Image:
    """Return the guidance maps of frames, (K, C, size, size) uint8.

    Args:
        frames: (K, H, W, 3) RGB, as stored.
        landmarks: (K, 68, 2) pixels of these frames, the faces of the maps.
        also_cleared: (K, 68, 2), the faces that are replaced, whose regions lose their edges.
    """
    scale = config.size / frames.shape[2]
    small, points = resized(frames, config.size), scaled(landmarks, scale)
    cleared = points if also_cleared is None else scaled(also_cleared, scale)
    out = np.empty((len(small), config.channels, config.size, config.size), np.uint8)
    for k, frame in enumerate(small):
        out[k] = guidance_map(frame, points[k], config.form, cleared[k])
    return out


def scaled(landmarks: Points, scale: float) -> Points:
    """Return landmarks in a picture resized by `scale`.

    Whole numbers are centres of pixels, and a resized picture keeps its area.
    """
    return (landmarks + 0.5) * scale - 0.5


def nearest_frames(train: Sequence[Clip], clip: Clip) -> list[tuple[Clip, int]]:
    """Return, for each frame of a clip, the training frame with the nearest landmarks.

    The generator's baseline: a look-up in its training data. Distance: root mean
    square over the 68 points after the 2D similarity on the rigid points.
    """
    faces = np.concatenate([align_2d(one.landmarks()) for one in train]).reshape(-1, 136)
    places = [(one, frame) for one in train for frame in range(one.frames)]
    wanted = align_2d(clip.landmarks()).reshape(-1, 136)
    squares = np.square(faces).sum(axis=1) - 2 * wanted @ faces.T  # less a constant of the face
    return [places[best] for best in squares.argmin(axis=1)]
