"""A made-up prepared corpus of profile eamm, for tests of EAMM's stages.

The sound says how far the mouth is open, the pose where the head is, the speaker what it looks
like; a frame shows all three and nothing else.
"""

import numpy as np
import torch

from affekt.runtime.training import checkpoint
from eamm.fomm.blocks import HourglassConfig
from eamm.fomm.generator import GeneratorConfig
from eamm.fomm.keypoints import KeypointConfig
from eamm.fomm.model import Fomm, FommConfig, save_fomm_description
from eamm.fomm.motion import MotionConfig
from tests.corpora.made_up_faces import plain_face
from tests.corpora.portrait_corpus import SIZE, picture
from tests.corpora.prepared import write_clip, write_corpus

LOWER_LIP = (55, 56, 57, 58, 59, 65, 66, 67)
PHONEMES = 3
FOMM = FommConfig(
    size=32,
    keypoints=KeypointConfig(3, HourglassConfig(8, 32, 2), downscale=2),
    motion=MotionConfig(HourglassConfig(8, 32, 2), downscale=2),
    generator=GeneratorConfig(8, 16, 1, 1),
)


def make_driven_corpus(root, speakers=4, clips=4, frames=30, **info):
    """Write speakers M901 ... with neutral clips, the last speaker held out; return it opened."""
    rng = np.random.default_rng(0)
    sounds = 12 * rng.standard_normal((PHONEMES, 13))
    rows = []
    for s in range(speakers):
        face = plain_face(SIZE) + rng.uniform(-1.5, 1.5, (68, 2))
        for c in range(clips):
            said = rng.integers(PHONEMES, size=frames // 3 + 1)[np.arange(frames) // 3]
            head = np.stack(
                [5 * np.sin(np.arange(frames) / 5 + rng.uniform(0, 6)) for _ in "xy"], 1
            )
            landmarks = face + head[:, None]
            landmarks[:, LOWER_LIP, 1] += 4 * said[:, None]
            split = "train" if s < speakers - 1 else "test_speaker"
            heard = np.pad(said, (3, 3), mode="edge").repeat(4)  # row 12 is frame 0's
            arrays = {
                "mfcc": sounds[heard] + 0.3 * rng.standard_normal((len(heard), 13)),
                "pose": np.concatenate([0.01 * rng.standard_normal((frames, 4)), head], axis=1),
                "landmarks": landmarks,
            }
            pictures = [picture(points) for points in landmarks]
            rows.append(write_clip(root, f"M{901 + s}", c, pictures, split, **arrays))
    return write_corpus(root, rows, **info)


def make_fomm(run_dir, config=FOMM):
    """Write a run folder of a FOMM that was not trained, but whose keypoints see the face.

    They are the middle of the lips, which open and move; of the eyes, which only move; and of
    nothing in particular. The jacobians follow the colours around each.
    """
    fomm = Fomm(config)
    heads = fomm.detector.heads
    middle = config.keypoints.kernel // 2
    heads.kp.weight.data[:2] = 0
    heads.kp.weight.data[0, -3:, middle, middle] = torch.tensor([2.0, -2.0, 0.0])
    heads.kp.weight.data[1, -3:, middle, middle] = 0.6
    heads.jacobian.weight.data.normal_(0, 0.05)
    save_fomm_description(run_dir, config)
    parts = {"detector": fomm.detector, "generator": fomm.generator}
    checkpoint.save(run_dir / "checkpoints", 1, parts)
    return fomm.eval()
