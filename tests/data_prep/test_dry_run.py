"""A dry run lists what would be done, measures a few clips, and writes nothing."""

import re

import pytest

from affekt.media.faces.track import FramesConfig
from data_prep.clips.layouts.config import CorpusConfig
from data_prep.prepare import Config, dry_run, main, prepare
from tests.corpora.drawn_face import talking_clip

pytestmark = pytest.mark.usefixtures("one_detector")


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    root = tmp_path_factory.mktemp("raw")
    for name in ("ann_happy_1", "ann_sad_1", "bob_happy_1"):
        talking_clip(root / f"{name}.mp4", 10, 128)
    (root / "bob_hapy_2.mp4").touch()
    (root / "bob_sad_3.mp4").write_bytes(b"no video")
    (root / "notes.docx").touch()
    return root


def config_of(raw, out, **changes):
    pattern = r"(?P<speaker>[a-z]+)_(?P<emotion>[a-z]+)_(?P<number>\w+)"
    corpus = CorpusConfig("folder", raw, pattern=pattern)
    frames = FramesConfig(size=64)
    return Config(corpus, frames=frames, out=out, workers=0, progress=False, **changes)


def test_it_counts_names_refusals_and_estimates_from_a_sample(raw, tmp_path):
    out = tmp_path / "out"
    said = dry_run(config_of(raw, out))
    assert not out.exists()
    assert "4 clips to prepare, 0 are prepared or refused already" in said
    assert re.search(r"\| ann +\| +1 \| +1 \| +2 \|", said)  # happy, sad, clips
    assert re.search(r"\| all 2 +\| +2 \| +2 \| +4 \| +4 \|", said)
    assert "refused by their names 1 (unknown_emotion 1)" in said
    assert "did you mean 'happy'" in said
    assert "1 files of other kinds are left out (.docx 1)" in said
    assert "refused, damaged" in said  # bob_sad_3, one of the sample
    assert re.search(r"about \d+ s in 1 processes and \d+ kB of disk, by 4 clips", said)


def test_the_estimate_is_that_of_the_run(raw, tmp_path):
    config = config_of(raw, tmp_path / "out")
    said = dry_run(config)
    prepare(config)
    real = sum(p.stat().st_size for p in (tmp_path / "out/clips").rglob("*") if p.is_file())
    assert int(re.search(r"and (\d+) kB of disk", said)[1]) == pytest.approx(real / 1000, abs=2)
    assert "0 clips to prepare, 4 are prepared or refused already" in dry_run(config)


def test_the_flag_may_stand_anywhere_on_the_command_line(raw, tmp_path, capsys):
    (tmp_path / "c.yaml").write_text("corpus: {layout: folder, root: nowhere}\nworkers: 0\n")
    out = f"out={tmp_path / 'out'}"
    assert main([str(tmp_path / "c.yaml"), "--dry-run", f"corpus.root={raw}", out]) == 0
    assert "dry run: nothing is written to" in capsys.readouterr().out
    assert main([str(tmp_path / "c.yaml"), "dry_run=true", f"corpus.root={raw}", out]) == 0
    assert not (tmp_path / "out").exists()
    assert main([str(tmp_path / "c.yaml"), "--dry-run", out]) == 1
    assert "does not exist" in capsys.readouterr().err
