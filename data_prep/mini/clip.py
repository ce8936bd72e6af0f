"""One clip: speech, acting, pictures, and the truth about them, from its name alone."""

from dataclasses import astuple, dataclass, fields
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Literal

import av
import numpy as np

from affekt.arrays import Array
from affekt.media.constants import SAMPLE_RATE
from affekt.media.emotions import EMOTIONS, NEUTRAL
from affekt.media.faces.points import mouth_opening
from affekt.media.video.video import VideoWriter
from affekt.runtime.files import replacing
from data_prep.mini import acting
from data_prep.mini.head.head import Head, make_head
from data_prep.mini.head.modes import EXPRESSIONS, IDENTITIES
from data_prep.mini.render import Renderer, background, body_pose, head_pose, posed
from data_prep.mini.speakers import Speaker, make_speaker
from data_prep.mini.voice.speech import F32, SENTENCES, Speech, synthesise
from data_prep.mini.voice.visemes import frame_times, timed_visemes
from data_prep.mini.voice.voices import LEVEL_STRENGTH, Manner, coloured, manner_of, prosody_of

View = Literal["front", "lively"]
VIEWS: tuple[View, ...] = ("front", "lively")
PARTS = ("voice", "face", "head")  # each draws from a generator of its own


@dataclass(frozen=True)
class Settings:
    """Settings shared by all clips of a corpus; with its `ClipName` they define a clip."""

    seed: int = 0
    size: int = 256  # width and height of the pictures, pixels
    voice_strength: float = 1.0  # of the emotion in the voice
    face_strength: float = 1.0  # of the emotion in the face

    def __post_init__(self) -> None:
        if self.seed < 0 or not 64 <= self.size <= 1024:
            raise ValueError(f"{self}: wanted at least 64 and at most 1024 pixels, a seed from 0")
        if self.size % 2:
            raise ValueError(f"size is {self.size}: H.264 in yuv420p needs an even size")
        for strength in (self.voice_strength, self.face_strength):
            if not 0 <= strength <= 1.5:
                raise ValueError(f"a strength of {strength}: wanted 0 to 1.5")


@dataclass(frozen=True)
class ClipName:
    """Identifier of a clip: MEAD's coordinates, the number of the speaker instead of the name."""

    speaker: int
    view: View
    emotion: str
    level: int
    number: int  # of the sentence, from 1

    def text(self) -> str:
        """The spoken text; lively clips are longer: two sentences."""
        said = SENTENCES[self.number - 1]
        if self.view == "lively":
            said += " " + SENTENCES[self.number % len(SENTENCES)]
        return said

    def files(self, root: Path, speaker_name: str) -> tuple[Path, Path, Path]:
        """Video, sound and truth under the corpus folder; the truth is written last."""
        tail = Path(self.emotion) / f"level_{self.level}"
        name = f"{self.number:03d}"
        sound = "audio" if self.view == "front" else f"audio_{self.view}"
        return (
            root / speaker_name / "video" / self.view / tail / f"{name}.mp4",
            root / speaker_name / sound / tail / f"{name}.m4a",
            root / "truth" / speaker_name / self.view / tail / f"{name}.npz",
        )

    def intensity(self) -> float:
        """Strength of the emotion at the clip's level; neutral has only one."""
        return 1.0 if self.emotion == NEUTRAL else LEVEL_STRENGTH[self.level]

    def random(self, seed: int, part: str) -> np.random.Generator:
        """The generator of a part (`PARTS`) of the clip: nothing else changes its draws."""
        emotion, view = EMOTIONS.index(self.emotion), VIEWS.index(self.view)
        key = (self.speaker, view, emotion, self.level, self.number, PARTS.index(part))
        return np.random.default_rng((seed, *key))


@dataclass(frozen=True)
class Performance:
    """All that is known of a clip before a picture is drawn."""

    speech: Speech
    manner: Manner
    strengths: Array  # (T, E) of `modes.EXPRESSIONS`
    pose: Array  # (T, 6) of the head
    body: Array  # (T, 6)


