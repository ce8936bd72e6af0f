"""The plans of the demos: commands that prepare, train, generate and measure.

The full demo needs those of EVP and EAMM. It adds metric networks, ablations, every table, emotion
editing and the sequential renderer.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from affekt.evaluation.ablation import row_folder
from affekt.media.emotions import NEUTRAL
from affekt.runtime.plan import Stage

Command = tuple[str, ...]

METRIC_NETWORKS = ("emotion_classifier", "syncnet")
ROWS = ("full", "no_cross")  # of the ablation, whose videos' emotion is compared (EVP, Sec. 4.3)
EAMM_TABLES = {"mead": "eamm-mead", "lrw": "eamm-lrw"}  # folder -> its protocol
BLENDS = {"category": "happy:sad", "intensity": "neutral:surprised"}  # shown as pictures
ARMS = {  # of the sequential renderer: what each changes of the YAML
    "with": (),
    "without": ("loss.gan_video=0",),
    "frames": ("video_discriminator.input=frames",),
}


def command(program: str, *arguments: str | Path) -> Command:
    """Return the command that runs a script (NAME.py) or a module of the project."""
    start = (program,) if program.endswith(".py") else ("-m", program)
    return (sys.executable, *start, *map(str, arguments))


@dataclass(frozen=True)
class DemoPaths:
    """Where a demo reads and writes, and on how many cores it runs."""

    out: Path  # the system's runs, media and figures
    raw: Path  # the mini corpus, of which each system renders what it needs
    seed: int  # of the mini corpus
    cores: int

    def render(self, *emotions: str, **extent: int) -> Command:
        """Return the command that adds what is missing to the mini corpus.

        `extent` are options of data_prep.mini_corpus that are numbers; without emotions, all.
        """
        numbers = [f"--{name.replace('_', '-')}={value}" for name, value in extent.items()]
        labels = ("--emotions", *emotions) if emotions else ()
        common = (f"--out={self.raw}", f"--seed={self.seed}", f"--workers={self.cores}")
        return command("data_prep.mini_corpus", *common, *numbers, *labels)

    def prepare(self, config: Path, out: Path) -> Command:
        """Return the command that prepares the mini corpus with the settings of a YAML file."""
        where = (f"out={out}", f"corpus.root={self.raw}", f"workers={self.cores}")
        return command("data_prep.prepare", config, *where)

    def train(self, program: str, config: Path, *overrides: str) -> Command:
        """Return the command that trains a stage into the folder named as its YAML file."""
        return command(program, config, f"run.out={self.out / config.stem}", *overrides)


def manifest(protocol: str, corpus: Path, csv: Path, *options: str) -> Command:
    """Return the command that lists the videos a protocol requires."""
    where = (f"--corpus={corpus}", f"--write-manifest={csv}")
    return command("test.py", "check", f"--protocol={protocol}", *where, *options)


# Of generate.py evp: the target is a crop already, and the result shows nothing of it.
WHOLE = ("--crop=none", "--frame=crop")


def generated(system: str, csv: Path, out: Path, *options: str) -> Command:
    """Return the command that generates the videos of a manifest."""
    return command("generate.py", system, f"--manifest={csv}", f"--out={out}", *options)


def measured(protocol: str, csv: Path, results: Path, *options: str) -> Command:
    """Return the command that measures the videos of a manifest."""
    where = (f"--results={results}", f"--truth={csv.parent / 'truth'}", f"--manifest={csv}")
    out = f"--out={scores_of(results)}"
    return command("test.py", "run", f"--protocol={protocol}", *where, out, *options)


def scores_of(results: Path) -> Path:
    """Return the folder of the scores of a folder of videos."""
    return results.with_name(f"{results.name}_scores")


def evp_manifest(out: Path) -> Path:
    """Return the manifest of EVP's Table 1 in a demo's folder; videos and scores lie next to it."""
    return out / "evaluation" / "evp.csv"


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


def evp_plan(demo: EvpDemo, paths: DemoPaths) -> list[Stage]:
    """Return EVP's commands; those that others wait for come first."""
    return [*_evp_data(demo, paths), *_evp_training(demo, paths), *_evp_results(demo, paths)]


