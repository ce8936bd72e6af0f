import dataclasses
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from affekt.media.audio.reader import read_audio
from affekt.media.emotions import EMOTIONS
from affekt.media.faces.detector import make_detector
from affekt.media.faces.points import EMOTION, GROUPS, mouth_opening
from affekt.media.video.video import probe, read_frames
from affekt.runtime.config import load_config
from data_prep.mini import clip, render
from data_prep.mini.clip import ClipName, Settings
from data_prep.mini.head.head import make_head
from data_prep.mini.head.mesh import SKULL
from data_prep.mini.head.modes import EXPRESSION_INDEX, EXPRESSIONS
from data_prep.mini.render import Renderer, background, posed
from data_prep.mini.speakers import make_speaker
from data_prep.mini.voice import speech, visemes, voices
from data_prep.mini.voice.speech import SENTENCES, Phoneme, Prosody
from data_prep.mini_corpus import Extent, clip_names, main, make_corpus
from data_prep.prepare import Config as PrepareConfig

SMALL = Settings(size=64)
TWO = Extent(speakers=1, sentences=1, emotions=("neutral", "happy"), levels=(3,), lively=1)
FULL = Settings()
TRAINED = (3, 4, 5, 8, 9, 10, 11, 12, 13, 16, 17, 18)  # of emospace's demo
AH = "\u0251"  # IPA: the vowel of "father"


def level_of(emotion):
    return 1 if emotion == "neutral" else 3


def name_of(emotion="neutral", view="front", number=1, speaker=0, level=None):
    return ClipName(speaker, view, emotion, level or level_of(emotion), number)


def eye_opening(landmarks):
    """The mean gap between the lids of both eyes, (...)."""
    upper, lower = landmarks[..., (37, 38, 43, 44), :], landmarks[..., (41, 40, 47, 46), :]
    return np.linalg.norm(lower - upper, axis=-1).mean(axis=-1)


