"""Portrait videos from trained runs.

    python generate.py evp --run runs/demo --audio speech.wav --target head.mp4 \\
        --emotion happy --out happy.mp4
    python generate.py evp --run runs/demo --audio speech.wav --target head.mp4 \\
        --emotion-blend sad:happy:0.3 --landmarks preview.mp4 --out blend.mp4
    python generate.py fomm --fomm runs/demo/eamm/fomm --source portrait.png \\
        --driving head.mp4 --relative --adapt-scale --best-frame --out moved.mp4
    python generate.py eamm --run runs/demo/eamm --source portrait.png --audio speech.wav \\
        --pose head.mp4 --emotion happy.mp4 --out happy.mp4
"""

import argparse
import contextlib
import logging
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

import eamm.command
import eamm.fomm.command
import evp.command
from data_prep.clip import Analysis, FramesConfig, analyse_video
from eamm.command import EammJob
from eamm.drive import load_networks
from eamm.emotion_source import shown_sources
from eamm.fomm.animate import Animator, Transfer
from eamm.fomm.command import FommJob
from eamm.fomm.model import load_fomm
from eamm.portrait import reenacted, talking
from eamm.source import load_driving, load_portrait
from eamm.talk import Faces, emotion_clips, talking_keypoints
from evp.audio2lm import load_predictor
from evp.command import EvpJob
from evp.drive import sound_windows, speaking_face
from evp.portrait import EditedFrame, Target, edit, load_renderer
from media.audio import fitted, read_audio
from media.container import MediaError
from media.corpus import SAMPLES_PER_FRAME
from media.edges import sketch
from media.face_model import load_face_model
from media.geometry import FACE_SIZE, align_2d, align_3d
from media.landmarks import make_detector
from media.video import VideoWriter, probe, write_video
from runtime.run import pick_device

log = logging.getLogger(__name__)

Array = NDArray[Any]
Image = NDArray[np.uint8]

COMMANDS: dict[str, Any] = {"evp": evp.command, "fomm": eamm.fomm.command, "eamm": eamm.command}


def generate_evp(job: EvpJob) -> list[Path]:
    """Write one edited target video, and its landmark preview where one is wanted.

    Raises:
        MediaError: the sound or the target cannot be used.
        FileNotFoundError: a part is not trained yet; the message names it.
        ValueError, KeyError: an unknown speaker, label or blend.
    """
    runs = job.runs
    renderer = load_renderer(runs.edge2video, runs.device)
    model = load_face_model(runs.face_model) if job.alignment == "3d" else None
    detector = make_detector(job.detector)

    samples = driving_sound(job.audio)
    if job.face is None:
        predictor, speaker = load_predictor(runs.audio2lm), runs.speaker or renderer.speaker
        face = speaking_face(predictor, runs.audio2lm, samples, speaker, job.emotion)
    else:
        face = filmed_face(analyse_video(job.face, detector))
    if job.landmarks is not None:
        write_video(job.landmarks, map(landmark_preview, face), samples)

    found = analyse_video(job.target, detector)
    target = Target(job.target, found.landmarks, found.crop)
    edited = edit(renderer, target, face, model, job.alignment)
    rows = ([finished(frame, job)] for frame in edited)
    write_pictures([job.out], tqdm(rows, "frames", len(face), unit="frame"), samples)
    return [job.out]


def generate_fomm(job: FommJob) -> list[Path]:
    """Write a portrait that moves as a driving video does.

    Raises:
        MediaError: the portrait or the driving video cannot be used.
        FileNotFoundError: there is no such FOMM.
    """
    for option, given in (("adapt-scale", job.adapt_scale), ("best-frame", job.best_frame)):
        if given and not job.relative:
            log.warning("--%s changes nothing without --relative", option)
    device = pick_device(job.look.device)
    fomm = load_fomm(job.fomm, device)
    size, detector = fomm.config.size, make_detector(job.look.detector)
    portrait = load_portrait(job.source, size, detector, job.look.crop)
    like = portrait.landmarks if job.best_frame else None
    driving = load_driving(job.driving, size, detector, job.driving_crop, like)
    animator = Animator(fomm, portrait.stored, job.look.drawing)
    moved = animator.follow(
        driving.frames(), Transfer(job.relative, job.adapt_scale, driving.initial)
    )
    rows = reenacted(moved, portrait, job.look.paste, job.look.beside)
    outs = outputs(job.out, {"beside": job.look.beside})
    bar = tqdm(rows, "frames", probe(job.driving).frames, unit="frame")
    write_pictures(outs, bar, sound_if_any(job.driving))
    return outs


