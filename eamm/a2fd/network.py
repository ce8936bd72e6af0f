"""Audio2Facial-Dynamics: keypoints of a talking face from one picture, audio and head pose (EAMM,
supplement A.1; layers and sizes of its release).

Identity, audio and pose are encoded and go through an LSTM frame by frame; transposed convolutions
decode each of its outputs to the feature map that FOMM's keypoint detector would have computed from
a picture, and the detector's two heads turn that into keypoints. The release's
checkpoints hold a second, StyleGAN-like decoder of 3.47 M parameters that nothing uses; it is left
out here. Batch norm normalises all frames of a batch at once, where the release normalises frame by
frame; in evaluation mode there is no difference.

Dimension letters in this file:
    B  clips in the batch
    T  video frames of a clip, 25 per second
    K  keypoints
    F  numbers of a frame's code
    C, h, w  channels and pixels of a feature map; H, W pixels of a picture
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from affekt.nets.fingerprint import fingerprint
from affekt.runtime.config import ConfigError, dump_config
from eamm.a2fd.layers import (
    AUDIO_CELLS,
    POSE_SIZE,
    A2fdConfig,
    A2fdWidths,
    Normalize,
    audio_encoder,
    decoder,
    identity_encoder,
    source_features,
)
from eamm.fomm.blocks import mlp
from eamm.fomm.keypoints import KeypointDetector, KeypointHeads, Keypoints
from eamm.fomm.model import FommConfig, read_description, read_weights

DESCRIPTION = "a2fd.yaml"  # what `load_a2fd` needs, in a run folder or next to weights
WEIGHTS = "a2fd.safetensors"  # of an imported model
AUDIO_GAIN = 1.6  # by which the release multiplies the audio feature in its demo
LEAST_DEVIATION = 1e-3  # of a unit, by which `lsuv_init` divides
AT_ONCE = 64  # frames that `of_clip` decodes in one go


def config_for(widths: A2fdWidths, fomm: FommConfig, teacher: str | None = None) -> A2fdConfig:
    """Return the network's configuration for a FOMM, with raw poses."""
    return A2fdConfig(widths, fomm.size, fomm.keypoints, teacher=teacher)


