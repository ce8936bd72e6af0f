"""Manifests for generate.py: the videos that a protocol needs, their inputs, and the files of both.

    evp        EVP, Table 1: held-out clips of a person; the clip's own sound, and its own true
               video as target; the emotion is that of the sound.
    lrw-self   EAMM, supplement B.1, LRW: A2FD alone. "The audio and pose source are directly taken
               from the test video, and the source image is randomly selected from the test video."
    mead-self  EAMM, supplement B.1, MEAD: the source is a random frame of a random neutral video of
               the test video's speaker; emotion and pose source is a neutral picture of another
               person, driven by the test video through FOMM. So there are two manifests, NAME_fomm
               for `generate.py fomm` first, then NAME, which points at what FOMM has made.

What a manifest names is written next to it: truth/<clip id>.mp4 with the sound (visually lossless),
audio/<clip id>.wav and, of the randomly chosen pictures, sources/<their clip id>_<frame>.png. They
are written whole or not at all, and left where they are already. The choice depends on the seed,
the clip's id and the corpus, not on the order of clips or on which of them are wanted.

Results have the truth's size, which test.py requires: EVP pastes its square clips whole (`--paste
crop`: with `face` all around the new face would be the truth itself); EAMM and FOMM take pictures
as they are (`--crop none`) and write them as large as the truth (`--size`).
"""

import hashlib
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Literal

import numpy as np
from tqdm import tqdm

from affekt.media.corpus import Clip, Corpus
from affekt.media.emotions import NEUTRAL
from affekt.media.plots import write_png
from affekt.media.video.video import write_video
from affekt.runtime.batch import Fingerprints, ResultFolder
from affekt.runtime.files import replacing
from affekt.runtime.manifest import write_manifest_file

Kind = Literal["evp", "lrw-self", "mead-self"]
Row = dict[str, str]

# Of generate.py, and from "speaker" on of test.py alone.
COLUMNS = ("clip_id", "source", "audio", "pose", "emotion", "target",
           "speaker", "label", "sentence", "split", "truth")  # fmt: skip
PROFILES: dict[Kind, str] = {"evp": "portrait", "lrw-self": "eamm", "mead-self": "eamm"}
WITHOUT_CROP = "--crop none"  # of generate.py: the picture is a crop already


class LeftOutError(ValueError):
    """A protocol does not apply to this clip; the others go on."""


class FrameSampler:
    """Random frames for a clip; they depend on the seed and the clip, not on other clips."""

    def __init__(self, corpus: Corpus, seed: int) -> None:
        """Note the neutral clips of every speaker."""
        self.seed = seed
        self.neutral: dict[str, list[Clip]] = {}
        for clip in sorted(corpus.clips(emotion=NEUTRAL), key=lambda clip: clip.id):
            self.neutral.setdefault(clip.speaker, []).append(clip)

    def frame(self, clip: Clip, what: str, clips: Sequence[Clip] = ()) -> tuple[Clip, int]:
        """Return a random frame of the clip itself, or of a random one of `clips`."""
        random = self._random(clip, what)
        chosen = clips[int(random.integers(len(clips)))] if clips else clip
        return chosen, int(random.integers(chosen.frames))

    def own_neutral(self, clip: Clip, what: str) -> tuple[Clip, int]:
        """Return a random frame of a random neutral clip of the speaker, not this one."""
        others = [each for each in self.neutral.get(clip.speaker, []) if each.id != clip.id]
        if not others:
            raise LeftOutError(f"speaker {clip.speaker} has no other neutral clip")
        return self.frame(clip, what, others)

    def other_identity(self, clip: Clip, what: str) -> tuple[Clip, int]:
        """Return a random frame of a random neutral clip of a random other speaker."""
        speakers = sorted(self.neutral.keys() - {clip.speaker})
        if not speakers:
            raise LeftOutError(f"there is no neutral clip of anyone but {clip.speaker}")
        speaker = speakers[int(self._random(clip, f"{what}: who").integers(len(speakers)))]
        return self.frame(clip, what, self.neutral[speaker])

    def _random(self, clip: Clip, what: str) -> np.random.Generator:
        return np.random.default_rng(int(digest(self.seed, clip.id, what), 16))


@dataclass(frozen=True)
class _Stored:
    """The files of a true video."""

    frames: Path
    audio: Path


