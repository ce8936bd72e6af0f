"""Whether a prepared corpus is whole: sizes, counts and digests that data_prep writes beside it.

    corpus.json   "lists": lines and SHA-256 of manifest.jsonl and quarantine.jsonl
    clip.json     "files": size and SHA-256 of the files of the clip that prepare writes
    pose.json     the same of pose.npy, which the pose step writes; flow.json of flow.pngs, mel.json
                  of mel.npy, expression.json of expression.npy
    pairs.json    "lists" of pairs.jsonl, whose lines have size and SHA-256 of their files, and of
                  left_out.jsonl; all in pairs/

They end in a seal, the SHA-256 of their own text before it; so do pose.json, flow.json, mel.json of
the corpus and shard.json, whose "files" are none, and its expression.json, whose "files" are what
the coefficients of all clips share. Opening a corpus checks corpus.json and the
manifest; the first look into a clip, its clip.json and the sizes of its files; reading pairs, their
list; `python -m data_prep.inspect CORPUS --verify`, everything. A corpus prepared before there were
seals has none of the keys above: it is read as it was.
"""

import hashlib
import json
import typing as tp
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from affekt.runtime.files import (
    TEMPORARY,
    DamagedFileError,
    read_json,
    read_jsonl,
    sha256,
    write_text,
)

Row = dict[str, tp.Any]

CORPUS, CLIP, POSE, FLOW = "corpus.json", "clip.json", "pose.json", "flow.json"
MEL, EXPRESSION = "mel.json", "expression.json"
SHARD, PAIRS = "shard.json", "pairs.json"
MANIFEST, QUARANTINE = "manifest.jsonl", "quarantine.jsonl"
PAIR_FOLDER, PAIR_LIST, LEFT_OUT = "pairs", "pairs.jsonl", "left_out.jsonl"
# The key without which a file is of before.
SEALED_BY = dict.fromkeys((CORPUS, PAIRS), "lists")
SEALED_BY |= dict.fromkeys((CLIP, POSE, FLOW, MEL, EXPRESSION, SHARD), "files")
SEAL = ',\n  "seal": "'  # the beginning of the last entry
PREPARE = "run python -m data_prep.prepare"
MAKERS = {
    POSE: "run python -m data_prep.pose",
    FLOW: "run python -m data_prep.flow",
    MEL: "run python -m data_prep.mel",
    EXPRESSION: "run python -m data_prep.expression",
    SHARD: "run the same data_prep.prepare",
}
AGAIN = "run the same data_prep.prepare, which writes it anew"
PAIRS_AGAIN = "run the same data_prep.pairs, which writes it anew"
ANEW = "remove the clip's folder, then run the same data_prep.prepare, which makes it anew"


def write_sealed(path: Path, record: Row) -> None:
    """Write a record as indented JSON whose last entry is the SHA-256 of all text before it."""
    record = {key: value for key, value in record.items() if key != "seal"}
    record.setdefault(SEALED_BY[path.name], {})
    text = json.dumps(record, indent=2, allow_nan=False).removesuffix("\n}")
    write_text(path, f'{text}{SEAL}{_digest(text.encode())}"\n}}\n')


def read_sealed(path: Path, remedy: str = PREPARE) -> Row:
    """Read one of the files that end in a seal and check it; one of before has none.

    Raises:
        FileNotFoundError: no such file; `remedy` is appended.
        DamagedFileError: it is no JSON, or not as it was written.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; {remedy}")
    try:
        record = read_json(path)
        text, seal, end = path.read_bytes().rpartition(SEAL.encode())
    except ValueError as error:
        raise DamagedFileError(f"{path} is damaged ({error}); {remedy}") from None
    fits = isinstance(record, dict)
    if fits and (seal or SEALED_BY[path.name] in record):
        fits = end == f'{_digest(text)}"\n}}\n'.encode()
    if not fits:
        raise DamagedFileError(f"{path} is damaged: it is not as it was written; {remedy}")
    return tp.cast(Row, record)


def write_lists(root: Path, lists: Mapping[str, Sequence[Row]], record: str = CORPUS) -> None:
    """Write lists, such as manifest and quarantine of a corpus, and their entries in corpus.json.

    A reader finds each list old or new, never mixed, and so does the next run where this one is
    killed midway: the record accepts both while they are replaced. Lists that are as they should
    be are not touched.

    Args:
        root: of the corpus, or of its pairs.
        lists: lines by file name.
        record: the sealed file, which is there, that holds their entries.
    """
    info = read_sealed(root / record)
    texts = {
        name: "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
        for name, rows in lists.items()
    }
    new = {name: [_list_entry(text.encode())] for name, text in texts.items()}
    there = {
        name: [_list_entry((root / name).read_bytes())] for name in lists if (root / name).is_file()
    }
    known = info.get("lists", {})
    if known == there == new:
        return
    both = {name: [*(known.get(name) or there.get(name, [])), *new[name]] for name in lists}
    write_sealed(root / record, info | {"lists": both})
    for name, text in texts.items():
        write_text(root / name, text)
    write_sealed(root / record, info | {"lists": new})


def check_list(root: Path, info: Row, name: str, remedy: str = AGAIN) -> None:
    """Refuse a list that is not as it was written; `info` is the record with its entry.

    Two entries are accepted while a list is replaced, the old one and the new one.

    Raises:
        DamagedFileError: with the lines found and wanted.
    """
    accepted = info.get("lists", {}).get(name)
    if accepted is None:
        return
    if not (root / name).is_file():
        raise DamagedFileError(f"{root / name} is missing; {remedy}")
    found = _list_entry((root / name).read_bytes())
    if found not in accepted:
        wanted = " or ".join(str(entry["lines"]) for entry in accepted)
        raise DamagedFileError(
            f"{root / name} is damaged: it has {found['lines']} lines, wanted {wanted}, or was "
            f"changed; {remedy}"
        )


def described(folder: Path, *names: str) -> dict[str, list[int | str]]:
    """Return size and SHA-256 of files of a clip's folder, by name; of all but CLIP, if none is."""
    if not names:
        found = (path.name for path in folder.iterdir() if not path.name.startswith(TEMPORARY))
        names = tuple(sorted(name for name in found if name != CLIP))
    return {name: [(folder / name).stat().st_size, sha256(folder / name)] for name in names}


