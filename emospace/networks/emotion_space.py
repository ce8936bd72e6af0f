"""AME: one emotion space for text, picture and sound (Xu et al. 2023; supplement Sec. 1.1).

Each modality has an encoder that ends in C numbers of unit length: the audio encoder of the
supplement, and a text and a picture tower (emospace/networks/towers.py). Any of the three codes can
be given to the expression network.

Dimension letters in this file:
    N  texts, pictures or sounds
    R  mel rows, 80 a second
    C  numbers of an emotion code
"""

import contextlib
import math
import typing as tp
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from affekt.arrays import Array, Image
from affekt.runtime.config import dump_config, load_config
from affekt.runtime.run import restore
from emospace.data.prompts import PromptBank, load_bank, save_bank
from emospace.networks.audio_encoder import AudioEncoder, AudioEncoderConfig, batched
from emospace.networks.towers import (
    Adapter,
    ImageTowerConfig,
    TextTowerConfig,
    make_image_tower,
    make_text_tower,
)

Modality = tp.Literal["text", "image", "audio"]

MODALITIES: tuple[Modality, ...] = ("text", "image", "audio")
DESCRIPTION, BANK = "emotion_space.yaml", "prompts.yaml"  # in a run folder
AT_ONCE = 32  # items encoded in one go
MOST_KEPT = 20_000  # texts whose features are kept: 31 MB of MiniLM's
HOTTEST = 100.0  # the largest 1 / temperature, CLIP's (arXiv:2103.00020, Sec. 2.5)
VERBATIM = 0.99  # cosine from which a text is a phrase of the bank, its own negation included
ORIGIN_MOMENTUM = 0.01  # of the mean codes of neutral, per batch


@dataclass(frozen=True)
class EmotionSpaceConfig:
    """The three encoders and what their codes are."""

    code_dim: int = 512  # C; CLIP ViT-B/32's
    audio: AudioEncoderConfig = field(default_factory=AudioEncoderConfig)
    text: TextTowerConfig = field(default_factory=TextTowerConfig)
    image: ImageTowerConfig = field(default_factory=ImageTowerConfig)
    # Give codes less the mean neutral code of their modality, so that neutral is 0 (ours, after
    # C-MET); training and its figures are of the codes themselves.
    relative: bool = False


@dataclass(frozen=True)
class Description:
    """A run folder's emotion_space.yaml."""

    space: EmotionSpaceConfig
    emotions: tuple[str, ...]  # the classes in label order
    adverbs: bool  # whether prompts keep their adverbs, which training gave their codes a meaning
    towers: tuple[str, str]  # hashes of the frozen towers, "" of one that is trained


