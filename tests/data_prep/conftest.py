"""What tests of data preparation share."""

import pytest

from affekt.media.faces.detector import make_detector
from data_prep.clips import clip as clip_module


@pytest.fixture(scope="module")
def one_detector():
    """Preparation in this process uses one detector for all tests of a file."""
    detector = make_detector()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clip_module, "make_detector", lambda *_: detector)
        yield detector
