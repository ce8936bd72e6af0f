"""A full disk stops preparation: no clip is refused for it and no older version is lost.

A limit on the size of files stands for the disk: what is above it is not written, as on a disk
without room. Every writer of a clip's folder meets it at one of the sizes.
"""

import resource
import shutil
import subprocess
import sys
from contextlib import contextmanager

import pytest

from affekt.media.corpus import Corpus
from affekt.media.faces.track import FramesConfig
from affekt.runtime.files import is_disk_error
from data_prep import inspect
from data_prep.clips.layouts.config import CorpusConfig
from data_prep.prepare import Config, prepare
from tests.corpora.drawn_face import talking_clip

pytestmark = pytest.mark.usefixtures("one_detector")

LIMITS = (0, 50, 150, 700, 2900, 4400, 6000, 9000, 13000)  # bytes


@contextmanager
def no_file_above(size):
    """Let this process write no file beyond `size` bytes; Python ignores the signal."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def tree(root):
    return {path: path.read_bytes() for path in root.glob("clips/*/*/*")}


def config(root, out, **changes):
    corpus = CorpusConfig("folder", root, speaker="ann", **changes)
    return Config(corpus, frames=FramesConfig(size=64), out=out, workers=0, progress=False)


@pytest.mark.parametrize("kind", ["jpeg", "raw", "mp4", "sound"])
def test_no_clip_is_refused_for_a_full_disk_and_none_is_lost(tmp_path, kind):
    root, out = tmp_path / "raw", tmp_path / "out"
    talking_clip(root / "one.mp4", 8, 128)
    settings = config(root, out, sound_only=kind == "sound")
    if kind != "sound":
        frames = FramesConfig(size=64, store=kind)
        settings = Config(settings.corpus, frames=frames, out=out, workers=0, progress=False)
    assert prepare(settings).made == 1
    before = tree(out)
    talking_clip(root / "one.mp4", 9, 128)
    (root / "bad.mp4").write_bytes(b"nothing")  # its refusal waits for room too
    largest = max(map(len, before.values()))
    for limit in (size for size in LIMITS if size < largest):
        with no_file_above(limit), pytest.raises(OSError) as error:  # noqa: PT011 - errno counts
            prepare(settings)
        assert is_disk_error(error.value), limit
        assert tree(out) == before, limit
        assert (out / "quarantine.jsonl").read_text() == "", limit
        assert list(out.rglob(".affekt-*")) == [], limit
        assert len(Corpus(out).clips()) == 1, limit
    result = prepare(settings)
    assert [row["reason"] for row in result.quarantine] == ["damaged"]
    assert [row["frames"] for row in result.manifest] == [10 if kind == "sound" else 9]  # AAC pads
    assert inspect.verify(Corpus(out), 1, progress=False) == ([], 0)


def test_the_command_says_it_in_one_line_and_goes_on(tmp_path):
    """In two processes, one of which meets the full disk."""
    root, out = tmp_path / "raw", tmp_path / "out"
    for name in ("one", "two"):
        talking_clip(root / f"{name}.mp4", 8, 128)
    text = f"corpus: {{layout: folder, root: {root}, speaker: ann, sound_only: true}}\n"
    (tmp_path / "c.yaml").write_text(text)
    words = ["data_prep.prepare", str(tmp_path / "c.yaml"), f"out={out}", "workers=1"]
    command = [sys.executable, "-m", *words, "progress=false"]
    limited = ["bash", "-c", 'ulimit -f 4; exec "$@"', "bash", *command]  # 4 KiB
    said = subprocess.run(limited, capture_output=True, text=True, check=False)
    lines = said.stderr.splitlines()
    assert (said.returncode, len(lines)) == (1, 1), said.stderr
    assert "make room, then run the same command" in lines[0]
    assert (out / "quarantine.jsonl").read_text() == ""
    subprocess.run(command, check=True, capture_output=True)
    assert len(Corpus(out).clips()) == 2
    shutil.rmtree(out)
