"""`test.py check`: check an evaluation's input before measuring, or write a manifest.

Manifests of generate.py list the videos that a protocol needs, with their inputs, by kind:

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

Results show what the network has rendered and nothing of the truth, in the truth's size, which
test.py requires: the target or picture is taken as it is (`--crop none`) and the rendered crop is
written alone and as large as the truth (EVP: `--frame crop`; EAMM, FOMM: `--size`).
"""

import argparse
import hashlib
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

import numpy as np
from tqdm import tqdm

from affekt.evaluation.commands import BAD_INPUT
from affekt.evaluation.commands.run import some
from affekt.evaluation.pairing import Pairing, find_pairs, problems
from affekt.evaluation.protocol import ManifestKind, Protocol, load_protocol
from affekt.media.corpus import Clip, Corpus, by_speaker
from affekt.media.emotions import NEUTRAL
from affekt.media.plots import write_png
from affekt.media.video.video import write_video
from affekt.runtime.batch import Fingerprints, ResultFolder
from affekt.runtime.files import replacing
from affekt.runtime.manifest import write_manifest_file

CsvRow = dict[str, str]

# Of generate.py, and from "speaker" on of test.py alone.
COLUMNS = ("clip_id", "source", "audio", "pose", "emotion", "target",
           "speaker", "label", "sentence", "split", "truth")  # fmt: skip
PROFILES: dict[ManifestKind, str] = {"evp": "portrait", "lrw-self": "eamm", "mead-self": "eamm"}

