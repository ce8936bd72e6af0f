"""The long proof that nothing is lost, nothing is read wrongly and nothing hostile gets in.

    make soak                                        all parts; 10 minutes of processor time
    python -m tests.soak kills --count 10 --out /tmp/soak
                                                     one part, ten of its cases

A case that is done is not run again, so that the same command goes on after a stop; --again
begins the parts named from nothing. OUT holds soak.txt and soak.json, the table; PART.jsonl, a
line a case; and PART/cases/CASE.log, all that a case printed.
"""

import argparse
import json
import shutil
import sys
import time
from pathlib import Path

from affekt.markdown import markdown_table
from tests.soak import runner
from tests.soak.parts import PARTS
from tests.soak.runner import Part, Record


def main() -> int:
    """Run the parts named; return 0 where all that ran hold."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [part.name for part in PARTS]
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(names) + "; default all")
    parser.add_argument("--count", type=int, help="cases of each part; default: all")
    parser.add_argument("--out", type=Path, default=Path("runs/soak"), help="default runs/soak")
    parser.add_argument("--again", action="store_true", help="begin the parts from nothing")
    args = parser.parse_args()
    unknown = set(args.parts) - set(names)
    if unknown:
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    out = args.out.resolve()
    for part in PARTS:
        if part.name in (args.parts or names):
            if args.again:
                (out / f"{part.name}.jsonl").unlink(missing_ok=True)
                shutil.rmtree(out / part.name, ignore_errors=True)
            since = time.monotonic()
            runner.run(part, out, args.count or part.asked)
            print(f"{part.name}: {time.monotonic() - since:.0f} s", flush=True)
    return report(out, args.parts or names)


def report(out: Path, names: list[str]) -> int:
    """Write and print the table of all that is known; return 0 where the parts named hold."""
    rows, plain = [], {}
    for part in PARTS:
        found = list(runner.records(out, part).values())
        if found:
            plain[part.name] = summary(part, found)
            rows.append([str(value) for value in (part.name, *plain[part.name].values())])
    head = ["part", *next(iter(plain.values()), {})]
    text = markdown_table(head, rows, left=(0, 1, len(head) - 1))
    (out / "soak.txt").write_text(text + "\n", encoding="utf-8")
    (out / "soak.json").write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")
    print(text)
    return 0 if all(plain[name]["holds"] for name in names if name in plain) else 1


def summary(part: Part, found: list[Record]) -> dict[str, object]:
    """Return the line of a part."""
    failed = [record.case for record in found if not record.passed]
    return {
        "claim": part.claim,
        "asked": part.asked,
        "tried": len(found),
        "passed": len(found) - len(failed),
        "holds": len(failed) <= part.allowed and len(found) >= part.asked - part.allowed,
        "CPU seconds": round(sum(record.cpu_seconds for record in found)),
        "largest MB": round(max(record.megabytes for record in found)),
        "failed": ", ".join(failed[:5]) + (" ..." if len(failed) > 5 else ""),
    }


if __name__ == "__main__":
    sys.exit(main())
