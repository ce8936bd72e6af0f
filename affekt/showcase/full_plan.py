"""The plan of the full demo: metric networks, ablations, every table, editing, sequences.

Needs the demos of EVP and EAMM.
"""

from dataclasses import dataclass
from pathlib import Path

from affekt.runtime.plan import Stage
from affekt.showcase.plans import (
    Command,
    DemoPaths,
    command,
    evp_manifest,
    generated,
    manifest,
    measured,
    scores_of,
)


@dataclass(frozen=True)
class FullDemo:
    """What is trained and measured beside the two demos."""

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
    temporal: Path = Path("configs/demo/evp/temporal.yaml")  # the sequential renderer
    seeds: int = 3  # of it, with and without the video discriminator


METRIC_NETWORKS = ("emotion_classifier", "syncnet")
ROWS = ("full", "no_cross")  # of the ablation, whose videos' emotion is compared (EVP, Sec. 4.3)
EAMM_TABLES = {"mead": "eamm-mead", "lrw": "eamm-lrw"}  # folder -> its protocol
BLENDS = {"category": "happy:sad", "intensity": "neutral:surprised"}  # shown as pictures
ARMS = {  # of the sequential renderer: what each changes of the YAML
    "with": (),
    "without": ("loss.gan_video=0",),
    "frames": ("video_discriminator.input=frames",),
}


def full_plan(demo: FullDemo, paths: DemoPaths) -> list[Stage]:
    """Return the commands; those that others wait for come first."""
    evp = scores_of(evp_manifest(demo.evp).with_suffix(""))
    figures = command("affekt.showcase.full_figures", paths.out, f"--evp={evp}")
    rows = [f"evp_{row}" for row in ROWS]
    needed = ("lags", "emotion_of_truth", "evp", *rows, *EAMM_TABLES, "temporal", "editing")
    return [
        *_metric_networks(demo, paths),
        *_sequences(demo, paths),
        *_codes_and_editing(demo, paths),
        *_evp_tables(demo, paths),
        *_eamm_tables(demo, paths),
        Stage("figures", figures, (*needed, "codes")),
    ]


def eamm_manifest(out: Path, name: str) -> Path:
    """Return the manifest of EAMM's table on `name`; videos and scores lie beside it."""
    return out / name / "clips.csv"


def row_results(out: Path, row: str) -> Path:
    """Return the folder of the videos of a row of the ablation."""
    return out / "rows" / row


def _metric_networks(demo: FullDemo, paths: DemoPaths) -> list[Stage]:
    """The ablation, and the two networks that measure emotion and sync."""
    out, corpus = paths.out, f"corpus={demo.corpus}"
    classifier, syncnet = (demo.metric_configs / f"{name}.yaml" for name in METRIC_NETWORKS)
    truth = ("--corpus", demo.corpus, "--json", out / "emotion_of_truth.json")
    accuracy = command("affekt.metrics.emotion.score", out / classifier.stem, *truth)
    lags = command("affekt.metrics.sync.score", out / syncnet.stem, "--corpus", demo.corpus)
    ablate = command("test.py", "ablate", demo.ablation, f"--out={out / 'ablation'}")
    train = paths.train("affekt.metrics.emotion.train", classifier, corpus)
    return [
        Stage("ablation", ablate),
        Stage("emotion_classifier", train),
        Stage("syncnet", paths.train("affekt.metrics.sync.train", syncnet, corpus)),
        Stage("emotion_of_truth", accuracy, ("emotion_classifier",)),
        Stage("lags", lags, ("syncnet",)),
    ]


def _sequences(demo: FullDemo, paths: DemoPaths) -> list[Stage]:
    """The sequential renderer, every arm with every seed."""
    out, runs = paths.out / "temporal", []
    for seed in range(demo.seeds):
        for arm, changes in ARMS.items():
            run = out / f"{arm}_{seed}"
            where = (f"run.out={run}", f"run.seed={seed}", f"data.corpora=[{demo.speech}]")
            train = command("train_edge2video.py", demo.temporal, *where, *changes)
            runs.append(Stage(f"temporal_{run.name}", train, ("flow",)))
    figures = command("affekt.showcase.temporal_figures", out, "--corpora", demo.speech)
    return [
        Stage("flow", command("data_prep.flow", demo.speech)),
        *runs,
        Stage("temporal", figures, tuple(stage.name for stage in runs)),
    ]


