"""A user study on disk: what participants get, and what they must not.

    STUDY/public/index.html       the form; open it as index.html?p=N for participant N
    STUDY/public/videos/*.mp4     under tokens; those of the second task have no sound
    STUDY/public/sources/*.png    source pictures, where the protocol shows them
    STUDY/private/key.json        what the tokens stand for; stays with the experimenter

Nothing public names a method or a clip. All videos, the real ones too, are written anew by one
encoder at one rate, sound and size, without metadata, in the order of their tokens: neither
container, codec, comment nor date tells who made them. (What remains is the picture itself, and
the file's size.) The seed makes the tokens, so it belongs with the key.
"""

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import av
from tqdm import tqdm

from affekt.arrays import Array, Image
from affekt.evaluation.pairing import Case
from affekt.evaluation.user_study.design import (
    HIGHEST,
    LOWEST,
    PROTOCOLS,
    REAL,
    SCHEMA,
    TOKEN_BITS,
    Item,
    Key,
    StudyProtocol,
    Task,
)
from affekt.media.audio.reader import read_audio
from affekt.media.corpus import Clip
from affekt.media.emotions import EMOTIONS
from affekt.media.plots import write_png
from affekt.media.video.container import MediaError, open_media
from affekt.media.video.pictures import read_picture
from affekt.media.video.video import probe, read_video, write_video
from affekt.runtime.files import read_json, replacing, replacing_folder, write_json, write_text

FORM = Path(__file__).parent / "form.html"


@dataclass(frozen=True)
class Footage:
    """Where the videos of a study come from."""

    truths: Mapping[str, Case]  # by clip
    results: Mapping[str, Mapping[str, Path]]  # by method, then by clip

    def of(self, method: str, clip: str) -> Path | Clip:
        """Return the video of a clip by a method, the real one included."""
        return self.truths[clip].truth if method == REAL else self.results[method][clip]


def write_study(folder: Path, key: Key, footage: Footage) -> None:
    """Write the folder of a study, whole or not at all.

    Raises:
        FileExistsError: the folder exists; its key may belong to forms that are being answered.
        MediaError: a video cannot be read.
        ValueError: a result of another size than its truth, or a clip without sound.
    """
    if folder.exists():
        raise FileExistsError(
            f"{folder} exists, and people may be answering its forms; name another folder"
        )
    protocol = PROTOCOLS[key.protocol]
    with replacing_folder(folder) as temporary:
        public = temporary / "public"
        sources = _write_sources(public, key, footage) if protocol.reference else {}
        examples = _write_videos(public / "videos", key, footage)
        write_text(public / "index.html", _form(key, protocol, examples, sources))
        write_json(temporary / "private" / "key.json", {"schema": SCHEMA, **asdict(key)})


def read_key(folder: Path) -> Key:
    """Read STUDY/private/key.json.

    Raises:
        FileNotFoundError: no study there.
        ValueError: of another schema, or damaged.
    """
    path = folder / "private" / "key.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; `test.py user-study export` writes it")
    raw = read_json(path)
    if not isinstance(raw, dict) or raw.pop("schema", None) != SCHEMA:
        raise ValueError(f"{path} is not the key of a study of schema {SCHEMA}")
    try:
        items = {token: Item(**item) for token, item in raw.pop("items").items()}
        methods, orders = tuple(raw.pop("methods")), tuple(raw.pop("participants"))
        key = Key(items=items, methods=methods, participants=orders, **raw)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged: {error!r}") from None
    if key.protocol not in PROTOCOLS:
        raise ValueError(f"{path} is of an unknown protocol {key.protocol!r}")
    return key


def _write_videos(folder: Path, key: Key, footage: Footage) -> dict[str, str]:
    """Write every item's video and the examples'; return the example's token of each emotion."""
    loud = {}
    for token, item in _listed(key, "rate", "with sound"):
        loud[item.method, item.clip] = folder / f"{token}.mp4"
        _write_video(loud[item.method, item.clip], item.method, item.clip, footage)
    for token, item in _listed(key, "choose", "silent"):
        _write_silent(folder / f"{token}.mp4", loud[item.method, item.clip])
    examples = dict(zip(key.examples, _tokens(key, "examples", len(key.examples)), strict=True))
    for emotion, token in examples.items():
        frames = _frames(footage.of(REAL, key.examples[emotion]))
        write_video(folder / f"{token}.mp4", map(_even, frames))
    return examples


