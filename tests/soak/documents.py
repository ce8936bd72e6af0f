"""Hostile pictures, arrays, weights, YAML files and tables: one line that names the file, <= 1 GB.

Each is damaged, claims far more than it holds, or unpacks to it; a reader may refuse it or read it,
but raises no other error than the documented ones, in one line, and takes no more than 1 GB.
"""

import io
import json
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import torch
from PIL import Image as Pillow
from safetensors.torch import save_file
from scipy.io import savemat

from affekt.media.audio.reader import read_audio
from affekt.media.corpus import Corpus
from affekt.media.face3d.model import load_face_model
from affekt.media.video.pictures import read_picture
from affekt.runtime.config import load_config
from affekt.runtime.files import load_npy, read_json, read_jsonl
from affekt.runtime.manifest import read_manifest
from affekt.runtime.training.checkpoint import read as read_checkpoint
from affekt.runtime.weights.convert import read_torch
from affekt.runtime.weights.tensor_files import load_tensors
from data_prep.face_formats.basis import read_landmarks
from data_prep.face_formats.readers import read_bfm2017, read_mat
from tests.soak.runner import Case, Finding, Part
from train_audio2lm import Config

Write = Callable[[Path], object]
Read = Callable[[Path], object]
USER_ERRORS = (OSError, ValueError)  # what commands turn into one line


