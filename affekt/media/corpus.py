"""Read a prepared corpus: manifest, clips and their arrays. data_prep writes it, nothing else does.

Letters: T frames of a clip, 25 per second.
"""

import typing as tp
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from affekt.arrays import Array
from affekt.media.audio.mel import BINS as MEL_BINS
from affekt.media.audio.mel import mel_rows
from affekt.media.audio.mfcc import windows
from affekt.media.audio.reader import read_audio
from affekt.media.emotions import EMOTIONS
from affekt.media.faces.crop import Crop
from affekt.media.faces.geometry import View, align_2d, align_3d
from affekt.media.integrity import (
    CLIP,
    CORPUS,
    MANIFEST,
    PREPARE,
    check_list,
    check_sizes,
    read_sealed,
)
from affekt.media.video.flow_store import MAKE as FLOW
from affekt.media.video.flow_store import FlowStore, open_flow
from affekt.media.video.frames import FrameStore, open_frames
from affekt.media.video.packed import check
from affekt.runtime.config import ConfigError
from affekt.runtime.files import DamagedFileError, load_npy, read_json, read_jsonl

SCHEMA = 1  # of the prepared corpus; data_prep writes it into corpus.json
SPLITS = ("train", "val", "test_sentence", "test_speaker")
POSE = "run python -m data_prep.pose"
MEL = "run python -m data_prep.mel"
EXPRESSION = "run python -m data_prep.expression"
POSE_DIM = 6


@dataclass(frozen=True)
class Clip:
    """One line of the manifest; arrays are read when asked for and checked against `frames`.

    The first of them also checks the sizes of the clip's files (affekt/media/integrity.py).
    """

    id: str
    speaker: str
    emotion: str
    level: int
    sentence: str
    split: str
    frames: int  # T
    sha256: str  # of the source video
    source: str  # where the source video was
    folder: Path = field(compare=False)

    def landmarks(self) -> Array:
        """Return (T, 68, 2) float32, source pixels."""
        return load_npy(self._whole / "landmarks.npy", (self.frames, 68, 2), PREPARE)

    def landmarks3d(self) -> Array:
        """Return (T, 68, 3) float32, source pixels, z away from the viewer."""
        path = self._whole / "landmarks3d.npy"
        return load_npy(path, (self.frames, 68, 3), f"{PREPARE} with a detector that gives depth")

    def stored_landmarks(self) -> Array:
        """Return (T, 68, 2), pixels of the stored frames."""
        return self.crop().to_stored(self.landmarks())

    def aligned(self, view: View) -> Array:
        """Return (T, 68, 2), pixels of the 256 px aligned face, in the 2D or the 3D view."""
        return align_3d(self.landmarks3d()) if view == "3d" else align_2d(self.landmarks())

    def mfcc(self) -> Array:
        """Return (4T + 24, 13) float32, a row every 10 ms."""
        return load_npy(self._whole / "mfcc.npy", (4 * self.frames + 24, 13), PREPARE)

    def windows(self) -> Array:
        """Return (T, 28, 12) float32, the audio around each frame, a read-only strided view."""
        return windows(self.mfcc())

    def pose(self) -> Array:
        """Return (T, 6) float32: rotation vector, log scale, tx, ty (see face3d/model.py)."""
        return load_npy(self.folder / "pose.npy", (self.frames, 6), POSE)

    def mel(self) -> Array:
        """Return the log-mel (1 + floor(3.2 T), 80) float32, a row every 12.5 ms."""
        return load_npy(self.folder / "mel.npy", (mel_rows(self.frames), MEL_BINS), MEL)

    def expression_pose(self) -> Array:
        """Return (T, 6) float32: the head pose that belongs to `expression`, as in `pose`."""
        return self._coefficients()[:, :POSE_DIM]

    def expression(self) -> Array:
        """Return (T, E) float32, the face model's expression coefficients, of a fixed identity."""
        return self._coefficients()[:, POSE_DIM:]

    def _coefficients(self) -> Array:
        return load_npy(self.folder / "expression.npy", (self.frames, None), EXPRESSION)

    def audio(self) -> Array:
        """Return (640 T,) float32 in [-1, 1], 16 kHz."""
        return read_audio(self._whole / "audio.wav")

    def words(self) -> list[tuple[float, float, str]]:
        """Return the words of the clip, begin and end in seconds; none where no file told them."""
        record = read_sealed(self._whole / CLIP)
        return [(begin, end, word) for begin, end, word in record.get("words", ())]

    def crop(self) -> Crop:
        """Return the transform from source to stored pixels."""
        return read_crop(self._whole / "crop.json")

    def store(self) -> FrameStore:
        """Open the stored frames: store[i] and store[i:j] are RGB uint8."""
        return open_frames(self._whole)

    def flow(self) -> FlowStore:
        """Open the stored optical flow: of each frame from the frame before it.

        Raises:
            FileNotFoundError: none is there; the message names the command that makes it.
            DamagedFileError: it is damaged, or that of another number of frames.
        """
        corpus = self.folder.parents[2]  # <corpus>/clips/<speaker>/<id>
        flow = open_flow(self.folder, corpus)
        found = f"it has the flow of {len(flow)} frames, wanted {self.frames}"
        check(len(flow) == self.frames, flow.path, found, f"{FLOW} {corpus}, which makes it anew")
        return flow

    @cached_property
    def _whole(self) -> Path:
        """The folder, once the sizes of its files are checked."""
        check_sizes(self.folder)
        return self.folder


