"""Sequential renderers with and without the video discriminator, by seed (EVP Sec. 3.3).

    python -m affekt.showcase.temporal_figures runs/demo/full/temporal \\
        --corpora data/mini data/mini_lively

Needs the runs with_<seed> (D_V on flow residuals), without_<seed> and frames_<seed> (D_V on frames,
the paper's form) there, and renders every held-out clip from its own landmarks. Writes into RUNS
video.mp4 and slices.png (one column of pixels over time) of one clip, first seed, and figures.json:

    by video    of each run, of softened_<seed> (without D_V, blurred until as sharp as with it,
                since blur too is steady), of a frozen frame and the truth; means over clips:
                warp_error (affekt/metrics/temporal.py, stored flow, a share), ssim, psnr,
                sharpness (the same file; 1 = the truth's)
    over seeds  the largest warp_ratio (with / without D_V), warp_ratio_softened (with / softened),
                warp_ratio_frames (the paper's form / without), ssim_change (with - without, size)
                and warp_error_with
"""

import math
import operator
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from affekt.arrays import Image
from affekt.media.constants import SAMPLES_PER_FRAME
from affekt.media.corpus import Clip
from affekt.media.plots import labelled_row, write_png
from affekt.media.video.video import write_video
from affekt.metrics.image import psnr, ssim
from affekt.metrics.temporal import sharpness, warp_errors
from affekt.runtime.command import CommandParser, user_errors
from affekt.runtime.files import write_json
from evp.data.portraits import OpenClip, VideoDataConfig, speaker_clips
from evp.inference.renderer import InitialFrames, RendererDescription, load_generator, render

Figures = dict[str, Any]

ARMS = ("with", "without", "frames")
FROZEN, TRUTH = "frozen", "truth"
NAMES = {"without": "without D_V", "with": "with D_V", TRUTH: "truth"}
SOFTEST = 2.0  # pixels, deviation of the strongest blur
HALVINGS = 12  # of the search for a blur
SHOWN = 320  # pixels a side, in the video and the slices


def measure(out: Path, corpora: Sequence[Path]) -> Figures:
    """Return the figures of all seeds.

    Raises:
        FileNotFoundError: a run, or the flow of a clip, is not there.
        ValueError: there are no runs of every arm.
    """
    runs = [out / f"{arm}_{seed}" for seed in seeds(out) for arm in ARMS]
    loaded = {run.name: load_generator(run) for run in runs}
    generators = {name: generator for name, (generator, _) in loaded.items()}
    description = loaded[runs[0].name][1]  # the same of every run
    data = VideoDataConfig(tuple(corpora), speaker=description.speaker)
    clips = list(chain(*speaker_clips(data, "test_sentence")))
    # The scores of every video of every clip, and their means
    rows: dict[str, list[dict[str, float]]] = {}
    for clip in clips:
        truth, videos = rendered(clip, generators, description)
        for seed in seeds(out):
            wanted = sharpness(videos[f"with_{seed}"])
            videos[f"softened_{seed}"] = softened(videos[f"without_{seed}"], wanted)
        for name, scores in scored(clip, truth, videos).items():
            rows.setdefault(name, []).append(scores)
    means = {
        name: {key: float(np.nanmean([row[key] for row in scores])) for key in scores[0]}
        for name, scores in rows.items()
    }
    show(out, clips[0], *rendered(clips[0], generators, description))
    return {"clips": len(clips), **compared(means, seeds(out)), **means}


def compared(means: Mapping[str, Mapping[str, float]], numbers: Sequence[int]) -> Figures:
    """Return the worst of the seeds, of the runs' means; see the top of this file."""

    def of(arm: str, score: str = "warp_error") -> list[float]:
        return [means[f"{arm}_{number}"][score] for number in numbers]

    def ratio(one: str, other: str) -> float:
        return max(map(operator.truediv, of(one), of(other)))

    return {
        "warp_ratio": ratio("with", "without"),
        "ssim_change": max(map(abs, map(operator.sub, of("with", "ssim"), of("without", "ssim")))),
        "warp_ratio_softened": ratio("with", "softened"),
        "warp_ratio_frames": ratio("frames", "without"),
        "warp_error_with": max(of("with")),
    }


