"""What the demos must reach, and the report's table of it."""

import math
import operator
import typing as tp
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from affekt.showcase.page import Row

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
            self.key, self.what, f"{self.sign} {limit:g}{name}", shown(value), compare(value, limit)
        )


EVP_BARS = (
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


EAMM_BARS = (
    Bar("eamm.reenact_l1_ratio", "unseen people reenacted, L1 / of the frozen source", "<=", 0.6),
    Bar("eamm.a2fd_keypoint_ratio", "A2FD keypoint error / of the source's own", "<=", 0.6),
    Bar("eamm.a2fd_shuffled_ratio", "the same / with another clip's sound", "<=", 0.85),
    Bar("eamm.mouth_r", "generated mouth opening against the truth, median", ">=", 0.7),
    Bar("eamm.emotion_nearer", "brows and lids nearer to the true emotion's", ">=", 0.8),
    Bar("eamm.emotion_mouth_r", "mouth opening with emotion against without", ">=", 0.9),
    Bar("eamm.wall_seconds", "the whole EAMM demo", "<=", 1200.0),
)


FULL_BARS = (
    Bar("full.lag_exact", "injected lags found exactly by the project's SyncNet", ">=", 0.95),
    Bar("full.emotion_of_truth", "emotion of unseen people's true clips, 8 classes", ">=", 0.9),
    Bar("full.temporal.warp_ratio", "warp error with D_V / without, the worst seed", "<=", 0.95),
    Bar("full.temporal.ssim_change", "SSIM that comes with it, the largest change", "<=", 0.01),
    Bar("full.temporal.warp_ratio_softened", "as sharp: with D_V / blurred without", "<=", 1.0),
    Bar(
        "full.temporal.frozen.warp_error",
        "warp error of a frozen frame, above the worst with D_V",
        ">",
        "full.temporal.warp_error_with",
    ),
    Bar("full.editing_blends.rank", "brows and mouth corners go along with w", ">=", 0.9),
    Bar("full.editing_blends.mouth_r", "mouth opening kept on the way", ">=", 0.9),
    Bar("full.editing_intensity.rank", "the same from neutral: intensity", ">=", 0.9),
    Bar("full.editing_intensity.mouth_r", "mouth opening kept", ">=", 0.9),
)


def bars_of(results: Results) -> tuple[Bar, ...]:
    """Return the bars of the systems whose demo has run."""
    systems = {"landmark": EVP_BARS, "eamm": EAMM_BARS, "full": FULL_BARS}  # by a section of theirs
    return tuple(bar for key, bars in systems.items() if key in results for bar in bars)


def rows(results: Results) -> list[Row]:
    """Return the report's table: every bar, then every other figure."""
    bars = bars_of(results)
    barred = {bar.key for bar in bars}
    others = [
        Row(key, "", "", shown(value), None) for key, value in flat(results) if key not in barred
    ]
    return [bar.row(results) for bar in bars] + others


def flat(results: Results, where: str = "") -> Iterator[tuple[str, float | None]]:
    """Yield every figure of nested results by its dotted key."""
    for name, value in results.items():
        if isinstance(value, dict):
            yield from flat(value, f"{where}{name}.")
        else:
            yield where + name, value


def look_up(results: Results, key: str) -> float:
    """Return a figure by its dotted key."""
    value: tp.Any = results
    for part in key.split("."):
        value = value[part]
    return math.nan if value is None else float(value)


def finite(figures: Results) -> Results:
    """Return figures with None in the place of NaN, which JSON lacks."""
    return {
        name: finite(value) if isinstance(value, dict) else None if math.isnan(value) else value
        for name, value in figures.items()
    }


def shown(value: float | None) -> str:
    """Return a figure as the report shows it."""
    if value is None or math.isnan(value):
        return "n/a"
    return f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
