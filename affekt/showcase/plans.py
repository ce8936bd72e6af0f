"""The plans of the demos: commands that prepare, train, generate and measure, of plans.yaml.

The full demo needs those of EVP and EAMM. It adds metric networks, ablations, every table, emotion
editing and the sequential renderer.
"""

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from affekt.runtime.plan import Stage

PLANS = Path(__file__).with_name("plans.yaml")
ROWS = ("full", "no_cross")  # of the ablation, whose videos' emotion is compared (EVP, Sec. 4.3)
EAMM_TABLES = ("mead", "lrw")  # folders of the full demo


@dataclass(frozen=True)
class EvpDemo:
    """Size of EVP's demo; every speaker speaks every sentence in every emotion."""

    configs: Path = Path("configs/demo/evp")  # a YAML file for every stage
    speech: Path = Path("data/mini")  # prepared: calm heads, every emotion
    lively: Path = Path("data/mini_lively")  # prepared: target videos
    speakers: int = 3
    sentences: int = 14
    lively_clips: int = 12  # target videos a speaker, with the head turning freely
    person: str = "M901"  # of the renderer: data.speaker of its YAML
    protocol: str = "evp-3d"  # of its Table 1


@dataclass(frozen=True)
class EammDemo:
    """Size of EAMM's demo; its speakers are not EVP's, in the same mini corpus."""

    configs: Path = Path("configs/demo/eamm")  # a YAML file for every stage
    corpus: Path = Path("data/mini_eamm")  # prepared: calm and lively heads, every emotion
    first_speaker: int = 3
    speakers: int = 20
    emotional: int = 2  # sentences spoken in every emotion
    neutral: int = 6  # sentences spoken neutrally
    lively_clips: int = 2  # clips a speaker, with the head turning freely
    keypoint_count: int = 5  # keypoints that emotion displaces: brows, lids, one more


@dataclass(frozen=True)
class FullDemo:
    """What is trained and measured in addition to the two demos."""

    metric_configs: Path = Path("configs/demo/metrics")  # a YAML file for each metric network
    ablation: Path = Path("configs/demo/ablation.yaml")
    corpus: Path = Path("data/mini_eamm")  # whose held-out people EAMM generates
    evp: Path = Path("runs/demo")  # of EVP's demo
    eamm: Path = Path("runs/demo/eamm")  # of EAMM's demo
    protocol: str = "evp-3d"
    clips: int = 12  # of each held-out person, for EAMM's tables
    size: int = 128  # pixels a side of the corpus's frames, which results must have
    speech: Path = Path("data/mini")  # of EVP's demo: calm heads
    lively: Path = Path("data/mini_lively")  # of EVP's demo: target videos
    encoder_configs: Path = Path("configs/demo/evp")  # whose stages the content leak's seeds repeat
    temporal: Path = Path("configs/demo/evp/temporal.yaml")  # the sequential renderer


def stages_of(system: str, fields: Mapping[str, object]) -> list[Stage]:
    """Return a system's commands; those that others wait for come first.

    Args:
        system: evp, eamm or full.
        fields: what stands for the names in braces; `cores` of them are all there are.
    """
    plan = yaml.safe_load(PLANS.read_text(encoding="utf-8"))[system]
    values = {name: shlex.quote(str(value)) for name, value in fields.items()}
    for name, text in plan["words"].items():
        values[name] = text.format_map(values)
    stages = []
    for name, entry in plan["stages"].items():
        program, *arguments = shlex.split(entry["run"].format_map(values))
        start = (program,) if program.endswith(".py") else ("-m", program)
        cores = int(values["cores"]) if entry.get("cores") == "all" else 1
        after = tuple(entry.get("after", "").split())
        stages.append(Stage(name, (sys.executable, *start, *arguments), after, cores))
    return stages


def scores_of(results: Path) -> Path:
    """Return the folder of the scores of a folder of videos."""
    return results.with_name(f"{results.name}_scores")


def evp_results(out: Path) -> Path:
    """Return the folder of the videos of EVP's Table 1 in a demo's folder."""
    return out / "evaluation" / "evp"


def eamm_results(out: Path, name: str) -> Path:
    """Return the folder of the videos of EAMM's table on `name`."""
    return out / name / "clips"


def row_results(out: Path, row: str) -> Path:
    """Return the folder of the videos of a row of the ablation."""
    return out / "rows" / row