def perform(name: ClipName, settings: Settings) -> Performance:
    """Speech, face and head motion of a clip."""
    speech, manner = speak(name, settings)
    random = name.random(settings.seed, "face")
    frames = len(speech.samples) * 25 // SAMPLE_RATE
    strength = settings.face_strength * name.intensity()
    strengths = acting.act(speech.phonemes, frames, name.emotion, strength, random)
    turn = acting.calm_turns if name.view == "front" else acting.lively_turns
    turns, shifts = turn(frame_times(frames), name.random(settings.seed, "head"))
    return Performance(
        speech,
        manner,
        strengths,
        head_pose(turns, shifts, settings.size),
        body_pose(shifts, settings.size),
    )


def speak(name: ClipName, settings: Settings) -> tuple[Speech, Manner]:
    """The sound of a clip, its phonemes, and the manner drawn for it."""
    random = name.random(settings.seed, "voice")
    speaker = make_speaker(settings.seed, name.speaker)
    manner = manner_of(name.emotion, settings.voice_strength * name.intensity(), random)
    prosody = prosody_of(manner, speaker.pitch)
    said = synthesise(name.text(), speaker.voice, prosody, int(random.integers(2**31)))
    return coloured(said, manner, random), manner


@lru_cache(maxsize=4)
def _stage(seed: int, index: int, size: int) -> tuple[Speaker, Head, Renderer]:
    speaker = make_speaker(seed, index)
    head = make_head(speaker)
    return speaker, head, Renderer(head, background(speaker, size))


def make_clip(root: Path, name: ClipName, settings: Settings) -> int:
    """Write video, sound and truth of a clip; returns its number of frames."""
    speaker, head, renderer = _stage(settings.seed, name.speaker, settings.size)
    played = perform(name, settings)
    video, sound, truth = name.files(root, speaker.name)
    vertices = head.vertices(played.strengths)
    with VideoWriter(video, (settings.size, settings.size), played.speech.samples) as writer:
        for k, shape in enumerate(vertices):
            writer.write(renderer.draw(shape, played.pose[k], played.body[k]))
    write_sound(sound, played.speech.samples)
    write_truth(truth, name, speaker, head, played)
    return len(vertices)


def write_sound(path: Path, samples: F32) -> None:
    """Write mono samples at 16 kHz as AAC."""
    with replacing(path) as temporary, av.open(str(temporary), "w", format="ipod") as container:
        stream = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, 0, Fraction(1, SAMPLE_RATE)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_truth(
    path: Path, name: ClipName, speaker: Speaker, head: Head, played: Performance
) -> None:
    """Write the ground truth, for tests alone.

    landmarks (T, 68, 2) pixels, landmarks3d (T, 68, 3) the same with depth, shape (T, 68, 3) cm
    before the pose, neutral (68, 3) cm, pose (T, 6), opening (T,) pixels between the inner lips,
    strengths (T, E) and strength_names, identity and identity_names, manner and manner_names,
    phonemes and visemes with times (N, 2) in seconds, text, speaker, emotion, level.
    """
    shape = head.landmarks(head.vertices(played.strengths))
    placed = posed(shape, played.pose)
    visemes = timed_visemes(played.speech.phonemes)
    phonemes = played.speech.phonemes
    with replacing(path) as temporary:
        np.savez_compressed(
            temporary,
            landmarks=placed[..., :2].astype(np.float32),
            landmarks3d=placed.astype(np.float32),
            shape=shape.astype(np.float32),
            neutral=head.landmarks(head.base[None])[0].astype(np.float32),
            pose=played.pose,
            opening=mouth_opening(placed[..., :2]).astype(np.float32),
            strengths=played.strengths.astype(np.float32),
            strength_names=np.array(EXPRESSIONS),
            identity=np.array(speaker.identity),
            identity_names=np.array(IDENTITIES),
            manner=np.array(astuple(played.manner)),
            manner_names=np.array([field.name for field in fields(Manner)]),
            phonemes=np.array([phoneme.name for phoneme in phonemes]),
            phoneme_times=np.array([(phoneme.start, phoneme.end) for phoneme in phonemes]),
            visemes=np.array([viseme for viseme, _, _ in visemes]),
            viseme_times=np.array([(start, end) for _, start, end in visemes]),
            text=np.array(name.text()),
            speaker=np.array(speaker.name),
            emotion=np.array(name.emotion),
            level=np.array(name.level),
        )
