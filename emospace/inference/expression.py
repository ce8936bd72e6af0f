"""Expression of a whole clip by a trained EAC: Phi over overlapping windows, blended by ramps.

Phi sees a window of frames at a time (supplement Sec. 1.2 prints no length). A longer clip is cut
into windows that overlap, and where two of them do, the earlier one fades out as the later one
fades in. Windows, blending and guidance are ours: guidance g moves a prediction away from the one
without an emotion code, free + g (given - free), as FLOAT and DreamTalk do in their diffusion
models; 1 is no guidance, more exaggerates the emotion.

Letters: T frames of a clip, W frames of a window, N emotion codes, C numbers of a code, E
expression modes, R rows of a log-mel, 80 per second.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from affekt.arrays import Array
from affekt.media.audio.mel import BINS, mel_windows
from affekt.media.face3d.coefficients import CorpusExpression
from affekt.nets.fingerprint import fingerprint
from affekt.runtime.config import ConfigError, dump_config, load_config
from affekt.runtime.run import restore
from emospace.networks.expression import ExpressionNetConfig, ExpressionTransformer

DESCRIPTION = "expression.yaml"  # in the run folder
AT_ONCE = 128  # windows in one go


@dataclass(frozen=True)
class ExpressionDescription:
    """What a run folder holds of its network besides the weights."""

    model: ExpressionNetConfig
    code_dim: int  # C
    modes: int  # E
    window: int  # frames
    overlap: int
    emotions: tuple[str, ...]  # of the emotion space
    face_model: str  # name of the model whose coefficients it predicts
    sha256: str  # of that model
    emotion_space: str  # `fingerprint` of the space whose codes it was trained with


class ExpressionPredictor:
    """A network ready for inference, on the device where it is."""

    def __init__(self, model: ExpressionTransformer, description: ExpressionDescription) -> None:
        self.model, self.description = model, description

    def predict(
        self,
        mel: Array,
        code: Array,
        intensity: ArrayLike,
        reference: Array,
        guidance: float = 1.0,
    ) -> Array:
        """Return the expression of every frame of a sound, (T, E) float32, face model's units.

        Args:
            mel: log-mel (R, 80) at 80 rows a second, at least two rows.
            code: emotion code (C,), or one for each frame (T, C).
            intensity: of the emotion, 0 to about 1; a number, or one for each frame (T,).
            reference: (E,), an expression of the speaker at rest, such as the portrait's.
            guidance: 1: none, 0: the prediction without a code, more: exaggerated.

        Raises:
            ValueError: a shape that does not fit; the message names it.
        """
        codes, strengths = np.asarray(code)[None], np.asarray(intensity, float)[None]
        return self.predict_codes(mel, codes, strengths, reference, guidance)[0]

    @torch.no_grad()
    def predict_codes(
        self,
        mel: Array,
        codes: Array,
        intensities: ArrayLike,
        reference: Array,
        guidance: float = 1.0,
    ) -> Array:
        """Return one sound's expression under each of N codes, (N, T, E) float32.

        Args:
            mel: log-mel (R, 80).
            codes: (N, C), or (N, T, C).
            intensities: (N,), or (N, T).
            reference: (E,).
            guidance: see `predict`.
        """
        if mel.ndim != 2 or mel.shape[1] != BINS or len(mel) < 2:
            raise ValueError(f"the log-mel has shape {mel.shape}, wanted (2 or more, {BINS})")
        sound_TRM = mel_windows(mel, self.model.config.mel_rows)
        codes_NTC, intensity_NT = self._over_time(codes, intensities, len(sound_TRM))
        if reference.shape != (self.description.modes,):
            raise ValueError(
                f"the reference expression has shape {reference.shape}, wanted "
                f"({self.description.modes},): it is of another face model"
            )
        device = self.model.expression_mean.device
        given = [
            torch.from_numpy(np.array(each, np.float32)).to(device)
            for each in (sound_TRM, codes_NTC, intensity_NT, reference)
        ]
        if guidance == 1:
            return self._blended(True, *given)
        free = self._blended(False, *given)
        if guidance == 0:
            return free
        return free + np.float32(guidance) * (self._blended(True, *given) - free)

    def check_face_model(self, coefficients: CorpusExpression) -> None:
        """Refuse coefficients of another face model than the network was trained with.

        Raises:
            ConfigError: they are; the message names both models.
        """
        known = self.description
        if coefficients.sha256 != known.sha256:
            raise ConfigError(
                f"{coefficients.root} has coefficients of {coefficients.name} (SHA-256 "
                f"{coefficients.sha256[:12]}), the network predicts those of {known.face_model} "
                f"({known.sha256[:12]}); make them with that model (data_prep.expression), or "
                "train anew"
            )

    def check_space(self, space: nn.Module) -> None:
        """Refuse an emotion space whose codes the network was not trained with.

        Raises:
            ConfigError: it is another, or was trained further since.
        """
        found = fingerprint(space)
        if found != self.description.emotion_space:
            raise ConfigError(
                f"the expression network was trained with the emotion space "
                f"{self.description.emotion_space}, this one is {found}: its codes mean something "
                "else; name that run, or train the expression network anew"
            )

    def _over_time(self, codes: Array, intensities: ArrayLike, frames: int) -> tuple[Array, Array]:
        """Return codes (N, T, C) and intensities (N, T), repeated where they are of the clip."""
        C, strengths = self.description.code_dim, np.asarray(intensities, float)
        if codes.ndim not in (2, 3) or codes.shape[-1] != C:
            raise ValueError(
                f"the emotion codes have shape {codes.shape}, wanted ({C},) each: they come from "
                "another emotion space than the one the network was trained with"
            )
        codes_NTC = codes if codes.ndim == 3 else codes[:, None]
        intensity_NT = strengths if strengths.ndim == 2 else strengths[:, None]
        for what, length in (("codes", codes_NTC.shape[1]), ("intensities", intensity_NT.shape[1])):
            if length not in (1, frames):
                raise ValueError(f"{length} {what} over time for {frames} frames of sound")
        N = len(codes)
        return (
            np.broadcast_to(codes_NTC, (N, frames, C)),
            np.broadcast_to(intensity_NT, (N, frames)),
        )

    def _blended(
        self,
        known: bool,
        sound_TRM: Tensor,
        codes_NTC: Tensor,
        intensity_NT: Tensor,
        reference_E: Tensor,
    ) -> Array:
        """Return the prediction (N, T, E) over all windows, with or without the codes."""
        N, T = intensity_NT.shape
        W = min(self.description.window, T)
        starts = window_starts(T, W, self.description.overlap)
        # Every window of every code is an item
        items = [(n, start) for n in range(N) for start in starts]
        found = []
        for first in range(0, len(items), AT_ONCE):
            some = items[first : first + AT_ONCE]
            found.append(
                self.model(
                    torch.stack([sound_TRM[at : at + W] for _, at in some]),
                    torch.stack([codes_NTC[n, at : at + W] for n, at in some]),
                    torch.stack([intensity_NT[n, at : at + W] for n, at in some]),
                    reference_E.expand(len(some), -1),
                    None
                    if known
                    else torch.zeros(len(some), dtype=torch.bool).to(sound_TRM.device),
                )
            )
        windows = torch.cat(found).unflatten(0, (N, len(starts))).cpu().numpy()
        return blend_windows(windows, starts, T, self.description.overlap)


def window_starts(frames: int, window: int, overlap: int) -> list[int]:
    """Return where windows begin that cover `frames` frames and overlap by `overlap` or more.

    The last one ends with the clip and may overlap by more.
    """
    last = max(frames - window, 0)
    return [*range(0, last, window - overlap), last]


def blend_windows(windows: Array, starts: list[int], frames: int, overlap: int) -> Array:
    """Return windows (N, windows, W, E) as one track (N, T, E) float32.

    A window's weight rises from its edges over `overlap` frames, 1 / (overlap + 1) a frame, and the
    weights of a frame are divided by their sum: of two windows that overlap by exactly that much
    they add up to 1 by themselves.
    """
    N, _, W, E = windows.shape
    edge = np.minimum(np.arange(1, W + 1), np.arange(W, 0, -1))
    weight_W1 = np.minimum(edge, overlap + 1)[:, None] / (overlap + 1)
    track_NTE, sum_T1 = np.zeros((N, frames, E)), np.zeros((frames, 1))
    for number, start in enumerate(starts):
        track_NTE[:, start : start + W] += weight_W1 * windows[:, number]
        sum_T1[start : start + W] += weight_W1
    return (track_NTE / sum_T1).astype(np.float32)


def save_expression_description(run_dir: Path, description: ExpressionDescription) -> None:
    """Write what `load_expression_predictor` needs besides the weights."""
    dump_config(description, run_dir / DESCRIPTION)


def load_expression_predictor(
    run_dir: Path, device: torch.device | str = "cpu"
) -> ExpressionPredictor:
    """Read a run of train_expression.py, in evaluation mode.

    Raises:
        FileNotFoundError: no such run, or no checkpoint in it.
    """
    path = run_dir / DESCRIPTION
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; name the run folder of train_expression.py")
    found = load_config(ExpressionDescription, path)
    model = ExpressionTransformer(found.model, found.code_dim, found.modes)
    restore(run_dir, model=model)
    return ExpressionPredictor(model.to(device).eval(), found)
