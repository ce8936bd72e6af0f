"""Pseudo training pairs of EVP (CVPR 2021, Sec. 3.2): the same sentence in all emotions, aligned.

    python -m data_prep.pairs data/mini
    python -m data_prep.pairs data/mine --table sentences.csv
    python -m data_prep.pairs data/mead --reference neutral --max-cost 0.6 --workers 8
    python -m data_prep.pairs data/mead --aligner dtw --no-energy --max-cost 150
    python -m data_prep.pairs data/mead --aligner dtw --backend dtw-python

For every speaker and sentence the MFCC of each emotion's clips are warped to the reference
emotion's clip: by data_prep.alignment.speech, which passes over pauses and stops where one
recording breaks off, or with --aligner dtw as EVP's release does. Writes
<corpus>/pairs/<speaker>/<sentence>/<emotion>.npy, (rows, 13) float32 (a second recording of an
emotion: <emotion>_2.npy), and pairs/pairs.jsonl, a line each: speaker, sentence, emotion, reference
(its emotion), clip and reference_clip (ids), split, aligner (`speech` or `dtw`), matched (rows of
the reference that this clip holds), rows (of the file: those that all clips of the sentence hold),
cost (of a step of the path; 0 for the reference), file (relative to pairs/), its size and SHA-256.
What was left out, and why, stands in pairs/left_out.jsonl, checksums of both lists in
pairs/pairs.json. Clips of different splits are never paired; training reads the rows whose split is
`train`. A second run makes only what is missing, damaged or made with other settings.

A clip above --longest seconds is no sentence, and is left out: time and memory of aligning grow
with the square of its length. With --workers, a sentence that takes longer than --seconds is left
out, too.

Where a corpus numbers its files differently from emotion to emotion, --table names a CSV file with
the columns speaker, emotion, number, sentence (not where data_prep.prepare had the table already,
as configs/data/mead.yaml does). Speakers whom the table does not name are matched by the cost of
aligning every clip to every other, with a warning (data_prep.sentences). --max-cost drops
pairs that align badly. Needs a prepared corpus (data_prep.prepare).
"""

import functools
import hashlib
import json
import logging
import typing as tp
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import numpy as np
from tqdm import tqdm

from affekt.arrays import Array
from affekt.media.audio.mfcc import WINDOW_ROWS
from affekt.media.corpus import Clip, Corpus
from affekt.media.emotions import EMOTIONS
from affekt.media.integrity import (
    LEFT_OUT,
    PAIR_FOLDER,
    PAIR_LIST,
    PAIRS,
    check_pairs,
    described,
    read_sealed,
    write_lists,
    write_sealed,
)
from affekt.runtime.command import CommandParser, user_errors
from affekt.runtime.files import DamagedFileError, save_npy, sha256
from affekt.runtime.lock import locked
from affekt.runtime.parallel import Loss, parallel_map
from data_prep.alignment.dtw import Backend, Metric, dtw_path, warp
from data_prep.alignment.speech import align_speech
from data_prep.sentences import LONGEST, Group, Take, emotion_order, sentence_groups

log = logging.getLogger(__name__)

Row = dict[str, tp.Any]  # a line of pairs.jsonl or left_out.jsonl

LEAST_SHARE = 0.5  # of the reference's rows; a clip that holds less would shorten all the others


@dataclass(frozen=True)
class PairsConfig:
    """Alignment settings; metric and energy are those of EVP's release, and for `dtw` alone."""

    aligner: tp.Literal["speech", "dtw"] = "speech"  # dtw: plain DTW, as the paper
    reference: str | None = None  # emotion; where it is missing, and by default, the first label
    metric: Metric = "l1"
    energy: bool = True  # the distance sees column 0, the log energy, too
    table: Path | None = None  # CSV: which file numbers are the same sentence
    max_cost: float | None = None  # per step of the path; None keeps every pair
    backend: Backend = "numba"  # of `dtw`: dtw-python finds the same path and cost, slower
    longest: float = LONGEST  # seconds of a clip; a longer one is no sentence
    workers: int = 0  # processes; 0: this one, which no `seconds` can end
    seconds: float = 3600.0  # that the clips of a sentence may take, else they are left out

    def __post_init__(self) -> None:
        if min(self.longest, self.seconds) <= 0:
            raise ValueError("--longest and --seconds must be above 0")
        if self.backend != "numba" and self.aligner != "dtw":
            raise ValueError(f"--backend {self.backend} computes plain DTW: add --aligner dtw")


