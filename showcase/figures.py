"""Measure a demo's runs on clips that they did not learn from, and write OUT/figures.json.

    python -m showcase.figures runs/demo --speech data/mini --lively data/mini_lively \\
        --truth data/raw/mini/truth

`speech` holds calm heads in every emotion, `lively` turning ones; both are prepared mini corpora,
whose truth the stages never saw. Needs OUT/media of showcase.videos.
"""

import argparse
import math
import operator
import typing as tp
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from evp.audio2lm import load_predictor
from evp.emotion_codes import load_codes
from evp.portrait import load_renderer
from media.corpus import Corpus
from media.face_model import load_face_model
from runtime.files import write_json
from showcase.page import Row
from showcase.picture_figures import TEST, alignment_figures, sync_figures, video_figures
from showcase.speech_figures import emotion_figures, landmark_figures

Results = dict[str, tp.Any]


@dataclass(frozen=True)
class Bar:
    """What a figure must reach."""

    key: str  # of results.json, section.name
    what: str
    sign: tp.Literal["<=", ">=", ">"]
    limit: float | str  # a number, or the key of another figure

    def row(self, results: Results) -> Row:
        """Return the bar's line of the report."""
        value = look_up(results, self.key)  # NaN, of mouths that never move, meets nothing
        limit = look_up(results, self.limit) if isinstance(self.limit, str) else self.limit
        compare: Callable[[float, float], bool] = {
            "<=": operator.le,
            ">=": operator.ge,
            ">": operator.gt,
        }[self.sign]
        name = f" ({self.limit})" if isinstance(self.limit, str) else ""
        return Row(
            self.key, self.what, f"{self.sign} {limit:g}{name}", _text(value), compare(value, limit)
        )


BARS = (
    Bar("landmark.m_ld_ratio", "M-LD / that of the speaker's training mean face", "<=", 0.5),
    Bar("landmark.m_ld_shuffled_ratio", "M-LD / that with another clip's sound", "<=", 0.7),
    Bar("landmark.mouth_r", "median correlation of mouth opening with the truth", ">=", 0.85),
    Bar("emotion.code_accuracy", "label of the nearest training mean code, 8 classes", ">=", 0.9),
    Bar(
        "emotion.code_accuracy", "above the same on raw mean MFCC", ">", "emotion.raw_mfcc_accuracy"
    ),
    Bar("emotion.swap_toward_target", "swaps that end nearer the wanted emotion", ">=", 0.9),
    Bar("emotion.swap_mouth_r", "mouth opening kept under the swap", ">=", 0.9),
    Bar("emotion.content_leak", "emotion read from content codes (chance 0.125)", "<=", 0.3),
    Bar("alignment.rotation_deg", "rotation error on turning heads, degrees", "<=", 3.0),
    Bar("alignment.rotation_ratio", "the same / assuming no rotation", "<=", 0.25),
    Bar("alignment.reprojection_px", "fit to detected points, px at 256", "<=", 2.0),
    Bar("video.ssim", "held-out frames from their landmarks", ">=", 0.85),
    Bar("video.psnr", "the same, dB", ">=", 24.0),
    Bar("video.dssim_ratio", "(1 - SSIM) / that of the nearest training frame", "<=", 0.5),
    Bar("video.psnr_gain", "PSNR over that of the nearest training frame, dB", ">=", 4.0),
    Bar("sync.behind_truth", "generated mouth behind the true one, frames", "<=", 1.0),
    Bar("wall_seconds", "the whole demo", "<=", 1200.0),
)


def rows(results: Results) -> list[Row]:
    """Return the report's table: every bar, then every other figure."""
    barred = {bar.key for bar in BARS}
    met = [bar.row(results) for bar in BARS]
    others = [
        Row(f"{section}.{name}", "", "", _text(value), None)
        for section, figures in results.items()
        if isinstance(figures, dict)
        for name, value in figures.items()
        if f"{section}.{name}" not in barred
    ]
    return met + others


def look_up(results: Results, key: str) -> float:
    """Return a figure by its dotted key."""
    value: tp.Any = results
    for part in key.split("."):
        value = value[part]
    return math.nan if value is None else float(value)


def measure(runs: Path, speech: Corpus, lively: Corpus, truth: Path) -> Results:
    """Return every figure of a demo, by section."""
    predictor = load_predictor(runs / "audio2lm")
    codes = load_codes(runs / "audio2lm")
    renderer = load_renderer(runs / "edge2video", "cpu")
    speaker = renderer.speaker
    both = [
        [*speech.clips(split, speaker), *lively.clips(split, speaker)] for split in ("train", TEST)
    ]
    turning = video_figures(renderer, both[0], lively.clips(TEST, speaker))
    return {
        "landmark": landmark_figures(predictor, speech),
        "emotion": emotion_figures(predictor, codes, speech, runs),
        "alignment": alignment_figures(lively, load_face_model(runs / "face_model.npz"), truth),
        "video": video_figures(renderer, both[0], speech.clips(TEST, speaker)),
        "video_turning": turning,
        "sync": sync_figures(runs / "media"),
    }


def finite(figures: Results) -> Results:
    """Return figures with None in the place of NaN, which JSON lacks."""
    return {
        name: finite(value) if isinstance(value, dict) else None if math.isnan(value) else value
        for name, value in figures.items()
    }


def _text(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "n/a"
    return f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    keep_layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=keep_layout)
    parser.add_argument("runs", type=Path, help="folder of the demo's runs")
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--lively", type=Path, required=True)
    parser.add_argument("--truth", type=Path, required=True)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    results = measure(args.runs, Corpus(args.speech), Corpus(args.lively), args.truth)
    write_json(args.runs / "figures.json", finite(results))


if __name__ == "__main__":
    main()