@pytest.fixture(scope="module")
def heads():
    return [make_head(make_speaker(0, k)) for k in range(3)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("mini")
    assert make_corpus(root, TWO, SMALL, workers=1) == 3
    return root


def snapshot(root):
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {path.relative_to(root): path.read_bytes() for path in files}


# the folder


def test_the_folder_is_laid_out_as_mead_with_the_truth_beside(corpus):
    assert {str(path) for path in snapshot(corpus)} == {
        "settings.json",
        "sentences.csv",
        "speakers.json",
        "M901/video/front/happy/level_3/001.mp4",
        "M901/audio/happy/level_3/001.m4a",
        "M901/video/front/neutral/level_1/001.mp4",
        "M901/audio/neutral/level_1/001.m4a",
        "M901/video/lively/neutral/level_1/001.mp4",
        "M901/audio_lively/neutral/level_1/001.m4a",
        "truth/M901/front/happy/level_3/001.npz",
        "truth/M901/front/neutral/level_1/001.npz",
        "truth/M901/lively/neutral/level_1/001.npz",
    }
    table = (corpus / "sentences.csv").read_text().splitlines()
    assert table[0] == "number,text"
    assert table[1] == f"001,{SENTENCES[0]}"
    assert json.loads((corpus / "speakers.json").read_text())[0]["name"] == "M901"


def test_pictures_sound_and_truth_of_a_clip_are_of_one_length_and_in_step(corpus):
    played = clip.perform(name_of("happy"), SMALL)
    video, sound, truth = name_of("happy").files(corpus, "M901")
    info, known = probe(video), np.load(truth)
    frames = len(known["landmarks"])
    assert (info.width, info.height, info.fps, info.has_audio) == (64, 64, 25, True)
    assert len(read_frames(video)) == frames == len(played.strengths)
    assert len(played.speech.samples) == 640 * frames
    for path in (video, sound):
        heard = read_audio(path)[: 640 * frames]
        assert len(heard) >= 640 * (frames - 1)
        spectrum = np.fft.rfft(heard, 2**17) * np.fft.rfft(played.speech.samples, 2**17).conj()
        assert abs(int(np.fft.irfft(spectrum).argmax())) <= 8  # half a millisecond


def test_the_truth_is_the_pose_of_the_shape(corpus):
    known = np.load(name_of("neutral", "lively").files(corpus, "M901")[2])
    again = posed(known["shape"], known["pose"])
    np.testing.assert_allclose(again, known["landmarks3d"], atol=1e-3)
    np.testing.assert_allclose(again[..., :2], known["landmarks"], atol=1e-3)
    np.testing.assert_allclose(known["opening"], mouth_opening(known["landmarks"]), atol=1e-4)
    assert known["strengths"].shape == (len(again), len(known["strength_names"]))
    assert known["phonemes"].shape[0] == len(known["phoneme_times"])
    assert str(known["text"]).startswith(SENTENCES[0])


def test_a_clip_is_the_same_alone_and_in_a_larger_corpus(corpus, tmp_path):
    clip.make_clip(tmp_path, name_of("sad", number=2), SMALL)  # a history that must not matter
    clip.make_clip(tmp_path, name_of("happy"), SMALL)
    alone = (path.relative_to(tmp_path) for path in name_of("happy").files(tmp_path, "M901"))
    assert all((corpus / p).read_bytes() == (tmp_path / p).read_bytes() for p in alone)


def test_another_seed_gives_another_speaker_and_another_voice():
    one, other = (clip.perform(name_of(), Settings(seed=seed)) for seed in (0, 1))
    assert make_speaker(0, 0).identity != make_speaker(1, 0).identity
    assert one.manner != other.manner


def test_running_again_writes_only_what_is_missing(corpus):
    before = snapshot(corpus)
    times = {path: (corpus / path).stat().st_mtime_ns for path in before}
    assert make_corpus(corpus, TWO, SMALL, workers=1) == 0
    name_of("happy").files(corpus, "M901")[2].unlink()
    assert make_corpus(corpus, TWO, SMALL, workers=1) == 1
    assert snapshot(corpus) == before
    kept = name_of("neutral").files(corpus, "M901")
    assert all(path.stat().st_mtime_ns == times[path.relative_to(corpus)] for path in kept)


def test_two_processes_write_what_one_does(corpus, tmp_path):
    extent = dataclasses.replace(TWO, lively=0)
    assert make_corpus(tmp_path, extent, SMALL, workers=2) == 2
    for path, content in snapshot(tmp_path).items():
        assert content == (corpus / path).read_bytes()


def test_a_folder_of_other_settings_is_refused(corpus):
    before = snapshot(corpus)
    with pytest.raises(ValueError, match="seed, size differ"):
        make_corpus(corpus, TWO, Settings(seed=1, size=128), workers=1)
    assert snapshot(corpus) == before


def test_later_speakers_join_a_corpus_as_if_all_had_been_asked_for(corpus, tmp_path):
    wanted = dataclasses.replace(TWO, speakers=2, emotions=("neutral",), lively=0)
    assert make_corpus(tmp_path / "all", wanted, SMALL, workers=1) == 2
    joined = tmp_path / "joined"
    assert make_corpus(joined, dataclasses.replace(wanted, speakers=1), SMALL, workers=1) == 1
    before = {path: path.stat().st_mtime_ns for path in joined.rglob("0*.*")}
    later = dataclasses.replace(wanted, speakers=1, first_speaker=1)
    assert make_corpus(joined, later, SMALL, workers=1) == 1
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert snapshot(joined) == snapshot(tmp_path / "all")  # speakers.json as well
    assert make_corpus(joined, dataclasses.replace(wanted, speakers=1), SMALL, workers=1) == 0
    assert len(json.loads((joined / "speakers.json").read_text())) == 2  # nobody is forgotten


def test_neutral_has_one_level_and_lively_clips_their_own_names():
    extent = Extent(2, 3, ("neutral", "sad"), (1, 3), lively=3, first_speaker=5)
    names = list(clip_names(extent))
    assert len(names) == len(set(names)) == 2 * (3 + 2 * 3 + 3)
    assert {n.speaker for n in names} == {5, 6}
    assert {n.level for n in names if n.emotion == "neutral"} == {1}
    assert [n.emotion for n in names if n.view == "lively"][:3] == ["neutral", "sad", "neutral"]


def test_by_turns_few_clips_hold_every_sentence_and_none_goes_with_an_emotion():
    extent = Extent(sentences=20, levels=(1, 2, 3), lively=0, numbers=TRAINED, rotate=True)
    names = list(clip_names(extent))
    assert len(names) == len(set(names)) == 12 * 24
    for speaker in TRAINED:
        assert {n.number for n in names if n.speaker == speaker} == set(range(1, 21))
    for emotion in EMOTIONS:
        said = [n.number for n in names if n.emotion == emotion]
        assert len(said) == 36
        assert len(set(said)) >= 18
        assert max(map(said.count, said)) <= 3
    said = [[n.number for n in names if n.speaker == speaker] for speaker in TRAINED]
    assert len({tuple(numbers) for numbers in said}) == 12
    assert {n.level for n in names if n.emotion == "neutral"} == {1}
    # Whoever else is asked for, and in whatever levels
    alone = dataclasses.replace(extent, numbers=(10,), levels=(2,), emotions=("sad",))
    assert set(clip_names(alone)) <= set(names)


def test_later_sentences_are_held_out_by_their_own_numbers():
    extent = Extent(2, 4, levels=(1, 3), lively=0, first_speaker=6, first_sentence=21, rotate=True)
    numbers = [n.number for n in clip_names(extent)]
    assert len(numbers) == 2 * 16
    assert set(numbers) == {21, 22, 23, 24}
    plain = Extent(1, 2, ("sad",), lively=0, first_sentence=21)
    assert [n.number for n in clip_names(plain)] == [21, 22]


def test_the_unseen_people_of_the_demo_have_two_voices_of_nobody_else_and_mixed_hair():
    config = load_config(PrepareConfig, Path("configs/demo/emospace/prepare.yaml"))
    people = {make_speaker(0, k).name: make_speaker(0, k) for k in range(3, 21)}
    unseen = config.split.test_speakers
    assert set(config.corpus.speakers) == people.keys() > set(unseen)
    trained = [people[name] for name in people if name not in unseen]
    assert [one.name for one in trained] == [make_speaker(0, k).name for k in TRAINED]
    own = {one.voice for one in trained}
    assert len(own) == 6
    new = [name for name in unseen if people[name].voice not in own]
    assert sorted(new) == ["M907", "M915", "W908", "W916"]
    assert len({people[name].style for name in unseen}) >= 4
    assert config.split.test_sentences == ("021", "022", "023", "024")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--emotions", "hapy"], "did you mean 'happy'"),
        (["--levels", "4"], "invalid choice: 4"),
        (["--size", "129"], "even size"),
        (["--size", "8"], "wanted at least 64"),
        (["--speakers", "0"], "wanted at least 1"),
        (["--sentences", "99"], f"at most {len(SENTENCES)}"),
        (["--voice-strength", "-1"], "wanted 0 to 1.5"),
        (["--speekers", "2"], "unrecognized arguments"),
        (["--first-speaker", "-1"], "wanted at least 0"),
        (["--first-speaker", "98"], "at most 97"),
        (["--first-speaker", "96", "--speakers", "3"], "speakers 96 to 98: there are 0 to 97"),
        (["--people", "3", "98"], "speakers 3 to 98: there are 0 to 97"),
        (["--first-sentence", "22", "--sentences", "4"], "sentences 22 to 25: there are 1 to 24"),
        (["--rotate", "--sentences", "2"], "wanted at least 3"),
    ],
)
def test_a_bad_option_is_refused_before_anything_is_written(tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit):
        main(["--out", str(tmp_path / "x"), *arguments])
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