def _png(path: Path, width: int, height: int, mode: int = 2) -> None:
    """A PNG whose pixels are packed zeros: a few bytes, of any size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, mode, 0, 0, 0)
    row = bytes(1 + width * {0: 1, 2: 3, 6: 4}[mode])
    packer, pixels = zlib.compressobj(9), b""
    for _ in range(height):
        pixels += packer.compress(row)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", pixels + packer.flush())
        + chunk(b"IEND", b"")
    )


def _picture(form: str, change: Callable[[bytes], bytes], path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    held = io.BytesIO()
    Pillow.fromarray(noise).save(held, form)
    path.write_bytes(change(held.getvalue()))


def _half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _noisy(data: bytes) -> bytes:
    """Every 50th byte behind the first 20 changed."""
    changed = bytearray(data)
    changed[20::50] = bytes(255 - byte for byte in changed[20::50])
    return bytes(changed)


def _put(data: bytes, at: int, what: bytes) -> bytes:
    return data[:at] + what + data[at + len(what) :]


def _npy(shape: str, path: Path, kind: str = "<f4", body: bytes = bytes(64)) -> None:
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + body)


def _npz(path: Path, bomb: int = 0, claim: str = "(4,)") -> None:
    _npy(claim, path.with_suffix(".inner"))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path.with_suffix(".inner"), "mean.npy")
        with archive.open("bomb.npy", "w", force_zip64=True) as member:
            for _ in range(bomb):
                member.write(bytes(1 << 20))


def _torn_npz(path: Path) -> None:
    _npz(path)
    path.write_bytes(_half(path.read_bytes()))


def _torch(path: Path, change: Callable[[bytes], bytes]) -> None:
    torch.save({"step": 1, "rng": {}, "parts": {"a": torch.zeros(64)}}, path)
    path.write_bytes(change(path.read_bytes()))


def _packed_torch(path: Path) -> None:
    """A torch file whose records are packed: 1.1 GB of zeros in 1 MB."""
    torch.save({"step": 1, "rng": {}, "parts": {"a": torch.zeros(64)}}, path)
    held = io.BytesIO()
    with (
        zipfile.ZipFile(path) as source,
        zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for name in source.namelist():
            if not name.endswith("data/0"):
                target.writestr(name, source.read(name))
                continue
            with target.open(name, "w", force_zip64=True) as member:
                for _ in range(1100):
                    member.write(bytes(1 << 20))
    path.write_bytes(held.getvalue())


class _Evil:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return exec, ("import pathlib; pathlib.Path('/tmp/affekt-soak-evil').touch()",)


def _safetensors(path: Path, change: Callable[[bytes], bytes]) -> None:
    save_file({"a": torch.zeros(64)}, path)
    path.write_bytes(change(path.read_bytes()))


def _h5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        for group in ("shape/model", "expression/model"):
            for key in ("mean", "pcaBasis", "pcaVariance"):
                shape = (3 * 10**9, 4) if key == "pcaBasis" else (3 * 10**9,)
                file.create_dataset(f"{group}/{key}", shape, "f4", chunks=True)


def _mat(path: Path, change: Callable[[bytes], bytes]) -> None:
    savemat(path, {"idx": np.arange(500.0)[None]}, do_compression=True)
    path.write_bytes(change(path.read_bytes()))


def _mat_bomb(path: Path) -> None:
    savemat(path, {"idx": np.zeros((1 << 14, (1 << 12) + 1), np.int8)}, do_compression=True)


def _aliases(depth: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{k}: &a{k} [{', '.join(9 * [f'*a{k - 1}'])}]" for k in range(1, depth)]
    return "\n".join(lines)


def _corpus(path: Path, manifest: bytes) -> None:
    """A prepared corpus with this manifest; `path` is its corpus.json."""
    path.write_text('{"schema": 1}')
    (path.parent / "manifest.jsonl").write_bytes(manifest)


def _sound(path: Path, frames: int) -> None:
    """A Sony Wave64 file that claims a length."""
    riff = bytes.fromhex("726966662e91cf11a5d628db04c10000")
    guids = [bytes.fromhex(f"{word}f3acd3118cd100c04f8edb8a") for word in
             ("77617665", "666d7420", "64617461")]  # fmt: skip
    form = struct.pack("<HHIIHH", 1, 1, 16000, 32000, 2, 16)
    body = guids[1] + struct.pack("<Q", 24 + len(form)) + form
    body += guids[2] + struct.pack("<Q", 24 + 2 * frames) + bytes(6400)
    path.write_bytes(riff + struct.pack("<Q", 24 + 16 + len(body)) + guids[0] + body)


def _text(content: str | bytes) -> Write:
    data = content.encode() if isinstance(content, str) else content
    return lambda path: path.write_bytes(data)


def _config(path: Path) -> object:
    return load_config(Config, path)


def _array(path: Path) -> object:
    return load_npy(path, (None,), "make it anew")


def _weights(path: Path) -> object:
    return read_torch(path, "wanted are weights")


def _corpus_of(path: Path) -> object:
    return Corpus(path.parent)


def _index(path: Path) -> object:
    return read_mat(path, ("idx",))


FILES: dict[str, tuple[Write, Read]] = {
    # Pictures: bombs, cut, changed
    "bomb_rgb.png": (lambda path: _png(path, 13000, 13000), read_picture),
    "bomb_rgba.png": (lambda path: _png(path, 9000, 9000, 6), read_picture),
    "bomb_wide.png": (lambda path: _png(path, 2_000_000, 60, 0), read_picture),
    "claims.png": (partial(_picture, "PNG", lambda d: _put(d, 16, b"\x7f\xff" * 4)), read_picture),
    "claims.bmp": (
        partial(_picture, "BMP", lambda d: _put(d, 18, b"\xff\x7f\0\0" * 2)), read_picture),
    "claims.gif": (partial(_picture, "GIF", lambda d: _put(d, 6, b"\xff" * 4)), read_picture),
    "largest.png": (lambda path: _png(path, 7000, 7000), read_picture),  # within the limit
    **{f"half.{form.lower()}": (partial(_picture, form, _half), read_picture)
       for form in ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "JPEG2000")},
    **{f"noisy.{form.lower()}": (partial(_picture, form, _noisy), read_picture)
       for form in ("PNG", "JPEG", "WEBP", "TIFF", "JPEG2000")},
    # Arrays and weights: claims, bombs, code
    "claims.npy": (partial(_npy, "(1000000000000,)"), _array),
    "claims_more.npy": (partial(_npy, f"({2**62}, 4)"), _array),
    "negative.npy": (partial(_npy, "(-5,)"), _array),
    "nested.npy": (partial(_npy, "(" * 99 + ")" * 99), _array),
    "pickled.npy": (lambda path: np.save(path, np.array([_Evil()]), allow_pickle=True), _array),
    "bomb.npz": (partial(_npz, bomb=600), load_face_model),
    "claims.npz": (partial(_npz, claim="(1000000000000,)"), load_face_model),
    "torn.npz": (_torn_npz, load_face_model),
    "half.pt": (lambda path: _torch(path, _half), read_checkpoint),
    "packed.pt": (_packed_torch, read_checkpoint),
    "code.pt": (lambda path: path.write_bytes(pickle.dumps(_Evil())), _weights),
    "code_inside.pt": (lambda path: torch.save({"a": _Evil()}, path), _weights),
    "claims.safetensors": (
        lambda path: _safetensors(path, lambda d: b"\xff" * 8 + d), load_tensors),
    "offsets.safetensors": (
        lambda path: _safetensors(path, lambda d: d.replace(b"[64]", b"[99]")), load_tensors),
    "claims.h5": (_h5, read_bfm2017),
    "half.h5": (lambda path: (path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(90))), read_bfm2017),
    "half.mat": (lambda path: _mat(path, _half), _index),
    "bomb.mat": (_mat_bomb, _index),
    # Sound
    "longer.w64": (lambda path: _sound(path, 2**40), read_audio),
    # Text: depth, other encodings, endless cells
    "deep.json": (_text("[" * 200_000), read_json),
    "latin1.json": (_text(b'{"name": "Andr\xe9"}'), read_json),
    "deep.jsonl": (_text('{"a":' * 100_000 + "\n"), read_jsonl),
    "deep_landmarks.json": (_text("[" * 100_000), read_landmarks),
    "aliases.yaml": (_text(_aliases(9)), _config),
    "itself.yaml": (_text("base: itself.yaml\n"), _config),
    "recursive.yaml": (_text("run: &a\n  steps: *a\n"), _config),
    "deep.yaml": (_text("a: " + "[" * 20_000), _config),
    "latin1.yaml": (_text(b"corpus: data/Andr\xe9\n"), _config),
    "object.yaml": (_text("corpus: !!python/object/apply:os.system [true]\n"), _config),
    "endless.csv": (_text('clip_id\n"' + "a" * 5_000_000), read_manifest),
    "zeros.csv": (_text(bytes(1 << 20)), read_manifest),
    "columns.csv": (_text("clip_id" + ",x" * 100_000 + "\n"), read_manifest),
    "corpus_rows.json": (lambda path: _corpus(path, b"[1]\n"), _corpus_of),
    "corpus_bytes.json": (lambda path: _corpus(path, b"\xff\xfe\n"), _corpus_of),
}  # fmt: skip


def cases(_shared: Path, count: int) -> Iterator[Case]:
    """Every file of FILES, read by what reads its kind."""
    for name in [*FILES][:count]:
        yield Case(name, partial(refuses, name=name))


def refuses(folder: Path, name: str) -> Finding:
    """Write a file and read it; find whether it was read, or refused in one line of its name."""
    write, read = FILES[name]
    path = folder / name
    write(path)
    try:
        found = read(path)
    except USER_ERRORS as error:
        text = str(error)
        one_line = "\n" not in text and len(text) < 1000
        named = path.name in text or path.parent.name in text or str(folder) in text
        plain = not isinstance(error, UnicodeDecodeError | json.JSONDecodeError)
        return Finding(one_line and named and plain, f"{type(error).__name__}: {text[:200]}")
    return Finding(
        not name.startswith(("bomb", "code", "claims", "negative")), f"read: {type(found).__name__}"
    )


PART = Part(
    "documents",
    "refused in one line that names the file, or read",
    cases,
    len(FILES),
    megabytes=1024,
)
