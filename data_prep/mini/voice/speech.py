"""Synthesised speech with the times of its phonemes, from espeak-ng through its C interface.

The wheel `espeakng-loader` carries library and data; nothing is installed on the system. The
structure and the constants below follow espeak-ng's public header `speak_lib.h`.
"""

import _ctypes
import ctypes
from dataclasses import dataclass
from pathlib import Path

import espeakng_loader
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]

SYNCHRONOUS, PHONEME_EVENTS, IPA_NAMES = 2, 1, 2
POSITION_IS_CHARACTER, UTF8 = 1, 1
RATE, PITCH, RANGE, WORD_GAP = 1, 3, 4, 7  # espeak_PARAMETER
LIST_END, PHONEME = 0, 7  # espeak_EVENT_TYPE
NAME_BYTES = 8
PRIMARY, SECONDARY = "\u02c8", "\u02cc"  # IPA stress marks

# Short sentences, ours, that together hold nearly every English phoneme. Each has open and round
# vowels and at least two closures (p, b, m). The number of a sentence is its file number.
SENTENCES = (
    "My brother bought a purple bowl for the party.",
    "We often visit the old museum before lunch.",
    "Please bring them home by five tomorrow.",
    "You should measure the room with a longer rope.",
    "Five brave ships moved over the open bay.",
    "The boy jumped up and shouted for more milk.",
    "Nobody knew which path would be the best.",
    "Put your boots away before you come inside.",
    "A thick fog fell upon the empty beach.",
    "She whispered that the moon looked very pale.",
    "Both of my thumbs are numb from the frost.",
    "Help me push this huge box up the steps.",
    "The teacher chose a poem about summer rain.",
    "Maybe we could swap places with your mother.",
    "Warm bread and apple jam make a simple meal.",
    "Why would the baby laugh at a paper bag?",
    "Bob never found the path behind the barn.",
    "The blue van broke down by the opera house.",
    "Imagine a zoo where the elephants play music.",
    "Our parrot mimics every voice that it hears.",
    "Do you believe the map shows the proper road?",
    "Father peeled a ripe pear with a sharp knife.",
    "The judge may change his mind about the prize.",
    "Above the village, a plume of smoke went up.",
)


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # milliseconds
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("name", ctypes.c_ubyte * NAME_BYTES),
    )


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


@dataclass(frozen=True)
class Phoneme:
    """One sound: its IPA name without stress marks ("" is a pause) and its time in seconds."""

    name: str
    start: float
    end: float


@dataclass(frozen=True)
class Speech:
    """Samples in [-1, 1] at `rate` per second and the phonemes in them, without gaps."""

    samples: F32
    rate: int
    phonemes: tuple[Phoneme, ...]


@dataclass(frozen=True)
class Prosody:
    """Prosody in espeak-ng's units."""

    rate: int = 165  # words per minute, 80 to 450
    pitch: int = 50  # 0 to 99
    range: int = 50  # of the pitch, 0 monotone to 99


class SpeechError(RuntimeError):
    """The synthesiser refused a voice or produced nothing."""


def synthesise(text: str, voice: str, prosody: Prosody, seed: int) -> Speech:
    """Speech of a text; equal arguments give equal samples.

    The library is loaded anew for each call (4 ms): its state, which survives its own
    `espeak_Terminate`, would let a sentence depend on the ones spoken before it.

    Raises:
        SpeechError: unknown voice, or no sound.
    """
    _check_voice(voice)
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    try:
        return _speak(library, text, voice, prosody, seed)
    finally:
        library.espeak_Terminate()
        _ctypes.dlclose(library._handle)


def _check_voice(voice: str) -> None:
    """espeak-ng ignores an unknown variant silently, so look for its file."""
    _, _, variant = voice.partition("+")
    if variant and not (Path(espeakng_loader.get_data_path()) / "voices/!v" / variant).is_file():
        raise SpeechError(f"voice {voice!r}: espeak-ng has no variant {variant!r}")


def _speak(library: ctypes.CDLL, text: str, voice: str, prosody: Prosody, seed: int) -> Speech:
    # A fresh library, whose random numbers start from the seed.
    options = PHONEME_EVENTS | IPA_NAMES
    data = espeakng_loader.get_data_path().encode()
    rate = library.espeak_Initialize(SYNCHRONOUS, 0, data, options)
    library.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
    library.espeak_ng_SetRandSeed(seed % 2**31)
    # The library hands over samples and phoneme events in pieces.
    chunks: list[NDArray[np.int16]] = []
    events: list[tuple[str, float]] = []

    def collect(wave: "ctypes._Pointer[ctypes.c_short]", count: int, list_: object) -> int:
        if wave and count > 0:
            chunks.append(np.ctypeslib.as_array(wave, (count,)).copy())
        k = 0
        while list_[k].type != LIST_END:  # type: ignore[index]
            if list_[k].type == PHONEME:  # type: ignore[index]
                event: _Event = list_[k]  # type: ignore[index]
                name = bytes(event.name).split(b"\0")[0].decode("utf-8", "ignore")
                events.append((name, event.sample / rate))
            k += 1
        return 0

    # Set voice and prosody, then synthesise.
    callback = _Callback(collect)
    library.espeak_SetSynthCallback(callback)
    if rate <= 0 or library.espeak_SetVoiceByName(voice.encode()) != 0:
        raise SpeechError(f"espeak-ng refuses the voice {voice!r}")
    for parameter, value in ((RATE, prosody.rate), (PITCH, prosody.pitch), (RANGE, prosody.range)):
        library.espeak_SetParameter(parameter, value, 0)
    encoded = text.encode()
    library.espeak_Synth(encoded, len(encoded) + 1, 0, POSITION_IS_CHARACTER, 0, UTF8, None, None)
    if not chunks:
        raise SpeechError(f"espeak-ng produced no sound for {text!r} with the voice {voice!r}")
    samples = np.concatenate(chunks).astype(np.float32) / 32768
    return Speech(samples, rate, _phonemes(events, len(samples) / rate))


def _phonemes(events: list[tuple[str, float]], seconds: float) -> tuple[Phoneme, ...]:
    """Events with a start become sounds with a start and an end."""
    ends = [start for _, start in events[1:]] + [seconds]
    return tuple(
        Phoneme(name.lstrip(PRIMARY + SECONDARY), start, end)
        for (name, start), end in zip(events, ends, strict=True)
        if end > start
    )
