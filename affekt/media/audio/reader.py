"""Sound files as 16 kHz mono, and back; the content decides how a file is read, not its name.

(EAMM's release names WAV files .mov.) soundfile reads what is not compressed, PyAV the rest: AAC in
.m4a and .mp4, the sound of a video. Track and time zero are those of media/video/container.py: each
piece of sound lies where its stamp puts it, holes are zeros, overlaps are cut.

Channels. One or two are averaged. More, with a centre, where the voice is: C + 0.7 (L + R) + 0.5 of
the others (ITU-R BS.775-3, annex 4, at the centre's own level); without one: 0.7 of that. Low
effects are left out. Six and eight channels without names are 5.1 and 7.1; others are averaged.

The reader `fast` resamples by soxr; `librosa` calls librosa.load and librosa.resample, as both
releases read their sound, and is imported only where it is chosen. It holds the whole sound;
`sound_blocks` of the other does not grow with the length.
"""

import contextlib
import io
import math
import struct
import typing as tp
import wave
from collections.abc import Callable, Iterator
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
BLOCK = 2**16  # samples of a channel that are read at once
WAV_HEADER = 44  # bytes of a PCM file's, which holds two sizes: of all that follows, of the samples


def read_audio(path: Path, reader: AudioReader = "fast") -> Array:
    """Return the sound of an audio or video file, (samples,) float32, 16 kHz mono.

    Full scale is 1; resampling may pass it by some thousandths, as librosa's does. The two readers
    agree to 1e-6.

    Raises:
        MediaError: missing, empty, truncated, damaged, jump, no_audio.
    """
    return np.concatenate(list(sound_blocks(path, reader)))


def sound_blocks(path: Path, reader: AudioReader = "fast") -> Iterator[Array]:
    """Yield the sound of a file piece by piece; together they are what `read_audio` returns.

    Raises:
        MediaError: as `read_audio`, as soon as it is met.
    """
    with open_media(path) as media:
        stream = media.track("audio")
        if stream is None:
            raise MediaError("no_audio", f"{path} holds no sound")
        plain = stream.codec_context.name.startswith(("pcm_", "flac"))
        uncompressed = plain and media.container.format.name in ("wav", "flac", "aiff", "w64")
        found = (
            _uncompressed(path, reader, stream.codec_context.layout)
            if uncompressed
            else _compressed(media, stream)
        )
        blocks = _checked(found, path)
        if reader == "librosa":
            blocks = _joined(blocks)
        yield from _resampled(blocks, reader)


def write_wav(path: Path, samples: Array) -> None:
    """Write mono samples in [-1, 1] at 16 kHz as 16-bit PCM, whole or not at all."""
    samples = np.asarray(samples)
    if samples.ndim != 1 or not np.isfinite(samples).all():
        raise ValueError(f"{path}: samples of shape {samples.shape}; wanted finite and mono, (N,)")
    with replacing(path) as temporary, wav_writer(temporary) as append:
        append(samples)


@contextlib.contextmanager
def wav_writer(path: Path) -> Iterator[Callable[[Array], None]]:
    """Yield a function that appends mono samples in [-1, 1]; the file is that of `write_wav`.

    Python writes the file, so that a full disk has its errno: libsndfile's errors have none.
    """
    with path.open("wb") as file, wave.open(file, "wb") as wav:
        wav.setparams((1, 2, SAMPLE_RATE, 0, "NONE", "not compressed"))

        def append(samples: Array) -> None:
            pcm, clipped = io.BytesIO(), np.clip(samples, -1, 1)
            soundfile.write(pcm, clipped, SAMPLE_RATE, "PCM_16", "LITTLE", "RAW")
            wav.writeframesraw(pcm.getbuffer())

        yield append


def fit_wav(path: Path, samples: int) -> None:
    """Cut a file of `wav_writer` to a number of samples, or append zeros."""
    with path.open("r+b") as file:
        file.truncate(WAV_HEADER + 2 * samples)
        for place, size in ((4, WAV_HEADER - 8 + 2 * samples), (WAV_HEADER - 4, 2 * samples)):
            file.seek(place)
            file.write(struct.pack("<I", size))


