"""Audio networks of EVP: content encoder, emotion encoder, classifier, audio decoder (Sec. 3.2).

Paper Sec. 3.2, Fig. 3 and supplement Sec. 1.1 give what goes in and out (28 x 12 MFCC windows,
content codes of 256, emotion codes of 128); the layers are those of the public release. Widths
are configuration: the defaults are the release's, small ones train in minutes on a CPU.

Dimension letters in this file:
    N  windows, one for each video frame
    C  content code, 256
    E  emotion code, 128
A window is 28 MFCC rows (10 ms apart) by 12 cepstra. Encoders take any leading axes and treat all
windows as one batch, so that a batch of clips costs one pass.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from affekt.media.audio.mfcc import CEPSTRA, WINDOW_ROWS
from affekt.runtime.config import dump_config, load_config
from affekt.runtime.run import restore

Part = Literal["content", "emotion"]
ROWS, COLUMNS = WINDOW_ROWS, CEPSTRA - 1  # the networks' input windows, 28 x 12
MFCC_RANGE = 90.0  # the decoder's output range; c1 ... c12 of speech lie in [-84, 60]
CHUNK = 512  # windows that `encode` runs at once: 2.4 MB each in the full-size content encoder


@dataclass(frozen=True)
class ContentEncoderConfig:
    """Widths of E_c; the defaults have 27,833,536 parameters."""

    channels: tuple[int, int, int, int, int] = (64, 128, 256, 256, 512)
    hidden: int = 2048
    dim: int = 256  # supplement Sec. 1.1


@dataclass(frozen=True)
class EmotionEncoderConfig:
    """Widths of E_e; the defaults have 8,107,592 parameters with an 8-way classifier."""

    channels: tuple[int, int, int, int] = (64, 128, 256, 512)
    hidden: int = 2048
    dim: int = 128  # supplement Sec. 1.1
    dropout: float = 0.0  # before the last layer; ours, for corpora of few sentences


@dataclass(frozen=True)
class AudioDecoderConfig:
    """Widths of D; the defaults have 3,958,465 parameters after codes of 256 + 128."""

    channels: tuple[int, int, int, int] = (256, 128, 64, 32)


@dataclass(frozen=True)
class EncodersConfig:
    """Both encoders."""

    content: ContentEncoderConfig = field(default_factory=ContentEncoderConfig)
    emotion: EmotionEncoderConfig = field(default_factory=EmotionEncoderConfig)


@dataclass(frozen=True)
class EncodersDescription:
    """A run folder's encoders.yaml."""

    encoders: EncodersConfig
    emotions: tuple[str, ...]  # the classes in label order
    holds: tuple[Part, ...] = ("content", "emotion")  # a pretraining holds one of them


class ContentEncoder(nn.Module):
    """E_c: windows (..., 28, 12) to non-negative content codes (..., C)."""

    def __init__(self, config: ContentEncoderConfig) -> None:
        super().__init__()
        first, second, third, fourth, fifth = config.channels
        self.convolutions = _channels_last(
            _convolution(1, first),
            _convolution(first, second),
            nn.MaxPool2d(3, stride=(1, 2)),  # 28 x 12 -> 26 x 5
            _convolution(second, third),
            _convolution(third, fourth),
            _convolution(fourth, fifth),
            nn.MaxPool2d(3, stride=(2, 2)),  # 26 x 5 -> 12 x 2
        )
        self.dense = nn.Sequential(
            nn.Linear(fifth * 12 * 2, config.hidden),
            nn.ReLU(),
            nn.Linear(config.hidden, config.dim),
            nn.ReLU(),
        )

    def forward(self, windows: Tensor) -> Tensor:
        """Return the content code of each window."""
        *leading, rows, columns = windows.shape
        features = self.convolutions(windows.reshape(-1, 1, rows, columns))
        codes: Tensor = self.dense(features.flatten(1))
        return codes.reshape(*leading, -1)


class EmotionEncoder(nn.Module):
    """E_e: windows (..., 28, 12) to non-negative emotion codes (..., E).

    The maximum over all cepstra comes after three convolutions, then time is halved: the features
    are short in time and do not depend on which coefficient was largest.
    """

    def __init__(self, config: EmotionEncoderConfig) -> None:
        super().__init__()
        first, second, third, fourth = config.channels
        self.convolutions = _channels_last(
            _convolution(1, first),
            nn.MaxPool2d((1, 3), stride=(1, 2)),  # 12 x 28 -> 12 x 13
            _convolution(first, second),
            _convolution(second, third),
            nn.MaxPool2d((COLUMNS, 1)),  # 12 x 13 -> 1 x 13
            _convolution(third, fourth),
            nn.MaxPool2d((1, 2)),  # 1 x 13 -> 1 x 6
        )
        self.dense = nn.Sequential(
            nn.Linear(fourth * 6, config.hidden),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, config.dim),
            nn.ReLU(),
        )

    def forward(self, windows: Tensor) -> Tensor:
        """Return the emotion code of each window."""
        *leading, rows, columns = windows.shape
        pictures = windows.reshape(-1, 1, rows, columns).transpose(2, 3)  # cepstra x time
        codes: Tensor = self.dense(self.convolutions(pictures).flatten(1))
        return codes.reshape(*leading, -1)


