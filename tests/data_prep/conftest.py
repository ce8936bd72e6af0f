"""What tests of data preparation share."""

import pytest

from affekt.media.faces.detector import make_detector
from data_prep.clips import clip as clip_module
from tests.corpora.drawn_face import talking_clip


@pytest.fixture(scope="module")
def one_detector():
    """Preparation in this process uses one detector for all tests of a file."""
    detector = make_detector()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clip_module, "make_detector", lambda *_: detector)
        yield detector


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Three good clips of one speaker."""
    root = tmp_path_factory.mktemp("raw")
    for name, frames in (("ann_happy_1", 12), ("ann_sad_1", 14), ("ann_neutral_2", 10)):
        talking_clip(root / f"{name}.mp4", frames, 128)
    return root
