"""A FOMM, read once, and the re-enactments that it makes."""

import logging
from collections.abc import Sequence
from pathlib import Path

from affekt.media.faces.detector import Detector
from affekt.media.video.result import Watch, outputs, sound_if_any, unwatched, write_pictures
from affekt.media.video.video import probe
from affekt.runtime.run import pick_device
from eamm.fomm.animate import Animator, Transfer
from eamm.fomm.fast.fast import FastFomm
from eamm.fomm.model import load_fomm
from eamm.inference.compose import Frame, reenacted
from eamm.inference.fomm_cli import FommJob
from eamm.inference.inputs import load_driving, load_portrait

log = logging.getLogger(__name__)


class FommStudio:
    """Makes portraits move as driving videos do."""

    def __init__(self, jobs: Sequence[FommJob], detector: Detector) -> None:
        """Read the FOMM of jobs that share it.

        Args:
            jobs: at least one; all name the same FOMM and drawing.
            detector: finds faces.

        Raises:
            FileNotFoundError: there is no such FOMM.
        """
        job = jobs[0]
        for option, given in (("adapt-scale", job.adapt_scale), ("best-frame", job.best_frame)):
            if given and not job.relative:
                log.warning("--%s changes nothing without --relative", option)
        self.detector, drawing = detector, job.look.drawing
        self.fomm = load_fomm(job.fomm, pick_device(job.look.device))
        self.engine = FastFomm(self.fomm, drawing.precision, compiled=drawing.compiled)

    def make(self, job: FommJob, watch: Watch = unwatched) -> list[Path]:
        """Write a portrait that moves as a driving video does.

        Raises:
            MediaError: the portrait or the driving video cannot be used.
        """
        size, look = self.fomm.config.size, job.look
        portrait = load_portrait(job.source, size, self.detector, look.crop)
        like = portrait.landmarks if job.best_frame else None
        driving = load_driving(job.driving, size, self.detector, job.driving_crop, like)
        animator = Animator(self.fomm, portrait.stored, look.drawing, self.engine)
        transfer = Transfer(job.relative, job.adapt_scale, driving.initial)
        moved = animator.follow(driving.frames(), transfer)
        rows = reenacted(moved, portrait, Frame(portrait, look.paste, look.size), look.beside)
        outs = outputs(job.out, {"beside": look.beside})
        count = probe(job.driving).frames
        write_pictures(outs, watch(rows, count), sound_if_any(job.driving))
        return outs