# the voice


def test_every_sentence_has_visemes_for_all_its_phonemes_and_closes_the_lips():
    sounds = set()
    for text in SENTENCES:
        said = speech.synthesise(text, "en-us+f3", Prosody(), 0)
        shapes = [shape for sound in said.phonemes for shape in visemes.visemes_of(sound.name)]
        sounds |= {sound.name for sound in said.phonemes}
        assert shapes.count("closed") >= 2, text
        assert all(a.end == b.start for a, b in itertools.pairwise(said.phonemes))
    assert len(sounds) >= 45


def test_speech_depends_on_its_arguments_alone():
    first = speech.synthesise("We saw a blue boat.", "en-us+m3", Prosody(), 5)
    speech.synthesise("Something else entirely.", "en-us+f3", Prosody(220, 70, 90), 6)
    again = speech.synthesise("We saw a blue boat.", "en-us+m3", Prosody(), 5)
    np.testing.assert_array_equal(first.samples, again.samples)
    assert first.phonemes == again.phonemes


def test_an_unknown_voice_or_phoneme_is_refused():
    with pytest.raises(speech.SpeechError, match="no variant 'nobody'"):
        speech.synthesise("Hello.", "en-us+nobody", Prosody(), 0)
    with pytest.raises(ValueError, match="no viseme"):
        visemes.visemes_of("@")


