"""95 % intervals of the figures in a table: what another draw of clips could have shown.

Every figure here is a mean over clips, of a score, of a difference or of a ratio, so one bootstrap
serves all: draw units with replacement, add up numerators and denominators, divide. The units are
clips or, where there are speakers enough, speakers with all their clips: clips of one person are
alike, and an interval that takes them for independent is too narrow for a statement about people.
The bounds are Efron's BCa (DiCiccio and Efron 1996, Bootstrap Confidence Intervals, section 2),
which correct the percentiles for bias and for skewness. Accuracies have Wilson's bounds (1927).

In 1,500 simulations each, the bounds of 20 normal scores covered the truth in 93 %, of 100 in 94 %;
skewed (gamma) scores in 92 and 94 %. By speaker they are too short while there are few: 84 % at 5
speakers, 91 % at 15, 93 % at 30.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from affekt.arrays import Array

DRAWS = 10_000
SEED = 0  # the same scores give the same interval on every run
LEVEL = 0.95
MIN_SPEAKERS = 5  # fewer say next to nothing of how speakers differ
BLOCK = 2_000_000  # numbers drawn at a time: 16 MB
TIE = 1e-12  # relative difference that is rounding
NORMAL = NormalDist()


@dataclass(frozen=True)
class Interval:
    """An estimate and its 95 % bounds; the bounds are None where there is too little to say."""

    value: float
    low: float | None
    high: float | None

    @property
    def half(self) -> float | None:
        """Half the width of the interval: what stands behind the plus-minus sign."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    @property
    def excludes_zero(self) -> bool:
        """Say whether both bounds lie on the same side of zero."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def mean_interval(values: ArrayLike, speakers: Sequence[str] | None = None) -> Interval:
    """Return the mean of `values`, one per clip, and its interval by clip or by speaker.

    Args:
        values: (N,), finite, N > 0.
        speakers: (N,) who speaks in each clip; given, speakers are drawn instead of clips.

    Raises:
        ValueError: no value, a value that is not finite, or another number of speakers.
    """
    numbers = _checked(values)
    return _ratio(numbers, np.ones_like(numbers), _units(len(numbers), speakers))


def macro_interval(
    values: ArrayLike, groups: Sequence[str], speakers: Sequence[str] | None = None
) -> Interval:
    """Return the mean of the groups' means, each group with equal weight, and its interval.

    Clips are drawn within their group, so every draw has as many of each as the data; with
    `speakers`, whole speakers are drawn, and a speaker brings clips of several groups.

    Args:
        values: (N,), finite, N > 0.
        groups: (N,) names of the groups, the emotions for example.
        speakers: (N,) as in `mean_interval`.
    """
    numbers = _checked(values)
    names, member = np.unique(_named(groups, len(numbers)), return_inverse=True)
    belongs = member[:, None] == np.arange(len(names))  # (N, G)
    units = _units(len(numbers), speakers)
    sums, counts = _per_unit(numbers[:, None] * belongs, units), _per_unit(belongs, units)
    return _bca(sums, counts, member if speakers is None else np.zeros(len(sums), int))


def difference_interval(
    ours: ArrayLike, theirs: ArrayLike, speakers: Sequence[str] | None = None
) -> Interval:
    """Return the mean of ours minus theirs on the same clips, and its paired interval.

    Both methods see the same draw, so what makes a clip hard for both cancels.

    Args:
        ours, theirs: (N,), the same clip at the same place.
        speakers: (N,) as in `mean_interval`.
    """
    first, second = _checked(ours), _checked(theirs)
    if len(first) != len(second):
        raise ValueError(f"{len(first)} scores against {len(second)}; pair them clip by clip")
    return mean_interval(first - second, speakers)


def ratio_interval(
    ours: ArrayLike, theirs: ArrayLike, speakers: Sequence[str] | None = None
) -> Interval | None:
    """Return the ratio of the means of ours and theirs on the same clips; None if theirs is 0."""
    first, second = _checked(ours), _checked(theirs)
    if len(first) != len(second):
        raise ValueError(f"{len(first)} scores against {len(second)}; pair them clip by clip")
    return _ratio(first, second, _units(len(first), speakers)) if second.sum() else None


def wilson_interval(successes: int, trials: int) -> Interval:
    """Return a share and Wilson's score interval, which stays in [0, 1] and holds for few trials.

    (p + z^2/2n +- z sqrt(p(1 - p)/n + z^2/4n^2)) / (1 + z^2/n): Wilson 1927, J. Am. Stat. Ass. 22.

    Raises:
        ValueError: no trial, or successes outside [0, trials].
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"{successes} of {trials} is no share")
    z, share = NORMAL.inv_cdf((1 + LEVEL) / 2), successes / trials
    middle = share + z**2 / (2 * trials)
    reach = z * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    scale = 1 + z**2 / trials
    return Interval(share, max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale))


