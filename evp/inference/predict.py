"""The landmarks that a trained audio-to-landmark run predicts for a corpus's clips, as files.

    python -m evp.inference.predict runs/demo/audio2lm --out runs/demo/audio2lm/landmarks
    python -m evp.inference.predict runs/evp/audio2lm --corpus data/mead --split val \\
        --out results/val

A clip is predicted from its own sound alone: its content codes frame by frame, and its emotion
code as the run was trained with it, of each window or the mean over them; the face starts from the
neutral face of its speaker's training clips. Writes into OUT
    <clip id>.npy      (T, 68, 2) float32, pixels of the 256 px aligned face
    predictions.json   run, corpus, split, the view in which faces are aligned, and the clips' ids;
                       written last, so that a folder that has it is whole
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from affekt.arrays import Array
from affekt.media.corpus import Clip, Corpus
from affekt.runtime.command import CommandParser, add_device, user_errors
from affekt.runtime.devices import pick_device
from affekt.runtime.files import save_npy, write_json
from evp.data.speech import clips_of
from evp.inference.emotion_codes import check_emotions, corpus_of, sound_codes
from evp.networks.audio2lm import Predictor, load_predictor, predict_faces

FILE = "predictions.json"


def predict_clips(predictor: Predictor, clips: Sequence[Clip]) -> dict[str, Array]:
    """Return each clip's landmarks by its id, (T, 68, 2) float32 in pixels of the 256 px face.

    Raises:
        ValueError: a speaker that the run was not trained on.
    """
    sounds = [clip.windows() for clip in clips]
    codes = sound_codes(predictor.encoders.emotion, sounds, predictor.emotion_code)
    return {
        clip.id: predict_faces(
            predictor.model,
            predictor.encoders.content,
            sound,
            code,
            predictor.space.neutral_of(clip.speaker),
        )
        for clip, sound, code in zip(clips, sounds, codes, strict=True)
    }


def write_predictions(
    run_dir: Path, corpus: Corpus, split: str, out: Path, device: torch.device | str = "cpu"
) -> int:
    """Predict the clips of a split and write them; return their number.

    Raises:
        FileNotFoundError: no trained run there.
        ValueError: a speaker that the run was not trained on.
        ValueError: the run has other emotions than the corpus, or the split has no clips.
    """
    check_emotions(run_dir, corpus)
    predictor = load_predictor(run_dir, device)
    predicted = predict_clips(predictor, clips_of(corpus, split))
    for name, landmarks in predicted.items():
        save_npy(out / f"{name}.npy", landmarks)
    record = {"run": str(run_dir), "corpus": str(corpus.root), "split": split}
    write_json(out / FILE, record | {"view": predictor.view, "clips": sorted(predicted)})
    return len(predicted)


def main() -> None:
    """Run from the command line."""
    parser = CommandParser(__doc__)
    parser.add_argument("run", type=Path, help="a run of train_audio2lm.py")
    parser.add_argument("--corpus", type=Path, help="another copy of the run's corpus")
    parser.add_argument("--split", default="test_sentence", help="which clips are predicted")
    parser.add_argument("--out", type=Path, required=True, help="the folder of the landmarks")
    add_device(parser)
    args = parser.parse_args()
    with user_errors():
        corpus = Corpus(args.corpus or corpus_of(args.run))
        device = pick_device(args.device)
        count = write_predictions(args.run, corpus, args.split, args.out, device)
    print(f"{count} clips in {args.out}")  # noqa: T201 - the command's result


if __name__ == "__main__":
    main()