class A2fd(nn.Module):
    """A picture, audio windows and poses to the keypoints of every frame."""

    def __init__(self, config: A2fdConfig) -> None:
        super().__init__()
        self.config, widths = config, config.widths
        # Encoders of the source picture, the audio and the head pose
        self.identity = identity_encoder(config.size, widths)
        self.audio = audio_encoder(widths)
        audio_map = widths.audio_channels[-1] * AUDIO_CELLS
        self.audio_fc = mlp(audio_map, widths.audio_hidden, widths.audio_dim)
        self.pose = mlp(POSE_SIZE, widths.pose_hidden, widths.pose_dim)
        # The LSTM over frames; the residual variant also gets the source's keypoints
        conditioning = 6 * config.keypoints.count if widths.residual else 0
        code = widths.identity_dim + widths.audio_dim + widths.pose_dim + conditioning
        self.lstm = nn.LSTM(code, widths.hidden, widths.layers, batch_first=True)
        # Decoder to feature maps, from which the keypoints are read
        self.decoder = decoder(config)
        self.heads = KeypointHeads(config.features, config.keypoints)
        self.source_features = source_features(config) if widths.residual else None
        if self.source_features is not None:
            for parameter in self.decoder[-1].parameters():
                nn.init.zeros_(parameter)  # a fresh network leaves the source as it is
        # Normalisation of pose and source keypoints
        self.pose_norm = Normalize(config.pose)
        self.source_norm = Normalize(config.source)

    def forward(
        self,
        source_BCHW: Tensor,
        windows_BTRC: Tensor,
        pose_BTP: Tensor,
        audio_gain: float = 1.0,
    ) -> tuple[Keypoints, Tensor]:
        """Return the keypoints of every frame and their heatmaps.

        Args:
            source_BCHW: the portrait, (B, 3, H, W) in [0, 1].
            windows_BTRC: audio windows (B, T, 28, 12), see affekt/media/audio/mfcc.py.
            pose_BTP: (B, T, 6) in the release's convention, see eamm/pose.py.
            audio_gain: the audio feature is multiplied by it; the release's demo has AUDIO_GAIN,
                training 1.

        Returns:
            Keypoints of value (B, T, K, 2) and jacobian (B, T, K, 2, 2), heatmaps (B, T, K, h, w).
        """
        # Codes of source, audio and pose
        B, T = windows_BTRC.shape[:2]
        still_BChw = self._still(source_BCHW)
        audio_BTA = audio_gain * self._audio_feature(windows_BTRC)
        hidden_BTF = self._hidden(source_BCHW, still_BChw, audio_BTA, pose_BTP)
        # Keypoints of all frames at once
        keypoints, heatmap = self._keypoints(hidden_BTF.flatten(0, 1), still_BChw)
        value, jacobian, heatmap = (part.unflatten(0, (B, T)) for part in (*keypoints, heatmap))
        return Keypoints(value, jacobian), heatmap

    @torch.no_grad()
    def of_clip(
        self, source_1CHW: Tensor, windows_1TRC: Tensor, pose_1TP: Tensor, audio_gain: float = 1.0
    ) -> Keypoints:
        """Return the keypoints (T, K, ...) of one clip of any length.

        The numbers of `forward`, without the feature maps of all frames in memory at once.
        """
        still = self._still(source_1CHW)
        audio = [self._audio_feature(part) for part in windows_1TRC.split(AT_ONCE, dim=1)]
        hidden = self._hidden(source_1CHW, still, audio_gain * torch.cat(audio, dim=1), pose_1TP)
        found = [self._keypoints(part, still)[0] for part in hidden[0].split(AT_ONCE)]
        return Keypoints(*(torch.cat(part) for part in zip(*found, strict=True)))

    def _audio_feature(self, windows_BTRC: Tensor) -> Tensor:
        B, T, R, C = windows_BTRC.shape
        maps = self.audio(windows_BTRC.reshape(B * T, 1, R, C))
        return self.audio_fc(maps.flatten(1)).unflatten(0, (B, T))

    def _still(self, source_BCHW: Tensor) -> Tensor | None:
        """Return the detector's map of the source, where the decoder's is added to it."""
        return None if self.source_features is None else self.source_features(source_BCHW)

    def _hidden(
        self, source_BCHW: Tensor, still_BChw: Tensor | None, audio_BTA: Tensor, pose_BTP: Tensor
    ) -> Tensor:
        """Return the LSTM's output at every frame, (B, T, F)."""
        T = audio_BTA.shape[1]
        identity_BTF = self.identity(source_BCHW).flatten(1)[:, None].expand(-1, T, -1)
        codes = [identity_BTF, audio_BTA, self.pose(self.pose_norm(pose_BTP))]
        if still_BChw is not None:
            codes.append(self._conditioning(still_BChw)[:, None].expand(-1, T, -1))
        return self.lstm(torch.cat(codes, dim=2))[0]

    def _keypoints(self, hidden_NF: Tensor, still_BChw: Tensor | None) -> tuple[Keypoints, Tensor]:
        """Return keypoints and heatmaps of N = B T frames from the LSTM's output."""
        features_NChw = self.decoder(hidden_NF[:, :, None, None])
        if still_BChw is not None:
            T = len(hidden_NF) // len(still_BChw)
            features_NChw = features_NChw + still_BChw.repeat_interleave(T, dim=0)
        return self.heads(features_NChw)

    @torch.no_grad()
    def _conditioning(self, still_BChw: Tensor) -> Tensor:
        """Return the source's keypoints, normalised, (B, 6 K)."""
        keypoints, _ = self.heads(still_BChw)
        return self.source_norm(flat(keypoints))

    def train(self, mode: bool = True) -> "A2fd":
        """Set training or evaluation mode; what is the detector's stays in evaluation mode."""
        super().train(mode)
        if self.source_features is not None:
            self.source_features.eval()
        return self

    def start_from(self, detector: KeypointDetector, heads: bool = True) -> None:
        """Copy what a FOMM's detector gives: the heads, where wanted, and the source's features."""
        if heads:
            self.heads.load_state_dict(detector.heads.state_dict())
        if self.source_features is not None:
            parts = nn.Sequential(detector.down, detector.hourglass)
            self.source_features.load_state_dict(parts.state_dict())


