"""Warp error, flicker and jitter: by hand, and on videos whose order is known."""

from itertools import islice

import cv2
import numpy as np
import pytest

from affekt.media.faces.geometry import RIGID_TEMPLATE
from affekt.media.faces.points import RIGID
from affekt.media.video.flow import Dis, confident
from affekt.media.video.video import read_video
from affekt.metrics.temporal import (
    flicker,
    jitter,
    loudness,
    opening_lag,
    sharpness,
    sound_lag,
    visible_motion,
    warp_errors,
)


def texture(seed=0, size=(96, 128), blur=3.0):
    """A smooth picture full of contrast, (H, W, 3)."""
    noise = np.random.default_rng(seed).random((*size, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), blur)
    return cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def panning(frames=6, step=2, seed=0):
    """A window that moves over a large picture: the picture moves by -step pixels a frame."""
    wide = texture(seed, (96, 128 + step * frames))
    return [np.ascontiguousarray(wide[:, step * k : step * k + 128]) for k in range(frames)]


def flickering(frames, levels=10):
    signs = [2 * (k % 2) - 1 for k in range(len(frames))]
    shifted = frames + levels * np.reshape(signs, (-1, 1, 1, 1))
    return list(shifted.clip(0, 255).astype(np.uint8))


# --- warp error


def test_the_flow_of_a_pan_is_found_and_the_truth_itself_has_nearly_no_error():
    truth = panning()
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in truth]
    back, forth = Dis()(grey[0], grey[1])
    motion = visible_motion(grey[0], back, confident(back, forth))
    rows, columns = np.indices(grey[0].shape)
    inner = (slice(16, -16), slice(16, -16))
    assert np.abs(motion.x - (columns + 2))[inner].max() < 0.2
    assert np.abs(motion.y - rows)[inner].max() < 0.2
    assert not motion.counted[:, -2:].any()  # these came from outside the picture
    assert motion.counted.mean() > 0.5
    assert warp_errors({"truth": truth}, truth)["truth"] < 0.06


def test_a_video_in_step_beats_all_that_are_not():
    truth = panning()
    results = {"truth": truth, "flickering": flickering(truth), "backwards": truth[::-1]}
    results |= {"frozen": [truth[0]] * 6, "another frozen": [texture(1)] * 6}
    errors = warp_errors(results, truth)
    assert errors["truth"] < 0.06
    assert errors["frozen"] == pytest.approx(1)  # all of the true change is missing
    assert min(errors["flickering"], errors["another frozen"], errors["backwards"]) > 0.9


@pytest.mark.parametrize("clean", [True, False], ids=["rendered", "with a camera's noise"])
def test_blur_noise_freezing_and_delay_all_score_worse_than_the_truth(clean):
    """The residual alone rewards blur: at sigma 2 it is below the truth's own."""
    rng = np.random.default_rng(3)
    level = 0 if clean else 3
    pan = panning(6, step=3, seed=5)
    truth = [np.clip(f + rng.normal(0, level, f.shape), 0, 255).astype(np.uint8) for f in pan]
    worse = {
        f"blur {sigma}": [cv2.GaussianBlur(f, (0, 0), sigma) for f in truth] for sigma in (1, 2, 4)
    }
    noisy = [np.clip(f + rng.normal(0, 8, f.shape), 0, 255).astype(np.uint8) for f in truth]
    late = [truth[0], *truth[:-1]]
    worse |= {"noise": noisy, "frozen": [truth[0]] * 6, "late": late}
    errors = warp_errors({"truth": truth, **worse}, truth)
    for name in worse:
        assert errors[name] > errors["truth"], name
    assert errors["blur 1"] < errors["blur 2"] < errors["blur 4"] < 1
    softness = [sharpness(worse[f"blur {sigma}"]) / sharpness(truth) for sigma in (1, 2, 4)]
    assert 1 > softness[0] > softness[1] > softness[2]


