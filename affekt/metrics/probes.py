"""Measures of codes: linear probes, nearest class means, silhouettes and the principal plane.

Letters: N samples, D channels of a code.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from affekt.arrays import Array

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

Classify = Callable[[Array, Array, Array], Array]  # training codes, their labels, codes -> labels

PENALTY = 1e-3  # of a probe's squared weights, against its mean cross entropy
ITERATIONS, TOLERANCE = 1_000, 1e-6  # of L-BFGS; the penalised problem is convex


def nearest_mean(train_ND: Array, train_labels: Array, test_ND: Array) -> Array:
    """Return for each test code the label whose mean training code is nearest, Euclidean."""
    from sklearn.metrics import pairwise_distances_argmin

    classes = np.unique(train_labels)
    means = np.stack([train_ND[train_labels == label].mean(axis=0) for label in classes])
    return classes[pairwise_distances_argmin(test_ND, means)]


def nearest_mean_accuracy(
    train_ND: Array, train_labels: ArrayLike, test_ND: Array, test_labels: ArrayLike
) -> float:
    """Return the share of test codes nearest, by Euclidean distance, to their class's mean."""
    found = nearest_mean(train_ND, np.asarray(train_labels), test_ND)
    return float((found == np.asarray(test_labels)).mean())


def fit_probe(codes_ND: Array, labels: ArrayLike, penalty: float = PENALTY) -> "Pipeline":
    """Fit a linear probe: multinomial logistic regression on standardised codes.

    Least is mean cross entropy + penalty x squared weights. Channels are standardised by the given
    codes; one that never changes counts for nothing.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # scikit-learn adds the cross entropies up, and half the squared weights; between two classes it
    # has one vector of weights, the difference of ours.
    halves = 1 if len(np.unique(labels)) == 2 else 2
    strength = 1 / (halves * penalty * len(codes_ND))
    regression = LogisticRegression(C=strength, tol=TOLERANCE, max_iter=ITERATIONS)
    return make_pipeline(StandardScaler(), regression).fit(codes_ND.astype(np.float64), labels)


def linear_probe(
    train_ND: Array, train_labels: Array, test_ND: Array, penalty: float = PENALTY
) -> Array:
    """Return the labels of test codes by a linear probe of the training codes; see `fit_probe`."""
    if len(np.unique(train_labels)) == 1:
        return np.full(len(test_ND), train_labels[0])
    return fit_probe(train_ND, train_labels, penalty).predict(test_ND.astype(np.float64))


def probe_accuracy(
    train_ND: Array,
    train_labels: ArrayLike,
    test_ND: Array,
    test_labels: ArrayLike,
    penalty: float = PENALTY,
) -> float:
    """Return the share of test codes that a linear probe of the training codes classifies right."""
    found = linear_probe(train_ND, np.asarray(train_labels), test_ND, penalty)
    return float((found == np.asarray(test_labels)).mean())


def leave_one_group_out_hits(
    codes_ND: Array, labels: ArrayLike, groups: ArrayLike, classify: Classify = linear_probe
) -> NDArray[np.bool_]:
    """Return for each code, (N,), whether it is classified right without its group in training.

    Args:
        codes_ND: (N, D).
        labels: what is classified, N of them.
        groups: such as sentences, N of them; each is left out in turn.
        classify: `linear_probe` or `nearest_mean`.

    Raises:
        ValueError: fewer than two groups.
    """
    from sklearn.model_selection import LeaveOneGroupOut

    labels = np.asarray(labels)
    hits = np.zeros(len(labels), bool)
    for train, test in LeaveOneGroupOut().split(codes_ND, labels, groups):
        hits[test] = classify(codes_ND[train], labels[train], codes_ND[test]) == labels[test]
    return hits


def leave_one_group_out_accuracy(codes_ND: Array, labels: ArrayLike, groups: ArrayLike) -> float:
    """Return the share of `leave_one_group_out_hits` of linear probes."""
    return float(leave_one_group_out_hits(codes_ND, labels, groups).mean())


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
    if len(np.unique(labels)) == len(codes_ND) > 1:
        return np.zeros(len(codes_ND))  # which scikit-learn refuses
    from sklearn.metrics import silhouette_samples

    return silhouette_samples(codes_ND.astype(np.float64), labels)


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
