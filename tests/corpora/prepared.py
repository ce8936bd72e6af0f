"""Write a made-up prepared corpus, clip by clip, in the layout of data_prep."""

import numpy as np

from affekt.media.corpus import SCHEMA, Corpus
from affekt.media.video.frames import write_frames
from affekt.runtime.files import save_npy, write_json, write_jsonl


def write_clip(root, speaker, number, pictures, split="train", **row):
    """Write a clip of stored frames (T, S, S, 3); return its line of the manifest.

    `row` holds what differs from a neutral clip of its number, and float arrays of the folder.
    """
    arrays = {name: row.pop(name) for name in ("landmarks", "mfcc", "pose") if name in row}
    row = {"emotion": "neutral", "level": 1, "sentence": f"{number:03d}"} | row
    row = {"id": f"{speaker}_{row['emotion']}_{row['level']}_{number:03d}"} | row
    row |= {"speaker": speaker, "split": split, "frames": len(pictures)}
    row |= {"sha256": "", "source": "made up"}
    folder = root / "clips" / speaker / row["id"]
    folder.mkdir(parents=True)
    write_frames(folder, pictures, "raw")
    for name, array in arrays.items():
        save_npy(folder / f"{name}.npy", array.astype(np.float32))
    size = [len(pictures[0])] * 2
    crop = {"matrix": [[1, 0, 0], [0, 1, 0]], "size": size, "source_size": size}
    write_json(folder / "crop.json", crop)
    return row


def write_corpus(root, rows, profile="eamm", **info):
    """Write the manifest and corpus.json around clips that are written; return it opened."""
    write_jsonl(root / "manifest.jsonl", sorted(rows, key=lambda row: row["id"]))
    write_json(root / "corpus.json", {"schema": SCHEMA, "profile": profile} | info)
    return Corpus(root)