def test_a_moving_face_before_a_noisy_wall_beats_a_frozen_frame():
    """The wall's noise outvotes the face where every pixel counts; here it has no vote."""
    rng = np.random.default_rng(4)
    wall = np.full((96, 128, 3), 120)
    truth = []
    for patch in panning(5, seed=2):
        frame = wall + rng.normal(0, 1.5, wall.shape)
        frame[40:70, 50:90] = patch[40:70, 50:90]
        truth.append(np.clip(frame, 0, 255).astype(np.uint8))
    frozen = [truth[0]] * 5
    plain = np.mean([np.abs(a.astype(int) - b) for a, b in zip(truth[1:], truth, strict=False)])
    assert plain > 0  # the frozen frame's own change is none
    errors = warp_errors({"truth": truth, "frozen": frozen}, truth)
    assert errors["truth"] < 0.6 * errors["frozen"]


def test_a_picture_that_does_not_move_says_nothing():
    still = texture()
    errors = warp_errors({"a": [still, still], "b": panning(2)}, [still, still])
    assert errors == {"a": None, "b": None}


def between(values, x, y):
    """Sample (H, W) bilinearly at a column and row in 32nds, as OpenCV does; the edge repeats."""
    x, y = np.rint(32 * x) / 32, np.rint(32 * y) / 32
    left, top = int(np.floor(x)), int(np.floor(y))

    def at(row, column):
        return float(values[min(max(row, 0), 95), min(max(column, 0), 127)])

    upper = (1 - x + left) * at(top, left) + (x - left) * at(top, left + 1)
    lower = (1 - x + left) * at(top + 1, left) + (x - left) * at(top + 1, left + 1)
    return (1 - y + top) * upper + (y - top) * lower


def slow_warp_error(result, truth):
    """Return the warp error of two frames, pixel by pixel as the words say."""
    old, new = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in truth)
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    back, forth = dis.calc(new, old, None), dis.calc(old, new, None)
    before, now = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(float) for frame in result)
    rows, refused = [], 0
    for row in range(96):
        for column in range(128):
            b = back[row, column]
            x, y = np.float32(column) + b[0], np.float32(row) + b[1]
            if not (0 <= x <= 127 and 0 <= y <= 95):
                continue
            f = [between(forth[..., k], x, y) for k in (0, 1)]
            lengths = b[0] ** 2 + b[1] ** 2 + f[0] ** 2 + f[1] ** 2
            if (b[0] + f[0]) ** 2 + (b[1] + f[1]) ** 2 >= 0.01 * lengths + 0.5:
                refused += 1
            elif abs(between(old, x, y) - float(old[row, column])) >= 4:
                moved = between(before, x, y)
                change, wanted = (
                    moved - before[row, column],
                    between(old, x, y) - float(old[row, column]),
                )
                rows.append([moved - now[row, column], change, wanted])
    residual, change, wanted = np.abs(rows).sum(axis=0)
    return (residual + max(0, wanted - change)) / wanted, refused


def test_the_warp_error_equals_a_slow_loop_where_something_new_hides_the_picture():
    truth = panning(2)
    truth[1] = truth[1].copy()
    truth[1][30:60, 40:80] = texture(7, blur=0.6)[30:60, 40:80]
    result = [texture(8), texture(9)]
    wanted, refused = slow_warp_error(result, truth)
    assert refused > 300
    assert warp_errors({"a": result}, truth)["a"] == pytest.approx(wanted, rel=1e-4)
    wanted, _ = slow_warp_error(truth, truth)
    assert warp_errors({"a": truth}, truth)["a"] == pytest.approx(wanted, rel=1e-4)


