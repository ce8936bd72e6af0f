"""affekt.media.face3d.fit on a clip of 200 frames against scipy's least_squares on each frame.

    python -m benchmarks.fit --json

Made-up face models of EVP's size (199 identity and 29 expression modes) and of ICT-FaceKit's (100
and 53). scipy fits every frame on its own, geometry included, as the paper describes (supplement
Sec. 1.2), from the same start, by Levenberg-Marquardt with an analytic Jacobian. It fits a few
frames of the clip and its time is counted per frame; `ratio` is frames a second of
affekt.media.face3d.fit over those of scipy, `scipy_analytic` being that of EVP's size.
`max_abs_diff` compares objectives, relatively: of one frame by affekt.media.face3d.fit and, by
scipy from there, until it moves no more.

Wanted: at least 500 frames a second and 40 times scipy with the analytic Jacobian; 1e-6.
"""

import argparse
from functools import partial

import numpy as np
from scipy.optimize import least_squares

from affekt.arrays import Array
from affekt.media.face3d.fit import FitConfig, fit_clip, weak_perspective
from affekt.media.face3d.model import FaceModel, project
from affekt.media.faces import geometry
from benchmarks.harness import Result, compare, main
from tests.corpora.made_up_faces import made_up_clip, made_up_model

SIZES = {"199+29": (199, 29), "100+53": (100, 53)}
T = 200  # frames of the clip
SAMPLE = 3  # of them, fitted by scipy with the analytic Jacobian in each round
OURS = "affekt.media.face3d.fit"
NOISE = 0.5  # pixels
CONFIG = FitConfig(range_weight=0.0)  # smooth, for scipy's sake


class Frame:
    """One frame's residuals and Jacobian: pose 6, identity K, expression E, in scaled pixels."""

    def __init__(self, model: FaceModel, landmarks: Array) -> None:
        per_point = CONFIG.weights.per_point()
        scale, rotation, shift = weak_perspective(model, landmarks[None], per_point)
        self.model, self.unit, self.shift = model, float(scale[0]), shift[0]
        self.points = (landmarks - self.shift) / self.unit
        self.weights = per_point[:, None] / CONFIG.noise
        self.modes = np.concatenate([model.identity, model.expression])
        self.start = np.zeros(6 + len(self.modes))
        self.start[:3] = geometry.rotation_vector(rotation[0])

    def residuals(self, unknowns: Array) -> Array:
        """Return residuals of the points and of the priors."""
        face = self.model.mean + np.tensordot(unknowns[6:], self.modes, 1)
        error = self.weights * (project(face, unknowns[:6]) - self.points)
        return np.concatenate([error.ravel(), unknowns[6:]])

    def jacobian(self, unknowns: Array) -> Array:
        """Return their derivatives."""
        pose, M = unknowns[:6], len(self.modes)
        face = self.model.mean + np.tensordot(unknowns[6:], self.modes, 1)
        ahead = np.exp(pose[3]) * geometry.rotation_matrix(pose[:3])[:2]
        out = np.zeros((len(face), 2, 6 + M))
        lever = -np.exp(pose[3]) * geometry.cross_matrix(face @ _rotation(pose).T)
        out[:, :, :3] = lever[:, :2] @ _left_jacobian(pose[:3])
        out[:, :, 3] = face @ ahead.T
        out[:, 0, 4] = out[:, 1, 5] = 1
        out[:, :, 6:] = np.einsum("ij,mnj->nim", ahead, self.modes)
        out *= self.weights[:, :, None]
        return np.concatenate([out.reshape(-1, 6 + M), np.eye(M, 6 + M, 6)])


def _rotation(pose: Array) -> Array:
    return geometry.rotation_matrix(pose[:3])


def _left_jacobian(vector: Array) -> Array:
    """Return d w / d vector with exp(w) R = R(vector + d vector), (3, 3): SO(3)'s left Jacobian."""
    angle = float(np.linalg.norm(vector))
    K = geometry.cross_matrix(vector)
    if angle < 1e-4:
        return np.asarray(np.eye(3) + K / 2)
    first, second = (1 - np.cos(angle)) / angle**2, (angle - np.sin(angle)) / angle**3
    return np.asarray(np.eye(3) + first * K + second * K @ K)


def scipy_frames(model: FaceModel, landmarks: Array) -> None:
    """Fit each frame on its own."""
    for points in landmarks:
        frame = Frame(model, points)
        least_squares(frame.residuals, frame.start, jac=frame.jacobian, method="lm")


def excess(model: FaceModel, landmarks: Array) -> float:
    """Return how far fit_clip's objective of one frame (68, 2) is above scipy's, relatively."""
    frame, fit = Frame(model, landmarks), fit_clip(model, landmarks[None], CONFIG)
    pose = fit.pose[0].copy()
    pose[3] -= np.log(frame.unit)
    pose[4:] = (pose[4:] - frame.shift) / frame.unit
    ours = np.concatenate([pose, fit.identity, fit.expression[0]])
    tight = {"xtol": 1e-14, "ftol": 1e-14, "gtol": 1e-14}
    best = least_squares(frame.residuals, ours, jac=frame.jacobian, method="lm", **tight)
    return float(0.5 * np.square(frame.residuals(ours)).sum() / best.cost - 1)


def measure(_: argparse.Namespace) -> Result:
    """Time all candidates for both sizes of model."""
    result = Result("fit", {})
    ratio: dict[str, float] = {}
    for size, (K, E) in SIZES.items():
        model = made_up_model(K, E)
        clip = made_up_clip(model, T, noise=NOISE)
        few = clip.landmarks[:: T // SAMPLE][:SAMPLE]
        timing = compare(
            {
                "scipy analytic": partial(scipy_frames, model, few),
                OURS: partial(fit_clip, model, clip.landmarks, CONFIG),
            }
        )
        result.milliseconds[size] = {
            "scipy analytic": timing.milliseconds["scipy analytic"] / SAMPLE,
            OURS: timing.milliseconds[OURS] / T,
        }
        ratio[f"scipy_analytic_{size}"] = timing.ratio[OURS] * T / SAMPLE
        result.notes[f"frames_per_second_{size}"] = 1e3 / result.milliseconds[size][OURS]
        result.differ(excess(model, clip.landmarks[0]), 0)
    result.ratio = {**ratio, "scipy_analytic": ratio["scipy_analytic_199+29"]}
    return result


if __name__ == "__main__":
    main(__doc__, measure)
