"""Small EVP encoders and landmark networks with random weights, as run folders, for tests."""

from affekt.runtime.files import write_text
from affekt.runtime.training.checkpoint import save
from evp.inference.emotion_codes import mean_codes, save_codes
from evp.landmark_space import fit_space
from evp.networks.audio2lm import (
    Audio2Landmark,
    Audio2LandmarkConfig,
    PredictorDescription,
    save_network,
)
from evp.networks.encoders import (
    ContentEncoderConfig,
    EmotionEncoderConfig,
    Encoders,
    EncodersConfig,
    EncodersDescription,
    save_description,
)

SIZES = EncodersConfig(  # enough to learn made-up speech
    ContentEncoderConfig((4, 8, 8, 8, 16), hidden=32, dim=16),
    EmotionEncoderConfig((4, 8, 8, 16), hidden=32, dim=16),
)
TINY = EncodersConfig(
    ContentEncoderConfig((2, 4, 4, 4, 4), hidden=8, dim=4),
    EmotionEncoderConfig((2, 4, 4, 8), hidden=8, dim=6),
)
LANDMARKS = Audio2LandmarkConfig(identity_dim=4, hidden=8, layers=1, head_hidden=8)


def write_encoders(folder, corpus, sizes=TINY, emotions=None, encoders=None, **parts):
    """Write an untrained run of train_disentangle.py; `parts` go into its checkpoint too."""
    encoders = encoders or Encoders(sizes)
    save_description(folder, EncodersDescription(sizes, emotions or corpus.emotions))
    parts |= {"content_encoder": encoders.content, "emotion_encoder": encoders.emotion}
    save(folder / "checkpoints", 1, parts)
    write_text(folder / "config.yaml", f"corpus: {corpus.root}\n")
    return folder


def make_run(folder, corpus, emotions=None, codes=False, emotion_code="clip"):
    """Write an untrained run of train_audio2lm.py, with mean emotion codes if wanted."""
    encoders, space = Encoders(TINY), fit_space(corpus, "2d", LANDMARKS.components)
    model = Audio2Landmark(LANDMARKS, 10, space)
    save_network(folder, PredictorDescription(LANDMARKS, "2d", emotion_code), space)
    write_encoders(folder, corpus, TINY, emotions, encoders, model=model)
    if codes:
        save_codes(mean_codes(encoders.emotion, corpus), folder, corpus)
    return folder