DESCRIPTION = """Check an evaluation's input without measuring anything, or write its manifest.

    python test.py check --results runs/evp/videos --truth data/mead --protocol evp-table1
    python test.py check --protocol eamm-mead --corpus data/mead --write-manifest results/mead.csv

The first counts clips that match, results that miss, have no truth, cannot be read, or have another
frame rate, size or length, and sound that misses or is out of step; exit code 2 if anything is
wrong. The second writes the CSV from which `generate.py evp|eamm|fomm --manifest` makes the videos
that a protocol measures, with the true videos and source pictures next to it, and prints the next
commands.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument("--protocol", default="evp-table1", help="default: evp-table1")
    parser.add_argument("--results", type=Path, help="folder of result videos")
    parser.add_argument("--truth", type=Path, help="folder of true videos, or a prepared corpus")
    parser.add_argument("--manifest", type=Path, help="CSV that names the clips")
    parser.add_argument("--corpus", type=Path, help="prepared corpus, to write a manifest from")
    parser.add_argument("--write-manifest", type=Path, metavar="CSV", help="file to write")
    parser.add_argument("--speaker", help="of the manifest's clips; default: every speaker")
    parser.add_argument("--split", help="of a prepared corpus; default: the protocol's")
    parser.add_argument("--limit", type=int, help="so many clips of each speaker, by the seed")
    parser.add_argument("--seed", type=int, default=0, help="of what the manifest draws")


def main(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    protocol = load_protocol(args.protocol)
    split = args.split or protocol.split
    if args.write_manifest is None:
        if args.results is None or args.truth is None:
            raise ValueError("check needs --results and --truth, or --corpus and --write-manifest")
        pairing = find_pairs(args.results, args.truth, split, args.manifest)
        return 0 if _report(pairing, protocol) else BAD_INPUT
    # The manifest of the protocol
    if args.corpus is None:
        raise ValueError("--write-manifest needs --corpus, a prepared corpus")
    if protocol.manifest == "none":
        raise ValueError(f"protocol {protocol.id} takes any videos; it has no manifest of its own")
    drawn = {"seed": args.seed, "speaker": args.speaker, "limit": args.limit}
    corpus, kind, path = Corpus(args.corpus), protocol.manifest, args.write_manifest
    _print(write_manifest(corpus, kind, split, path, **drawn).text(protocol.id))
    return 0


def _report(pairing: Pairing, protocol: Protocol) -> bool:
    counts: Counter[str] = Counter()
    for pair in pairing.pairs:
        found = list(problems(pair, protocol.length_slack))
        counts["as they should be"] += not found
        for word, sentence in found:
            counts[word] += 1
            _print(f"{pair.id}: {word}: {sentence}")
    summary = [f"{len(pairing.pairs)} clips match"]
    summary += [f"{number} {word}" for word, number in counts.items()]
    for word, clips in (("without a result", pairing.missing), ("without a truth", pairing.extra)):
        if clips:
            summary.append(f"{len(clips)} {word} ({some(clips)})")
    _print("; ".join(summary))
    return counts["as they should be"] == len(pairing.pairs) and not pairing.missing


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")


class LeftOutError(ValueError):
    """A protocol does not apply to this clip; the others go on."""


class FrameSampler:
    """Random frames for a clip; they depend on the seed and the clip, not on other clips."""

    def __init__(self, corpus: Corpus, seed: int) -> None:
        self.seed = seed
        self.neutral: dict[str, list[Clip]] = {}
        for clip in sorted(corpus.clips(emotion=NEUTRAL), key=lambda clip: clip.id):
            self.neutral.setdefault(clip.speaker, []).append(clip)
        self.speakers = sorted(self.neutral)

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
        others = len(self.speakers) - (clip.speaker in self.neutral)
        if not others:
            raise LeftOutError(f"there is no neutral clip of anyone but {clip.speaker}")
        place = int(self._random(clip, f"{what}: who").integers(others))
        # Among the others: the speaker's own place is passed over, without a list for each clip
        passed = clip.speaker in self.neutral and self.speakers[place] >= clip.speaker
        return self.frame(clip, what, self.neutral[self.speakers[place + passed]])

    def _random(self, clip: Clip, what: str) -> np.random.Generator:
        return np.random.default_rng(int(_digest(self.seed, clip.id, what), 16))


@dataclass(frozen=True)
class _Stored:
    """The files of a true video."""

    frames: Path
    audio: Path


class Export:
    """Files of a corpus, written next to a manifest; their names are relative to it."""

    def __init__(self, folder: Path) -> None:
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
        if self.truths.fingerprint(clip.id) not in (None, found):
            raise ValueError(
                f"{place} was made from other frames or sound than {clip.folder} holds now; take a "
                "folder of its own for each corpus, and a new one where it was prepared anew"
            )
        # An unchanged clip is not written again
        if not self.truths.holds(clip.id, found):
            write_video(place, (store[k] for k in range(len(store))), samples)
            self.truths.add(clip.id, found)
        return f"truth/{place.name}"

    def sound(self, clip: Clip) -> str:
        """Copy the clip's sound."""
        name = f"audio/{clip.id}.wav"
        with replacing(self.folder / name) as temporary:
            shutil.copyfile(clip.folder / "audio.wav", temporary)
        return name

    def picture(self, clip: Clip, frame: int) -> str:
        """Write one of the clip's frames."""
        name = f"sources/{clip.id}_{frame:04d}.png"
        write_png(self.folder / name, clip.store()[frame])
        return name


@dataclass(frozen=True)
class Written:
    """A manifest that was written, and the next commands."""

    manifest: Path  # all clips
    clips: int
    left_out: dict[str, str]  # clip id: why
    commands: list[str]  # that make the results, in order

    def text(self, protocol: str) -> str:
        """Return this as lines for people, up to the command that measures."""
        results, truth = self.manifest.with_suffix(""), self.manifest.parent / "truth"
        lines = [f"{self.clips} clips written to {self.manifest}, their truth to {truth}"]
        lines += [f"left out: {clip}: {why}" for clip, why in self.left_out.items()]
        paths = {"results": results, "truth": truth, "manifest": self.manifest}
        named = " ".join(f"--{name} {quote(str(path))}" for name, path in paths.items())
        scores = quote(f"{results}_scores")
        run = f"python test.py run --protocol {quote(protocol)} {named} --out {scores}"
        return "\n".join([*lines, "next:", *(f"    {each}" for each in (*self.commands, run))])


