"""A made-up prepared corpus of profile eamm with emotions, and frozen networks that see them.

An emotion raises or lowers the brows, speech opens the mouth, the pose moves the whole face. The
detector's keypoints are lips (0), brows (1) and eyes (2); A2FD leaves the picture's own keypoints
where they are, so that brows are what is left to learn.
"""

from dataclasses import replace

import cv2
import numpy as np
import torch

from affekt.nets.fingerprint import fingerprint
from affekt.runtime.training import checkpoint
from eamm.a2fd.layers import A2fdWidths
from eamm.a2fd.network import A2fd, config_for, save_a2fd_description
from eamm.displacement.network import DisplacementConfig, ExtractorConfig
from eamm.fomm.blocks import HourglassConfig
from eamm.fomm.model import Fomm, save_fomm_description
from tests.corpora.driven_corpus import FOMM, LOWER_LIP
from tests.corpora.made_up_faces import plain_face
from tests.corpora.portrait_corpus import SIZE, picture
from tests.corpora.prepared import write_clip, write_corpus

EMOTIONS = ("angry", "happy", "neutral")
BROW_SHIFT = {"angry": 5.0, "happy": -6.0, "neutral": 0.0}  # pixels down
BROW = (10, 10, 250)
WIDTHS = A2fdWidths(4, 8, (2, 2, 4, 4, 4), 8, 8, 8, 8, 8, 1, 8, 8, residual=True)
MODEL = DisplacementConfig(
    keypoints=3,
    keypoint_ids=(1,),
    frequencies=2,
    projection=16,
    neutral=16,
    hidden=(32, 16, 16),
    extractor=ExtractorConfig(2, HourglassConfig(4, 16, 2), (8, 16), 1),
)


def make_emotional_corpus(root, speakers=6, held_out=2, frames=10, emotions=EMOTIONS, **info):
    """Write speakers M901 ..., two neutral clips and one of each emotion; return it opened."""
    rng = np.random.default_rng(0)
    rows = []
    for s in range(speakers):
        face = plain_face(SIZE) + rng.uniform(-1.5, 1.5, (68, 2))
        for emotion, number in [(e, 1) for e in emotions] + [("neutral", 2)]:
            level = 1 if emotion == "neutral" else 3
            split = "test_speaker" if s >= speakers - held_out else "train"
            head = 0.7 * rng.standard_normal((frames, 2))
            landmarks = face + head[:, None]
            landmarks[:, 17:27, 1] += BROW_SHIFT[emotion]
            landmarks[:, LOWER_LIP, 1] += rng.uniform(0, 8, frames)[:, None]
            arrays = {
                "mfcc": rng.standard_normal((4 * frames + 24, 13)),
                "pose": np.concatenate([0.01 * rng.standard_normal((frames, 4)), head], axis=1),
                "landmarks": landmarks,
            }
            pictures = [face_with_brows(points) for points in landmarks]
            shown = {"emotion": emotion, "level": level}
            clip = write_clip(root, f"M{901 + s}", number, pictures, split, **shown, **arrays)
            rows.append(clip)
    return write_corpus(root, rows, **{"emotions": list(EMOTIONS)} | info)


def face_with_brows(landmarks):
    """Return the face (SIZE, SIZE, 3) RGB with thick brows of a colour of their own."""
    frame = picture(landmarks)
    for brow in (landmarks[17:22], landmarks[22:27]):
        line = np.rint(brow * 16).astype(np.int32)
        cv2.polylines(frame, [line], False, BROW, 4, cv2.LINE_AA, shift=4)
    return frame


def make_emotional_fomm(run_dir, config=FOMM):
    """Write a run folder of an untrained FOMM whose keypoints are lips, brows and eyes."""
    config = replace(config, keypoints=replace(config.keypoints, kernel=3))
    fomm = Fomm(config)
    heads = fomm.detector.heads
    heads.kp.weight.data.zero_()
    colours = [[2.0, -2.0, -1.0], [-2.0, -2.0, 2.0], [1.5, 2.0, 3.0]]
    heads.kp.weight.data[:, -3:, 1, 1] = torch.tensor(colours)
    heads.jacobian.weight.data[:, -3:].normal_(0, 0.05)
    save_fomm_description(run_dir, config)
    parts = {"detector": fomm.detector, "generator": fomm.generator}
    checkpoint.save(run_dir / "checkpoints", 1, parts)
    return fomm.eval()


def make_still_a2fd(run_dir, fomm):
    """Write a run folder of an untrained A2FD, which gives every frame the picture's keypoints."""
    config = replace(config_for(WIDTHS, fomm.config), teacher=fingerprint(fomm.detector))
    a2fd = A2fd(config)
    a2fd.start_from(fomm.detector)
    save_a2fd_description(run_dir, config)
    checkpoint.save(run_dir / "checkpoints", 1, {"model": a2fd})
    return a2fd.eval()
