"""FID and KID of every row of an evaluation, from the features that its clips left."""

import typing as tp
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from affekt.arrays import Array
from affekt.evaluation.cache import Line
from affekt.evaluation.control_rows import TRUTH
from affekt.evaluation.network_measures import feature_file
from affekt.metrics.fid import fid, fid_interval, kid, kid_interval
from affekt.runtime.files import load_npy

FEWEST = 4  # pictures of which KID can be told
FEATURES = "features"  # the metric under which a line says that there are some


def distributions(lines: Sequence[Line], folder: Path) -> dict[str, dict[str, tp.Any]]:
    """Return {row: {"fid": {"value", "low", "high"}, "kid": {"value"}}} against the truth's frames.

    Args:
        lines: of the evaluation.
        folder: where the features are.
    """
    rows: dict[str, dict[str, Array]] = {}
    for line in lines:
        if line.metric == FEATURES:
            path = feature_file(folder, line.key, line.row)
            features = load_npy(path, (None, None), f"delete {folder}, and run the same again")
            rows.setdefault(line.row, {})[line.clip] = features
    if not rows:
        return {}
    truth = rows.pop(TRUTH)
    return {row: _against(clips, truth) for row, clips in rows.items()}


def _against(clips: dict[str, Array], truth: dict[str, Array]) -> dict[str, tp.Any]:
    shared = {clip: truth[clip] for clip in clips}
    ours, theirs = np.concatenate([*clips.values()]), np.concatenate([*shared.values()])
    if len(ours) < FEWEST:
        return {}
    pairs = {"fid": (fid, fid_interval), "kid": (kid, kid_interval)}
    found = {}
    for name, (distance, interval) in pairs.items():
        low, high = interval(clips, shared)
        found[name] = {"value": distance(ours, theirs), "low": low, "high": high}
    return found
