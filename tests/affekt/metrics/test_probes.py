import numpy as np
import pytest
import torch

from affekt.metrics.probes import (
    fit_probe,
    leave_one_group_out_accuracy,
    nearest_mean_accuracy,
    principal_plane,
    probe_accuracy,
    silhouette,
)


def blobs(count=40, seed=0, apart=4.0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=count)
    return apart * np.eye(5)[labels] + rng.normal(size=(count, 5)), labels


def test_nearest_mean_by_hand():
    train = np.array([[0.0], [2.0], [10.0]])
    test = np.array([[5.0], [6.0], [0.0]])  # means 1 and 10 meet at 5.5
    assert nearest_mean_accuracy(train, [4, 4, 7], test, [4, 7, 7]) == pytest.approx(2 / 3)


def test_a_probe_finds_the_minimum_of_its_penalised_loss():
    codes, labels = blobs(apart=1.0)
    probe = fit_probe(codes, labels, penalty=0.05)
    weights = torch.from_numpy(probe[-1].coef_.T).requires_grad_()
    bias = torch.from_numpy(probe[-1].intercept_).requires_grad_()
    scores = torch.from_numpy((codes - codes.mean(0)) / codes.std(0)) @ weights + bias
    loss = torch.nn.functional.cross_entropy(scores, torch.from_numpy(labels))
    (loss + 0.05 * weights.square().sum()).backward()
    assert weights.grad.abs().max() < 1e-4
    assert bias.grad.abs().max() < 1e-4


def test_two_classes_share_the_penalty_of_several():
    codes, labels = blobs(apart=1.0)
    codes, labels = codes[labels < 2], labels[labels < 2]
    probe = fit_probe(codes, labels, penalty=0.05)
    weights = probe[-1].coef_[0] / 2  # of one class; the other has the negative
    standard = (codes - codes.mean(0)) / codes.std(0)
    share = 1 / (1 + np.exp(-(2 * standard @ weights + probe[-1].intercept_)))
    slope = ((share - labels)[:, None] * standard).mean(axis=0) + 2 * 0.05 * weights
    assert np.abs(slope).max() < 1e-4


def test_a_probe_reads_what_is_there_and_nothing_else():
    train, labels = blobs(120, seed=0)
    test, test_labels = blobs(120, seed=1)
    assert probe_accuracy(train, labels, test, test_labels) > 0.95
    noise = np.random.default_rng(2).normal(size=(240, 5))
    assert probe_accuracy(noise[:120], labels, noise[120:], test_labels) < 0.55


def test_a_probe_does_not_care_about_scale_offset_or_a_dead_channel():
    codes, labels = blobs()
    changed = np.column_stack([codes * 1e3 - 50, np.zeros(len(codes))])
    guesses = fit_probe(codes, labels).predict(codes)
    np.testing.assert_array_equal(fit_probe(changed, labels).predict(changed), guesses)


def test_across_groups_the_probe_never_saw_the_group():
    codes, labels = blobs(60)
    groups = np.arange(60) % 2
    assert leave_one_group_out_accuracy(codes, labels, groups) > 0.9
    opposite = np.where(groups[:, None] == 1, np.roll(codes, 1, axis=1), codes)
    assert leave_one_group_out_accuracy(opposite, labels, groups) < 0.4
    with pytest.raises(ValueError, match="fewer than 2 unique groups"):
        leave_one_group_out_accuracy(codes, labels, np.zeros(60))


def test_silhouette_by_hand():
    codes = np.array([[0.0], [1.0], [4.0], [9.0]])
    # cluster 0 holds 0 and 1, cluster 1 holds 4, cluster 2 holds 9
    first = (4 - 1) / 4
    assert silhouette(codes, [0, 0, 1, 2]) == pytest.approx((first + (3 - 1) / 3 + 0 + 0) / 4)
    with pytest.raises(ValueError, match="Number of labels is 1"):
        silhouette(codes, [0, 0, 0, 0])


def test_the_principal_plane_holds_the_widest_directions():
    spread = np.random.default_rng(0).normal(size=(200, 5)) * [0.1, 9, 0.1, 3, 0.1] + 50
    plane = principal_plane(spread)
    centred = spread - spread.mean(axis=0)
    for axis, channel in ((0, 1), (1, 3)):
        assert abs(np.corrcoef(plane[:, axis], centred[:, channel])[0, 1]) > 0.99
        assert plane[np.abs(plane[:, axis]).argmax(), axis] > 0
    np.testing.assert_allclose(principal_plane(-spread), plane)
    line = principal_plane(np.array([[3.0], [4.0], [8.0]]))
    np.testing.assert_allclose(line, [[-2, 0], [-1, 0], [3, 0]])
