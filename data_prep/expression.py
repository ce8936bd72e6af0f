"""Fit head pose and expression of every clip, under one identity a speaker: expression.npy.

    python -m data_prep.expression --corpus data/mini --model weights/mini/face_model.npz
    python -m data_prep.expression configs/data/expression.yaml corpus=data/mead workers=8
    python -m data_prep.expression configs/data/expression.yaml corpus=data/mead --shard 3/16
    python -m data_prep.expression --import FOLDER --format deep3d --corpus data/mead

What emospace predicts (EAC) and renders (HEF). The face model is fitted to landmarks.npy twice: to
the neutral clips of each speaker, whose mean identity the speaker keeps
(data_prep/clips/identity.py), then to every clip with that identity held. data_prep.pose fits an
identity to each clip and leaves emotion in it: of 120 detected clips of the mini corpus (6 people)
that identity alone tells the eight emotions at .98 (chance .13), and brows, lids and mouth corners
of a surprised face move .018 eye distances in place of .039, of an angry one .013 in place of .019.

Writes into each clip's folder expression.npy, (T, 6 + E) float32: head pose as in pose.npy, and the
E expression coefficients, in the units of the face model; and expression.json: model, settings,
residual. <corpus>/ gets identities.npz, expression_model.npz (a copy of the face model) and
expression.json, which affekt/media/face3d/coefficients.py reads. A second run fits only what is
missing or was fitted with another model, other settings or another identity. With --shard i/n
(docs/scale.md) only the share i, from 0, of the clips is fitted, under the identities of all
speakers, and the same command without it sums up, once all shares are done. A clip that cannot be
fitted is reported and does not stop the others.

--import takes over coefficients that others computed; data_prep/face_formats/coefficients.py says
which, and what such a corpus cannot do.

Needs a prepared corpus and a face model (data_prep.face_model, or an imported one).
"""

import functools
import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from affekt.arrays import Array
from affekt.media.corpus import Clip, Corpus
from affekt.media.face3d.coefficients import IDENTITIES, MODEL
from affekt.media.face3d.fit import FitConfig, fit_clip, px_at_256
from affekt.media.face3d.model import FaceModel, load_face_model
from affekt.media.integrity import Row
from affekt.runtime.command import config_from_argv, user_errors
from affekt.runtime.config import plain
from affekt.runtime.files import is_disk_error, replacing, sha256
from affekt.runtime.parallel import Loss, parallel_map
from data_prep.clips.artefact import CLIP_ERRORS, Results, make_missing
from data_prep.clips.identity import (
    ARTEFACT,
    Identity,
    Outcome,
    identity_lines,
    known_identities,
    save_identities,
    speaker_identities,
    write_corpus_record,
)
from data_prep.clips.shards import in_shard, parse_shard
from data_prep.face_formats import coefficients as coefficient_import

SHOWN = 20  # clips to look at


@dataclass(frozen=True)
class Config:
    """Corpus, face model and settings of the fit."""

    corpus: Path  # a prepared corpus
    model: Path  # a face model that affekt.media.face3d.model reads
    fit: FitConfig = field(default_factory=FitConfig)
    identity_clips: int = 40  # of a speaker that give the identity, at most, evenly spread
    most_residual: float = 5.0  # pixels at 256; a clip whose median is above is flagged
    workers: int = 0  # processes; 0: this one
    shard: str = ""  # i/n: the share i, from 0, of n; empty: all
    progress: bool = True

    def __post_init__(self) -> None:
        parse_shard(self.shard)
        if self.identity_clips < 1:
            raise ValueError(f"identity_clips is {self.identity_clips}, wanted 1 or more")


@dataclass
class Expressions:
    """Results of a run: identities by speaker, fits by clip id."""

    identities: dict[str, Identity]
    no_identity: dict[str, str]  # speaker: why
    clips: Results

    def residuals(self) -> dict[str, float]:
        """Return the median residual of each clip, pixels at 256."""
        return {name: record["residual_px"] for name, record in self.clips.records.items()}

    def flagged(self, most: float) -> list[str]:
        """Return the clips whose residual is above `most`, the worst first."""
        values = self.residuals()
        return sorted((name for name in values if values[name] > most), key=lambda n: -values[n])


