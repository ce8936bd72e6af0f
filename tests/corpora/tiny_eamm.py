"""Small EAMM networks with random weights, as run folders, for tests."""

import torch
from safetensors.torch import save_file

from affekt.media.face3d.model import save_face_model
from affekt.nets.fingerprint import fingerprint
from eamm.a2fd import network as a2fd
from eamm.a2fd.layers import A2fdWidths
from eamm.a2fd.network import A2fd, config_for, save_a2fd_description
from eamm.displacement import network as displacement
from eamm.displacement.network import (
    Displacement,
    DisplacementConfig,
    DisplacementDescription,
    ExtractorConfig,
    save_displacement_description,
)
from eamm.fomm.blocks import HourglassConfig
from tests.corpora.made_up_faces import made_up_model
from tests.corpora.tiny_fomm import CONFIG, SIZE, tiny_fomm, write_tiny_fomm

WIDTHS = A2fdWidths(2, 8, (2, 4, 4, 4, 8), 16, 8, 8, 8, 16, 1, 8, 8, residual=True)
MOVED, GAINS = (0, 2), (0.5, 1.0)
DISPLACEMENT = DisplacementConfig(
    keypoints=CONFIG.keypoints.count,
    keypoint_ids=MOVED,
    projection=16,
    neutral=8,
    hidden=(16, 8, 8),
    extractor=ExtractorConfig(2, HourglassConfig(4, 16, 2), (8, 16), 1),
)
DESCRIPTION = DisplacementDescription(DISPLACEMENT, SIZE, GAINS)


def tiny_a2fd(seed=0, teacher=None):
    """Return an A2FD whose keypoints follow sound, pose and source."""
    torch.manual_seed(seed)
    model = A2fd(config_for(WIDTHS, CONFIG, teacher))
    model.start_from(tiny_fomm().detector)
    for layer in (*model.audio.modules(), *model.audio_fc, *model.pose):
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            torch.nn.init.kaiming_normal_(layer.weight)
    torch.nn.init.normal_(model.decoder[-1].weight, std=0.5)
    return model.eval()


def tiny_displacement(seed=0):
    """Return a displacement learner that tells pictures apart and moves far."""
    torch.manual_seed(seed)
    model = Displacement(DISPLACEMENT)
    for layer in (*model.predictor.hidden, model.predictor.output):
        if isinstance(layer, torch.nn.Linear):
            torch.nn.init.normal_(layer.weight, std=0.5)
    return model.eval()


def write_tiny_runs(root):
    """Write runs fomm/, a2fd/, displacement/ and a face model; return their folder."""
    write_tiny_fomm(root / "fomm")
    for name in ("a2fd", "displacement"):
        (root / name).mkdir(exist_ok=True)
    speaking = tiny_a2fd(teacher=fingerprint(tiny_fomm().detector))
    save_a2fd_description(root / "a2fd", speaking.config)
    save_file(speaking.state_dict(), root / "a2fd" / a2fd.WEIGHTS)
    save_displacement_description(root / "displacement", DESCRIPTION)
    save_file(tiny_displacement().state_dict(), root / "displacement" / displacement.WEIGHTS)
    save_face_model(made_up_model(K=3, E=3), root / "face_model.npz")
    return root
