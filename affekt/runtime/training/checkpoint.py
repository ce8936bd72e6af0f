"""Checkpoints: state dicts, step and random generators; written whole, the last two kept."""

import logging
import typing as tp
from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten

import torch

from affekt.runtime.config import ConfigError
from affekt.runtime.files import DamagedFileError, replacing
from affekt.runtime.weights.tensor_files import load_torch, not_finite, save_torch

log = logging.getLogger(__name__)

KEPT = 2  # the newest, and the one before it in case the newest is damaged


class Stateful(tp.Protocol):
    """What a checkpoint can hold: a module, an optimizer, a scheduler."""

    def state_dict(self) -> dict[str, tp.Any]: ...
    def load_state_dict(self, state_dict: tp.Any, /) -> tp.Any: ...


def save(folder: Path, step: int, parts: Mapping[str, Stateful], ranks: int = 1) -> None:
    """Write `folder`/<step>.pt, whole or not at all, then drop all but the newest two.

    `ranks` is the number of processes that train together.

    Raises:
        FloatingPointError: a weight is NaN or infinite; it is named and nothing is written.
    """
    state = {name: part.state_dict() for name, part in parts.items()}
    wrong = not_finite(state)
    if wrong is not None:
        raise FloatingPointError(
            f"step {step}: {wrong} holds NaN or infinity; {folder} keeps the checkpoint before it"
        )
    rng = {"torch": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()}
    with replacing(folder / f"{step:09d}.pt") as temporary:
        save_torch({"step": step, "ranks": ranks, "rng": rng, "parts": state}, temporary)
    for old in _files(folder)[KEPT:]:
        old.unlink()


def newest(folder: Path) -> dict[str, tp.Any] | None:
    """Return the newest whole checkpoint of a folder, or None where there is none.

    A damaged file is passed over for the one before it, with a warning that names both.

    Raises:
        DamagedFileError: there are checkpoints and every one of them is damaged.
    """
    files = _files(folder)
    for path in files:
        try:
            return read(path)
        except DamagedFileError as error:
            log.warning("%s; using the checkpoint before it", error)
    if files:
        raise DamagedFileError(
            f"every checkpoint in {folder} is damaged; delete the run and start anew"
        )
    return None


def read(path: Path) -> dict[str, tp.Any]:
    """Return what a checkpoint holds: `step`, `rng` and `parts`, after a check of every byte.

    Raises:
        FileNotFoundError: no such file.
        DamagedFileError: damaged, or a torch file of something else.
    """
    state = load_torch(path)
    if not (
        isinstance(state, dict)
        and state.keys() >= {"step", "rng", "parts"}
        and isinstance(state["step"], int)
        and isinstance(state["parts"], dict)
    ):
        raise DamagedFileError(f"{path} is no checkpoint of a run")
    return state


def load_parts(state: dict[str, tp.Any], parts: Mapping[str, Stateful], run_dir: Path) -> None:
    """Load each named part from a checkpoint of the run in `run_dir`.

    Raises:
        ConfigError: the checkpoint lacks a part, or a part has other weights there; the message
            names those it has, or what differs.
        DamagedFileError: a weight of the part is NaN or infinite; the message names it.
    """
    for name, part in parts.items():
        if name not in state["parts"]:
            known = ", ".join(state["parts"])
            raise ConfigError(
                f"the checkpoint of {run_dir} has no part {name!r}, only {known}: it is of another "
                "stage or an earlier version; train anew"
            )
        stored = state["parts"][name]
        wrong = not_finite(stored, name)
        if wrong is not None:
            raise DamagedFileError(
                f"the checkpoint of {run_dir} at step {state['step']} is of no use: {wrong} holds "
                "NaN or infinity; delete it, which leaves the one before it, or train anew"
            )
        try:
            part.load_state_dict(stored)
        except (RuntimeError, ValueError) as error:  # a module's, an optimizer's
            reason = shorten(str(error), 600, placeholder=" ...")  # lists every weight that differs
            raise ConfigError(
                f"{run_dir} was trained by another version or configuration: the {name} of its "
                f"checkpoint does not fit ({reason}); train anew, into another run.out or after "
                "deleting that folder"
            ) from None


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("[0-9]*.pt"), reverse=True)
