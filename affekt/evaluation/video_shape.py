"""What two videos must have in common to be compared: frame rate, size and length.

Nothing is resampled, scaled or cut to fit: each of them moves the figures by more than methods
differ.
"""

from dataclasses import dataclass

SAME_RATE = 0.01  # frames per second that containers may round away


@dataclass(frozen=True)
class Form:
    """What a video is."""

    fps: float
    size: tuple[int, int]  # width, height, pixels
    frames: int


class UnlikeError(ValueError):
    """A result that cannot be held against its truth; `reason` is rate, size or length."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def unlike(result: Form, truth: Form, slack: int) -> dict[str, str]:
    """Return what differs: {rate, size or length: a sentence}; empty if they can be compared.

    Args:
        result: of a method.
        truth: that it is held against.
        slack: frames by which the lengths may differ.
    """
    found = {}
    if abs(result.fps - truth.fps) > SAME_RATE:
        found["rate"] = (
            f"the result has {result.fps:g} frames per second, the truth {truth.fps:g}; convert "
            "one of them before comparing"
        )
    if result.size != truth.size:
        (width, height), (true_width, true_height) = result.size, truth.size
        found["size"] = (
            f"the result is {width} x {height}, the truth {true_width} x {true_height} pixels; "
            "crop and scale both alike before comparing"
        )
    if abs(result.frames - truth.frames) > slack:
        found["length"] = (
            f"the result has {result.frames} frames, the truth {truth.frames}; both must show the "
            "same frames" + (f", give or take {slack}" if slack else "")
        )
    return found


def refuse_unlike(clip: str, result: Form, truth: Form, slack: int) -> None:
    """Refuse a result that cannot be held against its truth.

    Raises:
        UnlikeError: rate, size or length differ.
    """
    for reason, sentence in unlike(result, truth, slack).items():
        raise UnlikeError(reason, f"{clip}: {sentence}")
