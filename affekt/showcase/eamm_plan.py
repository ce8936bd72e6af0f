"""The plan of EAMM's demo: more people, FOMM, A2FD, emotion displacement, videos and figures."""

from dataclasses import dataclass
from pathlib import Path

from affekt.media.emotions import NEUTRAL
from affekt.runtime.plan import Stage
from affekt.showcase.commands import Setting, module, script


@dataclass(frozen=True)
class EammDemo:
    """How much EAMM's demo makes; its people are others than EVP's, in the same mini corpus."""

    configs: Path = Path("configs/demo/eamm")  # a YAML file for every stage
    corpus: Path = Path("data/mini_eamm")  # prepared: calm and lively heads, every emotion
    first_speaker: int = 3
    speakers: int = 20
    emotional: int = 2  # sentences said in every emotion
    neutral: int = 6  # sentences said neutrally
    lively_clips: int = 2  # clips a speaker, with the head turning freely
    moved: int = 5  # keypoints that emotion moves: brows, lids, one more


def eamm_plan(demo: EammDemo, setting: Setting) -> list[Stage]:
    """Return the commands; those that others wait for come first."""
    return [
        *_data_stages(demo, setting),
        *_training_stages(demo, setting),
        *_showing_stages(demo, setting),
    ]


def _data_stages(demo: EammDemo, setting: Setting) -> list[Stage]:
    cores, corpus, model = setting.cores, str(demo.corpus), str(setting.out / "face_model.npz")
    people = {"first_speaker": demo.first_speaker, "speakers": demo.speakers}
    every = setting.render(**people, sentences=demo.emotional, lively=demo.lively_clips)
    more = setting.render(NEUTRAL, **people, sentences=demo.neutral, lively=0)
    prepare = setting.prepare(demo.configs / "prepare.yaml", demo.corpus)
    learn = module("data_prep.face_model", "--corpus", corpus, "--out", model)
    pose = module("data_prep.pose", "--corpus", corpus, "--model", model)
    return [
        Stage("people", every, cores=cores),
        Stage("neutral_speech", more, ("people",), cores),
        Stage("prepare", prepare, ("neutral_speech",), cores),
        Stage("face_model", learn, ("prepare",)),
        Stage("pose", pose, ("face_model",)),
    ]


def _training_stages(demo: EammDemo, setting: Setting) -> list[Stage]:
    out, corpus = setting.out, demo.corpus
    fomm, a2fd = (f"{name}={out / name}" for name in ("fomm", "a2fd"))
    where = (f"--fomm={out / 'fomm'}", f"--corpus={corpus}")
    choose = module("eamm.displacement.keypoint_choice", *where, f"--count={demo.moved}")

    def train(program: str, name: str, *arguments: str) -> tuple[str, ...]:
        run = f"run.out={out / name}"
        return script(program, demo.configs / f"{name}.yaml", run, *arguments)

    speech = (f"corpus={corpus}", fomm)
    fomm_command = train("train_fomm.py", "fomm", f"data.corpora=[{corpus}]")
    chosen = f"measured={out / 'fomm' / 'face_keypoints.json'}"
    moved = train("train_emotion_displacement.py", "displacement", *speech, a2fd, chosen)
    return [
        Stage("fomm", fomm_command, ("prepare",), setting.cores),
        Stage("a2fd", train("train_a2fd.py", "a2fd", *speech), ("fomm", "pose")),
        Stage("face_keypoints", choose, ("fomm", "pose")),
        Stage("displacement", moved, ("a2fd", "face_keypoints")),
    ]


def _showing_stages(demo: EammDemo, setting: Setting) -> list[Stage]:
    runs, corpus = str(setting.out), f"--corpus={demo.corpus}"
    sheet = str(setting.out / "media" / "contact_sheet.jpg")
    inspect = module("data_prep.inspect", str(demo.corpus), "--out", sheet)
    return [
        Stage("inspect", inspect, ("prepare",)),
        Stage("videos", module("affekt.showcase.eamm_videos", runs, corpus), ("displacement",)),
        Stage("analysis", module("eamm.analysis.analyse", runs, corpus), ("displacement",)),
        Stage("figures", module("affekt.showcase.eamm_figures", runs, corpus), ("displacement",)),
    ]
