"""A blind user study: its protocols, each participant's videos in order, and the folder of forms.

    evp-fig6    EVP (CVPR 2021), Sec. 4.1, Fig. 6: 3 clips of each of 8 emotions and 3 speakers, 72
                of each method, the real ones among them. First, with sound: is the video realistic,
                do face and speech go together, 1 to 5. Then, after silent real clips of every
                emotion: which of the eight does each silent clip show. 50 people took part.
    xu-table2   Xu et al. (CVPR 2023), supplement 2.2, Table 2: lip synchronisation, accuracy and
                realness of the expression, quality, likeness to the source, 1 to 5. 15 people rated
                50 videos of one speaker. The wanted emotion and the source stand next to the video,
                since two of the questions are about them. (Real videos are shown too: ours.)

A study is a folder: private/key.json holds method and clip of each video, public/ the form
(index.html?p=N for participant N), videos/ by numbers that the seed draws, others in each task,
examples/ of each emotion, and sources/ where the protocol shows them. One encoder writes all
videos, the real ones too, at one rate, sound and size, without metadata, in the order of their
numbers: neither name, codec, comment nor date shows the method. (The file's size remains.)
"""

import hashlib
import json
import random
import typing as tp
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path

from tqdm import tqdm

from affekt.arrays import Array, Image
from affekt.evaluation.pairing import ClipPair
from affekt.media.audio.reader import read_audio
from affekt.media.corpus import Clip
from affekt.media.emotions import EMOTIONS, canonical
from affekt.media.plots import write_png
from affekt.media.video.pictures import read_picture
from affekt.media.video.video import probe, read_video, write_video
from affekt.runtime.config import from_mapping
from affekt.runtime.files import read_json, replacing_folder, write_json, write_text

FORM = Path(__file__).with_suffix(".html")
REAL = "real"  # the method of the true videos

ProtocolName = tp.Literal["evp-fig6", "xu-table2"]
Task = tp.Literal["rate", "choose"]  # with sound, or the emotion of a silent clip
Rating = tp.Literal[1, 2, 3, 4, 5]  # worst to best
RATINGS: tuple[Rating, ...] = tp.get_args(Rating)


@dataclass(frozen=True)
class StudyProtocol:
    """The questions of a study and how its clips are shown."""

    title: str
    questions: dict[str, str]  # key: text; answered by 1 (worst) to 5 (best)
    tasks: tuple[Task, ...]
    reference: bool  # whether wanted emotion and source picture stand next to a video
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
) -> list[ClipPair]:
    """Return the clips of a study, by id.

    Of each speaker and emotion `clips` are drawn (None: all that every method has); `have` holds
    the clips of each method.

    Raises:
        ValueError: a clip without speaker or emotion, or with an unknown emotion; too few clips.
    """
    nameless = [case.id for case in truths if not case.speaker or not case.emotion]
    if nameless:
        raise ValueError(
            f"{len(nameless)} clips have no speaker or no emotion, {nameless[0]} first; give a "
            "prepared corpus as --truth, or a --manifest with columns clip_id, speaker, label"
        )
    # Every speaker in every emotion of the corpus, also where there is no clip of it.
    speakers = sorted({case.speaker for case in truths})
    emotions = sorted({canonical(case.emotion) for case in truths})
    cells: dict[tuple[str, str], list[ClipPair]] = {c: [] for c in product(speakers, emotions)}
    for case in sorted(truths, key=lambda case: case.id):
        cells[case.speaker, canonical(case.emotion)].append(case)
    # The draw, and what is missing of whom.
    rng = random.Random(f"{seed} clips")
    chosen, gaps = [], []
    for (speaker, emotion), cell in cells.items():
        lacking = [(n, case.id) for case in cell for n, ids in have.items() if case.id not in ids]
        shared = [case for case in cell if case.id not in {clip for _, clip in lacking}]
        wanted = len(cell) if clips is None else clips
        if len(shared) < wanted:
            names = [f", {name} lacks {clip}" for name, clip in lacking]
            gaps.append(f"{speaker}, {emotion}: {len(shared)} of {wanted}{''.join(names)}")
        chosen += rng.sample(shared, min(wanted, len(shared)))
    if gaps or not chosen:
        raise ValueError(
            f"too few clips ({'; '.join(gaps)}); make the missing videos, or ask for fewer by "
            "--clips or a shorter --manifest"
        )
    return sorted(chosen, key=lambda case: case.id)


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

    Of each task a participant sees `each` videos (None: all), which are dealt out in turn: all are
    seen equally often, to within one, and a person sees methods equally often and, where possible,
    no sentence twice. `methods` include the real videos.

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
    shown = tuple(examples.items())
    study = Study("", protocol, tuple(methods), tuple(items), tuple(orders), shown)
    content = json.dumps(asdict(study)).encode()
    return replace(study, id=hashlib.sha256(content).hexdigest()[:16])


