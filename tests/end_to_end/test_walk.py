"""docs/evp.md leads from MEAD to Table 1: its commands run, line by line, and what it names exists.

The corpus is rendered, in MEAD's layout and with M003's file numbers; what is appended to a command
makes networks and steps small, and changes nothing else.
"""

import importlib.util
import re
import runpy
import shlex
import shutil
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import get_type_hints

import pytest

import pretrain_encoders
import train_a2fd
import train_audio2lm
import train_disentangle
import train_edge2video
import train_emotion_displacement
import train_fomm
from affekt.media.emotions import EMOTIONS as EMOTION_LABELS
from affekt.runtime.config import load_config
from affekt.runtime.files import read_jsonl
from data_prep.clips.layouts.listing import find_sources
from data_prep.clips.splits import splits_of
from data_prep.face_formats.importer import ImportConfig
from data_prep.mini.clip import Settings
from data_prep.mini_corpus import Extent, make_corpus
from data_prep.pose import Config as PoseConfig
from data_prep.prepare import Config as PrepareConfig
from data_prep.sentences import MEAD_SENTENCES, read_table
from eamm.inference.keypoints import EammRuns

ROOT = Path(__file__).parents[2]
WALK = ROOT / "docs/evp.md"
EAMM_WALK = ROOT / "docs/eamm.md"
PAGES = [WALK, ROOT / "docs/evp_deviations.md", ROOT / "docs/evp_parts.md", EAMM_WALK]
CONFIGS = (
    pretrain_encoders.Config,
    train_disentangle.Config,
    train_audio2lm.Config,
    train_edge2video.Config,
    train_fomm.Config,
    train_a2fd.Config,
    train_emotion_displacement.Config,
    PrepareConfig,
    PoseConfig,
)
EMOTIONS = ("happy", "neutral", "sad")
SENTENCES = ("01", "04", "05")  # the first is held out
HELD_OUT = {"M003_happy_3_001", "M003_neutral_1_001", "M003_sad_3_001"}

RUN = "run.steps=2 run.batch_size=2 run.workers=0 run.log_every=1 run.progress=false"
CONTENT = "{0}content.channels=[2,2,2,2,2] {0}content.hidden=8 {0}content.dim=8"
ENCODERS = CONTENT + " {0}emotion.channels=[2,2,2,2] {0}emotion.hidden=8 {0}emotion.dim=4"
HEAD = "{0}hidden=8 {0}layers=1 {0}head_hidden=8 {0}identity_dim=4"
PRETRAINED = f"{RUN} {ENCODERS.format('encoders.')} val.every=2"
DISENTANGLED = (
    f"{RUN} {ENCODERS.format('model.encoders.')} model.decoder.channels=[4,4,4,4] val.every=2"
)
DRAWN = (
    "run.steps=3 run.workers=0 run.log_every=1 run.progress=false vgg.weights=random "
    "guidance.size=64 generator.channels=2 generator.downsamplings=1 generator.blocks=2 "
    "generator.enhancer_blocks=1 discriminator.channels=2 video_discriminator.patches.channels=2 "
    "sequence.coarse_steps=1 sequence.enhancer_steps=1 val.every=3"
)
SMALLER = {  # the command that begins so -> what makes it small
    "data_prep.prepare": "workers=0 frames.size=64 progress=false",
    "data_prep.flow": "--workers 0",
    "pretrain_encoders.py": PRETRAINED,
    "pretrain_encoders.py configs/evp/pretrain_content.yaml": HEAD.format("head."),
    "train_disentangle.py": DISENTANGLED,
    "train_audio2lm.py": f"{RUN} {HEAD.format('model.')} val.every=2",
    "train_edge2video.py": DRAWN,
    # An untrained network draws nothing that a detector takes for a face.
    "test.py run": "--workers 0 --no-controls --min-coverage 0",
    "test.py ablate": "--plan --seeds 0",  # trains 15 times; test_ablation.py has a small one
    "evp.analysis.editing": "--steps 2",
}
MADE = (
    "data/mead/contact_sheet.png",
    "results/M003/clips/M003_happy_3_001.mp4",
    "runs/evp/disentangle/analysis/figure_5.png",
    "runs/evp/audio2lm/editing.json",
    "results/M003/no_cross/M003_sad_3_001.mp4",
    "results/M003/sad_happy/strip.png",
    "runs/evp/media/grid.mp4",
    "runs/evp/media/alignment.mp4",
    "happy.mp4",
    "blend.mp4",
    "track.mp4",
)
REFUSED = {"test.py weights add": 2}  # the files are not at hand