def write_manifest(
    corpus: Corpus,
    kind: ManifestKind,
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
        ValueError: a corpus of another profile or without such clips, one that lacks inputs that
            the protocol chooses for every clip, or files of another corpus there.
    """
    profile, wanted = corpus.info.get("profile"), PROFILES[kind]
    if profile != wanted:
        raise ValueError(
            f"{corpus.root} has frames of profile {profile!r}, a manifest of kind {kind} wants "
            f"{wanted!r}; prepare it with frames.profile={wanted}"
        )
    if out_csv.suffix.lower() != ".csv":
        raise ValueError(f"the manifest is {out_csv}, wanted the name of a .csv file")
    # The clips, and what writes the row of one with the files it names
    clips = _wanted(corpus, split, seed, speaker, limit)
    sampler, export = FrameSampler(corpus, seed), Export(out_csv.parent)
    rows, left_out = [], {}
    # A clip that cannot be used is left out with its reason
    for clip in tqdm(clips, "clips", unit="clip"):
        try:
            rows.append((clip, _row(kind, clip, sampler, export, f"{out_csv.stem}_fomm")))
        except LeftOutError as error:
            left_out[clip.id] = str(error)
    if not rows:
        raise ValueError(f"no clip is left of {corpus.root}: {next(iter(left_out.values()))}")
    return Written(out_csv, len(rows), left_out, _write_csvs(kind, out_csv, rows))


def _digest(seed: int, clip_id: str, what: str) -> str:
    """Return 64 hexadecimal digits that seed, clip and purpose determine."""
    return hashlib.sha256(f"{seed}/{clip_id}/{what}".encode()).hexdigest()


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
    shuffled = sorted(found, key=lambda clip: _digest(seed, clip.id, "limit"))
    each = by_speaker(shuffled).values()
    return sorted((clip for own in each for clip in own[:limit]), key=lambda clip: clip.id)


def _row(
    kind: ManifestKind, clip: Clip, sampler: FrameSampler, export: Export, fomm: str
) -> CsvRow:
    """Write the files of a clip; return their names by column. `fomm` is FOMM's folder."""
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
    video = f"{fomm}/{clip.id}.mp4"
    pictures = {"source": export.picture(*own), "driven": export.picture(*other)}
    return row | pictures | {"pose": video, "emotion": video}


def _write_csvs(kind: ManifestKind, csv: Path, rows: Sequence[tuple[Clip, CsvRow]]) -> list[str]:
    """Write the manifests; return the commands that make their videos."""
    _write_csv(csv, rows)
    results = csv.with_suffix("")
    if kind == "evp":
        whole = (
            "--crop none --frame crop"  # the target is a crop already, and nothing of it is shown
        )
        # EVP's network renders one person, so each has a manifest.
        people: dict[str, list[tuple[Clip, CsvRow]]] = {}
        for clip, row in rows:
            people.setdefault(clip.speaker, []).append((clip, row))
        if len(people) == 1:
            return [_command("evp", "--run RUN", csv, results, whole)]
        commands = []
        for speaker, theirs in sorted(people.items()):
            own, run = csv.with_name(f"{csv.stem}_{speaker}.csv"), f"--run RUN_OF_{speaker}"
            _write_csv(own, theirs)
            commands.append(_command("evp", run, own, results, whole))
        return commands
    crop = "--crop none"  # the picture is a crop already
    size = f"--size {rows[0][0].crop().size[0]}"
    command = _command("eamm", "--run RUN", csv, results, f"{crop} {size}")
    if kind == "lrw-self":
        return [command]
    fomm = csv.with_name(f"{csv.stem}_fomm.csv")
    _write_csv(fomm, [(clip, {"source": r["driven"], "pose": r["truth"]}) for clip, r in rows])
    # Keypoints as they are, not --relative: a happy clip's first frame is happy already, and motion
    # from there on would leave its emotion out.
    crops = f"{crop} --driving-crop none"
    return [_command("fomm", "--fomm RUN/fomm", fomm, fomm.with_suffix(""), crops), command]


def _write_csv(path: Path, rows: Iterable[tuple[Clip, CsvRow]]) -> None:
    described = []
    for clip, row in rows:
        clip_cells = {"clip_id": clip.id, "speaker": clip.speaker, "label": clip.emotion}
        clip_cells |= {"sentence": clip.sentence, "split": clip.split}
        described.append({name: (row | clip_cells).get(name, "") for name in COLUMNS})
    write_manifest_file(path, COLUMNS, described)


def _command(system: str, run: str, manifest: Path, out: Path, options: str) -> str:
    paths = f"--manifest {quote(str(manifest))} --out {quote(str(out))}"
    return f"python generate.py {system} {run} {paths} {options}"
