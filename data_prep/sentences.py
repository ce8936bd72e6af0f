"""Sentence identity of clips: tables of file numbers, and groups for pseudo pairs.

    python -m data_prep.sentences mine.csv --transcripts said.csv

A table is a CSV file with the columns speaker, emotion, number, sentence (any name of it).
configs/data/mead_sentences.csv is the list of EVP's release: 13 sentences of M003 and of M030 in
all eight emotions; the other speakers' files are numbered differently from emotion to emotion. MEAD
lists the spoken texts on its own; of a CSV file with the columns speaker, emotion, number, text the
command makes a table: the texts that a speaker says in at least two emotions.

Clips are grouped by the manifest or a table; those of a speaker whom neither helps, by the cost of
aligning. Each clip of an emotion is aligned (data_prep.alignment.speech) to every clip of the
reference emotion, within a split; two clips that are each other's cheapest partner, at no more than
MAX_COST a step, are taken for one sentence. The others stay alone: a wrong pair is worse than none.
"""

import logging
import re
import typing as tp
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from affekt.arrays import Array
from affekt.media.constants import FRAME_RATE
from affekt.media.corpus import Clip, Corpus, by_speaker
from affekt.media.emotions import canonical
from affekt.runtime.command import CommandParser, user_errors
from affekt.runtime.csv_files import read_csv, write_csv
from affekt.runtime.files import nfc
from data_prep.alignment.speech import align_speech

log = logging.getLogger(__name__)

COLUMNS = ("speaker", "emotion", "number", "sentence")
TRANSCRIPT_COLUMNS = ("speaker", "emotion", "number", "text")
MEAD_SENTENCES = Path(__file__).parents[1] / "configs/data/mead_sentences.csv"
# Of a step. On four speakers of Emo-DB nine in ten pairs of one sentence cost less, and nine in ten
# clips cost more beside the nearest clip of any other sentence.
MAX_COST = 0.48
LONGEST = 60.0  # seconds of a sentence; aligning two of a minute takes 1 GB

Key = tuple[str, str, str]  # speaker, emotion, number
Table = dict[Key, str]  # -> sentence, or text
Group = tuple[str, str, str]  # speaker, sentence, split
LeaveOut = Callable[[Clip, str], None]  # a clip, and why it is in no group


class Take(tp.NamedTuple):
    """A clip, and which recording of its speaker, sentence and emotion it is: 1, 2, ..."""

    clip: Clip
    number: int


def read_table(path: Path) -> Table:
    """Read the sentence of every file number; numbers lose their leading zeros.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a missing column, a short line, or one number with two sentences.
    """
    return _read(path, COLUMNS, "sentence table")


def read_transcripts(path: Path) -> Table:
    """Read the text of every file number; case, punctuation and spaces are dropped from it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a missing column, a short line, a text without a letter, or one number with two
            texts.
    """
    texts = _read(path, TRANSCRIPT_COLUMNS, "list of transcripts")
    plain = {key: plain_text(text) for key, text in texts.items()}
    for key, text in plain.items():
        if not text:
            raise ValueError(f"{path}: {' '.join(key)} has a text without words: {texts[key]!r}")
    return plain


def table_of(transcripts: Table) -> Table:
    """Return the table of the texts that a speaker says in at least two emotions.

    Sentences are numbered for each speaker from 01, by their texts in alphabetical order.
    """
    emotions: dict[tuple[str, str], set[str]] = defaultdict(set)
    for (speaker, emotion, _), text in transcripts.items():
        emotions[speaker, text].add(emotion)
    names: dict[tuple[str, str], str] = {}
    count: Counter[str] = Counter()
    for speaker, text in sorted(said for said, found in emotions.items() if len(found) > 1):
        count[speaker] += 1
        names[speaker, text] = f"{count[speaker]:02d}"
    return {
        key: names[key[0], text] for key, text in transcripts.items() if (key[0], text) in names
    }


def write_table(path: Path, table: Table) -> None:
    """Write a table as CSV, by speaker, emotion and number; a file of that name is replaced."""
    rows = [(*key, sentence) for key, sentence in table.items()]
    rows.sort(key=lambda row: (*row[:2], int(row[2]) if row[2].isdigit() else 0, row[2]))
    write_csv(path, COLUMNS, [(*row[:2], row[2].zfill(3), row[3]) for row in rows])


def plain_text(text: str) -> str:
    """Return the words alone: lower case, single spaces, apostrophes kept, no punctuation."""
    return " ".join(re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.replace("\u2019", "'").casefold()))


def spelled(emotion: str) -> str:
    """Return the project's spelling, or the name itself where a corpus has classes of its own."""
    try:
        return canonical(emotion)
    except ValueError:
        return emotion


def plain_number(text: str) -> str:
    """Drop leading zeros, so that 007 in a file name is 7 in a table."""
    return str(int(text)) if text.isdecimal() else text


def emotion_order(corpus: Corpus, reference: str | None) -> list[str]:
    """Return the emotions in the order in which they serve as reference."""
    listed = ", ".join(corpus.emotions)
    for clip in corpus.clips():
        if clip.emotion not in corpus.emotions:
            raise ValueError(f"{clip.id} is {clip.emotion!r}; {corpus.root} lists {listed}")
    if reference is None:
        return list(corpus.emotions)
    if (wanted := spelled(reference)) not in corpus.emotions:
        raise ValueError(f"no emotion {reference!r} in this corpus; it has {listed}")
    return [wanted, *(emotion for emotion in corpus.emotions if emotion != wanted)]


