"""The measures that take a network: sync, identity, emotion, and the features of FID and KID.

A network is loaded at its first use, once in every process.
"""

import logging
import typing as tp
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np

from affekt.arrays import Array, Image
from affekt.evaluation.control_rows import FROZEN, LATE, OTHER, RE_ENCODED, RESULT, TRUTH
from affekt.evaluation.measures import Facts, Measure, Rows, Scores
from affekt.evaluation.protocol import Sync
from affekt.evaluation.video import Shown
from affekt.media.faces.detector import Detector
from affekt.media.video.pictures import read_picture
from affekt.metrics.emotion.data import spread
from affekt.metrics.emotion.network import Classifier, load_classifier
from affekt.metrics.emotion.score import Reading, efd_proxy, emotion_correct, read_emotion
from affekt.metrics.fid import features, load_inception
from affekt.metrics.identity import csim, embed, load_arcface
from affekt.metrics.sync.network import SyncNet, load_syncnet
from affekt.metrics.sync.score import embed_clip, sync_scores
from affekt.runtime.files import save_npy, sha256

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SyncMeasure(Measure):
    """How well lips and sound agree, by SyncNet."""

    weights: Path
    identity: str
    device: str
    rules: Sync
    name: str = "sync"
    rows: tuple[str, ...] = (RESULT, TRUTH, RE_ENCODED, LATE, FROZEN, OTHER)

    @cached_property
    def _network(self) -> SyncNet:
        return load_syncnet(self.weights, self.device)

    def of(self, rows: Rows, facts: Facts, key: str) -> dict[str, Scores]:
        """Return lse_c, lse_d and sync_offset; None where the truth has no sound."""
        truth, found = rows[TRUTH], {}
        sound = truth.sound()
        for name in self.rows:
            if name in rows and rows[name].size == truth.size:
                found[name] = self._scores(
                    rows[name], rows[name if name == OTHER else TRUTH], sound
                )
        return found

    def _scores(self, shown: Shown, framed: Shown, sound: Array | None) -> Scores:
        nothing: Scores = dict.fromkeys(("lse_c", "lse_d", "sync_offset"))
        if sound is None:
            return nothing
        try:
            lips, heard = embed_clip(self._network, shown.frames(), framed.landmarks(), sound)
        except ValueError:  # too short for a window, or no face to cut
            return nothing
        scores = sync_scores(lips, heard, self.rules.reach, self.rules.padded)
        return {"lse_c": scores.lse_c, "lse_d": scores.lse_d, "sync_offset": scores.offset}


@dataclass(frozen=True)
class IdentityMeasure(Measure):
    """How much the face is the source picture's, by ArcFace."""

    weights: Path
    identity: str
    detector: Detector
    name: str = "identity"
    rows: tuple[str, ...] = (RESULT, TRUTH, OTHER)

    @cached_property
    def _session(self) -> tp.Any:
        return load_arcface(self.weights)

    def depends_on(self, facts: Facts) -> str:
        """Return the checksum of the source picture; none where there is no such file."""
        return sha256(facts.source) if facts.source and facts.source.is_file() else ""

    def of(self, rows: Rows, facts: Facts, key: str) -> dict[str, Scores]:
        """Return csim; none where the clip has no source picture, or one without a face."""
        if facts.source is None:
            return {}
        try:
            source = self._of_picture(facts.source)
        except (OSError, ValueError) as error:
            log.warning("%s has no identity figure: %s", facts.clip, error)
            return {RESULT: {"csim": None}}
        found: dict[str, Scores] = {}
        for name in self.rows:
            if name in rows:
                codes = embed(self._session, rows[name].frames(), rows[name].landmarks())
                found[name] = {"csim": csim(codes, source)}
        return found

    def _of_picture(self, path: Path) -> Array:
        """Return the code of a picture, (512,).

        Raises:
            ValueError: no face in it.
        """
        picture = read_picture(path)
        face = self.detector.detect(picture)
        if face is None:
            raise ValueError(f"no face was found in the source picture {path}")
        return embed(self._session, [picture], face.points[None].astype(float))[0]


@dataclass(frozen=True)
class EmotionMeasure(Measure):
    """Which emotion a clip shows, by the project's frame attention network."""

    run: Path
    identity: str
    device: str
    count: int
    name: str = "emotion"
    rows: tuple[str, ...] = (RESULT, TRUTH, FROZEN, OTHER)

    @cached_property
    def _classifier(self) -> Classifier:
        return load_classifier(self.run, self.device)

    def depends_on(self, facts: Facts) -> str:
        """Return the label."""
        return facts.emotion

    def of(self, rows: Rows, facts: Facts, key: str) -> dict[str, Scores]:
        """Return emotion_correct, 0 or 1, and efd_proxy.

        None of a clip without a label, or with one that the classifier has not learned.
        """
        emotions = self._classifier.description.emotions
        if facts.emotion not in emotions:
            if facts.emotion:
                log.warning(
                    "%s is labelled %r, which %s has not learned; it knows %s: no emotion figure",
                    facts.clip, facts.emotion, self.run, ", ".join(emotions),
                )  # fmt: skip
            return {name: {"emotion_correct": None} for name in (RESULT, TRUTH) if name in rows}
        label = emotions.index(facts.emotion)
        readings = {name: self._read(rows[name]) for name in self.rows if name in rows}
        truth = readings[TRUTH].features
        return {
            name: {
                "emotion_correct": emotion_correct(reading, label),
                "efd_proxy": _number(efd_proxy(reading.features, truth)),
            }
            for name, reading in readings.items()
        }

    def _read(self, shown: Shown) -> Reading:
        landmarks = shown.landmarks()[..., :2]
        return read_emotion(self._classifier, shown.frames(), landmarks, self.count)


@dataclass(frozen=True)
class DistributionMeasure(Measure):
    """The features of FID and KID, which are worked out over all clips at the end."""

    weights: Path
    identity: str
    device: str
    count: int
    folder: Path
    name: str = "distribution"
    # Other speakers' clips are the same set of pictures, handed round: their FID would be 0.
    rows: tuple[str, ...] = (RESULT, TRUTH, RE_ENCODED, FROZEN)

    @cached_property
    def _network(self) -> tp.Any:
        return load_inception(self.weights, self.device)

    def is_kept(self, key: str) -> bool:
        """Say whether the truth's features, which every clip has, are there."""
        return feature_file(self.folder, key, TRUTH).is_file()

    def of(self, rows: Rows, facts: Facts, key: str) -> dict[str, Scores]:
        """Keep the features of every row in a file; return how many pictures they are of."""
        found: dict[str, Scores] = {}
        for name in self.rows:
            if name in rows:
                chosen = spread(rows[name].length, self.count)
                codes = features(self._network, picked(rows[name], chosen))
                save_npy(feature_file(self.folder, key, name), codes)
                found[name] = {"features": len(codes)}
        return found


def feature_file(folder: Path, key: str, row: str) -> Path:
    """Return where the features of a row of a clip are kept."""
    return folder / key[:2] / f"{key}-{row.replace(' ', '-')}.npy"


def picked(shown: Shown, chosen: tp.Sequence[int]) -> list[Image]:
    """Return some pictures of a video."""
    wanted = set(chosen)
    return [frame for k, frame in enumerate(islice(shown.frames(), max(chosen) + 1)) if k in wanted]


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value
