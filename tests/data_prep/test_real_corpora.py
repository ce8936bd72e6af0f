"""The readers of published corpora on real files of them."""

import pytest

from affekt.media.corpus import Corpus
from affekt.media.faces.track import FramesConfig
from affekt.runtime.config import load_config
from data_prep.clips.layouts.config import CorpusConfig
from data_prep.clips.layouts.listing import find_sources
from data_prep.prepare import Config, prepare
from tests.test_configs import ROOT

pytestmark = pytest.mark.data


def test_ravdess_has_the_same_recordings_of_every_actor(media_root):
    path = ROOT / "configs/data/ravdess.yaml"
    root = f"corpus.root={media_root / 'ravdess_audio'}"
    config = load_config(Config, path, [root, "corpus.sound_only=true"])
    listing = find_sources(config.corpus)
    assert (len(listing.sources), listing.refused, listing.unmatched) == (960, (), ())
    by_speaker = {}
    for source in listing.sources:
        by_speaker.setdefault(source.speaker, []).append((source.emotion, source.level))
    assert len(by_speaker) == 16
    # 7 emotions x 2 intensities x 2 statements x 2 repetitions, and neutral with one intensity
    assert {len(clips) for clips in by_speaker.values()} == {60}
    assert {clips.count(("neutral", 1)) for clips in by_speaker.values()} == {4}
    assert {clips.count(("calm", 2)) for clips in by_speaker.values()} == {4}


@pytest.mark.usefixtures("one_detector")
def test_crema_d_flash_videos_are_read_though_their_first_stream_is_data(media_root, tmp_path):
    corpus = CorpusConfig("cremad", media_root / "cremad_av", emotions=("angry",))
    frames = FramesConfig(size=64)
    config = Config(corpus, frames=frames, out=tmp_path / "out", workers=0, progress=False)
    prepare(config)
    (clip,) = Corpus(tmp_path / "out").clips()
    assert (clip.id, clip.level, clip.sentence) == ("1001_angry_0_DFA", 0, "DFA")
    assert 40 < clip.frames < 90
    assert clip.audio().any()


def test_grid_names_its_speaker_by_the_folder(media_root):
    listing = find_sources(CorpusConfig("grid", media_root / "grid_s1"))
    assert len(listing.sources) == 66
    assert {source.speaker for source in listing.sources} == {"s1"}
    assert any("clips without words: 66" in note and "Git LFS" in note for note in listing.notes)
