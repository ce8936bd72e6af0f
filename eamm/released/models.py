"""Build this project's models from the releases' networks, every weight named and of its shape."""

import contextlib
import typing as tp
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from affekt.runtime.weights.foreign import State, fill
from eamm.a2fd import network as a2fd
from eamm.displacement import network as displacement
from eamm.fomm import model as fomm
from eamm.fomm.discriminator import Discriminator
from eamm.released.checkpoint import EXPECTED
from eamm.released.names import complete_spectral_norm, rename
from eamm.released.sizes import (
    a2fd_config,
    discriminator_config,
    displacement_config,
    fomm_config,
)

OLD_SPECTRAL_NORM = "the normalised copy of weight_orig that torch 1.0 stored beside it"


@dataclass(frozen=True)
class Options:
    """What the files do not say."""

    size: int = 256  # pixels a side of the pictures that the networks were trained on
    align_corners: bool = True  # see eamm.fomm.model.FommConfig


@dataclass
class Released:
    """The networks of one or several checkpoints, and an account of everything in them."""

    states: dict[str, State] = field(default_factory=dict)  # by network
    files: dict[str, Path] = field(default_factory=dict)  # where each network comes from
    left_out: dict[str, list[str]] = field(default_factory=dict)  # names by reason

    def leave_out(self, name: str, reason: str) -> None:
        """Account for something that is not taken."""
        self.left_out.setdefault(reason, []).append(name)


@dataclass(frozen=True)
class Model:
    """One model of this project, as it is written."""

    name: str
    description: tp.Any  # a configuration
    module: nn.Module  # with the released weights
    names: dict[str, str]  # of the weights, by their released names


def build_models(released: Released, options: Options) -> list[Model]:
    """Return the models that the networks make up.

    Raises:
        ValueError: weights are missing, unknown or of another shape, or A2FD was made for a FOMM of
            other sizes than the one beside it; the message names them and the file.
    """
    models: list[Model] = []
    teacher = None
    if "generator" in released.states:
        whole = _fomm(released, options)
        models.append(whole)
        detector = tp.cast(fomm.Fomm, whole.module).detector
        teacher = a2fd.fingerprint(detector)
        if "discriminator" in released.states:
            models.append(_discriminator(released, whole.description.keypoints.count))
    if "audio_feature" in released.states:
        follower = _a2fd(released, teacher)
        models.append(follower)
        if teacher is not None:
            a2fd.check_fomm(follower.description, whole.description, detector)
    if "emo_detector" in released.states:
        models.append(_displacement(released, options, teacher))
    return models


def _fomm(released: Released, options: Options) -> Model:
    detector, generator = released.states["kp_detector"], released.states["generator"]
    with _named(released, "generator"):
        config = fomm_config(detector, generator, options.size, options.align_corners)
        return _model(released, ("generator", "kp_detector"), "fomm", config, fomm.Fomm(config))


def _discriminator(released: Released, count: int) -> Model:
    with _named(released, "discriminator"):
        state, dropped = complete_spectral_norm(released.states["discriminator"])
        released.states["discriminator"] = state
        for key in dropped:
            released.leave_out(f"discriminator.{key}", OLD_SPECTRAL_NORM)
        config = discriminator_config(state)
        module = Discriminator(count, config)
        return _model(released, ("discriminator",), "discriminator", config, module)


def _a2fd(released: Released, teacher: str | None) -> Model:
    networks = ("audio_feature", "kp_detector_a")
    with _named(released, "audio_feature"):
        audio, heads = (released.states[name] for name in networks)
        config = a2fd_config(audio, heads, teacher)
        return _model(released, networks, "a2fd", config, a2fd.A2fd(config))


def _displacement(released: Released, options: Options, teacher: str | None) -> Model:
    with _named(released, "emo_detector"):
        config = displacement_config(released.states["emo_detector"])
        module = displacement.Displacement(config)
        description = displacement.DisplacementDescription(
            config, options.size, displacement.RELEASED_GAINS, teacher=teacher
        )
        return _model(released, ("emo_detector",), "displacement", description, module)


def _model(
    released: Released,
    networks: tuple[str, ...],
    name: str,
    description: tp.Any,
    module: nn.Module,
) -> Model:
    """Return `module` with the weights of the networks, all of which are accounted for."""
    names: dict[str, str] = {}
    weights: State = {}
    for network in networks:
        state = released.states[network]
        taken, reasons = rename(network, list(state))
        for key, reason in reasons.items():
            released.leave_out(f"{network}.{key}", reason)
        for key, new in taken.items():
            names[f"{network}.{key}"] = new
            weights[new] = state[key]
    fill(module, weights, names)
    return Model(name, description, module, names)


@contextlib.contextmanager
def _named(released: Released, network: str) -> Iterator[None]:
    """Name the file and what was expected, whatever is wrong with a network's weights."""
    try:
        yield
    except KeyError as error:
        problem = f"no weight {error.args[0]}"
    except (ValueError, IndexError) as error:
        problem = str(error)
    else:
        return
    raise ValueError(
        f"{released.files[network]}: its {network} is none of the releases' ({problem}); {EXPECTED}"
    )