class EmotionSpace(nn.Module):
    """The three encoders; codes of N things are (N, C) of unit length."""

    def __init__(
        self,
        config: EmotionSpaceConfig,
        emotions: Sequence[str],
        bank: PromptBank,
        adverbs: bool = False,
    ) -> None:
        """Make the encoders; frozen towers are no part of state_dict().

        Raises:
            FileNotFoundError: a tower's package or weights are not there.
            ConfigError: the bank lacks an emotion.
        """
        super().__init__()
        self.config, self.emotions, self.adverbs = config, tuple(emotions), adverbs
        self.bank = bank.for_emotions(emotions)
        C = config.code_dim
        self.audio = AudioEncoder(config.audio, C)
        text, image = make_text_tower(config.text, C), make_image_tower(config.image, C)
        self.text_head = _head(text, config.text, C)
        if image is not None:
            self.image_head = _head(image, config.image, C)
        self.log_scale = nn.Parameter(torch.tensor(0.0))  # ln(1 / temperature), where it is learned
        for modality in MODALITIES:
            self.register_buffer(f"origin_{modality}", torch.zeros(C))  # mean code of neutral
        # What is frozen stays out of the module's parts: its weights are those of a file
        self.towers: dict[str, nn.Module] = {"text": text}
        if image is not None:
            self.towers["image"] = image
        self.frozen = {name for name in self.towers if getattr(config, name).learn == "frozen"}
        for name, tower in self.towers.items():
            if name in self.frozen:
                tower.eval()
            else:
                self.add_module(f"{name}_tower", tower)
        self._features: dict[str, Tensor] = {}  # of a frozen text tower, by text

    @property
    def code_dim(self) -> int:
        """C."""
        return self.config.code_dim

    @property
    def device(self) -> torch.device:
        """Where the encoders are."""
        return self.log_scale.device

    # Encoding, with gradients

    def forward(self, batch: tp.Mapping[str, Tensor]) -> dict[Modality, Tensor]:
        """Return the codes (B, C) of a batch by modality, of unit length.

        Args:
            batch: mel (B, R, 80) and rows (B,); text: tokens, or features of a frozen tower; image:
                pixels uint8, or features of a frozen tower.
        """
        codes: dict[Modality, Tensor] = {"text": self.encode("text", batch["text"])}
        if "image" in self.towers:
            codes["image"] = self.encode("image", batch["image"])
        codes["audio"] = F.normalize(self.audio(batch["mel"], batch["rows"]), dim=1)
        return codes

    def encode(self, modality: tp.Literal["text", "image"], inputs: Tensor) -> Tensor:
        """Return unit codes (N, C) of tokens or pixels, which are integers, or of features."""
        tower, head = self.towers[modality], getattr(self, f"{modality}_head")
        features = inputs if inputs.is_floating_point() else tower(inputs)
        return F.normalize(head(features.float()), dim=1)

    def origin(self, modality: Modality) -> Tensor:
        """Return the mean code of neutral (C,) that training has seen; 0 before."""
        return tp.cast(Tensor, getattr(self, f"origin_{modality}"))

    @property
    def scale(self) -> Tensor:
        """1 / temperature, where it is learned."""
        return self.log_scale.exp().clamp(max=HOTTEST)

    def set_temperature(self, temperature: float) -> None:
        """Set where a learned temperature begins."""
        self.log_scale.data.fill_(-math.log(temperature))

    @torch.no_grad()
    def follow_neutral(self, codes: tp.Mapping[Modality, Tensor], neutral_B: Tensor) -> None:
        """Move the mean neutral codes towards those of a batch.

        Args:
            codes: of the batch, by modality.
            neutral_B: True where a clip is neutral.
        """
        if not bool(neutral_B.any()):
            return
        for modality, code in codes.items():
            mean, origin = code[neutral_B].mean(dim=0), self.origin(modality)
            started = bool(origin.any())
            origin.copy_(origin.lerp(mean, ORIGIN_MOMENTUM) if started else mean)

    # Use

    def text_codes(self, texts: Sequence[str]) -> Tensor:
        """Return the codes (N, C) of texts, float32 on the CPU.

        Adverbs of intensity are taken out first: their meaning is the bank's
        (`bank.parse(text).intensity`). A run with prompts of levels keeps them.
        """
        if not self.adverbs:
            texts = [self.bank.parse(text).text for text in texts]

        def some(start: int, stop: int) -> Tensor:
            return self.encode("text", self._text_inputs(texts[start:stop]).to(self.device))

        return self._codes("text", some, len(texts))

    def image_codes(self, frames: Image) -> Tensor:
        """Return the codes (N, C) of RGB frames (N, H, W, 3) uint8, float32 on the CPU.

        Raises:
            ValueError: the space was trained without pictures.
        """
        if "image" not in self.towers:
            raise ValueError(
                "this emotion space was trained without pictures (space.image.kind=none); give a "
                "text or a sound, or a run with a picture tower"
            )
        tower = tp.cast(tp.Any, self.towers["image"])

        def some(start: int, stop: int) -> Tensor:
            return self.encode("image", tower.pixels(frames[start:stop]).to(self.device))

        return self._codes("image", some, len(frames))

    def audio_codes(self, mels: Sequence[Array]) -> Tensor:
        """Return the codes (N, C) of log-mels (R, 80) of any lengths, float32 on the CPU."""

        def some(start: int, stop: int) -> Tensor:
            tensors = [torch.from_numpy(np.array(mel, np.float32)) for mel in mels[start:stop]]
            mel_BRM, rows_B = batched(tensors)
            return F.normalize(self.audio(mel_BRM.to(self.device), rows_B.to(self.device)), dim=1)

        return self._codes("audio", some, len(mels))

    def audio_attention(self, mel: Array) -> Array:
        """Return what CLS attends to over a sound's tokens of `audio.rows` mel rows; sums to 1."""
        given = torch.from_numpy(np.array(mel, np.float32))[None].to(self.device)
        with torch.no_grad(), evaluating(self):
            return self.audio.attention(given)[0].cpu().numpy()

    def remarks(self, text: str) -> list[str]:
        """Return what a user should know of a text before its code is used; mostly nothing.

        A text far from every known word is named with the nearest one, and a negation is named,
        which no tower here understands.
        """
        found = []
        phrase, emotion, cosine = self.nearest_known(text)
        far = tp.cast(tp.Any, self.towers["text"]).far
        if cosine < far:
            found.append(
                f"{text!r} is far from every word known to the emotion space; the nearest is "
                f"{phrase!r} ({emotion}, cosine {cosine:.2f}, known from {far:g} on): the face may "
                "show little, or another emotion"
            )
        word = self.bank.negation(text)
        if word and cosine < VERBATIM:
            found.append(f"{text!r} is taken as if {word!r} were not there: negations are not read")
        return found

    def nearest_known(self, text: str) -> tuple[str, str, float]:
        """Return the phrase of the bank nearest to a text, its emotion and their cosine.

        By the text tower before its adapter, of the words that no template accounts for.
        """
        content = self.bank.content(text)
        known = self.bank.known()
        tower = tp.cast(tp.Any, self.towers["text"])
        vectors = tower.likeness([content, *(phrase for phrase, _ in known)])
        cosines = vectors[1:] @ vectors[0] if content else torch.zeros(len(known))
        place = int(cosines.argmax())
        return *known[place], float(cosines[place])

    def _text_inputs(self, texts: Sequence[str]) -> Tensor:
        """Return tokens, or a frozen tower's features, which are kept: prompts come again."""
        tower = tp.cast(tp.Any, self.towers["text"])
        if "text" not in self.frozen:
            return tower.tokens(texts)
        new = [text for text in dict.fromkeys(texts) if text not in self._features]
        if new:
            if len(self._features) > MOST_KEPT:
                self._features.clear()
                new = list(dict.fromkeys(texts))
            features = tower(tower.tokens(new).to(self.device)).float().cpu()
            self._features |= dict(zip(new, features, strict=True))
        return torch.stack([self._features[text] for text in texts])

    def _codes(self, modality: Modality, some: Callable[[int, int], Tensor], count: int) -> Tensor:
        parts = [torch.zeros(0, self.code_dim)]
        with torch.no_grad(), evaluating(self):
            for start in range(0, count, AT_ONCE):
                codes = some(start, min(start + AT_ONCE, count))
                if self.config.relative:
                    codes = codes - self.origin(modality)
                parts.append(codes.float().cpu())
        return torch.cat(parts)

    # Frozen towers move along, but are not trained

    def _apply(self, fn: tp.Callable[[Tensor], Tensor], recurse: bool = True) -> "EmotionSpace":
        super()._apply(fn, recurse)
        for name in self.frozen:
            self.towers[name]._apply(fn)
        return self