def enough_speakers(speakers: Iterable[str]) -> bool:
    """Say whether there are speakers enough for an interval by speaker."""
    return len(set(speakers)) >= MIN_SPEAKERS


def _checked(values: ArrayLike) -> Array:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or not numbers.size or not np.isfinite(numbers).all():
        raise ValueError(f"scores of shape {numbers.shape}: wanted one finite number per clip")
    return numbers


def _named(names: Sequence[str], wanted: int) -> Array:
    if len(names) != wanted:
        raise ValueError(f"{len(names)} names for {wanted} clips")
    return np.asarray(names)


def _units(clips: int, speakers: Sequence[str] | None) -> Array:
    """Return the unit of each clip, counted from 0: itself, or its speaker."""
    if speakers is None:
        return np.arange(clips)
    return np.unique(_named(speakers, clips), return_inverse=True)[1]


def _per_unit(values: Array, units: Array) -> Array:
    """Add up the clips of each unit: (N, G) to (U, G)."""
    totals = np.zeros((units.max() + 1, values.shape[1]))
    np.add.at(totals, units, values)
    return totals


def _ratio(over: Array, under: Array, units: Array) -> Interval:
    sums, counts = _per_unit(over[:, None], units), _per_unit(under[:, None], units)
    return _bca(sums, counts, np.zeros(len(sums), int))


def _bca(over: Array, under: Array, strata: Array) -> Interval:
    """Return mean_g(sum_u over / sum_u under) and its BCa bounds.

    Args:
        over, under: (U, G), numerators and denominators by unit and group.
        strata: (U,), counted from 0; units are drawn within their stratum.
    """
    value = float((over.sum(axis=0) / under.sum(axis=0)).mean())
    pools = [np.flatnonzero(strata == stratum) for stratum in range(strata.max() + 1)]
    if min(len(pool) for pool in pools) < 2:
        return Interval(value, None, None)
    drawn = _draws(over, under, pools)
    if not np.isfinite(drawn).all():  # a draw without a denominator: too few units
        return Interval(value, None, None)
    if np.ptp(drawn) <= TIE * max(1.0, abs(value)):
        return Interval(value, value, value)
    low, high = _corrected(value, drawn, _acceleration(over, under, pools))
    return Interval(value, low, high)


def _draws(over: Array, under: Array, pools: list[Array]) -> Array:
    """Return the statistic of each draw, (DRAWS,); NaN or infinite where a denominator is 0."""
    rng = np.random.default_rng(SEED)
    shape = (DRAWS, over.shape[1])
    sums, counts = np.zeros(shape), np.zeros(shape)
    for pool in pools:
        used = np.flatnonzero(under[pool].any(axis=0) | over[pool].any(axis=0))
        step = max(1, BLOCK // len(pool))
        for start in range(0, DRAWS, step):
            stop = min(DRAWS, start + step)
            chosen = pool[rng.integers(0, len(pool), (stop - start, len(pool)))]
            for group in used:
                sums[start:stop, group] += over[chosen, group].sum(axis=1)
                counts[start:stop, group] += under[chosen, group].sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn: Array = (sums / counts).mean(axis=1)
    return drawn


def _acceleration(over: Array, under: Array, pools: list[Array]) -> float:
    """Return BCa's acceleration from leaving each unit out; strata as Davison and Hinkley 1997."""
    with np.errstate(divide="ignore", invalid="ignore"):
        left = ((over.sum(axis=0) - over) / (under.sum(axis=0) - under)).mean(axis=1)
    if not np.isfinite(left).all():
        return 0.0  # one unit holds a whole group: no correction for skewness
    weights = [(len(p) - 1) * (left[p].mean() - left[p]) / len(p) for p in pools]
    influence = np.concatenate(weights)
    spread = float((influence**2).sum())
    return float((influence**3).sum()) / (6 * spread**1.5) if spread else 0.0


def _corrected(value: float, drawn: Array, acceleration: float) -> tuple[float, float]:
    """Return the BCa percentiles of the draws; ties with the estimate count half."""
    tie = TIE * max(1.0, abs(value))  # the same units in another order add up a little differently
    share = float(((drawn < value - tie).mean() + (drawn <= value + tie).mean()) / 2)
    edge = 0.5 / len(drawn)
    bias = NORMAL.inv_cdf(min(max(share, edge), 1 - edge))
    levels = []
    for tail in ((1 - LEVEL) / 2, (1 + LEVEL) / 2):
        moved = bias + NORMAL.inv_cdf(tail)
        levels.append(NORMAL.cdf(bias + moved / (1 - acceleration * moved)))
    low, high = np.quantile(drawn, levels)
    return float(low), float(high)
