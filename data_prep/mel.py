"""Compute the log-mel of every clip of a prepared corpus: mel.npy.

    python -m data_prep.mel data/mini
    python -m data_prep.mel data/mead --workers 8
    python -m data_prep.mel data/mead --workers 8 --shard 3/16

What emospace's audio encoder and its expression network read (affekt/media/audio/mel.py): of a clip
of T frames (1 + floor(3.2 T), 80) float32, 80 rows a second, 1.5 MB a minute. Beside it mel.json
holds the settings, size and SHA-256; <corpus>/mel.json the settings, the number of clips that have
a log-mel, and those that failed. A second run makes only what is missing or was made with other
settings. With --shard i/n (docs/scale.md) only the share i, from 0, of the clips is worked on; the
same command without it counts, once all shares are done. A clip whose sound cannot be read is
reported and does not stop the others.

About 6 ms a clip of 3 s on one core, beside the reading. Needs a prepared corpus, of pictures or of
sound alone.
"""

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from affekt.arrays import Array
from affekt.media.audio import mel
from affekt.media.constants import SAMPLE_RATE, SAMPLES_PER_FRAME
from affekt.media.corpus import Clip, Corpus
from affekt.media.integrity import MEL, PREPARE, Row, write_sealed
from affekt.runtime.command import CommandParser, user_errors
from data_prep.clips.artefact import Artefact, Results, make_missing
from data_prep.clips.shards import in_shard, parse_shard

ARTEFACT = Artefact("log-mel", "mel.npy", MEL)
SETTINGS: Row = {
    "version": 1,  # raised when the same settings give other numbers
    "sample_rate": SAMPLE_RATE,
    "n_fft": mel.WINDOW,
    "hop": mel.HOP,
    "bins": mel.BINS,
    "hertz": [mel.LOWEST, mel.HIGHEST],
    "floor": mel.FLOOR,
}


@dataclass(frozen=True)
class Config:
    """Corpus and processes."""

    corpus: Path  # a prepared corpus
    workers: int = 0  # processes; 0: this one
    shard: str = ""  # i/n: the share i, from 0, of n; empty: all
    progress: bool = True

    def __post_init__(self) -> None:
        parse_shard(self.shard)


def make_mel(config: Config) -> Results:
    """Write what is missing of a corpus' log-mel, and its mel.json if it is no share of them.

    Raises:
        FileNotFoundError: no prepared corpus.
        OSError: the disk is full.
    """
    shard = parse_shard(config.shard)
    clips = [clip for clip in Corpus(config.corpus).clips() if in_shard(clip.id, shard)]
    origins: dict[str, Row] = {clip.id: {"settings": SETTINGS} for clip in clips}
    found = make_missing(ARTEFACT, clips, origins, clip_mel, config.workers, config.progress)
    if shard is None:
        counts = {"clips": len(found.records), "failed": found.failed}
        write_sealed(config.corpus / MEL, {"settings": SETTINGS} | counts)
    return found


def clip_mel(clip: Clip) -> tuple[Array, Row]:
    """Return a clip's log-mel (1 + floor(3.2 T), 80), and nothing else for its record.

    Raises:
        FileNotFoundError, ValueError: no sound, a damaged one, or one of another length.
    """
    samples, wanted = clip.audio(), SAMPLES_PER_FRAME * clip.frames
    if len(samples) != wanted:
        path = clip.folder / "audio.wav"
        raise ValueError(f"{path} has {len(samples)} samples, wanted {wanted}; {PREPARE}")
    return mel.log_mel(samples), {}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 0 if every clip has a log-mel, else 1."""
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(name)s: %(message)s")
    parser = CommandParser(__doc__)
    parser.add_argument("corpus", type=Path, help="a prepared corpus, data/<name>")
    text = "processes (default: this one)"
    parser.add_argument("--workers", type=int, default=0, help=text)
    text = "work on the share I of N of the clips alone"
    parser.add_argument("--shard", metavar="I/N", default="", help=text)
    with user_errors():
        config = Config(**vars(parser.parse_args(argv)))
        found = make_mel(config)
    print(f"{config.corpus}: " + "\n".join(found.lines("a log-mel")))
    return 1 if found.failed else 0


if __name__ == "__main__":
    sys.exit(main())
