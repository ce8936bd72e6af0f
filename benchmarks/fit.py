"""affekt.media.face3d.fit on a clip of 200 frames against scipy's least_squares on each frame.

    OMP_NUM_THREADS=1 python -m benchmarks.fit
    OMP_NUM_THREADS=1 python -m benchmarks.fit --json

Made-up face models of EVP's size (199 identity and 29 expression modes) and of ICT-FaceKit's (100
and 53). scipy fits every frame on its own, geometry included, as the paper describes (supplement
Sec. 1.2), from the same start, by Levenberg-Marquardt with an analytic Jacobian or differences. It
fits a few frames of the clip and its time is counted per frame; `ratio` is frames a second of
affekt.media.face3d.fit over those of scipy, `scipy_analytic` being that of EVP's size.
`max_abs_diff` compares objectives, relatively: a clip of 4 frames by affekt.media.face3d.fit and,
geometry shared, by scipy from there until it moves no more.

Wanted: at least 500 frames a second and 40 times scipy with the analytic Jacobian; 1e-6.
"""

import time
import typing as tp
from functools import partial

import numpy as np
from scipy.optimize import least_squares

from affekt.arrays import Array
from affekt.media.face3d.fit import FitConfig, fit_clip, weak_perspective
from affekt.media.face3d.model import FaceModel, project
from affekt.media.faces import geometry
from benchmarks.harness import Result, compare, main, table
from benchmarks.made_up_faces import Clip, made_up_clip, made_up_model

SIZES = {"199+29": (199, 29), "100+53": (100, 53)}
T = 200  # frames of the clip
SAMPLE = 3  # of them, fitted by scipy with the analytic Jacobian in each round
SHARED = 4  # frames of the clip that scipy fits whole
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


def scipy_frames(model: FaceModel, landmarks: Array, analytic: bool) -> None:
    """Fit each frame on its own."""
    for points in landmarks:
        frame = Frame(model, points)
        jacobian = frame.jacobian if analytic else "2-point"
        least_squares(frame.residuals, frame.start, jac=jacobian, method="lm")


def excess(model: FaceModel, clip: Clip) -> float:
    """Return how far fit_clip's objective is above scipy's converged one, relatively."""
    landmarks = clip.landmarks[:SHARED]
    fit = fit_clip(model, landmarks, CONFIG)
    frames = [Frame(model, points) for points in landmarks]
    unit, K = float(np.median([frame.unit for frame in frames])), len(model.identity)
    for frame, points in zip(frames, landmarks, strict=True):
        frame.points, frame.unit = (points - frame.shift) / unit, unit

    def split(unknowns: Array) -> tp.Iterator[tuple[Frame, Array]]:
        for frame, own in zip(frames, unknowns[K:].reshape(SHARED, -1), strict=True):
            yield frame, np.concatenate([own[:6], unknowns[:K], own[6:]])

    def residuals(unknowns: Array) -> Array:
        parts = [np.delete(f.residuals(u), _prior(K)) for f, u in split(unknowns)]
        return np.concatenate([unknowns[:K], *parts])

    def jacobian(unknowns: Array) -> Array:
        own = (len(unknowns) - K) // SHARED
        rows = [np.eye(K, len(unknowns))]
        for index, (frame, values) in enumerate(split(unknowns)):
            part = np.delete(frame.jacobian(values), _prior(K), axis=0)
            block = np.zeros((len(part), len(unknowns)))
            block[:, :K] = part[:, 6 : 6 + K]
            at = K + own * index
            block[:, at : at + own] = np.delete(part, np.s_[6 : 6 + K], axis=1)
            rows.append(block)
        return np.concatenate(rows)

    pose = fit.pose.copy()
    pose[:, 3] -= np.log(unit)
    pose[:, 4:] = (pose[:, 4:] - [frame.shift for frame in frames]) / unit
    ours = np.concatenate([fit.identity, np.hstack([pose, fit.expression]).ravel()])
    tight = {"xtol": 1e-14, "ftol": 1e-14, "gtol": 1e-14}
    best = least_squares(residuals, ours, jac=jacobian, method="lm", **tight)
    return float(0.5 * np.square(residuals(ours)).sum() / best.cost - 1)


def _prior(K: int) -> slice:
    """Return where a frame's residuals hold the prior of its own identity."""
    return slice(2 * 68, 2 * 68 + K)


def measure() -> tuple[Result, str]:
    """Time all candidates for both sizes of model."""
    ratio, milliseconds, rows, difference = {}, {}, [], 0.0
    notes: dict[str, tp.Any] = {}
    for size, (K, E) in SIZES.items():
        model = made_up_model(K, E)
        clip = made_up_clip(model, T, noise=NOISE)
        few = clip.landmarks[:: T // SAMPLE][:SAMPLE]
        timing = compare(
            {
                "scipy analytic": partial(scipy_frames, model, few, True),
                "affekt.media.face3d.fit": partial(fit_clip, model, clip.landmarks, CONFIG),
            }
        )
        numeric = _seconds(partial(scipy_frames, model, few[:1], False))
        per_frame = {
            "scipy numeric": 1e3 * numeric,
            "scipy analytic": timing.milliseconds["scipy analytic"] / SAMPLE,
            "affekt.media.face3d.fit": timing.milliseconds["affekt.media.face3d.fit"] / T,
        }
        times = timing.ratio["affekt.media.face3d.fit"] * T / SAMPLE
        ratio[f"scipy_analytic_{size}"] = times
        milliseconds[size] = per_frame
        notes[f"frames_per_second_{size}"] = 1e3 / per_frame["affekt.media.face3d.fit"]
        difference = max(difference, excess(model, clip))
        for name, value in per_frame.items():
            rows.append([size, name, value, 1e3 / value, per_frame["scipy analytic"] / value])
    ratio["scipy_analytic"] = ratio["scipy_analytic_199+29"]
    text = table(["model", "candidate", "ms a frame", "frames/s", "times scipy"], rows)
    return Result("fit", ratio, difference, milliseconds, notes), text


def _seconds(run: tp.Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


if __name__ == "__main__":
    main(__doc__, measure)
