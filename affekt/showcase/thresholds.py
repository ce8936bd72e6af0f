"""The thresholds that the demos' figures must meet, and the report's table of all figures."""

import html
import math
import operator
import typing as tp
from collections.abc import Sequence
from dataclasses import dataclass

from affekt.runtime.config import flat

Results = dict[str, tp.Any]  # nested by stage, as results.json
Sign = tp.Literal["<=", ">=", ">"]

COMPARE: dict[Sign, tp.Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    ">": operator.gt,
}


@dataclass(frozen=True)
class MetricRow:
    """One figure of the table."""

    key: str  # as in results.json
    description: str
    threshold: str  # as text, for instance "<= 0.5"; empty: shown for comparison only
    value: str
    met: bool | None  # None: no threshold

    @property
    def mark(self) -> str:
        """Whether the threshold is met, in a word."""
        return {True: "met", False: "missed", None: ""}[self.met]

    def cells(self) -> str:
        """Return the row as HTML."""
        texts = (self.key, self.description, self.threshold, self.value, self.mark)
        cells = "".join(f"<td>{html.escape(text)}</td>" for text in texts)
        return f'<tr class="{self.mark}">{cells}</tr>'


@dataclass(frozen=True)
class Threshold:
    """What a figure must reach."""

    key: str  # of results.json, section.name
    description: str
    sign: Sign
    limit: float | str  # a number, or the key of another figure

    def row(self, results: Results) -> MetricRow:
        """Return the figure's line of the report; NaN, of mouths that never move, is a miss."""
        value, named = look_up(results, self.key), isinstance(self.limit, str)
        limit = look_up(results, self.limit) if isinstance(self.limit, str) else self.limit
        text = f"{self.sign} {limit:g}" + (f" ({self.limit})" if named else "")
        met = COMPARE[self.sign](value, limit)
        return MetricRow(self.key, self.description, text, format_value(value), met)


def _table(text: str) -> tuple[Threshold, ...]:
    """Return the thresholds of lines `key sign limit | description`."""
    thresholds = []
    for line in text.strip().splitlines():
        figure, _, description = line.partition(" | ")
        key, sign, limit = figure.split()
        number = float(limit) if limit[0].isdigit() else limit
        thresholds.append(Threshold(key, description, tp.cast(Sign, sign), number))
    return tuple(thresholds)


EVP_THRESHOLDS = _table("""
landmark.m_ld_ratio <= 0.5 | M-LD / that of the speaker's training mean face
landmark.m_ld_shuffled_ratio <= 0.7 | M-LD / that with another clip's sound
landmark.mouth_r >= 0.85 | median correlation of mouth opening with the truth
emotion.code_accuracy >= 0.9 | label of the nearest training mean code, 8 classes
emotion.code_accuracy > emotion.raw_mfcc_accuracy | above the same on raw mean MFCC
emotion.swap_toward_target >= 0.9 | swaps that end nearer the wanted emotion
emotion.swap_mouth_r >= 0.9 | mouth opening kept under the swap
emotion.content_leak <= 0.3 | emotion read from content codes, equal timing (chance 0.125)
alignment.rotation_deg <= 3 | rotation error on turning heads, degrees
alignment.rotation_ratio <= 0.25 | the same / assuming no rotation
alignment.reprojection_px <= 2 | fit to detected points, px at 256
video.ssim >= 0.85 | held-out frames from their landmarks
video.psnr >= 24 | the same, dB
video.dssim_ratio <= 0.5 | (1 - SSIM) / that of the nearest training frame
video.psnr_gain >= 4 | PSNR over that of the nearest training frame, dB
sync.behind_truth <= 1 | generated mouth behind the true one, frames
wall_seconds <= 1200 | the whole demo
""")
EAMM_THRESHOLDS = _table("""
eamm.reenact_l1_ratio <= 0.6 | unseen people reenacted, L1 / of the frozen source
eamm.a2fd_keypoint_ratio <= 0.6 | A2FD keypoint error / of the source's own
eamm.a2fd_shuffled_ratio <= 0.85 | the same / with another clip's sound
eamm.mouth_r >= 0.7 | generated mouth opening against the truth, median
eamm.emotion_nearer >= 0.8 | brows and lids nearer to the true emotion's
eamm.emotion_mouth_r >= 0.9 | mouth opening with emotion against without
eamm.wall_seconds <= 1200 | the whole EAMM demo
""")
FULL_THRESHOLDS = _table("""
full.lag_exact >= 0.95 | injected lags found exactly by the project's SyncNet
full.emotion_of_truth >= 0.9 | emotion of unseen people's true clips, 8 classes
full.content_leak.equal_timing.median <= 0.3 | the content leak of five seeds, their median
full.content_leak.equal_timing.fourth <= 0.3 | the same, of the fourth lowest
full.temporal.warp_ratio <= 0.95 | warp error with D_V / without, the worst seed
full.temporal.ssim_change <= 0.01 | SSIM that comes with it, the largest change
full.temporal.warp_ratio_softened <= 1 | as sharp: with D_V / blurred without
full.temporal.frozen.warp_error > full.temporal.warp_error_with | of a frozen frame, above
full.editing_blends.rank >= 0.9 | brows and mouth corners go along with w
full.editing_blends.mouth_r >= 0.9 | mouth opening kept on the way
full.editing_intensity.rank >= 0.9 | the same from neutral: intensity
full.editing_intensity.mouth_r >= 0.9 | mouth opening kept
""")


def thresholds_of(results: Results) -> tuple[Threshold, ...]:
    """Return the thresholds of the systems whose demo has run."""
    sections = {"landmark": EVP_THRESHOLDS, "eamm": EAMM_THRESHOLDS, "full": FULL_THRESHOLDS}
    return tuple(each for key, those in sections.items() if key in results for each in those)


def rows(results: Results) -> list[MetricRow]:
    """Return the report's table: every threshold, then every other figure."""
    thresholds = thresholds_of(results)
    keys = {threshold.key for threshold in thresholds}
    others = {key: value for key, value in flat(results).items() if key not in keys}
    return [each.row(results) for each in thresholds] + plain_rows(others)


def plain_rows(figures: Results) -> list[MetricRow]:
    """Return the lines of figures without a threshold."""
    return [MetricRow(key, "", "", format_value(each), None) for key, each in flat(figures).items()]


def look_up(results: Results, key: str) -> float:
    """Return a figure by its dotted key, NaN where it could not be measured."""
    value: tp.Any = results
    for part in key.split("."):
        value = value[part]
    return math.nan if value is None else float(value)


def without_nan(figures: Results) -> Results:
    """Return figures with None in the place of NaN, which JSON lacks."""
    return {
        name: without_nan(each) if isinstance(each, dict) else None if math.isnan(each) else each
        for name, each in figures.items()
    }


def format_value(value: float | Sequence[float] | None) -> str:
    """Return a figure, or those of several seeds, as the report prints it."""
    if isinstance(value, Sequence):
        return ", ".join(map(format_value, value))
    if value is None or math.isnan(value):
        return "n/a"
    return f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
