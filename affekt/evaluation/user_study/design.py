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
from itertools import product
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
    tasks: tuple[Task, ...]
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
        tasks=("rate", "choose"),
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
        tasks=("rate",),
        reference=True,
        clips=None,
    ),
}


def choose_clips(
    truths: Sequence[ClipPair], have: Mapping[str, set[str]], clips: int | None, seed: int
) -> tuple[list[ClipPair], list[str]]:
    """Return the clips of a study, by id, and the speakers and emotions that have too few.

    Args:
        truths: every clip with speaker and emotion.
        have: by method, the clips that it has; a clip is in if every method has it.
        clips: drawn of each speaker and emotion; None: all there are.

    Raises:
        ValueError: a clip without speaker or emotion, or with an unknown emotion; no clip is left.
    """
    nameless = [case.id for case in truths if not case.speaker or not case.emotion]
    if nameless:
        raise ValueError(
            f"{len(nameless)} clips have no speaker or no emotion, {nameless[0]} first; give a "
            "prepared corpus as --truth, or a --manifest with columns clip_id, speaker, label"
        )
    # Every speaker in every emotion, also where there is no clip of it.
    cells: dict[tuple[str, str], list[ClipPair]] = {
        cell: [] for cell in product(sorted({case.speaker for case in truths}), EMOTIONS)
    }
    for case in sorted(truths, key=lambda case: case.id):
        cells[case.speaker, canonical(case.emotion)].append(case)
    # The draw, and what is missing of whom.
    rng = random.Random(f"{seed} clips")
    chosen, gaps = [], []
    for (speaker, emotion), cell in cells.items():
        lacking = {case.id: [n for n, ids in have.items() if case.id not in ids] for case in cell}
        shared = [case for case in cell if not lacking[case.id]]
        wanted = len(cell) if clips is None else clips
        if len(shared) < wanted:
            names = [f"{name} lacks {clip}" for clip, by in lacking.items() for name in by]
            gaps.append(
                "; ".join([f"{speaker}, {emotion}: {len(shared)} of {wanted} clips", *names])
            )
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
        if shown:
            examples[emotion] = rng.choice([clip for clip in shown if clip not in asked] or shown)
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
    # Every clip of every method so that neighbours differ in both, as far as they can.
    rng = random.Random(f"{seed} deal")
    deck, names = rng.sample(clips, count // len(methods)), rng.sample(methods, len(methods))
    dealt = [
        Item("rate", names[(place + turn) % len(names)], clip.id, canonical(clip.emotion))
        for turn in range(len(names))
        for place, clip in enumerate(deck)
    ]
    # The numbers of every video of every task, in an order that does not depend on its method.
    tasks = PROTOCOLS[protocol].tasks
    items = [replace(item, task=task) for task in tasks for item in dealt]
    random.Random(f"{seed} numbers").shuffle(items)
    number = {item: k for k, item in enumerate(items, 1)}
    # Each participant's hand of videos, shuffled anew in each task.
    orders = []
    for person in range(participants):
        hand = [dealt[(person * size + k) % count] for k in range(size)]
        order = {}
        for task in tasks:
            numbers = [number[replace(item, task=task)] for item in hand]
            random.Random(f"{seed} {task} {person}").shuffle(numbers)
            order[str(task)] = tuple(numbers)
        orders.append(Order(**order))
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
