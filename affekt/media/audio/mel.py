"""Log-mel of speech: what the audio encoder and the expression network of emospace take.

80 bins of 55 to 7600 Hz from windows of 50 ms every 12.5 ms, natural logarithm of amplitudes from
1e-5 up. Ours, since the paper names no audio feature: the values are those of SadTalker and Wav2Lip
(n_fft 800, hop 200, 80 bins at 16 kHz).
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike

from affekt.arrays import Array
from affekt.media.constants import FRAME_RATE, SAMPLE_RATE

WINDOW, HOP, BINS = 800, 200, 80
LOWEST, HIGHEST = 55.0, 7600.0  # Hz
FLOOR = 1e-5  # of an amplitude
ROWS_PER_SECOND = SAMPLE_RATE // HOP  # 80
ROWS_PER_FRAME = ROWS_PER_SECOND / FRAME_RATE  # 3.2


def log_mel(samples: ArrayLike) -> Array:
    """Return the log-mel (1 + N // 200, 80) float32 of N samples of mono sound at 16 kHz.

    Row r is centred on sample 200 r; the sound is taken to be silent before and after.
    """
    import librosa  # here, so that corpora are opened without it

    sound = np.asarray(samples, np.float32)
    rows = 1 + len(sound) // HOP
    mel = librosa.feature.melspectrogram(
        y=np.pad(sound, (0, max(0, WINDOW - len(sound)))),
        sr=SAMPLE_RATE,
        n_fft=WINDOW,
        hop_length=HOP,
        n_mels=BINS,
        fmin=LOWEST,
        fmax=HIGHEST,
        power=1.0,
        center=True,
        pad_mode="constant",
    )
    return np.log(np.maximum(mel, FLOOR)).T[:rows].astype(np.float32)


def mel_rows(frames: int) -> int:
    """Return the rows of the log-mel of a clip of so many video frames."""
    return 1 + frames * SAMPLE_RATE // FRAME_RATE // HOP


def mel_windows(mel: Array, rows: int = 16) -> Array:
    """Return the (T, rows, 80) rows around each of a clip's T frames; silence outside.

    The window of frame t is centred on the frame's middle, t + 1/2.
    """
    frames = -(-(len(mel) - 1) * HOP * FRAME_RATE // SAMPLE_RATE)
    padded = np.pad(mel, ((rows, rows), (0, 0)), constant_values=np.log(FLOOR))
    first = np.rint((np.arange(frames) + 0.5) * ROWS_PER_FRAME - rows / 2).astype(int) + rows
    return np.moveaxis(sliding_window_view(padded, rows, axis=0), -1, 1)[first]
