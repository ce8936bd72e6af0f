"""LSE-C, LSE-D and the lag between lips and sound, by SyncNet; and how well it finds lags.

    python -m affekt.metrics.sync.score runs/demo/metrics/syncnet --corpus data/mini_eamm

The command measures a network on clips that it did not learn from. Each clip's sound is moved by
every lag of -5 ... 5 frames, zeros where nothing is left, and compared is the offset that
`sync_scores` reports. RUN/sync.json holds the metrics; RUN may also be the released file
syncnet_v2.model, then nothing is written.

Chung and Zisserman, "Out of time" (ACCV workshops 2016), as their release computes it
(github.com/joonson/syncnet_python); named LSE by Prajwal et al. (Wav2Lip, arXiv:2008.10010, Sec.
4.2): LSE-D is the release's "Min dist", LSE-C its "Confidence".

25 frames a second, 16 kHz. Every five frames and their 20 MFCC rows are embedded; the
mean distance between pictures and sound is taken at every lag of -15 ... 15 frames; the smallest
is LSE-D, the median minus the smallest is LSE-C.

The release's own habits, kept by default:
* the last window of a clip is left out, so T frames have T - 5 embeddings;
* beyond its ends a clip's sound is embedded as zeros, not left out. Lags far from 0 compare more
  pictures with zeros, in a short clip more than in a long one: the same synchrony gave LSE-C 4.79
  at 20 frames, 5.65 at 40, 6.00 at 70, 6.23 at 120 and 6.46 at 1000, with LSE-D within 0.03.
  So LSE-C compares methods on the same clips, never corpora. `padding=False` counts only windows
  that overlap, which removes this bias and is comparable with no published figure.

What differs: one square for the whole clip, from the landmarks of the true video, in place of
S3FD's tracked boxes. A result is so cut exactly like its truth, whatever its face does.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from affekt.arrays import Array, Image
from affekt.media.audio.mfcc import FRAME_STEP, PADDING, WINDOW_STEP, mfcc
from affekt.media.constants import SAMPLES_PER_FRAME
from affekt.media.corpus import Clip, Corpus
from affekt.media.faces.points import MOUTH
from affekt.metrics.sync.network import WINDOW_FRAMES, WINDOW_ROWS, CropKind, SyncNet, load_syncnet
from affekt.runtime.command import CommandParser, user_errors
from affekt.runtime.devices import pick_device
from affekt.runtime.files import write_json

VSHIFT = 15  # lags on either side, frames, in the release's scripts
EPSILON = 1e-6  # added to every difference by torch's pairwise_distance, which the release uses
FULL_SCALE = 32768  # of 16-bit samples; with floats in [-1, 1] the log energy would be 20.8 less

CROP_SCALE = 0.40  # the release's: the square is 1.4 times the face's box, to the sides and below
BORDER = 110  # grey value outside the picture, the release's
# S3FD's box reaches over the forehead, landmarks begin at the brows: ours, by facial proportions.
BROWS_TO_CHIN = 0.7  # of the box's height
MOUTH_SIDE = 0.8  # ours: side of the mouth's square, in heights from brows to chin
LAGS = 5  # frames on either side by which the command moves the sound
CHUNK = 32  # windows embedded at once; one of full size costs 5 MB in the first layer


class Square(NamedTuple):
    """A square of whole pixels, which may reach outside the picture."""

    left: int
    top: int
    side: int


@dataclass(frozen=True)
class Sync:
    """How well pictures and sound agree."""

    lse_c: float  # confidence: median minus smallest mean distance; higher is better
    lse_d: float  # smallest mean distance; lower is better
    # Frames by which the sound leads the pictures, the release's "AV offset": a sound that is k
    # frames late gives -k.
    offset: int


def sync_scores(video: Array, audio: Array, vshift: int = VSHIFT, padding: bool = True) -> Sync:
    """Return LSE-C, LSE-D and the offset of a clip.

    Args:
        video: embeddings of the pictures, (T, E).
        audio: embeddings of the sound at the same frames, (T, E).
        vshift: lags on either side, frames; changing 15 to 10 changes LSE-C.
        padding: the release's zeros beyond the ends; see the top of this file.

    Raises:
        ValueError: see `lag_distances`.
    """
    distances = lag_distances(video, audio, vshift, padding)
    best = int(np.argmin(distances))
    smallest = float(distances[best])
    return Sync(float(np.median(distances)) - smallest, smallest, vshift - best)


def lag_distances(
    video: Array, audio: Array, vshift: int = VSHIFT, padding: bool = True
) -> NDArray[np.float64]:
    """Return the mean distance at each lag, (2 vshift + 1,): picture i against sound i + lag.

    Raises:
        ValueError: without padding, a clip of no more than `vshift` embeddings, since some lags
            then compare nothing.
    """
    assert video.shape == audio.shape, (video.shape, audio.shape)
    count = len(video)
    if not padding and count <= vshift:
        raise ValueError(
            f"{count} embeddings cannot be compared at lags of {vshift} without padding; "
            f"a clip needs {vshift + WINDOW_FRAMES + 1} frames or more"
        )
    # Zeros at both ends, as in the release
    padded = np.pad(audio.astype(np.float64), ((vshift, vshift), (0, 0)))
    distances = np.empty(2 * vshift + 1)
    for index in range(len(distances)):
        # Euclidean distance at one lag; without padding, over the overlap alone
        difference = video - padded[index : index + count] + EPSILON
        each = np.sqrt(np.einsum("te,te->t", difference, difference))
        lag = index - vshift
        inside = each if padding else each[max(0, -lag) : count - max(0, lag)]
        distances[index] = inside.mean()
    return distances


def embed_clip(
    network: SyncNet, frames: Iterable[Image], landmarks: Array, sound: Array
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the embeddings of a clip's pictures and of its sound, both (T - 5, E).

    T is the smaller of the two lengths, as in the release.

    Args:
        network: in evaluation mode; it works where its weights are.
        frames: (H, W, 3) uint8 RGB, 25 per second.
        landmarks: (T, 68, 2 or 3) of the TRUE video, pixels of the frames; NaN where no face.
        sound: samples in [-1, 1], 16 kHz.

    Raises:
        ValueError: fewer than six frames, no face at all, or a sound that is not finite.
    """
    faces = cut_faces(frames, crop_square(landmarks, network.config.crop), network.config.size)
    length = min(len(faces), len(sound) // SAMPLES_PER_FRAME)
    return embed_video(network, faces[:length]), embed_audio(network, sound, length)


def crop_square(landmarks: Array, kind: CropKind = "face") -> Square:
    """Return the square of a clip, the same for every frame.

    face: as the release cuts S3FD's box, with the box put together from landmarks: half its longer
        side is s, and the square reaches 1.4 s to the left and right of its centre, s above it
        and 1.8 s below. mouth: a square around the mouth. Both from medians over the frames.

    Args:
        landmarks: (T, 68, 2 or 3), pixels; NaN where there is no face.
        kind: which square.

    Raises:
        ValueError: no frame has a face.
    """
    # Median bounding box over the frames with a face
    points = landmarks[np.isfinite(landmarks).all(axis=(1, 2)), :, :2]
    if not len(points):
        raise ValueError("no frame of the true video has a face; there is nothing to cut out")
    bounds = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)
    left, brows, right, chin = np.median(bounds, axis=0)
    # A square around the mouth, or the release's square around S3FD's box
    if kind == "mouth":
        x, y = np.median(points[:, list(MOUTH)].mean(axis=1), axis=0)
        return _square(x, y, MOUTH_SIDE * (chin - brows) / 2)
    top = chin - (chin - brows) / BROWS_TO_CHIN
    half = max(right - left, chin - top) / 2
    return _square((left + right) / 2, (top + chin) / 2 + CROP_SCALE * half, half * 1.4)


