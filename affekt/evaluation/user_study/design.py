"""What people are asked: the user studies of EVP (CVPR 2021, Sec. 4.1, Fig. 6) and of Xu et al.

    evp-fig6    3 clips of each of 8 emotions and 3 speakers, 72 of each method, the real ones among
                them. First: is the video realistic, do face and speech go together, 1 to 5, with
                sound. Then real clips of every emotion are shown without sound, and the emotion of
                each silent clip is chosen among the eight. 50 people took part.
    xu-table2   Xu et al. (CVPR 2023), supplement 2.2, Table 2: lip synchronisation, accuracy and
                realness of the expression, quality, likeness to the source, 1 to 5. 15 people rated
                50 videos of one speaker. The wanted emotion and the source stand beside the video,
                since two of the questions are about them. (Real videos are shown too: ours.)

Which clip of which method a person sees, and when, is drawn from the seed. Nobody can tell methods
apart by a name: what is public are tokens (see affekt.evaluation.user_study.files).
"""

import hashlib
import json
import random
import typing as tp
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from affekt.evaluation.pairing import Case
from affekt.media.emotions import EMOTIONS, canonical

REAL = "real"  # the row of the true videos
SCHEMA = 1  # of key.json and of the answers
TOKEN_BITS = 64
LOWEST, HIGHEST = 1, 5  # of a rating: worst and best

Task = tp.Literal["rate", "choose"]  # with sound, or the emotion of a silent clip


@dataclass(frozen=True)
class Question:
    """A rating from 1 (worst) to 5 (best)."""

    key: str
    text: str


@dataclass(frozen=True)
class StudyProtocol:
    """What a study asks."""

    id: str
    title: str
    questions: tuple[Question, ...]
    emotion: bool  # whether the emotion of the silent clip is asked afterwards
    reference: bool  # whether wanted emotion and source picture stand beside a video
    clips: int | None  # of each speaker and emotion; None: all there are


@dataclass(frozen=True)
class Item:
    """One video in one task; only its token is public."""

    token: str
    task: Task
    method: str
    clip: str
    speaker: str
    emotion: str


@dataclass(frozen=True)
class Key:
    """The whole study: what the tokens stand for, and who sees which, in what order."""

    study: str  # named by its content
    protocol: str
    seed: int
    methods: tuple[str, ...]
    items: dict[str, Item]  # by token
    participants: tuple[dict[Task, list[str]], ...]  # participant 1 first
    examples: dict[str, str]  # emotion: clip whose true video shows it before the second task


PROTOCOLS = {
    protocol.id: protocol
    for protocol in (
        StudyProtocol(
            "evp-fig6",
            "EVP, Figure 6",
            (
                Question("quality", "How realistic is the talking face?"),
                Question("sync", "How well do the face's motion and the speech go together?"),
            ),
            emotion=True,
            reference=False,
            clips=3,
        ),
        StudyProtocol(
            "xu-table2",
            "Xu et al., supplement, Table 2",
            (
                Question("lip_sync", "How well do lips and speech go together?"),
                Question("expression", "How accurate and real is the expression, as wanted?"),
                Question("quality", "How good is the video as a whole?"),
                Question("identity", "How much is it the person of the source picture?"),
            ),
            emotion=False,
            reference=True,
            clips=None,
        ),
    )
}


def choose_clips(
    truths: Sequence[Case], have: Mapping[str, set[str]], clips: int | None, seed: int
) -> tuple[list[Case], list[str]]:
    """Return the clips of a study, by id, and what keeps it from being balanced.

    A clip is in if every method has it. Of each speaker and emotion `clips` are drawn; what is
    missing is said by name: the speaker, the emotion, how many, and which method lacks which clip.

    Args:
        truths: every clip with speaker and emotion.
        have: by method, the clips that it has.
        clips: of each speaker and emotion; None: all there are.

    Raises:
        ValueError: a clip without speaker or emotion, or with an unknown emotion; no clip is left.
    """
    rng = random.Random(f"{seed} clips")
    chosen, gaps = [], []
    for (speaker, emotion), cell in sorted(_cells(truths).items()):
        wanted = len(cell) if clips is None else clips
        shared = [case for case in cell if all(case.id in ids for ids in have.values())]
        lacking = [
            f"{method} lacks {case.id}"
            for case in cell
            for method, ids in have.items()
            if case.id not in ids
        ]
        if len(shared) < wanted:
            gap = f"{speaker}, {emotion}: {len(shared)} of {wanted} clips"
            gaps.append("; ".join([gap, *lacking]))
        chosen += rng.sample(shared, min(wanted, len(shared)))
    if not chosen:
        raise ValueError("no clip is there of every method")
    return sorted(chosen, key=lambda case: case.id), gaps


