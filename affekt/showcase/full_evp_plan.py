"""The part of the full demo's plan that asks what EVP's codes, editing and sequences are worth."""

from pathlib import Path

from affekt.runtime.plan import Stage
from affekt.showcase.commands import module, script

BLENDS = {"category": "happy:sad", "intensity": "neutral:surprised"}  # shown as pictures
ARMS = {  # of the video discriminator: what each changes of the YAML
    "with": (),
    "without": ("loss.gan_video=0",),
    "frames": ("video_discriminator.sees=frames",),
}


def evp_questions(
    out: Path, evp: Path, corpora: tuple[Path, ...], temporal: Path, seeds: int
) -> list[Stage]:
    """Return the commands; those that others wait for come first.

    Args:
        out: folder of the full demo's runs.
        evp: folder of EVP's demo.
        corpora: of EVP's demo: calm speech, then target videos.
        temporal: the YAML of the sequential renderer.
        seeds: how many of it are trained with, without, and with the paper's video discriminator.
    """
    return [
        *_temporal(out / "temporal", corpora[0], temporal, seeds),
        *_codes(out, evp),
        *_editing(out, evp, corpora),
    ]


def blend_folder(out: Path, name: str) -> Path:
    """Return the folder of the pictures of one blend."""
    return out / "editing" / name


def _temporal(out: Path, speech: Path, config: Path, seeds: int) -> list[Stage]:
    flow, runs = Stage("flow", module("data_prep.flow", str(speech))), []
    for seed in range(seeds):
        for arm, changes in ARMS.items():
            run = out / f"{arm}_{seed}"
            where = (f"run.out={run}", f"run.seed={seed}", f"data.corpora=[{speech}]")
            command = script("train_edge2video.py", config, *where, *changes)
            runs.append(Stage(f"temporal_{run.name}", command, (flow.name,)))
    names = tuple(stage.name for stage in runs)
    figures = module("affekt.showcase.temporal_figures", str(out), "--corpora", str(speech))
    return [flow, *runs, Stage("temporal", figures, names)]


def _codes(out: Path, evp: Path) -> list[Stage]:
    trained = (f"--run={evp / 'disentangle'}", f"--no-cross={evp / 'disentangle_no_cross'}")
    return [Stage("codes", module("evp.analysis.codes", *trained, f"--out={out / 'codes'}"))]


def _editing(out: Path, evp: Path, corpora: tuple[Path, ...]) -> list[Stage]:
    editing = out / "editing"
    measure = module(
        "evp.analysis.measure_editing", str(evp / "audio2lm"), f"--out={editing / 'editing.json'}"
    )
    stages = [Stage("editing", measure)]
    for name, blend in BLENDS.items():
        folder = blend_folder(out, name)
        options = (f"--blend={blend}", f"--targets={corpora[1]}", f"--out={folder}")
        stages.append(Stage(f"editing_{name}", module("evp.analysis.editing", str(evp), *options)))
    return stages
