"""Write a user study: the form and the videos for participants, the key for the experimenter.

    STUDY/public/index.html       the form; open it as index.html?p=N for participant N
    STUDY/public/videos/*.mp4     under drawn numbers; those of the second task have no sound
    STUDY/public/examples/*.mp4   a true video of each emotion, where it is asked
    STUDY/public/sources/*.png    source pictures, where the protocol shows them
    STUDY/private/key.json        method and clip of each video

All videos, the real ones too, are written by one encoder at one rate, sound and size, without
metadata, in the order of their numbers, so that neither name, container, codec, comment nor date
shows the method. (The picture itself and the file's size remain.)
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from affekt.arrays import Array, Image
from affekt.evaluation.pairing import ClipPair
from affekt.evaluation.user_study.design import HIGHEST, LOWEST, PROTOCOLS, REAL, Item, Study
from affekt.media.audio.reader import read_audio
from affekt.media.corpus import Clip
from affekt.media.emotions import EMOTIONS
from affekt.media.plots import write_png
from affekt.media.video.pictures import read_picture
from affekt.media.video.video import probe, read_video, write_video
from affekt.runtime.files import replacing_folder, write_json, write_text

FORM = Path(__file__).parent / "form.html"


def write_study(
    folder: Path,
    study: Study,
    truths: Mapping[str, ClipPair],
    results: Mapping[str, Mapping[str, Path]],
) -> None:
    """Write the folder of a study, whole or not at all.

    Args:
        folder: a new one.
        study: the key.
        truths: by clip.
        results: by method, then by clip.

    Raises:
        FileExistsError: the folder exists; its key may belong to forms that are being answered.
        MediaError: a video cannot be read.
        ValueError: a result of another size than its truth, or a clip without sound.
    """
    if folder.exists():
        raise FileExistsError(
            f"{folder} exists, and people may be answering its forms; name another folder"
        )
    with replacing_folder(folder) as temporary:
        public = temporary / "public"
        # Source pictures (or first true frames), the numbered videos in order, examples.
        sources = {}
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


def _write_item(path: Path, item: Item, truth: Path | Clip, video: Path | Clip) -> None:
    """Write a video at the truth's size; the sound is its own, or the truth's if it has none."""
    wanted, _, true_sound = _opened(truth)
    found, frames, own_sound = _opened(video)
    if wanted != found:
        raise ValueError(
            f"{item.method}, {item.clip}: the video is {found[0]} x {found[1]}, the truth "
            f"{wanted[0]} x {wanted[1]} pixels: its size would show the method; crop and scale "
            "both alike"
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
            f"{text} ({LOWEST} worst, {HIGHEST} best)"
            for text in PROTOCOLS[study.protocol].questions.values()
        ],
        "ratings": list(range(LOWEST, HIGHEST + 1)),
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
    """Return a video's size, frames of even size (for H.264), and sound (None if it has none)."""
    if isinstance(video, Clip):
        store, (width, height) = video.store(), video.crop().size
        frames, sound = (store[k] for k in range(video.frames)), video.audio()
    else:
        info = probe(video)
        width, height, frames = info.width, info.height, read_video(video)
        sound = read_audio(video) if info.has_audio else None
    return (width, height), (frame[: height // 2 * 2, : width // 2 * 2] for frame in frames), sound
