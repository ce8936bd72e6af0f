import math

import pytest
import torch

from affekt.nets.places import bumps, pixel_centres


def test_pixel_centres_lie_half_a_pixel_inside_the_edges():
    grid = pixel_centres(2, 4, like=torch.zeros(1))
    assert grid[0, :, 0].tolist() == [-0.75, -0.25, 0.25, 0.75]
    assert grid[:, 0, 1].tolist() == [-0.5, 0.5]


def test_a_bump_is_one_at_its_place_and_falls_off_in_shares_of_the_side():
    places = pixel_centres(10, 10, like=torch.zeros(1))[4, 7][None, None]
    bump = bumps(places, (10, 10), 0.2)  # two of ten pixels
    assert bump.shape == (1, 1, 10, 10)
    assert float(bump[0, 0, 4, 7]) == 1
    assert float(bump[0, 0, 4, 5]) == pytest.approx(math.exp(-0.5))
    assert float(bump[0, 0, 2, 5]) == pytest.approx(math.exp(-1))