def check_sizes(folder: Path) -> None:
    """Refuse a clip whose clip.json is damaged or whose files have other sizes than it says.

    A file that is absent is not looked for: its reader says so, with the command that makes it.

    Raises:
        DamagedFileError: with the file, and the sizes found and wanted.
    """
    if (folder / CLIP).is_file():
        wrong = list(_wrong_sizes(folder, read_sealed(folder / CLIP, ANEW)))
        if wrong:
            raise DamagedFileError(f"{wrong[0]}; {ANEW}")


def whole_record(folder: Path) -> Row:
    """Return a clip's clip.json, or {} where it, or the size of one of the files, is not right."""
    try:
        record = read_sealed(folder / CLIP)
        missing = (name for name in record.get("files", {}) if not (folder / name).is_file())
        return {} if any(missing) or any(_wrong_sizes(folder, record)) else record
    except (FileNotFoundError, DamagedFileError):
        return {}


def clip_faults(folder: Path) -> list[str]:
    """Return what is damaged or missing of a clip, a line a file; all of its bytes are read."""
    faults = list(_faults_of(folder, CLIP, ANEW))
    for name, maker in MAKERS.items():
        if (folder / name).is_file():
            faults += _faults_of(folder, name, f"remove it, then {maker}")
    return faults


def corpus_faults(root: Path, info: Row) -> list[str]:
    """Return what is damaged or missing beside the clips, a line a file; `info` is corpus.json.

    Corpus.json and the manifest were checked when the corpus was opened.
    """
    faults: list[str] = []
    for name, maker in MAKERS.items():
        if (root / name).is_file():
            faults += _faults_of(root, name, f"remove it, then {maker}")
    try:
        check_list(root, info, QUARANTINE)
    except DamagedFileError as error:
        faults.append(str(error))
    if (root / PAIR_FOLDER / PAIRS).is_file():
        faults += _pair_faults(root / PAIR_FOLDER)
    return faults


def check_pairs(root: Path) -> list[Row]:
    """Return the lines of a corpus' pairs.jsonl, which is there, and check it if it can be.

    Raises:
        DamagedFileError: it is not as data_prep.pairs wrote it.
    """
    folder = root / PAIR_FOLDER
    if (folder / PAIRS).is_file():
        check_list(folder, read_sealed(folder / PAIRS, PAIRS_AGAIN), PAIR_LIST, PAIRS_AGAIN)
    return read_jsonl(folder / PAIR_LIST)


def _pair_faults(folder: Path) -> list[str]:
    try:
        rows = check_pairs(folder.parent)
        check_list(folder, read_sealed(folder / PAIRS, PAIRS_AGAIN), LEFT_OUT, PAIRS_AGAIN)
        files = {row["file"]: (row["size"], row["sha256"]) for row in rows}
    except (OSError, DamagedFileError) as error:
        return [str(error)]
    except KeyError as error:  # of a run that was killed while it replaced the lists
        return [f"{folder / PAIR_LIST} has a line without {error}; {PAIRS_AGAIN}"]
    return list(_file_faults(folder, files, PAIRS_AGAIN))


def _faults_of(folder: Path, described_by: str, remedy: str) -> Iterator[str]:
    """Yield what is damaged or missing of the files that one of a clip's records describes."""
    try:
        record = read_sealed(folder / described_by, remedy)
    except (OSError, DamagedFileError) as error:
        yield str(error)
        return
    yield from _file_faults(folder, record.get("files", {}), remedy)


def _file_faults(folder: Path, files: Mapping[str, tuple[int, str]], remedy: str) -> Iterator[str]:
    yield from _wrong_sizes(folder, {"files": files})
    for name, (size, digest) in files.items():
        path = folder / name
        try:
            if path.stat().st_size == size and sha256(path) != digest:
                yield f"{path} is damaged: its contents are not as they were written; {remedy}"
        except FileNotFoundError:
            yield f"{path} is missing; {remedy}"
        except OSError as error:  # a bad sector
            yield f"{path} cannot be read: {error.strerror}"


def _wrong_sizes(folder: Path, record: Row) -> Iterable[str]:
    for name, (size, _) in record.get("files", {}).items():
        try:
            found = (folder / name).stat().st_size
        except OSError:
            continue
        if found != size:
            yield f"{folder / name} is damaged: it has {found} bytes, wanted {size}"


def _list_entry(data: bytes) -> Row:
    return {"lines": data.count(b"\n"), "sha256": _digest(data)}


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
