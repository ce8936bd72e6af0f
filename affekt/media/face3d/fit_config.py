"""What a fit of the face model is told: weights of the points, priors, limits, options.

Options are off by default: the fit of EVP's supplement, Sec. 1.2, has none of them.
"""

from dataclasses import dataclass, field

import numpy as np

from affekt.arrays import Array
from affekt.media.face3d.whole_clip import Terms
from affekt.media.faces import points


@dataclass(frozen=True)
class PointWeights:
    """How far each group is trusted: one over its standard deviation relative to `noise`.

    The defaults are measured: of those tried, the smallest error of rotation of lively heads of the
    mini corpus under a learned model (2.5 degrees; 2.9 with nose and eyes at 1, jaw at 0.3).
    """

    jaw: float = 0.2  # contour points slide over the skin as the head turns
    brows: float = 1.0
    nose: float = 0.3  # the bridge's points slide along it: they show a third too little pitch
    eyes: float = 2.0  # corners and lids are the sharpest edges of a face
    mouth: float = 1.0

    def __post_init__(self) -> None:
        if min(vars(self).values()) < 0 or self.nose == 0 or self.eyes == 0:
            raise ValueError(f"{self}: weights are 0 or more, those of nose and eyes above 0")

    def per_point(self) -> Array:
        """Return the weights of the 68 points."""
        weights = np.zeros(points.COUNT)
        for group, members in points.GROUPS.items():
            weights[list(members)] = getattr(self, group)
        return weights


@dataclass(frozen=True)
class FitConfig:
    """Priors and limits of a fit."""

    noise: float = 0.0125  # standard deviation of a landmark, outer-eye distances: 1.5 px at 256
    weights: PointWeights = field(default_factory=PointWeights)
    identity_weight: float = 1.0  # of the Gaussian priors on coefficients over their std
    expression_weight: float = 1.0
    range_weight: float = 10.0  # of expression outside the model's range
    # A clip counts as at most this many frames against the geometry's prior: a detector's errors
    # repeat from frame to frame, and without a limit geometry takes over ever more of the
    # expression as clips grow (mini corpus, calm clips: 1.6 degrees of error with 5, 1.8 with 20).
    independent_frames: int = 5
    geometry_frames: int = 400  # of a longer clip this many, evenly spread, find the geometry
    # Relative gain of the objective at which the fit ends: gains fall fivefold a step or faster, so
    # the end is within 1e-6 of the optimum.
    tolerance: float = 2e-6
    iterations: int = 40
    terms: Terms = field(default_factory=Terms)  # robust loss, smooth motion, bounds: all off
    slide: bool = False  # jaw landmarks along the jaw's curve, frame by frame (contour.py)

    def __post_init__(self) -> None:
        above_zero = ("noise", "identity_weight", "expression_weight", "independent_frames")
        for key in (*above_zero, "geometry_frames", "iterations"):
            if getattr(self, key) <= 0:
                raise ValueError(f"{key} is {getattr(self, key)}, wanted more than 0")

    def plain(self) -> bool:
        """Return whether the fit asks for nothing but the paper's objective."""
        return self.terms == Terms() and not self.slide
