"""FOMM inference: a portrait re-enacts the head motion of a driving video (arXiv:2003.00196).

    pipeline = FommPipeline.for_jobs([job])
    pipeline.run(job)

Order: portrait and driving video are cut -> keypoints of each driving frame, absolute or relative
to the initial frame -> the portrait rendered at those keypoints -> the video file.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from affekt.media.faces.compose import FrameComposer, output_rows
from affekt.media.faces.detector import Detector, make_detector
from affekt.media.faces.portrait import Framing, load_portrait
from affekt.media.faces.portrait_options import PortraitOptions
from affekt.media.video.result import (
    Progress,
    no_progress,
    output_paths,
    read_audio_if_any,
    write_videos,
)
from affekt.media.video.video import probe
from affekt.runtime.devices import pick_device
from eamm.fomm.animate import Animator, AnimatorOptions, Transfer
from eamm.fomm.fast.fast import FastFomm
from eamm.fomm.model import load_fomm
from eamm.inference.inputs import load_driving

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RenderOptions(PortraitOptions):
    """How pictures are cut, rendered and written; shared with EAMM."""

    animator: AnimatorOptions = field(default_factory=AnimatorOptions)


@dataclass(frozen=True)
class FommJob:
    """One re-enactment to make."""

    fomm: Path  # a run of train_fomm.py, or imported weights
    source: Path  # the portrait
    driving: Path  # the video whose motion is taken
    out: Path
    relative: bool = False
    adapt_scale: bool = False
    best_frame: bool = False
    driving_crop: Framing = "eamm"
    options: RenderOptions = field(default_factory=RenderOptions)


class FommPipeline:
    """A trained FOMM that animates portraits with driving videos."""

    def __init__(self, fomm: Path, detector: Detector, options: RenderOptions) -> None:
        """Load a FOMM.

        Raises:
            FileNotFoundError: there is no such FOMM.
        """
        self.detector, animator = detector, options.animator
        self.fomm = load_fomm(fomm, pick_device(options.device))
        self.engine = FastFomm(self.fomm, animator.precision)

    @classmethod
    def for_jobs(cls, jobs: Sequence[FommJob]) -> Self:
        """Load what jobs need that share FOMM, detector and device; see `__init__`."""
        job = jobs[0]
        for option, given in (("adapt-scale", job.adapt_scale), ("best-frame", job.best_frame)):
            if given and not job.relative:
                log.warning("--%s changes nothing without --relative", option)
        return cls(job.fomm, make_detector(*job.options.chosen_detector), job.options)

    def run(self, job: FommJob, progress: Progress = no_progress) -> list[Path]:
        """Write the video of a portrait that moves as a driving video does; return its files.

        Raises:
            MediaError: the portrait or the driving video cannot be used.
        """
        size, options = self.fomm.config.size, job.options

        # Inputs
        portrait = load_portrait(job.source, size, self.detector, options.crop)
        like = portrait.landmarks if job.best_frame else None
        driving = load_driving(job.driving, size, self.detector, job.driving_crop, like)

        # Keypoints and frames, as a stream
        animator = Animator(self.fomm, portrait.stored, options.animator, self.engine)
        transfer = Transfer(job.relative, job.adapt_scale, driving.initial)
        pairs = animator.reenact(driving.frames(), transfer)
        frames = (((result,), (portrait.stored, moved)) for moved, result in pairs)

        # Video files
        composer = FrameComposer(portrait, options.paste, options.size)
        rows = output_rows(frames, portrait, composer, options.comparison)
        paths = output_paths(job.out, {"comparison": options.comparison})
        count = probe(job.driving).frames
        write_videos(paths, progress(rows, count), read_audio_if_any(job.driving))
        return paths
