"""The plan of EVP's demo: the embedded corpus, every stage, videos and figures."""

from dataclasses import dataclass
from pathlib import Path

from affekt.runtime.plan import Stage
from affekt.showcase.commands import Setting, generated, manifest, measured, module, script


@dataclass(frozen=True)
class EvpDemo:
    """How much EVP's demo makes; every speaker says every sentence in every emotion."""

    configs: Path = Path("configs/demo/evp")  # a YAML file for every stage
    speech: Path = Path("data/mini")  # prepared: calm heads, every emotion
    lively: Path = Path("data/mini_lively")  # prepared: target videos
    speakers: int = 3
    sentences: int = 14
    lively_clips: int = 12  # target videos a speaker, with the head turning freely
    person: str = "M901"  # whom the renderer learns: data.speaker of its YAML
    protocol: str = "evp-3d"  # by which its Table 1 is made


def evp_plan(demo: EvpDemo, setting: Setting) -> list[Stage]:
    """Return the commands; those that others wait for come first."""
    return [
        *_data_stages(demo, setting),
        *_training_stages(demo, setting),
        *_showing_stages(demo, setting),
        *_judging_stages(demo, setting),
    ]


def _data_stages(demo: EvpDemo, setting: Setting) -> list[Stage]:
    cores = setting.cores
    size = {
        "speakers": demo.speakers,
        "sentences": demo.sentences,
        "lively": demo.lively_clips,
    }

    def prepare(name: str, out: Path) -> tuple[str, ...]:
        return setting.prepare(demo.configs / name, out)

    return [
        Stage("corpus", setting.render(**size), cores=cores),
        Stage("prepare", prepare("prepare.yaml", demo.speech), ("corpus",), cores),
        Stage("prepare_lively", prepare("prepare_lively.yaml", demo.lively), ("prepare",), cores),
    ]


def _training_stages(demo: EvpDemo, setting: Setting) -> list[Stage]:
    out, speech, lively = setting.out, str(demo.speech), str(demo.lively)
    model = str(out / "face_model.npz")

    def train(program: str, name: str, *arguments: str) -> tuple[str, ...]:
        return script(program, demo.configs / f"{name}.yaml", f"run.out={out / name}", *arguments)

    corpus = f"corpus={speech}"
    pretrained = (
        f"content_from={out / 'pretrain_content'}",
        f"emotion_from={out / 'pretrain_emotion'}",
    )
    encoders = f"encoders={out / 'disentangle'}"
    portraits = f"data.corpora=[{speech}, {lively}]"
    learn = module("data_prep.face_model", "--corpus", speech, "--out", model)
    return [
        # Plain DTW, the paper's: synthetic speech has none of the pauses that it stumbles over.
        Stage("pairs", module("data_prep.pairs", speech, "--aligner=dtw"), ("prepare",)),
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
        Stage(
            "emotion_codes",
            module("evp.inference.emotion_codes", str(out / "audio2lm")),
            ("audio2lm",),
        ),
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


def _showing_stages(demo: EvpDemo, setting: Setting) -> list[Stage]:
    media = setting.out / "media"
    corpora = ("--speech", str(demo.speech), "--lively", str(demo.lively))
    truth = ("--truth", str(setting.raw / "truth"))
    sheet = module("data_prep.inspect", str(demo.speech), "--out", str(media / "contact_sheet.png"))
    trained = ("emotion_codes", "edge2video", "pose")
    figures = module("affekt.showcase.evp_figures", str(setting.out), *corpora, *truth)
    return [
        Stage("inspect", sheet, ("prepare",)),
        Stage("videos", module("affekt.showcase.evp_videos", str(setting.out), *corpora), trained),
        Stage("figures", figures, ("videos", "disentangle_no_cross")),
    ]


def evaluation(out: Path) -> Path:
    """Return the manifest of the clips that are measured; all else of it lies beside."""
    return out / "evaluation" / "evp.csv"


def _judging_stages(demo: EvpDemo, setting: Setting) -> list[Stage]:
    """Table 1: every held-out sentence of the renderer's person, from its own sound and video."""
    csv = evaluation(setting.out)
    results = csv.with_suffix("")
    wanted = manifest(demo.protocol, demo.speech, csv, f"--speaker={demo.person}")
    make = generated("evp", csv, results, f"--run={setting.out}", "--paste=crop")
    measure = measured(
        demo.protocol, csv, results, f"--workers={setting.cores}", "--name=EVP, demo"
    )
    return [
        Stage("manifest", wanted, ("prepare",)),
        Stage("generate", make, ("manifest", "emotion_codes", "edge2video", "face_model")),
        Stage("evaluate", measure, ("generate",), setting.cores),
    ]