@dataclass
class Pairs:
    """Results of a run: lines of pairs.jsonl, lines of left_out.jsonl, how many were kept."""

    rows: list[Row] = field(default_factory=list)
    left_out: list[Row] = field(default_factory=list)
    kept: int = 0

    def leave_out(self, clip: Clip, reason: str) -> None:
        """Note that this clip is in no pair."""
        self.left_out.append({"clip": clip.id, "reason": reason})

    def summary(self) -> str:
        """Return counts by split, and of what was left out by reason, as lines of text."""
        made = len(self.rows) - self.kept
        lines = [f"{len(self.rows)} aligned clips ({made} made now, {self.kept} at hand)"]
        for split in sorted({row["split"] for row in self.rows}):
            rows = [row for row in self.rows if row["split"] == split]
            sentences = {(row["speaker"], row["sentence"]) for row in rows}
            costs = [row["cost"] for row in rows if row["clip"] != row["reference_clip"]]
            lines.append(
                f"  {split}: {len(rows)} clips of {len(sentences)} sentences, "
                f"median cost of a step {np.median(costs):.3g}"
            )
        for reason in sorted({row["reason"] for row in self.left_out}):
            count = sum(row["reason"] == reason for row in self.left_out)
            lines.append(f"  left out: {count} clips, {reason}")
        return "\n".join(lines)


def make_pairs(root: Path, config: PairsConfig, progress: bool = True) -> Pairs:
    """Write the aligned MFCC of the corpus at `root`, and return what was written.

    A clip that cannot be read is left out and listed; it does not stop the others.

    Raises:
        ValueError: an emotion or a table that does not fit the corpus.
        FileNotFoundError: no prepared corpus, or no table, there.
    """
    corpus = Corpus(root)
    order = emotion_order(corpus, config.reference)
    pairs, folder = Pairs(), root / PAIR_FOLDER
    groups = sentence_groups(corpus, config.table, order, pairs.leave_out, config.longest)
    with locked(folder, "pairing"):
        at_hand = _at_hand(folder)
        tasks: list[_Task] = []
        for group in sorted(groups):
            takes = sorted(groups[group], key=lambda take: order.index(take.clip.emotion))
            own = [row for take in takes for row in at_hand.get(take.clip.id, ())]
            tasks.append(_Task(len(tasks), group, takes, own))
        # In worker processes, whose answers come in any order
        pair = functools.partial(_pair, config, folder)
        found = parallel_map(pair, tasks, config.workers, lost=_lost, seconds=config.seconds)
        shown = tqdm(found, "pairs", len(tasks), unit="sentence", disable=not progress)
        for _, one in sorted(shown, key=lambda answer: answer[0]):
            pairs.rows += one.rows
            pairs.left_out += one.left_out
            pairs.kept += one.kept
        labels = corpus.emotions.index
        pairs.rows.sort(
            key=lambda row: (row["speaker"], row["sentence"], labels(row["emotion"]), row["file"])
        )
        _write_lists(folder, pairs)
    return pairs


def _write_lists(folder: Path, pairs: Pairs) -> None:
    try:
        read_sealed(folder / PAIRS)
    except (FileNotFoundError, DamagedFileError):
        write_sealed(folder / PAIRS, {})
    write_lists(folder, {PAIR_LIST: pairs.rows, LEFT_OUT: pairs.left_out}, PAIRS)


def _at_hand(folder: Path) -> dict[str, list[Row]]:
    """Return the lines of an earlier run whose files are still there and whole, by clip."""
    found: dict[str, list[Row]] = {}
    try:
        rows = check_pairs(folder.parent)  # else what is damaged in a line would be kept
    except FileNotFoundError:
        return {}
    except DamagedFileError as error:
        log.warning("all pairs are made anew: %s", error)
        return {}
    for row in rows:
        path = folder / row["file"]
        if path.is_file() and row.get("sha256", "") in ("", sha256(path)):
            found.setdefault(row["clip"], []).append(row)
    return found


class _Task(tp.NamedTuple):
    """The clips of a sentence, and what an earlier run made of them."""

    number: int
    group: Group
    takes: Sequence[Take]
    at_hand: Sequence[Row]


def _lost(task: _Task, loss: Loss) -> tuple[int, Pairs]:
    pairs = Pairs()
    for take in task.takes:
        log.warning("%s is left out: %s", take.clip.id, loss)
        pairs.leave_out(take.clip, f"its sentence: {loss}")
    return task.number, pairs


def _pair(config: PairsConfig, folder: Path, task: _Task) -> tuple[int, Pairs]:
    """Align the clips of one sentence to the first of them that can be read."""
    # Align every readable clip that no earlier run aligned.
    pairs, at_hand = Pairs(), {row["made_from"]: row for row in task.at_hand}
    readable = _read(task.takes, pairs)
    near: list[tuple[Clip, Row, Array | None]] = []  # None: the file is at hand
    for take, mfcc in readable:
        row = _row(task.group, take, mfcc, readable[0], config)
        old, warped = at_hand.get(row["made_from"]), None
        if old is None:
            warped, row["cost"], row["matched"] = _aligned(mfcc, readable[0][1], config)
        row = (old or row) | {"aligner": config.aligner}  # older files do not say
        if reason := _too_far(row, len(readable[0][1]), config):
            pairs.leave_out(take.clip, reason)
            continue
        near.append((take.clip, row, warped))
    # A pair needs two emotions.
    if len({clip.emotion for clip, _, _ in near}) < 2:
        for clip, _, _ in near:
            pairs.leave_out(clip, "its sentence has no other emotion in this split")
        return task.number, pairs
    # Write the rows that all clips of the sentence hold.
    common = min(row["matched"] for _, row, _ in near)
    mfcc_of = {take.clip.id: mfcc for take, mfcc in readable}
    for clip, row, warped in near:
        if warped is None and row["rows"] != common:
            warped = _aligned(mfcc_of[clip.id], readable[0][1], config)[0]
        pairs.kept += warped is None
        if warped is not None:
            save_npy(folder / row["file"], warped[:common])
        size, digest = described(folder, row["file"])[row["file"]]
        pairs.rows.append(row | {"rows": common, "size": size, "sha256": digest})
    return task.number, pairs


