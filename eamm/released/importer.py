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

from torch import Tensor

from affekt.runtime.command import CommandParser, user_errors
from affekt.runtime.config import dump_config
from affekt.runtime.weights.convert import ImportReport, check_out, importing, read_torch, tensors
from affekt.runtime.weights.tensor_files import save_tensors
from eamm.released.models import EXPECTED, NAMES, Options, Released, build_models

COUNTERS = ("epoch", "step")
WRITTEN = [
    f"{name}.{suffix}"
    for name in ("fomm", "discriminator", "a2fd", "displacement")
    for suffix in ("yaml", "safetensors")
]
PARTNERS = {  # what each network is of no use without
    "generator": "kp_detector",
    "kp_detector": "generator",
    "discriminator": "generator",
    "audio_feature": "kp_detector_a",
    "kp_detector_a": "audio_feature",
}
FLAT = {  # first names of flat state dicts that are often kept with these files
    "con_encoder": "an EVP",
    "emo_encoder": "an EVP",
    "audio_eocder": "an ATVGnet or EVP",
    "features": "a VGG",
}
OPTIMIZER = "state of the release's optimizers; a training here starts its own"


def import_released(
    files: Sequence[Path], out: Path, options: Options | None = None
) -> ImportReport:
    """Write every model that the checkpoints hold into `out`; return what import.json holds.

    Raises:
        FileNotFoundError: a checkpoint is missing.
        ValueError: it is damaged or something else, has weights that fit no released network, or
            `out` holds what no import wrote.
    """
    check_out(out, WRITTEN)
    released = read_released(files)
    # Build every model that the files are enough for
    models, report = build_models(released, options or Options()), released.report
    if not models:
        given = ", ".join(path.name for path in files)
        reasons = "; ".join(f"{', '.join(names)}: {why}" for why, names in report.left_out.items())
        raise ValueError(f"{given}: nothing to import ({reasons})")
    # Weights and sizes of each, all of them or none
    with importing(out, WRITTEN) as folder:
        for name, (description, module) in models.items():
            save_tensors(folder / f"{name}.safetensors", module.state_dict())
            dump_config(description, folder / f"{name}.yaml")
        report.write(folder)
    return report


def read_released(files: Sequence[Path]) -> Released:
    """Read the networks of checkpoints; one that several of them hold is the first one's.

    Raises:
        FileNotFoundError, ValueError: see `import_released`.
    """
    report = ImportReport()
    released = Released(report)
    for path in files:
        parts = read_checkpoint(path)
        counters = {name: int(parts.pop(name)) for name in COUNTERS if name in parts}
        report.add_source(path, **counters)
        # Keep each network once; note what is left out and why
        for name in parts:
            if name not in NAMES:
                strange = not name.startswith("optimizer")
                reason = "not a network of the releases" if strange else OPTIMIZER
                report.leave_out(f"{name} of {path.name}", reason)
            elif name in released.states:
                first = released.files[name].name
                report.leave_out(f"{name} of {path.name}", f"that of {first} was given first")
            else:
                released.states[name] = tensors(parts[name], name, path)
                released.files[name] = path
    # Half a model is of no use
    for name in list(released.states):
        partner = PARTNERS.get(name, name)
        if partner not in released.files:
            del released.states[name]
            report.leave_out(name, f"of no use without {partner}: give its file as well")
    return released


def read_checkpoint(path: Path) -> dict[str, tp.Any]:
    """Return the top level of a checkpoint that holds at least one of the releases' networks.

    The releases' .pth.tar files are no tar archives but torch pickles, most of them in the format
    that torch wrote before 1.6. Tensors and numbers are all that is unpickled.

    Raises:
        FileNotFoundError: no such file.
        ValueError: something else; the message names what, and which files were expected.
    """
    found = read_torch(path, EXPECTED)
    if not isinstance(found, dict) or not found:
        what = f"holds a {type(found).__name__}, no checkpoint"
        raise ValueError(f"{path} is a torch file that {what}; {EXPECTED}")
    if not any(name in found for name in NAMES):
        raise ValueError(f"{path} is {_other_checkpoint(found)}; {EXPECTED}")
    return found


def _other_checkpoint(found: dict[str, tp.Any]) -> str:
    """Return what a checkpoint is that none of the releases holds."""
    if {"step", "rng", "parts"} <= found.keys():
        return "a checkpoint of this project's own training: give its run folder, without an import"
    if {"train_step", "model"} <= found.keys():
        return "a checkpoint of EVP's disentanglement"
    names = [str(name) for name in found]
    if all(isinstance(value, Tensor) for value in found.values()):
        first = names[0].removeprefix("module.").split(".")[0]
        return f"{FLAT.get(first, 'some')} network's plain state dict (its first key is {names[0]})"
    return f"a torch file with the parts {', '.join(names[:6])}"


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
    print(report)  # noqa: T201 - the command's result


if __name__ == "__main__":
    main()
