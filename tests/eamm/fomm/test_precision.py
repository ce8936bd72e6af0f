"""Geometry under autocast to bfloat16 is float32's, to a twentieth of a pixel of 256."""

import pytest
import torch

from affekt.nets.warp import compose_flows, warp_by_flow, warp_by_grid
from eamm.displacement.network import apply_displacement
from eamm.fomm.blocks import HourglassConfig
from eamm.fomm.keypoints import KeypointConfig, KeypointHeads, Keypoints
from eamm.fomm.losses import equivariance_jacobian, equivariance_value
from eamm.fomm.motion import DenseMotion, MotionConfig, sparse_motions
from eamm.fomm.transfer import relative
from eamm.fomm.transform import TransformConfig, random_transform
from evp.networks.generator import GeneratorConfig
from evp.networks.temporal_generator import TemporalGenerator

PIXELS = 127.5  # of a 256 px picture, for a unit of [-1, 1]
LIMIT = 0.05  # pixels
K = 10


def in_bfloat16(function, *args):
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        return function(*args)


def exactly(function, *args):
    with torch.no_grad():
        return function(*args)


def apart(function, *args):
    """The largest distance between a result under autocast and without, in float32."""
    one, other = in_bfloat16(function, *args), exactly(function, *args)
    assert one.dtype == torch.float32
    return float((one - other).abs().max())


def keypoints(batch=4):
    turned = torch.eye(2) + 0.3 * torch.randn(batch, K, 2, 2)
    return Keypoints(1.6 * torch.rand(batch, K, 2) - 0.8, turned)


def test_sparse_motion_is_float32s():
    assert PIXELS * apart(lambda a, b: sparse_motions(a, b, (64, 64)), keypoints(), keypoints()) < (
        LIMIT
    )


def test_the_dense_flow_is_float32s_for_one_mask():
    motion = DenseMotion(K, MotionConfig(HourglassConfig(8, 32, 2)), align_corners=True).eval()
    torch.nn.init.normal_(motion.mask.weight, std=0.01)
    frames, source, driving = torch.rand(4, 3, 256, 256), keypoints(), keypoints()
    found = in_bfloat16(motion, frames, source, driving)
    moved = sparse_motions(source, driving, (64, 64))
    expected = (found.mask.float()[..., None] * moved).sum(dim=1)
    assert found.flow.dtype == torch.float32
    assert PIXELS * float((found.flow - expected).abs().max()) < LIMIT
    assert torch.allclose(found.mask.sum(dim=1), torch.ones(()), atol=1e-5)
    fresh = DenseMotion(K, MotionConfig(HourglassConfig(8, 32, 2)), align_corners=True).eval()
    assert PIXELS * apart(lambda *given: fresh(*given).flow, frames, source, driving) < LIMIT


def test_the_random_warp_and_its_jacobian_are_float32s():
    transform = random_transform(4, TransformConfig(), torch.zeros(()))
    points = 2 * torch.rand(4, 100, 2) - 1
    assert PIXELS * apart(transform.points, points) < LIMIT
    assert apart(transform.jacobian, points) < 1e-5
    driving, warped = keypoints(), keypoints()
    for term in (equivariance_value, equivariance_jacobian):
        assert apart(term, driving, warped, transform) < 1e-5


def test_keypoints_are_float32s_of_the_same_features():
    heads = KeypointHeads(8, KeypointConfig(K))
    torch.nn.init.normal_(heads.jacobian.weight, std=0.01)
    features = torch.randn(2, 8, 64, 64)
    assert PIXELS * apart(lambda f: heads(f)[0].value, features) < LIMIT
    assert apart(lambda f: heads(f)[0].jacobian, features) < 1e-5
    assert apart(lambda f: heads(f)[1], features) < 1e-6
    rough = in_bfloat16(heads, features.bfloat16())[0]
    assert torch.equal(rough.value, exactly(heads, features.bfloat16().float())[0].value)


def test_transferred_and_displaced_keypoints_are_float32s():
    source, driving, initial = keypoints(), keypoints(), keypoints(1)
    for part in (0, 1):
        assert apart(lambda *kp, part=part: relative(*kp)[part], source, driving, initial) < 1e-5
    offsets = Keypoints(torch.randn(4, 2, 2).bfloat16(), torch.randn(4, 2, 2, 2).bfloat16())
    moved = in_bfloat16(apply_displacement, source, offsets, (3, 1))
    expected = source.value[:, 3] + offsets.value[:, 0].float()
    assert torch.equal(moved.value[:, 3], expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_warp_finds_its_place_to_a_twentieth_of_a_pixel(dtype):
    """A ramp shows in its own value where it was looked up: x + 3.25 for a step of 3.25."""
    ramp = torch.arange(256.0).expand(1, 1, 256, 256)
    flow = torch.zeros(1, 2, 256, 256, dtype=dtype)
    flow[:, 0] = 3.25
    inside = slice(0, 250)
    expected = (ramp + 3.25)[..., inside]
    warped = in_bfloat16(warp_by_flow, ramp, flow)
    assert float((warped[..., inside] - expected).abs().max()) < LIMIT
    twice = in_bfloat16(compose_flows, flow, flow)
    assert float((twice[:, 0] - 6.5).abs().max()) < LIMIT
    x = (torch.arange(256.0) / PIXELS - 1).expand(256, 256)
    grid = torch.stack([x, x.T], dim=-1)[None]
    assert float((in_bfloat16(warp_by_grid, ramp, grid, True) - ramp).abs().max()) < LIMIT


def test_the_temporal_generators_flow_is_float32s_of_its_features():
    generator = TemporalGenerator(1, GeneratorConfig(4, 1, 2, 0, previous=1)).eval()
    heads = generator.heads[0]
    torch.nn.init.normal_(heads.flow.weight, std=0.2)
    seen = torch.randn(1, 4, 32, 32)
    last = torch.rand(1, 3, 32, 32)
    assert float(exactly(heads, seen, seen, last).flow.abs().max()) > 20  # pixels
    assert apart(lambda m: heads(m, m, last).flow, seen) < LIMIT
