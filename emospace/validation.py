"""Validation of emospace's stages during training: metrics of held-out clips, and plots.

Letters: N clips, K emotions, C numbers of an emotion code, R mel rows, T frames, E expression
modes.
"""

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from affekt.arrays import Array, Image
from affekt.media.corpus import Clip, Corpus, by_speaker
from affekt.media.emotions import NEUTRAL
from affekt.media.face3d.coefficients import CorpusExpression
from affekt.media.face3d.model import FaceModel
from affekt.media.faces.points import MOUTH, mouth_opening
from affekt.metrics.landmark import correlation
from affekt.runtime.config import ConfigError
from emospace.data.emotions import clip_pictures, intensity_of
from emospace.data.prompts import Kind
from emospace.inference.expression import ExpressionPredictor
from emospace.networks.emotion_space import EmotionSpace

VAL_PICTURES = 3  # of each clip; their mean code is the clip's
COMPOUND = "a {} and {} person"  # an unseen style by words; ours
MEL_HEIGHT, MEL_WIDTH = 160, 640  # pixels of a plotted sound
ATTENTION = (230, 159, 0)  # RGB


@dataclass(frozen=True)
class SpaceValSet:
    """Held-out clips: their sounds, pictures and labels."""

    mels: list[Array]  # each (R, 80)
    pictures: Image | None  # (N x VAL_PICTURES, H, W, 3); None of a corpus of sound alone
    labels: Array  # (N,)
    levels: Array  # (N,)


def space_val_set(
    clips: Sequence[Clip], emotions: Sequence[str], pictures: bool = True
) -> SpaceValSet:
    """Read held-out clips; pictures, where wanted, are kept as the corpus stores them."""
    frames = [clip_pictures(clip, VAL_PICTURES) for clip in clips] if pictures else []
    return SpaceValSet(
        [clip.mel() for clip in clips],
        np.concatenate(frames) if pictures else None,
        np.array([list(emotions).index(clip.emotion) for clip in clips]),
        np.array([clip.level for clip in clips]),
    )


def space_metrics(space: EmotionSpace, val_set: SpaceValSet) -> dict[str, float]:
    """Return nearest-text accuracy of sound and picture, of unseen prompts, and cosines.

    audio_accuracy and image_accuracy also by level; prompt_accuracy of held-out templates and
    prompt_synonyms of held-out words; same_minus_other of sound and text (see `cosines`).
    """
    with absolute(space):
        centres = text_centres(space)
        codes = val_codes(space, val_set)
        figures: dict[str, float] = {}
        for name, code in codes.items():
            figures |= by_level(f"{name}_accuracy", nearest(code, centres), val_set)
        figures |= prompt_metrics(space, centres)
        table = cosines({"text": centres[val_set.labels], **codes}, val_set.labels)
    same, other = table["audio", "text"]
    return figures | {"same_minus_other": same - other}


@contextlib.contextmanager
def absolute(space: EmotionSpace) -> Iterator[None]:
    """Keep codes from being relative to neutral, whose own code is 0 then."""
    config = space.config
    space.config = replace(config, relative=False)
    yield
    space.config = config


def text_centres(space: EmotionSpace, kind: Kind = "training") -> Tensor:
    """Return the code (K, C) of each emotion: the mean of its prompts' codes, of unit length.

    An emotion that training left out has its prompts all the same.
    """
    centres = []
    for emotion in space.emotions:
        centres.append(space.text_codes(space.bank.prompts(emotion, kind)).mean(dim=0))
    return F.normalize(torch.stack(centres), dim=1)


def val_codes(space: EmotionSpace, val_set: SpaceValSet) -> dict[str, Tensor]:
    """Return the unit codes (N, C) of the clips' sounds, and of their pictures if there are any."""
    codes = {"audio": space.audio_codes(val_set.mels)}
    if val_set.pictures is not None:
        each = space.image_codes(val_set.pictures).unflatten(0, (-1, VAL_PICTURES))
        codes["image"] = F.normalize(each.mean(dim=1), dim=1)
    return codes


def nearest(codes: Tensor, centres: Tensor) -> Array:
    """Return which centre has the largest cosine with each code, (N,)."""
    return (codes @ centres.T).argmax(dim=1).numpy()


def by_level(name: str, guesses: Array, val_set: SpaceValSet) -> dict[str, float]:
    """Return the share of right guesses over all clips, and for each level `name`_level_<n>."""
    right = guesses == val_set.labels
    figures = {name: float(right.mean())}
    for level in np.unique(val_set.levels):
        figures[f"{name}_level_{level}"] = float(right[val_set.levels == level].mean())
    return figures


