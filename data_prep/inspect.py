"""Contact sheet and counts of a prepared corpus.

    python -m data_prep.inspect data/mini
    python -m data_prep.inspect data/mead --speakers M003 M030 --split train --out sheet.png
    python -m data_prep.inspect data/mead --verify

The sheet has a row for each speaker and a column for each emotion: the middle frame of the first
clip, with its landmarks. It is the quickest way to see a wrong crop, wrong colours, or landmarks
that do not sit. A corpus of sounds has no sheet. Of many speakers, 50 are shown, evenly spread.

--verify reads every byte of the corpus instead, poses, flow and pairs included, names each file
that is not as it was written, and ends with an error if there is one (affekt/media/integrity.py).
Shards are corpora of their own.
"""

import os
import sys
from collections import Counter
from collections.abc import Sequence
from multiprocessing.pool import ThreadPool
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from affekt.arrays import Array, Image
from affekt.markdown import markdown_table
from affekt.media.constants import FRAME_RATE
from affekt.media.corpus import SPLITS, Clip, Corpus, by_speaker
from affekt.media.faces.points import POLYLINES
from affekt.media.integrity import ANEW, CLIP, clip_faults, corpus_faults, whole_record
from affekt.media.plots import write_png
from affekt.media.validation import evenly_spread
from affekt.runtime.command import CommandParser, user_errors
from affekt.runtime.files import read_json, read_jsonl

CELL = 256  # pixels of a picture in the sheet
MARGIN = 96  # pixels at the left, for the speakers' names
HEAD = 26  # pixels on top, for the emotions
LINE, POINT, PAPER, INK = (90, 255, 90), (255, 60, 60), (245, 245, 245), (20, 20, 20)  # RGB
SHOWN = 50  # speakers in the sheet and in the table, at most; in LRW every clip is one
SUBPIXEL = 4  # bits: OpenCV draws at sixteenths of a pixel


