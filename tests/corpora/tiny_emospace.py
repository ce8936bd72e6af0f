"""Small emospace networks with random weights, as run folders, for tests."""

from dataclasses import replace

import torch

from affekt.media.face3d.model import save_face_model
from affekt.nets.fingerprint import fingerprint
from affekt.runtime.files import sha256
from affekt.runtime.training import checkpoint
from affekt.runtime.training.optim import Ema
from emospace.data.motions import MotionStats
from emospace.data.prompts import Adverbs
from emospace.inference.expression import ExpressionDescription, save_expression_description
from emospace.inference.renderer import FaceRendererDescription, save_description
from emospace.networks import emotion_space as spaces
from emospace.networks.audio_encoder import AudioEncoderConfig
from emospace.networks.emotion_space import EmotionSpace, EmotionSpaceConfig
from emospace.networks.expression import ExpressionNetConfig, ExpressionTransformer
from emospace.networks.renderer import Renderer, RendererConfig
from emospace.networks.towers import ImageTowerConfig, TextTowerConfig
from tests.corpora.emotion_space_corpus import emotion_model
from tests.corpora.made_up_space import BANK

EMOTIONS, MODES, SIZE = ("angry", "happy", "neutral"), 6, 32
SPACE = EmotionSpaceConfig(
    code_dim=16,
    audio=AudioEncoderConfig(layers=1, heads=2, width=16, feedforward=16),
    text=TextTowerConfig("mini", "finetune"),
    image=ImageTowerConfig("mini", "finetune", size=32),
)
PHI = ExpressionNetConfig(1, 2, 16, 16, mel_rows=16, mel_hidden=16)
HEF = RendererConfig(
    size=SIZE, channels=(8, 6, 4), style=8, mapping=8, window=1, prior=True, blend_picture=True
)
STATS = MotionStats((0.0,) * (6 + MODES), (1.0,) * (6 + MODES))


def write_tiny_emospace(root):
    """Write emotion_space/, expression/, renderer/ and face_model.npz into a folder."""
    torch.manual_seed(0)
    model = emotion_model(MODES)
    save_face_model(model, root / "face_model.npz")
    digest = sha256(root / "face_model.npz")

    bank = replace(BANK, adverbs=(Adverbs(("slightly",), 0.45),))
    space = EmotionSpace(SPACE, EMOTIONS, bank)
    spaces.save_description(root / "emotion_space", space)
    checkpoint.save(root / "emotion_space/checkpoints", 1, {"space": space})

    phi = ExpressionTransformer(PHI, SPACE.code_dim, MODES)
    torch.nn.init.normal_(phi.head.weight, std=0.3)
    save_expression_description(
        root / "expression",
        ExpressionDescription(
            PHI, SPACE.code_dim, MODES, 9, 3, EMOTIONS, model.name, digest, fingerprint(space)
        ),
    )
    checkpoint.save(root / "expression/checkpoints", 1, {"model": phi})

    renderer = Renderer(HEF, STATS, model)
    description = FaceRendererDescription(HEF, STATS, model.name, digest)
    save_description(root / "renderer", description, model)
    checkpoint.save(root / "renderer/checkpoints", 1, {"ema": Ema(renderer, 0.0)})