def cut_faces(frames: Iterable[Image], square: Square, size: int) -> Image:
    """Return a square of every frame as the network takes it, (T, S, S, 3) uint8 BGR."""
    return np.stack([_cut(frame, square, size) for frame in frames])


def sound_windows(sound: Array, frames: int) -> NDArray[np.float32]:
    """Return the cepstra of the 20 MFCC rows of every five frames, (frames - 4, 13, 20).

    Rows as in the release: of 16-bit samples, column 0 the log energy, and the first row begins
    with the first sample, without the padding that the windows of EVP and EAMM have.

    Args:
        sound: samples in [-1, 1], 16 kHz; zeros follow where it is too short.
        frames: T, at least 5.

    Raises:
        ValueError: fewer than five frames, or samples that are not finite.
    """
    if frames < WINDOW_FRAMES:
        raise ValueError(f"{frames} frames hold no window of {WINDOW_FRAMES}")
    wanted = np.zeros(SAMPLES_PER_FRAME * frames)
    given = np.asarray(sound, np.float64)[: wanted.size]
    wanted[: len(given)] = np.clip(np.rint(given * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1)
    rows = mfcc(wanted)[PADDING // FRAME_STEP :]
    return row_windows(rows.astype(np.float32), frames - WINDOW_FRAMES + 1)


def row_windows(rows: Array, count: int) -> Array:
    """Return `count` windows of 20 of the rows (R, 13), one every four, (count, 13, 20)."""
    return sliding_window_view(rows, WINDOW_ROWS, axis=0)[::WINDOW_STEP][:count]


@torch.no_grad()
def embed_video(network: SyncNet, faces: Image) -> NDArray[np.float32]:
    """Return the embeddings of pictures (T, S, S, 3) uint8 BGR, (T - 5, E)."""
    count = _embeddings_of(len(faces))
    device = next(network.parameters()).device
    pieces = []
    for start in range(0, count, CHUNK):
        stop = min(start + CHUNK, count) + WINDOW_FRAMES - 1
        piece = torch.from_numpy(faces[start:stop]).to(device).permute(3, 0, 1, 2).float()
        pieces.append(network.encode_video(piece[None])[0].cpu())
    return torch.cat(pieces).numpy()


@torch.no_grad()
def embed_audio(network: SyncNet, sound: Array, frames: int) -> NDArray[np.float32]:
    """Return the embeddings of the sound of T frames, (T - 5, E)."""
    windows = torch.from_numpy(sound_windows(sound, frames)[: _embeddings_of(frames)].copy())
    device = next(network.parameters()).device
    pieces = [network.encode_audio(piece.to(device)).cpu() for piece in windows.split(CHUNK)]
    return torch.cat(pieces).numpy()


def delayed(sound: Array, frames: int) -> Array:
    """Return a sound of the same length that is `frames` video frames late; negative: early."""
    shift = SAMPLES_PER_FRAME * frames
    moved = np.zeros_like(sound)
    kept = len(sound) - abs(shift)
    if kept > 0:
        moved[max(0, shift) :][:kept] = sound[max(0, -shift) :][:kept]
    return moved


def clip_syncs(network: SyncNet, clip: Clip, lags: Sequence[int]) -> list[Sync]:
    """Return the scores of a clip with its sound late by each of the lags, in frames."""
    square = crop_square(clip.stored_landmarks(), network.config.crop)
    store = clip.store()
    faces = cut_faces((store[i] for i in range(len(store))), square, network.config.size)
    video, sound = embed_video(network, faces), clip.audio()
    audios = (embed_audio(network, delayed(sound, lag), clip.frames) for lag in lags)
    return [sync_scores(video, audio) for audio in audios]


def lag_metrics(network: SyncNet, clips: Sequence[Clip], reach: int = LAGS) -> dict[str, float]:
    """Return how often a network finds the lag of clips, and its scores without one.

    exact: share of (clip, lag) whose lag is found; within_one: to a frame; worst: the lowest share
    of any lag; clips_exact: share of clips with all lags found; lse_c, lse_d: means without lag.
    The network's mode is kept.
    """
    if not clips:
        raise ValueError("there are no clips to measure")
    lags = range(-reach, reach + 1)
    # Scores of every clip at every lag
    training = network.training
    network.eval()
    syncs = [clip_syncs(network, clip, lags) for clip in clips]
    network.train(training)
    # A clip's lag is found where the offset undoes it
    found = np.array([[-each.offset for each in row] for row in syncs])
    error = np.abs(found - np.array(lags))
    return {
        "exact": float((error == 0).mean()),
        "within_one": float((error <= 1).mean()),
        "worst": float((error == 0).mean(axis=0).min()),
        "clips_exact": float((error == 0).all(axis=1).mean()),
        "lse_c": float(np.mean([row[reach].lse_c for row in syncs])),
        "lse_d": float(np.mean([row[reach].lse_d for row in syncs])),
    }


def main() -> None:
    """Run from the command line."""
    parser = CommandParser(__doc__)
    parser.add_argument(
        "run", type=Path, help="a run of affekt.metrics.sync.train, or syncnet_v2.model"
    )
    parser.add_argument("--corpus", type=Path, required=True, help="a prepared corpus with frames")
    parser.add_argument("--split", default="test_speaker", help="which clips are held out")
    parser.add_argument("--lags", type=int, default=LAGS, help="frames on either side")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    args = parser.parse_args()
    with user_errors():
        network = load_syncnet(args.run, pick_device(args.device))
        clips = Corpus(args.corpus).clips(split=args.split)
        metrics = lag_metrics(network, clips, args.lags)
    if args.run.is_dir():
        about = {"corpus": str(args.corpus), "split": args.split, "lags": args.lags}
        write_json(args.run / "sync.json", {**about, "clips": len(clips), **metrics})
    lines = [f"{name:12} {value:8.4f}" for name, value in metrics.items()]
    print("\n".join([f"{len(clips)} clips, lags to {args.lags} frames", *lines]))  # noqa: T201


def _embeddings_of(frames: int) -> int:
    if frames <= WINDOW_FRAMES:
        raise ValueError(
            f"a clip of {frames} frames with sound is too short; SyncNet needs "
            f"{WINDOW_FRAMES + 1} or more"
        )
    return frames - WINDOW_FRAMES


def _square(x: float, y: float, half: float) -> Square:
    """Return the square of half a side `half` around a point, which is in pixel centres."""
    side = max(1, round(2 * half))
    return Square(round(x + 0.5 - side / 2), round(y + 0.5 - side / 2), side)


def _cut(frame: Image, square: Square, size: int) -> Image:
    left, top, side = square
    height, width = frame.shape[:2]
    x0, x1 = np.clip((left, left + side), 0, width)
    y0, y1 = np.clip((top, top + side), 0, height)
    part = np.full((side, side, 3), BORDER, np.uint8)
    part[y0 - top : y1 - top, x0 - left : x1 - left] = frame[y0:y1, x0:x1]
    face = cv2.resize(part, (size, size), interpolation=cv2.INTER_LINEAR)
    return face[:, :, ::-1].astype(np.uint8, copy=False)


if __name__ == "__main__":
    main()
