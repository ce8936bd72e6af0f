"""Fit the head pose of every clip of a prepared corpus: pose.npy.

    python -m data_prep.pose --corpus data/mini --model weights/mini/face_model.npz
    python -m data_prep.pose configs/data/pose.yaml corpus=data/mead workers=8
    python -m data_prep.pose configs/data/pose.yaml corpus=data/mead workers=8 --shard 3/16

Fits the face model to landmarks.npy, geometry shared over the clip (EVP Sec. 3.3;
affekt/media/face3d/fit.py). Writes into each clip's folder pose.npy, (T, 6) float32, and pose.json:
the model's name and hash, the settings, and the residual. <corpus>/pose.json sums up: clips, median
residual, clips to look at, clips that failed. With --shard i/n (docs/scale.md) only the share i,
from 0, of the clips is fitted, and the same command without it sums up, once all shares are done. A
second run fits only what is missing or was fitted with another model or other settings. A clip that
cannot be fitted is reported and does not stop the others.

Needs a prepared corpus and a face model (data_prep.face_model, or an imported one).
"""

import functools
import logging
import sys
import typing as tp
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from affekt.media.corpus import Clip, Corpus
from affekt.media.face3d.fit import FitConfig, fit_clip, px_at_256
from affekt.media.face3d.model import FaceModel, load_face_model
from affekt.media.integrity import POSE, described, read_sealed, write_sealed
from affekt.runtime.command import config_from_argv, user_errors
from affekt.runtime.config import plain
from affekt.runtime.files import is_disk_error, save_npy, sha256
from affekt.runtime.parallel import Loss, parallel_map
from data_prep.clips.shards import in_shard, parse_shard

log = logging.getLogger(__name__)

Row = dict[str, tp.Any]


@dataclass(frozen=True)
class Config:
    """Corpus, face model and settings of the fit."""

    corpus: Path  # a prepared corpus
    model: Path  # a face model that affekt.media.face3d.model reads
    fit: FitConfig = field(default_factory=FitConfig)
    most_residual: float = 5.0  # pixels at 256; a clip whose median is above is flagged
    workers: int = 0  # processes; 0: this one, which no clip_seconds can end
    clip_seconds: float = 3600.0  # that fitting a clip may take, else it has no pose
    shard: str = ""  # i/n: the share i, from 0, of n; empty: all
    progress: bool = True

    def __post_init__(self) -> None:
        parse_shard(self.shard)
        if self.clip_seconds <= 0:
            raise ValueError(f"clip_seconds is {self.clip_seconds}, wanted more than 0")


@dataclass
class Poses:
    """Results of a run, by clip id."""

    residuals: dict[str, float]  # median of the frames, pixels at 256
    failed: dict[str, str]  # why
    made: int  # clips fitted in this run

    def flagged(self, most: float) -> list[str]:
        """Return the clips whose residual is above `most`, the worst first."""
        above = [clip_id for clip_id, value in self.residuals.items() if value > most]
        return sorted(above, key=lambda clip_id: -self.residuals[clip_id])


def fit_corpus(config: Config) -> Poses:
    """Write what is missing of a corpus' poses, and its pose.json if it is no share of them.

    Raises:
        FileNotFoundError, ValueError: no corpus, no face model, or a broken one.
        OSError: the disk is full.
    """
    corpus, name = Corpus(config.corpus), load_face_model(config.model).name
    origin = {"model": name, "sha256": sha256(config.model), "fit": plain(config.fit)}
    # What this model and these settings have made already
    shard = parse_shard(config.shard)
    clips = [clip for clip in corpus.clips() if in_shard(clip.id, shard)]
    poses = Poses({}, {}, 0)
    for clip in clips:
        record = _record(clip, origin)
        if record is not None:
            poses.residuals[clip.id] = record["residual_px"]
    # Fit the rest in worker processes; a clip that cannot be fitted is named
    missing = [clip for clip in clips if clip.id not in poses.residuals]
    fit = functools.partial(_fit, config, origin)
    found = parallel_map(fit, missing, config.workers, lost=_lost, seconds=config.clip_seconds)
    bar = tqdm(total=len(missing), desc="pose", unit="clip", disable=not config.progress)
    with bar:
        for clip_id, residual, message in found:
            bar.update()
            if residual is None:
                poses.failed[clip_id] = message
                log.warning("%s has no pose: %s", clip_id, message)
            else:
                poses.residuals[clip_id] = residual
                poses.made += 1
    if shard is None:
        _write_summary(config, origin, poses)
    return poses


