"""Measure which of a FOMM's keypoints move with emotion and not with speech (EAMM's "face-related"
ones), and choose those that the displacement network moves.

    python -m eamm.displacement.keypoint_choice --fomm runs/eamm/fomm --corpus data/mead_eamm
    python -m eamm.displacement.keypoint_choice --fomm runs/demo/eamm/fomm \\
        --corpus data/mini_eamm --count 5

Keypoints are unsupervised: each of them follows another part of the face in every trained FOMM. The
paper moves three of ten, the release four (1, 4, 6, 8) of its own weights. Here it is measured on
the training clips, speaker by speaker:

1. In the neutral clips each of a keypoint's six numbers (x, y and the jacobian, in the crop of
   profile eamm) is regressed on the shape of the mouth (opening and width of the aligned landmarks)
   and on A2FD's pose input (eamm/pose.py), together. `speech` and `pose` are the
   standard deviations of the two parts.
2. In the emotional clips the same regression is taken off, so that an emotion's wider or wilder
   mouth and its pose do not count. What is left, averaged over the clips of an emotion, is where
   that emotion holds the keypoint; `emotion` is the root mean square over emotions, less what such
   means differ by without any emotion, estimated on the speaker's neutral clips.

A keypoint's numbers become one length in crop units (the crop is 2 wide): its position, and its
jacobian times REACH, the distance at which the jacobian's motion is looked at; speakers are joined
by their root mean square. `selectivity` = emotion / (emotion + speech); `score` = emotion *
selectivity. Chosen are the keypoints of the highest scores among those of enough selectivity, since
what speech moves must stay with A2FD, and of a tenth of the best score at least. Pose does not
count against a keypoint: all of them follow it, and A2FD gets it as an input.

Writes face_keypoints.json into the FOMM's run.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from affekt.arrays import Array
from affekt.media.corpus import Clip, Corpus
from affekt.media.emotions import NEUTRAL
from affekt.media.faces.points import MOUTH_CORNERS, mouth_opening
from affekt.nets.fingerprint import fingerprint
from affekt.runtime.command import CommandParser, add_device, user_errors
from affekt.runtime.config import ConfigError
from affekt.runtime.devices import pick_device
from affekt.runtime.files import read_json, write_json
from eamm.a2fd.data import neutral_clips
from eamm.a2fd.teacher import teacher_keypoints
from eamm.displacement.data import emotional_clips
from eamm.fomm.keypoints import KeypointDetector
from eamm.fomm.model import Fomm, load_fomm
from eamm.pose import release_pose

FILE = "face_keypoints.json"
REACH = 0.1  # crop units; the deviation of FOMM's Gaussian around a keypoint
LEAST_SCORE = 0.1  # of the best one
SELECTIVITY = 2 / 3  # emotion moves a chosen keypoint twice as far as speech, at least
MOUTH_NUMBERS = 2  # opening and width come first among what keypoints are regressed on
TINY = 1e-9  # keeps what never changes from being divided by 0


@dataclass(frozen=True)
class Track:
    """A clip's keypoints and the regressors that may explain them."""

    speaker: str
    emotion: str
    numbers: Array  # (T, K, 6): x, y, J00, J01, J10, J11
    causes: Array  # (T, 2 + 6): mouth opening and width, then the pose


@dataclass(frozen=True)
class Response:
    """How far a keypoint moves, crop units, and why."""

    index: int
    emotion: float
    speech: float
    pose: float

    @property
    def selectivity(self) -> float:
        """Share of the emotion, 0 to 1."""
        total = self.emotion + self.speech
        return self.emotion / total if total else 0.0

    @property
    def score(self) -> float:
        """What keypoints are chosen by, crop units."""
        return self.emotion * self.selectivity


def measure_track(fomm: Fomm, clip: Clip, stride: int = 1) -> Track:
    """Return every `stride`-th frame's keypoints of a clip, with its mouth and pose."""
    frames = np.asarray(clip.store()[0 : clip.frames])[::stride]
    (value, jacobian), _ = teacher_keypoints(fomm, frames)
    numbers = np.concatenate([value.cpu().numpy(), jacobian.flatten(2).cpu().numpy()], axis=2)
    face = clip.aligned("2d")[::stride]
    left, right = (face[:, corner] for corner in MOUTH_CORNERS)
    mouth = np.stack([mouth_opening(face), np.linalg.norm(right - left, axis=1)], axis=1)
    causes = np.concatenate([mouth, release_pose(clip)[::stride]], axis=1)
    return Track(clip.speaker, clip.emotion, numbers, causes)


def responses(tracks: Sequence[Track]) -> list[Response]:
    """Return each keypoint's responses, see the module's docstring.

    Raises:
        ValueError: no speaker has both neutral and emotional clips.
    """
    people: dict[str, list[Track]] = {}
    for track in tracks:
        people.setdefault(track.speaker, []).append(track)
    each = [_speaker_squares(own) for _, own in sorted(people.items())]
    found = [squares for squares in each if squares is not None]
    if not found:
        raise ValueError("no speaker has both neutral and emotional clips: nothing to measure")
    weights = np.array([1, 1, *(REACH**2,) * 4])
    squares = (np.mean([each[part] for each in found], 0) * weights for part in range(3))
    lengths = [np.sqrt(np.maximum(part, 0.0).sum(axis=1)).tolist() for part in squares]
    return [Response(index, *row) for index, row in enumerate(zip(*lengths, strict=True))]


