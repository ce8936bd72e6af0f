"""What manifests name: frames that are drawn for a clip, and files of a prepared corpus."""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from affekt.media.corpus import Clip, Corpus
from affekt.media.emotions import NEUTRAL
from affekt.media.plots import write_png
from affekt.media.video.video import write_video
from affekt.runtime.batch import Fingerprints, ResultFolder
from affekt.runtime.files import replacing


class LeftOutError(ValueError):
    """A protocol cannot be done with this clip; the others go on."""


class Draw:
    """What is drawn for a clip, whatever other clips are wanted."""

    def __init__(self, corpus: Corpus, seed: int) -> None:
        """Note the neutral clips of every speaker."""
        self.seed = seed
        self.neutral: dict[str, list[Clip]] = {}
        for clip in sorted(corpus.clips(emotion=NEUTRAL), key=lambda clip: clip.id):
            self.neutral.setdefault(clip.speaker, []).append(clip)

    def frame(self, clip: Clip, what: str) -> tuple[Clip, int]:
        """Return a random frame of the clip itself."""
        return clip, int(self._random(clip, what).integers(clip.frames))

    def own_neutral(self, clip: Clip, what: str) -> tuple[Clip, int]:
        """Return a random frame of a random neutral clip of the speaker, not this one.

        Raises:
            LeftOutError: there is no other.
        """
        others = [each for each in self.neutral.get(clip.speaker, []) if each.id != clip.id]
        if not others:
            raise LeftOutError(f"speaker {clip.speaker} has no other neutral clip")
        return self._frame_of(others, clip, what)

    def other_identity(self, clip: Clip, what: str) -> tuple[Clip, int]:
        """Return a random frame of a random neutral clip of a random other speaker.

        Raises:
            LeftOutError: there is no other speaker with a neutral clip.
        """
        speakers = sorted(self.neutral.keys() - {clip.speaker})
        if not speakers:
            raise LeftOutError(f"there is no neutral clip of anyone but {clip.speaker}")
        speaker = speakers[int(self._random(clip, f"{what}: who").integers(len(speakers)))]
        return self._frame_of(self.neutral[speaker], clip, what)

    def _frame_of(self, clips: Sequence[Clip], clip: Clip, what: str) -> tuple[Clip, int]:
        random = self._random(clip, what)
        chosen = clips[int(random.integers(len(clips)))]
        return chosen, int(random.integers(chosen.frames))

    def _random(self, clip: Clip, what: str) -> np.random.Generator:
        return np.random.default_rng(int(digest(self.seed, clip.id, what), 16))


@dataclass(frozen=True)
class _Stored:
    """What a true video is made from."""

    frames: Path
    audio: Path


class Export:
    """Files of a corpus, written beside a manifest; their names are relative to it."""

    def __init__(self, folder: Path) -> None:
        """Read what was exported to there before."""
        self.folder, self.truths = folder, ResultFolder(folder / "truth")
        self.fingerprints = Fingerprints()

    def truth(self, clip: Clip) -> str:
        """Write the clip as a video with its sound.

        Raises:
            LeftOutError: the clip is silent.
            ValueError: a clip of this name was exported from something else.
        """
        samples = clip.audio()
        if not samples.any():
            raise LeftOutError("it has no sound")
        store, place = clip.store(), self.truths.path(clip.id)
        found = self.fingerprints.of(_Stored(store.path, clip.folder / "audio.wav"))
        known = self.truths.fingerprint(clip.id)
        if known not in (None, found):
            raise ValueError(
                f"{place} was made from other frames or sound than {clip.folder} holds now; take a "
                "folder of its own for each corpus, and a new one where it was prepared anew"
            )
        if not self.truths.holds(clip.id, found):
            write_video(place, (store[k] for k in range(len(store))), samples)
            self.truths.add(clip.id, found)
        return self._name(place)

    def sound(self, clip: Clip) -> str:
        """Copy the clip's sound."""
        place = self.folder / "audio" / f"{clip.id}.wav"
        with replacing(place) as temporary:
            shutil.copyfile(clip.folder / "audio.wav", temporary)
        return self._name(place)

    def picture(self, clip: Clip, frame: int) -> str:
        """Write one of the clip's frames."""
        place = self.folder / "sources" / f"{clip.id}_{frame:04d}.png"
        write_png(place, clip.store()[frame])
        return self._name(place)

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()


def digest(seed: int, clip_id: str, what: str) -> str:
    """Return 64 hexadecimal digits that seed, clip and purpose determine."""
    return hashlib.sha256(f"{seed}/{clip_id}/{what}".encode()).hexdigest()
