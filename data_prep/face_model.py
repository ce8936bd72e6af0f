"""Learn a landmark face model from the training clips of a prepared corpus.

    python -m data_prep.face_model --corpus data/mini --out weights/mini/face_model.npz
    python -m data_prep.face_model configs/data/face_model.yaml corpus=data/mead
    python -m data_prep.face_model import --help

So EVP's 3D-aware alignment (Sec. 3.3) runs on anybody, with no licensed model and no download. The
corpus must hold landmarks3d.npy (data_prep.prepare with a detector that gives depth). Only the
split `train` is seen. A published model may be used instead: `import` reads Basel's and
ICT-FaceKit's files (data_prep/face_formats/importer.py).

Depth is the detector's own. It is not refined from the turning of the heads: those of speech clips
turn by 2 degrees, where less depth and more rotation look alike.

Identity modes are what differs between people's mean faces, expression modes what a person's face
does about its own mean (EVP supplement Sec. 1.2 has both from scans and blendshapes). Frames of a
person are aligned on the rigid points alone, since speech and emotion move the others; people are
aligned on all points.

Next: python -m data_prep.pose.

Letters: n frames of a person, S people (their mirror images included), N = 68 points, K identity
and E expression modes. Unit: outer-eye distances.
"""

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from affekt.arrays import Array
from affekt.media.corpus import Clip, Corpus, by_speaker
from affekt.media.face3d.model import (
    OUTER_EYES,
    FaceModel,
    canonical,
    save_face_model,
    without_similarity,
)
from affekt.media.faces import geometry, points
from affekt.runtime.command import config_from_argv, user_errors
from data_prep.face_formats import importer as face_import

log = logging.getLogger(__name__)


IMPORT = "import"  # the subcommand
ALIGNMENTS = 4  # of the frames to their mean, which then changes less than 1e-4
LEAST_SHARE = 0.02  # of the largest standard deviation; smaller modes are noise of few people
RANGE_GROWTH = 1.25  # the range of an expression against the extremes that were seen
RANGE_SHARE = 1e-3  # of the frames at each end that do not count as seen


@dataclass(frozen=True)
class ModesConfig:
    """Number of modes of a learned model."""

    identity_modes: int = 50  # at most; there are at most as many as people
    expression_modes: int = 20
    mirror: bool = True  # every face also counts mirrored, so that the model is symmetric
    # Smooth warps of the mean as further identity modes, for people unlike the few in the corpus:
    # root mean square of a point's shift by one standard deviation, outer-eye distances. 0: none.
    warp_std: float = 0.01

    def __post_init__(self) -> None:
        if min(self.identity_modes, self.warp_std) < 0 or self.expression_modes < 1:
            raise ValueError(
                f"{self}: counts and warp_std are 0 or more, expression modes 1 or more"
            )


@dataclass(frozen=True)
class Config:
    """Corpus and settings of a learned model."""

    corpus: Path  # a prepared corpus
    out: Path  # the .npz to write
    modes: ModesConfig = field(default_factory=ModesConfig)
    frames_per_speaker: int = 3000  # at most, evenly spread over the speaker's clips
    speakers: int = 2000  # at most, chosen by the seed; in LRW every clip is one
    # Of all speakers together, at most: where there are more, each speaker gives fewer. A frame
    # takes 10 kB of memory; MEAD's 48 speakers of 3000 frames are below.
    frames: int = 150_000
    seed: int = 0
    progress: bool = True

    def __post_init__(self) -> None:
        least = {"frames_per_speaker": 2, "speakers": 1, "frames": 2 * self.speakers}
        for key, value in least.items():
            if getattr(self, key) < value:
                raise ValueError(f"{key} is {getattr(self, key)}, wanted {value} or more")


