"""A made-up prepared corpus with all that emospace reads, in which emotion is seen and heard.

Letters: T frames, E expression modes, K identity modes.
"""

from unittest import mock

import cv2
import numpy as np

from affekt.media.audio.mel import BINS, FLOOR, ROWS_PER_SECOND, mel_rows
from affekt.media.constants import FRAME_RATE
from affekt.media.emotions import EMOTIONS
from affekt.media.face3d.coefficients import IDENTITIES, MODEL
from affekt.media.face3d.model import FaceModel, project, save_face_model
from affekt.media.integrity import EXPRESSION, MEL, described, write_sealed
from affekt.runtime.files import save_npy, sha256
from tests.corpora.made_up_faces import head, made_up_model
from tests.corpora.prepared import write_clip, write_corpus

K = 4
MOUTH_MODE = 0
LEVEL_STRENGTH = {1: 0.45, 2: 0.75, 3: 1.0}
# Standard deviations of modes 1 to 5 (brows up, corners up, inner brows up, lids open, nostrils up)
FACES = {
    "angry": (-1.5, -0.4, -1.2, 0.5, 0.3),
    "contempt": (0.6, 0.5, -0.3, -0.9, 0.5),
    "disgusted": (-0.8, -0.8, -0.4, -1.0, 1.6),
    "fear": (0.7, -0.6, 1.5, 1.2, 0.0),
    "happy": (0.5, 1.6, 0.2, -0.7, 0.4),
    "neutral": (0.0, 0.0, 0.0, 0.0, 0.0),
    "sad": (-0.3, -1.4, 1.2, -0.5, -0.2),
    "surprised": (1.7, 0.2, 0.9, 1.4, -0.2),
}
JAW = (*range(5, 12), *range(55, 60), 65, 66, 67)  # what an opening mouth moves down
MOVES = (  # points of a mode and their shift by one standard deviation, outer-eye distances
    (JAW, (0.0, 0.09, 0.0)),
    (tuple(range(17, 27)), (0.0, -0.06, 0.0)),
    ((48, 54, 60, 64), (0.0, -0.06, 0.02)),
    ((20, 21, 22, 23), (0.0, -0.06, 0.0)),
    ((37, 38, 43, 44), (0.0, -0.025, 0.0)),
    ((31, 32, 33, 34, 35), (0.0, -0.03, 0.0)),
)
MOUTH_BINS, FIRST_EMOTION_BIN, BINS_APART = 26, 33, 6  # of the mel


def make_emotion_corpus(
    root,
    speakers=6,
    held_out=2,
    frames=25,
    emotions=("angry", "happy", "neutral"),
    levels=(1, 3),
    modes=6,
    size=32,
):
    """Write a prepared corpus of profile eamm and return it opened (affekt.media.corpus.Corpus).

    Speakers M901, M902, ..., the last `held_out` of them split test_speaker. Each says sentences
    001, 002 (train) and 003 (test_sentence) in every emotion and level, neutral at level 1 alone;
    ids are M901_happy_3_002. Every clip has `frames` frames T and holds

        stored frames     (T, size, size, 3) uint8: a face of its speaker's shape, skin and room,
                          drawn through the landmarks; cheeks are coloured by modes 1 to 3
        landmarks.npy     (T, 68, 2), pixels of the stored frames (the crop is the identity)
        mel.npy           (1 + floor(3.2 T), 80): the lowest 26 bins follow the mouth of the moment,
                          6 bins a class above them rise with emotion and level, in a part of the
                          clip more than in others; a tilt by speaker and noise over all
        pose.npy          (T, 6), what expression.npy begins with
        expression.npy    (T, 6 + modes): mode 0 opens the mouth (0 to about 2.4), modes 1 to 5 are
                          FACES[emotion] times LEVEL_STRENGTH[level], a little noise on all
        mel.json, expression.json, sealed

    and the corpus identities.npz, expression_model.npz (a FaceModel of K = 4, E = modes, standard
    deviations 1, whose projection under the clip's coefficients is landmarks.npy to .01 px) and
    expression.json. corpus.json lists `emotions` as the classes, in the order of EMOTIONS.
    """
    rng = np.random.default_rng(0)
    model = emotion_model(modes)
    identities = rng.normal(size=(speakers, K)) * 0.7
    names = [f"M{901 + s}" for s in range(speakers)]
    rows = []
    with mock.patch("affekt.runtime.files._flush"):  # 2,000 small files: no need to wait for a disk
        save_face_model(model, root / MODEL)
        digest = sha256(root / MODEL)
        for s, name in enumerate(names):
            looks = {"skin": rng.uniform(130, 230, 3), "room": rng.uniform(40, 200, 3)}
            tilt = np.cos(np.linspace(0, np.pi, BINS) * rng.uniform(0.5, 3)) * rng.normal(0, 0.8)
            for emotion, level, number in _cast(emotions, levels):
                split = "train" if number < 3 else "test_sentence"
                split = "test_speaker" if s >= speakers - held_out else split
                clip = _performance(rng, frames, emotion, level, modes, size)
                faces = model.shapes(identities[s], clip["expression"])
                landmarks = project(faces, clip["pose"])
                pictures = [
                    draw(points, own, size, **looks)
                    for points, own in zip(landmarks, clip["expression"], strict=True)
                ]
                about = {"emotion": emotion, "level": level, "sentence": f"{number:03d}"}
                arrays = {"landmarks": landmarks, "pose": clip["pose"]}
                row = write_clip(root, name, number, pictures, split, **about, **arrays)
                rows.append(row)
                folder = root / "clips" / name / row["id"]
                _write_artefacts(folder, clip, clip["mel"] + tilt, digest)
        with (root / IDENTITIES).open("wb") as file:
            np.savez(file, speakers=np.array(names), identities=identities)
        about = {"model": model.name, "sha256": digest, "modes": modes}
        about["files"] = described(root, IDENTITIES, MODEL)
        write_sealed(root / EXPRESSION, about)
        classes = [emotion for emotion in EMOTIONS if emotion in emotions]
        return write_corpus(root, rows, emotions=classes, size=size, store="raw")


