r"""Turn checkpoints of the FOMM and EAMM releases into weights that this project loads.

    python -m eamm.released.importer vox-cpk.pth.tar --out weights/vox
    python -m eamm.released.importer 124_52000.pth.tar 1-6000.pth.tar 5-3000.pth.tar \
        --out weights/eamm

Writes, of what the files hold, NAME.safetensors and NAME.yaml:
    fomm           generator and kp_detector           eamm.fomm.model.load_fomm
    discriminator  of FOMM, where it is there          eamm.fomm.model.load_discriminator
    a2fd           audio_feature and kp_detector_a     eamm.a2fd.network.load_a2fd
    displacement   emo_detector                        eamm.displacement.network.load_displacement
and import.json: where each comes from, the new name of every weight, and every weight that is left
out with the reason. Of networks that several files hold, the first file's is taken. Nothing is
executed from the files, and nothing is written unless every weight has its place.
"""

import typing as tp
from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import save_file

from affekt.runtime.command import CommandParser, user_errors
from affekt.runtime.config import dump_config
from affekt.runtime.files import replacing_folder, sha256, write_json
from affekt.runtime.weights.foreign import summary_lines, tensors
from eamm.released.checkpoint import NETWORKS, read_checkpoint
from eamm.released.models import Model, Options, Released, build_models

REPORT = "import.json"
COUNTERS = ("epoch", "step")
WRITTEN = {REPORT} | {
    f"{name}.{suffix}"
    for name in ("fomm", "discriminator", "a2fd", "displacement")
    for suffix in ("yaml", "safetensors")
}
PARTNERS = {  # what each network is of no use without
    "generator": "kp_detector",
    "kp_detector": "generator",
    "discriminator": "generator",
    "audio_feature": "kp_detector_a",
    "kp_detector_a": "audio_feature",
}


def import_released(
    files: Sequence[Path], out: Path, options: Options | None = None
) -> dict[str, tp.Any]:
    """Write every model that the checkpoints hold into `out`; return what import.json says.

    Raises:
        FileNotFoundError: a checkpoint is missing.
        ValueError: it is damaged or something else, has weights that fit no released network, or
            `out` holds what no import wrote.
    """
    foreign = sorted(path.name for path in out.glob("*") if path.name not in WRITTEN)
    if foreign or out.is_file():
        raise ValueError(f"{out} holds {', '.join(foreign[:3])}, of no import; name another --out")
    released, sources = read_released(files)
    models = build_models(released, options or Options())
    if not models:
        given = ", ".join(path.name for path in files)
        reasons = "; ".join(
            f"{', '.join(names)}: {why}" for why, names in released.left_out.items()
        )
        raise ValueError(f"{given}: nothing to import ({reasons})")
    accounts = {model.name: _account(model) for model in models}
    report = {"sources": sources, "models": accounts, "left_out": released.left_out}
    with replacing_folder(out) as folder:
        for model in models:
            weights = folder / f"{model.name}.safetensors"
            save_file(model.module.state_dict(), weights)
            weights.chmod(0o644)  # safetensors makes files that only their owner reads
            dump_config(model.description, folder / f"{model.name}.yaml")
        write_json(folder / REPORT, report)
    return report


def read_released(files: Sequence[Path]) -> tuple[Released, list[dict[str, tp.Any]]]:
    """Read checkpoints, and say which; a network that several of them hold is the first one's.

    Raises:
        FileNotFoundError, ValueError: see eamm.released.checkpoint.read_checkpoint.
    """
    released = Released()
    sources = []
    for path in files:
        parts = read_checkpoint(path)
        counters = {name: int(parts.pop(name)) for name in COUNTERS if name in parts}
        sources.append({"file": path.name, "sha256": sha256(path), **counters})
        for name in parts:
            if name not in NETWORKS:
                released.leave_out(f"{name} of {path.name}", _unwanted(name))
            elif name in released.states:
                first = released.files[name].name
                released.leave_out(f"{name} of {path.name}", f"that of {first} was given first")
            else:
                released.states[name] = tensors(parts[name], name, path)
                released.files[name] = path
    for name in list(released.states):
        partner = PARTNERS.get(name, name)
        if partner not in released.files:
            del released.states[name]
            released.leave_out(name, f"of no use without {partner}: give its file as well")
    return released, sources


def _unwanted(name: str) -> str:
    if name.startswith("optimizer"):
        return "state of the release's optimizers; a training here starts its own"
    return "not a network of the releases"


def _account(model: Model) -> dict[str, tp.Any]:
    parameters = sum(parameter.numel() for parameter in model.module.parameters())
    return {"parameters": parameters, "names": model.names}


def summary(report: dict[str, tp.Any]) -> str:
    """Return what an import did, for people."""
    lines = [f"read {source['file']}  sha256 {source['sha256']}" for source in report["sources"]]
    return "\n".join([*lines, *summary_lines(report["models"], report["left_out"])])


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = CommandParser(__doc__)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE.pth.tar")
    parser.add_argument("--out", type=Path, required=True, help="folder of the imported weights")
    parser.add_argument(
        "--align-corners",
        choices=("true", "false"),
        default="true",
        help="how pictures are warped; true: as torch did when the public weights were trained",
    )
    parser.add_argument("--size", type=int, default=256, help="pixels a side of FOMM's pictures")
    args = parser.parse_args(argv)
    options = Options(size=args.size, align_corners=args.align_corners == "true")
    with user_errors():
        report = import_released(args.files, args.out, options)
    print(summary(report))  # noqa: T201 - the command's result


if __name__ == "__main__":
    main()
