"""Which clips of a corpus are takes of one sentence: those that become pseudo pairs together."""

import typing as tp
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from affekt.media.corpus import Clip, Corpus
from data_prep.sentences.matching import match_by_cost
from data_prep.sentences.table import Table, plain_number, read_table, spelled

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
