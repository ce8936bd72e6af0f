"""What the video discriminator is worth: sequential renderers with and without it, by seed.

    python -m showcase.temporal_figures runs/demo/full/temporal --corpora data/mini data/mini_lively

Needs the runs with_<seed> and without_<seed> there. Every held-out clip of their speaker is drawn
as a whole, from its own landmarks, after its first frames. Writes into RUNS

    figures.json  for each run, and for a frozen frame and the truth:
                      warp_error  under the truth's stored flow (metrics/temporal.py), grey levels
                      ssim, psnr  mean over frames
                      sharpness   deviation of the Laplacian, of the truth's; mean over frames
                  all means over clips; warp_ratio is the largest over seeds of the warp errors with
                  and without, ssim_change the largest change of SSIM that comes with it
    video.mp4     one clip: the truth, without, with (first seed)
    slices.png    the same, one column of pixels over time
"""

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from evp.drawing import First, RendererDescription, load_generator, render
from evp.video_data import OpenClip, VideoDataConfig, speaker_clips
from media.corpus import SAMPLES_PER_FRAME, Clip
from media.plots import beside, enlarged, write_png
from media.video import write_video
from metrics.image import psnr, ssim
from metrics.temporal import warp_errors
from runtime.files import write_json

Array = NDArray[Any]
Image = NDArray[np.uint8]
Figures = dict[str, Any]

ARMS = ("with", "without")
FROZEN, TRUTH = "frozen", "truth"
NAMES = {"with": "with D_V", "without": "without D_V", TRUTH: "truth"}
SHOWN = 320  # pixels a side, in the video and the slices


def measure(out: Path, corpora: Sequence[Path]) -> Figures:
    """Return the figures of all seeds.

    Raises:
        FileNotFoundError: a run, or the flow of a clip, is not there.
        ValueError: there is no pair of runs, or a run saw other frames before than another.
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
        truth, videos = drawn(clip, generators, descriptions[0])
        for name, scores in scored(clip, truth, videos).items():
            rows.setdefault(name, []).append(scores)
    means = {name: _mean(scores) for name, scores in rows.items()}
    show(out, clips[0], *drawn(clips[0], generators, descriptions[0]))
    pairs = [(means[f"with_{seed}"], means[f"without_{seed}"]) for seed in seeds(out)]
    return {
        "clips": len(clips),
        "warp_ratio": max(one["warp_error"] / other["warp_error"] for one, other in pairs),
        "ssim_change": max(abs(one["ssim"] - other["ssim"]) for one, other in pairs),
        **means,
    }


def seeds(out: Path) -> list[int]:
    """Return the seeds of which there are both runs.

    Raises:
        ValueError: there are none.
    """
    found = sorted(int(run.name.rpartition("_")[2]) for run in out.glob("with_*"))
    both = [seed for seed in found if (out / f"without_{seed}").is_dir()]
    if not both:
        raise ValueError(f"{out} has no pair of runs with_0 and without_0")
    return both


def held_out(corpora: Sequence[Path], speaker: str) -> list[Clip]:
    """Return the speaker's held-out clips."""
    data = VideoDataConfig(tuple(corpora), speaker=speaker)
    return list(chain(*speaker_clips(data, "test_sentence")))


def drawn(
    clip: Clip, generators: Mapping[str, Any], description: RendererDescription
) -> tuple[Image, dict[str, Image]]:
    """Return a clip's frames after the first ones, and each generator's video of them."""
    previous = description.generator.previous
    frames, maps = OpenClip(clip, description.guidance).read(range(clip.frames))
    first = First(frames[:previous], maps[:previous])
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


def show(out: Path, clip: Clip, truth: Image, videos: Mapping[str, Image]) -> None:
    """Write the truth and the first seed's videos of a clip side by side, and slices of them."""
    seed = seeds(out)[0]
    shown = {TRUTH: truth, **{arm: videos[f"{arm}_{seed}"] for arm in reversed(ARMS)}}
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
    keep_layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=keep_layout)
    parser.add_argument("runs", type=Path, help="folder of the runs with_<seed>, without_<seed>")
    parser.add_argument(
        "--corpora", type=Path, nargs="+", required=True, help="prepared, with flow"
    )
    args = parser.parse_args(argv)
    write_json(args.runs / "figures.json", measure(args.runs, args.corpora))


if __name__ == "__main__":
    main()
