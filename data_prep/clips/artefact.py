"""One array a clip beside a sealed record of how it was made: only what is missing is made.

A later step of data preparation (data_prep.mel, data_prep.expression) gives every clip an array of
its own. A clip that has it, made in the same way, is left alone; one that cannot have it is named
and does not stop the others.
"""

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from tqdm import tqdm

from affekt.arrays import Array
from affekt.media.corpus import Clip
from affekt.media.integrity import Row, described, read_sealed, write_sealed
from affekt.runtime.files import is_disk_error, save_npy
from affekt.runtime.parallel import Loss, parallel_map

log = logging.getLogger(__name__)

CLIP_ERRORS = (OSError, ValueError, FloatingPointError, np.linalg.LinAlgError)
Make = Callable[[Clip], tuple[Array, Row]]  # a clip's array, and what its record says of it


@dataclass(frozen=True)
class Artefact:
    """An array of a clip's folder and the record that describes it."""

    name: str  # in messages
    file: str  # <name>.npy
    record: str  # <name>.json

    def made_so(self, clip: Clip, origin: Row) -> Row | None:
        """Return a clip's record if its array is there and was made as `origin` says."""
        path = clip.folder / self.record
        if not path.is_file() or not (clip.folder / self.file).is_file():
            return None
        try:
            record = read_sealed(path)
            same = all(record[key] == value for key, value in origin.items())
            return record if same and record["files"].keys() == {self.file} else None
        except (ValueError, KeyError, TypeError, AttributeError):  # damaged: made anew
            return None

    def write(self, clip: Clip, array: Array, record: Row) -> None:
        """Write the array, then its record."""
        save_npy(clip.folder / self.file, array)
        files = {"files": described(clip.folder, self.file)}
        write_sealed(clip.folder / self.record, record | files)

    def remove(self, clip: Clip) -> None:
        """Remove what an earlier run left, which would mislead."""
        for name in (self.record, self.file):
            (clip.folder / name).unlink(missing_ok=True)


@dataclass
class Results:
    """Clips by id: the records of those that have the array, and why the others have none."""

    records: dict[str, Row] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    made: int = 0  # in this run

    def lines(self, what: str) -> list[str]:
        """Return counts and the clips that failed, as lines of text."""
        said = [f"{len(self.records)} clips have {what} ({self.made} made now)"]
        return said + [f"  failed {name}: {why}" for name, why in sorted(self.failed.items())]


def make_missing(
    artefact: Artefact,
    clips: Sequence[Clip],
    origins: Mapping[str, Row],
    make: Make,
    workers: int = 0,
    progress: bool = True,
) -> Results:
    """Make the array of each clip that has none made in this way.

    Args:
        artefact: what is made.
        clips: of a corpus.
        origins: of every clip's id, what its record must say for the array to be left alone.
        make: computes the array of a clip; picklable if there are workers.
        workers: processes; 0: this one.
        progress: a bar.

    Raises:
        OSError: the disk is full.
    """
    results, missing = Results(), []
    for clip in clips:
        record = artefact.made_so(clip, origins[clip.id])
        if record is None:
            missing.append((clip, origins[clip.id]))
        else:
            results.records[clip.id] = record
    outcomes = parallel_map(functools.partial(_make, artefact, make), missing, workers, lost=_lost)
    bar = tqdm(total=len(missing), desc=artefact.name, unit="clip", disable=not progress)
    with bar:
        for clip_id, record, why in outcomes:
            bar.update()
            if record is None:
                results.failed[clip_id] = why
                log.warning("%s has no %s: %s", clip_id, artefact.name, why)
            else:
                results.records[clip_id] = record
                results.made += 1
    return results


Item = tuple[Clip, Row]
Outcome = tuple[str, Row | None, str]  # clip id, its record, why there is none


def _make(artefact: Artefact, make: Make, item: Item) -> Outcome:
    clip, origin = item
    try:
        array, record = make(clip)
        artefact.write(clip, array, origin | record)
    except CLIP_ERRORS as error:
        if is_disk_error(error):
            raise
        artefact.remove(clip)
        return clip.id, None, str(error)
    return clip.id, record, ""


def _lost(item: Item, loss: Loss) -> Outcome:
    return item[0].id, None, str(loss)
