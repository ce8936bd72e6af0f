"""Speed of Audio2Facial-Dynamics over a clip: frames as one batch against a loop over frames.

    python -m benchmarks.a2fd --json

At the paper's size, one thread, float32, a clip of 100 frames (4 s). The reference is what a loop
does that treats time step by step: every encoder, one step of the LSTM, decoder and heads for a
single frame, the source encoded once. The network itself runs the LSTM once a clip and everything
else for all frames at once, in the memory layout in which `load_a2fd` returns it. Random weights;
they change neither.
"""

import argparse
import copy

import torch
from torch import Tensor

from benchmarks.harness import Result, main
from eamm.a2fd.layers import A2fdConfig
from eamm.a2fd.network import A2fd

FRAMES = 100
ROUNDS = 7


@torch.no_grad()
def frame_by_frame(model: A2fd, source: Tensor, windows: Tensor, pose: Tensor) -> Tensor:
    """Return the values of all keypoints, (1, T, K, 2), from a loop over frames."""
    identity = model.identity(source).flatten(1)
    state, found = None, []
    for t in range(windows.shape[1]):
        sound = model.audio_fc(model.audio(windows[:, t, None]).flatten(1))
        code = torch.cat([identity, sound, model.pose(pose[:, t])], dim=1)
        hidden, state = model.lstm(code[:, None], state)
        keypoints, _ = model.heads(model.decoder(hidden.reshape(1, -1, 1, 1)))
        found.append(keypoints.value)
    return torch.stack(found, dim=1)


def measure(_: argparse.Namespace) -> Result:
    """Time both on one clip."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = A2fd(A2fdConfig()).eval()
    ours = copy.deepcopy(model).to(memory_format=torch.channels_last)
    source = torch.rand(1, 3, 256, 256)
    windows, pose = 10 * torch.randn(1, FRAMES, 28, 12), torch.randn(1, FRAMES, 6)

    @torch.no_grad()
    def at_once() -> Tensor:
        return ours(source, windows, pose)[0].value

    def looped() -> Tensor:
        return frame_by_frame(model, source, windows, pose)

    result = Result("a2fd")
    result.differ(at_once(), looped())
    timing = result.time(
        f"{FRAMES} frames", {"frame by frame": looped, "whole clip": at_once}, rounds=ROUNDS
    )
    result.ratio = timing.ratio["whole clip"]
    return result


if __name__ == "__main__":
    main(__doc__, measure)