def write_study(
    folder: Path,
    study: Study,
    truths: Mapping[str, ClipPair],
    results: Mapping[str, Mapping[str, Path]],
) -> None:
    """Write a new folder, whole or not at all; truths are by clip, results by method and clip.

    Raises:
        FileExistsError: the folder exists; its key may belong to forms that are being answered.
        MediaError: a video cannot be read.
        ValueError: a result of another size than its truth, or a clip without sound.
    """
    if folder.exists():
        raise FileExistsError(f"{folder} exists: people may be answering its forms; name another")
    with replacing_folder(folder) as temporary:
        public = temporary / "public"
        # Source pictures (or first true frames), the numbered videos in order, examples.
        sources: dict[str, str] = {}
        if PROTOCOLS[study.protocol].reference:
            for clip in dict.fromkeys(item.clip for item in study.items):
                sources[clip], case = f"sources/{len(sources) + 1}.png", truths[clip]
                frame = read_picture(case.source) if case.source else next(_opened(case.truth)[1])
                write_png(public / sources[clip], frame)
        for number, item in enumerate(tqdm(study.items, desc="videos", unit="video"), 1):
            truth = truths[item.clip].truth
            video = truth if item.method == REAL else results[item.method][item.clip]
            _write_item(public / "videos" / f"{number}.mp4", item, truth, video)
        for emotion, clip in study.examples:
            write_video(public / "examples" / f"{emotion}.mp4", _opened(truths[clip].truth)[1])
        # The form, and the key that stays with the experimenter.
        write_text(public / "index.html", _form(study, sources))
        write_json(temporary / "private" / "key.json", asdict(study))


def read_key(folder: Path) -> Study:
    """Read private/key.json; OSError or ValueError (which names the key) if it does not fit."""
    path = folder / "private" / "key.json"
    return from_mapping(Study, read_json(path), str(path))


def _write_item(path: Path, item: Item, truth: Path | Clip, video: Path | Clip) -> None:
    """Write a video at the truth's size; the sound is its own, or the truth's if it has none."""
    wanted, _, true_sound = _opened(truth)
    found, frames, own_sound = _opened(video)
    if wanted != found:
        raise ValueError(
            f"{item.method}, {item.clip}: the video is {found[0]} x {found[1]}, the truth "
            f"{wanted[0]} x {wanted[1]} pixels, which shows the method; crop and scale both alike"
        )
    sound = true_sound if own_sound is None else own_sound
    if sound is None:
        raise ValueError(f"{item.method}, {item.clip}: neither the video nor its truth has sound")
    write_video(path, frames, sound if item.task == "rate" else None)


def _form(study: Study, sources: Mapping[str, str]) -> str:
    """Return the page with its data, nothing of which names a method or a clip."""
    data = {
        "study": study.id,
        "questions": [
            f"{text} ({RATINGS[0]} worst, {RATINGS[-1]} best)"
            for text in PROTOCOLS[study.protocol].questions.values()
        ],
        "ratings": RATINGS,
        "emotions": EMOTIONS,
        "examples": [emotion for emotion, _ in study.examples],
        "references": {
            number: {"wanted": item.emotion, "source": sources[item.clip]}
            for number, item in enumerate(study.items, 1)
            if sources
        },
        "participants": [asdict(order) for order in study.participants],
    }
    text = json.dumps(data).replace("<", "\\u003c")  # no tag can end the script early
    return FORM.read_text(encoding="utf-8").replace("@STUDY@", text)


def _opened(video: Path | Clip) -> tuple[tuple[int, int], Iterator[Image], Array | None]:
    """Return a video's size, frames, and sound (None if it has none)."""
    if isinstance(video, Clip):
        store = video.store()
        return video.crop().size, (_even(store[k]) for k in range(video.frames)), video.audio()
    info = probe(video)
    sound = read_audio(video) if info.has_audio else None
    return (info.width, info.height), map(_even, read_video(video)), sound


def _even(frame: Image) -> Image:
    """Return the frame without a last row or column that H.264 cannot halve."""
    return frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2]
