"""What drives a portrait: sound, pose, emotion sources, and how they are joined."""

from pathlib import Path

import numpy as np
import pytest
import torch

from affekt.media.faces.one_euro import one_euro
from affekt.media.video.tensors import to_tensor
from eamm.augment import mouth_box
from eamm.displacement.network import apply_displacement, displacements
from eamm.inference.emotion import (
    EmotionClip,
    EmotionSource,
    blend_files,
    blended,
    emotion_features,
    emotional_keypoints,
    loop,
    read_emotion,
    source_frames,
)
from eamm.inference.keypoints import (
    DISPLACEMENT_FILTER,
    KEYPOINT_FILTER,
    audio_to_keypoints,
    smoothed,
)
from tests.corpora.drawn_face import draw_face, talking
from tests.corpora.tiny_eamm import DESCRIPTION, GAINS, MOVED, tiny_a2fd, tiny_displacement
from tests.corpora.tiny_fomm import SIZE

RNG = np.random.default_rng(0)
T = 71  # two whole chunks and a part
WINDOWS = RNG.normal(size=(T, 28, 12)).astype(np.float32)
POSE = RNG.normal(size=(T, 6)).astype(np.float32)


@pytest.fixture(scope="module")
def source():
    return draw_face(SIZE)


@pytest.fixture(scope="module")
def neutral(source):
    return audio_to_keypoints(tiny_a2fd(), source, WINDOWS, POSE)


def test_in_chunks_a2fd_says_what_it_says_at_once(source):
    model = tiny_a2fd()
    given = to_tensor(source[None]), torch.from_numpy(WINDOWS[None]), torch.from_numpy(POSE[None])
    with torch.no_grad():
        wanted, louder = model(*given)[0], model(*given, audio_gain=1.6)[0]
    found = audio_to_keypoints(model, source, WINDOWS, POSE)
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs[0], rtol=1e-4, atol=1e-5)
    found = audio_to_keypoints(model, source, WINDOWS, POSE, audio_gain=1.6)
    torch.testing.assert_close(found.value, louder.value[0], rtol=1e-4, atol=1e-5)
    assert (louder.value - wanted.value).abs().max() > 1e-3


def test_sound_pose_and_source_all_count(source, neutral):
    model = tiny_a2fd()
    for changed in (
        audio_to_keypoints(model, source, WINDOWS[::-1], POSE),
        audio_to_keypoints(model, source, WINDOWS, POSE[::-1]),
        audio_to_keypoints(model, draw_face(SIZE, center=(0.4, 0.6)), WINDOWS, POSE),
    ):
        assert (changed.value - neutral.value).abs().max() > 1e-3


def test_an_emotion_source_is_read_in_chunks_and_always_alike():
    model = tiny_displacement()
    frames = talking(40, SIZE)
    once = emotion_features(model, DESCRIPTION, frames)
    assert once.shape == (40, 16)
    torch.testing.assert_close(once, emotion_features(model, DESCRIPTION, iter(frames)))
    assert (once[0] - once[6]).abs().max() > 1e-4
    with pytest.raises(ValueError, match="no frame"):
        emotion_features(model, DESCRIPTION, [])


def test_the_mouth_of_an_emotion_source_is_not_seen():
    model = tiny_displacement()
    left, top, right, bottom = mouth_box(SIZE)
    first, second, third = (draw_face(SIZE) for _ in range(3))
    second[top:bottom, left:right] = 255
    third[:10, :10] = 255
    plain, mouth, corner = (
        emotion_features(model, DESCRIPTION, [each]) for each in (first, second, third)
    )
    torch.testing.assert_close(plain, mouth)
    assert (plain - corner).abs().max() > 1e-4


def test_a_source_that_is_too_short_starts_again_or_runs_to_and_fro():
    assert loop(3, 8, "restart").tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert loop(3, 8, "ping-pong").tolist() == [0, 1, 2, 2, 1, 0, 0, 1]
    assert loop(9, 4, "restart").tolist() == loop(9, 4, "ping-pong").tolist() == [0, 1, 2, 3]
    assert loop(1, 3, "restart").tolist() == [0, 0, 0]


def test_a_blend_is_between_its_sources():
    first, second = torch.full((2, 4), 1.0), torch.arange(12.0).reshape(3, 4)
    mixed = blended([first, second], 0.25, 5, "restart")
    torch.testing.assert_close(mixed[4], 0.75 * first[0] + 0.25 * second[1])
    torch.testing.assert_close(blended([first, second], 0, 5, "restart"), first[[0, 1, 0, 1, 0]])
    torch.testing.assert_close(blended([second], 0.9, 2, "restart"), second[:2])


