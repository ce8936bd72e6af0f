"""A made-up prepared corpus of the shape of LRW: every clip of 29 frames is a speaker of its own.

No frames, no sound. The clips share the files of a few people by hard links, so that tens of
thousands are written in seconds.
"""

import os
from pathlib import Path

import numpy as np

from affekt.media.corpus import SCHEMA, Corpus
from affekt.media.face3d.model import project
from affekt.media.faces import geometry
from affekt.runtime.files import save_npy, write_json, write_jsonl
from tests.corpora.made_up_faces import made_up_clip, made_up_model

FRAMES = 29
ROW = {"emotion": "neutral", "level": 1, "sha256": "", "source": "made up", "frames": FRAMES}


def many_speakers(root: Path, clips: int, people: int = 40, clips_each: int = 1) -> Corpus:
    """Write so many clips, `clips_each` a speaker, with the arrays of so many; return it opened."""
    pool = [write_person(root / "people" / str(k), k) for k in range(min(people, clips))]
    rows = []
    for number in range(clips):
        speaker = f"WORD-train-{number // clips_each:05d}"
        row = {"id": f"{speaker}_neutral_1_{number:05d}", "speaker": speaker, "sentence": "WORD"}
        rows.append(ROW | row | {"split": "train"})
        folder = root / "clips" / speaker / row["id"]
        folder.mkdir(parents=True)
        for file in pool[number % len(pool)]:
            os.link(file, folder / file.name)
    write_jsonl(root / "manifest.jsonl", sorted(rows, key=lambda row: row["id"]))
    write_json(root / "corpus.json", {"schema": SCHEMA, "profile": "eamm"})
    return Corpus(root)


def write_person(folder: Path, seed: int) -> list[Path]:
    """Write one clip's landmarks, with and without depth, and MFCC; return the files."""
    model = made_up_model(K=6, E=4)
    clip = made_up_clip(model, FRAMES, turn=0.2, seed=seed)
    faces = model.shapes(clip.identity, clip.expression)
    turned = np.exp(clip.pose[:, 3, None, None]) * (
        faces @ geometry.rotation_matrix(clip.pose[:, :3]).swapaxes(1, 2)
    )
    turned[..., :2] = project(faces, clip.pose)
    rng = np.random.default_rng(seed)
    turned += 0.3 * rng.standard_normal(turned.shape)  # pixels; no two directions move alike
    arrays = {
        "landmarks": turned[..., :2],
        "landmarks3d": turned,
        "mfcc": rng.standard_normal((4 * FRAMES + 24, 13)),
    }
    for name, array in arrays.items():
        save_npy(folder / f"{name}.npy", array.astype(np.float32))
    return [folder / f"{name}.npy" for name in arrays]