def test_higher_formants_shorten_nothing_but_the_samples_between():
    said = speech.synthesise("My brother bought a bowl.", "en-us+m3", Prosody(), 0)
    random = np.random.default_rng(0)
    plain = voices.coloured(said, voices.Manner(), random)
    raised = voices.coloured(said, voices.Manner(formants=0.1), random)
    for a, b in zip(plain.phonemes[1:-1], raised.phonemes[1:-1], strict=True):
        assert b.start - voices.LEAD == pytest.approx((a.start - voices.LEAD) / 1.1)
    assert plain.phonemes[-1].end == len(plain.samples) / voices.SAMPLE_RATE


def test_tilt_and_presence_are_the_decibels_they_say():
    said = speech.synthesise("My brother bought a bowl.", "en-us+m3", Prosody(), 0)
    random = np.random.default_rng(0)
    plain = voices.coloured(said, voices.Manner(), random).samples
    bright = voices.coloured(said, voices.Manner(tilt=3.0, presence=4.0), random).samples
    hertz = np.fft.rfftfreq(len(plain), 1 / voices.SAMPLE_RATE)
    gain = 20 * np.log10(np.abs(np.fft.rfft(bright)) / np.abs(np.fft.rfft(plain)))
    at = [np.median(gain[np.abs(hertz - f) < 60]) for f in (300, 1000, 2500, 6000)]
    rise = np.array(at) - at[0]
    wanted = [0, 3 + 4 * np.exp(-0.5 * (1500 / 700) ** 2), 3 * np.log2(5) + 4, 3 * np.log2(12)]
    np.testing.assert_allclose(rise, wanted, atol=0.3)


def test_an_emotion_strays_between_utterances():
    drawn = [
        voices.manner_of("angry", 1.0, np.random.default_rng(seed)).presence for seed in range(200)
    ]
    assert np.mean(drawn) == pytest.approx(voices.MANNERS["angry"].presence, abs=0.4)
    assert np.std(drawn) == pytest.approx(voices.STRAY.presence, rel=0.2)


# the face


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_lips_meet_for_every_p_b_and_m(emotion, heads):
    for number in (1, 3):
        played = clip.perform(name_of(emotion, number=number), FULL)
        shape = heads[0].landmarks(heads[0].vertices(played.strengths))
        opening = 256 / 31.5 * mouth_opening(shape[..., :2])
        times = visemes.frame_times(len(opening))
        for sound in played.speech.phonemes:
            if sound.name in ("p", "b", "m"):
                near = (times > sound.start - 0.03) & (times < sound.end + 0.03)
                assert opening[near].min() < 0.8, (emotion, sound)
        assert opening.max() > 8


def spoken(name, seconds=0.3):
    """Landmarks in the middle of one sound between silences."""
    sounds = [Phoneme("", 0, 0.3), Phoneme(name, 0.3, 0.3 + seconds), Phoneme("", 0.3 + seconds, 1)]
    strengths = np.zeros((1, len(EXPRESSIONS)))
    shape = visemes.shapes_at(sounds, np.array([0.3 + seconds / 2]))
    for mode, value in zip(visemes.SHAPE, shape[0], strict=True):
        strengths[0, EXPRESSION_INDEX[mode]] = value
    return strengths


def test_vowels_shape_the_mouth(heads):
    shapes = {s: heads[0].landmarks(heads[0].vertices(spoken(s)))[0] for s in AH + "iuofs"}
    width = {s: p[54, 0] - p[48, 0] for s, p in shapes.items()}
    opening = {s: mouth_opening(p[:, :2]) for s, p in shapes.items()}
    forward = {s: -p[(51, 57), 2].mean() for s, p in shapes.items()}
    assert width["i"] > width[AH] > width["o"] > width["u"]
    assert opening[AH] > 1.5 * opening["o"] > 1.5 * opening["u"]
    assert opening[AH] > 3 * opening["s"]
    assert forward["u"] > forward["i"] + 0.3
    assert shapes["f"][66, 2] > shapes["s"][66, 2] + 0.2  # the lower lip under the teeth


def test_a_neighbour_rounds_a_consonant_that_does_not_care():
    def rounding_of_t(vowel):
        sounds = [Phoneme(vowel, 0, 0.2), Phoneme("t", 0.2, 0.28), Phoneme(vowel, 0.28, 0.5)]
        return visemes.shapes_at(sounds, np.array([0.24]))[0, visemes.SHAPE.index("round")]

    assert rounding_of_t("u") > 0.4 > 0.1 > rounding_of_t("i")


