"""Group the clips of a corpus by sentence, for pseudo pairs.

By the manifest or a table; of a speaker whom neither helps, by the cost of aligning. EVP's release
lists the sentences of two of MEAD's speakers; the others' files are numbered differently from
emotion to emotion. Each clip of an emotion is aligned (data_prep.alignment.speech) to every clip of
the reference emotion, within a split; two clips that are each other's cheapest partner, at no more
than MAX_COST a step, are taken for one sentence. The others stay alone: a wrong pair is worse than
none.
"""

import logging
import typing as tp
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from affekt.arrays import Array
from affekt.media.corpus import Clip, Corpus
from data_prep.alignment.speech import align_speech
from data_prep.sentences.table import Table, plain_number, read_table, spelled

log = logging.getLogger(__name__)


# Of a step. On four speakers of Emo-DB nine in ten pairs of one sentence cost less, and nine in ten
# clips cost more beside the nearest clip of any other sentence.
MAX_COST = 0.48

Group = tuple[str, str, str]  # speaker, sentence, split
LeaveOut = Callable[[Clip, str], None]  # a clip, and why it is in no group


class Take(tp.NamedTuple):
    """A clip, and which recording of its speaker, sentence and emotion it is: 1, 2, ..."""

    clip: Clip
    number: int


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
    corpus: Corpus, table_path: Path | None, order: Sequence[str], leave_out: LeaveOut
) -> dict[Group, list[Take]]:
    """Collect the clips by speaker, sentence and split; of each emotion, the strongest level."""
    table = None if table_path is None else read_table(table_path)
    known = _sentences(corpus, table, order)
    groups: dict[Group, list[Take]] = defaultdict(list)
    takes: dict[tuple[str, str, str], list[Clip]] = defaultdict(list)
    for clip in sorted(corpus.clips(), key=lambda clip: (-clip.level, clip.id)):
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


def _sentences(corpus: Corpus, table: Table | None, order: Sequence[str]) -> dict[str, str]:
    """Return the sentence of each clip's id: of the table, of the manifest, or found by cost."""
    found, shared = {}, set()
    emotions: dict[tuple[str, str], set[str]] = defaultdict(set)
    for clip in corpus.clips():
        number = clip.speaker, clip.emotion, plain_number(clip.sentence)
        sentence = clip.sentence if table is None else table.get(number)
        if sentence:
            found[clip.id] = sentence
            emotions[clip.speaker, sentence].add(clip.emotion)
            if table is not None or len(emotions[clip.speaker, sentence]) > 1:
                shared.add(clip.speaker)
    if table is not None and not found:
        raise ValueError(f"the table names no clip of {corpus.root}")
    for speaker in sorted({clip.speaker for clip in corpus.clips()} - shared):
        clips = [clip for clip in corpus.clips() if clip.speaker == speaker]
        if len({clip.emotion for clip in clips}) > 1:
            found |= match_by_cost(clips, order)
    return found


def match_by_cost(clips: Iterable[Clip], order: Sequence[str]) -> dict[str, str]:
    """Return clip id -> sentence, the reference clip's name for it, for one speaker's clips.

    The reference is the first emotion of `order` that a split has; of each emotion, the strongest
    level. Clips without a partner, and those that cannot be read, are not in the result. Warns,
    with the counts, as the sentences are guessed.
    """
    by_split: dict[str, dict[str, list[Clip]]] = defaultdict(lambda: defaultdict(list))
    for clip in clips:
        by_split[clip.split][clip.emotion].append(clip)
    found: dict[str, str] = {}
    for emotions in by_split.values():
        found |= _match(emotions, order)
    count = sum(len(group) for emotions in by_split.values() for group in emotions.values())
    speakers = {clip.speaker for e in by_split.values() for group in e.values() for clip in group}
    log.warning(
        "%s: no table lists which files are the same sentence; %d of %d clips are matched by the "
        "cost of aligning them. Give --table, or listen to a few pairs.",
        ", ".join(sorted(speakers)),
        len(found),
        count,
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


def _match(emotions: dict[str, list[Clip]], order: Sequence[str]) -> dict[str, str]:
    """Return the sentences of one split's clips."""
    sounds = {name: _strongest(emotions[name]) for name in order if name in emotions}
    sounds = {name: group for name, group in sounds.items() if group}
    if len(sounds) < 2:
        return {}
    (_, reference), *others = sounds.items()
    found: dict[str, str] = {}
    for _, group in others:
        costs = np.array([[align_speech(a, b).cost for _, b in reference] for _, a in group])
        for i, j in partners(costs):
            own = reference[j][0]
            found[group[i][0].id] = found[own.id] = own.sentence
    return found


def _strongest(clips: Sequence[Clip]) -> list[tuple[Clip, Array]]:
    """Return the clips of the highest level that can be read, with their MFCC."""
    level = max(clip.level for clip in clips)
    readable = []
    for clip in sorted(clips, key=lambda clip: clip.id):
        if clip.level != level:
            continue
        try:
            readable.append((clip, clip.mfcc()))
        except (OSError, ValueError) as error:
            log.warning("%s is not matched: %s", clip.id, error)
    return readable