def prompt_metrics(space: EmotionSpace, centres: Tensor) -> dict[str, float]:
    """Return the share of held-out prompts whose nearest centre is their own, mean over emotions.

    prompt_accuracy: trained words in held-out templates; prompt_synonyms: held-out words in
    trained templates. A bank without the one or the other has no such figure.
    """
    figures = {}
    kinds: tuple[tuple[str, Kind], ...] = (
        ("prompt_accuracy", "templates"),
        ("prompt_synonyms", "words"),
    )
    for name, kind in kinds:
        shares = []
        for label, emotion in enumerate(space.emotions):
            prompts = space.bank.prompts(emotion, kind)
            if prompts:
                guesses = nearest(space.text_codes(prompts), centres)
                shares.append(float((guesses == label).mean()))
        if shares:
            figures[name] = float(np.mean(shares))
    return figures


def cosines(
    codes: Mapping[str, Tensor], labels: Array
) -> dict[tuple[str, str], tuple[float, float]]:
    """Return the mean cosine between clips of the same emotion and of others, by two modalities.

    Args:
        codes: unit codes (N, C) by modality.
        labels: (N,).

    Returns:
        By the two names in alphabetical order; a clip with itself is left out within a modality.
    """
    same = torch.from_numpy(labels[:, None] == labels)
    itself = torch.eye(len(labels), dtype=torch.bool)
    found = {}
    for one, other in [*combinations(sorted(codes), 2), *((name, name) for name in codes)]:
        table = codes[one] @ codes[other].T
        wanted = same & ~itself if one == other else same
        found[one, other] = (float(table[wanted].mean()), float(table[~same].mean()))
    return found


def compound_metrics(space: EmotionSpace) -> dict[str, float]:
    """Return how often the code of two emotions is nearest to those two, over all pairs.

    By words ("a sad and angry person", the first word of each) and by the mean of the two
    emotions' codes; both without neutral. *_one: at least one of the two is the nearest.
    """
    with absolute(space):
        centres = text_centres(space)
        chosen = [k for k, emotion in enumerate(space.emotions) if emotion != NEUTRAL]
        pairs = [*combinations(chosen, 2)]
        if not pairs:
            return {}
        first = [space.bank.of(emotion).words[0] for emotion in space.emotions]
        words = space.text_codes([COMPOUND.format(first[a], first[b]) for a, b in pairs])
    means = F.normalize(torch.stack([centres[a] + centres[b] for a, b in pairs]), dim=1)
    figures = {}
    for name, codes in (("words", words), ("mean", means)):
        order = (codes @ centres.T).argsort(dim=1, descending=True)[:, :2].tolist()
        both = [{*two} == {*pair} for two, pair in zip(order, pairs, strict=True)]
        one = [two[0] in pair for two, pair in zip(order, pairs, strict=True)]
        figures[f"compound_{name}"] = float(np.mean(both))
        figures[f"compound_{name}_one"] = float(np.mean(one))
    return figures


# EAC: faces in front view, in the face model's unit, the distance of the outer eye corners


@dataclass(frozen=True, eq=False)
class ExpressionValItem:
    """A held-out clip, and what its expression is predicted from."""

    clip: Clip
    mel: Array  # (R, 80)
    other_mel: Array  # (R, 80), another clip's sound, repeated or cut to this one's length
    truth: Array  # (T, E)
    reference: Array  # (E,), the first frame of another neutral clip of the speaker
    mean: Array  # (E,), the speaker's mean in training, of a new speaker everybody's
    code: Array  # (C,)
    identity: Array  # the speaker's coefficients


def expression_val_set(
    clips: Sequence[Clip], corpus: Corpus, codes: Mapping[str, Array], shared: CorpusExpression
) -> list[ExpressionValItem]:
    """Return held-out clips with their baselines.

    Args:
        clips: two or more.
        corpus: theirs.
        codes: of each emotion, (C,).
        shared: the corpus' face model and identities.

    Raises:
        ConfigError: fewer than two clips, or a speaker without another neutral clip.
    """
    if len(clips) < 2:
        raise ConfigError(f"{len(clips)} validation clips, wanted 2 or more; set val.split")
    means = training_means(corpus)
    items = []
    for place, clip in enumerate(clips):
        neutral = [each for each in corpus.clips(None, clip.speaker, NEUTRAL) if each != clip]
        if not neutral:
            raise ConfigError(
                f"{clip.speaker} of split {clip.split!r} has no neutral clip besides {clip.id} to "
                "take a reference expression from; prepare one, or set val.split"
            )
        mel = clip.mel()
        other = _with_another_sentence(clips, place).mel()
        items.append(
            ExpressionValItem(
                clip,
                mel,
                np.resize(other, mel.shape),
                clip.expression(),
                neutral[0].expression()[0],
                means.get(clip.speaker, means[""]),
                codes[clip.emotion],
                shared.identity_of(clip.speaker),
            )
        )
    return items