@pytest.fixture(scope="module")
def expressions(heads):
    """Mean shape (68, 3) of each emotion over a clip, in pixels at 256, at each level."""
    means = {}
    for emotion in EMOTIONS:
        for level in (1, 2, 3) if emotion != "neutral" else (1,):
            played = clip.perform(name_of(emotion, number=2, level=level), FULL)
            shape = heads[0].landmarks(heads[0].vertices(played.strengths))
            means[emotion, level] = shape.mean(axis=0) * 256 / 31.5
    return means


def brow(points):
    return points[list(range(17, 27)), 1].mean()


def test_emotions_show_where_they_should(expressions):
    calm = expressions["neutral", 1]
    shift = {emotion: expressions[emotion, level_of(emotion)] - calm for emotion in EMOTIONS}
    assert shift["happy"][[48, 54], 1].max() < -4
    assert shift["sad"][[48, 54], 1].min() > 3
    assert brow(shift["surprised"]) < -6
    assert shift["angry"][[21, 22], 1].min() > 3
    assert shift["angry"][22, 0] - shift["angry"][21, 0] < -2
    assert shift["fear"][[21, 22], 1].max() < -4
    assert shift["contempt"][54, 1] < -4 < -1 < shift["contempt"][48, 1]
    assert shift["disgusted"][[31, 35], 1].max() < -1.5
    lids = {e: eye_opening(expressions[e, level_of(e)][:, :2]) for e in EMOTIONS}
    assert lids["surprised"] > lids["neutral"] + 1 > lids["sad"] + 2


def test_any_two_emotions_differ_in_brows_lids_or_corners(expressions):
    full = [expressions[emotion, level_of(emotion)][list(EMOTION), :2] for emotion in EMOTIONS]
    for a, b in itertools.combinations(range(8), 2):
        away = np.linalg.norm(full[a] - full[b], axis=-1).mean()
        assert away > 1.5, (EMOTIONS[a], EMOTIONS[b], away)


def test_the_level_scales_the_face_and_the_voice(expressions):
    corner = [expressions["happy", level][48, 1] for level in (1, 2, 3)]
    corner = np.array(corner) - expressions["neutral", 1][48, 1]
    assert corner[2] < corner[1] < corner[0] < 0
    assert 0.25 < corner[0] / corner[2] < 0.65
    intensity = [name_of("happy", level=level).intensity() for level in (1, 2, 3)]
    assert intensity == sorted(intensity)
    assert intensity[-1] == 1


def test_eyes_close_in_a_blink():
    strengths = np.zeros((2, len(EXPRESSIONS)))
    strengths[1, EXPRESSION_INDEX["blink"]] = 1
    head = make_head(make_speaker(0, 1))
    opened, closed = eye_opening(head.landmarks(head.vertices(strengths)))
    assert closed < 0.25 * opened
    sounds = [Phoneme("", 0, 20.0)]
    track = clip.act(sounds, 500, "neutral", 0.0, np.random.default_rng(0))
    blinks = track[:, EXPRESSION_INDEX["blink"]] > 0.9
    assert 3 <= (np.diff(blinks.astype(int)) == 1).sum() <= 16


# the head


def angles(view, numbers=range(1, 9), speakers=range(3)):
    """Yaw, pitch, roll in degrees, clip by clip."""
    found = []
    for speaker, number in itertools.product(speakers, numbers):
        times = visemes.frame_times(100)
        turn = clip.calm_turns if view == "front" else clip.lively_turns
        random = name_of(view=view, number=number, speaker=speaker).random(0, "head")
        found.append(Rotation.from_rotvec(turn(times, random)[0]).as_euler("yxz", degrees=True))
    return np.array(found)


def test_front_clips_hold_the_head_as_still_as_mead():
    turns = angles("front")
    yaw, pitch, _ = turns.reshape(-1, 3).std(axis=0)
    assert 1.0 < yaw <= 2.6
    assert 0.5 < pitch <= 1.4
    assert np.abs(np.diff(turns, axis=1)).max() < 1.5


def test_lively_clips_turn_the_head_far_and_smoothly():
    turns = angles("lively")
    assert (turns[..., 0].max(axis=1) > 20).all()
    assert (turns[..., 0].min(axis=1) < -20).all()
    assert (np.abs(turns).reshape(-1, 3).max(axis=0) <= (25.01, 15.01, 10.01)).all()
    assert np.abs(turns[..., 1]).max() > 12
    assert np.abs(np.diff(turns, axis=1)).max() < 5