def sentence_groups(
    corpus: Corpus,
    table_path: Path | None,
    order: Sequence[str],
    leave_out: LeaveOut,
    longest: float = LONGEST,
) -> dict[Group, list[Take]]:
    """Collect the clips by speaker, sentence and split; of each emotion, the strongest level.

    A clip above `longest` seconds is left out, and aligned to none.
    """
    table = None if table_path is None else read_table(table_path)
    clips = [clip for clip in corpus.clips() if clip.frames <= longest * FRAME_RATE]
    known = _sentences(corpus, clips, table, order)
    short = {clip.id for clip in clips}
    groups: dict[Group, list[Take]] = defaultdict(list)
    takes: dict[tuple[str, str, str], list[Clip]] = defaultdict(list)
    for clip in sorted(corpus.clips(), key=lambda clip: (-clip.level, clip.id)):
        if clip.id not in short:
            leave_out(clip, f"it is longer than {longest:g} s: no sentence (--longest)")
            continue
        sentence = known.get(clip.id)
        if not sentence:
            leave_out(clip, "no known sentence")
            continue
        same = takes[clip.speaker, sentence, clip.emotion]
        if same and same[0].level > clip.level:
            leave_out(clip, "a stronger level of its sentence and emotion is used")
            continue
        same.append(clip)
        groups[clip.speaker, sentence, clip.split].append(Take(clip, len(same)))
    return groups


def _sentences(
    corpus: Corpus, clips: Sequence[Clip], table: Table | None, order: Sequence[str]
) -> dict[str, str]:
    """Return the sentence of each clip's id: of the table, of the manifest, or found by cost."""
    found, shared = {}, set()
    emotions: dict[tuple[str, str], set[str]] = defaultdict(set)
    for clip in clips:
        number = clip.speaker, clip.emotion, plain_number(clip.sentence)
        sentence = clip.sentence if table is None else table.get(number)
        if sentence:
            found[clip.id] = sentence
            emotions[clip.speaker, sentence].add(clip.emotion)
            if table is not None or len(emotions[clip.speaker, sentence]) > 1:
                shared.add(clip.speaker)
    if table is not None and not found:
        raise ValueError(f"the table names no clip of {corpus.root}")
    for speaker, own in by_speaker(clips).items():
        if speaker not in shared and len({clip.emotion for clip in own}) > 1:
            found |= match_by_cost(own, order)
    return found


def match_by_cost(clips: Sequence[Clip], order: Sequence[str]) -> dict[str, str]:
    """Return clip id -> sentence, the reference clip's name for it, for one speaker's clips.

    The reference is the first emotion of `order` that a split has; of each emotion, the strongest
    level. Clips without a partner, and those that cannot be read, are not in the result. Warns,
    with the counts, as the sentences are guessed.
    """
    found: dict[str, str] = {}
    for split in sorted({clip.split for clip in clips}):
        own = [clip for clip in clips if clip.split == split]
        sounds = [_strongest([clip for clip in own if clip.emotion == name]) for name in order]
        reference, *others = [group for group in sounds if group] or [[]]
        for group in others:
            costs = np.array([[align_speech(a, b).cost for _, b in reference] for _, a in group])
            for i, j in partners(costs):
                twin = reference[j][0]
                found[group[i][0].id] = found[twin.id] = twin.sentence
    log.warning(
        "%s: no table lists which files are the same sentence; %d of %d clips are matched by the "
        "cost of aligning them. Give --table, or listen to a few pairs.",
        clips[0].speaker,
        len(found),
        len(clips),
    )
    return found


def partners(costs: Array, most: float = MAX_COST) -> list[tuple[int, int]]:
    """Return the pairs (row, column) of `costs` (n, m) that are each other's least, <= `most`."""
    nearest_column, nearest_row = costs.argmin(axis=1), costs.argmin(axis=0)
    return [
        (i, int(j))
        for i, j in enumerate(nearest_column)
        if nearest_row[j] == i and costs[i, j] <= most
    ]


def _strongest(clips: Sequence[Clip]) -> list[tuple[Clip, Array]]:
    """Return the clips of the highest level that can be read, with their MFCC."""
    level = max((clip.level for clip in clips), default=0)
    readable = []
    for clip in sorted(clips, key=lambda clip: clip.id):
        if clip.level != level:
            continue
        try:
            readable.append((clip, clip.mfcc()))
        except (OSError, ValueError) as error:
            log.warning("%s is not matched: %s", clip.id, error)
    return readable


def _read(path: Path, columns: tuple[str, ...], what: str) -> Table:
    if not path.is_file():
        raise FileNotFoundError(f"the {what} {path} is missing")
    table: Table = {}
    for line, row in read_csv(path, columns)[1]:
        speaker, emotion, number, sentence = (row[name] for name in columns)
        key = nfc(speaker), spelled(emotion), plain_number(nfc(number))
        if table.setdefault(key, sentence) != sentence:
            raise ValueError(f"{path}, line {line}: {key} already is {table[key]!r}")
    return table


def main() -> None:
    """Make a table from the command line."""
    parser = CommandParser(__doc__)
    parser.add_argument("table", type=Path, help="CSV to write: speaker, emotion, number, sentence")
    text = "CSV with text, not sentence"
    parser.add_argument("--transcripts", type=Path, required=True, help=text)
    args = parser.parse_args()
    with user_errors():
        table = table_of(read_transcripts(args.transcripts))
        if not table:
            raise ValueError("no speaker says one text in two emotions; nothing is written")
        write_table(args.table, table)
    speakers = {speaker for speaker, _, _ in table}
    print(f"{args.table}: {len(table)} files of {len(speakers)} speakers")


if __name__ == "__main__":
    main()
