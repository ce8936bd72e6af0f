"""Learn a landmark face model from the training clips of a prepared corpus.

    python -m data_prep.face_model --corpus data/mini --out weights/mini/face_model.npz
    python -m data_prep.face_model configs/data/face_model.yaml corpus=data/mead
    python -m data_prep.face_model import --help

So EVP's 3D-aware alignment (Sec. 3.3) runs on anybody, with no licensed model and no download. The
corpus must hold landmarks3d.npy (data_prep.prepare with a detector that gives depth). Only the
split `train` is seen. A published model may be used instead: `import` reads Basel's, Surrey's,
3DDFA's and ICT-FaceKit's files (data_prep/face_formats/importer.py).

Depth is the detector's own. It is not refined from the turning of the heads: those of speech clips
turn by 2 degrees, where less depth and more rotation look alike.

Next: python -m data_prep.pose.
"""

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from affekt.arrays import Array
from affekt.media.corpus import Clip, Corpus
from affekt.media.face3d.model import FaceModel, save_face_model
from affekt.runtime.command import config_or_flags, user_errors
from data_prep.face_formats import importer as face_import
from data_prep.face_formats.learned import ModesConfig, learn_face_model

log = logging.getLogger(__name__)


IMPORT = "import"  # the subcommand


@dataclass(frozen=True)
class Config:
    """Corpus and settings of a learned model."""

    corpus: Path  # a prepared corpus
    out: Path  # the .npz to write
    modes: ModesConfig = field(default_factory=ModesConfig)
    frames_per_speaker: int = 3000  # at most, evenly spread over the speaker's clips
    progress: bool = True

    def __post_init__(self) -> None:
        if self.frames_per_speaker < 2:
            raise ValueError(f"frames_per_speaker is {self.frames_per_speaker}, wanted 2 or more")


def learn(config: Config) -> FaceModel:
    """Learn the model of a corpus and write it.

    Raises:
        FileNotFoundError: no prepared corpus.
        ValueError: no training clip with depth can be read.
    """
    corpus = Corpus(config.corpus)
    clips = corpus.clips(split="train")
    faces = {
        speaker: _frames([clip for clip in clips if clip.speaker == speaker], config)
        for speaker in sorted({clip.speaker for clip in clips})
    }
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


def _frames(clips: Sequence[Clip], config: Config) -> Array:
    """Return frames (n, 68, 3) of a speaker; a clip that cannot be read gives a warning."""
    total = sum(clip.frames for clip in clips)
    step = max(1, -(-total // config.frames_per_speaker))
    label = clips[0].speaker
    frames = []
    for clip in tqdm(clips, f"faces of {label}", unit="clip", disable=not config.progress):
        try:
            frames.append(clip.landmarks3d()[::step])
        except (OSError, ValueError) as error:
            log.warning("clip %s is left out: %s", clip.id, error)
    return np.concatenate(frames) if frames else np.zeros((0, 68, 3))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 0 if a model was written."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == [IMPORT]:
        return face_import.main(arguments[1:])
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    flags = {"corpus": "a prepared corpus", "out": "the .npz file to write"}
    config = config_or_flags(Config, __doc__, flags, arguments)
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