def fit_corpus(config: Config) -> Expressions:
    """Write what is missing of a corpus' identities and expressions; a share leaves out the sums.

    Raises:
        FileNotFoundError, ValueError: no corpus, no face model, or a broken one.
        OSError: the disk is full.
    """
    corpus, model = Corpus(config.corpus), load_face_model(config.model)
    origin: Row = {"model": model.name, "sha256": sha256(config.model), "fit": plain(config.fit)}
    # One identity a speaker, of neutral clips
    known, most = known_identities(config.corpus), config.identity_clips
    estimate = functools.partial(_estimate, config, origin["sha256"])
    identities, without = speaker_identities(corpus.clips(), most, origin, known, estimate)
    if identities.keys() != known.keys() or any(
        identities[name].source != known[name].source for name in known
    ):
        save_identities(config.corpus, identities)
    # Every clip under the identity of its speaker
    shard = parse_shard(config.shard)
    clips = [clip for clip in corpus.clips() if in_shard(clip.id, shard)]
    fitted = [clip for clip in clips if clip.speaker in identities]
    digests = {name: one.digest() for name, one in identities.items()}
    origins = {clip.id: origin | {"identity": digests[clip.speaker]} for clip in fitted}
    values = {name: one.values for name, one in identities.items()}
    fit = functools.partial(_fit, config, origin["sha256"], values)
    found = make_missing(ARTEFACT, fitted, origins, fit, config.workers, config.progress)
    for clip in clips:
        if clip.speaker in without:
            ARTEFACT.remove(clip)
            why = f"{clip.speaker} has no identity ({without[clip.speaker]})"
            found.failed[clip.id] = why
    results = Expressions(identities, without, found)
    if shard is None:
        _write_summary(config, origin | {"modes": len(model.expression)}, results)
    return results


def _write_summary(config: Config, origin: Row, results: Expressions) -> None:
    """Write the copy of the face model and <corpus>/expression.json."""
    content = config.model.read_bytes()
    with replacing(config.corpus / MODEL) as temporary:
        temporary.write_bytes(content)
    values = list(results.residuals().values())
    counts = {
        "clips": len(values),
        "median_residual_px": round(float(np.median(values)), 4) if values else None,
        "flagged": results.flagged(config.most_residual),
        "failed": results.clips.failed,
    }
    if not (config.corpus / IDENTITIES).is_file():  # nobody has one
        save_identities(config.corpus, results.identities)
    files = (IDENTITIES, MODEL)
    write_corpus_record(config.corpus, origin | counts, results.identities, files)


@functools.lru_cache(maxsize=1)
def _model(path: Path, digest: str) -> FaceModel:
    """Load the model of this SHA-256, once in every process."""
    return load_face_model(path)


def _estimate(config: Config, digest: str, clips: Sequence[Clip]) -> Iterable[Outcome]:
    """Yield the identity that a fit of its own gives each clip."""
    fit = functools.partial(_own_identity, config, digest)
    found = parallel_map(fit, clips, config.workers, lost=_lost)
    hidden = not config.progress or not clips
    yield from tqdm(found, "identity", len(clips), unit="clip", disable=hidden)


def _own_identity(config: Config, digest: str, clip: Clip) -> Outcome:
    try:
        fit = fit_clip(_model(config.model, digest), clip.landmarks(), config.fit)
    except CLIP_ERRORS as error:
        if is_disk_error(error):
            raise
        return clip.id, None, str(error)
    return clip.id, fit.identity, ""


def _lost(clip: Clip, loss: Loss) -> Outcome:
    return clip.id, None, str(loss)


def _fit(
    config: Config, digest: str, identities: Mapping[str, Array], clip: Clip
) -> tuple[Array, Row]:
    """Return a clip's pose and expression (T, 6 + E), and the residuals of the fit."""
    identity = identities[clip.speaker].astype(float)
    fit = fit_clip(_model(config.model, digest), clip.landmarks(), config.fit, identity)
    residual = fit.residual_px * px_at_256(fit.pose)
    record: Row = {
        "residual_px": round(float(np.median(residual)), 4),
        "worst_px": round(float(residual.max()), 4),
        "worst_frame": int(residual.argmax()),
    }
    return np.hstack([fit.pose, fit.expression]).astype(np.float32), record


def summary(results: Expressions, config: Config) -> str:
    """Return counts, identities, residuals and the clips to look at, as lines of text."""
    said, *failed = results.clips.lines("expression coefficients")
    lines = [said, *identity_lines(results.identities, results.no_identity)]
    values = results.residuals()
    if values:
        median, worst = np.median(list(values.values())), max(values.values())
        lines.append(f"residual of a clip at 256 px: median {median:.2f}, largest {worst:.2f} px")
    flagged = results.flagged(config.most_residual)
    lines += [f"  look at {name}: {values[name]:.2f} px" for name in flagged[:SHOWN]]
    if len(flagged) > SHOWN:
        lines.append(f"  and {len(flagged) - SHOWN} more above {config.most_residual} px")
    return "\n".join(lines + failed)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 0 if at least one clip has coefficients, else 1."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(name)s: %(message)s")
    if any(word.partition("=")[0] == "--import" for word in arguments):
        return coefficient_import.main(arguments, __doc__)
    flags = {"corpus": "a prepared corpus", "model": "a face model, .npz"}
    values = {"shard": "i/n: fit the share i of n of the clips alone"}
    config = config_from_argv(Config, __doc__, arguments, flags, values=values)
    with user_errors():
        results = fit_corpus(config)
    print(f"{config.corpus}: {summary(results, config)}")
    return 0 if results.clips.records else 1


if __name__ == "__main__":
    sys.exit(main())
