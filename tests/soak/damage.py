"""Bytes of checkpoints and corpora that change: said, passed over or of no effect, never silent."""

import contextlib
import logging
import random
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch

from affekt.media.corpus import Corpus
from affekt.runtime.files import DamagedFileError
from affekt.runtime.training import checkpoint
from data_prep import inspect
from tests.soak.kills import in_child, made, same
from tests.soak.preparing import prepare_tree
from tests.soak.runner import Case, Finding, Part

FLIPS, CUTS = 200, 40
SAVES = 2


def checkpoint_cases(shared: Path, count: int) -> Iterator[Case]:
    """200 flips of a byte, spread over the file, and 40 cuts; of the newest of two checkpoints."""
    good = shared / "good"
    if not good.exists():
        made(partial(_write, good))
    for number in range(min(count, FLIPS)):
        yield Case(f"flip_{number:03d}", partial(flipped, good=good, number=number))
    for number in range(min(count, CUTS)):
        yield Case(f"cut_{number:03d}", partial(flipped, good=good, number=number, cut=True))


def _write(folder: Path) -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(40, 30), torch.nn.BatchNorm1d(30))
    optim = torch.optim.AdamW(network.parameters())
    for step in range(1, SAVES + 1):
        network(torch.randn(4, 40)).square().mean().backward()
        optim.step()
        checkpoint.save(folder, step, {"network": network, "optim": optim})


def flipped(folder: Path, good: Path, number: int, cut: bool = False) -> Finding:
    """Change one byte of the newest checkpoint, or cut it off there, and read the folder."""
    run = folder / "checkpoints"
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(good, run)
    newest = max(run.glob("*.pt"))
    data = bytearray(newest.read_bytes())
    rng = random.Random(number)
    place = int((number + rng.random()) / (CUTS if cut else FLIPS) * len(data))
    if cut:
        del data[place:]
    else:
        data[place] ^= 1 << rng.randrange(8)
    newest.write_bytes(data)
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("affekt").addHandler(handler)
    try:
        found = checkpoint.newest(run)
    except DamagedFileError as error:
        return Finding(newest.name in str(error), f"refused: {error}")
    wanted = torch.load(max(good.glob("*.pt")), weights_only=True)
    equal = same(found, wanted)
    passed_over = any(newest.name in text for text in said)
    text = "passed over, said" if passed_over else "read, equal" if equal else "SILENT"
    return Finding(equal or passed_over, f"byte {place}: {text}")


def corpus_cases(shared: Path, count: int) -> Iterator[Case]:
    """180 flips over all files of a prepared corpus, by their sizes."""
    good = shared / "corpus"
    if not (good / "manifest.jsonl").exists():
        shutil.rmtree(good, ignore_errors=True)
        made(partial(prepare_tree, shared / "sources", good))
    for number in range(count):
        yield Case(f"flip_{number:03d}", partial(corpus_flipped, good=good, number=number))


def corpus_flipped(folder: Path, good: Path, number: int) -> Finding:
    """Change one byte of a corpus; `inspect --verify` must name the file, or fail to open it."""
    rng = random.Random(number)
    corpus = folder / "corpus"
    shutil.rmtree(corpus, ignore_errors=True)
    shutil.copytree(good, corpus)
    files = sorted(path for path in corpus.rglob("[!.]*") if path.is_file())
    files = [path for path in files if path.stat().st_size]  # an empty list has no byte to change
    # Every file once, then by chance: small files are as important as large ones
    path = files[number] if number < len(files) else rng.choice(files)
    data = bytearray(path.read_bytes())
    place = rng.randrange(len(data))
    data[place] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    where = f"{path.relative_to(corpus)}, byte {place}"
    said = folder / "said.txt"
    status = in_child(partial(_verify, corpus, said))
    text = said.read_text("utf-8", "replace")
    found = status != 0 and "Traceback" not in text
    return Finding(found, f"{where}: {'said' if found else 'SILENT or a traceback'}")


def _verify(corpus: Path, said: Path) -> None:
    with said.open("w") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        try:
            Corpus(corpus)
            status = inspect.main([str(corpus), "--verify"])
        except SystemExit as error:
            file.write(f"{error}\n")
            raise
        except (ValueError, OSError) as error:
            file.write(f"{error}\n")
            raise SystemExit(1) from None
    if status:
        raise SystemExit(status)


CHECKPOINTS = Part("checkpoints", "refused, passed over, or equal", checkpoint_cases, FLIPS + CUTS)
CORPUS = Part("corpus", "said by inspect --verify", corpus_cases, 180)