def test_intensity_scales_what_moves_and_leaves_the_rest(neutral):
    model = tiny_displacement()
    clips = [EmotionClip([], torch.rand((T, 16)))]
    moved = displacements(model, clips[0].features, neutral)
    assert moved.value.shape == (T, 2, 2)

    def with_emotion(intensity):
        wanted = EmotionSource((Path("made up"),), intensity=intensity)
        return emotional_keypoints(model, DESCRIPTION, clips, wanted, neutral, smooth=False)

    one = with_emotion(1.0)
    for intensity in (0.0, 0.5, 2.0):
        scaled = with_emotion(intensity)
        for still, first, other in zip(neutral, one, scaled, strict=True):
            wanted = intensity * (first - still)
            torch.testing.assert_close(other - still, wanted, atol=2e-6, rtol=1e-5)
    offsets = one.value - neutral.value
    assert (offsets.abs().amax(dim=(0, 2)) > 1e-3).nonzero().flatten().tolist() == list(MOVED)
    torch.testing.assert_close(offsets[:, MOVED[0]], GAINS[0] * moved.value[:, 0])


def test_smoothing_is_the_releases_and_goes_by_parts(neutral):
    calm = smoothed(neutral, KEYPOINT_FILTER)
    value = one_euro(10 * neutral.value.numpy().astype(float), mincutoff=0.05, beta=8) / 10
    np.testing.assert_allclose(calm.value.numpy(), value, atol=1e-6)
    torch.testing.assert_close(calm.jacobian[0], neutral.jacobian[0])
    steps = [np.abs(np.diff(each.numpy(), axis=0)).mean() for each in (neutral.value, calm.value)]
    assert steps[1] < 0.9 * steps[0]


def test_the_emotion_of_a_clip_is_joined_from_its_parts(tmp_path, neutral):
    model = tiny_displacement()
    frames = talking(9, SIZE)
    folder = tmp_path / "0"
    folder.mkdir()
    clip = read_emotion(model, DESCRIPTION, frames, folder)
    assert np.abs(clip.frames[4].astype(int) - frames[4]).mean() < 3  # kept as JPEG
    wanted = EmotionSource((Path("made up"),), intensity=0.7, loop="ping-pong")
    found = emotional_keypoints(model, DESCRIPTION, [clip], wanted, neutral, smooth=True)
    features = clip.features[loop(9, T, "ping-pong")]
    moved = smoothed(displacements(model, features, neutral), DISPLACEMENT_FILTER)
    gains = [0.7 * gain for gain in GAINS]
    torch.testing.assert_close(found, apply_displacement(neutral, moved, MOVED, gains))
    rough = emotional_keypoints(model, DESCRIPTION, [clip], wanted, neutral, smooth=False)
    assert (rough.value - found.value).abs().max() > 1e-4


def test_the_pictures_shown_are_those_of_each_frame():
    class Numbers(list):
        pass

    names = [f"a{k}" for k in range(2)], [f"b{k}" for k in range(9)]
    clips = [EmotionClip(Numbers(each), None) for each in names]
    shown = list(source_frames(clips, 4, "restart"))
    assert shown == [("a0", "b0"), ("a1", "b1"), ("a0", "b2"), ("a1", "b3")]
    assert list(source_frames([], 2, "restart")) == [(), ()]


def test_a_blend_is_parsed_whatever_its_files_are_called(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("sad.mp4", "happy.mp4", "at 10:30.mp4", "a:b", "a", "b:b", "b"):
        Path(name).touch()
    ten = "at 10:30.mp4"
    blends = ("sad.mp4", "happy.mp4", 0.3), (ten, "sad.mp4", 1), ("sad.mp4", ten, 0)
    for first, second, weight in blends:
        assert blend_files(f"{first}:{second}:{weight}") == ((Path(first), Path(second)), weight)
    with pytest.raises(ValueError, match="several ways"):
        blend_files("a:b:b:0.5")  # a:b and b, or a and b:b
    with pytest.raises(ValueError, match="absent"):
        blend_files("sad.mp4:absent.mp4:0.5")
    for text in ("sad.mp4:happy.mp4", "sad.mp4:0.3", "sad.mp4:happy.mp4:1.5", "a:b:nan"):
        with pytest.raises(ValueError, match=r"not of the form A:B:w|wanted 0 to 1"):
            blend_files(text)
