"""How well a trained audio half does on held-out sentences: landmarks, emotion, disentanglement.

Letters: N clips, T frames.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from affekt.arrays import Array
from affekt.media.corpus import Clip, Corpus
from affekt.media.faces.points import GROUPS
from affekt.metrics.probes import (
    mouth_correlation,
    moved_toward,
    nearest_mean_accuracy,
    point_distance,
    probe_accuracy,
)
from affekt.runtime.run import restore
from evp.inference.emotion_codes import EmotionCodes, clip_codes
from evp.landmark_space import unflatten
from evp.networks.audio2lm import Predictor, predict_faces
from evp.networks.encoders import ContentEncoder, load_description

TEST = "test_sentence"


def predicted(
    predictor: Predictor, clip: Clip, code: Array, heard: Clip | None = None
) -> NDArray[np.float32]:
    """Return the clip's speaker saying `heard` (default: the clip's own sound), (T, 68, 2)."""
    sound = (heard or clip).windows()
    neutral = predictor.space.neutral_of(clip.speaker)
    return predict_faces(predictor.model, predictor.encoders.content, sound, code, neutral)


def landmark_figures(predictor: Predictor, corpus: Corpus) -> dict[str, float]:
    """Return mouth distance in 256 px, against the speaker's mean and against shuffled sound.

    The emotion code is the mean over the clip's own sound. `m_ld_shuffled` is what the same model
    predicts from another held-out sentence of the same speaker in the same emotion, over the
    frames that both have.
    """
    clips = corpus.clips(TEST)
    codes = clip_codes(predictor.encoders.emotion, clips)
    rows: dict[str, list[float]] = {key: [] for key in ("ours", "mean", "shuffled", "own", "r")}
    groups: dict[str, list[float]] = {name: [] for name in GROUPS}
    for clip, code in zip(clips, codes, strict=True):
        truth, face = clip.aligned(predictor.view), predicted(predictor, clip, code)
        mean_face = unflatten(predictor.space.average_of(clip.speaker))
        rows["ours"].append(point_distance(face, truth))
        rows["mean"].append(point_distance(np.broadcast_to(mean_face, truth.shape), truth))
        rows["r"].append(mouth_correlation(face, truth))
        for name, members in GROUPS.items():
            groups[name].append(point_distance(face, truth, members))
        for other in _same_voice(clip, clips):
            strange = predicted(predictor, clip, code, other)
            both = min(len(strange), len(truth))
            rows["shuffled"].append(point_distance(strange[:both], truth[:both]))
            rows["own"].append(point_distance(face[:both], truth[:both]))
    means = {key: float(np.mean(values)) for key, values in rows.items() if key != "r"}
    return {
        "m_ld_px": means["ours"],
        "m_ld_mean_face_px": means["mean"],
        "m_ld_ratio": means["ours"] / means["mean"],
        "m_ld_shuffled_px": means["shuffled"],
        "m_ld_shuffled_ratio": means["own"] / means["shuffled"],
        "mouth_r": float(np.nanmedian(rows["r"])),
        **{f"{name}_px": float(np.mean(values)) for name, values in groups.items()},
        "clips": len(clips),
    }


def emotion_figures(
    predictor: Predictor, codes: EmotionCodes, corpus: Corpus, runs: Path
) -> dict[str, float]:
    """Return what the codes tell, what a swapped code does to the face, and what content leaks."""
    train, test = corpus.clips("train"), corpus.clips(TEST)
    labels, wanted = (_labels(clips, corpus) for clips in (train, test))
    encoder = predictor.encoders.emotion
    accuracy = nearest_mean_accuracy(
        clip_codes(encoder, train), labels, clip_codes(encoder, test), wanted
    )
    raw = nearest_mean_accuracy(_mean_mfcc(train), labels, _mean_mfcc(test), wanted)
    return {
        "code_accuracy": accuracy,
        "raw_mfcc_accuracy": raw,
        "raw_mfcc_accuracy_per_speaker": _raw_per_speaker(corpus),
        **swap_figures(predictor, codes, corpus),
        **content_leaks(corpus, runs),
    }


def swap_figures(predictor: Predictor, codes: EmotionCodes, corpus: Corpus) -> dict[str, float]:
    """Return how a held-out clip's face changes when another label's mean code drives it."""
    means = _true_means(corpus, predictor)
    toward, kept = [], []
    for clip in corpus.clips(TEST):
        plain = predicted(predictor, clip, codes.of(clip.emotion, clip.speaker))
        for label in corpus.emotions:
            if label == clip.emotion:
                continue
            face = predicted(predictor, clip, codes.of(label, clip.speaker))
            source, target = (means[clip.speaker, name] for name in (clip.emotion, label))
            toward.append(moved_toward(face, source, target))
            kept.append(mouth_correlation(face, plain))
    return {
        "swap_toward_target": float(np.mean(toward)),
        "swap_mouth_r": float(np.nanmedian(kept)),
        "swaps": len(toward),
    }


def content_leaks(corpus: Corpus, runs: Path) -> dict[str, float]:
    """Return how well a linear probe reads the emotion from clips' content codes (chance 1 / K).

    After disentanglement, after content pretraining alone, after E_c has learned on with the
    landmarks, and after disentanglement with the cross term at 0.
    """
    train, test = corpus.clips("train"), corpus.clips(TEST)
    labels, wanted = (_labels(clips, corpus) for clips in (train, test))
    names = {
        "content_leak": "disentangle",
        "content_leak_pretrained": "pretrain_content",
        "content_leak_audio2lm": "audio2lm",
        "content_leak_no_cross": "disentangle_no_cross",
    }
    leaks = {}
    for key, run in names.items():
        encoder = ContentEncoder(load_description(runs / run).encoders.content)
        restore(runs / run, content_encoder=encoder)
        encoder.eval()
        codes, held_out = (clip_codes(encoder, clips) for clips in (train, test))
        leaks[key] = probe_accuracy(codes, labels, held_out, wanted)
    return leaks


def _true_means(corpus: Corpus, predictor: Predictor) -> dict[tuple[str, str], Array]:
    """Return the mean true face (68, 2) of every speaker in every emotion, training clips only."""
    means = {}
    for speaker in corpus.speakers:
        for label in corpus.emotions:
            clips = corpus.clips("train", speaker, label)
            faces = [clip.aligned(predictor.view) for clip in clips]
            means[speaker, label] = np.concatenate(faces).mean(axis=0)
    return means


def _same_voice(clip: Clip, clips: Sequence[Clip]) -> list[Clip]:
    return [
        other
        for other in clips
        if (other.speaker, other.emotion) == (clip.speaker, clip.emotion)
        and other.sentence != clip.sentence
    ]


def _labels(clips: Sequence[Clip], corpus: Corpus) -> Array:
    return np.array([corpus.emotions.index(clip.emotion) for clip in clips])


def _mean_mfcc(clips: Sequence[Clip]) -> Array:
    return np.stack([clip.mfcc()[:, 1:].mean(axis=0) for clip in clips])


def _raw_per_speaker(corpus: Corpus) -> float:
    """Return the raw MFCC's accuracy when it is told the speaker, a harder baseline."""
    each = []
    for speaker in corpus.speakers:
        train, test = (corpus.clips(split, speaker) for split in ("train", TEST))
        labels, wanted = (_labels(clips, corpus) for clips in (train, test))
        each.append(nearest_mean_accuracy(_mean_mfcc(train), labels, _mean_mfcc(test), wanted))
    return float(np.mean(each))