def _too_far(row: Row, rows: int, config: PairsConfig) -> str | None:
    """Return why a clip makes no pair with a reference of this many rows, or None."""
    if config.max_cost is not None and row["cost"] > config.max_cost:
        return f"it costs more than {config.max_cost} a step"
    if row["matched"] < LEAST_SHARE * rows:
        return f"it holds less than {LEAST_SHARE:.0%} of the reference's sentence"
    return None


def _read(takes: Sequence[Take], pairs: Pairs) -> list[tuple[Take, Array]]:
    readable = []
    for take in takes:
        try:
            readable.append((take, take.clip.mfcc()))
        except (OSError, ValueError) as error:
            log.warning("%s is left out: %s", take.clip.id, error)
            pairs.leave_out(take.clip, "its mfcc.npy cannot be read")
    return readable


def _row(
    group: Group, take: Take, mfcc: Array, reference: tuple[Take, Array], config: PairsConfig
) -> Row:
    """Return a clip's line of pairs.jsonl, as if it held the reference's rows at no cost."""
    speaker, sentence, split = group
    clip, (reference_take, reference_rows) = take.clip, reference
    name = clip.emotion if take.number == 1 else f"{clip.emotion}_{take.number}"
    place = Path(_folder_name(speaker)) / _folder_name(sentence) / f"{name}.npy"
    dtw = [config.metric, config.energy] if config.aligner == "dtw" else []
    settings = json.dumps([config.aligner, *dtw, config.max_cost, clip.id])
    made_from = hashlib.sha256(settings.encode())
    for part in (str(place).encode(), split.encode(), mfcc.tobytes(), reference_rows.tobytes()):
        made_from.update(hashlib.sha256(part).digest())
    return {
        "speaker": speaker,
        "sentence": sentence,
        "emotion": clip.emotion,
        "reference": reference_take.clip.emotion,
        "clip": clip.id,
        "reference_clip": reference_take.clip.id,
        "split": split,
        "aligner": config.aligner,
        "matched": len(reference_rows),
        "rows": len(reference_rows),
        "cost": 0.0,
        "file": place.as_posix(),
        "made_from": made_from.hexdigest()[:16],
    }


def _folder_name(name: str) -> str:
    """Return a name that is one folder on every file system, whatever characters it has."""
    return quote(name, safe=" ").replace(".", "%2E")


def _aligned(mfcc: Array, reference: Array, config: PairsConfig) -> tuple[Array, float, int]:
    """Return a clip's MFCC in the reference's timing and how well they fit.

    The MFCC are (reference rows, 13), then the cost of a step, and how many of the reference's rows
    the clip holds: later ones mean nothing.
    """
    length = len(reference)
    if config.aligner == "speech":
        path, cost, (_, matched) = align_speech(mfcc, reference)
        return warp(mfcc, path, length), cost, min(max(matched, WINDOW_ROWS), length)
    first = 0 if config.energy else 1
    path, cost = dtw_path(mfcc[:, first:], reference[:, first:], config.metric, config.backend)
    return warp(mfcc, path, length), cost / len(path), length


def _config_from_argv() -> tuple[Path, PairsConfig]:
    parser = CommandParser(__doc__)
    add = parser.add_argument
    add("corpus", type=Path, help="a prepared corpus, data/<name>")
    add("--reference", help=f"emotion whose timing all take (default: first of {EMOTIONS})")
    add("--aligner", choices=("speech", "dtw"), default="speech", help="dtw: plain, as the paper")
    add("--metric", choices=tp.get_args(Metric), default="l1", help="dtw: of two rows")
    add("--no-energy", dest="energy", action="store_false", help="dtw: 12 columns, not all 13")
    add("--table", type=Path, help="CSV of speaker, emotion, number, sentence")
    add("--max-cost", type=float, help="leave out pairs above it, per step")
    text = "seconds of a clip; a longer one is no sentence (default: %(default)g)"
    add("--longest", type=float, default=LONGEST, help=text)
    add("--workers", type=int, default=0, help="processes (default: this one)")
    text = "that a sentence may take in a worker process (default: %(default)g)"
    add("--seconds", type=float, default=PairsConfig.seconds, help=text)
    add("--backend", choices=tp.get_args(Backend), default="numba", help="dtw: the same path")
    settings = vars(parser.parse_args())
    try:
        return settings.pop("corpus"), PairsConfig(**settings)
    except ValueError as error:
        parser.error(str(error))


def main() -> None:
    """Run from the command line."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    root, config = _config_from_argv()
    with user_errors():
        pairs = make_pairs(root, config)
    print(pairs.summary())


if __name__ == "__main__":
    main()
