"""Measures with a network: sync, identity, emotion, FID and KID; and which networks there are.

A metric whose weights are missing is not available; its reason names the file to fetch and where
to put it, and the others come all the same. Weights that are there but wrong end the evaluation. A
network is loaded at its first use, once in every process.
"""

import logging
import typing as tp
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import islice
from pathlib import Path

import numpy as np

from affekt.arrays import Array, Image
from affekt.evaluation.controls import FROZEN, LATE, OTHER, RE_ENCODED, RESULT, TRUTH
from affekt.evaluation.measures import (
    LandmarkMeasure,
    Line,
    Measure,
    PictureMeasure,
    RowViews,
    Scores,
    ShapeMeasure,
    TemporalMeasure,
    same_size,
)
from affekt.evaluation.pairing import ClipPair
from affekt.evaluation.protocol import NETWORK_METRICS, MeasureName, Protocol, Sync
from affekt.evaluation.video import VideoView
from affekt.media.faces.detector import Detector
from affekt.media.video.pictures import read_picture
from affekt.metrics.emotion.data import spread
from affekt.metrics.emotion.network import Classifier, load_classifier
from affekt.metrics.emotion.score import Reading, efd_proxy, read_emotion
from affekt.metrics.identity import csim, embed, load_arcface
from affekt.metrics.sync.network import SyncNet, load_syncnet
from affekt.metrics.sync.score import embed_clip, sync_scores
from affekt.runtime.files import load_npy, save_npy, sha256
from affekt.runtime.weights.registry import MissingWeightsError, require, status

log = logging.getLogger(__name__)

# The registry's key of each measure's network; none: the project trains it.
KEYS: dict[MeasureName, str | None] = {
    "distribution": "inception_fid",
    "sync": "syncnet",
    "identity": "arcface",
    "emotion": None,
}
SCRIPTS = "affekt.metrics.emotion.train or affekt.metrics.sync.train"
NO_CLASSIFIER = (
    "no emotion classifier was given: train one (python -m affekt.metrics.emotion.train "
    "configs/metrics/emotion_classifier.yaml) and name its run with --emotion-classifier"
)
FEWEST = 4  # frames that KID needs
FEATURES = "features"  # metric of the lines of clips whose features are kept


@dataclass(frozen=True)
class SyncMeasure(Measure):
    """LSE-C, LSE-D and the offset, by SyncNet."""

    weights: Path
    identity: str
    device: str
    rules: Sync
    name: str = "sync"
    rows: tuple[str, ...] = (RESULT, TRUTH, RE_ENCODED, LATE, FROZEN, OTHER)

    @cached_property
    def _network(self) -> SyncNet:
        return load_syncnet(self.weights, self.device)

    def of(self, rows: RowViews, pair: ClipPair, key: str) -> dict[str, Scores]:
        """Return lse_c, lse_d and sync_offset; None where the truth has no sound."""
        truth = rows[TRUTH]
        sound = truth.sound()
        # Mouths are cut where the truth's is, but for another speaker's.
        return {
            name: self._scores(view, view if name == OTHER else truth, sound)
            for name, view in same_size(rows, self.rows, truth.size).items()
        }

    def _scores(self, view: VideoView, framed: VideoView, sound: Array | None) -> Scores:
        nothing: Scores = dict.fromkeys(("lse_c", "lse_d", "sync_offset"))
        if sound is None:
            return nothing
        try:
            video, audio = embed_clip(self._network, view.frames(), framed.landmarks(), sound)
        except ValueError:  # too short for a window, or no face to cut
            return nothing
        scores = sync_scores(video, audio, self.rules.reach, self.rules.padded)
        return {"lse_c": scores.lse_c, "lse_d": scores.lse_d, "sync_offset": scores.offset}


