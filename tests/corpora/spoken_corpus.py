"""A made-up prepared corpus whose sound says what the face does, for tests of EVP's stages.

Each sentence is a row of phonemes; a phoneme sets cepstra and mouth opening, an emotion adds to
other cepstra and moves brows and mouth corners, a speaker has a face and a voice. A network that
hears can predict every landmark but for noise; one that does not, only the mean face.
"""

import numpy as np

from affekt.media.corpus import SCHEMA, Corpus
from affekt.media.faces.geometry import RIGID_TEMPLATE
from affekt.media.faces.points import BROWS, COUNT, MOUTH_CORNERS, RIGID
from affekt.runtime.files import write_json, write_jsonl
from data_prep.pairs import PairsConfig, make_pairs

EMOTIONS = ("angry", "happy", "neutral")
PHONEMES = 6
HELD_OUT = ("004",)
LOWER_LIP = (55, 56, 57, 58, 59, 65, 66, 67)


def make_corpus(root, speakers=("M901", "W902"), sentences=5, frames=30, pairs=True, seed=0):
    """Write the corpus and return it opened; sentence 004 is held out."""
    rng = np.random.default_rng(seed)
    sounds = 12 * rng.standard_normal((PHONEMES, 13))
    openings = np.linspace(0, 14, PHONEMES)  # pixels of the aligned face
    moods = 8 * rng.standard_normal((len(EMOTIONS), 13))
    rows = []
    for speaker in speakers:
        face = 128 + 60 * rng.uniform(-1, 1, (COUNT, 2))
        face[list(RIGID)] = RIGID_TEMPLATE[:, :2]
        voice = 2 * rng.standard_normal(13)
        for sentence in range(1, sentences + 1):
            said = rng.integers(PHONEMES, size=frames // 5 + 1)
            for label, emotion in enumerate(EMOTIONS):
                at = said[np.arange(frames) // 5]
                heard = np.pad(at, (3, 3), mode="edge").repeat(4)  # row 12 is frame 0's
                mfcc = sounds[heard] + moods[label] + voice
                mfcc += rng.standard_normal(mfcc.shape)
                landmarks = face + np.zeros((frames, 1, 1))
                landmarks[:, LOWER_LIP, 1] += smooth(openings[at])[:, None]
                landmarks[:, list(BROWS), 1] += 4 * (label - 1)
                landmarks[:, list(MOUTH_CORNERS), 1] -= 3 * (label - 1)
                landmarks += 0.2 * rng.standard_normal(landmarks.shape)
                number = f"{sentence:03d}"
                split = "test_sentence" if number in HELD_OUT else "train"
                row = {"id": f"{speaker}_{emotion}_3_{number}", "speaker": speaker}
                row |= {"emotion": emotion, "level": 3, "sentence": number, "split": split}
                row |= {"frames": frames, "sha256": "0", "source": "made up"}
                rows.append(row)
                folder = root / "clips" / speaker / row["id"]
                folder.mkdir(parents=True)
                np.save(folder / "mfcc.npy", mfcc.astype(np.float32))
                np.save(folder / "landmarks.npy", landmarks.astype(np.float32))
    write_json(root / "corpus.json", {"schema": SCHEMA, "emotions": list(EMOTIONS)})
    write_jsonl(root / "manifest.jsonl", sorted(rows, key=lambda row: row["id"]))
    if pairs:
        make_pairs(root, PairsConfig(), progress=False)
    return Corpus(root)


def smooth(values):
    """Average over three frames, as a mouth does."""
    padded = np.pad(values, 1, mode="edge")
    return (padded[:-2] + padded[1:-1] + padded[2:]) / 3