class EmotionClassifier(nn.Linear):
    """C_e: emotion codes (..., E) to logits (..., classes)."""


class AudioDecoder(nn.Module):
    """D: content and emotion codes to the window that they describe, (N, 28, 12) in [-90, 90]."""

    def __init__(self, config: AudioDecoderConfig, code_dim: int) -> None:
        """Build D for content and emotion codes of `code_dim` numbers together."""
        super().__init__()
        first, second, third, fourth = config.channels
        self.layers = _channels_last(
            *_transposed(code_dim, first, 6, 2, 1),  # 1 x 1 -> 4 x 4
            *_transposed(first, second, (4, 2), 2, 1),  # -> 8 x 6
            *_transposed(second, third, 4, 2, 1),  # -> 16 x 12
            *_transposed(third, fourth, (4, 3), (2, 1), (3, 1)),  # -> 28 x 12
            nn.ConvTranspose2d(fourth, 1, 3, 1, 1),
        )

    def forward(self, content_NC: Tensor, emotion_NE: Tensor) -> Tensor:
        """Return the windows, (N, 28, 12)."""
        codes = torch.cat([content_NC, emotion_NE], dim=1)
        window: Tensor = self.layers(codes[:, :, None, None])
        return MFCC_RANGE * torch.tanh(window[:, 0])


class Encoders(nn.Module):
    """E_c and E_e side by side: what later stages take from a run."""

    def __init__(self, config: EncodersConfig) -> None:
        super().__init__()
        self.config = config
        self.content = ContentEncoder(config.content)
        self.emotion = EmotionEncoder(config.emotion)


@torch.no_grad()
def encode(encoder: nn.Module, windows: Tensor) -> Tensor:
    """Return the codes of windows (N, 28, 12), (N, code), in evaluation mode and bounded memory."""
    was_training = encoder.training
    encoder.eval()
    codes = torch.cat([encoder(chunk) for chunk in windows.split(CHUNK)])
    encoder.train(was_training)
    return codes


def save_description(run_dir: Path, description: EncodersDescription) -> None:
    """Write a run's encoders.yaml, which later stages read whichever script made it."""
    dump_config(description, run_dir / "encoders.yaml")


def load_description(run_dir: Path) -> EncodersDescription:
    """Read a run's encoders.yaml.

    Raises:
        FileNotFoundError: the run has none; the message names the scripts whose runs do.
    """
    path = run_dir / "encoders.yaml"
    if not path.is_file():
        scripts = "pretrain_encoders.py, train_disentangle.py or train_audio2lm.py"
        raise FileNotFoundError(f"{path} is missing; name the run folder of {scripts}")
    return load_config(EncodersDescription, path)


def load_encoders(run_dir: Path, device: torch.device | str = "cpu") -> Encoders:
    """Return both encoders of a disentanglement or audio-to-landmark run, in evaluation mode.

    Raises:
        ValueError: a run that holds one encoder only.
    """
    description = load_description(run_dir)
    if set(description.holds) != {"content", "emotion"}:
        raise ValueError(
            f"{run_dir} holds the {description.holds[0]} encoder alone; name a later run"
        )
    encoders = Encoders(description.encoders)
    restore(run_dir, content_encoder=encoders.content, emotion_encoder=encoders.emotion)
    return encoders.to(device).eval()


def load_pretrained(encoders: Encoders, part: Part, run_dir: Path) -> None:
    """Copy one encoder's weights from a run.

    Raises:
        ValueError: the run's encoder has other widths; the message shows both.
    """
    found = getattr(load_description(run_dir).encoders, part)
    wanted = getattr(encoders.config, part)
    if found != wanted:
        raise ValueError(f"{run_dir} holds the {part} encoder {found}, this run wants {wanted}")
    restore(run_dir, **{f"{part}_encoder": getattr(encoders, part)})


def _channels_last(*layers: nn.Module) -> nn.Sequential:
    """Chain layers in channels-last memory: a small E_c takes a third less time on a CPU."""
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def _convolution(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def _transposed(
    inputs: int,
    outputs: int,
    kernel: int | tuple[int, int],
    stride: int | tuple[int, int],
    padding: int | tuple[int, int],
) -> tuple[nn.Module, ...]:
    return (
        nn.ConvTranspose2d(inputs, outputs, kernel, stride, padding),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
