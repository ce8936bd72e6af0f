"""What an evaluation measures with: which networks there are, and the measures that use them.

A metric whose weights are missing is not available; its reason says which file to fetch and where
to put it, and the others come all the same. Weights that are there but wrong end the evaluation.
"""

import typing as tp
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from affekt.evaluation.control_rows import NETWORK_METRICS
from affekt.evaluation.measures import (
    FormMeasure,
    LandmarkMeasure,
    Measure,
    PictureMeasure,
    TemporalMeasure,
)
from affekt.evaluation.network_measures import (
    DistributionMeasure,
    EmotionMeasure,
    IdentityMeasure,
    SyncMeasure,
)
from affekt.evaluation.protocol import MeasureName, Protocol
from affekt.media.faces.detector import Detector
from affekt.runtime.files import sha256
from affekt.runtime.weights.registry import require, status
from affekt.runtime.weights.table import MissingWeightsError

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


@dataclass(frozen=True)
class Tools:
    """The networks of an evaluation."""

    paths: dict[MeasureName, Path] = field(default_factory=dict)  # a weights file, or a run
    checksums: dict[str, str] = field(default_factory=dict)  # by measure
    unavailable: dict[str, str] = field(default_factory=dict)  # metric: why, and what to do
    trained_here: list[MeasureName] = field(default_factory=list)  # with a network of a run
    device: str = "cpu"


def choose_tools(
    protocol: Protocol, runs: tp.Mapping[MeasureName, Path | None], device: str = "cpu"
) -> Tools:
    """Return the networks that a protocol wants and that there are.

    Args:
        protocol: of the evaluation.
        runs: the project's own networks by measure: a run of affekt.metrics.emotion.train, one of
            affekt.metrics.sync.train in the place of the published SyncNet.
        device: of the networks.

    Raises:
        InvalidWeightsError: a weights file is there, but is not the right one.
        FileNotFoundError: a run that was named holds no network.
    """
    tools = Tools(device=device)
    for measure, key in KEYS.items():
        if measure not in protocol.measures:
            continue
        path, why, checksum = runs.get(measure), NO_CLASSIFIER, ""
        tools.trained_here.extend([measure] if path else [])
        if key and path is None:
            published = status(key)
            try:
                require([published])
                path, checksum = published.path, published.sha256
            except MissingWeightsError as error:
                why = str(error)
        if path is None:
            tools.unavailable.update(dict.fromkeys(NETWORK_METRICS[measure], why))
            continue
        tools.paths[measure] = path
        tools.checksums[measure] = checksum or sha256(_exported(path))
    return tools


def measures_of(
    protocol: Protocol, tools: Tools, cache: Path, detector: Detector
) -> Sequence[Measure]:
    """Return the measures of a protocol that are available; networks are loaded at first use."""
    measures: list[Measure] = [FormMeasure()]
    for name in protocol.measures:
        if name not in KEYS:
            measures.append(_plain(name, protocol, tools.device))
        elif name in tools.paths:
            measures.append(_network(name, protocol, tools, cache, detector))
    return measures


def _plain(name: MeasureName, protocol: Protocol, device: str) -> Measure:
    if name == "landmarks":
        return LandmarkMeasure(protocol.landmarks)
    if name == "pictures":
        return PictureMeasure(protocol.pictures, device)
    return TemporalMeasure(protocol.landmarks)


def _network(
    name: MeasureName, protocol: Protocol, tools: Tools, cache: Path, detector: Detector
) -> Measure:
    path, identity, device = tools.paths[name], f"1 {tools.checksums[name]}", tools.device
    if name == "distribution":
        frames = protocol.distribution.frames
        return DistributionMeasure(path, identity, device, frames, cache / "features")
    if name == "sync":
        return SyncMeasure(path, identity, device, protocol.sync)
    if name == "identity":
        return IdentityMeasure(path, identity, detector)
    return EmotionMeasure(path, identity, device, protocol.emotion.frames)


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
