"""Videos and pictures of the demos, all of held-out clips.

    python -m affekt.showcase.videos evp runs/demo --speech data/mini --lively data/mini_lively
    python -m affekt.showcase.videos eamm runs/demo/eamm --corpus data/mini_eamm

Writes RUNS/media/, which the demos' report embeds. EVP: truth and result, swapped emotion, blends,
content by emotion, with and without 3D alignment. EAMM: reenactment, speech with the emotion of
another person, one sound in several emotions.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from affekt.arrays import Array, Image
from affekt.media.corpus import Clip, Corpus
from affekt.media.emotions import NEUTRAL
from affekt.media.face3d.model import load_face_model
from affekt.media.faces.points import mouth_opening
from affekt.media.plots import labelled_row, tracks, write_png
from affekt.media.validation import ValConfig
from affekt.media.video.tensors import to_tensor
from affekt.media.video.video import read_frames, write_video
from affekt.runtime.command import CommandParser
from eamm.a2fd.data import clip_frames
from eamm.a2fd.network import load_a2fd
from eamm.a2fd.teacher import teacher_keypoints
from eamm.analysis.networks import render_clip
from eamm.displacement.network import load_displacement
from eamm.displacement.validation import Prepared, prepare, val_pairs, with_emotion
from eamm.fomm.model import load_fomm
from evp.inference.landmarks import Emotion, audio_to_landmarks
from evp.inference.portrait import Alignment, EditedFrame, edit
from evp.inference.renderer import Target, load_renderer
from evp.networks.audio2lm import load_predictor

BLEND = ("sad", "happy")
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
EMOTIONS = ("angry", "happy", "sad", "surprised")
EVP_TILE, EAMM_TILE = 192, 224  # pixels a side of a picture in a row


class EvpVideos:
    """Videos of EVP's demo: held-out sentences on a held-out video of a turning head."""

    def __init__(self, runs: Path, speech: Corpus, lively: Corpus) -> None:
        self.runs, self.media, self.speech = runs, runs / "media", speech
        self.predictor = load_predictor(runs / "audio2lm")
        self.renderer = load_renderer(runs / "edge2video", "cpu")
        self.model = load_face_model(runs / "face_model.npz")
        speaker = self.renderer.speaker
        clip = lively.clips("test_sentence", speaker)[0]
        self.target = Target(Path(clip.source), clip.landmarks(), clip.crop())
        happy = speech.clips("test_sentence", speaker, "happy")
        self.spoken = happy or speech.clips("test_sentence", speaker)

    def write(self) -> None:
        """Write every video."""
        self.side_by_side()
        self.blend_strip()
        self.grid()
        self.alignment_pair()

    def face(self, clip: Clip, emotion: Emotion) -> Array:
        """Return the person with the clip's sound in an emotion, (T, 68, 2) aligned."""
        run, speaker = self.runs / "audio2lm", self.renderer.speaker
        return audio_to_landmarks(self.predictor, run, clip.audio(), speaker, emotion)

    def edited(self, face: Array, alignment: Alignment = "3d") -> Iterable[EditedFrame]:
        """Return the target's frames with this face."""
        return edit(self.renderer, self.target, face, self.model, alignment)

    def crops(self, clip: Clip, emotion: Emotion) -> list[Image]:
        """Return the generated crops of a clip's sound in an emotion."""
        return [frame.picture for frame in self.edited(self.face(clip, emotion))]

    def side_by_side(self) -> None:
        """Write truth.mp4, result.mp4, and swapped.mp4: the same sound in another emotion."""
        clip = self.spoken[0]
        sound = clip.audio()
        write_video(self.media / "truth.mp4", read_frames(Path(clip.source))[: clip.frames], sound)
        other = "sad" if clip.emotion != "sad" else "happy"
        for name, emotion in (("result", Emotion()), ("swapped", Emotion(label=other))):
            frames = self.edited(self.face(clip, emotion))
            pictures = (frame.pasted("face") for frame in frames)
            write_video(self.media / f"{name}.mp4", tqdm(pictures, name, clip.frames), sound)

    def blend_strip(self) -> None:
        """Write blend.mp4 and blend.png: one sentence between two emotions; mouth tracks."""
        clip, (first, second) = self.spoken[0], BLEND
        blends = [Emotion(blend=f"{first}:{second}:{weight:g}") for weight in WEIGHTS]
        columns = [self.crops(clip, blend) for blend in tqdm(blends, "blend")]
        texts = [f"w = {weight:g}" for weight in WEIGHTS]
        frames = [labelled_row(row, texts, EVP_TILE) for row in zip(*columns, strict=True)]
        write_video(self.media / "blend.mp4", frames, clip.audio())
        openings = [mouth_opening(self.face(clip, blend)) for blend in blends]
        write_png(self.media / "blend.png", frames[int(np.argmax(openings[0]))])
        title = f"mouth opening, {first} to {second}, px at 256"
        tracks(self.media / "blend_mouth.png", title, dict(zip(texts, openings, strict=True)))

    def grid(self) -> None:
        """Write grid.mp4: sentences down, emotions across, as the supplement's Fig. 2."""
        speaker = self.renderer.speaker
        labels = [each for each in EMOTIONS if self.speech.clips("train", speaker, each)]
        rows = [
            [self.crops(clip, Emotion(label=label)) for label in labels]
            for clip in tqdm(self.spoken[:2], "grid")
        ]
        length = min(len(cell) for row in rows for cell in row)
        frames = [
            np.concatenate([labelled_row([c[k] for c in row], labels, EVP_TILE) for row in rows])
            for k in range(length)
        ]
        write_video(self.media / "grid.mp4", frames, self.spoken[0].audio())

    def alignment_pair(self) -> None:
        """Write alignment.mp4: a face in 3D, by eq. 8 as printed, without alignment (Fig. 7)."""
        clip = self.spoken[0]
        face = self.face(clip, Emotion())
        ways: dict[str, Alignment] = {
            "3D alignment": "3d",
            "eq. 8 as printed": "paper",
            "no alignment": "none",
        }
        columns = {name: [f.picture for f in self.edited(face, w)] for name, w in ways.items()}
        write_row(self.media / "alignment.mp4", columns, EVP_TILE, clip)