def learn(config: Config) -> FaceModel:
    """Learn the model of a corpus and write it.

    Raises:
        FileNotFoundError: no prepared corpus.
        ValueError: no training clip with depth can be read.
    """
    corpus = Corpus(config.corpus)
    people, most = sample(by_speaker(corpus.clips(split="train")), config)
    total = sum(map(len, people.values()))
    with tqdm(desc="faces", total=total, unit="clip", disable=not config.progress) as bar:
        faces = {speaker: _frames(clips, most, bar.update) for speaker, clips in people.items()}
    faces = {speaker: frames for speaker, frames in faces.items() if len(frames) > 1}
    if not faces:
        raise ValueError(
            f"{config.corpus} has no training clip with landmarks3d.npy; prepare it with a "
            "detector that gives depth (mediapipe), or import a face model"
        )
    count = sum(map(len, faces.values()))
    name = f"learned from {corpus.root.name}: {len(faces)} speakers, {count} frames"
    model = learn_face_model(faces, config.modes, name)
    save_face_model(model, config.out)
    return model


def sample(
    people: Mapping[str, Sequence[Clip]], config: Config
) -> tuple[dict[str, Sequence[Clip]], int]:
    """Return who is learned from, each with the clips, and how many frames of each at most.

    Everybody, and `frames_per_speaker`, where that is within `speakers` and `frames`.
    """
    chosen = list(people)
    if len(chosen) > config.speakers:
        rng = np.random.default_rng(config.seed)
        places = rng.choice(len(chosen), config.speakers, replace=False)
        chosen = [chosen[place] for place in sorted(places.tolist())]
    totals = [sum(clip.frames for clip in people[speaker]) for speaker in chosen]
    most = config.frames_per_speaker
    if sum(min(total, most) for total in totals) > config.frames:
        most = min(most, config.frames // len(chosen))
    return {speaker: people[speaker] for speaker in chosen}, most


def _frames(clips: Sequence[Clip], most: int, done: Callable[[], object]) -> Array:
    """Return frames (n, 68, 3) of a speaker; a clip that cannot be read gives a warning."""
    total = sum(clip.frames for clip in clips)
    step = max(1, -(-total // most))
    frames = []
    for clip in clips:
        try:
            frames.append(clip.landmarks3d()[::step])
        except (OSError, ValueError) as error:
            log.warning("clip %s is left out: %s", clip.id, error)
        done()
    if not frames:
        return np.zeros((0, 68, 3))
    together = np.concatenate(frames)
    # Of clips shorter than the step there are too many
    return together[:: max(1, -(-len(together) // most))]


def learn_face_model(
    faces: Mapping[str, Array], config: ModesConfig | None = None, name: str = "learned"
) -> FaceModel:
    """Return the model of people's frames, a mapping from each to landmarks (n, 68, 3) in pixels.

    Raises:
        ValueError: nobody, or somebody with fewer than 2 frames.
    """
    config = config or ModesConfig()
    if not faces or min(map(len, faces.values())) < 2:
        raise ValueError("a face model needs at least one person with 2 frames or more")
    people = [aligned_frames(frames) for frames in faces.values()]
    if config.mirror:
        people += [_mirrored(frames) for frames in people]
    means = _aligned_people(np.stack([frames.mean(axis=0) for frames in people]))
    mean = means.mean(axis=0)
    identity, identity_std = _identity_modes(means, config)
    for frames in people:
        frames -= frames.mean(axis=0)
    moves = [frames.reshape(len(frames), -1) for frames in people]
    expression, expression_std, expression_range = _expression_modes(moves, config.expression_modes)
    return canonical(
        FaceModel(mean, identity, expression, identity_std, expression_std, expression_range, name)
    )


def aligned_frames(frames: Array) -> Array:
    """Return a person's frames (n, 68, 3) turned to the front and onto their mean's rigid points.

    Generalised Procrustes analysis on points.RIGID, begun at the template of a frontal face; in
    outer-eye distances of the mean.
    """
    rigid = list(points.RIGID)
    target = geometry.RIGID_TEMPLATE
    frames = np.asarray(frames, float)
    for _ in range(ALIGNMENTS):
        frames = geometry.apply(geometry.similarity(frames[:, rigid], target), frames)
        mean = frames.mean(axis=0)
        frames /= np.linalg.norm(mean[OUTER_EYES[0]] - mean[OUTER_EYES[1]])
        target = frames.mean(axis=0)[rigid]
    return frames


def _mirrored(frames: Array) -> Array:
    return frames[:, points.FLIP] * np.array([-1.0, 1.0, 1.0])


def _aligned_people(means: Array) -> Array:
    """Return mean faces (S, 68, 3) aligned to each other on all points, at the same mean size."""
    unit = np.linalg.norm(means - means.mean(axis=1, keepdims=True), axis=(1, 2)).mean()
    for _ in range(ALIGNMENTS):
        target = means.mean(axis=0)
        means = geometry.apply(geometry.similarity(means, target), means)
        size = np.linalg.norm(means.mean(axis=0) - means.mean(axis=(0, 1)))
        means = means * (unit / size)
    return means


def _identity_modes(means: Array, config: ModesConfig) -> tuple[Array, Array]:
    """Return modes (K, 68, 3) of unit root mean square shift a point, and their deviations (K,)."""
    mean = means.mean(axis=0)
    apart = without_similarity(means - mean, mean).reshape(len(means), -1)
    modes, deviations = _principal(apart, len(means) - 1, config.identity_modes)
    if config.warp_std:
        warps = without_similarity(_warps(mean), mean).reshape(-1, mean.size)
        warps -= warps @ modes.T @ modes / mean.shape[0]
        new, _ = _principal(warps, 1, len(warps))
        modes = np.concatenate([modes, new])
        deviations = np.append(deviations, np.full(len(new), config.warp_std))
    return modes.reshape(-1, *mean.shape), deviations


def _expression_modes(moves: list[Array], count: int) -> tuple[Array, Array, Array]:
    """Return modes (E, 68, 3), deviations (E,) and ranges (E, 2); every person weighs the same."""
    counts = [len(own) for own in moves]
    weighted = np.concatenate(moves)
    weighted *= np.repeat([np.sqrt(counts[0] / n) for n in counts], counts)[:, None]
    modes, deviations = _principal(weighted, len(weighted) - 1, count)
    N = modes.shape[1] // 3
    seen = np.concatenate([own @ modes.T for own in moves]) / N
    extremes = np.quantile(seen, [RANGE_SHARE, 1 - RANGE_SHARE], axis=0)
    return modes.reshape(-1, N, 3), deviations, RANGE_GROWTH * extremes.T


def _principal(rows: Array, freedom: int, count: int) -> tuple[Array, Array]:
    """Return principal directions of rows (n, 3N) about 0, scaled to unit shift, and deviations."""
    N = rows.shape[1] // 3
    if len(rows) > 2 * rows.shape[1]:  # the same, without the left vectors of all frames
        rows = np.asarray(np.linalg.qr(rows, mode="r"))
    _, singular, directions = np.linalg.svd(rows, full_matrices=False)
    deviations = singular / np.sqrt(max(freedom, 1) * N)
    real = deviations > max(LEAST_SHARE * deviations.max(initial=0), 1e-9)
    count = min(count, int(real.sum()))
    return directions[:count] * np.sqrt(N), deviations[:count]


def _warps(mean: Array) -> Array:
    """Return smooth, symmetric warps of the mean: coordinates shifted by products of coordinates.

    All of first and second degree, (27, 68, 3), each averaged with its mirror image.
    """
    centred = mean - mean.mean(axis=0)
    x, y, z = centred.T
    fields = np.stack([x, y, z, x * x, x * y, x * z, y * y, y * z, z * z])
    warps = np.einsum("fn,de->fdne", fields, np.eye(3)).reshape(-1, len(mean), 3)
    return (warps + _mirrored(warps)) / 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 0 if a model was written."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == [IMPORT]:
        return face_import.main(arguments[1:])
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    flags = {"corpus": "a prepared corpus", "out": "the .npz file to write"}
    config = config_from_argv(Config, __doc__, arguments, flags)
    with user_errors():
        model = learn(config)
    print(f"{config.out}: {model.name}")
    K, E = len(model.identity), len(model.expression)
    print(f"{K} identity modes, {E} expression modes; standard deviations in outer-eye distances:")
    print(f"  identity    {np.array2string(model.identity_std, precision=3, threshold=6)}")
    print(f"  expression  {np.array2string(model.expression_std, precision=3, threshold=6)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