def commands(page):
    """The command lines of a page, as lists of words without `python`."""
    blocks = re.findall(r"```\n(.*?)```", page.read_text(), re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines if line.startswith("python ")]
    return [line[1:] for line in words]


def named(words):
    """A command as the tables above name it."""
    return " ".join(words).removeprefix("-m ")


def one_line(page):
    """A page's text without its line ends."""
    return " ".join(page.read_text().split())


def headings(page):
    """The anchors of a page's headings."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def keys_of(config, where=""):
    """The dotted names of a configuration's fields."""
    for field in fields(config):
        yield where + field.name
        kind = get_type_hints(config)[field.name]
        if is_dataclass(kind):
            yield from keys_of(kind, f"{where}{field.name}.")


def parsed_options():
    """The options of every command of EVP, from what their sources add to parsers."""
    packages = ("evp", "eamm", "data_prep", "affekt", "benchmarks")
    sources = [
        *ROOT.glob("*.py"),
        *(path for name in packages for path in (ROOT / name).rglob("*.py")),
    ]
    text = "".join(path.read_text() for path in sources)
    flags = {f"--{name}" for name in re.findall(r'"(corpus|model|out)": "', text)}
    flags |= {"--help"} | {
        f"--{field.name}" for field in (*fields(ImportConfig), *fields(EammRuns))
    }
    return flags | set(re.findall(r'"(--[a-z][a-z0-9-]+)"', text))


def make_mead(root, rendered):
    """Lay a rendered person's clips out as MEAD has M003's, under M003's file numbers."""
    extent = Extent(1, len(SENTENCES), EMOTIONS, lively=0)
    make_corpus(rendered, extent, Settings(size=96), workers=1)
    (person,) = (path for path in rendered.iterdir() if (path / "video").is_dir())
    for (speaker, emotion, number), sentence in read_table(MEAD_SENTENCES).items():
        if speaker != "M003" or emotion not in EMOTIONS or sentence not in SENTENCES:
            continue
        level = "level_1" if emotion == "neutral" else "level_3"
        for kind, suffix in (("video/front", "mp4"), ("audio", "m4a")):
            place = Path(kind) / emotion / level
            source = person / place / f"{SENTENCES.index(sentence) + 1:03d}.{suffix}"
            target = root / "M003" / place / f"{int(number):03d}.{suffix}"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A checkout where nothing was made yet, MEAD, and a user's own files."""
    home = tmp_path_factory.mktemp("walk")
    for path in (ROOT / "configs", *ROOT.glob("*.py")):
        (home / path.name).symlink_to(path)
    make_mead(home / "MEAD", home / "rendered")
    clips = home / "MEAD/M003/video/front"
    shutil.copy(clips / "neutral/level_1/031.mp4", home / "head.mp4")
    shutil.copy(home / "MEAD/M003/audio/sad/level_3/021.m4a", home / "speech.wav")
    (home / "track.csv").write_text("time,happy,sad\n0,1,0\n1,0,1\n")
    return home


def smaller(words, home):
    """A command of the page on the small corpus."""
    extra = [more for start, more in SMALLER.items() if named(words).startswith(start)]
    words = [word.replace("/data/MEAD", str(home / "MEAD")) for word in words]
    return words + shlex.split(" ".join(extra))


def run(words, monkeypatch):
    """Run a command line in this process; return its exit code."""
    module, arguments = (words[1], words[2:]) if words[0] == "-m" else (None, words[1:])
    monkeypatch.setattr(sys, "argv", [words[0], *arguments])
    try:
        if module is not None:
            return importlib.import_module(module).main() or 0
        runpy.run_path(str(ROOT / words[0]), run_name="__main__")
    except SystemExit as ended:
        return ended.code or 0
    return 0


