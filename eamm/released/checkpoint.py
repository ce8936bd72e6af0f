"""Read a checkpoint of the FOMM or EAMM release safely, or say what was found instead.

The releases' .pth.tar files are no tar archives but torch pickles, most of them in the format that
torch wrote before 1.6 (FOMM and EAMM releases).
"""

import typing as tp
from pathlib import Path

from torch import Tensor

from affekt.runtime.weights.foreign import read_torch

Parts = dict[str, tp.Any]  # the checkpoint's top level

NETWORKS = (
    "generator",
    "kp_detector",
    "discriminator",
    "audio_feature",
    "kp_detector_a",
    "emo_detector",
)
EXPECTED = (
    "wanted one of the releases' checkpoints: vox-cpk.pth.tar, vox-adv-cpk.pth.tar (FOMM) or "
    "124_52000.pth.tar (EAMM's FOMM) with generator and kp_detector; 1-6000.pth.tar (EAMM's audio) "
    "with audio_feature and kp_detector_a; 5-3000.pth.tar (EAMM's emotion) with emo_detector"
)
FLAT = {  # first names of flat state dicts that people have beside these files
    "con_encoder": "an EVP",
    "emo_encoder": "an EVP",
    "audio_eocder": "an ATVGnet or EVP",
    "features": "a VGG",
}


def read_checkpoint(path: Path) -> Parts:
    """Return the top level of a checkpoint that holds at least one of the releases' networks.

    Tensors and plain numbers are all that is unpickled.

    Raises:
        FileNotFoundError: no such file.
        ValueError: something else; the message says what, and which files were expected.
    """
    found = read_torch(path, EXPECTED)
    strange = _no_checkpoint(found)
    if strange:
        raise ValueError(f"{path} is {strange}; {EXPECTED}")
    return tp.cast(Parts, found)


def _no_checkpoint(found: tp.Any) -> str | None:
    """Say what an unpickled value is that none of the releases holds; None where one does."""
    if not isinstance(found, dict) or not found:
        return f"a torch file that holds a {type(found).__name__}, no checkpoint"
    if any(name in found for name in NETWORKS):
        return None
    if {"step", "rng", "parts"} <= found.keys():
        return "a checkpoint of this project's own training: give its run folder, without an import"
    if {"train_step", "model"} <= found.keys():
        return "a checkpoint of EVP's disentanglement"
    names = [str(name) for name in found]
    if all(isinstance(value, Tensor) for value in found.values()):
        first = names[0].removeprefix("module.").split(".")[0]
        return f"{FLAT.get(first, 'some')} network's plain state dict (its first key is {names[0]})"
    return f"a torch file with the parts {', '.join(names[:6])}"
