"""`test.py check`: check an evaluation's input before measuring, or write a manifest."""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from affekt.evaluation.commands import BAD_INPUT
from affekt.evaluation.commands.run import some
from affekt.evaluation.manifest import write_manifest
from affekt.evaluation.pairing import ClipPair, Pairing, find_pairs
from affekt.evaluation.protocol import Protocol, load_protocol
from affekt.evaluation.video import VideoShape, mismatch
from affekt.media.constants import FRAME_RATE
from affekt.media.corpus import Clip, Corpus
from affekt.media.video.container import MediaError
from affekt.media.video.video import VideoInfo, probe

HELP = "check the input; write the manifest of a protocol"
DESCRIPTION = """Check an evaluation's input without measuring anything, or write its manifest.

    python test.py check --results runs/evp/videos --truth data/mead --protocol evp-table1
    python test.py check --protocol eamm-mead --corpus data/mead --write-manifest results/mead.csv

The first counts clips that match, results that miss, have no truth, cannot be read, or have another
frame rate, size or length, and sound that misses; exit code 2 if anything is wrong. The second
writes the CSV from which `generate.py evp|eamm|fomm --manifest` makes the videos that a protocol
measures, with the true videos and source pictures beside it, and prints the next commands.
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
    if args.write_manifest is not None:
        return _write(args, protocol)
    if args.results is None or args.truth is None:
        raise ValueError("check needs --results and --truth, or --corpus and --write-manifest")
    pairing = find_pairs(args.results, args.truth, args.split or protocol.split, args.manifest)
    return 0 if _report(pairing, protocol) else BAD_INPUT


def problems(pair: ClipPair, slack: int) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a clip: a word to count it by, and a sentence."""
    assert pair.result is not None
    try:
        result = probe(pair.result)
        truth = probe(pair.truth) if isinstance(pair.truth, Path) else _stored(pair.truth)
    except MediaError as error:
        yield "unreadable", str(error)
        return
    yield from mismatch(_shape(result), _shape(truth), slack).items()
    if not truth.has_audio:
        yield "no sound", "the truth has no sound, so that there are no sync figures"
    if pair.source is not None and not pair.source.is_file():
        yield "no source", f"the source picture {pair.source} is not there"


def _shape(info: VideoInfo) -> VideoShape:
    return VideoShape(info.fps, (info.width, info.height), info.frames)


def _stored(clip: Clip) -> VideoInfo:
    width, height = clip.crop().size
    return VideoInfo(width, height, FRAME_RATE, clip.frames, clip.frames / FRAME_RATE, True)


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


def _write(args: argparse.Namespace, protocol: Protocol) -> int:
    if args.corpus is None:
        raise ValueError("--write-manifest needs --corpus, a prepared corpus")
    if protocol.manifest == "none":
        raise ValueError(f"protocol {protocol.id} takes any videos; it has no manifest of its own")
    corpus, split = Corpus(args.corpus), args.split or protocol.split
    drawn = {"seed": args.seed, "speaker": args.speaker, "limit": args.limit}
    written = write_manifest(corpus, protocol.manifest, split, args.write_manifest, **drawn)
    _print(written.text(protocol.id))
    return 0


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
