"""Folders as test.py run leaves them, with figures of one's own choice."""

import json

PROTOCOL = {"id": "evp-table1", "version": 1, "hash": "0123456789ab"}


def line(clip, row, metric, value, speaker="M1", emotion="happy"):
    names = {"clip": clip, "speaker": speaker, "emotion": emotion}
    return {**names, "row": row, "metric": metric, "value": value, "key": "k"}


def lines(row, metric, values, speakers=("M1",), emotions=("happy",)):
    """One line a clip; speakers and emotions take turns."""
    return [
        line(
            f"clip{k}", row, metric, value, speakers[k % len(speakers)], emotions[k % len(emotions)]
        )
        for k, value in enumerate(values)
    ]


def write_evaluation(folder, scores, name="ours", **changes):
    folder.mkdir(parents=True, exist_ok=True)
    record = {
        "schema": 2,
        "name": name,
        "protocol": PROTOCOL,
        "detector": "mediapipe 0.10.21",
        "weights": {},
        "clips": len({each["clip"] for each in scores}),
        "frames": 700,
        "clip_coverage": 1.0,
        "frame_coverage": 0.995,
        "missing": [],
        "extra": [],
        "failed": [],
        "unavailable": {},
        "notes": [],
        "speakers": sorted({each["speaker"] or "" for each in scores} - {""}),
        "versions": {},
    }
    (folder / "evaluation.json").write_text(json.dumps(record | changes))
    (folder / "scores.jsonl").write_text("".join(json.dumps(each) + "\n" for each in scores))
    return folder
