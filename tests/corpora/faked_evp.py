"""EVP's pipeline with stand-ins for its networks."""

from types import SimpleNamespace

import numpy as np

from affekt.media.faces.crop import Crop
from evp.inference.portrait import EditedFrame

CROP = Crop(np.eye(2, 3), (64, 64), (64, 64))
TRACK = SimpleNamespace(landmarks=np.zeros((5, 68, 2)), crop=CROP)


def frame(points, white=0):
    """An edited frame of 64 px whose first rows are white."""
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:white] = 255
    return EditedFrame(picture, CROP, picture, points, points)


def fake_networks(monkeypatch, audio_to_landmarks, edit, wrap=lambda _name, function: function):
    """Let EvpPipeline predict and render with these functions; `wrap` may count other calls."""
    others = {
        "load_predictor": lambda *_: object(),
        "load_renderer": lambda *_: SimpleNamespace(speaker="s", stored=64),
        "load_face_model": lambda _: None,
        "make_detector": lambda *_: SimpleNamespace(version="faked"),
    }
    fakes = {"audio_to_landmarks": audio_to_landmarks, "edit": edit}
    fakes |= {name: wrap(name, function) for name, function in others.items()}
    for name, fake in fakes.items():
        monkeypatch.setattr(f"evp.inference.pipeline.{name}", fake)
    tracking = wrap("track_face", lambda *_, **__: TRACK)
    monkeypatch.setattr("affekt.media.faces.track.track_face", tracking)
