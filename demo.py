"""EVP from nothing to an edited portrait: make a corpus, train every stage, measure, show.

    python demo.py configs/demo/demo.yaml
    python demo.py configs/demo/demo.yaml cores=4

Each stage is the command that its line shows, so it can be run, changed or repeated alone; running
the demo again does only what is missing. Writes OUT/report.html and OUT/results.json.
"""

import contextlib
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from runtime.config import config_from_argv
from runtime.files import read_json, write_json
from runtime.processes import Stage, StageError, run_plan
from showcase.figures import Results, rows
from showcase.report import write_report


@dataclass(frozen=True)
class CorpusConfig:
    """The size of the mini corpus; every speaker says every sentence in every emotion."""

    raw: Path = Path("data/raw/mini")
    speakers: int = 3
    sentences: int = 14
    lively: int = 6  # target videos a speaker, with the head turning freely
    seed: int = 0


@dataclass(frozen=True)
class Config:
    """What the demo makes, and on how many cores."""

    out: Path = Path("runs/demo")
    configs: Path = Path("configs/demo")  # a YAML file for every stage
    speech: Path = Path("data/mini")  # prepared: calm heads, every emotion
    lively: Path = Path("data/mini_lively")  # prepared: target videos
    cores: int = 2
    corpus: CorpusConfig = field(default_factory=CorpusConfig)


def plan(cfg: Config) -> list[Stage]:
    """Return the commands of the demo; those that others wait for come first."""
    return [*data_stages(cfg), *training_stages(cfg), *showing_stages(cfg)]


def data_stages(cfg: Config) -> list[Stage]:
    corpus, cores = cfg.corpus, cfg.cores
    keys = ("speakers", "sentences", "lively", "seed")
    size = [f"--{key}={getattr(corpus, key)}" for key in keys]
    render = module("data_prep.mini_corpus", f"--out={corpus.raw}", *size, f"--workers={cores}")
    common = (f"corpus.root={corpus.raw}", f"workers={cores}")

    def prepare(name: str, out: Path) -> tuple[str, ...]:
        return module("data_prep.prepare", str(cfg.configs / name), f"out={out}", *common)

    return [
        Stage("corpus", render, cores=cores),
        Stage("prepare", prepare("prepare.yaml", cfg.speech), ("corpus",), cores),
        Stage("prepare_lively", prepare("prepare_lively.yaml", cfg.lively), ("prepare",), cores),
    ]


def training_stages(cfg: Config) -> list[Stage]:
    out, speech, lively = cfg.out, str(cfg.speech), str(cfg.lively)
    model = str(out / "face_model.npz")

    def train(script: str, name: str, *arguments: str) -> tuple[str, ...]:
        run = f"run.out={out / name}"
        return (sys.executable, script, str(cfg.configs / f"{name}.yaml"), run, *arguments)

    corpus = f"corpus={speech}"
    pretrained = (
        f"content_from={out / 'pretrain_content'}",
        f"emotion_from={out / 'pretrain_emotion'}",
    )
    encoders = f"encoders={out / 'disentangle'}"
    portraits = f"data.corpora=[{speech}, {lively}]"
    learn = module("data_prep.face_model", "--corpus", speech, "--out", model)
    return [
        Stage("pairs", module("data_prep.pairs", speech), ("prepare",)),
        Stage(
            "pretrain_emotion",
            train("pretrain_encoders.py", "pretrain_emotion", corpus),
            ("pairs",),
        ),
        Stage(
            "edge2video", train("train_edge2video.py", "edge2video", portraits), ("prepare_lively",)
        ),
        Stage(
            "pretrain_content",
            train("pretrain_encoders.py", "pretrain_content", corpus),
            ("pretrain_emotion",),
        ),
        Stage(
            "disentangle",
            train("train_disentangle.py", "disentangle", corpus, *pretrained),
            ("pretrain_content",),
        ),
        Stage(
            "audio2lm", train("train_audio2lm.py", "audio2lm", corpus, encoders), ("disentangle",)
        ),
        Stage("emotion_codes", module("evp.emotion_codes", str(out / "audio2lm")), ("audio2lm",)),
        Stage("face_model", learn, ("prepare_lively",)),
        Stage(
            "pose", module("data_prep.pose", "--corpus", lively, "--model", model), ("face_model",)
        ),
        Stage(
            "disentangle_no_cross",
            train("train_disentangle.py", "disentangle_no_cross", corpus, *pretrained),
            ("pretrain_content",),
        ),
    ]


def showing_stages(cfg: Config) -> list[Stage]:
    media = cfg.out / "media"
    corpora = ("--speech", str(cfg.speech), "--lively", str(cfg.lively))
    truth = ("--truth", str(cfg.corpus.raw / "truth"))
    sheet = module("data_prep.inspect", str(cfg.speech), "--out", str(media / "contact_sheet.png"))
    trained = ("emotion_codes", "edge2video", "pose")
    figures = module("showcase.figures", str(cfg.out), *corpora, *truth)
    return [
        Stage("inspect", sheet, ("prepare",)),
        Stage("videos", module("showcase.videos", str(cfg.out), *corpora), trained),
        Stage("figures", figures, ("videos", "disentangle_no_cross")),
    ]


def module(name: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", name, *arguments)


def run_demo(cfg: Config) -> Results:
    """Run what is missing of the plan and write results.json and report.html."""
    with spent(cfg.out / "spent.json") as wall:
        seconds = run_plan(plan(cfg), cfg.out / "logs", cfg.cores)
    results: Results = read_json(cfg.out / "figures.json")
    results |= _times(cfg.out / "results.json", seconds, wall[0])
    write_json(cfg.out / "results.json", results)
    write_report(cfg.out)
    return results


@contextlib.contextmanager
def spent(path: Path) -> Iterator[list[float]]:
    """Add the seconds of this attempt, failed or not, to those of the attempts before it."""
    before = read_json(path) if path.exists() else 0.0
    started, total = time.monotonic(), [before]
    try:
        yield total
    finally:
        total[0] = round(before + time.monotonic() - started, 1)
        write_json(path, total[0])


def _times(path: Path, seconds: dict[str, float], wall: float) -> Results:
    """Return the time of every stage and of the whole; a finished demo keeps those it had."""
    if path.exists():
        earlier: Results = read_json(path)
        return {name: earlier[name] for name in ("seconds", "wall_seconds")}
    return {"seconds": seconds, "wall_seconds": round(wall)}


def main() -> int:
    cfg = config_from_argv(Config, __doc__)
    try:
        results = run_demo(cfg)
    except StageError as error:
        print(f"demo.py: {error}", file=sys.stderr)
        return 1
    for row in rows(results):
        print(f"{row.key:34} {row.value:>8}  {row.bar:36} {row.mark}")
    print(f"see {cfg.out / 'report.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
