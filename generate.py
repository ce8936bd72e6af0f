"""Portrait videos from trained runs.

    python generate.py evp --run runs/demo --audio speech.wav --target head.mp4 \\
        --emotion happy --out happy.mp4
    python generate.py evp --run runs/demo --audio speech.wav --target head.mp4 \\
        --emotion-blend sad:happy:0.3 --landmarks preview.mp4 --out blend.mp4
"""

import argparse
import contextlib
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from data_prep.clip import Analysis, analyse_video
from evp.audio2lm import load_predictor
from evp.drive import Emotion, speaking_face
from evp.portrait import Alignment, EditedFrame, Paste, Target, edit, load_renderer
from media.audio import fitted, read_audio
from media.container import MediaError
from media.corpus import SAMPLES_PER_FRAME
from media.edges import sketch
from media.face_model import load_face_model
from media.geometry import FACE_SIZE, align_2d, align_3d
from media.landmarks import DetectorName, make_detector
from media.video import VideoWriter, probe, write_video

Array = NDArray[Any]
Image = NDArray[np.uint8]

EVP = """One person says your sound in your emotion, in a video of that person.

    python generate.py evp --run runs/demo --audio speech.wav --target head.mp4 \\
        --emotion happy --out happy.mp4

RUN holds the runs audio2lm/ (with its emotion codes) and edge2video/ and face_model.npz, as
demo.py lays them out; each can be named on its own. Without an --emotion option the emotion is
that of the driving sound. Frames of the target are repeated to and fro where the sound is longer.
"""


@dataclass(frozen=True)
class EvpJob:
    """One video to make."""

    audio: Path
    target: Path
    out: Path
    emotion: Emotion
    face: Path | None  # a video of the person whose face moves this way, instead of the sound
    alignment: Alignment
    frame: Literal["full", "crop"]  # the target's frame, or the generator's picture alone
    paste: Paste
    landmarks: Path | None  # a preview of the predicted landmarks goes there
    detector: DetectorName  # the one that the corpus was prepared with


@dataclass(frozen=True)
class EvpRuns:
    """Where the trained parts are."""

    audio2lm: Path
    edge2video: Path
    face_model: Path


def generate_evp(job: EvpJob, runs: EvpRuns, device: str = "auto", speaker: str = "") -> None:
    """Write one edited target video, and its landmark preview where one is wanted.

    Raises:
        MediaError: the sound or the target cannot be used.
        FileNotFoundError: a part is not trained yet; the message names it.
        ValueError, KeyError: an unknown speaker, label or blend.
    """
    renderer = load_renderer(runs.edge2video, device)
    model = load_face_model(runs.face_model) if job.alignment == "3d" else None
    detector = make_detector(job.detector)

    samples = driving_sound(job.audio)
    if job.face is None:
        predictor, speaker = load_predictor(runs.audio2lm), speaker or renderer.speaker
        face = speaking_face(predictor, runs.audio2lm, samples, speaker, job.emotion)
    else:
        face = filmed_face(analyse_video(job.face, detector))
    if job.landmarks is not None:
        write_video(job.landmarks, map(landmark_preview, face), samples)

    found = analyse_video(job.target, detector)
    target = Target(job.target, found.landmarks, found.crop)
    edited = edit(renderer, target, face, model, job.alignment)
    pictures = (finished(frame, job) for frame in edited)
    write_pictures(job.out, tqdm(pictures, "frames", len(face), unit="frame"), samples)


def driving_sound(path: Path) -> Array:
    """Return the sound of a file, 16 kHz; that of a video lasts as long as its pictures.

    AAC pads a sound to whole blocks, so that a video's own sound runs a frame or two over.
    """
    samples = read_audio(path)
    try:
        frames = probe(path).frames
    except MediaError as error:
        if error.reason != "no_video":
            raise
        return samples
    return fitted(samples, frames * SAMPLES_PER_FRAME)


def filmed_face(found: Analysis) -> Array:
    """Return a video's own face, aligned (T, 68, 2): what a perfect landmark network would say."""
    if found.landmarks3d is None:
        return align_2d(found.landmarks)
    return align_3d(found.landmarks3d)


def landmark_preview(landmarks: Array) -> Image:
    """Return an aligned face (68, 2) as a white sketch on black, 256 px."""
    return np.repeat(sketch(landmarks, (FACE_SIZE, FACE_SIZE))[:, :, None], 3, axis=2)


