"""Emotion in the voice: prosody asked of the synthesiser, timbre added to its samples.

Prosody alone hardly changes the cepstra that networks see, so emotion is timbre too: spectral tilt,
the band near 2.5 kHz, the formants and breath. Every utterance strays from its emotion's setting,
so that no single number gives the emotion away. All values are ours.
"""

from dataclasses import astuple, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from affekt.media.constants import SAMPLE_RATE
from data_prep.mini.voice.speech import Phoneme, Prosody, Speech

LEAD, TAIL = 0.16, 0.24  # seconds of silence around the speech
TILT_FROM = 500.0  # Hz; the spectrum below is left alone
PRESENCE, PRESENCE_WIDTH = 2500.0, 700.0  # Hz
LOUDNESS = 0.07  # root mean square of neutral speech


@dataclass(frozen=True)
class Manner:
    """Differences of an emotion from neutral speech, at full strength."""

    rate: float = 0.0  # share by which speech is faster
    pitch: float = 0.0  # steps of espeak-ng's 0-99 scale
    range: float = 0.0  # the same
    loudness: float = 0.0  # dB
    tilt: float = 0.0  # dB per octave above TILT_FROM
    presence: float = 0.0  # dB near PRESENCE
    formants: float = 0.0  # share by which they are higher
    breath: float = 0.0  # noise over speech, as a share of its envelope


MANNERS = {
    "angry": Manner(0.12, 6, 20, 4, 3.0, 8.0, 0.02, 0.0),
    "contempt": Manner(-0.06, -6, -20, -2, -2.0, 4.0, -0.05, 0.0),
    "disgusted": Manner(-0.12, -8, -5, -1, 1.0, -6.0, -0.08, 0.05),
    "fear": Manner(0.18, 14, 10, -1, 1.5, -2.0, 0.07, 0.30),
    "happy": Manner(0.08, 10, 30, 2, 2.5, 1.0, 0.05, 0.0),
    "neutral": Manner(),
    "sad": Manner(-0.16, -5, -25, -5, -4.0, -6.0, -0.02, 0.25),
    "surprised": Manner(0.05, 16, 40, 2, -1.5, 6.0, 0.08, 0.10),
}
# standard deviations by which every utterance strays
STRAY = Manner(0.04, 2.5, 6.0, 1.2, 0.75, 1.6, 0.016, 0.03)
LEVEL_STRENGTH = {1: 0.45, 2: 0.75, 3: 1.0}  # MEAD's three levels


def manner_of(emotion: str, strength: float, random: np.random.Generator) -> Manner:
    """The manner of one utterance: the emotion's at a strength, strayed."""
    full, stray = (np.array(astuple(manner)) for manner in (MANNERS[emotion], STRAY))
    drawn = strength * full + stray * random.normal(size=len(full))
    drawn[-1] = max(drawn[-1], 0.0)  # breath
    return Manner(*drawn.tolist())


def prosody_of(manner: Manner, pitch: int) -> Prosody:
    """Prosody for the synthesiser; playing it `1 + formants` faster restores the rate."""
    return Prosody(
        rate=round(165 * (1 + manner.rate) / (1 + manner.formants)),
        pitch=int(np.clip(round(pitch + manner.pitch), 0, 99)),
        range=int(np.clip(round(50 + manner.range), 0, 99)),
    )


def coloured(speech: Speech, manner: Manner, random: np.random.Generator) -> Speech:
    """The speech at 16 kHz with the timbre of the manner, between silences, in whole frames.

    Formants move because the samples are played faster or slower; phoneme times move along.
    """
    from scipy.signal import resample

    faster = 1 + manner.formants
    count = round(len(speech.samples) * SAMPLE_RATE / (speech.rate * faster))
    samples = _filtered(resample(speech.samples.astype(np.float64), count), manner)
    samples = samples + manner.breath * _breath(samples, random)
    samples *= LOUDNESS * 10 ** (manner.loudness / 20) / np.sqrt(np.mean(samples**2) + 1e-12)
    samples *= min(1.0, 0.97 / np.abs(samples).max())
    phonemes = [
        replace(p, start=LEAD + p.start / faster, end=LEAD + p.end / faster)
        for p in speech.phonemes
    ]
    return _between_silences(samples, phonemes)


def _between_silences(samples: NDArray[np.float64], phonemes: list[Phoneme]) -> Speech:
    while phonemes and not phonemes[-1].name:
        phonemes.pop()
    speech_end = phonemes[-1].end
    frames = int(np.ceil((speech_end + TAIL) * 25))
    padded = np.zeros(frames * SAMPLE_RATE // 25, dtype=np.float32)
    start = round(LEAD * SAMPLE_RATE)
    kept = samples[: len(padded) - start]
    padded[start : start + len(kept)] = kept
    pauses = [Phoneme("", 0.0, phonemes[0].start), *phonemes]
    pauses.append(Phoneme("", speech_end, frames / 25))
    return Speech(padded, SAMPLE_RATE, tuple(pauses))


def _filtered(samples: NDArray[np.float64], manner: Manner) -> NDArray[np.float64]:
    spectrum = np.fft.rfft(samples)
    hertz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
    decibels = manner.tilt * np.log2(np.maximum(hertz, TILT_FROM) / TILT_FROM)
    decibels += manner.presence * np.exp(-0.5 * ((hertz - PRESENCE) / PRESENCE_WIDTH) ** 2)
    return np.fft.irfft(spectrum * 10 ** (decibels / 20), len(samples))


def _breath(samples: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    """Noise above 1.5 kHz that follows the envelope of the speech."""
    noise = np.fft.rfft(random.normal(size=len(samples)))
    hertz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
    hiss = np.fft.irfft(noise * (hertz > 1500), len(samples))
    window = np.hanning(801) / np.hanning(801).sum()
    envelope = np.sqrt(np.convolve(samples**2, window, mode="same").clip(0))
    return hiss * envelope
