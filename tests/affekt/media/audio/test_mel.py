"""Log-mel: the printed definition, and which rows belong to a video frame."""

import numpy as np
import pytest

from affekt.media.audio.mel import FLOOR, log_mel, mel_rows, mel_windows


def test_a_tone_lies_in_the_bin_of_its_frequency_at_its_amplitude():
    time = np.arange(16_000) / 16_000
    found = log_mel(0.5 * np.sin(2 * np.pi * 1000 * time))
    assert found.shape == (81, 80)
    assert found.dtype == np.float32
    # Slaney's scale: linear to 1000 Hz (15 mel), 27 to a factor of 6.4 above
    mels = [55 / 66.667, 15 + np.log(7.6) / np.log(6.4) * 27]
    centre = int(np.argmin(np.abs(np.linspace(*mels, 82)[1:-1] - 15)))
    assert (found[5:-5].argmax(axis=1) == centre).all()
    quieter = log_mel(0.05 * np.sin(2 * np.pi * 1000 * time))
    np.testing.assert_allclose((found - quieter)[10:-10, centre], np.log(10), rtol=1e-4)


def test_silence_is_the_floor_and_a_click_is_where_it_is():
    assert (log_mel(np.zeros(3200)) == np.float32(np.log(FLOOR))).all()
    click = np.zeros(3200)
    click[1600] = 1
    loud = log_mel(click).max(axis=1)
    assert loud.argmax() == 8  # 1600 / 200
    assert (loud[:4] == np.float32(np.log(FLOOR))).all()


@pytest.mark.parametrize("frames", [1, 2, 5, 77])
def test_windows_follow_the_frames(frames):
    mel = log_mel(np.zeros(640 * frames))
    assert len(mel) == mel_rows(frames)
    numbered = np.arange(len(mel), dtype=float)[:, None].repeat(80, axis=1)
    windows = mel_windows(numbered, rows=16)
    assert windows.shape == (frames, 16, 80)
    # Frame t lasts from row 3.2 t to 3.2 (t + 1); its window has the same middle, to half a row
    for t, window in enumerate(windows):
        inside = window[:, 0] > np.log(FLOOR)
        rows = window[inside, 0]
        first = rows[0] - np.argmax(inside)
        assert abs(first + 8 - 3.2 * (t + 0.5)) <= 0.5