def prepared(home, monkeypatch):
    """Prepare the corpus, as far as it is not."""
    first = next(words for words in commands(WALK) if words[1] == "data_prep.prepare")
    assert run(smaller(first, home), monkeypatch) == 0


def test_every_command_of_the_walk_runs_and_the_last_ones_print_table_1(home, monkeypatch, capsys):
    monkeypatch.chdir(home)
    walked = commands(WALK)
    for words in walked:
        wanted = next(
            (code for start, code in REFUSED.items() if named(words).startswith(start)), 0
        )
        code = run(smaller(words, home), monkeypatch)
        said = capsys.readouterr()
        assert code == wanted, f"{named(words)}\n{said.out}\n{said.err}"
    rows = read_jsonl(home / "results/M003/scores/scores.jsonl")
    assert {row["clip"] for row in rows} == HELD_OUT
    ssim = [row["value"] for row in rows if (row["row"], row["metric"]) == ("result", "ssim")]
    assert len(ssim) == len(HELD_OUT)
    assert all(0 < value < 1 for value in ssim)
    table = (home / "results/tables/evp-table1.md").read_text()
    assert "M-LD" in table
    assert "29.53" in table
    for made in MADE:
        assert (home / made).exists(), made


def test_what_is_held_out_of_m003_is_what_the_page_says(tmp_path):
    for emotion in EMOTION_LABELS:
        level, files = ("level_1", 40) if emotion == "neutral" else ("level_3", 30)
        folder = tmp_path / "M003/video/front" / emotion / level
        folder.mkdir(parents=True)
        for number in range(1, files + 1):
            (folder / f"{number:03d}.mp4").touch()
    config = load_config(
        PrepareConfig, ROOT / "configs/data/mead.yaml", [f"corpus.root={tmp_path}"]
    )
    sources = find_sources(config.corpus).sources
    splits = list(splits_of(sources, config.split).values())
    assert len(splits) == 250
    assert splits.count("test_sentence") == 75
    assert "some 250 clips" in one_line(WALK)
    assert "75 clips of M003" in one_line(WALK)


def test_a_pretraining_that_is_refused_leaves_no_run_folder(home, monkeypatch, capsys):
    monkeypatch.chdir(home)
    prepared(home, monkeypatch)
    for target in ("emotion", "content"):
        words = ["pretrain_encoders.py", f"configs/evp/pretrain_{target}.yaml", "run.out=runs/no"]
        assert run([*smaller(words, home), "val.split=val"], monkeypatch) == 1
        assert "no clip of split 'val'" in capsys.readouterr().err
        assert not (home / "runs/no").exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_module_script_config_and_link_of_a_page_exists(page):
    text = page.read_text()
    for module in re.findall(r"python -m ([\w.]+)", text):
        assert importlib.util.find_spec(module), module
    for path in re.findall(r"(?:configs/[\w/.]+\.(?:yaml|csv)|\b[\w/]+\.py\b)", text):
        found = [ROOT / path, *(ROOT / folder / path for folder in ("tests", "evp"))]
        assert any(place.exists() for place in found), path
    for path in re.findall(r"`(ablations/\w+\.yaml)`", text):
        assert any((ROOT / "configs" / paper / path).exists() for paper in ("evp", "eamm")), path
    for target, anchor in re.findall(r"\]\((\w+\.md)?(?:#([\w-]+))?\)", text):
        linked = (page.parent / target) if target else page
        assert linked.exists(), target
        assert not anchor or anchor in headings(linked), f"{target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_setting_that_a_page_names_is_one(page):
    known = {key for config in CONFIGS for key in keys_of(config)}
    options = parsed_options()
    for name in re.findall(
        r"`((?:loss|model|optim|data|sequence|guidance|fit)\.[\w.]+)", page.read_text()
    ):
        assert name in known, name
    blocks = page.read_text().split("```")
    ours = "".join(block for block in blocks if "torchrun" not in block)  # it has its own options
    for option in re.findall(r"(?<![\w-])(--[a-z][a-z0-9-]+)", ours):
        assert option in options, option