def training_means(corpus: Corpus) -> dict[str, Array]:
    """Return the mean expression (E,) of each speaker's training frames, and "" for everybody's."""
    means = {}
    for speaker, clips in by_speaker(corpus.clips("train")).items():
        means[speaker] = np.concatenate([clip.expression() for clip in clips]).mean(axis=0)
    return means | {"": np.mean([*means.values()], axis=0)}


def expression_metrics(
    predictor: ExpressionPredictor, items: Sequence[ExpressionValItem], face: FaceModel
) -> dict[str, float]:
    """Return how held-out clips are predicted from their sound, code, level and reference.

    coefficient_mouth_r     correlation of the mouth's opening with the truth, median over clips
    coefficient_mouth_size  its standard deviation over the true one's, sums over clips
    landmark_ratio          error of 68 points over that of the mean expression, sums over frames
    mouth_ratio             the same of the mouth's 20 points
    shuffled_ratio          error over that with another clip's sound; shuffled_mouth_ratio of mouth
    """
    errors: dict[str, list[Array]] = defaultdict(list)
    openings: list[tuple[Array, Array]] = []
    for item in items:
        given = item.code, intensity_of(item.clip), item.reference
        still = np.broadcast_to(item.mean, item.truth.shape)
        truth = front_view(face, item.identity, item.truth)
        ours = front_view(face, item.identity, predictor.predict(item.mel, *given))
        wrong = front_view(face, item.identity, predictor.predict(item.other_mel, *given))
        mean = front_view(face, item.identity, still)
        for name, faces in (("ours", ours), ("wrong", wrong), ("mean", mean)):
            apart = np.linalg.norm(faces - truth, axis=2)
            errors[name].append(apart.mean(axis=1))
            errors[f"{name}_mouth"].append(apart[:, list(MOUTH)].mean(axis=1))
        openings.append((mouth_opening(ours), mouth_opening(truth)))
    total = {name: float(np.concatenate(each).mean()) for name, each in errors.items()}
    spread, wanted = np.sum([[each.std() for each in pair] for pair in openings], axis=0)
    return {
        "coefficient_mouth_r": float(np.nanmedian([correlation(*pair) for pair in openings])),
        "coefficient_mouth_size": float(spread / wanted),
        "landmark_error": total["ours"],
        "landmark_ratio": total["ours"] / total["mean"],
        "mouth_ratio": total["ours_mouth"] / total["mean_mouth"],
        "shuffled_ratio": total["ours"] / total["wrong"],
        "shuffled_mouth_ratio": total["ours_mouth"] / total["wrong_mouth"],
    }


def front_view(face: FaceModel, identity: Array, expression: Array) -> Array:
    """Return faces (..., 68, 2) of expressions (..., E) without any pose."""
    return face.shapes(identity, expression)[..., :2]


def _with_another_sentence(clips: Sequence[Clip], place: int) -> Clip:
    """Return the next clip that says something else, or the next one where none does."""
    following = [*clips[place + 1 :], *clips[:place]]
    others = [clip for clip in following if clip.sentence != clips[place].sentence]
    return (others or following)[0]


# Plots


def plot_attention(mel: Array, attention: Array) -> Image:
    """Plot a log-mel (R, 80), low bins below, and what CLS attends to over it (supplement Fig. 4a).

    Args:
        attention: (N,), one weight a token; the plot is scaled to the largest.
    """
    low, high = np.percentile(mel, (1, 99))
    grey = np.clip((mel.T[::-1] - low) / max(high - low, 1e-6) * 255, 0, 255).astype(np.uint8)
    size = (MEL_WIDTH, MEL_HEIGHT)
    canvas = cv2.cvtColor(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), cv2.COLOR_GRAY2RGB)
    x = (np.arange(len(attention)) + 0.5) * MEL_WIDTH / len(attention)
    y = MEL_HEIGHT - 1 - attention / attention.max() * (MEL_HEIGHT - 8)
    line = np.rint(np.stack([x, y], axis=1) * 8).astype(np.int32)
    cv2.polylines(canvas, [line], False, ATTENTION, 2, cv2.LINE_AA, shift=3)
    return canvas


def plot_weights(weights: Array, size: int = 8) -> Image:
    """Plot attention (N, N) in grey, a square of `size` pixels a weight (supplement Fig. 4b).

    Rows are scaled together to the largest weight but for token 0 looking at itself.
    """
    shown = np.array(weights, float)
    shown[0, 0] = 0.0
    grey = np.clip(255 * shown / max(shown.max(), 1e-9), 0, 255).astype(np.uint8)
    large = grey.repeat(size, axis=0).repeat(size, axis=1)
    return np.repeat(large[:, :, None], 3, axis=2)