def choose(
    found: Sequence[Response], count: int, selectivity: float = SELECTIVITY
) -> tuple[int, ...]:
    """Return the indices of at most `count` keypoints, by falling score.

    Raises:
        ValueError: none is wanted, or none is selective enough; the message shows the best.
    """
    if count < 1:
        raise ValueError(f"--count is {count}, wanted 1 or more")
    able = [each for each in found if each.selectivity >= selectivity and each.score > 0]
    able = [each for each in able if each.score >= LEAST_SCORE * max(one.score for one in able)]
    if not able:
        best = max(found, key=lambda each: each.selectivity)
        raise ValueError(
            f"no keypoint moves with emotion and leaves speech alone: the most selective is "
            f"{best.index} with {best.selectivity:.2f}, wanted {selectivity:.2f}; train FOMM "
            "longer, or lower --selectivity"
        )
    ranked = sorted(able, key=lambda each: -each.score)
    return tuple(each.index for each in ranked[:count])


def read_choice(path: Path, detector: KeypointDetector) -> tuple[int, ...]:
    """Return the chosen indices of a file that this module wrote.

    Raises:
        FileNotFoundError: not measured yet; the message names the command.
        ConfigError: it was measured with another detector.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing; run python -m eamm.displacement.keypoint_choice "
            "--fomm RUN --corpus CORPUS"
        )
    record = read_json(path)
    ours = fingerprint(detector)
    if record["detector"] != ours:
        raise ConfigError(
            f"{path} was measured with the detector {record['detector']}, this FOMM's is {ours}: "
            "keypoints mean nothing to another one; "
            "run python -m eamm.displacement.keypoint_choice anew"
        )
    if "keypoint_ids" not in record:
        raise ConfigError(
            f"{path} is of an earlier version; run python -m eamm.displacement.keypoint_choice anew"
        )
    return tuple(int(index) for index in record["keypoint_ids"])


def measure(fomm: Fomm, corpus: Corpus, stride: int = 1) -> list[Response]:
    """Return the responses of a FOMM's keypoints on a corpus's training clips.

    Raises:
        ValueError: no frame would be looked at, or the corpus cannot be measured on.
    """
    if stride < 1:
        raise ValueError(f"--stride is {stride}, wanted 1 or more")
    clips = emotional_clips(corpus, "train", neutral_too=True)
    neutral_clips(clips, clips)  # raises where a speaker has none
    bar = tqdm(clips, "face keypoints", unit="clip", disable=None)
    return responses([measure_track(fomm, clip, stride) for clip in bar])


def _speaker_squares(tracks: Sequence[Track]) -> tuple[Array, Array, Array] | None:
    """Return a speaker's squared responses (K, 6) to emotion, speech and pose; None without clips.

    The emotion's is a mean over emotions of squared means, less what chance alone would give: the
    variance of a neutral clip's mean, once for the emotion's clips and once for the neutral level
    that they are compared with. It may be below 0 where there is no response.
    """
    neutral = [track for track in tracks if track.emotion == NEUTRAL]
    emotions = sorted({track.emotion for track in tracks} - {NEUTRAL})
    if not neutral or not emotions:
        return None
    # Linear regression of a neutral clip's keypoints on mouth shape and head pose
    causes = np.concatenate([track.causes for track in neutral])
    numbers = np.concatenate([track.numbers for track in neutral])
    K = numbers.shape[1]
    centre, level = causes.mean(0), numbers.mean(0)
    unit = np.maximum(causes.std(0), TINY)
    standard = (causes - centre) / unit
    slopes = np.linalg.lstsq(standard, (numbers - level).reshape(-1, 6 * K), rcond=1e-6)[0]
    # Variance explained by speech and by pose
    speech = (standard[:, :MOUTH_NUMBERS] @ slopes[:MOUTH_NUMBERS]).var(0)
    pose = (standard[:, MOUTH_NUMBERS:] @ slopes[MOUTH_NUMBERS:]).var(0)

    def residual(track: Track) -> Array:
        explained = ((track.causes - centre) / unit @ slopes).reshape(-1, K, 6)
        return (track.numbers - level - explained).mean(0)

    # Squared mean residual of each emotion, less what chance alone gives
    n = len(neutral)
    variance = np.square([residual(track) for track in neutral]).sum(axis=0) / max(n - 1, 1)
    squares = []
    for emotion in emotions:
        clips = [residual(track) for track in tracks if track.emotion == emotion]
        chance = variance * (1 / len(clips) + 1 / n)
        squares.append(np.square(np.mean(clips, axis=0)) - chance)
    return np.mean(squares, axis=0), speech.reshape(K, 6), pose.reshape(K, 6)


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = CommandParser(__doc__)
    add = parser.add_argument
    add("--fomm", type=Path, required=True, help="a run of train_fomm.py, or imported weights")
    add("--corpus", type=Path, required=True, help="prepared with profile eamm, with poses")
    add("--out", type=Path, help="folder to write into; default: the FOMM's")
    add("--count", type=int, default=4, help="keypoints chosen, at most; paper 3, release 4")
    text = "least share of emotion against speech"
    add("--selectivity", type=float, default=SELECTIVITY, help=text)
    add("--stride", type=int, default=4, help="look at every so many frames")
    add_device(parser)
    args = parser.parse_args(argv)
    with user_errors():
        fomm = load_fomm(args.fomm, pick_device(args.device))
        found = measure(fomm, Corpus(args.corpus), args.stride)
        chosen = choose(found, args.count, args.selectivity)
    rows = [asdict(each) | {"selectivity": each.selectivity, "score": each.score} for each in found]
    record = {
        "fomm": str(args.fomm),
        "corpus": str(args.corpus),
        "detector": fingerprint(fomm.detector),
        "keypoint_ids": list(chosen),
        "keypoints": rows,
    }
    write_json((args.out or args.fomm) / FILE, record)


if __name__ == "__main__":
    main()