def generate_eamm(job: EammJob) -> list[Path]:
    """Write a portrait that says a sound, with and without emotion.

    Raises:
        MediaError: portrait, sound, pose or emotion source cannot be used.
        FileNotFoundError: a part is not trained yet; the message names it.
        ValueError: parts that do not belong together, or a pose file that cannot be used.
    """
    device = pick_device(job.look.device)
    networks = load_networks(job.runs, bool(job.emotion.paths), device)
    detector = make_detector(job.look.detector)
    frames = FramesConfig("eamm", networks.size)
    faces = Faces(detector, lambda path: analyse_video(path, detector, frames))
    samples = driving_sound(job.audio)
    heard = sound_windows(samples)
    portrait = load_portrait(job.source, networks.size, detector, job.look.crop)
    animator = Animator(networks.fomm, portrait.stored, job.look.drawing)
    with tempfile.TemporaryDirectory(prefix="affekt-") as folder:
        clips = emotion_clips(job, networks, faces, Path(folder))
        keypoints = talking_keypoints(job, networks, portrait, heard, faces, clips)
        results = animator.play(*keypoints)
        sources = shown_sources(clips, len(heard), job.emotion.loop)
        rows = talking(results, sources, portrait, job.look.paste, job.look.beside)
        outs = outputs(job.out, {"neutral": bool(clips), "beside": job.look.beside})
        write_pictures(outs, tqdm(rows, "frames", len(heard), unit="frame"), samples)
    return outs


def outputs(out: Path, wanted: dict[str, bool]) -> list[Path]:
    """Return the files of a job: OUT.mp4 and, of the others, OUT_name.mp4 where wanted."""
    more = [out.with_name(f"{out.stem}_{name}.mp4") for name, given in wanted.items() if given]
    return [out, *more]


def sound_if_any(path: Path) -> Array | None:
    """Return the sound of a video, 16 kHz, or None where it has none."""
    try:
        return read_audio(path)
    except MediaError as error:
        if error.reason != "no_audio":
            raise
        return None


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


def write_pictures(
    paths: Sequence[Path], rows: Iterable[Sequence[Image]], samples: Array | None
) -> None:
    """Write a video a column of `rows`, of the size of its first picture, less odd lines."""
    writers: list[VideoWriter] = []
    with contextlib.ExitStack() as stack:
        for row in rows:
            even = [picture[: -(picture.shape[0] % 2) or None] for picture in row]
            even = [picture[:, : -(picture.shape[1] % 2) or None] for picture in even]
            for path, picture in zip(paths[len(writers) :], even[len(writers) :], strict=True):
                size = (picture.shape[1], picture.shape[0])
                writers.append(stack.enter_context(VideoWriter(path, size, samples)))
            for writer, picture in zip(writers, even, strict=True):
                writer.write(picture)


def generate(job: EvpJob | FommJob | EammJob) -> list[Path]:
    """Do a job of any of the systems; return the files written.

    Raises:
        ValueError: the result cannot go where it should; said before any work is done.
    """
    if job.out.is_dir() or job.out.suffix.lower() != ".mp4":
        raise ValueError(f"--out is {job.out}, wanted the name of an .mp4 file")
    if isinstance(job, EvpJob):
        return generate_evp(job)
    return generate_fomm(job) if isinstance(job, FommJob) else generate_eamm(job)


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    keep_layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=keep_layout)
    systems = parser.add_subparsers(dest="system", required=True)
    for name, command in COMMANDS.items():
        system = systems.add_parser(
            name,
            description=command.DESCRIPTION,
            formatter_class=keep_layout,
            help=command.HELP,
            usage=command.USAGE,
        )
        command.add_arguments(system)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    args = parse(argv)
    try:
        written = generate(COMMANDS[args.system].job_of(args))
    except (OSError, ValueError, KeyError) as error:
        text = error.args[0] if isinstance(error, KeyError) else error
        print(f"generate.py: {text}", file=sys.stderr)
        return 1
    for path in written:
        print(f"{path} written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