def _evp_data(demo: EvpDemo, paths: DemoPaths) -> list[Stage]:
    size = {"speakers": demo.speakers, "sentences": demo.sentences, "lively": demo.lively_clips}
    speech = paths.prepare(demo.configs / "prepare.yaml", demo.speech)
    lively = paths.prepare(demo.configs / "prepare_lively.yaml", demo.lively)
    return [
        Stage("corpus", paths.render(**size), cores=paths.cores),
        Stage("prepare", speech, ("corpus",), paths.cores),
        Stage("prepare_lively", lively, ("prepare",), paths.cores),
    ]


def _evp_training(demo: EvpDemo, paths: DemoPaths) -> list[Stage]:
    out, model, corpus = paths.out, paths.out / "face_model.npz", f"corpus={demo.speech}"
    encoders = [f"{part}_from={out / f'pretrain_{part}'}" for part in ("content", "emotion")]
    portraits = f"data.corpora=[{demo.speech}, {demo.lively}]"

    def train(program: str, name: str, after: str, *overrides: str) -> Stage:
        config = demo.configs / f"{name}.yaml"
        return Stage(name, paths.train(program, config, *overrides), (after,))

    learn = command("data_prep.face_model", "--corpus", demo.speech, "--out", model)
    pose = command("data_prep.pose", "--corpus", demo.lively, "--model", model)
    codes = command("evp.inference.emotion_codes", out / "audio2lm")
    disentangle, audio2lm = "train_disentangle.py", f"encoders={out / 'disentangle'}"
    return [
        # Plain DTW, the paper's: synthetic speech has none of the pauses that it stumbles over.
        Stage("pairs", command("data_prep.pairs", demo.speech, "--aligner=dtw"), ("prepare",)),
        train("pretrain_encoders.py", "pretrain_emotion", "pairs", corpus),
        train("train_edge2video.py", "edge2video", "prepare_lively", portraits),
        train("pretrain_encoders.py", "pretrain_content", "pretrain_emotion", corpus),
        train(disentangle, "disentangle", "pretrain_content", corpus, *encoders),
        train("train_audio2lm.py", "audio2lm", "disentangle", corpus, audio2lm),
        Stage("emotion_codes", codes, ("audio2lm",)),
        Stage("face_model", learn, ("prepare_lively",)),
        Stage("pose", pose, ("face_model",)),
        train(disentangle, "disentangle_no_cross", "pretrain_content", corpus, *encoders),
    ]


def _evp_results(demo: EvpDemo, paths: DemoPaths) -> list[Stage]:
    """Videos and figures; Table 1: the renderer's person, every held-out sentence."""
    out, csv = paths.out, evp_manifest(paths.out)
    corpora = ("--speech", demo.speech, "--lively", demo.lively)
    sheet = ("--out", out / "media" / "contact_sheet.png")
    videos = command("affekt.showcase.videos", "evp", out, *corpora)
    truth = ("--truth", paths.raw / "truth")
    figures = command("affekt.showcase.evp_figures", out, *corpora, *truth)
    required = manifest(demo.protocol, demo.speech, csv, f"--speaker={demo.person}")
    results = csv.with_suffix("")
    generate = generated("evp", csv, results, f"--run={out}", *WHOLE)
    options = (f"--workers={paths.cores}", "--name=EVP, demo")
    measure = measured(demo.protocol, csv, results, *options)
    return [
        Stage("inspect", command("data_prep.inspect", demo.speech, *sheet), ("prepare",)),
        Stage("videos", videos, ("emotion_codes", "edge2video", "pose")),
        Stage("figures", figures, ("videos", "disentangle_no_cross")),
        Stage("manifest", required, ("prepare",)),
        Stage("generate", generate, ("manifest", "emotion_codes", "edge2video", "face_model")),
        Stage("evaluate", measure, ("generate",), paths.cores),
    ]


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


