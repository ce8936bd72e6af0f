"""What codes hold and what a changed emotion does: pure measures on arrays.

Letters: N samples, D channels of a code, K classes, T frames.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from affekt.arrays import Array
from affekt.media.faces.points import EMOTION, MOUTH, mouth_opening

Reader = Callable[[Array, Array, Array], Array]  # training codes, their labels, codes -> labels

PENALTY = 1e-3  # of a probe's squared weights, against its mean cross entropy
ITERATIONS = 200  # of L-BFGS; the penalised problem is convex and converges in fewer
FLAT = 1e-6  # of a deviation; a track that moves less has no correlation with anything


@dataclass(frozen=True)
class Probe:
    """Multinomial logistic regression on standardised codes."""

    mean: Array  # (D,)
    deviation: Array  # (D,)
    weights: Array  # (D, K)
    bias: Array  # (K,)

    def predict(self, codes_ND: Array) -> Array:
        """Return the class of each code, (N,) int."""
        scores = (codes_ND - self.mean) / self.deviation @ self.weights + self.bias
        return scores.argmax(axis=1)


def nearest_mean(train_ND: Array, train_labels: Array, test_ND: Array) -> Array:
    """Return for each test code the label whose mean training code is nearest, Euclidean."""
    classes = np.unique(train_labels)
    means_KD = np.stack([train_ND[train_labels == label].mean(axis=0) for label in classes])
    return classes[_distances(test_ND, means_KD).argmin(axis=1)]


def nearest_mean_accuracy(
    train_ND: Array, train_labels: ArrayLike, test_ND: Array, test_labels: ArrayLike
) -> float:
    """Return the share of test codes nearest, by Euclidean distance, to their class's mean."""
    guesses = nearest_mean(train_ND, np.asarray(train_labels), test_ND)
    return float((guesses == np.asarray(test_labels)).mean())


def fit_probe(codes_ND: Array, labels: ArrayLike, penalty: float = PENALTY) -> Probe:
    """Fit a linear probe: mean cross entropy + penalty x squared weights, by L-BFGS in float64.

    Channels are standardised by the given codes; one that never changes counts for nothing.
    """
    mean, deviation = codes_ND.mean(axis=0), codes_ND.std(axis=0)
    deviation = np.where(deviation > 0, deviation, 1.0)
    codes = torch.from_numpy((codes_ND - mean) / deviation).double()
    wanted = torch.from_numpy(np.asarray(labels)).long()
    classes = int(wanted.max()) + 1
    weights = torch.zeros(codes.shape[1], classes, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weights, bias], max_iter=ITERATIONS, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(codes @ weights + bias, wanted) + penalty * weights.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return Probe(mean, deviation, weights.detach().numpy(), bias.detach().numpy())


def probe_accuracy(
    train_ND: Array,
    train_labels: ArrayLike,
    test_ND: Array,
    test_labels: ArrayLike,
    penalty: float = PENALTY,
) -> float:
    """Return the share of test codes whose label a linear probe of the training codes reads."""
    probe = fit_probe(train_ND, train_labels, penalty)
    return float((probe.predict(test_ND) == np.asarray(test_labels)).mean())


def read_linearly(train_ND: Array, train_labels: Array, test_ND: Array) -> Array:
    """Return the labels of test codes by a linear probe of the training codes; see `fit_probe`."""
    classes, index = np.unique(train_labels, return_inverse=True)
    return classes[fit_probe(train_ND, index).predict(test_ND)]


def hits_across(
    codes_ND: Array, labels: ArrayLike, groups: ArrayLike, read: Reader = read_linearly
) -> NDArray[np.bool_]:
    """Return for each code, (N,), whether a reader that never saw its group finds its label.

    Args:
        codes_ND: (N, D).
        labels: what is to be read, N of them.
        groups: such as sentences, N of them; each is left out in turn and read by the others.
        read: `read_linearly` or `nearest_mean`.

    Raises:
        ValueError: fewer than two groups.
    """
    labels, groups = np.asarray(labels), np.asarray(groups)
    names = np.unique(groups)
    if len(names) < 2:
        raise ValueError(f"leaving one group out needs two groups, got {len(names)}")
    hits = np.zeros(len(labels), bool)
    for name in names:
        test = groups == name
        hits[test] = read(codes_ND[~test], labels[~test], codes_ND[test]) == labels[test]
    return hits