def _head(tower: nn.Module, config: TextTowerConfig | ImageTowerConfig, code_dim: int) -> nn.Module:
    if config.kind == "mini":
        return nn.Identity()  # it ends in a code already
    return Adapter(int(tp.cast(tp.Any, tower.dim)), code_dim, config.adapter, config.noise)


@contextlib.contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Keep a module in evaluation mode."""
    was = module.training
    module.eval()
    yield
    module.train(was)


def describe(space: EmotionSpace) -> Description:
    """Return what `load_emotion_space` needs besides weights and prompts."""
    hashes = [
        str(space.towers[name].fingerprint) if name in space.frozen else ""
        for name in ("text", "image")
    ]
    return Description(space.config, space.emotions, space.adverbs, (hashes[0], hashes[1]))


def save_description(run_dir: Path, space: EmotionSpace) -> None:
    """Write a run's emotion_space.yaml and its prompts.yaml."""
    dump_config(describe(space), run_dir / DESCRIPTION)
    save_bank(space.bank, run_dir / BANK)


def load_emotion_space(run_dir: Path, device: torch.device | str = "cpu") -> EmotionSpace:
    """Return the emotion space of a run of train_emotion_space.py, in evaluation mode.

    Raises:
        FileNotFoundError: no such run, no checkpoint, or a tower's package or weights are not
            there; the message says which.
        ValueError: a frozen tower is another than the run was trained with.
    """
    path = run_dir / DESCRIPTION
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; name the run folder of train_emotion_space.py")
    found = load_config(Description, path)
    space = EmotionSpace(found.space, found.emotions, load_bank(run_dir / BANK), found.adverbs)
    ours = describe(space).towers
    if ours != found.towers:
        raise ValueError(
            f"{run_dir} was trained with the towers {', '.join(found.towers)}; here are "
            f"{', '.join(ours)}: install the same packages and weights, or train anew"
        )
    restore(run_dir, space=space)
    return space.to(device).eval()