def finished(edited: EditedFrame, job: EvpJob) -> Image:
    """Return the picture that goes into the video: the full frame, or the crop alone."""
    return edited.picture if job.frame == "crop" else edited.pasted(job.paste)


def write_pictures(path: Path, pictures: Iterable[Image], samples: Array) -> None:
    """Write a video of the size of its first picture, less a line where that is odd."""
    writer: VideoWriter | None = None
    with contextlib.ExitStack() as stack:
        for picture in pictures:
            height, width = (side - side % 2 for side in picture.shape[:2])
            if writer is None:
                writer = stack.enter_context(VideoWriter(path, (width, height), samples))
            writer.write(picture[:height, :width])


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    keep_layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=keep_layout)
    systems = parser.add_subparsers(dest="system", required=True)
    evp = systems.add_parser(
        "evp",
        description=EVP,
        formatter_class=keep_layout,
        help="one person, any emotion",
        usage="generate.py evp --run RUN --audio AUDIO --target TARGET --out OUT.mp4 [options]",
    )
    _add_inputs(evp)
    _add_emotion(evp)
    _add_look(evp)
    _add_parts(evp)
    return parser.parse_args(argv)


def _add_inputs(evp: argparse.ArgumentParser) -> None:
    evp.add_argument("--run", type=Path, required=True, help="folder of the trained parts")
    evp.add_argument("--audio", type=Path, required=True, help="what is said; any sound file")
    evp.add_argument("--target", type=Path, required=True, help="a video of the person")
    evp.add_argument("--out", type=Path, required=True, help="the .mp4 file to write")


def _add_emotion(evp: argparse.ArgumentParser) -> None:
    emotion = evp.add_mutually_exclusive_group()
    emotion.add_argument("--emotion", help="the mean code of a label, such as happy")
    emotion.add_argument("--emotion-audio", type=Path, help="the emotion of this sound")
    emotion.add_argument(
        "--emotion-blend", metavar="a:b:w", help="(1 - w) a + w b, such as sad:happy:0.3"
    )
    emotion.add_argument(
        "--face",
        type=Path,
        metavar="VIDEO",
        help="the face moves as in this video of the person, not as the sound says",
    )


def _add_look(evp: argparse.ArgumentParser) -> None:
    evp.add_argument(
        "--alignment",
        choices=("3d", "none"),
        default="3d",
        help="follow the target's head in 3D, or not at all (the paper's Fig. 7)",
    )
    evp.add_argument(
        "--frame",
        choices=("full", "crop"),
        default="full",
        help="paste into the target's full frame, or write the generated crop alone",
    )
    evp.add_argument(
        "--paste",
        choices=("face", "crop"),
        default="face",
        help="what of the generated crop replaces the target's pixels in the full frame",
    )
    evp.add_argument(
        "--landmarks", type=Path, metavar="FILE.mp4", help="also write the predicted landmarks"
    )


def _add_parts(evp: argparse.ArgumentParser) -> None:
    evp.add_argument(
        "--detector",
        choices=("mediapipe", "face_alignment"),
        default="mediapipe",
        help="of landmarks; take the one that the training corpus was prepared with",
    )
    evp.add_argument("--speaker", default="", help="whose neutral face; default: the renderer's")
    evp.add_argument("--audio2lm", type=Path, help="default: RUN/audio2lm")
    evp.add_argument("--edge2video", type=Path, help="default: RUN/edge2video")
    evp.add_argument("--face-model", type=Path, help="default: RUN/face_model.npz")
    evp.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="of the renderer"
    )


def main(argv: Sequence[str] | None = None) -> int:
    args = parse(argv)
    runs = EvpRuns(
        args.audio2lm or args.run / "audio2lm",
        args.edge2video or args.run / "edge2video",
        args.face_model or args.run / "face_model.npz",
    )
    emotion = Emotion(args.emotion, args.emotion_audio, args.emotion_blend)
    job = EvpJob(
        audio=args.audio,
        target=args.target,
        out=args.out,
        emotion=emotion,
        face=args.face,
        alignment=args.alignment,
        frame=args.frame,
        paste=args.paste,
        landmarks=args.landmarks,
        detector=args.detector,
    )
    try:
        generate_evp(job, runs, args.device, args.speaker)
    except (OSError, ValueError, KeyError) as error:
        text = error.args[0] if isinstance(error, KeyError) else error
        print(f"generate.py: {text}", file=sys.stderr)
        return 1
    print(f"{args.out} written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