def _listed(key: Key, task: Task, what: str) -> Iterator[tuple[str, Item]]:
    """Yield a task's items in the order of their tokens, with a bar of progress."""
    items = [(token, item) for token, item in key.items.items() if item.task == task]
    yield from tqdm(items, desc=what, unit="video")


def _write_video(path: Path, method: str, clip: str, footage: Footage) -> None:
    """Write a video at the truth's size; the sound is its own, or the truth's if it has none."""
    video, truth = footage.of(method, clip), footage.of(REAL, clip)
    wanted, found = _size(truth), _size(video)
    if wanted != found:
        raise ValueError(
            f"{method}, {clip}: the video is {found[0]} x {found[1]}, the truth {wanted[0]} x "
            f"{wanted[1]} pixels: its size would tell who made it; crop and scale both alike"
        )
    sound = _sound(video)
    sound = _sound(truth) if sound is None else sound
    if sound is None:
        raise ValueError(f"{method}, {clip}: neither the video nor its truth has sound")
    write_video(path, map(_even, _frames(video)), sound)


def _write_silent(path: Path, loud: Path) -> None:
    """Write a video's pictures as they are stored, without its sound."""
    options = {"movflags": "faststart"}
    with (
        replacing(path) as temporary,
        open_media(loud) as old,
        av.open(str(temporary), "w", format="mp4", options=options) as new,
    ):
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(old.streams.video[0]):
            if packet.dts is not None:  # a packet without only says that there are no more
                packet.stream = stream
                new.mux(packet)


def _write_sources(public: Path, key: Key, footage: Footage) -> dict[str, str]:
    """Write each clip's source picture, or its first true frame; return the file of each clip."""
    clips = sorted({item.clip for item in key.items.values()})
    files = {}
    for clip, token in zip(clips, _tokens(key, "sources", len(clips)), strict=True):
        case = footage.truths[clip]
        picture = read_picture(case.source) if case.source else next(_frames(case.truth))
        files[clip] = f"sources/{token}.png"
        write_png(public / files[clip], picture)
    return files


def _form(
    key: Key, protocol: StudyProtocol, examples: Mapping[str, str], sources: Mapping[str, str]
) -> str:
    """Return the page, with everything that it may know."""
    items = {}
    for token, item in key.items.items():
        items[token] = {"video": f"videos/{token}.mp4"}
        if protocol.reference:
            items[token] |= {"wanted": item.emotion, "source": sources[item.clip]}
    study = {
        "schema": SCHEMA,
        "study": key.study,
        "questions": [asdict(question) for question in protocol.questions],
        "range": [LOWEST, HIGHEST],
        "emotions": EMOTIONS if protocol.emotion else (),
        "examples": {emotion: f"videos/{token}.mp4" for emotion, token in examples.items()},
        "items": items,
        "participants": key.participants,
    }
    text = json.dumps(study).replace("<", "\\u003c")  # no tag can end the script early
    return FORM.read_text(encoding="utf-8").replace("@STUDY@", text)


def _tokens(key: Key, of: str, count: int) -> list[str]:
    rng = random.Random(f"{key.seed} {key.study} {of}")
    return [f"{rng.getrandbits(TOKEN_BITS):016x}" for _ in range(count)]


def _frames(video: Path | Clip) -> Iterator[Image]:
    if isinstance(video, Path):
        return read_video(video)
    store = video.store()
    return (store[k] for k in range(video.frames))


def _sound(video: Path | Clip) -> Array | None:
    if not isinstance(video, Path):
        return video.audio()
    try:
        return read_audio(video)
    except MediaError as error:
        if error.reason != "no_audio":
            raise
        return None


def _size(video: Path | Clip) -> tuple[int, int]:
    if not isinstance(video, Path):
        return video.crop().size
    info = probe(video)
    return info.width, info.height


def _even(frame: Image) -> Image:
    """Return the frame without a last row or column that H.264 cannot halve."""
    return frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2]
