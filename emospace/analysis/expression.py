"""Does EAC do what a code and an intensity ask for: swaps, sizes and paths between emotions.

    python -m emospace.analysis.expression RUN --space RUN [--corpus data/mead_emospace]

Reads a run of train_expression.py and prints one JSON object over the clips of a split:

    swap_text, swap_image, swap_audio   share of swaps that arrive: the sound of one emotion under
                      the code of another gives a mean face nearer, in brows, lids and mouth
                      corners, to the speaker's true mean face of the emotion asked for; *_worst:
                      that of the emotion that arrives least often
    swap_mouth_r      correlation of the mouth's opening before and after a swap by text, median
    intensity_size    how far the face goes along its emotion's own axis (0 the speaker's neutral
                      face, 1 his face of the strongest level) at intensity 1, mean over clips
    intensity_ratio   the same at .45 over that at 1
    intensity_rank    rank correlation of intensity and size; a token that is ignored may have a
                      high one, so it is no bar
    blend_rank        rank correlation along a path between two codes of the weight and how far the
                      face has gone, mean over pairs of emotions; blend_rank_worst
    and those of emospace.validation.expression_metrics.

Codes of text are of held-out templates, those of pictures and sounds of another person's clip. All
of it is ours: the paper shows pictures and a user study.

Letters: T frames, N codes, C numbers of a code, E expression modes.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from affekt.arrays import Array
from affekt.media.corpus import Clip, Corpus
from affekt.media.emotions import NEUTRAL
from affekt.media.face3d.coefficients import open_expression
from affekt.media.face3d.model import FaceModel
from affekt.media.faces.points import EMOTION, mouth_opening
from affekt.media.validation import ValConfig, val_clips
from affekt.metrics.landmark import axis_projection, correlation, moved_toward
from affekt.runtime.command import CommandParser, add_device, user_errors
from affekt.runtime.config import ConfigError
from affekt.runtime.devices import pick_device
from emospace.data.emotions import LEVEL_INTENSITY, clip_pictures
from emospace.inference.emotion_codes import blend_codes, check_space, mean_code, prompt_code
from emospace.inference.expression import ExpressionPredictor, load_expression_predictor
from emospace.networks.emotion_space import EmotionSpace, load_emotion_space
from emospace.validation import (
    ExpressionValItem,
    expression_metrics,
    expression_val_set,
    front_view,
)

PATH = (0.0, 0.25, 0.5, 0.75, 1.0)  # weights along a path between two emotions
PICTURES = 4  # of a clip, whose mean code is its picture code

Faces = Mapping[tuple[str, str], Array]  # speaker and emotion -> mean face (68, 2)
CodeOf = Callable[[Clip, str], Array]  # a clip and the emotion asked for -> (C,)


def true_faces(clips: Sequence[Clip], items: Sequence[ExpressionValItem], face: FaceModel) -> Faces:
    """Return the true mean face of each speaker and emotion, of its strongest level there is.

    Args:
        clips: all clips of the items' speakers.
        items: whose speakers' identities are taken.
        face: the face model.
    """
    identities = {item.clip.speaker: item.identity for item in items}
    groups: dict[tuple[str, str], list[Clip]] = defaultdict(list)
    for clip in clips:
        if clip.speaker in identities:
            groups[clip.speaker, clip.emotion].append(clip)
    found = {}
    for (speaker, emotion), own in groups.items():
        strongest = max(clip.level for clip in own)
        chosen = [clip.expression() for clip in own if clip.level == strongest]
        mean = np.concatenate(chosen).mean(axis=0)
        found[speaker, emotion] = front_view(face, identities[speaker], mean)
    return found


def swap_metrics(
    predictor: ExpressionPredictor,
    items: Sequence[ExpressionValItem],
    faces: Faces,
    face: FaceModel,
    code_of: CodeOf,
) -> dict[str, float]:
    """Return `swap`, `swap_worst` and `swap_mouth_r` (see the module) of one kind of codes.

    Every clip is swapped to every other emotion that its speaker shows. All at intensity 1.
    """
    arrived: dict[str, list[bool]] = defaultdict(list)
    kept: list[float] = []
    for item in items:
        speaker, own = item.clip.speaker, item.clip.emotion
        asked = [emotion for name, emotion in faces if name == speaker and emotion != own]
        # The clip's own code first, then those of the others
        codes = np.stack([item.code, *(code_of(item.clip, emotion) for emotion in asked)])
        found = predictor.predict_codes(item.mel, codes, np.ones(len(codes)), item.reference)
        before, *after = front_view(face, item.identity, found)
        for emotion, swapped in zip(asked, after, strict=True):
            pair = faces[speaker, own], faces[speaker, emotion]
            arrived[emotion].append(moved_toward(swapped, *pair))
            kept.append(correlation(mouth_opening(before), mouth_opening(swapped)))
    shares = {emotion: float(np.mean(each)) for emotion, each in arrived.items()}
    return {
        "swap": float(np.mean(np.concatenate([*arrived.values()]))),
        "swap_worst": min(shares.values()),
        "swap_mouth_r": float(np.nanmedian(kept)),
    }


def intensity_metrics(
    predictor: ExpressionPredictor,
    items: Sequence[ExpressionValItem],
    faces: Faces,
    face: FaceModel,
) -> dict[str, float]:
    """Return `intensity_size`, `intensity_ratio` and `intensity_rank`; see the module."""
    asked = np.array([*LEVEL_INTENSITY.values()])
    sizes = []
    for item in items:
        speaker, emotion = item.clip.speaker, item.clip.emotion
        if emotion == NEUTRAL:
            continue
        codes = np.repeat(item.code[None], len(asked), axis=0)
        found = predictor.predict_codes(item.mel, codes, asked, item.reference)
        shown = front_view(face, item.identity, found).mean(axis=1)
        axis = faces[speaker, NEUTRAL], faces[speaker, emotion]
        sizes.append(axis_projection(shown, *axis, EMOTION))
    weakest, *_, strongest = np.mean(sizes, axis=0)
    return {
        "intensity_size": float(strongest),
        "intensity_ratio": float(weakest / strongest),
        "intensity_rank": float(np.mean([_rank_correlation(asked, each) for each in sizes])),
    }


def blend_metrics(
    predictor: ExpressionPredictor,
    items: Sequence[ExpressionValItem],
    faces: Faces,
    face: FaceModel,
    codes: Mapping[str, Array],
) -> dict[str, float]:
    """Return `blend_rank` and `blend_rank_worst`, each pair of emotions with another clip's sound.

    Args:
        predictor: the network.
        items: sounds, references and speakers, in turn.
        faces: see `true_faces`.
        face: the face model.
        codes: of each emotion.
    """
    ranks = []
    for place, (one, other) in enumerate(combinations(sorted(codes), 2)):
        item = items[place % len(items)]
        ends = [faces.get((item.clip.speaker, emotion)) for emotion in (one, other)]
        if ends[0] is None or ends[1] is None:
            continue
        path = np.stack([blend_codes(codes[one], codes[other], weight) for weight in PATH])
        found = predictor.predict_codes(item.mel, path, np.ones(len(path)), item.reference)
        shown = front_view(face, item.identity, found).mean(axis=1)
        ranks.append(
            _rank_correlation(np.array(PATH), axis_projection(shown, ends[0], ends[1], EMOTION))
        )
    return {"blend_rank": float(np.mean(ranks)), "blend_rank_worst": float(min(ranks))}


def text_codes(space: EmotionSpace) -> CodeOf:
    """Return codes of the prompts of held-out templates."""
    codes = {emotion: prompt_code(space, emotion) for emotion in space.emotions}
    return lambda _, emotion: codes[emotion]


def others_codes(space: EmotionSpace, clips: Sequence[Clip], kind: str) -> CodeOf:
    """Return codes of another person's clip of the emotion, by its pictures or its sound.

    It is the next speaker's strongest clip of that emotion; where there is one speaker alone, his.

    Args:
        space: the emotion space.
        clips: of the split.
        kind: image or audio.
    """
    by_emotion: dict[str, list[Clip]] = defaultdict(list)
    for clip in sorted(clips, key=lambda each: (each.speaker, -each.level, each.id)):
        by_emotion[clip.emotion].append(clip)
    known: dict[str, Array] = {}

    def code(clip: Clip, emotion: str) -> Array:
        alike = by_emotion[emotion]
        others = [each for each in alike if each.speaker > clip.speaker]
        others += [each for each in alike if each.speaker < clip.speaker]
        chosen = (others or alike)[0]
        if chosen.id not in known:
            if kind == "audio":
                codes = space.audio_codes([chosen.mel()])
            else:
                codes = space.image_codes(clip_pictures(chosen, PICTURES))
            known[chosen.id] = mean_code(codes.numpy())
        return known[chosen.id]

    return code


def measure(
    predictor: ExpressionPredictor, space: EmotionSpace, corpus: Corpus, val: ValConfig
) -> dict[str, float]:
    """Return all figures of the module over a split's clips.

    Raises:
        ConfigError: the split has no clips of two emotions, or corpus or space do not fit the
            network.
    """
    clips, shared = val_clips(corpus, val), open_expression(corpus)
    predictor.check_face_model(shared)
    predictor.check_space(space)
    check_space(space, clips, corpus)
    emotions = {clip.emotion for clip in clips}
    if len(emotions) < 2:
        raise ConfigError(
            f"{corpus.root} has {', '.join(emotions)} alone in split {val.split!r}: nothing can be "
            "swapped; choose another split"
        )
    of_text = text_codes(space)
    codes = {emotion: of_text(clips[0], emotion) for emotion in emotions}
    items, face = expression_val_set(clips, corpus, codes, shared), shared.model
    faces = true_faces(corpus.clips(), items, face)
    figures = expression_metrics(predictor, items, face)
    split = corpus.clips(val.split)
    kinds = {"text": of_text} | {
        kind: others_codes(space, split, kind) for kind in ("image", "audio")
    }
    for kind, code_of in kinds.items():
        found = swap_metrics(predictor, items, faces, face, code_of)
        figures |= {f"swap_{kind}": found["swap"], f"swap_{kind}_worst": found["swap_worst"]}
        figures |= {"swap_mouth_r": found["swap_mouth_r"]} if kind == "text" else {}
    figures |= intensity_metrics(predictor, items, faces, face)
    return figures | blend_metrics(predictor, items, faces, face, codes)


def main() -> None:
    """Run from the command line."""
    parser = CommandParser(__doc__)
    parser.add_argument("run", type=Path, help="a run of train_expression.py")
    parser.add_argument("--space", type=Path, required=True, help="its emotion space's run")
    parser.add_argument("--corpus", type=Path, required=True, help="a prepared corpus")
    parser.add_argument("--split", default="test_speaker", help="test_speaker or test_sentence")
    parser.add_argument("--clips", type=int, default=0, help="at most so many; 0: all")
    add_device(parser)
    args = parser.parse_args()
    with user_errors():
        device = pick_device(args.device)
        predictor = load_expression_predictor(args.run, device)
        space = load_emotion_space(args.space, device)
        val = ValConfig(args.split, clips=args.clips)
        figures = measure(predictor, space, Corpus(args.corpus), val)
    result = {name: round(value, 4) for name, value in figures.items()}
    print(json.dumps(result))  # noqa: T201 - the command's result


def _rank_correlation(one: Array, other: Array) -> float:
    """Return Spearman's rank correlation; 0 where nothing changes."""
    from scipy.stats import spearmanr

    if np.ptp(other) == 0:
        return 0.0
    return float(spearmanr(one, other).statistic)


if __name__ == "__main__":
    main()
