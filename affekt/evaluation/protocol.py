"""Protocols: everything that an evaluation's figures depend on, in one versioned YAML file.

Figures of one protocol can be compared, others cannot: crop, alignment and
landmark convention move them by more than methods differ. So every table prints its protocol's id,
version and hash, and a change of a value needs a new version.
"""

import hashlib
import json
import typing as tp
from dataclasses import dataclass, field
from pathlib import Path

from affekt.media.faces.detector import DetectorName
from affekt.media.faces.geometry import View
from affekt.metrics.landmark import Convention
from affekt.runtime.config import ConfigError, load_config, plain

FOLDER = Path(__file__).parents[2] / "configs" / "protocols"

MeasureName = tp.Literal[
    "landmarks", "pictures", "temporal", "sync", "identity", "emotion", "distribution"
]
# The metrics that each measure with a network gives: they compare between equal networks only.
NETWORK_METRICS: dict[MeasureName, tuple[str, ...]] = {
    "distribution": ("fid", "kid"),
    "sync": ("lse_c", "lse_d", "sync_offset"),
    "identity": ("csim",),
    "emotion": ("emotion_correct", "efd_proxy"),
}
ALIGNED = ("evp", "makeittalk")  # conventions that turn faces, and so have a 3d view
ManifestKind = tp.Literal["none", "evp", "lrw-self", "mead-self"]


@dataclass(frozen=True)
class Landmarks:
    """How faces are found and compared."""

    convention: Convention = "evp"
    view: View = "2d"  # of the alignment: 2d, a paper's; 3d, ours, takes the head's turn out
    detector: DetectorName = "mediapipe"
    eat_flvd_bug: bool = False  # f_lvd as EAT's script prints it, by mistake: m_lvd * 20 / 68

    def __post_init__(self) -> None:
        if self.view == "3d" and self.convention not in ALIGNED:
            raise ValueError(
                f"convention {self.convention!r} compares pixels of the picture: it has no 3d view"
            )
        if self.eat_flvd_bug and self.convention != "eat":
            raise ValueError("eat_flvd_bug is of the convention 'eat' alone")


@dataclass(frozen=True)
class Pictures:
    """The pixels that SSIM and PSNR are computed on."""

    region: tp.Literal["frame", "face"] = "frame"  # face: one square around the truth's face
    size: int = 256  # pixels a side, of the region "face"


@dataclass(frozen=True)
class Sync:
    """Lags and padding of SyncNet's scores."""

    reach: int = 15  # frames of shift on either side
    padded: bool = True  # as published: silence beyond both ends, which favours long clips


@dataclass(frozen=True)
class Distribution:
    """The frames of FID and KID."""

    frames: int = 8  # of every clip, evenly spaced; clips, not frames, are what counts


@dataclass(frozen=True)
class Emotion:
    """The frames of the emotion classifier."""

    frames: int = 16  # of every clip, evenly spaced


@dataclass(frozen=True)
class Protocol:
    """Everything that figures depend on besides the videos and the weights."""

    id: str
    version: int
    title: str
    tables: tuple[str, ...]  # of affekt/evaluation/tables/papers.yaml that it is for
    papers_own: bool = True  # it follows the paper as far as that is published; else no difference
    measures: tuple[MeasureName, ...] = ("landmarks", "pictures")
    manifest: ManifestKind = "none"  # which videos are generated, from what
    split: str = "test_sentence"  # of a prepared corpus
    length_slack: int = 0  # frames by which a result may be longer or shorter; cut to the shorter
    min_coverage: float = 0.98  # of clips, and of their frames, with a face on both sides
    landmarks: Landmarks = field(default_factory=Landmarks)
    pictures: Pictures = field(default_factory=Pictures)
    sync: Sync = field(default_factory=Sync)
    distribution: Distribution = field(default_factory=Distribution)
    emotion: Emotion = field(default_factory=Emotion)

    def __post_init__(self) -> None:
        if not self.measures:
            raise ValueError("measures is empty; name at least one")
        if not 0 <= self.min_coverage <= 1:
            raise ValueError(f"min_coverage is {self.min_coverage}, wanted a share, 0 to 1")
        if self.length_slack < 0 or min(self.distribution.frames, self.emotion.frames) < 1:
            raise ValueError("a length, or a number of frames, is too small")

    @property
    def hash(self) -> str:
        """The first 12 digits of the SHA-256 of every value."""
        text = json.dumps(plain(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def load_protocol(name: str, overrides: tp.Sequence[str] = ()) -> Protocol:
    """Return a protocol by its id or its file; `overrides` are key=value, and change its id.

    Raises:
        ConfigError: no such protocol, or a value that does not fit.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(each.stem for each in FOLDER.glob("*.yaml")))
        raise ConfigError(f"no protocol {name!r}; known: {known}, or the path of a YAML file")
    changed = [] if not overrides else [f"id={path.stem} with {' '.join(overrides)}"]
    return load_config(Protocol, path, [*overrides, *changed])
