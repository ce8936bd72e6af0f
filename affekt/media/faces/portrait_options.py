"""Options of one-shot systems: how the portrait is cut, what is written, where it is made."""

import argparse
import typing as tp
from dataclasses import dataclass

from affekt.media.faces.detector import DetectorDevice, DetectorName
from affekt.media.faces.portrait import Framing
from affekt.runtime.command import add_device


@dataclass(frozen=True)
class PortraitOptions:
    """How pictures are cut and written."""

    crop: Framing = "eamm"  # of the portrait
    paste: bool = False  # write the whole portrait, not its crop alone
    size: int | None = None  # pixels a side of the written crop; None: as the networks render it
    comparison: bool = False  # also write OUT_comparison.mp4: inputs and results
    detector: DetectorName = "mediapipe"
    detector_device: DetectorDevice | None = None  # of face_alignment; none: `device`
    device: DetectorDevice = "auto"

    @property
    def chosen_detector(self) -> tuple[DetectorName, DetectorDevice]:
        """The landmark detector, and the device that it runs on."""
        return self.detector, self.detector_device or self.device

    def __post_init__(self) -> None:
        if self.size is not None and (self.size < 2 or self.size % 2):
            raise ValueError(f"--size is {self.size}, wanted an even number of pixels")


def add_portrait_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `PortraitOptions`."""
    add = parser.add_argument
    text = "cut the portrait around its face, or take its largest centred square as it is"
    add("--crop", choices=tp.get_args(Framing), default="eamm", help=text)

    # What is written
    size = parser.add_mutually_exclusive_group()
    text = "put the result back into the whole portrait"
    size.add_argument("--paste", action="store_true", help=text)
    text = "pixels a side of the written crop, such as a truth's; default: as rendered"
    size.add_argument("--size", type=int, metavar="N", help=text)
    text = "also write OUT_comparison.mp4: inputs and results side by side"
    add("--comparison", action="store_true", help=text)

    # What it is made with
    add("--detector", choices=tp.get_args(DetectorName), default="mediapipe", help="of faces")
    text = "of face_alignment (default: --device); mediapipe runs on the CPU"
    add("--detector-device", choices=tp.get_args(DetectorDevice), help=text)
    add_device(parser)


def portrait_options(args: argparse.Namespace) -> dict[str, tp.Any]:
    """Return the fields of `PortraitOptions` that the command line gives."""
    names = PortraitOptions.__dataclass_fields__
    return {name: getattr(args, name) for name in names}