class Export:
    """Files of a corpus, written next to a manifest; their names are relative to it."""

    def __init__(self, folder: Path) -> None:
        """Read what was exported to there before."""
        self.folder, self.truths = folder, ResultFolder(folder / "truth")
        self.fingerprints = Fingerprints()

    def truth(self, clip: Clip) -> str:
        """Write the clip as a video with its sound.

        Raises:
            LeftOutError: the clip is silent.
            ValueError: a clip of this name was exported from something else.
        """
        samples = clip.audio()
        if not samples.any():
            raise LeftOutError("it has no sound")
        # A video of this name must come from the same frames and sound
        store, place = clip.store(), self.truths.path(clip.id)
        found = self.fingerprints.of(_Stored(store.path, clip.folder / "audio.wav"))
        exported = self.truths.fingerprint(clip.id)
        if exported not in (None, found):
            raise ValueError(
                f"{place} was made from other frames or sound than {clip.folder} holds now; take a "
                "folder of its own for each corpus, and a new one where it was prepared anew"
            )
        # An unchanged clip is not written again
        if not self.truths.holds(clip.id, found):
            write_video(place, (store[k] for k in range(len(store))), samples)
            self.truths.add(clip.id, found)
        return self._name(place)

    def sound(self, clip: Clip) -> str:
        """Copy the clip's sound."""
        place = self.folder / "audio" / f"{clip.id}.wav"
        with replacing(place) as temporary:
            shutil.copyfile(clip.folder / "audio.wav", temporary)
        return self._name(place)

    def picture(self, clip: Clip, frame: int) -> str:
        """Write one of the clip's frames."""
        place = self.folder / "sources" / f"{clip.id}_{frame:04d}.png"
        write_png(place, clip.store()[frame])
        return self._name(place)

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()


@dataclass(frozen=True)
class Written:
    """The files written, and the next commands."""

    manifest: Path  # all clips
    truth: Path  # folder
    clips: int
    left_out: dict[str, str]  # clip id: why
    commands: tuple[str, ...]  # that make the results, in order
    results: Path  # folder that they go to

    def text(self, protocol: str) -> str:
        """Return this as lines for people, up to the command that measures."""
        lines = [f"{self.clips} clips written to {self.manifest}, their truth to {self.truth}"]
        lines += [f"left out: {clip}: {why}" for clip, why in self.left_out.items()]
        paths = {"results": self.results, "truth": self.truth, "manifest": self.manifest}
        named = " ".join(f"--{name} {quote(str(path))}" for name, path in paths.items())
        scores = quote(f"{self.results}_scores")
        run = f"python test.py run --protocol {quote(protocol)} {named} --out {scores}"
        return "\n".join([*lines, "next:", *(f"    {each}" for each in (*self.commands, run))])


def write_manifest(
    corpus: Corpus,
    kind: Kind,
    split: str,
    out_csv: Path,
    seed: int = 0,
    speaker: str | None = None,
    limit: int | None = None,
) -> Written:
    """Write the manifest of a kind of protocol, and the files that it names next to it.

    Args:
        corpus: prepared with frames of profile portrait (evp) or eamm (the others), and with sound.
        kind: see above.
        split, speaker: of the wanted clips; speaker None: every one.
        out_csv: the file to write; other files go next to it, so each corpus needs its own folder.
        seed: of the random choices.
        limit: at most so many clips of each speaker, at random; None: all.

    Raises:
        ValueError: an unknown kind, a corpus of another profile or without such clips, one that
            lacks inputs that the protocol chooses for every clip, or files of another corpus there.
    """
    _check(corpus, kind, out_csv)
    # The clips, and what writes the row of one with the files it names
    clips = _wanted(corpus, split, seed, speaker, limit)
    sampler, export = FrameSampler(corpus, seed), Export(out_csv.parent)
    rows, left_out = [], {}
    # A clip that cannot be used is left out with its reason
    for clip in tqdm(clips, "clips", unit="clip"):
        try:
            rows.append((clip, _row(kind, clip, sampler, export, _fomm_csv(out_csv).stem)))
        except LeftOutError as error:
            left_out[clip.id] = str(error)
    if not rows:
        raise ValueError(f"no clip is left of {corpus.root}: {next(iter(left_out.values()))}")
    # The CSV, and the commands that generate its results
    commands = _written(kind, out_csv, rows)
    results = out_csv.with_suffix("")
    return Written(out_csv, export.truths.folder, len(rows), left_out, commands, results)


def digest(seed: int, clip_id: str, what: str) -> str:
    """Return 64 hexadecimal digits that seed, clip and purpose determine."""
    return hashlib.sha256(f"{seed}/{clip_id}/{what}".encode()).hexdigest()


