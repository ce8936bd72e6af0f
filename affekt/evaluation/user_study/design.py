"""Design of a user study: its questions, its clips, and each participant's videos in order.

    evp-fig6    EVP (CVPR 2021), Sec. 4.1, Fig. 6: 3 clips of each of 8 emotions and 3 speakers, 72
                of each method, the real ones among them. First: is the video realistic, do face and
                speech go together, 1 to 5, with sound. Then real clips of every emotion are shown
                without sound, and the emotion of each silent clip is chosen among the eight. 50
                people took part.
    xu-table2   Xu et al. (CVPR 2023), supplement 2.2, Table 2: lip synchronisation, accuracy and
                realness of the expression, quality, likeness to the source, 1 to 5. 15 people rated
                50 videos of one speaker. The wanted emotion and the source stand beside the video,
                since two of the questions are about them. (Real videos are shown too: ours.)

The study is blind: a video is known by a number that the seed draws, another one in each task.
"""

import hashlib
import json
import random
import typing as tp
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from affekt.evaluation.pairing import ClipPair
from affekt.media.emotions import EMOTIONS, canonical
from affekt.runtime.config import from_mapping
from affekt.runtime.files import read_json

REAL = "real"  # the method of the true videos
LOWEST, HIGHEST = 1, 5  # of a rating: worst and best

ProtocolName = tp.Literal["evp-fig6", "xu-table2"]
Task = tp.Literal["rate", "choose"]  # with sound, or the emotion of a silent clip


@dataclass(frozen=True)
class StudyProtocol:
    """The questions of a study and how its clips are shown."""

    title: str
    questions: dict[str, str]  # key: text; answered by 1 (worst) to 5 (best)
    emotion: bool  # whether the emotion of the silent clip is asked afterwards
    reference: bool  # whether wanted emotion and source picture stand beside a video
    clips: int | None  # of each speaker and emotion; None: all there are


@dataclass(frozen=True)
class Item:
    """One video in one task."""

    task: Task
    method: str
    clip: str
    emotion: str


@dataclass(frozen=True)
class Order:
    """The numbers of the videos that a participant sees, in order."""

    rate: tuple[int, ...]
    choose: tuple[int, ...] = ()


@dataclass(frozen=True)
class Study:
    """The key of a study: what each video is, and who sees which."""

    id: str  # a hash of the content
    protocol: ProtocolName
    methods: tuple[str, ...]
    items: tuple[Item, ...]  # video 1 first
    participants: tuple[Order, ...]  # participant 1 first
    examples: tuple[tuple[str, str], ...]  # emotion, and the true clip that shows it before task 2


PROTOCOLS: dict[ProtocolName, StudyProtocol] = {
    "evp-fig6": StudyProtocol(
        "EVP, Figure 6",
        {
            "quality": "How realistic is the talking face?",
            "sync": "How well do the face's motion and the speech go together?",
        },
        emotion=True,
        reference=False,
        clips=3,
    ),
    "xu-table2": StudyProtocol(
        "Xu et al., supplement, Table 2",
        {
            "lip_sync": "How well do lips and speech go together?",
            "expression": "How accurate and real is the expression, as wanted?",
            "quality": "How good is the video as a whole?",
            "identity": "How much is it the person of the source picture?",
        },
        emotion=False,
        reference=True,
        clips=None,
    ),
}


def choose_clips(
    truths: Sequence[ClipPair], have: Mapping[str, set[str]], clips: int | None, seed: int
) -> tuple[list[ClipPair], list[str]]:
    """Return the clips of a study, by id, and what keeps it from being balanced.

    A clip is in if every method has it. Of each speaker and emotion `clips` are drawn; a gap names
    the speaker, the emotion, how many there are, and which method lacks which clip.

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
        lacking = {c.id: [name for name, ids in have.items() if c.id not in ids] for c in cell}
        shared = [case for case in cell if not lacking[case.id]]
        wanted = len(cell) if clips is None else clips
        if len(shared) < wanted:
            gap = f"{speaker}, {emotion}: {len(shared)} of {wanted} clips"
            names = [f"{name} lacks {clip}" for clip, by in lacking.items() for name in by]
            gaps.append("; ".join([gap, *names]))
        chosen += rng.sample(shared, min(wanted, len(shared)))
    if not chosen:
        raise ValueError("no clip is there of every method")
    return sorted(chosen, key=lambda case: case.id), gaps


def choose_examples(
    truths: Sequence[ClipPair], chosen: Sequence[ClipPair], seed: int
) -> dict[str, str]:
    """Return the clip that shows each emotion, not one of the study's where there is another."""
    rng = random.Random(f"{seed} examples")
    asked = {case.id for case in chosen}
    examples = {}
    for emotion in EMOTIONS:
        shown = sorted(case.id for case in truths if canonical(case.emotion) == emotion)
        free = [clip for clip in shown if clip not in asked]
        if shown:
            examples[emotion] = rng.choice(free or shown)
    return examples


