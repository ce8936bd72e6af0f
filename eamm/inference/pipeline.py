"""EAMM's trained parts, read once, and the talking portraits that they make."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from affekt.media.audio.mfcc import sound_windows
from affekt.media.faces.detector import Detector
from affekt.media.video.result import Watch, driving_sound, outputs, unwatched, write_pictures
from affekt.runtime.run import pick_device
from eamm.fomm.animate import Animator
from eamm.fomm.fast.fast import FastFomm
from eamm.inference.cli import EammJob
from eamm.inference.compose import Frame, talking
from eamm.inference.drive import load_networks
from eamm.inference.emotion import shown_sources
from eamm.inference.inputs import load_portrait
from eamm.inference.talk import Faces, Found, emotion_clips, talking_keypoints


class EammStudio:
    """Makes portraits talk."""

    def __init__(
        self,
        jobs: Sequence[EammJob],
        detector: Detector,
        analyse: Callable[[Path, int], Found],
    ) -> None:
        """Read the parts that jobs of one set of runs need.

        Args:
            jobs: at least one; all name the same runs and drawing.
            detector: finds faces in pictures.
            analyse: finds the face in every frame of a video and its crop of profile `eamm`, whose
                side is the second argument.

        Raises:
            FileNotFoundError: a part is not trained yet; the message names it.
            ConfigError: parts that do not belong together.
        """
        job = jobs[0]
        emotion, drawing = any(each.emotion.paths for each in jobs), job.look.drawing
        self.networks = load_networks(job.runs, emotion, pick_device(job.look.device))
        self.engine = FastFomm(self.networks.fomm, drawing.precision, compiled=drawing.compiled)
        size = self.networks.size
        self.faces = Faces(detector, lambda path: analyse(path, size))

    def make(self, job: EammJob, watch: Watch = unwatched) -> list[Path]:
        """Write a portrait that says a sound, with and (where `job.neutral`) without emotion.

        Raises:
            MediaError: portrait, sound, pose or emotion source cannot be used.
            ValueError: a pose file that cannot be used.
            FileNotFoundError: no face model to measure poses with.
        """
        networks, faces, look = self.networks, self.faces, job.look
        samples = driving_sound(job.audio)
        heard = sound_windows(samples)
        portrait = load_portrait(job.source, networks.size, faces.detector, look.crop)
        animator = Animator(networks.fomm, portrait.stored, look.drawing, self.engine)
        with tempfile.TemporaryDirectory(prefix="affekt-") as folder:
            clips = emotion_clips(job, networks, faces, Path(folder))
            keypoints = talking_keypoints(job, networks, portrait, heard, faces, clips)
            results = animator.play(*keypoints if job.neutral else keypoints[:1])
            sources = shown_sources(clips, len(heard), job.emotion.loop)
            frame = Frame(portrait, look.paste, look.size)
            rows = talking(results, sources, portrait, frame, look.beside)
            more = {"neutral": bool(clips) and job.neutral, "beside": look.beside}
            outs = outputs(job.out, more)
            write_pictures(outs, watch(rows, len(heard)), samples)
        return outs