def _codes_and_editing(demo: FullDemo, paths: DemoPaths) -> list[Stage]:
    """Fig. 5, and emotion editing: figures of all clips, pictures of two blends."""
    out, evp = paths.out, demo.evp
    trained = (f"--run={evp / 'disentangle'}", f"--no-cross={evp / 'disentangle_no_cross'}")
    figures = f"--out={out / 'editing' / 'editing.json'}"
    measure = command("evp.analysis.measure_editing", evp / "audio2lm", figures)
    stages = [
        Stage("codes", command("evp.analysis.codes", *trained, f"--out={out / 'codes'}")),
        Stage("editing", measure),
    ]
    for name, blend in BLENDS.items():
        where = (f"--targets={demo.lively}", f"--out={out / 'editing' / name}")
        show = command("evp.analysis.editing", evp, f"--blend={blend}", *where)
        stages.append(Stage(f"editing_{name}", show))
    return stages


def _measured(paths: DemoPaths, protocol: str, csv: Path, results: Path, name: str) -> Command:
    classifier, syncnet = (paths.out / network for network in METRIC_NETWORKS)
    networks = (f"--emotion-classifier={classifier}", f"--syncnet={syncnet}")
    return measured(protocol, csv, results, *networks, f"--name={name}", "--min-coverage=0.9")


def _evp_tables(demo: FullDemo, paths: DemoPaths) -> list[Stage]:
    """EVP's Table 1 with every metric, and the emotion of two rows of the ablation."""
    csv = evp_manifest(demo.evp)
    table = _measured(paths, demo.protocol, csv, csv.with_suffix(""), "EVP, demo")
    stages = [Stage("evp", table, METRIC_NETWORKS)]
    for row in ROWS:
        network = paths.out / "ablation" / row / "seed0" / "audio2lm"
        results = row_results(paths.out, row)
        parts = (f"--run={demo.evp}", f"--audio2lm={network}", "--paste=crop")
        measure = _measured(paths, demo.protocol, csv, results, f"EVP, {row}, seed 0")
        stages += [
            Stage(f"videos_{row}", generated("evp", csv, results, *parts), ("ablation",)),
            Stage(f"evp_{row}", measure, (f"videos_{row}", *METRIC_NETWORKS)),
        ]
    return stages


def _eamm_tables(demo: FullDemo, paths: DemoPaths) -> list[Stage]:
    """EAMM's tables, self-driving (supplement B.1), on people whom no stage has learned from."""
    stages, frames = [], ("--crop=none", f"--size={demo.size}")
    for name, protocol in EAMM_TABLES.items():
        csv = eamm_manifest(paths.out, name)
        results, before = csv.with_suffix(""), f"{name}_manifest"
        required = manifest(protocol, demo.corpus, csv, f"--limit={demo.clips}")
        stages.append(Stage(before, required))
        if name == "mead":
            # The emotion source is another person moved by the test clip: FOMM makes it first.
            driven = csv.with_name(f"{csv.stem}_fomm.csv")
            options = ("--driving-crop=none", f"--fomm={demo.eamm / 'fomm'}", *frames)
            drive = generated("fomm", driven, driven.with_suffix(""), *options)
            stages.append(Stage(f"{name}_driven", drive, (before,)))
            before = f"{name}_driven"
        generate = generated("eamm", csv, results, f"--run={demo.eamm}", *frames)
        measure = _measured(paths, protocol, csv, results, "EAMM, demo")
        stages += [
            Stage(f"{name}_videos", generate, (before,)),
            Stage(name, measure, (f"{name}_videos", *METRIC_NETWORKS)),
        ]
    return stages