class EammVideos:
    """Videos of EAMM's demo, of people whom no stage has learned from."""

    def __init__(self, runs: Path, corpus: Corpus) -> None:
        self.corpus, self.media = corpus, runs / "media"
        self.fomm, self.a2fd = load_fomm(runs / "fomm"), load_a2fd(runs / "a2fd")
        self.displacement, self.description = load_displacement(runs / "displacement")
        self.pairs = val_pairs(corpus, ValConfig("test_speaker"))

    def write(self) -> None:
        """Write every video."""
        self.reenactment()
        self.speech_and_emotion()
        self.emotions()

    def frames(self, clip: Clip) -> Image:
        """Return a clip's frames at the networks' size, (T, S, S, 3)."""
        return clip_frames(clip, 0, clip.frames, self.fomm.config.size)

    def prepared(self, emotion: str, speaker: str) -> Prepared:
        """Return the speaker's first clip of an emotion, with its source and keypoints."""
        fitting = (p for p in self.pairs if (p.clip.emotion, p.clip.speaker) == (emotion, speaker))
        return prepare(self.fomm, self.a2fd, next(fitting))

    def reenactment(self) -> None:
        """Write reenactment.mp4: a portrait with another person's keypoints as they are."""
        test = self.corpus.clips("test_speaker")
        driver, shown = sorted({clip.speaker for clip in test})[:2]
        lively = [c for c in test if c.speaker == driver and c.id.endswith("lively")]
        driving = self.frames(lively[0])
        portrait = self.frames(self.corpus.clips("test_speaker", shown, NEUTRAL)[0])[:1]
        keypoints, _ = teacher_keypoints(self.fomm, driving)
        result = render_clip(self.fomm, to_tensor(portrait), keypoints)
        still = np.repeat(portrait, len(driving), axis=0)
        columns = {"portrait": still, "driving": driving, "result": result}
        write_row(self.media / "reenactment.mp4", columns, EAMM_TILE)

    def speech_and_emotion(self) -> None:
        """Write speech.mp4: the emotion source, A2FD alone, with the emotion, the truth."""
        pair = self.prepared("surprised", self.pairs[0].clip.speaker)
        moved = with_emotion(self.displacement, self.description, pair)
        columns = {
            "emotion source": pair.source,
            "sound and pose alone": render_clip(self.fomm, pair.picture, pair.neutral),
            "with emotion": render_clip(self.fomm, pair.picture, moved),
            "truth": self.frames(pair.pair.clip),
        }
        write_row(self.media / "speech.mp4", columns, EAMM_TILE, pair.pair.clip)

    def emotions(self) -> None:
        """Write emotions.mp4 and emotions.png: one sound and one portrait, several emotions."""
        speaker = self.pairs[-1].clip.speaker
        spoken = self.prepared(EMOTIONS[0], speaker)
        columns = {"none": render_clip(self.fomm, spoken.picture, spoken.neutral)}
        T = len(columns["none"])
        for emotion in tqdm(EMOTIONS, "emotions"):
            source = self.prepared(emotion, speaker).source
            looped = spoken._replace(source=source[np.arange(T) % len(source)])
            moved = with_emotion(self.displacement, self.description, looped)
            columns[emotion] = render_clip(self.fomm, spoken.picture, moved)
        frames = write_row(self.media / "emotions.mp4", columns, EAMM_TILE, spoken.pair.clip)
        write_png(self.media / "emotions.png", frames[T // 2])


def write_row(
    path: Path, columns: Mapping[str, Sequence[Image] | Image], tile: int, sound: Clip | None = None
) -> list[Image]:
    """Write clips of one length side by side under their names; return the frames."""
    frames = [labelled_row(row, list(columns), tile) for row in zip(*columns.values(), strict=True)]
    write_video(path, frames, None if sound is None else sound.audio())
    return frames


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = CommandParser(__doc__)
    systems = parser.add_subparsers(dest="system", required=True)
    for system, corpora in (("evp", ("speech", "lively")), ("eamm", ("corpus",))):
        one = systems.add_parser(system)
        one.add_argument("runs", type=Path, help="folder of the demo's runs")
        for name in corpora:
            one.add_argument(f"--{name}", type=Path, required=True, help="a prepared corpus")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    if args.system == "evp":
        EvpVideos(args.runs, Corpus(args.speech), Corpus(args.lively)).write()
    else:
        EammVideos(args.runs, Corpus(args.corpus)).write()


if __name__ == "__main__":
    main()
