"""A made-up prepared corpus with pictures: a plain face that talks and moves, for video tests."""

import itertools
import json

import cv2
import numpy as np

from affekt.media.corpus import Corpus
from affekt.media.video.flow import Dis, confident
from affekt.media.video.flow_store import flow_writer
from tests.corpora.made_up_faces import plain_face
from tests.corpora.prepared import write_clip, write_corpus

SIZE = 64  # pixels a side of the stored frames
FACE, LIPS, MOUTH, EYES = (200, 160, 140), (170, 60, 60), (50, 10, 20), (250, 250, 250)


def write_portraits(root, splits=("train", "train", "train", "test_sentence"), frames=12, **info):
    """Write a corpus of one clip a split, speaker M901; `info` goes into corpus.json."""
    rows = []
    for number, split in enumerate(splits):
        landmarks = talking_face(frames, seed=number)
        pictures = [picture(face) for face in landmarks]
        rows.append(write_clip(root, "M901", number, pictures, split, landmarks=landmarks))
    write_corpus(root, rows, **{"profile": "portrait", "size": SIZE} | info)


def write_flow(root):
    """Write every clip's optical flow, as data_prep.flow does: DIS, and where it can be trusted."""
    still = np.zeros((SIZE, SIZE, 2), np.float32)
    for clip in Corpus(root).clips():
        frames = clip.store().read(range(clip.frames))
        with flow_writer(clip.folder) as write:
            write(still, np.zeros((SIZE, SIZE), bool))
            for before, now in itertools.pairwise(frames):
                back, forth = Dis()(before, now)
                write(back, confident(back, forth))


def talking_face(frames, seed):
    """Return landmarks (frames, 68, 2), pixels: the head moves by a few, the mouth opens."""
    rng = np.random.default_rng(seed)
    time = np.linspace(0, 2 * np.pi, frames) + rng.uniform(0, 6)
    faces = np.repeat(plain_face(SIZE)[None], frames, axis=0)
    opening = 3 * (1 + np.sin(2 * time))
    faces[:, 55:60, 1] += opening[:, None]
    faces[:, 65:68, 1] += opening[:, None]
    return faces + 2 * np.stack([np.sin(time), np.cos(1.3 * time)], axis=1)[:, None]


def picture(landmarks):
    """Return the face on its background, (SIZE, SIZE, 3) RGB."""
    frame = np.full((SIZE, SIZE, 3), (90, 120, 150), np.uint8)
    frame[:, : SIZE // 4] = (60, 90, 60)
    top = landmarks[:17] * [1, -0.7] + [0, 1.7 * landmarks[0, 1]]
    shapes = [
        (np.concatenate([landmarks[:17], top[::-1]]), FACE),
        (landmarks[36:42], EYES),
        (landmarks[42:48], EYES),
        (landmarks[48:60], LIPS),
        (landmarks[60:68], MOUTH),
    ]
    for outline, colour in shapes:
        fixed = np.rint(outline * 16).astype(np.int32)
        cv2.fillPoly(frame, [fixed], colour, cv2.LINE_AA, shift=4)
    return frame


def rows_of(run_dir):
    """Return the lines of a run's metrics.jsonl without their times."""
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "time"} for line in lines]