def make_study(
    protocol: ProtocolName,
    methods: Sequence[str],
    clips: Sequence[ClipPair],
    examples: Mapping[str, str],
    participants: int,
    each: int | None,
    seed: int,
) -> Study:
    """Draw the videos' numbers and every participant's order.

    Args:
        methods: names, the real videos among them.
        each: videos of each task that a participant sees; None: all. Those of a study are then
            dealt out in turn, so that all are seen equally often, to within one, and a person sees
            methods equally often and, where possible, no sentence twice.

    Raises:
        ValueError: no participant, or more videos each than there are.
    """
    count = len(methods) * len(clips)
    size = count if each is None else each
    if participants < 1 or not 1 <= size <= count:
        raise ValueError(f"{participants} participants with {each} of {count} videos each")
    tasks: tuple[Task, ...] = ("rate", "choose") if PROTOCOLS[protocol].emotion else ("rate",)
    dealt = _dealt(clips, methods, seed)
    # Every video of every task, in an order that does not depend on its method.
    items = [
        Item(task, method, clip.id, canonical(clip.emotion))
        for task in tasks
        for clip, method in dealt
    ]
    random.Random(f"{seed} numbers").shuffle(items)
    number = {(item.task, item.clip, item.method): k for k, item in enumerate(items, 1)}
    # Each participant's hand of videos, shuffled anew in each task.
    orders = []
    for person in range(participants):
        hand = [dealt[(person * size + k) % count] for k in range(size)]
        shuffled = {}
        for task in tasks:
            numbers = [number[task, clip.id, method] for clip, method in hand]
            random.Random(f"{seed} {task} {person}").shuffle(numbers)
            shuffled[task] = tuple(numbers)
        orders.append(Order(shuffled["rate"], shuffled.get("choose", ())))
    study = Study(
        "", protocol, tuple(methods), tuple(items), tuple(orders), tuple(examples.items())
    )
    content = json.dumps(asdict(study)).encode()
    return replace(study, id=hashlib.sha256(content).hexdigest()[:16])


def read_key(folder: Path) -> Study:
    """Read STUDY/private/key.json.

    Raises:
        FileNotFoundError: no study there.
        ValueError: damaged; the message names the key.
    """
    path = folder / "private" / "key.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; `test.py user-study export` writes it")
    return from_mapping(Study, read_json(path), str(path))


def _cells(truths: Sequence[ClipPair]) -> dict[tuple[str, str], list[ClipPair]]:
    """Return the clips, by id, of every speaker in every one of the eight emotions."""
    nameless = [case.id for case in truths if not case.speaker or not case.emotion]
    if nameless:
        raise ValueError(
            f"{len(nameless)} clips have no speaker or no emotion, {nameless[0]} first; give a "
            "prepared corpus as --truth, or a --manifest with columns clip_id, speaker, label"
        )
    speakers = {case.speaker for case in truths}
    cells: dict[tuple[str, str], list[ClipPair]] = {
        (speaker, emotion): [] for speaker in speakers for emotion in EMOTIONS
    }
    for case in sorted(truths, key=lambda case: case.id):
        cells[case.speaker, canonical(case.emotion)].append(case)
    return cells


def _dealt(
    clips: Sequence[ClipPair], methods: Sequence[str], seed: int
) -> list[tuple[ClipPair, str]]:
    """Return every clip of every method so that neighbours differ in both, as far as they can."""
    rng = random.Random(f"{seed} deal")
    deck = rng.sample(clips, len(clips))
    names = rng.sample(methods, len(methods))
    return [
        (clip, names[(place + turn) % len(names)])
        for turn in range(len(names))
        for place, clip in enumerate(deck)
    ]