def _row(kind: Kind, clip: Clip, sampler: FrameSampler, export: Export, driven: str) -> Row:
    """Write the files of a clip; return their names by column. `driven` is FOMM's folder."""
    # Draws come first: nothing is written of a clip that is left out.
    if kind == "mead-self":
        own, other = sampler.own_neutral(clip, "source"), sampler.other_identity(clip, "driven")
    truth = export.truth(clip)
    row = {"audio": export.sound(clip), "truth": truth}
    if kind == "evp":
        return row | {"target": truth}
    if kind == "lrw-self":
        source = export.picture(*sampler.frame(clip, "source"))
        return row | {"source": source, "pose": truth, "emotion": "none"}
    video = f"{driven}/{clip.id}.mp4"
    pictures = {"source": export.picture(*own), "driven": export.picture(*other)}
    return row | pictures | {"pose": video, "emotion": video}


def _check(corpus: Corpus, kind: Kind, out_csv: Path) -> None:
    if kind not in PROFILES:
        raise ValueError(f"unknown kind of manifest {kind!r}; known: {', '.join(PROFILES)}")
    profile, wanted = corpus.info.get("profile"), PROFILES[kind]
    if profile != wanted:
        raise ValueError(
            f"{corpus.root} has frames of profile {profile!r}, a manifest of kind {kind} wants "
            f"{wanted!r}; prepare it with frames.profile={wanted}"
        )
    if out_csv.suffix.lower() != ".csv":
        raise ValueError(f"the manifest is {out_csv}, wanted the name of a .csv file")


def _wanted(
    corpus: Corpus, split: str, seed: int, speaker: str | None, limit: int | None
) -> list[Clip]:
    """Return the wanted clips, sorted by id; where there is a limit, a random choice."""
    if limit is not None and limit < 1:
        raise ValueError(f"--limit is {limit}, wanted at least 1")
    found = corpus.clips(split=split, speaker=speaker)
    if not found:
        whose = "" if speaker is None else f" of speaker {speaker!r}"
        raise ValueError(f"{corpus.root} has no clips of split {split!r}{whose}")
    shuffled = sorted(found, key=lambda clip: digest(seed, clip.id, "limit"))
    each = {clip.speaker: [c for c in shuffled if c.speaker == clip.speaker] for clip in found}
    return sorted((c for own in each.values() for c in own[:limit]), key=lambda clip: clip.id)


def _written(kind: Kind, out_csv: Path, rows: Sequence[tuple[Clip, Row]]) -> tuple[str, ...]:
    """Write the manifests; return the commands that make their videos."""
    _write(out_csv, rows)
    results = out_csv.with_suffix("")
    speakers = sorted({clip.speaker for clip, _ in rows}) if kind == "evp" else []
    if len(speakers) == 1:
        return (_command("evp", "--run RUN", out_csv, results, "--paste crop"),)
    # EVP's network renders one person, so each has a manifest.
    commands = []
    for speaker in speakers:
        own, run = out_csv.with_name(f"{out_csv.stem}_{speaker}.csv"), f"--run RUN_OF_{speaker}"
        _write(own, [(clip, row) for clip, row in rows if clip.speaker == speaker])
        commands.append(_command("evp", run, own, results, "--paste crop"))
    if kind == "evp":
        return tuple(commands)
    look = f"{WITHOUT_CROP} --size {rows[0][0].crop().size[0]}"
    command = _command("eamm", "--run RUN", out_csv, results, look)
    if kind == "lrw-self":
        return (command,)
    fomm = _fomm_csv(out_csv)
    driven = [(clip, {"source": row["driven"], "pose": row["truth"]}) for clip, row in rows]
    _write(fomm, driven)
    # Keypoints as they are, not --relative: a happy clip's first frame is happy already, and motion
    # from there on would leave its emotion out.
    crops = f"{WITHOUT_CROP} --driving-crop none"
    return (_command("fomm", "--fomm RUN/fomm", fomm, fomm.with_suffix(""), crops), command)


def _write(path: Path, rows: Iterable[tuple[Clip, Row]]) -> None:
    described = []
    for clip, row in rows:
        clip_cells = {"clip_id": clip.id, "speaker": clip.speaker, "label": clip.emotion}
        clip_cells |= {"sentence": clip.sentence, "split": clip.split}
        described.append({name: (row | clip_cells).get(name, "") for name in COLUMNS})
    write_manifest_file(path, COLUMNS, described)


def _fomm_csv(out_csv: Path) -> Path:
    return out_csv.with_name(f"{out_csv.stem}_fomm.csv")


def _command(system: str, run: str, manifest: Path, out: Path, options: str) -> str:
    paths = f"--manifest {quote(str(manifest))} --out {quote(str(out))}"
    return f"python generate.py {system} {run} {paths} {options}"