def emotion_model(modes=6):
    """Return the face model of the corpus: K = 4 identity modes, E = modes."""
    other = made_up_model(K, max(1, modes - len(MOVES)))
    expression = np.zeros((modes, 68, 3))
    for mode, (points, shift) in zip(expression, MOVES, strict=False):
        mode[list(points)] = shift
    expression[len(MOVES) :] = other.expression[: max(0, modes - len(MOVES))]
    limits = np.tile([-3.0, 3.0], (modes, 1))
    ones = np.ones(modes)
    mean = head() - head()[[27, 28, 29, 30, 36, 39, 42, 45]].mean(axis=0)
    return FaceModel(mean, other.identity, expression, np.ones(K), ones, limits, "made up")


def draw(landmarks, expression, size, skin, room):
    """Return the face (size, size, 3) RGB uint8 through landmarks (68, 2), coloured by emotion."""
    frame = np.empty((size, size, 3), np.uint8)
    frame[:] = room
    top = landmarks[:17] * [1, -0.7] + [0, 1.7 * landmarks[0, 1]]
    _fill(frame, np.concatenate([landmarks[:17], top[::-1]]), skin)
    shown = np.zeros(3)
    shown[: len(expression[1:4])] = np.tanh(expression[1:4])
    for outer, corner in ((1, 48), (15, 54)):
        middle = (landmarks[outer] + landmarks[corner]) / 2
        around = middle + 0.07 * size * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
        _fill(frame, around, np.clip(skin + 70 * shown, 0, 255))
    for eye in (landmarks[36:42], landmarks[42:48]):
        _fill(frame, eye, (250, 250, 250))
    _fill(frame, landmarks[48:60], (170, 60, 60))
    _fill(frame, landmarks[60:68], (50, 10, 20))
    for brow in (landmarks[17:22], landmarks[22:27]):
        line = np.rint(brow * 16).astype(np.int32)
        cv2.polylines(frame, [line], False, (40, 20, 10), max(1, size // 24), cv2.LINE_AA, shift=4)
    return frame


def _cast(emotions, levels):
    for emotion in emotions:
        for level in (1,) if emotion == "neutral" else levels:
            for number in (1, 2, 3):
                yield emotion, level, number


def _performance(rng, frames, emotion, level, modes, size):
    """Return a clip's expression (T, E), pose (T, 6) and mel (rows, 80) without its speaker."""
    strength = LEVEL_STRENGTH[level]
    hertz, phase = rng.uniform(1.2, 2.8, 2), rng.uniform(0, 2 * np.pi, 4)

    def mouth(seconds):
        waves = [np.sin(2 * np.pi * h * seconds + p) for h, p in zip(hertz, phase, strict=False)]
        return np.clip(0.5 + 0.35 * sum(waves), 0, 1)

    # The face: mouth, emotion, and a head that turns a little
    time = (np.arange(frames) + 0.5) / FRAME_RATE
    expression = 0.03 * rng.standard_normal((frames, modes))
    expression[:, MOUTH_MODE] += 2.4 * mouth(time)
    shown = np.array(FACES[emotion])[: modes - 1]
    swell = 1 + 0.07 * np.sin(2 * np.pi * 0.6 * time + phase[2])
    expression[:, 1 : 1 + len(shown)] += strength * swell[:, None] * shown
    waves = np.sin(2 * np.pi * 0.4 * time[:, None] + rng.uniform(0, 6, 6))
    pose = waves * [0.04, 0.08, 0.03, 0.01, 0.015 * size, 0.015 * size]
    pose += [0, 0, 0, np.log(0.3 * size), 0.5 * size, 0.42 * size]
    # The sound: mouth below, emotion above, the latter in a part of the clip
    heard = np.arange(mel_rows(frames)) / ROWS_PER_SECOND
    mel = -6 + 0.6 * rng.standard_normal((len(heard), BINS))
    mel[:, :MOUTH_BINS] += 4 * mouth(heard)[:, None]
    if emotion != "neutral":
        centre = FIRST_EMOTION_BIN + BINS_APART * EMOTIONS.index(emotion)
        bump = np.exp(-0.5 * np.square((np.arange(BINS) - centre) / 2))
        marked = 0.4 + 0.6 * (np.sin(2 * np.pi * 0.7 * heard + phase[3]) > 0)
        mel += 3 * strength * marked[:, None] * bump
    return {"expression": expression, "pose": pose, "mel": np.maximum(mel, np.log(FLOOR))}


def _write_artefacts(folder, clip, mel, digest):
    save_npy(folder / "mel.npy", np.maximum(mel, np.log(FLOOR)).astype(np.float32))
    write_sealed(folder / MEL, {"files": described(folder, "mel.npy")})
    both = np.hstack([clip["pose"], clip["expression"]])
    save_npy(folder / "expression.npy", both.astype(np.float32))
    about = {"model": "made up", "sha256": digest, "residual_px": 0.0}
    write_sealed(folder / EXPRESSION, about | {"files": described(folder, "expression.npy")})


def _fill(frame, outline, colour):
    fixed = np.rint(np.asarray(outline) * 16).astype(np.int32)
    cv2.fillPoly(frame, [fixed], [float(value) for value in colour], cv2.LINE_AA, shift=4)
