"""Sound files as 16 kHz mono, and back; the content decides how a file is read, not its name.

(EAMM's release names WAV files .mov.) soundfile reads what is not compressed, PyAV the rest: AAC in
.m4a and .mp4, the sound of a video. Track and time zero are those of media/video/container.py: each
piece of sound lies where its stamp puts it, holes are zeros, overlaps are cut.

Channels. One or two are averaged. More, with a centre, where the voice is: C + 0.7 (L + R) + 0.5 of
the others (ITU-R BS.775-3, annex 4, at the centre's own level); without one: 0.7 of that. Low
effects are left out. Six and eight channels without names are 5.1 and 7.1; others are averaged.

The reader `fast` resamples by soxr; `librosa` calls librosa.load and librosa.resample, as both
releases read their sound, and is imported only where it is chosen.
"""

import math
import typing as tp
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr
from av.audio.layout import AudioLayout

from affekt.arrays import Array
from affekt.media.constants import SAMPLE_RATE
from affekt.media.video.container import Media, MediaError, open_media
from affekt.runtime.files import replacing

AudioReader = tp.Literal["fast", "librosa"]
QUALITY = "HQ"  # of soxr: librosa's default, without the 2 s that its import takes
GAINS = {"FC": 1.0, "FL": math.sqrt(0.5), "FR": math.sqrt(0.5), "LFE": 0.0, "LFE2": 0.0}
UNNAMED = {  # channels without names, in the order of Microsoft's and ITU's files
    6: ["FL", "FR", "FC", "LFE", "BL", "BR"],
    8: ["FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR"],
}
STAMP_SLACK = 0.02  # seconds, half a video frame: stamps that are off by less are rounding


def read_audio(path: Path, reader: AudioReader = "fast") -> Array:
    """Return the sound of an audio or video file, (samples,) float32, 16 kHz mono.

    Full scale is 1; resampling may pass it by some thousandths, as librosa's does. The two readers
    agree to 1e-6.

    Raises:
        MediaError: missing, empty, truncated, damaged, jump, no_audio.
    """
    with open_media(path) as media:
        stream = media.track("audio")
        if stream is None:
            raise MediaError("no_audio", f"{path} holds no sound")
        plain = stream.codec_context.name.startswith(("pcm_", "flac"))
        uncompressed = plain and media.container.format.name in ("wav", "flac", "aiff", "w64")
        samples, rate = (
            _uncompressed(path, reader, stream.codec_context.layout)
            if uncompressed
            else _compressed(media, stream)
        )
    # An empty stream, damaged samples, another rate
    if not samples.size:
        raise MediaError("no_audio", f"{path} has a sound stream without a single sample")
    if not np.isfinite(samples).all():
        raise MediaError("damaged", f"{path} holds samples that are NaN or infinite")
    if rate != SAMPLE_RATE:
        samples = resampled(samples, rate, reader)
    return samples.astype(np.float32)


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


def _uncompressed(path: Path, reader: AudioReader, layout: AudioLayout) -> tuple[Array, int]:
    try:
        if reader == "librosa":
            import librosa

            with soundfile.SoundFile(path) as file:
                samples, rate = librosa.load(file, sr=None, mono=False)
            return mixed(np.atleast_2d(samples), layout), int(rate)
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise MediaError("damaged", f"{path} cannot be read: {error}") from None
    return mixed(samples.T, layout), rate


def mixed(channels: Array, layout: AudioLayout) -> Array:
    """Return channels (C, samples) as one, (samples,); `layout` names them."""
    names = [channel.name for channel in layout.channels]
    if set(names) == {"NONE"}:
        names = UNNAMED.get(len(names), names)
    if len(channels) <= 2 or len(names) != len(channels) or not {"FL", "FR"} <= set(names):
        return np.asarray(channels.mean(axis=0), np.float32)
    weights = np.array([GAINS.get(name, 0.5) for name in names], np.float32)
    return weights @ channels * np.float32(1 if "FC" in names else math.sqrt(0.5))


def resampled(samples: Array, rate: int, reader: AudioReader = "fast") -> Array:
    """Return mono samples of any rate as 16 kHz."""
    if reader == "librosa":
        import librosa

        return np.asarray(librosa.resample(samples, orig_sr=rate, target_sr=SAMPLE_RATE))
    length = math.ceil(len(samples) * SAMPLE_RATE / rate)
    return fitted(soxr.resample(samples, rate, SAMPLE_RATE, quality=QUALITY), length)


def _compressed(media: Media, stream: tp.Any) -> tuple[Array, int]:
    """Decode a stream; its first frame gives the rate, each frame its layout."""
    rate = 0
    pieces: list[Array] = []
    written = 0  # samples
    for start, _, frame in media.timed(stream):
        rate = rate or frame.sample_rate
        piece = mixed(_floats(frame), frame.layout)
        if frame.sample_rate != rate:
            piece = soxr.resample(piece, frame.sample_rate, rate, quality=QUALITY)
        # A hole becomes zeros, an overlap is cut; stamps are rounded to milliseconds in some files
        hole = round(start * rate) - written
        if abs(hole) > STAMP_SLACK * rate:
            pieces.append(np.zeros(max(0, hole), np.float32))
            piece = piece[max(0, -hole) :]
            written += max(0, hole)
        pieces.append(piece)
        written += len(piece)
    return np.concatenate([np.zeros(0, np.float32), *pieces]), rate


def _floats(frame: av.AudioFrame) -> Array:
    """Return a decoded frame as (channels, samples) float32, full scale 1."""
    values = frame.to_ndarray()
    channels = len(frame.layout.channels)
    if not frame.format.is_planar:
        values = values.reshape(-1, channels).T
    if values.dtype.kind == "f":
        return values.astype(np.float32)
    scale = float(2 ** (8 * values.dtype.itemsize - 1))
    middle = scale if values.dtype.kind == "u" else 0.0
    return ((values.astype(np.float64) - middle) / scale).astype(np.float32)