def _write_summary(config: Config, origin: Row, poses: Poses) -> None:
    values = list(poses.residuals.values())
    counts = {
        "clips": len(values),
        "median_residual_px": round(float(np.median(values)), 4) if values else None,
        "flagged": poses.flagged(config.most_residual),
        "failed": poses.failed,
    }
    write_sealed(config.corpus / POSE, origin | counts)


Outcome = tuple[str, float | None, str]  # clip id, median residual at 256, why there is none


def _record(clip: Clip, origin: Row) -> Row | None:
    """Return the clip's pose.json if it is of this model and these settings."""
    path = clip.folder / POSE
    if not path.is_file() or not (clip.folder / "pose.npy").is_file():
        return None
    try:
        record = read_sealed(path)
        same = all(record[key] == value for key, value in origin.items())
        return record if same and record["residual_px"] >= 0 else None
    except (ValueError, KeyError, TypeError):  # damaged: made anew
        return None


@functools.lru_cache(maxsize=1)
def _model(path: Path, digest: str) -> FaceModel:
    """Load the model of this SHA-256, once in every process."""
    return load_face_model(path)


def _fit(config: Config, origin: Row, clip: Clip) -> Outcome:
    try:
        model = _model(config.model, origin["sha256"])
        fit = fit_clip(model, clip.landmarks(), config.fit)
        residual = fit.residual_px * px_at_256(fit.pose)
        record: Row = {
            "residual_px": round(float(np.median(residual)), 4),
            "worst_px": round(float(residual.max()), 4),
            "worst_frame": int(residual.argmax()),
        }
        save_npy(clip.folder / "pose.npy", fit.pose.astype(np.float32))
        record |= {"files": described(clip.folder, "pose.npy")}
        write_sealed(clip.folder / POSE, origin | record)
    except (OSError, ValueError, FloatingPointError, np.linalg.LinAlgError) as error:
        if is_disk_error(error):
            raise
        for name in ("pose.npy", "pose.json"):  # of an earlier run; now they would mislead
            (clip.folder / name).unlink(missing_ok=True)
        return clip.id, None, str(error)
    return clip.id, record["residual_px"], ""


def _lost(clip: Clip, loss: Loss) -> Outcome:
    return clip.id, None, str(loss)


def summary(poses: Poses, config: Config) -> str:
    """Return counts, residuals and the clips to look at, as lines of text."""
    values = list(poses.residuals.values())
    lines = [f"{len(values)} clips have poses ({poses.made} made now)"]
    if values:
        median, worst = np.median(values), max(values)
        lines.append(f"residual of a clip at 256 px: median {median:.2f}, largest {worst:.2f} px")
    flagged = poses.flagged(config.most_residual)
    lines += [f"  look at {name}: {poses.residuals[name]:.2f} px" for name in flagged[:20]]
    if len(flagged) > 20:
        lines.append(f"  and {len(flagged) - 20} more above {config.most_residual} px")
    lines += [f"  failed {name}: {message}" for name, message in poses.failed.items()]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 0 if at least one clip has a pose, else 1."""
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(name)s: %(message)s")
    flags = {"corpus": "a prepared corpus", "model": "a face model, .npz"}
    values = {"shard": "i/n: fit the share i of n of the clips alone"}
    config = config_from_argv(Config, __doc__, argv, flags, values=values)
    with user_errors():
        poses = fit_corpus(config)
    print(f"{config.corpus}: {summary(poses, config)}")
    return 0 if poses.residuals else 1


if __name__ == "__main__":
    sys.exit(main())
