"""`test.py user-study`: write the forms of a user study, and count its answers."""

import argparse
import sys
from pathlib import Path

from affekt.evaluation.pairing import find_pairs, find_videos
from affekt.evaluation.tables.table import render
from affekt.evaluation.user_study.answers import read_sheets, study_table
from affekt.evaluation.user_study.study import (
    PROTOCOLS,
    REAL,
    choose_clips,
    choose_examples,
    make_study,
    read_key,
    write_study,
)
from affekt.runtime.files import write_json, write_text

HELP = "write the forms of a user study; count its answers"
DESCRIPTION = """Run EVP's Figure 6 or Xu et al.'s Table 2: a folder of forms, and what they answer.

    python test.py user-study export --results ours=runs/evp/videos --results other=videos/other \\
        --truth data/mead --out studies/first --participants 50
    python test.py user-study import --study studies/first --answers answers --out results/study

Export writes STUDY/public, for participants (a folder or a web server's; participant N opens
index.html?p=N), and STUDY/private/key.json, which they must not see. Speakers and emotions come
from a prepared corpus or a --manifest. Import reads the files that the forms saved, lists those
that do not fit, and writes results.json, results.md and results.tex.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    actions = parser.add_subparsers(dest="action", required=True)
    add = actions.add_parser("export", help="write the forms of a study").add_argument
    add("--results", action="append", required=True, metavar="NAME=DIR",
        help="a method and its folder of videos, named by clip id; once for each")  # fmt: skip
    add("--truth", type=Path, required=True, help="folder of true videos, or a prepared corpus")
    add("--out", type=Path, required=True, help="folder of the study, a new one")
    add("--protocol", choices=sorted(PROTOCOLS), default="evp-fig6")
    add("--participants", type=int, default=50)
    add("--each", type=int, help="videos of each part that a participant sees; default: all")
    add("--clips", type=int, help="of each speaker and emotion; default: the protocol's")
    add("--manifest", type=Path, help="CSV: clip_id, speaker, label, source")
    add("--split", default="test_sentence", help="of a prepared corpus")
    add("--seed", type=int, default=0, help="of clips, numbers and order; keep it with the key")
    add = actions.add_parser("import", help="count the answers").add_argument
    add("--study", type=Path, required=True, help="the folder that export wrote")
    add("--answers", type=Path, required=True, help="folder of answers (*.json)")
    add("--out", type=Path, required=True, help="folder for the figures")


def main(args: argparse.Namespace) -> int:
    """Run the command.

    Raises:
        OSError, ValueError: input that makes no study, or no answers that count.
    """
    return _export(args) if args.action == "export" else _import(args)


def _export(args: argparse.Namespace) -> int:
    results: dict[str, dict[str, Path]] = {}
    for text in args.results:
        name, _, folder = text.partition("=")
        if not (name and folder):
            raise ValueError(f"--results {text!r}: wanted NAME=DIR")
        if name in (REAL, *results):
            raise ValueError(f"--results {text!r}: the name {name!r} is taken")
        results[name] = find_videos(Path(folder))
    truths = find_pairs(None, args.truth, args.split, args.manifest).pairs
    # The clips of the study, as many of each speaker and emotion.
    protocol = PROTOCOLS[args.protocol]
    have = {name: set(videos) for name, videos in results.items()}
    chosen = choose_clips(truths, have, args.clips or protocol.clips, args.seed)
    # The clips that show the emotions before they are asked.
    examples = choose_examples(truths, chosen, args.seed) if "choose" in protocol.tasks else {}
    both = sorted(set(examples.values()) & {case.id for case in chosen})
    if both:
        sys.stderr.write(f"shown as examples and asked about too: {', '.join(both)}\n")
    # Numbers and orders, and the folder.
    study = make_study(
        args.protocol, [REAL, *results], chosen, examples, args.participants, args.each, args.seed
    )
    write_study(args.out, study, {case.id: case for case in truths}, results)
    sys.stdout.write(
        f"study {study.id}: {len(chosen)} clips of {len(study.methods)} methods; each of "
        f"{args.participants} participants rates {len(study.participants[0].rate)} videos\n"
        f"hand out {args.out / 'public'}: index.html?p=1 to ?p={args.participants}\n"
        f"keep {args.out / 'private'} to yourself\n"
    )
    return 0


def _import(args: argparse.Namespace) -> int:
    study = read_key(args.study)
    sheets, refused = read_sheets(args.answers, study)
    sys.stderr.writelines(f"not counted: {name}: {why}\n" for name, why in refused.items())
    if not sheets:
        raise ValueError(f"none of the {len(refused)} files *.json of {args.answers} counts")
    table = study_table(sheets, study)
    record = table.as_json() | {"participants": len(sheets), "refused": refused}
    write_json(args.out / "results.json", record)
    write_text(args.out / "results.md", render(table, "md"))
    write_text(args.out / "results.tex", render(table, "tex"))
    sys.stdout.write(render(table, "md"))
    return 0