@torch.no_grad()
def lsuv_init(model: A2fd, windows_BTRC: Tensor, pose_BTP: Tensor) -> None:
    """Initialise the audio and pose encoders and the LSTM's input weights by LSUV (ours).

    Every unit of the two encoders' linear layers gets mean 0 and deviation 1 before its ReLU, layer
    by layer (LSUV; Mishkin and Matas, arXiv:1511.06422, with the mean taken off as well); the
    LSTM's weights of n inputs get deviation 1 / sqrt(n). With torch's own initialisation the LSTM's
    inputs hardly vary over a clip, which minutes of training do not mend.

    Args:
        model: on the CPU, fresh, in training mode: its batch norms follow this batch.
        windows_BTRC: audio windows (B, T, 28, 12).
        pose_BTP: poses (B, T, 6).
    """
    maps = model.audio(windows_BTRC.flatten(0, 1)[:, None]).flatten(1)
    _unit_variance(model.audio_fc, maps)
    _unit_variance(model.pose, model.pose_norm(pose_BTP).flatten(0, 1))
    for layer in range(model.config.widths.layers):
        weight = getattr(model.lstm, f"weight_ih_l{layer}")
        nn.init.normal_(weight, std=weight.shape[1] ** -0.5)


def _unit_variance(layers: nn.Sequential, numbers_NF: Tensor) -> None:
    for layer in layers:
        if isinstance(layer, nn.Linear):
            out = layer(numbers_NF)
            deviation = out.std(dim=0).clamp(min=LEAST_DEVIATION)
            layer.weight /= deviation[:, None]
            layer.bias.copy_((layer.bias - out.mean(dim=0)) / deviation)
        numbers_NF = layer(numbers_NF)


def flat(keypoints: Keypoints) -> Tensor:
    """Return the numbers of keypoints (B, K, ...) as (B, 6 K): values, then jacobians."""
    return torch.cat([part.flatten(1) for part in keypoints], dim=1)


def check_fomm(config: A2fdConfig, fomm: FommConfig, detector: KeypointDetector) -> None:
    """Refuse an A2FD that was trained for another FOMM.

    Raises:
        ConfigError: other sizes, or other weights of the detector; the message names both.
    """
    ours, theirs = (config.size, config.keypoints), (fomm.size, fomm.keypoints)
    if ours != theirs:
        raise ConfigError(
            f"the A2FD was made for a FOMM of {config.size} px with {config.keypoints}; this one "
            f"has {fomm.size} px and {fomm.keypoints}; train A2FD on it, or take the other FOMM"
        )
    found = fingerprint(detector)
    if config.teacher not in (None, found):
        raise ConfigError(
            f"the A2FD imitates the detector {config.teacher}, this FOMM's is {found}: of the same "
            "sizes, but with other weights; train A2FD on it, or take the other FOMM"
        )


def save_a2fd_description(folder: Path, config: A2fdConfig) -> None:
    """Write the sizes where `load_a2fd` finds them."""
    dump_config(config, folder / DESCRIPTION)


def load_a2fd(path: Path, device: torch.device | str = "cpu") -> A2fd:
    """Read an A2FD in evaluation mode, laid out for speed; `.config` are its sizes.

    Args:
        path: a run folder of train_a2fd.py, or a folder that eamm.released.importer wrote.
        device: where it goes.

    Raises:
        FileNotFoundError: neither of them; the message names the commands.
    """
    model = A2fd(read_description(A2fdConfig, path, DESCRIPTION, "train_a2fd.py"))
    read_weights(path, WEIGHTS, model, model=model)
    # The same numbers to rounding; convolutions take two thirds of the time on a CPU.
    return model.to(memory_format=torch.channels_last).to(device).eval()