@dataclass(frozen=True)
class IdentityMeasure(Measure):
    """Cosine similarity with the source picture, by ArcFace."""

    weights: Path
    identity: str
    device: str
    detector: Detector
    name: str = "identity"
    rows: tuple[str, ...] = (RESULT, TRUTH, OTHER)

    @cached_property
    def _session(self) -> tp.Any:
        return load_arcface(self.weights, self.device)

    def depends_on(self, pair: ClipPair) -> str:
        """Return the checksum of the source picture; none where there is no such file."""
        return sha256(pair.source) if pair.source and pair.source.is_file() else ""

    def of(self, rows: RowViews, pair: ClipPair, key: str) -> dict[str, Scores]:
        """Return csim; none where the clip has no source picture, or one without a face."""
        if pair.source is None:
            return {}
        try:
            source = self._of_picture(pair.source)
        except (OSError, ValueError) as error:
            log.warning("%s has no identity figure: %s", pair.id, error)
            return {RESULT: {"csim": None}}
        codes = {
            name: embed(self._session, rows[name].frames(), rows[name].landmarks())
            for name in self.rows
            if name in rows
        }
        return {name: {"csim": csim(frames, source)} for name, frames in codes.items()}

    def _of_picture(self, path: Path) -> Array:
        """Return the embedding of a picture, (512,).

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
    """Emotion accuracy and efd_proxy, by the project's frame attention network."""

    run: Path
    identity: str
    device: str
    count: int
    name: str = "emotion"
    rows: tuple[str, ...] = (RESULT, TRUTH, FROZEN, OTHER)

    @cached_property
    def _classifier(self) -> Classifier:
        return load_classifier(self.run, self.device)

    def depends_on(self, pair: ClipPair) -> str:
        """Return the label."""
        return pair.emotion

    def of(self, rows: RowViews, pair: ClipPair, key: str) -> dict[str, Scores]:
        """Return emotion_correct, 0 or 1, and efd_proxy.

        None of a clip without a label, or with one that the classifier was not trained on.
        """
        emotions = self._classifier.description.emotions
        if pair.emotion not in emotions:
            if pair.emotion:
                log.warning(
                    "%s is labelled %r, which %s was not trained on; its labels are %s: no figure",
                    pair.id, pair.emotion, self.run, ", ".join(emotions),
                )  # fmt: skip
            return {name: {"emotion_correct": None} for name in (RESULT, TRUTH) if name in rows}
        label = emotions.index(pair.emotion)
        readings = {name: self._read(rows[name]) for name in self.rows if name in rows}
        truth = readings[TRUTH].features
        return {
            name: {
                "emotion_correct": int(reading.label == label),
                "efd_proxy": None if np.isnan(distance) else distance,
            }
            for name, reading in readings.items()
            for distance in [efd_proxy(reading.features, truth)]
        }

    def _read(self, view: VideoView) -> Reading:
        landmarks = view.landmarks()[..., :2]
        return read_emotion(self._classifier, view.frames(), landmarks, self.count)


@dataclass(frozen=True)
class DistributionMeasure(Measure):
    """The features of FID and KID, which `distributions` computes over all clips at the end."""

    weights: Path
    identity: str
    device: str
    count: int
    folder: Path
    name: str = "distribution"
    # Other speakers' clips are the same set of pictures, handed round: their FID would be 0.
    rows: tuple[str, ...] = (RESULT, TRUTH, RE_ENCODED, FROZEN)

    @cached_property
    def _features(self) -> Callable[[list[Image]], Array]:
        from affekt.metrics import fid  # torch-fidelity takes as long to import as torch

        return partial(fid.features, fid.load_inception(self.weights, self.device))

    def is_kept(self, key: str) -> bool:
        """Return whether the truth's features, which every clip has, are there."""
        return feature_file(self.folder, key, TRUTH).is_file()

    def of(self, rows: RowViews, pair: ClipPair, key: str) -> dict[str, Scores]:
        """Keep the features of every row in a file; return of how many frames they are."""
        found: dict[str, Scores] = {}
        for name in self.rows:
            if name in rows:
                chosen = spread(rows[name].length, self.count)
                codes = self._features(frames_at(rows[name], chosen))
                save_npy(feature_file(self.folder, key, name), codes)
                found[name] = {FEATURES: len(codes)}
        return found


@dataclass(frozen=True)
class MetricNetworks:
    """The networks of an evaluation."""

    paths: dict[MeasureName, Path] = field(default_factory=dict)  # a weights file, or a run
    checksums: dict[str, str] = field(default_factory=dict)  # by measure
    unavailable: dict[str, str] = field(default_factory=dict)  # metric: why, and what to do
    trained_here: list[MeasureName] = field(default_factory=list)  # with a network of a run
    device: str = "cpu"


