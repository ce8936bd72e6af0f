"""Sound files as 16 kHz mono, and back; the content decides how a file is read, not its name.

(EAMM's release names WAV files .mov.) soundfile reads what is not compressed, PyAV the rest: AAC in
.m4a and .mp4, the sound of a video. Time zero of a file is that of affekt/media/video/video.py, so
a sound that starts later than its pictures begins with zeros.

The reader `fast` averages channels and resamples by soxr; `librosa` calls librosa.load and
librosa.resample, as both releases read their sound, and is imported only where it is chosen.
"""

import math
import typing as tp
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr

from affekt.arrays import Array
from affekt.media.constants import SAMPLE_RATE
from affekt.media.video.container import MediaError, decoded, open_media, start_time
from affekt.runtime.files import replacing

AudioReader = tp.Literal["fast", "librosa"]
QUALITY = "HQ"  # of soxr: librosa's default, without the 2 s that its import takes


def read_audio(path: Path, reader: AudioReader = "fast") -> Array:
    """Return the sound of an audio or video file, (samples,) float32 in [-1, 1], 16 kHz mono.

    Channels are averaged; other rates are resampled. The two readers agree to 1e-6.

    Raises:
        MediaError: missing, empty, truncated, damaged, no_audio.
    """
    with open_media(path) as container:
        if not container.streams.audio:
            raise MediaError("no_audio", f"{path} holds no sound")
        uncompressed = container.format.name in ("wav", "flac", "aiff", "w64")
        samples, rate = (
            _uncompressed(path, reader) if uncompressed else _compressed(container, path)
        )
    # An empty stream, damaged samples, another rate
    if not samples.size:
        raise MediaError("no_audio", f"{path} has a sound stream without a single sample")
    if not np.isfinite(samples).all():
        raise MediaError("damaged", f"{path} holds samples that are NaN or infinite")
    if rate != SAMPLE_RATE:
        samples = resampled(samples, rate, reader)
    return np.clip(samples, -1, 1).astype(np.float32)


def write_wav(path: Path, samples: Array) -> None:
    """Write mono samples in [-1, 1] at 16 kHz as 16-bit PCM, whole or not at all."""
    samples = np.asarray(samples)
    if samples.ndim != 1 or not np.isfinite(samples).all():
        raise ValueError(f"{path}: samples of shape {samples.shape}; wanted finite and mono, (N,)")
    with replacing(path) as temporary:
        clipped = np.clip(samples, -1, 1)
        soundfile.write(temporary, clipped, SAMPLE_RATE, subtype="PCM_16", format="WAV")


def fitted(samples: Array, length: int) -> Array:
    """Return samples (length,): cut, or with zeros after them."""
    result = np.zeros(length, samples.dtype)
    result[: len(samples)] = samples[:length]
    return result


def _uncompressed(path: Path, reader: AudioReader) -> tuple[Array, int]:
    try:
        if reader == "librosa":
            import librosa

            with soundfile.SoundFile(path) as file:
                loaded, rate = librosa.load(file, sr=None)
            return loaded, int(rate)
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise MediaError("damaged", f"{path} cannot be read: {error}") from None
    return samples.mean(axis=1), rate


def resampled(samples: Array, rate: int, reader: AudioReader = "fast") -> Array:
    """Return mono samples of any rate as 16 kHz."""
    if reader == "librosa":
        import librosa

        return np.asarray(librosa.resample(samples, orig_sr=rate, target_sr=SAMPLE_RATE))
    length = math.ceil(len(samples) * SAMPLE_RATE / rate)
    return fitted(soxr.resample(samples, rate, SAMPLE_RATE, quality=QUALITY), length)


def _compressed(container: av.container.InputContainer, path: Path) -> tuple[Array, int]:
    stream = container.streams.audio[0]
    rate = stream.codec_context.sample_rate
    as_floats = av.AudioResampler(format="fltp", rate=rate)
    pieces: list[Array] = []
    for frame in decoded(container, stream, path):
        if not pieces and frame.time is not None:
            late = round((frame.time - start_time(container)) * rate)
            pieces.append(np.zeros(max(0, late), np.float32))
        pieces += [part.to_ndarray().mean(axis=0) for part in as_floats.resample(frame)]
    if pieces:
        pieces += [part.to_ndarray().mean(axis=0) for part in as_floats.resample(None)]
    return np.concatenate([np.zeros(0, np.float32), *pieces]), rate
