"""docs/eamm.md leads from LRW and MEAD to EAMM's table: its commands run, line by line.

Both corpora are rendered, in their published layouts; what is appended to a command makes networks
and steps small, and changes nothing else.
"""

import shlex
import shutil

import pytest

from affekt.media.audio.reader import read_audio
from affekt.media.constants import SAMPLES_PER_FRAME
from affekt.media.video.video import read_frames, write_video
from affekt.runtime.files import read_jsonl
from data_prep.mini.clip import Settings
from data_prep.mini_corpus import Extent, make_corpus
from tests.end_to_end.test_walk import EAMM_WALK, ROOT, commands, named, run

EMOTIONS = ("happy", "neutral")
WORD_FRAMES = 29  # of a clip of LRW
RUN = (
    "run.steps=2 run.batch_size=2 run.workers=0 run.log_every=1 run.save_every=2 run.progress=false"
)
HOURGLASS = "{0}.hourglass.channels=4 {0}.hourglass.max_channels=8 {0}.hourglass.blocks=2"
FOMM = " ".join(
    (
        "fomm.size=128 fomm.generator.channels=4 fomm.generator.max_channels=8",
        "fomm.generator.blocks=1 fomm.generator.skips=true",
        HOURGLASS.format("fomm.keypoints"),
        HOURGLASS.format("fomm.motion"),
        "discriminator.channels=4 discriminator.max_channels=8 discriminator.blocks=2",
    )
)
A2FD = (
    "model.identity_channels=2 model.identity_dim=8 model.audio_channels=[2,2,2,2,4] model.hidden=8"
    " model.audio_hidden=8 model.audio_dim=8 model.pose_hidden=8 model.pose_dim=8 model.layers=1"
    " model.decoder_first=8 model.decoder=8"
)
DISPLACEMENT = (
    "model.projection=8 model.neutral=8 model.hidden=[8,8,8] model.extractor.widths=[4,8]"
    " model.extractor.downscale=2 model.extractor.blocks=1 " + HOURGLASS.format("model.extractor")
)
PREPARED = "workers=0 progress=false frames.size=128"
SMALLER = {  # the command that begins so -> what makes it small
    "data_prep.prepare": PREPARED,
    "data_prep.prepare configs/data/mead_eamm.yaml": "split.test_speakers=[M003,M030]",
    "train_fomm.py": f"{RUN} {FOMM} vgg.weights=random val.every=2 val.clips=2",
    "train_a2fd.py": f"{RUN} {A2FD} vgg.weights=random val.every=2 val.clips=2",
    "train_emotion_displacement.py": f"{RUN} {DISPLACEMENT} data.frames=4 val.every=2 val.clips=2",
    "eamm.displacement.keypoint_choice": "--selectivity 0",
    "generate.py eamm": "--size 128",
    "test.py run": "--workers 0 --no-controls --min-coverage 0",
}
REFUSED = ("eamm.released.importer",)  # the public weights are not at hand


def lay_out(rendered, mead, lrw):
    """Lay three people out as MEAD's M003, M030 and W011, and their first 29 frames as LRW's."""
    people = sorted(path for path in rendered.iterdir() if (path / "video").is_dir())
    parts = iter(["train", "train", "val", "test", "train", "test"] * 2)
    for person, name in zip(people, ("M003", "M030", "W011"), strict=True):
        shutil.copytree(person, mead / name)
        for place, clip in enumerate(sorted((person / "video/front/neutral").rglob("*.mp4"))):
            part = next(parts)
            word = lrw / "ABOUT" / part / f"ABOUT_{name[1:]}{place:02d}.mp4"
            word.parent.mkdir(parents=True, exist_ok=True)
            sound = read_audio(clip)[: WORD_FRAMES * SAMPLES_PER_FRAME]
            write_video(word, read_frames(clip)[:WORD_FRAMES], sound)
            word.with_suffix(".txt").write_text("Duration: 0.53 seconds\n")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A checkout where nothing was made yet, with LRW and MEAD."""
    home = tmp_path_factory.mktemp("eamm_walk")
    for path in (ROOT / "configs", *ROOT.glob("*.py")):
        (home / path.name).symlink_to(path)
    make_corpus(home / "rendered", Extent(3, 3, EMOTIONS, lively=0), Settings(size=96), workers=1)
    lay_out(home / "rendered", home / "MEAD", home / "lrw")
    return home


def smaller(words, home):
    """A command of the page on the small corpora."""
    extra = [more for start, more in SMALLER.items() if named(words).startswith(start)]
    places = {"=/data/MEAD": f"={home}/MEAD", "=/data/lrw": f"={home}/lrw"}
    for place, real in places.items():
        words = [word.replace(place, real) for word in words]
    return words + shlex.split(" ".join(extra))


def test_every_command_of_eamms_walk_runs_and_the_last_ones_print_its_table(
    home, monkeypatch, capsys
):
    monkeypatch.chdir(home)
    vox = f"data_prep.prepare configs/data/mead_eamm.yaml corpus.root={home / 'MEAD'} out=data/vox"
    assert run(["-m", *smaller(vox.split(), home)], monkeypatch) == 0  # stands for VoxCeleb
    for words in commands(EAMM_WALK):
        if named(words).startswith("generate.py eamm"):
            # An untrained FOMM draws no face that a detector finds: the true videos stand for its.
            for made in (home / "results/mead/clips_fomm").glob("*.mp4"):
                shutil.copy(home / "results/mead/truth" / made.name, made)
        code = run(smaller(words, home), monkeypatch)
        said = capsys.readouterr()
        refused = named(words).startswith(REFUSED)
        assert (code != 0) == refused, f"{named(words)}\n{code}\n{said.out}\n{said.err}"
    rows = read_jsonl(home / "results/mead/scores/scores.jsonl")
    assert {row["clip"].split("_")[0] for row in rows} == {"M003", "M030"}
    assert "M-LMD" in (home / "results/tables/eamm-table1-mead.md").read_text()