def choose_networks(
    protocol: Protocol, runs: tp.Mapping[MeasureName, Path | None], device: str = "cpu"
) -> MetricNetworks:
    """Return the networks that a protocol needs, as far as there are weights.

    Args:
        protocol: of the evaluation.
        runs: the project's own networks by measure: a run of affekt.metrics.emotion.train, one of
            affekt.metrics.sync.train in the place of the published SyncNet.
        device: of the networks.

    Raises:
        InvalidWeightsError: a weights file is there, but is not the right one.
        FileNotFoundError: a run that was named holds no network.
    """
    networks = MetricNetworks(device=device)
    for measure, key in KEYS.items():
        if measure not in protocol.measures:
            continue
        # A run of this project comes before the published weights
        path, why, checksum = runs.get(measure), NO_CLASSIFIER, ""
        networks.trained_here.extend([measure] if path else [])
        if key and path is None:
            published = status(key)
            try:
                require([published])
                path, checksum = published.path, published.sha256
            except MissingWeightsError as error:
                why = str(error)
        # No weights: the metric is unavailable, with the reason
        if path is None:
            networks.unavailable.update(dict.fromkeys(NETWORK_METRICS[measure], why))
            continue
        # The checksum is part of every cache key
        networks.paths[measure] = path
        networks.checksums[measure] = checksum or sha256(_exported(path))
    return networks


def measures_of(
    protocol: Protocol, networks: MetricNetworks, cache: Path, detector: Detector
) -> Sequence[Measure]:
    """Return the measures of a protocol that are available; networks are loaded at first use."""

    def measure_of(name: MeasureName) -> Measure | None:
        # Measures without a network
        match name:
            case "landmarks":
                return LandmarkMeasure(protocol.landmarks)
            case "pictures":
                return PictureMeasure(protocol.pictures)
            case "temporal":
                return TemporalMeasure(protocol.landmarks)
        if name not in networks.paths:
            return None
        # Measures with a network, whose checksum is part of their identity
        weights = networks.paths[name], f"1 {networks.checksums[name]}"
        match name:
            case "sync":
                return SyncMeasure(*weights, networks.device, protocol.sync)
            case "identity":
                return IdentityMeasure(*weights, networks.device, detector)
            case "emotion":
                return EmotionMeasure(*weights, networks.device, protocol.emotion.frames)
            case "distribution":
                count, folder = protocol.distribution.frames, cache / "features"
                return DistributionMeasure(*weights, networks.device, count, folder)

    found = (measure_of(name) for name in protocol.measures)
    return [ShapeMeasure(), *(measure for measure in found if measure is not None)]


def feature_file(folder: Path, key: str, row: str) -> Path:
    """Return where the features of a row of a clip are kept."""
    return folder / key[:2] / f"{key}-{row.replace(' ', '-')}.npy"


def frames_at(view: VideoView, chosen: tp.Sequence[int]) -> list[Image]:
    """Return the frames of a video at these indices."""
    wanted = set(chosen)
    return [frame for k, frame in enumerate(islice(view.frames(), max(chosen) + 1)) if k in wanted]


def distributions(lines: Sequence[Line], folder: Path) -> dict[str, dict[str, tp.Any]]:
    """Return {row: {"fid": {"value", "low", "high"}, "kid": {"value"}}} against the truth's frames.

    Args:
        lines: of the evaluation.
        folder: where the features are.
    """
    rows: dict[str, dict[str, Array]] = {}
    for line in lines:
        if line.metric == FEATURES:
            path = feature_file(folder, line.key, line.row)
            found = load_npy(path, (None, None), f"delete {folder}, and run the same again")
            rows.setdefault(line.row, {})[line.clip] = found
    if not rows:
        return {}
    truth = rows.pop(TRUTH)
    return {row: _against(clips, truth) for row, clips in rows.items()}


def _exported(run: Path) -> Path:
    """Return the weights that a run has exported at its end."""
    if not run.is_dir():
        raise FileNotFoundError(f"there is no folder {run}; wanted a run of {SCRIPTS}")
    found = sorted(run.glob("*.safetensors"))
    if len(found) != 1:
        raise FileNotFoundError(
            f"{run} holds {len(found)} files *.safetensors, wanted the one that a run of "
            f"{SCRIPTS} writes at its end"
        )
    return found[0]


def _against(clips: dict[str, Array], truth: dict[str, Array]) -> dict[str, tp.Any]:
    from affekt.metrics.fid import fid, fid_interval, kid, kid_interval

    shared = {clip: truth[clip] for clip in clips}
    ours, theirs = np.concatenate([*clips.values()]), np.concatenate([*shared.values()])
    if len(ours) < FEWEST:
        return {}
    pairs = {"fid": (fid, fid_interval), "kid": (kid, kid_interval)}
    found = {}
    for name, (distance, interval) in pairs.items():
        low, high = interval(clips, shared)
        found[name] = {"value": distance(ours, theirs), "low": low, "high": high}
    return found