def choose_examples(truths: Sequence[Case], chosen: Sequence[Case], seed: int) -> dict[str, str]:
    """Return the clip that shows each emotion, of those not asked about where there is another."""
    rng = random.Random(f"{seed} examples")
    asked = {case.id for case in chosen}
    examples = {}
    for emotion in EMOTIONS:
        shown = sorted(case.id for case in truths if canonical(case.emotion) == emotion)
        free = [clip for clip in shown if clip not in asked]
        if shown:
            examples[emotion] = rng.choice(free or shown)
    return examples


def make_key(
    protocol: StudyProtocol,
    methods: Sequence[str],
    clips: Sequence[Case],
    examples: Mapping[str, str],
    participants: int,
    each: int | None,
    seed: int,
) -> Key:
    """Draw the tokens and every participant's order.

    Args:
        methods: names, the real videos among them.
        each: videos of each task that a participant sees; None: all. Those of a study are then
            dealt out in turn, so that all are seen equally often, to within one, and a person sees
            methods equally often and, where possible, no sentence twice.

    Raises:
        ValueError: no participant, or more videos each than there are.
    """
    count = len(methods) * len(clips)
    if participants < 1 or not 1 <= (count if each is None else each) <= count:
        raise ValueError(f"{participants} participants with {each} of {count} videos each")
    rng = random.Random(f"{seed} tokens")
    tasks: tuple[Task, ...] = ("rate", "choose") if protocol.emotion else ("rate",)
    dealt = _dealt(clips, methods, seed)
    tokens: dict[tuple[Task, str, str], str] = {}
    items = {}
    for task in tasks:
        for clip, method in dealt:
            token = f"{rng.getrandbits(TOKEN_BITS):016x}"
            tokens[task, clip.id, method] = token
            emotion = canonical(clip.emotion)
            items[token] = Item(token, task, method, clip.id, clip.speaker, emotion)
    orders = []
    for person in range(participants):
        size = count if each is None else each
        hand = [dealt[(person * size + k) % count] for k in range(size)]
        order: dict[Task, list[str]] = {}
        for task in tasks:
            order[task] = [tokens[task, clip.id, method] for clip, method in hand]
            random.Random(f"{seed} {task} {person}").shuffle(order[task])
        orders.append(order)
    by_token = dict(sorted(items.items()))
    content = [protocol.id, [asdict(item) for item in by_token.values()], orders, dict(examples)]
    name = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
    return Key(name, protocol.id, seed, tuple(methods), by_token, tuple(orders), dict(examples))


def seen_by_method(key: Key) -> list[Counter[str]]:
    """Return, for each participant, how many videos of each method there are to rate."""
    return [
        Counter(key.items[token].method for token in order["rate"]) for order in key.participants
    ]


def _cells(truths: Sequence[Case]) -> dict[tuple[str, str], list[Case]]:
    """Return the clips, by id, of every speaker in every one of the eight emotions."""
    nameless = [case.id for case in truths if not case.speaker or not case.emotion]
    if nameless:
        raise ValueError(
            f"{len(nameless)} clips have no speaker or no emotion, {nameless[0]} first; give a "
            "prepared corpus as --truth, or a --manifest with columns clip_id, speaker, label"
        )
    speakers = {case.speaker for case in truths}
    cells: dict[tuple[str, str], list[Case]] = {
        (speaker, emotion): [] for speaker in speakers for emotion in EMOTIONS
    }
    for case in sorted(truths, key=lambda case: case.id):
        cells[case.speaker, canonical(case.emotion)].append(case)
    return cells


def _dealt(clips: Sequence[Case], methods: Sequence[str], seed: int) -> list[tuple[Case, str]]:
    """Return every clip of every method so that neighbours differ in both, as far as they can."""
    rng = random.Random(f"{seed} deal")
    deck = rng.sample(clips, len(clips))
    names = rng.sample(methods, len(methods))
    return [
        (clip, names[(place + turn) % len(names)])
        for turn in range(len(names))
        for place, clip in enumerate(deck)
    ]