class Corpus:
    """A prepared corpus, as data_prep wrote it."""

    def __init__(self, root: Path) -> None:
        """Read corpus.json and manifest.jsonl.

        Raises:
            FileNotFoundError: no prepared corpus there; the message names the command.
            DamagedFileError: one of the two is not as it was written.
            ValueError: written by another version of data_prep.
        """
        self.root = Path(root)
        if not (self.root / MANIFEST).is_file():
            raise FileNotFoundError(f"{root} is no prepared corpus (no {MANIFEST}); {PREPARE}")
        self.info: dict[str, tp.Any] = read_sealed(self.root / CORPUS)
        if self.info.get("schema") != SCHEMA:
            found = self.info.get("schema")
            raise ValueError(f"{root} has schema {found}, wanted {SCHEMA}; {PREPARE} anew")
        check_list(self.root, self.info, MANIFEST)
        self._clips = _clips(self.root)
        # Look-ups without a scan: in LRW every clip is a speaker of its own
        self._by_speaker = by_speaker(self._clips)
        self._by_id = {clip.id: clip for clip in self._clips}

    def check_profile(self, profile: str) -> None:
        """Refuse a corpus whose frames are cut in another way than `profile`.

        Raises:
            ConfigError: the message names the command.
        """
        found = self.info.get("profile")
        if found != profile:
            raise ConfigError(
                f"{self.root} stores frame profile {found!r}, wanted {profile!r}; {PREPARE} with "
                f"frames.profile={profile} into another folder"
            )

    @property
    def emotions(self) -> tuple[str, ...]:
        """The classes in label order: the corpus's own list, or the eight of the project."""
        return tuple(self.info.get("emotions", EMOTIONS))

    @property
    def speakers(self) -> tuple[str, ...]:
        """The speakers, sorted."""
        return tuple(self._by_speaker)

    def clips(
        self, split: str | None = None, speaker: str | None = None, emotion: str | None = None
    ) -> list[Clip]:
        """Return the clips, sorted by id, that match every argument given.

        A speaker's clips cost their own number; to go through all speakers, see `by_speaker`.
        """
        found = self._clips if speaker is None else self._by_speaker.get(speaker, [])
        return [
            clip
            for clip in found
            if split in (None, clip.split) and emotion in (None, clip.emotion)
        ]

    def clip(self, clip_id: str) -> Clip:
        """Return the clip of this id.

        Raises:
            ValueError: no such clip.
        """
        if clip_id not in self._by_id:
            raise ValueError(f"{self.root} has no clip {clip_id!r}")
        return self._by_id[clip_id]


def by_speaker(clips: Iterable[Clip]) -> dict[str, list[Clip]]:
    """Return each speaker's clips in one pass: speakers sorted, their clips as they came."""
    found: dict[str, list[Clip]] = {}
    for clip in clips:
        found.setdefault(clip.speaker, []).append(clip)
    return dict(sorted(found.items()))


def _clips(root: Path) -> list[Clip]:
    """Read the manifest of a corpus."""
    rows, folder = read_jsonl(root / MANIFEST), root / "clips"
    try:
        return [Clip(**row, folder=folder / row["speaker"] / row["id"]) for row in rows]
    except (TypeError, KeyError) as error:
        raise DamagedFileError(f"{root / MANIFEST} is damaged ({error}); {PREPARE}") from None


def read_crop(path: Path) -> Crop:
    """Read a clip's crop.json."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; {PREPARE}")
    record = read_json(path)
    matrix = np.array(record["matrix"], dtype=float).reshape(2, 3)
    return Crop(matrix, tuple(record["size"]), tuple(record["source_size"]))