def eamm_plan(demo: EammDemo, paths: DemoPaths) -> list[Stage]:
    """Return EAMM's commands; those that others wait for come first."""
    return [*_eamm_data(demo, paths), *_eamm_training(demo, paths), *_eamm_results(demo, paths)]


def _eamm_data(demo: EammDemo, paths: DemoPaths) -> list[Stage]:
    cores, corpus, model = paths.cores, demo.corpus, paths.out / "face_model.npz"
    people = {"first_speaker": demo.first_speaker, "speakers": demo.speakers}
    every = paths.render(**people, sentences=demo.emotional, lively=demo.lively_clips)
    more = paths.render(NEUTRAL, **people, sentences=demo.neutral, lively=0)
    prepare = paths.prepare(demo.configs / "prepare.yaml", corpus)
    learn = command("data_prep.face_model", "--corpus", corpus, "--out", model)
    pose = command("data_prep.pose", "--corpus", corpus, "--model", model)
    return [
        Stage("people", every, cores=cores),
        Stage("neutral_speech", more, ("people",), cores),
        Stage("prepare", prepare, ("neutral_speech",), cores),
        Stage("face_model", learn, ("prepare",)),
        Stage("pose", pose, ("face_model",)),
    ]


def _eamm_training(demo: EammDemo, paths: DemoPaths) -> list[Stage]:
    out, configs, fomm = paths.out, demo.configs, paths.out / "fomm"
    speech = (f"corpus={demo.corpus}", f"fomm={fomm}")
    corpora = f"data.corpora=[{demo.corpus}]"
    where = (f"--fomm={fomm}", f"--corpus={demo.corpus}", f"--count={demo.keypoint_count}")
    chosen = (f"a2fd={out / 'a2fd'}", f"keypoint_choice={fomm / 'face_keypoints.json'}")
    train_fomm = paths.train("train_fomm.py", configs / "fomm.yaml", corpora)
    train_a2fd = paths.train("train_a2fd.py", configs / "a2fd.yaml", *speech)
    choose = command("eamm.displacement.keypoint_choice", *where)
    displacement = configs / "displacement.yaml"
    displace = paths.train("train_emotion_displacement.py", displacement, *speech, *chosen)
    return [
        Stage("fomm", train_fomm, ("prepare",), paths.cores),
        Stage("a2fd", train_a2fd, ("fomm", "pose")),
        Stage("face_keypoints", choose, ("fomm", "pose")),
        Stage("displacement", displace, ("a2fd", "face_keypoints")),
    ]


def _eamm_results(demo: EammDemo, paths: DemoPaths) -> list[Stage]:
    where = (paths.out, f"--corpus={demo.corpus}")
    sheet = ("--out", paths.out / "media" / "contact_sheet.jpg")
    trained = ("displacement",)
    return [
        Stage("inspect", command("data_prep.inspect", demo.corpus, *sheet), ("prepare",)),
        Stage("videos", command("affekt.showcase.videos", "eamm", *where), trained),
        Stage("analysis", command("eamm.analysis.supplement", *where), trained),
        Stage("figures", command("affekt.showcase.eamm_figures", *where), trained),
    ]


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
    temporal: Path = Path("configs/demo/evp/temporal.yaml")  # the sequential renderer
    seeds: int = 3  # of it, with and without the video discriminator


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
    """Return the manifest of EAMM's table on `name`; videos and scores lie next to it."""
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
        network = row_folder(paths.out / "ablation", row, 0) / "audio2lm"
        results = row_results(paths.out, row)
        parts = (f"--run={demo.evp}", f"--audio2lm={network}", *WHOLE)
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
