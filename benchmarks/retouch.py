"""What the options of `generate.py evp` beside the networks do to a trained run's faces.

    python -m benchmarks.retouch --run runs/demo
    python -m benchmarks.retouch --run runs/demo --drawn 6 --json

Held-out sentences of the renderer's person, one after the other, are said in every video of that
person turning the head, for twice as long as the video, so that it runs to and fro.

First table, faces in the target's frames before they are drawn; with and without --smooth, and
with --eyes target:
    eye r     correlation of the opening of the eyes (height over width) with the target's
    blinks    how often the eyes close to less than 0.6 of their median, of so many of the target
    jitter    mean size of second differences, pixels of the target's frame
    mouth r, range, late    the mouth's opening against the unsmoothed one: correlation, ratio of
              standard deviations, and frames of delay
With --drawn N also the eyes that the detector finds in the generated videos, once through each of
the first N targets: eye r, blinks, and the share of frames in which it finds a face. The target's
own faces, drawn anew, say what the renderer makes of lids that are where they were.

Second table, the mouth's opening in px of the 256 px face, medians: while something is said, and
in a pause of 1.2 s between two sentences, with --silence keep and close.
"""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from affekt.arrays import Array
from affekt.media.constants import SAMPLES_PER_FRAME
from affekt.media.corpus import Clip, Corpus
from affekt.media.face3d.model import FaceModel, load_face_model
from affekt.media.faces.detector import make_detector
from affekt.media.faces.points import eye_opening, mouth_opening
from affekt.media.video.result import ping_pong
from affekt.metrics.landmark import correlation
from affekt.runtime.command import CommandParser, user_errors
from benchmarks.harness import table
from evp.inference.landmarks import Emotion, audio_to_landmarks
from evp.inference.portrait import EditedFrame, edit, place_faces
from evp.inference.postprocess import (
    FADE,
    PauseRule,
    Retouch,
    mouth_closed,
    retouched,
    silent_frames,
)
from evp.inference.renderer import Renderer, Target, load_renderer
from evp.networks.audio2lm import Predictor, load_predictor

RETOUCHES = {
    "predicted": Retouch(),
    "--smooth": Retouch(smooth=True),
    "--eyes target": Retouch(eyes="target"),
}
OWN = "the target's own"
SHUT = 0.6  # of the median opening: eyes below it blink
PAUSE = 30  # frames
REACH = 5  # frames of delay that are looked for
EMOTIONS = ("angry", "fear", "happy", "neutral", "sad", "surprised")
SAID, LIVELY = Path("data/mini"), Path("data/mini_lively")


@dataclass(frozen=True)
class Parts:
    """The trained parts, and what is said where."""

    predictor: Predictor
    folder: Path
    renderer: Renderer
    model: FaceModel
    said: list[Clip]
    targets: list[Clip]

    def face(self, samples: Array, emotion: Emotion) -> Array:
        """Return the person saying this, (T, 68, 2) aligned."""
        speaker = self.renderer.speaker
        return audio_to_landmarks(self.predictor, self.folder, samples, speaker, emotion)


def read_parts(run: Path, said: Path, lively: Path) -> Parts:
    """Read what is measured.

    Raises:
        OSError, ValueError: a part or a corpus is missing.
    """
    renderer, folder = load_renderer(run / "edge2video", "cpu"), run / "audio2lm"
    targets = Corpus(lively).clips(None, renderer.speaker)
    sentences = Corpus(said).clips("test_sentence", renderer.speaker)
    if not targets or len(sentences) < 2:
        raise ValueError(f"{said} and {lively} have too few clips of {renderer.speaker}")
    model = load_face_model(run / "face_model.npz")
    return Parts(load_predictor(folder), folder, renderer, model, sentences, targets)


def speeches(parts: Parts) -> Iterator[tuple[Clip, Array]]:
    """Yield every target with a face (T, 68, 2) that speaks for twice as long as it lasts."""
    sounds = [clip.audio() for clip in parts.said]
    for k, target in enumerate(parts.targets):
        order = [*sounds[k % len(sounds) :], *sounds]
        samples = np.concatenate(order)[: 2 * target.frames * SAMPLES_PER_FRAME]
        yield target, parts.face(samples, Emotion())


def openness(faces: Array) -> Array:
    """Return the height of the eyes over their width, (T,)."""
    width = np.linalg.norm(faces[:, [36, 42]] - faces[:, [39, 45]], axis=-1).mean(axis=1)
    return eye_opening(faces) / width


def blinks(openings: Array) -> int:
    """Return how often the eyes close in a track (T,); frames without a face are left out."""
    known = openings[~np.isnan(openings)]
    shut = known < SHUT * np.median(known)
    return int((np.diff(shut.astype(int), prepend=0) == 1).sum())


def delay(late: Array, early: Array) -> int:
    """Return by how many frames one track (T,) comes after the other."""
    count = len(early) - REACH
    fits = [correlation(late[shift : shift + count], early[:count]) for shift in range(REACH + 1)]
    return int(np.argmax(fits))