def contact_sheet(corpus: Corpus, clips: Sequence[Clip]) -> Image:
    """Return the sheet, (rows, columns, 3) RGB: a row a speaker, a column an emotion."""
    people = by_speaker(clips)
    speakers = evenly_spread(list(people), SHOWN)
    emotions = [name for name in corpus.emotions if any(clip.emotion == name for clip in clips)]
    shape = (HEAD + CELL * len(speakers), MARGIN + CELL * len(emotions), 3)
    sheet = np.full(shape, PAPER, np.uint8)
    for column, emotion in enumerate(emotions):
        _write(sheet, emotion, MARGIN + column * CELL + 6, HEAD - 8)
    for row, speaker in enumerate(speakers):
        top = HEAD + row * CELL
        _write(sheet, speaker, 4, top + CELL // 2)
        for column, emotion in enumerate(emotions):
            chosen = [clip for clip in people[speaker] if clip.emotion == emotion]
            if chosen:
                left = MARGIN + column * CELL
                sheet[top : top + CELL, left : left + CELL] = cell(chosen[0])
    return sheet


def cell(clip: Clip) -> Image:
    """Return the middle frame of a clip with its landmarks, (CELL, CELL, 3) RGB."""
    middle = clip.frames // 2
    picture = clip.store()[middle]
    scale = CELL / picture.shape[0]
    shrinks = scale < 1
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    small = cv2.resize(picture, (CELL, CELL), interpolation=method).astype(np.uint8)
    points = scale * (clip.stored_landmarks()[middle] + 0.5) - 0.5
    return draw_landmarks(small, points)


def draw_landmarks(picture: Image, points: Array) -> Image:
    """Return a copy of a picture (H, W, 3) with the landmarks (68, 2) drawn on it."""
    drawn = picture.copy()
    fixed = np.rint(points * 2**SUBPIXEL).astype(np.int32)
    for _, members, closed in POLYLINES:
        line = fixed[list(members)]
        cv2.polylines(drawn, [line], closed, LINE, 1, cv2.LINE_AA, SUBPIXEL)
    for x, y in fixed:
        cv2.circle(drawn, (int(x), int(y)), 2**SUBPIXEL, POINT, -1, cv2.LINE_AA, SUBPIXEL)
    return drawn


def counts(corpus: Corpus, clips: Sequence[Clip]) -> str:
    """Return a table of clips by speaker and emotion, with minutes and splits.

    Of more than SHOWN speakers, the others share a row.
    """
    present = {clip.emotion for clip in clips}
    emotions = [name for name in corpus.emotions if name in present]
    header = ["speaker", *emotions, "clips", "minutes", *SPLITS]
    people = by_speaker(clips)
    shown = evenly_spread(list(people), SHOWN)
    groups = [(speaker, people[speaker]) for speaker in shown]
    if len(people) > len(shown):
        hidden = people.keys() - set(shown)
        others = [clip for clip in clips if clip.speaker in hidden]
        groups.append((f"{len(hidden)} others", others))
    rows = []
    for name, own in [*groups, ("all", clips)]:
        emotion_counts = Counter(clip.emotion for clip in own)
        split_counts = Counter(clip.split for clip in own)
        minutes = sum(clip.frames for clip in own) / FRAME_RATE / 60
        figures = [*(emotion_counts[each] for each in emotions), len(own), f"{minutes:.1f}"]
        figures += [split_counts[each] for each in SPLITS]
        rows.append([name, *map(str, figures)])
    return markdown_table(header, rows)


def state(corpus: Corpus, clips: Sequence[Clip]) -> str:
    """Return durations, frames whose landmarks were filled in, and what was refused."""
    seconds = np.array([clip.frames for clip in clips]) / FRAME_RATE
    median = np.median(seconds)
    lines = [f"seconds a clip: {seconds.min():.2f} to {seconds.max():.2f}, median {median:.2f}"]
    if "profile" in corpus.info:  # it has pictures
        filled = [len(read_json(clip.folder / "clip.json")["filled"]) for clip in clips]
        total = sum(clip.frames for clip in clips)
        lines.append(
            f"frames filled in where no face was found: {sum(filled)} of {total} "
            f"({sum(filled) / total:.2%}), in {sum(count > 0 for count in filled)} clips"
        )
    lines.append(f"refused: {len(read_jsonl(corpus.root / 'quarantine.jsonl'))}")
    return "\n".join(lines)


def verify(corpus: Corpus, workers: int = 0, progress: bool = True) -> tuple[list[str], int]:
    """Return what is damaged or missing, a line a file, and how many clips have no checksums.

    Corpus.json and the manifest were checked when the corpus was opened.

    Args:
        corpus: any prepared corpus; a clip of one prepared before there were checksums is passed.
        workers: threads, which read side by side; 0: one for each core.
        progress: a bar.
    """
    faults = corpus_faults(corpus.root, corpus.info)
    clips, unchecked = corpus.clips(), 0
    with ThreadPool(workers or os.cpu_count() or 1) as pool:
        found = pool.imap(_faults, clips, chunksize=8)
        bar = tqdm(found, "verify", len(clips), unit="clip", disable=not progress)
        for own, has_checksums in bar:
            faults += own
            unchecked += not has_checksums
    return faults, unchecked


def _faults(clip: Clip) -> tuple[list[str], bool]:
    """Return what is wrong with a clip, and whether it has checksums."""
    faults = clip_faults(clip.folder)
    record = whole_record(clip.folder)
    if record and (record["frames"], record["sha256"]) != (clip.frames, clip.sha256):
        faults.append(f"{clip.folder / CLIP} is of another clip than the manifest says")
    return faults, bool(faults) or "files" in record


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = CommandParser(__doc__)
    parser.add_argument("corpus", type=Path, help="a prepared corpus")
    parser.add_argument("--out", type=Path, help="the sheet; default: <corpus>/contact_sheet.png")
    parser.add_argument("--speakers", nargs="+", help="only these")
    parser.add_argument("--split", choices=SPLITS, help="only this one")
    text = "read every file of the corpus and name those that are not as they were written"
    parser.add_argument("--verify", action="store_true", help=text)
    text = "threads of --verify (default: the cores)"
    parser.add_argument("--workers", type=int, default=0, help=text)
    args = parser.parse_args(argv)
    with user_errors():
        corpus = Corpus(args.corpus)
        if args.verify:
            return _report_faults(corpus, *verify(corpus, args.workers))
        chosen = corpus.clips(split=args.split)
        clips = [c for c in chosen if args.speakers is None or c.speaker in args.speakers]
        if not clips:
            raise ValueError(f"{args.corpus} has no clip of that choice; look at manifest.jsonl")
        print(counts(corpus, clips))
        print(state(corpus, clips))
        if "profile" in corpus.info:
            out = args.out or args.corpus / "contact_sheet.png"
            write_png(out, contact_sheet(corpus, clips))
            print(f"contact sheet: {out}")
    return 0


def _report_faults(corpus: Corpus, faults: Sequence[str], unchecked: int) -> int:
    """Print what `verify` found; return the exit status."""
    for line in faults:
        print(line)
    clips = len(corpus.clips())
    if unchecked:
        print(f"{unchecked} of {clips} clips were prepared without checksums, and are not checked")
    if faults:
        print(f"{corpus.root}: {len(faults)} files of {clips} clips are damaged or missing; {ANEW}")
        return 1
    print(f"{corpus.root}: {clips} clips are whole")
    return 0


def _write(sheet: Image, text: str, x: int, y: int) -> None:
    cv2.putText(sheet, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.45, INK, 1, cv2.LINE_AA)


if __name__ == "__main__":
    sys.exit(main())