def test_the_head_turns_alike_whatever_is_heard():
    one = clip.perform(name_of("happy"), FULL)
    other = clip.perform(name_of("happy"), Settings(voice_strength=0.0))
    frames = min(len(one.pose), len(other.pose))
    assert one.speech.samples.shape != other.speech.samples.shape
    np.testing.assert_allclose(one.pose[:frames], other.pose[:frames])


# the pictures


def test_the_detector_finds_the_face_where_the_truth_says(heads):
    detector, errors = make_detector(), []
    for speaker, head in enumerate(heads):
        renderer = Renderer(head, background(make_speaker(0, speaker), 256))
        for emotion, view in [*((e, "front") for e in EMOTIONS), ("neutral", "lively")]:
            played = clip.perform(name_of(emotion, view, speaker=speaker), FULL)
            for k in range(10, len(played.pose), 40):
                vertices = head.vertices(played.strengths[k : k + 1])
                found = detector.detect(renderer.draw(vertices[0], played.pose[k], played.body[k]))
                assert found is not None, (speaker, emotion, k)
                true = posed(head.landmarks(vertices), played.pose[k : k + 1])[0, :, :2]
                errors.append(np.linalg.norm(found.points - true, axis=-1))
    error = np.array(errors)
    assert error.mean() <= 2.5
    for group, points in GROUPS.items():
        assert error[:, list(points)].mean() <= 4, group


def test_speakers_differ_in_shape_and_colour(heads):
    for one, other in itertools.combinations(range(3), 2):
        a, b = (heads[k].landmarks(heads[k].base[None])[0] for k in (one, other))
        assert np.linalg.norm(a - b, axis=-1).mean() > 0.1  # cm
        rooms = [background(make_speaker(0, k), 64) for k in (one, other)]
        assert np.abs(rooms[0].astype(int) - rooms[1]).mean() > 5


def drawn(points, triangles, colours):
    """A picture of flat triangles over a black background, 8 x 8 pixels."""
    points = np.array(points, np.float32)
    triangles = np.array(triangles, np.int32)
    depth = np.empty((16, 16), np.float32)
    face = np.empty((16, 16), np.int32)
    weights = np.empty((16, 16, 2), np.float32)
    render.visible_faces(points * np.float32(2), triangles, depth, face, weights)
    image = np.empty((8, 8, 3), np.uint8)
    normals = np.tile(np.float32([0, 0, -1]), (len(points), 1))
    surface = np.array(colours, np.float32)
    room = np.zeros((8, 8, 3), np.uint8)
    render.shade(face, weights, triangles, normals, surface, room, image)
    return face, image


def test_the_nearer_triangle_hides_the_farther_whatever_the_order():
    square = [(0, 0), (0, 8), (8, 0)]
    points = [(x, y, 5.0) for x, y in square] + [(x, y, 1.0) for x, y in square]
    for order, nearest in (([(0, 1, 2), (3, 4, 5)], 1), ([(3, 4, 5), (0, 1, 2)], 0)):
        face, _ = drawn(points, order, np.ones((6, 4)))
        inside = np.add.outer(np.arange(16), np.arange(16)) < 15
        np.testing.assert_array_equal(face[inside], nearest)
        assert (face[np.add.outer(np.arange(16), np.arange(16)) > 15] == -1).all()


def test_a_triangle_seen_from_behind_is_not_drawn():
    face, image = drawn([(0, 0, 1), (0, 8, 1), (8, 0, 1)], [(0, 2, 1)], np.ones((3, 4)))
    assert (face == -1).all()
    assert not image.any()


def test_an_edge_through_a_pixel_gives_a_mixed_colour():
    edge = 4.5  # half of the column of pixels 4 is covered
    points = [(0, 0, 1), (0, 8, 1), (edge, 8, 1), (edge, 0, 1)]
    white = np.tile([0.5, 0.5, 0.5, 0.0], (4, 1))
    _, image = drawn(points, [(0, 1, 2), (0, 2, 3)], white)
    full, half, none = image[4, 3, 0], image[4, 4, 0], image[4, 5, 0]
    assert none == 0
    assert half == pytest.approx(full / 2, abs=1)


def test_the_outline_goes_through_its_rows_and_back():
    x, y = np.array([-3.0, 0.5, 4.0]), np.array([-2.0, 3.0, 8.0])
    np.testing.assert_allclose(SKULL.front(x, y)[:, :2], np.stack([x, y], axis=-1), atol=0.01)
    assert SKULL.half_width(np.array([-2.5]))[0] == pytest.approx(7.4, abs=0.01)