def seeds(out: Path) -> list[int]:
    """Return the seeds of which there is a run of every arm.

    Raises:
        ValueError: there are none.
    """
    found = sorted(int(run.name.rpartition("_")[2]) for run in out.glob("with_*"))
    whole = [seed for seed in found if all((out / f"{arm}_{seed}").is_dir() for arm in ARMS)]
    if not whole:
        raise ValueError(f"{out} has no runs {', '.join(f'{arm}_0' for arm in ARMS)}")
    return whole


def rendered(
    clip: Clip, generators: Mapping[str, Any], description: RendererDescription
) -> tuple[Image, dict[str, Image]]:
    """Return a clip's frames after the first ones, and each generator's video of them."""
    previous = description.generator.previous
    frames, maps = OpenClip(clip, description.guidance).read(range(clip.frames))
    first = InitialFrames(frames[:previous], maps[:previous])
    videos = {name: render(each, maps[previous:], first) for name, each in generators.items()}
    return frames[previous:], videos


def scored(clip: Clip, truth: Image, videos: Mapping[str, Image]) -> dict[str, dict[str, float]]:
    """Return the scores of each video, of the truth, and of its first frame held still."""
    still = np.repeat(truth[:1], len(truth), axis=0)
    shown = {**videos, FROZEN: still, TRUTH: truth}
    flows = clip.flow().read(range(clip.frames - len(truth), clip.frames), truth.shape[1])
    errors = warp_errors(shown, truth, flows)
    return {
        name: {"warp_error": math.nan if error is None else error} | likeness(shown[name], truth)
        for name, error in errors.items()
    }


def likeness(video: Image, truth: Image) -> dict[str, float]:
    """Return mean SSIM and PSNR of frames (T, H, W, 3), and how sharp they are."""
    pairs = list(zip(video, truth, strict=True))
    return {
        "ssim": float(np.mean([ssim(*pair) for pair in pairs])),
        "psnr": float(np.mean([psnr(*pair) for pair in pairs])),
        "sharpness": sharpness(video) / sharpness(truth),
    }


def softened(video: Image, wanted: float) -> Image:
    """Return a video blurred evenly until its `sharpness` is the one wanted, or as it is if softer.

    The blur is a Gaussian of one deviation for the clip, found by halving.
    """

    def blurred(deviation: float) -> Image:
        return np.stack([cv2.GaussianBlur(frame, (0, 0), deviation) for frame in video])

    low, high = 0.0, SOFTEST
    if sharpness(video) <= wanted:
        return video
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if sharpness(blurred(middle)) > wanted else (low, middle)
    return blurred(high)


def show(out: Path, clip: Clip, truth: Image, videos: Mapping[str, Image]) -> None:
    """Write the truth and the first seed's videos of a clip side by side, and slices of them."""
    seed = seeds(out)[0]
    shown = {TRUTH: truth, **{arm: videos[f"{arm}_{seed}"] for arm in ("without", "with")}}
    names = [NAMES[name] for name in shown]
    frames = (
        labelled_row(pictures, names, SHOWN) for pictures in zip(*shown.values(), strict=True)
    )
    write_video(out / "video.mp4", frames, clip.audio()[-len(truth) * SAMPLES_PER_FRAME :])
    # The middle column of pixels of every frame, (H, T, 3).
    slices = [video[:, :, video.shape[2] // 2].swapaxes(0, 1) for video in shown.values()]
    write_png(out / "slices.png", labelled_row([*map(np.ascontiguousarray, slices)], names, SHOWN))


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = CommandParser(__doc__)
    parser.add_argument("runs", type=Path, help="folder of the runs with_<seed>, without_<seed>")
    parser.add_argument("--corpora", type=Path, nargs="+", required=True, help="with flow")
    args = parser.parse_args(argv)
    with user_errors():
        figures = measure(args.runs, args.corpora)
    write_json(args.runs / "figures.json", figures)


if __name__ == "__main__":
    main()