def probe_accuracy_across(codes_ND: Array, labels: ArrayLike, groups: ArrayLike) -> float:
    """Return the share of codes that linear probes read; see `hits_across`."""
    return float(hits_across(codes_ND, labels, groups).mean())


def silhouette(codes_ND: Array, labels: ArrayLike) -> float:
    """Return the mean silhouette of the labels' clusters, -1 to 1; see `silhouettes`."""
    return float(silhouettes(codes_ND, labels).mean())


def silhouettes(codes_ND: Array, labels: ArrayLike) -> Array:
    """Return each code's silhouette, (N,), -1 to 1 (Rousseeuw 1987), Euclidean.

    For each code, a is its mean distance to its own cluster's others, b the least mean distance
    to another cluster; the silhouette is (b - a) / max(a, b), and 0 in a cluster of one.

    Raises:
        ValueError: fewer than two classes.
    """
    labels = np.asarray(labels)
    classes, index = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"a silhouette needs two classes, got {len(classes)}")
    member_NK = np.eye(len(classes))[index]
    sums_NK, counts_K = _distances(codes_ND, codes_ND) @ member_NK, member_NK.sum(axis=0)
    rows = np.arange(len(labels))
    own = sums_NK[rows, index] / np.maximum(counts_K[index] - 1, 1)
    means_NK = sums_NK / counts_K
    means_NK[rows, index] = np.inf
    other = means_NK.min(axis=1)
    larger = np.maximum(own, other)
    score = np.divide(other - own, larger, out=np.zeros_like(own), where=larger > 0)
    return np.where(counts_K[index] > 1, score, 0.0)


def _distances(first_ND: Array, second_MD: Array) -> Array:
    first, second = (torch.from_numpy(codes).double() for codes in (first_ND, second_MD))
    exact = "donot_use_mm_for_euclid_dist"  # by products, a code is not quite 0 from itself
    return torch.cdist(first, second, compute_mode=exact).numpy()


def principal_plane(codes_ND: Array) -> Array:
    """Return codes in the plane in which they differ most, (N, 2), centred (PCA).

    Either axis points to where its farthest code lies, so that equal codes give equal pictures.
    A plane that codes of one channel, or a single code, lack is filled up with zeros.
    """
    centred = np.asarray(codes_ND, float) - np.mean(codes_ND, axis=0)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    plane = np.zeros((len(centred), 2))
    found = (left * singular)[:, :2]
    plane[:, : found.shape[1]] = found
    farthest = plane[np.abs(plane).argmax(axis=0), (0, 1)]
    return plane * np.where(farthest < 0, -1.0, 1.0)


def correlation(first: ArrayLike, second: ArrayLike) -> float:
    """Return the correlation of two tracks (T,), NaN where one is still.

    Only times at which both are known (not NaN) count. NaN rather than 0: a track that never moves
    says nothing; take the median over clips without NaN.
    """
    a, b = np.asarray(first, float), np.asarray(second, float)
    known = ~(np.isnan(a) | np.isnan(b))
    if not known.any() or min(a[known].std(), b[known].std()) < FLAT:
        return float("nan")
    return float(np.corrcoef(a[known], b[known])[0, 1])


def mouth_correlation(first: Array, second: Array) -> float:
    """Return the correlation of the mouth openings of two clips (T, 68, 2); see `correlation`."""
    return correlation(mouth_opening(first), mouth_opening(second))


def point_distance(first: Array, second: Array, points: tuple[int, ...] = MOUTH) -> float:
    """Return the mean Euclidean distance of the named points of (..., 68, 2) landmarks."""
    chosen = list(points)
    return float(np.linalg.norm(first[..., chosen, :] - second[..., chosen, :], axis=-1).mean())


def moved_toward(swapped: Array, source_mean: Array, target_mean: Array) -> bool:
    """Return whether a clip's face is nearer the target emotion than the source emotion.

    Compared is the clip's mean over time of brows, lids and mouth corners, by the mean distance
    of these points to the true mean face of either emotion.

    Args:
        swapped: the predicted clip under the target emotion, (T, 68, 2).
        source_mean: true mean face (68, 2) of the speaker in the clip's own emotion.
        target_mean: the same in the emotion that was asked for.
    """
    face = swapped.mean(axis=0)
    return point_distance(face, target_mean, EMOTION) < point_distance(face, source_mean, EMOTION)