def face_figures(faces: Array, plain: Array, target: Array) -> list[float]:
    """Return one clip's row of the first table: of faces (T, 68, 2), placed, in pixels."""
    mouth, before = mouth_opening(faces), mouth_opening(plain)
    return [
        correlation(openness(faces), openness(target)),
        blinks(openness(faces)),
        blinks(openness(target)),
        float(np.linalg.norm(np.diff(faces, 2, axis=0), axis=-1).mean()),
        correlation(mouth, before),
        float(mouth.std() / before.std()),
        delay(mouth, before),
    ]


def placed_rows(parts: Parts) -> list[list[object]]:
    """Return the first table: medians over the targets, blinks their sum."""
    figures: dict[str, list[list[float]]] = {name: [] for name in RETOUCHES}
    for clip, face in speeches(parts):
        target = clip.landmarks().astype(float)[ping_pong(clip.frames, len(face))]
        plain = place_faces(face, target, parts.model, "3d")
        for name, retouch in RETOUCHES.items():
            faces = retouched(plain, target, clip.crop().source_size[1], retouch)
            figures[name].append(face_figures(faces, plain, target))
    rows: list[list[object]] = []
    for name, clips in figures.items():
        middle, total = np.median(clips, axis=0), np.sum(clips, axis=0).astype(int)
        seen = f"{total[1]} of {total[2]}"
        rows.append([name, middle[0], seen, *middle[3:6], int(middle[6])])
    return rows


def drawn_rows(parts: Parts, count: int) -> list[list[object]]:
    """Return what the detector finds of the blinks of `count` targets in the generated videos."""
    detector, rows = make_detector(), []
    for name in ("predicted", "--eyes target", OWN):
        fits, found, seen, wanted = [], [], 0, 0
        for clip, face in itertools.islice(speeches(parts), count):
            eyes = np.full(clip.frames, np.nan)
            for k, frame in enumerate(drawn(parts, clip, face[: clip.frames], name)):
                detection = detector.detect(frame.pasted("face"))
                if detection is not None:
                    eyes[k] = openness(detection.points[None])[0]
            true = openness(clip.landmarks().astype(float))
            fits.append(correlation(eyes, true))
            seen, wanted = seen + blinks(eyes), wanted + blinks(true)
            found.append(1 - np.isnan(eyes).mean())
        rows.append([name, float(np.median(fits)), f"{seen} of {wanted}", float(np.mean(found))])
    return rows


def drawn(parts: Parts, clip: Clip, face: Array, name: str) -> Iterator[EditedFrame]:
    """Return a target's frames with this face (T, 68, 2), or with its own drawn anew."""
    landmarks = clip.landmarks().astype(float)
    target = Target(Path(clip.source), landmarks, clip.crop())
    if name == OWN:  # without alignment a face that is in its place stays there
        return edit(parts.renderer, target, landmarks, None, "none")
    return edit(parts.renderer, target, face, parts.model, "3d", RETOUCHES[name])


def pause_rows(parts: Parts) -> list[list[object]]:
    """Return the second table: openings of the mouth per emotion."""
    before, after = (clip.audio() for clip in parts.said[:2])
    gap = np.zeros(PAUSE * SAMPLES_PER_FRAME, before.dtype)
    samples, rule = np.concatenate([before, gap, after]), PauseRule()
    rows: list[list[object]] = []
    for emotion in EMOTIONS:
        face = parts.face(samples, Emotion(emotion))
        silent = silent_frames(samples, len(face), rule)
        first = len(before) // SAMPLES_PER_FRAME
        inside = slice(first + len(FADE), first + PAUSE - len(FADE))
        kept, closed = (mouth_opening(f) for f in (face, mouth_closed(face, samples, rule)))
        tracks = (kept[~silent], kept[inside], closed[inside])
        rows.append([emotion, *(float(np.median(track)) for track in tracks)])
    return rows


def main() -> None:
    """Run from the command line."""
    parser = CommandParser(__doc__)
    parser.add_argument("--run", type=Path, required=True, help="folder of the trained parts")
    parser.add_argument("--speech", type=Path, default=SAID, help="a prepared corpus: the sounds")
    parser.add_argument("--targets", type=Path, default=LIVELY, help="one of turning heads")
    parser.add_argument("--drawn", type=int, default=0, help="generated videos to look at too")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    args = parser.parse_args()
    with user_errors():
        parts = read_parts(args.run, args.speech, args.targets)
    header = ["placed", "eye r", "blinks", "jitter", "mouth r", "range", "late"]
    tables = {"placed": (header, placed_rows(parts))}
    if args.drawn:
        tables["drawn"] = (["drawn", "eye r", "blinks", "found"], drawn_rows(parts, args.drawn))
    tables["pause"] = (["mouth", "speech", "pause kept", "pause closed"], pause_rows(parts))
    print("\n\n".join(table(*each) for each in tables.values()))
    if args.json:
        plain = {name: [rows[0], *rows[1]] for name, rows in tables.items()}
        print(json.dumps({"name": "retouch", **plain}, allow_nan=False))


if __name__ == "__main__":
    main()