def fitted(samples: Array, length: int) -> Array:
    """Return samples (length,): cut, or with zeros after them."""
    result = np.zeros(length, samples.dtype)
    result[: len(samples)] = samples[:length]
    return result


def _uncompressed(
    path: Path, reader: AudioReader, layout: AudioLayout
) -> Iterator[tuple[Array, int]]:
    """Yield pieces of a sound, mixed, and their rate."""
    try:
        with soundfile.SoundFile(path) as file:
            if reader == "librosa":
                import librosa

                samples, rate = librosa.load(file, sr=None, mono=False)
                yield mixed(np.atleast_2d(samples), layout), int(rate)
                return
            for samples in file.blocks(BLOCK, dtype="float32", always_2d=True):
                yield mixed(samples.T, layout), file.samplerate
    except (soundfile.LibsndfileError, MemoryError) as error:
        raise MediaError("damaged", f"{path} cannot be read: {error}") from None


def _checked(found: Iterator[tuple[Array, int]], path: Path) -> Iterator[tuple[Array, int]]:
    """Pass on pieces of a sound that are not empty, if all samples are finite and there are any."""
    empty = True
    for samples, rate in found:
        if not samples.size:
            continue
        if not np.isfinite(samples).all():
            raise MediaError("damaged", f"{path} holds samples that are NaN or infinite")
        empty = False
        yield samples, rate
    if empty:
        raise MediaError("no_audio", f"{path} has a sound stream without a single sample")


def _joined(blocks: Iterator[tuple[Array, int]]) -> Iterator[tuple[Array, int]]:
    """Yield a sound as one piece."""
    pieces, rates = zip(*blocks, strict=True)
    yield np.concatenate(pieces), rates[0]


def _resampled(blocks: Iterator[tuple[Array, int]], reader: AudioReader) -> Iterator[Array]:
    """Yield pieces of any rate as 16 kHz float32; soxr's stream equals its call to the last bit."""
    stream: soxr.ResampleStream | None = None
    given = done = rate = 0  # samples in and out; the rate, that of all pieces
    for samples, rate in blocks:
        given += len(samples)
        if rate == SAMPLE_RATE:
            yield samples.astype(np.float32)
        elif reader == "librosa":
            yield resampled(samples, rate, reader).astype(np.float32)
        else:
            stream = stream or soxr.ResampleStream(rate, SAMPLE_RATE, 1, "float32", QUALITY)
            piece = stream.resample_chunk(samples.astype(np.float32))
            done += len(piece)
            yield piece
    if stream is not None:
        tail = stream.resample_chunk(np.zeros(0, np.float32), last=True)
        yield fitted(tail, max(0, math.ceil(given * SAMPLE_RATE / rate) - done))


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


def _compressed(media: Media, stream: tp.Any) -> Iterator[tuple[Array, int]]:
    """Decode a stream; its first frame gives the rate, each frame its layout."""
    rate = 0
    written = 0  # samples
    end = 0.0
    for start, end, frame in media.timed(stream):  # noqa: B007 - the last `end` is that of the sound
        rate = rate or frame.sample_rate
        piece = mixed(_floats(frame), frame.layout)
        if frame.sample_rate != rate:
            piece = soxr.resample(piece, frame.sample_rate, rate, quality=QUALITY)
        # A hole becomes zeros, an overlap is cut; stamps are rounded to milliseconds in some files
        hole = round(start * rate) - written
        if abs(hole) > STAMP_SLACK * rate:
            yield np.zeros(max(0, hole), np.float32), rate
            piece = piece[max(0, -hole) :]
            written += max(0, hole)
        yield piece, rate
        written += len(piece)
    if media.container.format.name.startswith("matroska"):  # others estimate it by their bit rate
        media.check_end(stream, end)


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
