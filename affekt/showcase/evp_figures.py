"""Measure EVP's demo on clips that it did not learn from, and write OUT/figures.json.

    python -m affekt.showcase.evp_figures runs/demo --speech data/mini --lively data/mini_lively \\
        --truth data/raw/mini/truth

`speech` holds calm heads in every emotion, `lively` turning ones; both are prepared mini corpora,
whose truth the stages never saw. Needs OUT/media of affekt.showcase.evp_videos.
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from affekt.media.corpus import Corpus
from affekt.media.face3d.model import load_face_model
from affekt.runtime.command import CommandParser
from affekt.runtime.files import write_json
from affekt.showcase.bars import Results, finite
from affekt.showcase.picture_figures import TEST, alignment_figures, sync_figures, video_figures
from affekt.showcase.speech_figures import emotion_figures, landmark_figures
from evp.inference.emotion_codes import load_codes
from evp.inference.renderer import load_renderer
from evp.networks.audio2lm import load_predictor


def measure(runs: Path, speech: Corpus, lively: Corpus, truth: Path) -> Results:
    """Return every figure of a demo, by section."""
    predictor = load_predictor(runs / "audio2lm")
    codes = load_codes(runs / "audio2lm")
    renderer = load_renderer(runs / "edge2video", "cpu")
    speaker = renderer.speaker
    both = [
        [*speech.clips(split, speaker), *lively.clips(split, speaker)] for split in ("train", TEST)
    ]
    turning = video_figures(renderer, both[0], lively.clips(TEST, speaker))
    return {
        "landmark": landmark_figures(predictor, speech),
        "emotion": emotion_figures(predictor, codes, speech, runs),
        "alignment": alignment_figures(lively, load_face_model(runs / "face_model.npz"), truth),
        "video": video_figures(renderer, both[0], speech.clips(TEST, speaker)),
        "video_turning": turning,
        "sync": sync_figures(runs / "media"),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = CommandParser(__doc__)
    parser.add_argument("runs", type=Path, help="folder of the demo's runs")
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--lively", type=Path, required=True)
    parser.add_argument("--truth", type=Path, required=True)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    results = measure(args.runs, Corpus(args.speech), Corpus(args.lively), args.truth)
    write_json(args.runs / "figures.json", finite(results))


if __name__ == "__main__":
    main()
