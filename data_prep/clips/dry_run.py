"""What preparing a corpus would do: clips by speaker, emotion and split, time and room.

Time and room are those of a few clips, spread over the corpus and prepared into a temporary folder,
in proportion to the size of their files.
"""

import os
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from affekt.markdown import markdown_table
from affekt.media.corpus import SPLITS
from affekt.media.validation import evenly_spread
from data_prep.clips.clip import ClipOutcome, PrepareJob, clip_folder, outcomes, stamp
from data_prep.clips.layouts.config import Listing, Source

SAMPLE = 4  # clips
MOST_SPEAKERS = 40  # of a table that people read
SHOWN = 10  # refusals


@dataclass(frozen=True)
class Plan:
    """What there is, and what is to be done."""

    listing: Listing
    splits: dict[str, str]  # by clip id
    todo: Sequence[Source]
    job: PrepareJob
    workers: int


@dataclass(frozen=True)
class _Measured:
    """One clip of the sample."""

    outcome: ClipOutcome
    seconds: float
    written: int  # bytes


def report(plan: Plan) -> str:
    """Return the plan for people, with time and room estimated from a sample."""
    sources, refused = plan.listing.sources, plan.listing.refused
    done = len(sources) - len(plan.todo)
    lines = [
        f"dry run: nothing is written to {plan.job.out}",
        f"{len(plan.todo)} clips to prepare, {done} are prepared or refused already",
        _table(sources, plan.splits),
        *plan.listing.notes,
    ]
    if refused:
        reasons = Counter(refusal.reason for refusal in refused).most_common()
        counts = ", ".join(f"{reason} {count}" for reason, count in reasons)
        lines.append(f"refused by their names {len(refused)} ({counts})")
        lines += [f"  {refusal.reason}: {refusal.message}" for refusal in refused[:SHOWN]]
    if plan.todo:
        lines += _estimate(plan)
    return "\n".join(lines)


def _table(sources: Sequence[Source], splits: dict[str, str]) -> str:
    """Return the clips by speaker and emotion, with their splits."""
    emotions = sorted({source.emotion for source in sources})
    speakers = sorted({source.speaker for source in sources})
    rows = []
    for speaker in [*(speakers if len(speakers) <= MOST_SPEAKERS else ()), None]:
        own = [source for source in sources if speaker in (None, source.speaker)]
        by_emotion = Counter(source.emotion for source in own)
        by_split = Counter(splits[source.id] for source in own)
        figures = [*(by_emotion[name] for name in emotions), len(own)]
        figures += [by_split[name] for name in SPLITS]
        rows.append([speaker or f"all {len(speakers)}", *map(str, figures)])
    return markdown_table(["speaker", *emotions, "clips", *SPLITS], rows)


def _estimate(plan: Plan) -> list[str]:
    """Return the lines on time and room, and on what the sample's clips were refused for."""
    measured = _sample(evenly_spread(list(plan.todo), SAMPLE), plan.job)
    read = sum(_bytes(each.outcome.source) for each in measured)
    share = sum(map(_bytes, plan.todo)) / read if read else len(plan.todo) / len(measured)
    processes = min(max(1, plan.workers), os.cpu_count() or 1)
    seconds = sum(each.seconds for each in measured)
    written = sum(each.written for each in measured)
    lines = [
        f"about {_span(share * seconds / processes)} in {processes} processes and "
        f"{_room(share * written)} of disk, by {len(measured)} clips "
        f"({seconds / len(measured):.2f} s and {_room(written / len(measured))} a clip)"
    ]
    bad = [each.outcome for each in measured if each.outcome.reason is not None]
    lines += [f"  refused, {outcome.reason}: {outcome.message}" for outcome in bad]
    return lines


def _sample(sources: Sequence[Source], job: PrepareJob) -> list[_Measured]:
    """Prepare the sources into a temporary folder; the first is done twice, to load detectors."""
    measured = []
    with tempfile.TemporaryDirectory(prefix="affekt-dry-run-") as folder:
        trial = replace(job, out=Path(folder))
        begin = time.perf_counter()
        for outcome in outcomes([sources[0], *sources], trial):
            seconds = time.perf_counter() - begin
            files = clip_folder(trial.out, outcome.source).glob("*")
            measured.append(_Measured(outcome, seconds, sum(f.stat().st_size for f in files)))
            begin = time.perf_counter()
    return measured[1:]


def _bytes(source: Source) -> int:
    return sum(known[0] or 0 for known in stamp(source) if known is not None)


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _room(size: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