def test_a_flow_that_is_given_counts_and_not_that_of_the_pictures():
    """A pan to the right by two pixels a frame, whose given flow says that nothing moved."""
    wall = np.random.default_rng(0).integers(0, 256, (24, 40), np.uint8)
    pan = [np.repeat(wall[:, 10 - 2 * t : 34 - 2 * t, None], 3, axis=2) for t in range(3)]
    still, pointing = (np.zeros((3, 24, 24, 2), np.float32) for _ in range(2))
    pointing[..., 0] = -2
    everywhere = np.ones((3, 24, 24), bool)
    everywhere[:, :, :2] = False  # came from outside
    assert warp_errors({"pan": pan}, pan, (pointing, everywhere))["pan"] == 0
    assert warp_errors({"pan": pan}, pan, (still, everywhere))["pan"] is None  # no visible motion
    with pytest.raises(ValueError, match=r"frame 2 of \(24, 24\) pixels has no flow"):
        warp_errors({"pan": pan}, pan, (pointing[:2], everywhere[:2]))


def test_results_do_not_see_one_another_and_may_be_streams():
    truth = panning()
    alone = warp_errors({"a": flickering(truth)}, truth)["a"]
    both = warp_errors({"b": iter(truth), "a": iter(flickering(truth))}, iter(truth))
    assert both["a"] == alone


def test_two_frames_at_a_time_are_held():
    alive, most = set(), 0

    class Watched(np.ndarray):
        def __del__(self):
            alive.discard(id(self))

    def stream():
        nonlocal most
        for frame in panning(8):
            watched = frame.view(Watched)
            alive.add(id(watched))
            most = max(most, len(alive))
            yield watched

    warp_errors({"a": stream()}, panning(8))
    assert most <= 3  # the one being read among them


def test_videos_that_do_not_match_are_refused():
    truth = panning()
    for results, message in (
        ({"a": truth[:5]}, "result 'a' has 5 frames, another video more"),
        ({"a": [*truth, truth[0]]}, "the truth has 6 frames, another video more"),
        ({"a": [frame[:, :64] for frame in truth]}, r"frame 0 of result 'a' has shape \(96, 64"),
    ):
        with pytest.raises(ValueError, match=message):
            warp_errors(results, truth)
    with pytest.raises(ValueError, match="two frames or more"):
        warp_errors({"a": truth[:1]}, truth[:1])
    with pytest.raises(ValueError, match="16 pixels a side, found"):
        warp_errors({}, [frame[:8, :20] for frame in truth])


@pytest.mark.data
@pytest.mark.parametrize("name", ["grid_s1/bgan7a.mpg", "mead_same_sentence/M030_*happy*.mp4"])
def test_on_a_real_clip_the_truth_wins_and_a_frozen_frame_does_not(media_root, name):
    path = next(iter(sorted(media_root.glob(name))))
    frames = islice(read_video(path), 15, 33)
    truth = [cv2.resize(frame, (256, 256), interpolation=cv2.INTER_AREA) for frame in frames]
    rows = {"truth": truth, "late": [truth[0], *truth[:-1]], "flickering": flickering(truth, 6)}
    rows["frozen"] = [truth[0]] * len(truth)
    errors = warp_errors(rows, truth)
    assert errors["truth"] < 0.8 * min(errors[name] for name in rows if name != "truth")
    assert flicker(rows["frozen"]) == 0  # what this figure cannot tell


# --- flicker


def test_flicker_by_hand():
    frames = [np.full((2, 2, 3), level, np.uint8) for level in (10, 250, 250)]
    frames[2][0, 0, 0] = 238
    assert flicker(frames) == pytest.approx((240 + 12 / 12) / 2)
    assert flicker(iter(frames[1:])) == pytest.approx(1)
    with pytest.raises(ValueError, match="two frames or more"):
        flicker(frames[:1])
    with pytest.raises(ValueError, match="shape"):
        flicker([frames[0], frames[0][:1]])
    up = [np.full((2, 2, 3), level, np.uint8) for level in (0, 1, 2)]
    assert flicker(up) == 1  # from the frame before, not from the first


# --- jitter


def face(frames):
    """The same face (T, 68, 2), which the alignment leaves as it is."""
    points = np.random.default_rng(3).uniform(40, 216, (68, 2))
    points[list(RIGID)] = RIGID_TEMPLATE[:, :2]
    return np.repeat(points[None], frames, axis=0)


