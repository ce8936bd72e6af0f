"""What the pipeline shows the network at generation is what training showed it; what it writes for
scores is what the network rendered."""

from pathlib import Path

import numpy as np
import pytest
import torch

from affekt.media.corpus import Corpus
from affekt.media.faces.crop import centred_square
from affekt.media.video.video import read_frames, write_video
from data_prep.clips.layouts.config import CorpusConfig
from data_prep.prepare import Config, FramesConfig, prepare
from evp.data.portraits import GuidanceConfig, OpenClip
from evp.inference import pipeline as evp_pipeline
from evp.inference import portrait
from evp.inference.pipeline import EvpJob, EvpPipeline, EvpRuns, finished
from evp.inference.portrait import EditedFrame
from evp.inference.renderer import Renderer
from tests.corpora.drawn_face import talking_clip

STORED = GUIDANCE = 384  # more than the 256 px of a detector's default, of a source of 720


class Seen(torch.nn.Module):
    """A generator that renders grey and keeps the guidance maps it is given."""

    def __init__(self):
        super().__init__()
        self.maps = []
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def forward(self, guidance):
        self.maps += list((255 * guidance).round().to(torch.uint8).numpy())
        return torch.zeros(len(guidance), 3, *guidance.shape[2:])


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    root = tmp_path_factory.mktemp("large")
    talking_clip(root / "raw/anna/one.mp4", 8, 720, height=0.3)
    frames = FramesConfig(size=STORED, store="raw")
    corpus = CorpusConfig("folder", root / "raw")
    prepare(Config(corpus, frames=frames, out=root / "out", workers=0, progress=False))
    (clip,) = Corpus(root / "out").clips()
    return clip


@pytest.fixture
def seen(monkeypatch):
    """The pipeline with a generator of its own; faces stay the target's."""
    generator = Seen()
    guidance = GuidanceConfig("distance", GUIDANCE)
    monkeypatch.setattr(portrait, "history_length", lambda _: 0, raising=False)
    monkeypatch.setattr("evp.inference.renderer.history_length", lambda _: 0)
    monkeypatch.setattr(portrait, "place_faces", lambda _face, target, *_: target)
    renderer = Renderer(generator, guidance, "anna", stored=STORED)
    monkeypatch.setattr(evp_pipeline, "load_renderer", lambda *_: renderer)
    return generator


def job_of(clip, out, **more):
    source = Path(clip.source)
    return EvpJob(
        EvpRuns(out, out, out), source, source, out, face=source, alignment="none", **more
    )


def test_maps_at_generation_are_those_of_training(clip, seen, tmp_path):
    job = job_of(clip, tmp_path / "a.mp4")
    EvpPipeline.for_jobs([job]).run(job)
    _, trained = OpenClip(clip, GuidanceConfig("distance", GUIDANCE)).read(range(clip.frames))
    np.testing.assert_array_equal(np.stack(seen.maps), trained)


def test_a_grey_network_is_scored_as_grey_whatever_the_target(clip, seen, tmp_path):
    truth = tmp_path / "truth.mp4"  # as test.py check writes it: the stored crop
    write_video(truth, clip.store().read(range(clip.frames)), clip.audio())
    job = job_of(clip, tmp_path / "a.mp4", crop="none", frame="crop")
    EvpPipeline.for_jobs([job]).run(EvpJob(**{**vars(job), "target": truth, "face": truth}))
    shown = read_frames(tmp_path / "a.mp4")
    assert shown.shape == (clip.frames, STORED, STORED, 3)
    assert np.ptp(shown.astype(int)) <= 1


@pytest.mark.parametrize(("crop", "side"), [("none", 64), ("portrait", 32)])
def test_a_crop_is_as_large_as_its_target_or_as_rendered(tmp_path, crop, side):
    target = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    grey, points = np.full((32, 32, 3), 128, np.uint8), np.zeros((68, 2))
    frame = EditedFrame(target, centred_square(64, 64, 32), grey, points, points)
    runs = EvpRuns(tmp_path, tmp_path, tmp_path)
    job = EvpJob(runs, tmp_path, tmp_path, tmp_path, crop=crop, frame="crop")
    picture = finished(frame, job)
    assert picture.shape == (side, side, 3)
    assert (picture == 128).all()
