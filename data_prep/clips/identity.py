"""One identity a speaker: whose clips it is taken from, and the files that hold it.

Coefficients of expression mean the same in two clips of a person only under the same identity. If
each clip has its own, a fit explains brows, lids and mouth corners that an emotion holds through
the whole clip as shape of the skull, and the expression lacks them. So a speaker's identity is the
mean over clips without emotion (ours; the paper says nothing of its fit).

The rule: of the clips of the split `train`, or of all if the speaker has none there, the neutral
ones; all emotions, if there are none. A test speaker's identity thus comes from the test speaker's
own neutral clips. It is a shape of no moment and no emotion, which a portrait of the person shows
as well, and no network is told a clip's expression by it; train speakers' held-out clips take no
part in any case.

Letters: S speakers, K identity coefficients.
"""

import hashlib
import json
import typing as tp
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from affekt.arrays import Array
from affekt.media.corpus import Clip, by_speaker
from affekt.media.emotions import NEUTRAL
from affekt.media.face3d.coefficients import IDENTITIES
from affekt.media.integrity import EXPRESSION, Row, described, write_sealed
from affekt.media.validation import evenly_spread
from affekt.runtime.files import replacing
from affekt.runtime.npz_files import load_npz
from data_prep.clips.artefact import Artefact

ARTEFACT = Artefact("expression", "expression.npy", EXPRESSION)  # of a clip
SHOWN = 20  # names in a summary

Outcome = tuple[str, Array | None, str]  # clip id, its own identity (K,), why it has none
Estimate = Callable[[Sequence[Clip]], tp.Iterable[Outcome]]


class Identity(tp.NamedTuple):
    """A speaker's identity and where it comes from."""

    values: Array  # (K,) float32; the mean over clips
    clips: int  # that it is the mean of
    neutral: bool  # whether those are without emotion
    source: str  # hash of settings and clips

    def digest(self) -> str:
        """Return the SHA-256 of the values."""
        return hashlib.sha256(self.values.tobytes()).hexdigest()


def clips_of_identity(clips: Sequence[Clip], most: int) -> tuple[list[Clip], list[Clip]]:
    """Return a speaker's neutral clips of the rule above, and all those that may take their place.

    At most `most` of each, evenly spread.
    """
    own = [clip for clip in clips if clip.split == "train"] or list(clips)
    neutral = [clip for clip in own if clip.emotion == NEUTRAL]
    return evenly_spread(neutral, most), evenly_spread(own, most)


def speaker_identities(
    clips: Sequence[Clip],
    most: int,
    origin: Row,
    known: Mapping[str, Identity],
    estimate: Estimate,
) -> tuple[dict[str, Identity], dict[str, str]]:
    """Return each speaker's identity, and why a speaker has none.

    Args:
        clips: all of the corpus.
        most: clips that an identity is the mean of, at most.
        origin: how an identity is estimated.
        known: identities of an earlier run, taken over where clips and `origin` are the same.
        estimate: gives each of some clips an identity of its own.
    """
    found: dict[str, Identity] = {}
    choices, sources = {}, {}
    for speaker, own in by_speaker(clips).items():
        choices[speaker] = clips_of_identity(own, most)
        sources[speaker] = _source(origin, choices[speaker])
        if speaker in known and known[speaker].source == sources[speaker]:
            found[speaker] = known[speaker]
    # The neutral clips of each speaker; then all emotions, of those who have no neutral one
    failed: dict[str, str] = {}
    for neutral in (True, False):
        chosen = {
            speaker: choice[not neutral]
            for speaker, choice in choices.items()
            if speaker not in found
        }
        values, reasons = _means(chosen, estimate)
        failed |= reasons
        for speaker, (mean, count) in values.items():
            found[speaker] = Identity(mean, count, neutral, sources[speaker])
    return found, {name: failed.get(name, "no clip") for name in choices if name not in found}


def _means(
    chosen: Mapping[str, Sequence[Clip]], estimate: Estimate
) -> tuple[dict[str, tuple[Array, int]], dict[str, str]]:
    """Return the mean over clips of each speaker and their number, and why others have none."""
    speaker_of = {clip.id: speaker for speaker, clips in chosen.items() for clip in clips}
    values: dict[str, dict[str, Array]] = {}
    reasons = {}
    for clip_id, identity, why in estimate([clip for clips in chosen.values() for clip in clips]):
        if identity is None:
            reasons[speaker_of[clip_id]] = f"{clip_id}: {why}"
        else:
            values.setdefault(speaker_of[clip_id], {})[clip_id] = identity
    means = {}
    for speaker, own in values.items():
        ordered = [own[clip_id] for clip_id in sorted(own)]  # whatever process was first
        means[speaker] = np.mean(ordered, axis=0).astype(np.float32), len(own)
    return means, reasons


def _source(origin: Row, choice: tuple[Sequence[Clip], Sequence[Clip]]) -> str:
    names = [clip.id for clip in choice[0] or choice[1]]
    return hashlib.sha256(json.dumps([origin, names]).encode()).hexdigest()


def save_identities(root: Path, identities: Mapping[str, Identity]) -> None:
    """Write identities.npz: speakers, identities (S, K), clips, neutral, sources."""
    names = sorted(identities)
    columns = [identities[name] for name in names]
    with replacing(root / IDENTITIES) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            speakers=np.array(names, str),
            identities=np.array([one.values for one in columns], np.float32),
            clips=np.array([one.clips for one in columns], int),
            neutral=np.array([one.neutral for one in columns], bool),
            sources=np.array([one.source for one in columns], str),
        )


def known_identities(root: Path) -> dict[str, Identity]:
    """Return the identities of an earlier run; none where the file is missing or damaged."""
    keys = ("identities", "clips", "neutral", "sources")
    try:
        arrays = load_npz(root / IDENTITIES, "")
        columns = zip(*(arrays[key] for key in keys), strict=True)
        return {
            str(name): Identity(values, int(count), bool(neutral), str(source))
            for name, (values, count, neutral, source) in zip(
                arrays["speakers"], columns, strict=True
            )
        }
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return {}


def write_corpus_record(
    root: Path, record: Row, identities: Mapping[str, Identity], files: Sequence[str]
) -> None:
    """Write <corpus>/expression.json, sealed, with the checksums of `files`."""
    emotional = [name for name, one in sorted(identities.items()) if not one.neutral]
    about = {"speakers": len(identities), "identity_of_all_emotions": emotional}
    write_sealed(root / EXPRESSION, record | about | {"files": described(root, *files)})


def identity_lines(identities: Mapping[str, Identity], failed: Mapping[str, str]) -> list[str]:
    """Return what was done without neutral clips, and who has no identity, as lines of text."""
    emotional = [name for name, one in sorted(identities.items()) if not one.neutral]
    lines = [f"{len(identities)} speakers, one identity each"]
    if emotional:
        named = ", ".join(emotional[:SHOWN]) + (", ..." if len(emotional) > SHOWN else "")
        lines.append(
            f"  of {len(emotional)} from clips of all emotions, since there is no neutral one, so "
            f"that their expression may lack what these have in common: {named}"
        )
    return lines + [f"  no identity of {name}: {why}" for name, why in sorted(failed.items())]
