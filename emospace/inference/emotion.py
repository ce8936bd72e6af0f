"""The emotion of a generated video: a text, a picture, a sound, a blend of two, or a track in time.

All three modalities are codes of one space (AME), so that any of them stands for the emotion, and
two of unlike kinds can be blended.

Letters: T frames, C numbers of a code, K labels of a track.
"""

import logging
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from affekt.arrays import Array
from affekt.media.audio.mel import log_mel
from affekt.media.emotion_track import frame_times, read_track
from affekt.media.emotions import NEUTRAL, parse_blend
from affekt.media.endings import SOUND_ENDINGS, is_of
from affekt.media.faces.crop import EAMM_SIZE
from affekt.media.faces.portrait import cut_whole, load_portrait
from affekt.media.faces.track import FaceTracker, FramesConfig
from affekt.media.validation import evenly_spread
from affekt.media.video.pictures import is_picture
from affekt.media.video.result import read_driving_audio
from affekt.media.video.video import read_video
from emospace.inference.emotion_codes import blend_codes, mean_code
from emospace.networks.emotion_space import EmotionSpace

log = logging.getLogger(__name__)

FILE_NAME = re.compile(r"[/\\]|\.\w{2,4}$")  # of a blend's side; texts have no such ending
LOOKED_AT = 8  # frames of a video that shows an emotion, evenly spread


@dataclass(frozen=True)
class Emotion:
    """What is wanted; at most one of the five sources, and neutral without one."""

    text: str | None = None
    image: Path | None = None  # a picture of any face, or a video
    audio: Path | None = None  # a sound, or a video's
    blend: str | None = None  # A:B:w, (1 - w) A + w B; each a text or a file
    track: Path | None = None  # a .csv of times and weights; its labels are texts
    intensity: float | None = None  # None: the text's own, by its adverb; else 1

    def __post_init__(self) -> None:
        sources = "text", "image", "audio", "blend", "track"
        given = [name for name in sources if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"the emotion comes from {' and '.join(given)}; keep one")
        if self.intensity is not None and not 0 <= self.intensity <= 3:
            raise ValueError(f"--intensity is {self.intensity}, wanted 0 (none) to 3")


@dataclass(frozen=True)
class EmotionCode:
    """An emotion as the expression network takes it."""

    code: Array  # (C,), or (T, C)
    intensity: Array  # (), or (T,)


class EmotionReader:
    """Reads emotions of any kind by an emotion space."""

    def __init__(self, space: EmotionSpace, tracker: FaceTracker) -> None:
        self.space, self.tracker = space, tracker

    def read(self, emotion: Emotion, frames: int) -> EmotionCode:
        """Return the code and intensity of an emotion over T frames.

        A text that is far from every word known to the space is warned about.

        Raises:
            MediaError: a file cannot be read, or shows no face.
            ValueError: a blend or a track that cannot be used.
        """
        if emotion.track is not None:
            found = self._track(emotion.track, frames)
        elif emotion.blend is not None:
            found = self._blend(emotion.blend)
        elif emotion.image is not None:
            found = self._image(emotion.image)
        elif emotion.audio is not None:
            found = self._audio(emotion.audio)
        else:
            found = self._text(emotion.text or NEUTRAL)
        if emotion.intensity is None:
            return found
        return EmotionCode(found.code, np.full_like(found.intensity, emotion.intensity))

    def _text(self, text: str) -> EmotionCode:
        for remark in self.space.remarks(text):
            log.warning("%s", remark)
        (code,) = self.space.text_codes([text]).numpy()
        return EmotionCode(code, np.array(self.space.bank.parse(text).intensity))

    def _image(self, path: Path) -> EmotionCode:
        """Return the mean code of a face, in profile `eamm` as training saw it."""
        if is_picture(path):
            detector = self.tracker.detector
            shown = [load_portrait(path, EAMM_SIZE, detector, "eamm").stored]
        else:
            track = self.tracker.track(path, FramesConfig("eamm", EAMM_SIZE))
            wanted = set(evenly_spread(range(len(track.landmarks)), LOOKED_AT))
            shown = [
                cut_whole(frame, track.crop)
                for number, frame in enumerate(read_video(path))
                if number in wanted
            ]
        return EmotionCode(
            mean_code(self.space.image_codes(np.stack(shown)).numpy()), np.array(1.0)
        )

    def _audio(self, path: Path) -> EmotionCode:
        (code,) = self.space.audio_codes([log_mel(read_driving_audio(path))]).numpy()
        return EmotionCode(code, np.array(1.0))

    def _blend(self, text: str) -> EmotionCode:
        """Return the code between two sources, each a file if there is one of that name."""
        form = "A:B:w, two texts or files and a weight, such as sad:happy:0.3"
        pairs, weight = parse_blend(text, form, colons=True)
        # File names may hold colons: of the ways to part A and B, that with the most files
        first, second = max(pairs, key=lambda pair: sum(Path(side).is_file() for side in pair))
        a, b = self._side(first), self._side(second)
        intensity = (1 - weight) * a.intensity + weight * b.intensity
        return EmotionCode(blend_codes(a.code, b.code, weight), np.asarray(intensity))

    def _side(self, name: str) -> EmotionCode:
        path = Path(name)
        if path.is_file():
            return self._audio(path) if is_of(path, SOUND_ENDINGS) else self._image(path)
        if FILE_NAME.search(name):
            raise ValueError(f"{name} is no file; wanted a text, a picture, a video or a sound")
        if not name:
            raise ValueError("one side of the blend is empty; wanted A:B:w")
        return self._text(name)

    def _track(self, path: Path, frames: int) -> EmotionCode:
        """Return the code of every frame: the weighted mean of labels' codes, of their length."""
        track = read_track(path)
        found = [self._text(label) for label in track.labels]
        codes_KC = np.stack([each.code for each in found])
        weights_TK = track.weights_at(frame_times(frames))
        mixed_TC = weights_TK @ codes_KC
        wanted_T = weights_TK @ np.linalg.norm(codes_KC, axis=1)
        length_T = np.linalg.norm(mixed_TC, axis=1)
        scale_T = np.divide(wanted_T, length_T, out=np.ones_like(length_T), where=length_T > 0)
        intensity_T = weights_TK @ np.array([float(each.intensity) for each in found])
        return EmotionCode((mixed_TC * scale_T[:, None]).astype(np.float32), intensity_T)