def test_jitter_by_hand():
    points = face(4)
    points[:, 8, 1] += [0, 1, 0, 0]  # third difference 0 - 3 * 0 + 3 * 1 - 0 = 3, at one of 68
    assert jitter(points) == pytest.approx(3 / 68)
    points = face(5)
    points[:, 8, 1] += [0, 0, 0, 0, 4]  # 0 in the first four frames, 4 in the last four
    assert jitter(points) == pytest.approx(4 / 68 / 2)


def test_steady_speed_and_steady_acceleration_do_not_tremble():
    time = np.arange(12.0)
    points = face(12)
    points[:, 50:, 1] += (3 * time + 0.5 * time**2)[:, None]
    assert jitter(points) < 1e-9
    rng = np.random.default_rng(0)
    trembling = [jitter(points + s * rng.standard_normal(points.shape)) for s in (0.2, 0.5, 1)]
    assert trembling == sorted(trembling)
    # White noise of 1 px: the third difference has variance 1 + 9 + 9 + 1 on each axis, so its mean
    # length is sqrt(20 pi / 2); the alignment adds that of eight trembling points.
    noise = face(400) + rng.standard_normal((400, 68, 2))
    assert jitter(noise) == pytest.approx(np.sqrt(20 * np.pi / 2), rel=0.25)


def test_jitter_is_of_the_256_px_face_and_not_of_the_heads_motion():
    points = face(9)
    points[:, 8] += np.random.default_rng(1).standard_normal((9, 2))
    drift = 5 * np.random.default_rng(2).standard_normal((9, 1, 2))
    assert jitter(2.5 * points + drift) == pytest.approx(jitter(points))


def test_frames_without_a_face_break_jitter_into_pieces():
    points = face(9)
    points[:, 8, 1] += [0, 1, 0, 0, 0, 5, 0, 0, 0]
    points[4] = np.nan  # left are frames 0-3 with the 1 and 5-8 with the 5 at their start
    assert jitter(points) == pytest.approx((3 + 5) / 68 / 2)
    points[2] = points[7] = np.nan
    with pytest.raises(ValueError, match="no 4 frames in a row of 9 have a face"):
        jitter(points)
    with pytest.raises(ValueError, match="no 4 frames in a row of 3"):
        jitter(face(3))


def sound_and_mouth(shift, frames=60):
    rng = np.random.default_rng(0)
    syllables = np.convolve(rng.normal(size=frames + 20), np.ones(3) / 3, "same")
    return syllables[10 - shift : 10 - shift + frames], syllables[10 : 10 + frames]


@pytest.mark.parametrize("shift", [-4, -1, 0, 1, 7])
def test_a_known_delay_is_found(shift):
    mouth, level = sound_and_mouth(shift)
    assert opening_lag(mouth, level) == shift


def test_loudness_by_hand():
    samples = np.concatenate([np.full(640, 0.5), np.zeros(640), np.full(100, 1.0)])
    np.testing.assert_allclose(loudness(samples), [np.log(0.5), np.log(1e-4)], atol=1e-6)


def test_what_has_no_lag_is_refused():
    mouth, level = sound_and_mouth(0)
    with pytest.raises(ValueError, match="60 frames and loudness 59"):
        opening_lag(mouth, level[1:])
    with pytest.raises(ValueError, match="never moves"):
        opening_lag(np.zeros(60), level)


@pytest.mark.parametrize("late", [-1920, 0, 640, 1920])
def test_the_lag_of_a_sound_is_found_and_another_sound_has_none(late):
    speech = np.random.default_rng(1).normal(0, 0.1, 48000).astype(np.float32)
    speech *= np.sin(np.arange(48000) / 3000) ** 2
    moved = np.roll(np.pad(speech, 4000), late)[4000:-4000]
    noisy = moved + np.random.default_rng(2).normal(0, 0.02, 48000)
    assert sound_lag(noisy, speech) == late / 16
    other = np.random.default_rng(3).normal(0, 0.1, 48000)
    assert sound_lag(other, speech) is None
    assert sound_lag(np.zeros(48000), speech) is None
