"""`test.py user-study`: forms that people fill in, and what their answers say."""

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

from affekt.evaluation.pairing import Case, find_videos, pair
from affekt.evaluation.user_study.answers import figures, read_sheets
from affekt.evaluation.user_study.design import (
    PROTOCOLS,
    REAL,
    SCHEMA,
    choose_clips,
    choose_examples,
    make_key,
    seen_by_method,
)
from affekt.evaluation.user_study.files import Footage, read_key, write_study
from affekt.evaluation.user_study.report import draw, markdown
from affekt.runtime.files import write_json, write_text

HELP = "make the forms of a user study; count its answers"
DESCRIPTION = """Ask people: EVP's Figure 6 or Xu et al.'s Table 2, as a folder of forms, and count.

    python test.py user-study export --results ours=runs/evp/videos --results other=videos/other \\
        --truth data/mead --out studies/first --participants 50
    python test.py user-study import --study studies/first --answers answers --out results/study

Export writes STUDY/public, which participants get (put it on any web server, or hand it over as a
folder; participant N opens index.html?p=N), and STUDY/private/key.json, which they must not see.
Nothing public tells which method made a video. Speakers and emotions come from a prepared corpus,
or from a --manifest. Import reads the answers files that the forms saved; what does not fit is
listed and left out. It writes results.json, results.md and results.png.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    actions = parser.add_subparsers(dest="action", required=True)
    export = actions.add_parser("export", help="write the forms of a study")
    export.add_argument(
        "--results",
        action="append",
        required=True,
        metavar="NAME=DIR",
        help="a method and its folder of videos, named by clip id; once for each",
    )
    export.add_argument(
        "--truth", type=Path, required=True, help="folder of true videos, or a prepared corpus"
    )
    export.add_argument("--out", type=Path, required=True, help="folder of the study, a new one")
    export.add_argument("--protocol", choices=sorted(PROTOCOLS), default="evp-fig6")
    export.add_argument("--participants", type=int, default=50)
    export.add_argument(
        "--each", type=int, help="videos that a participant sees in each part; default: all"
    )
    export.add_argument(
        "--clips", type=int, help="of each speaker and emotion; default: the protocol's"
    )
    export.add_argument("--manifest", type=Path, help="CSV: clip_id, speaker, label, source")
    export.add_argument("--split", default="test_sentence", help="of a prepared corpus")
    export.add_argument("--seed", type=int, default=0, help="keep it secret, like the key")
    export.add_argument("--unbalanced", action="store_true", help="go on though clips are missing")
    counted = actions.add_parser("import", help="count the answers")
    counted.add_argument("--study", type=Path, required=True, help="the folder that export wrote")
    counted.add_argument("--answers", type=Path, required=True, help="folder of answers (*.json)")
    counted.add_argument("--out", type=Path, required=True, help="folder for the figures")
    counted.add_argument(
        "--incomplete", action="store_true", help="count sheets with answers missing too"
    )


def main(args: argparse.Namespace) -> int:
    """Run the command.

    Raises:
        OSError, ValueError: input that makes no study, or no answers that count.
    """
    return _export(args) if args.action == "export" else _import(args)


def _export(args: argparse.Namespace) -> int:
    protocol = PROTOCOLS[args.protocol]
    truths = {case.id: case for case in pair(None, args.truth, args.split, args.manifest).cases}
    results = {name: find_videos(folder) for name, folder in _named(args.results).items()}
    have = {name: set(videos) for name, videos in results.items()}
    wanted = protocol.clips if args.clips is None else args.clips
    chosen, gaps = choose_clips(list(truths.values()), have, wanted, args.seed)
    for gap in gaps:
        sys.stderr.write(f"not balanced: {gap}\n")
    if gaps and not args.unbalanced:
        raise ValueError(
            f"{len(gaps)} speakers and emotions have too few clips, see above; make the missing "
            "videos, ask for fewer by --clips, or go on with --unbalanced"
        )
    examples = _examples(list(truths.values()), chosen, args) if protocol.emotion else {}
    methods = [REAL, *results]
    key = make_key(protocol, methods, chosen, examples, args.participants, args.each, args.seed)
    write_study(args.out, key, Footage(truths, results))
    seen = [count for counts in seen_by_method(key) for count in counts.values()]
    sys.stdout.write(
        f"study {key.study}: {len(chosen)} clips of {len(methods)} methods; each of "
        f"{args.participants} participants sees {min(seen)} to {max(seen)} videos of a method\n"
        f"hand out {args.out / 'public'}: index.html?p=1 to ?p={args.participants}\n"
        f"keep {args.out / 'private'} to yourself\n"
    )
    return 0


def _import(args: argparse.Namespace) -> int:
    key = read_key(args.study)
    sheets, refused = read_sheets(args.answers, key, args.incomplete)
    for each in refused:
        sys.stderr.write(f"not counted: {each.file}: {each.reason}\n")
    if not sheets:
        raise ValueError(f"none of the {len(refused)} files of {args.answers} counts")
    found = figures(sheets, key)
    record = {"schema": SCHEMA, **found, "refused": [asdict(each) for each in refused]}
    write_json(args.out / "results.json", record)
    write_text(args.out / "results.md", markdown(found, key, refused))
    draw(args.out / "results.png", found)
    sys.stdout.write(markdown(found, key, refused))
    return 0


def _examples(truths: list[Case], chosen: list[Case], args: argparse.Namespace) -> dict[str, str]:
    """Return the clips that show the emotions, and say which of them are asked about too."""
    examples = choose_examples(truths, chosen, args.seed)
    asked = sorted(set(examples.values()) & {case.id for case in chosen})
    if asked:
        sys.stderr.write(f"shown as examples and asked about too: {', '.join(asked)}\n")
    return examples


def _named(pairs: list[str]) -> dict[str, Path]:
    """Return the folders by name.

    Raises:
        ValueError: no NAME=DIR, a name twice, or the name of the real videos.
    """
    named: dict[str, Path] = {}
    for text in pairs:
        name, sign, folder = text.partition("=")
        if not (name and sign and folder):
            raise ValueError(f"--results {text!r}: wanted NAME=DIR")
        if name in named or name == REAL:
            raise ValueError(f"--results {text!r}: the name {name!r} is taken")
        named[name] = Path(folder)
    return named
