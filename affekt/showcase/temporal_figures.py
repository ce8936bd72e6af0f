"""Sequential renderers with and without the video discriminator, by seed (EVP Sec. 3.3).

    python -m affekt.showcase.temporal_figures runs/demo/full/temporal \\
        --corpora data/mini data/mini_lively

Needs the runs with_<seed> (D_V on flow residuals), without_<seed> and frames_<seed> (D_V on frames,
the paper's form) there. Every held-out clip of their speaker is rendered as a whole, from its own
landmarks, after its initial frames. Writes into RUNS

    figures.json  for each run, for softened_<seed>, the video without D_V, blurred until it is as
                  sharp as the one with it, since blur too is steady, for a frozen frame and the
                  truth, means over clips of
                      warp_error  under the truth's stored flow (affekt/metrics/temporal.py), grey
                                  levels
                      ssim, psnr  mean over frames
                      sharpness   deviation of the Laplacian / the truth's; mean over frames
                  and the largest over the seeds of
                      warp_ratio           warp error with / without
                      ssim_change          change of SSIM that comes with it
                      warp_ratio_softened  warp error with / softened
                      warp_ratio_frames    warp error of the paper's form / without
                      warp_error_with      warp error with
    video.mp4     one clip: the truth, without, with (first seed)
    slices.png    the same, one column of pixels over time
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from affekt.arrays import Image
from affekt.media.constants import SAMPLES_PER_FRAME
from affekt.media.corpus import Clip
from affekt.media.plots import beside, enlarged, write_png
from affekt.media.video.video import write_video
from affekt.metrics.image import psnr, ssim
from affekt.metrics.temporal import warp_errors
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
        ValueError: there is no pair of runs, or their descriptions differ.
    """
    runs = [out / f"{arm}_{seed}" for seed in seeds(out) for arm in ARMS]
    loaded = {run.name: load_generator(run) for run in runs}
    descriptions = [description for _, description in loaded.values()]
    if any(each != descriptions[0] for each in descriptions):
        raise ValueError(f"the runs in {out} are not of one kind: {descriptions}")
    generators = {name: generator for name, (generator, _) in loaded.items()}
    clips = held_out(corpora, descriptions[0].speaker)
    rows: dict[str, list[dict[str, float]]] = {}
    for clip in clips:
        truth, videos = rendered(clip, generators, descriptions[0])
        for seed in seeds(out):
            wanted = laplacian(videos[f"with_{seed}"])
            videos[f"softened_{seed}"] = softened(videos[f"without_{seed}"], wanted)
        for name, scores in scored(clip, truth, videos).items():
            rows.setdefault(name, []).append(scores)
    means = {name: _mean(scores) for name, scores in rows.items()}
    show(out, clips[0], *rendered(clips[0], generators, descriptions[0]))
    return {"clips": len(clips), **compared(means, seeds(out)), **means}


def compared(means: Mapping[str, Mapping[str, float]], numbers: Sequence[int]) -> Figures:
    """Return the worst of the seeds, of the runs' means; see the top of this file."""

    def ratio(one: str, other: str) -> float:
        errors = [[means[f"{arm}_{k}"]["warp_error"] for arm in (one, other)] for k in numbers]
        return max(above / below for above, below in errors)

    ssims = [[means[f"{arm}_{k}"]["ssim"] for arm in ("with", "without")] for k in numbers]
    return {
        "warp_ratio": ratio("with", "without"),
        "ssim_change": max(abs(one - other) for one, other in ssims),
        "warp_ratio_softened": ratio("with", "softened"),
        "warp_ratio_frames": ratio("frames", "without"),
        "warp_error_with": max(means[f"with_{k}"]["warp_error"] for k in numbers),
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


def held_out(corpora: Sequence[Path], speaker: str) -> list[Clip]:
    """Return the speaker's held-out clips."""
    data = VideoDataConfig(tuple(corpora), speaker=speaker)
    return list(chain(*speaker_clips(data, "test_sentence")))


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
        name: {"warp_error": _number(errors[name])} | likeness(shown[name], truth) for name in shown
    }


def likeness(video: Image, truth: Image) -> dict[str, float]:
    """Return mean SSIM and PSNR of frames (T, H, W, 3), and how sharp they are."""
    pairs = list(zip(video, truth, strict=True))
    return {
        "ssim": float(np.mean([ssim(*pair) for pair in pairs])),
        "psnr": float(np.mean([psnr(*pair) for pair in pairs])),
        "sharpness": laplacian(video) / laplacian(truth),
    }


def laplacian(video: Image) -> float:
    """Return the standard deviation of a frame's Laplacian, mean over frames; 0 if all are flat."""
    grey = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in video)
    return float(np.mean([cv2.Laplacian(each, cv2.CV_32F).std() for each in grey]))


def softened(video: Image, wanted: float) -> Image:
    """Return a video blurred evenly until its `laplacian` is the one wanted, or as it is if softer.

    The blur is a Gaussian of one deviation for the clip, found by halving.
    """
    low, high = 0.0, SOFTEST
    if laplacian(video) <= wanted:
        return video
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if laplacian(blurred(video, middle)) > wanted else (low, middle)
    return blurred(video, high)


def blurred(video: Image, deviation: float) -> Image:
    """Return a video (T, H, W, 3) under a Gaussian of this deviation, pixels above 0."""
    return np.stack([cv2.GaussianBlur(frame, (0, 0), deviation) for frame in video])


def show(out: Path, clip: Clip, truth: Image, videos: Mapping[str, Image]) -> None:
    """Write the truth and the first seed's videos of a clip side by side, and slices of them."""
    seed = seeds(out)[0]
    shown = {TRUTH: truth, **{arm: videos[f"{arm}_{seed}"] for arm in ("without", "with")}}
    names = [NAMES[name] for name in shown]

    def frames() -> Iterator[Image]:
        for pictures in zip(*shown.values(), strict=True):
            yield beside([enlarged(picture, SHOWN) for picture in pictures], names)

    sound = clip.audio()[-len(truth) * SAMPLES_PER_FRAME :]
    write_video(out / "video.mp4", frames(), sound)
    columns = [enlarged(middle_column(video), SHOWN) for video in shown.values()]
    write_png(out / "slices.png", beside(columns, names))


def middle_column(video_THWC: Image) -> Image:
    """Return the middle column of pixels over time, (H, T, 3)."""
    return np.ascontiguousarray(video_THWC[:, :, video_THWC.shape[2] // 2].swapaxes(0, 1))


def _mean(rows: Iterable[Mapping[str, float]]) -> dict[str, float]:
    rows = list(rows)
    return {key: float(np.nanmean([row[key] for row in rows])) for key in rows[0]}


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = CommandParser(__doc__)
    parser.add_argument("runs", type=Path, help="folder of the runs with_<seed>, without_<seed>")
    parser.add_argument(
        "--corpora", type=Path, nargs="+", required=True, help="prepared, with flow"
    )
    args = parser.parse_args(argv)
    with user_errors():
        figures = measure(args.runs, args.corpora)
    write_json(args.runs / "figures.json", figures)


if __name__ == "__main__":
    main()
