"""One clip from its name alone: speech, expression, head pose, pictures, and the truth of them."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Literal

import av
import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.spatial.transform import Rotation

from affekt.arrays import Array
from affekt.media.constants import SAMPLE_RATE
from affekt.media.emotions import EMOTIONS, NEUTRAL
from affekt.media.faces.points import mouth_opening
from affekt.media.video.video import VideoWriter
from affekt.runtime.files import replacing
from data_prep.mini.head.head import Head, make_head
from data_prep.mini.head.modes import EXPRESSION_INDEX, EXPRESSIONS, IDENTITIES
from data_prep.mini.render import Renderer, background, body_pose, head_pose, posed
from data_prep.mini.speakers import Speaker, make_speaker
from data_prep.mini.voice.speech import F32, SENTENCES, Phoneme, Speech, synthesise
from data_prep.mini.voice.visemes import (
    SHAPE,
    closure_at,
    frame_times,
    shapes_at,
    timed_visemes,
)
from data_prep.mini.voice.voices import LEVEL_STRENGTH, Manner, coloured, manner_of, prosody_of

View = Literal["front", "lively"]
VIEWS: tuple[View, ...] = ("front", "lively")
PARTS = ("voice", "face", "head")  # each draws from a generator of its own
# full-strength poses, after the prototypes of Ekman & Friesen (1978); amounts ours
POSES: dict[str, dict[str, float]] = {
    "angry": {"brow_down": 1.15, "lid_raise": 0.55, "squint": 0.3, "frown": 0.15, "press": 0.35,
              "lower_lip_down": 0.15},
    "contempt": {"smirk": 1.0, "brow_one_up": 0.75, "squint": 0.2, "blink": 0.15},
    "disgusted": {"sneer": 1.0, "lip_curl": 0.8, "brow_down": 0.5, "squint": 1.0, "blink": 0.2,
                  "cheek_up": 0.7, "frown": 0.75},
    "fear": {"brow_inner_up": 1.0, "brow_outer_up": 0.35, "lid_raise": 0.85, "wide": 0.55,
             "frown": 0.25, "lower_lip_down": 0.20},
    "happy": {"smile": 1.0, "cheek_up": 0.8, "squint": 0.5, "brow_inner_up": 0.3,
              "brow_outer_up": 0.3},
    "neutral": {},
    "sad": {"brow_inner_up": 1.0, "brow_down": 0.1, "frown": 0.85, "pout": 0.25, "blink": 0.33},
    "surprised": {"brow_inner_up": 1.15, "brow_outer_up": 1.25, "lid_raise": 1.0,
                  "jaw_open": 0.18, "round": 0.2},
}  # fmt: skip
# how widely each emotion opens the mouth in speech
OPENNESS = {"angry": 1.1, "contempt": 0.9, "disgusted": 0.95, "fear": 0.95, "sad": 0.85,
            "surprised": 1.1}  # fmt: skip
OPENERS = ("jaw_open", "upper_lip_up", "lower_lip_down", "lip_curl", "tuck")
BLINK_EVERY = 2.6  # seconds, mean
BLINK_SHAPE = np.array([0.45, 1.0, 0.9, 0.45, 0.12])  # strength frame by frame
# Head pose, independent of the speech.
CALM_DEGREES = (2.1, 1.1, 0.9)  # standard deviations of yaw, pitch, roll, as in MEAD's front view
CALM_HERTZ = (0.15, 0.7)  # slowest and fastest sway
CALM_SHIFT = 0.10  # cm
LIVELY_DEGREES = (25.0, 15.0, 10.0)  # largest yaw, pitch, roll
LIVELY_HOLD = (0.9, 1.5)  # seconds from one pose to the next
LIVELY_SHIFT = 0.5  # cm


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
    frames = len(speech.samples) * 25 // SAMPLE_RATE
    strength = settings.face_strength * name.intensity()
    random = name.random(settings.seed, "face")
    strengths = act(speech.phonemes, frames, name.emotion, strength, random)
    turn = calm_turns if name.view == "front" else lively_turns
    turns, shifts = turn(frame_times(frames), name.random(settings.seed, "head"))
    head, body = head_pose(turns, shifts, settings.size), body_pose(shifts, settings.size)
    return Performance(speech, manner, strengths, head, body)


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


def act(
    phonemes: Sequence[Phoneme],
    frames: int,
    emotion: str,
    strength: float,
    random: np.random.Generator,
) -> Array:
    """Mode strengths (T, E) of a clip, E as in `modes.EXPRESSIONS`."""
    times = frame_times(frames)
    openness = 1 + strength * (OPENNESS.get(emotion, 1.0) - 1)
    spoken = shapes_at(phonemes, times) * openness
    closure = closure_at(phonemes, times)
    face = np.zeros((frames, len(EXPRESSIONS)))
    for name, track in zip(SHAPE, spoken.T, strict=True):
        face[:, EXPRESSION_INDEX[name]] += track
    # The emotion's pose, with a slow swell around 1, so that no expression is frozen
    full = strength * (1 + 0.10 * random.normal())
    swell = 1 + 0.07 * np.sin(2 * np.pi * (0.6 * times + random.random()))
    for name, amount in POSES[emotion].items():
        face[:, EXPRESSION_INDEX[name]] += amount * (full * swell)
    for name in OPENERS:
        face[:, EXPRESSION_INDEX[name]] *= 1 - closure
    for name in ("round", "wide"):
        face[:, EXPRESSION_INDEX[name]] *= 1 - 0.35 * closure
    face[:, EXPRESSION_INDEX["press"]] += 0.75 * closure
    _look(face, times, random)
    return face


def _look(face: Array, times: Array, random: np.random.Generator) -> None:
    """Blinks and small glances."""
    blink = np.zeros(len(times))
    at = random.exponential(BLINK_EVERY)
    while at < times[-1]:
        first = int(at * 25)
        shape = BLINK_SHAPE[: len(times) - first]
        blink[first : first + len(shape)] = shape
        at += 0.5 + random.exponential(BLINK_EVERY)
    column = EXPRESSION_INDEX["blink"]
    face[:, column] = face[:, column] + (1 - face[:, column]) * blink
    for name in ("lid_raise", "squint"):
        face[:, EXPRESSION_INDEX[name]] *= 1 - blink
    for name, spread in (("gaze_x", 0.22), ("gaze_y", 0.12)):
        face[:, EXPRESSION_INDEX[name]] += _glances(times, spread, random)


def _glances(times: Array, spread: float, random: np.random.Generator) -> Array:
    """Gaze (T,) that rests and jumps, with jumps rounded to two frames."""
    holds = random.exponential(0.9, 12).cumsum()
    levels = random.normal(0, spread, 13).clip(-2 * spread, 2 * spread)
    steps = levels[np.searchsorted(holds, times)]
    return np.convolve(np.pad(steps, (1, 1), mode="edge"), [0.25, 0.5, 0.25], mode="valid")


def calm_turns(times: Array, random: np.random.Generator) -> tuple[Array, Array]:
    """Rotation vectors (T, 3) in radians and shifts (T, 2) in cm of a head that keeps still."""
    angles = np.stack([sd * _sway(times, random) for sd in CALM_DEGREES], axis=-1)
    shifts = np.stack([CALM_SHIFT * _sway(times, random) for _ in range(2)], axis=-1)
    return _rotation_vectors(angles), shifts


def lively_turns(times: Array, random: np.random.Generator) -> tuple[Array, Array]:
    """The same of a head that looks around; long clips reach the largest yaw to both sides."""
    # Times at which poses are held, from before the clip until after it
    held = [-0.5]
    while held[-1] < times[-1] + 0.5:
        held.append(held[-1] + random.uniform(*LIVELY_HOLD))
    knots, count = np.array(held), len(held)
    # Sides in turn, the largest yaw to both
    side = np.where(np.arange(count) % 2, 1.0, -1.0) * random.choice([-1.0, 1.0])
    yaw = side * random.uniform(0.35, 1.0, count)
    seen = np.flatnonzero((knots >= times[0]) & (knots <= times[-1]))
    first = int(random.integers(max(len(seen) - 1, 1)))
    yaw[seen[first : first + 2]] = side[seen[first : first + 2]]
    # Through the poses
    others = random.uniform(-1, 1, (2, count))
    poses = np.stack([yaw, *others], axis=-1) * np.array(LIVELY_DEGREES)
    angles = PchipInterpolator(knots, poses)(times)
    shifts = PchipInterpolator(knots, random.uniform(-1, 1, (count, 2)) * LIVELY_SHIFT)(times)
    return _rotation_vectors(angles), np.asarray(shifts)


def _sway(times: Array, random: np.random.Generator) -> Array:
    """Smooth noise (T,) of unit variance over long times: five sines, slow ones stronger."""
    hertz = random.uniform(*CALM_HERTZ, 5)
    amount = 1 / hertz
    amount *= np.sqrt(2 / np.square(amount).sum())
    phase = random.uniform(0, 2 * np.pi, 5)
    waves = np.sin(2 * np.pi * (hertz * times[:, None] + phase / (2 * np.pi)))
    return (waves * amount).sum(axis=1)


def _rotation_vectors(degrees: Array) -> Array:
    """Rotation vectors of yaw (about y), then pitch (about x), then roll (about z)."""
    turns = Rotation.from_euler("yxz", degrees, degrees=True)
    return turns.as_rotvec()


def write_sound(path: Path, samples: F32) -> None:
    """Write mono samples at 16 kHz as AAC."""
    with (
        replacing(path) as temporary,
        av.open(f"file:{temporary}", "w", format="ipod") as container,
    ):
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
    # Faces before and after the pose; what is said, and the mouth shapes of it
    shape = head.landmarks(head.vertices(played.strengths))
    placed = posed(shape, played.pose)
    visemes = timed_visemes(played.speech.phonemes)
    phonemes = played.speech.phonemes
    # One file, whole or not at all
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
