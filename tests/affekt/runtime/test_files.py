"""Files are written beside their place and renamed, whatever their names."""

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from affekt.runtime.files import (
    DamagedFileError,
    load_npy,
    npy_writer,
    read_json,
    read_jsonl,
    remove_unfinished,
    replacing,
    replacing_folder,
    save_npy,
    write_text,
)


@pytest.mark.parametrize("name", ["x" * 251 + ".npy", "é" * 125 + ".npy", "a." + "y" * 250])
def test_the_longest_names_of_a_file_system_are_written(tmp_path, name):
    assert 246 <= len(name.encode()) <= 255
    write_text(tmp_path / name, "text")
    assert (tmp_path / name).read_text() == "text"
    save_npy(tmp_path / name, np.arange(3))
    with replacing_folder(tmp_path / ("z" * 255)) as folder:
        (folder / "file").touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "z" * 255])


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24, dtype=np.float32).reshape(2, 3, 4),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(5, dtype=">i2"),
        np.float64(3),
        np.zeros((0, 13), np.float32),
        np.array([(1, 2.5)], dtype=[("ä" * 3, "i4"), ("b", "f8")]),  # header version 3
    ],
)
def test_arrays_are_read_as_numpy_reads_them(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    for _ in range(2):  # the second time with a header that is known
        found = load_npy(tmp_path / "a.npy", None, "make it")
        np.testing.assert_array_equal(found, array)
        assert found.dtype == np.asarray(array).dtype
        assert found.flags.writeable


def test_an_array_cut_short_is_damaged_though_its_header_is_known(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((4, 4)))
    load_npy(tmp_path / "a.npy", (4, 4), "make it")
    whole = (tmp_path / "a.npy").read_bytes()
    for length in (6, 9, 60, len(whole) - 8):
        (tmp_path / "a.npy").write_bytes(whole[:length])
        with pytest.raises(DamagedFileError, match=r"a\.npy is damaged .*make it"):
            load_npy(tmp_path / "a.npy", (4, 4), "make it")


def test_a_file_is_on_the_disk_before_it_has_its_name_and_its_folder_after(tmp_path, monkeypatch):
    flushed = []

    def fsync(handle):
        path = Path(f"/proc/self/fd/{handle}").readlink()
        flushed.append((path.suffix or path.name, (tmp_path / "a.json").exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    write_text(tmp_path / "a.json", "{}")
    assert flushed == [(".json", False), (tmp_path.name, True)]


def test_a_folder_is_flushed_with_all_its_files_once(tmp_path, monkeypatch):
    flushed = []

    def fsync(handle):
        path = Path(f"/proc/self/fd/{handle}").readlink()
        flushed.append((path.name.split("-")[0], (tmp_path / "clip").exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    with replacing_folder(tmp_path / "clip") as folder:
        write_text(folder / "inner" / "a.json", "{}")
        save_npy(folder / "b.npy", np.arange(3))
    names = ["inner", "b.npy", "a.json", ".affekt"]
    assert sorted(flushed) == sorted([*((name, False) for name in names), (tmp_path.name, True)])


@pytest.mark.parametrize("context", [replacing, replacing_folder])
def test_a_writer_that_hides_the_full_disk_is_given_its_errno(tmp_path, context):
    """A limit on a file's size fails as a full disk does: what is over it is not written."""
    code = f"""
import resource, signal, sys
from pathlib import Path
from affekt.runtime.files import {context.__name__} as context
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    with context(Path(sys.argv[1])) as temporary:
        (temporary / "x" if temporary.is_dir() else temporary).write_bytes(bytes(4096))
        raise RuntimeError("unexpected pos")
except OSError as error:
    print(error.errno, error.filename, error.__cause__)
"""
    command = [sys.executable, "-c", code, str(tmp_path / "out")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said == f"{errno.EFBIG} {tmp_path / 'out'} unexpected pos\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("context", [replacing, replacing_folder])
def test_a_full_disk_is_said_of_the_file_that_was_to_be_written(tmp_path, context):
    """A write to an open file does not know its name, and nobody knows the temporary one."""
    for own in (None, "temporary"):
        with pytest.raises(OSError, match="No space") as error, context(tmp_path / "out") as path:
            raise OSError(errno.ENOSPC, "No space left on device", own and str(path / "x"))
        assert error.value.filename == str(tmp_path / "out")
    with pytest.raises(OSError, match="No space") as error, context(tmp_path / "out"):
        raise OSError(errno.ENOSPC, "No space left on device", "/other/disk")
    assert error.value.filename == "/other/disk"


def test_an_error_that_is_not_the_disks_stays_what_it_is(tmp_path):
    with pytest.raises(RuntimeError, match="mine"), replacing(tmp_path / "a"):
        raise RuntimeError("mine")


def test_only_what_a_killed_process_left_of_ours_is_removed(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    folder = tmp_path / "run"
    (folder / ".affekt-abcd_012").mkdir(parents=True)
    (folder / ".affekt-abcd_012" / "mfcc.npy").touch()
    (folder / ".affekt-abcd_013.pt").touch()
    foreign = [".affekt-notes", ".affekt-abcd_0123.pt", ".affekt-ABCD_012", "5.pt", ".ssh"]
    for name in foreign:
        (folder / name).touch()
    (folder / ".affekt-link_012").symlink_to(outside)
    remove_unfinished(folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted([*foreign, ".affekt-link_012"])
    assert (outside / "kept").exists()
    (outside / ".affekt-abcd_012").touch()
    (tmp_path / "link").symlink_to(outside)
    remove_unfinished(tmp_path / "link")
    assert (outside / ".affekt-abcd_012").exists()


@pytest.mark.parametrize("content", [b"", b"\xff\xfe{}", b"[" * 10**6, b"nothing"])
def test_what_is_no_json_is_named(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"a\.json is no"):
        read_json(tmp_path / "a.json")
    (tmp_path / "a.jsonl").write_bytes(b"{}\n" + content + b"\n{}")
    with pytest.raises(DamagedFileError, match=r"a\.jsonl.* is no"):
        read_jsonl(tmp_path / "a.jsonl")


def test_rows_that_are_appended_make_the_file_that_numpy_writes(tmp_path):
    whole = np.random.default_rng(0).random((11, 3, 2), np.float32)
    with npy_writer(tmp_path / "a.npy") as append:
        for rows in (whole[:0], whole[:1], whole[1:10], whole[10:].astype(float)):
            append(rows)
    np.save(tmp_path / "b.npy", whole)
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()
    with npy_writer(tmp_path / "a.npy"):
        pass
    assert np.load(tmp_path / "a.npy").shape == (0,)


def test_a_folder_is_replaced_by_its_own_files_alone(tmp_path):
    folder, away = tmp_path / "clip", tmp_path / "away"
    away.mkdir()
    (away / "a.npy").touch()
    for name in ("a.npy", "mine.txt", "sub/a.npy"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("old")
    (folder / "b.npy").symlink_to(away / "a.npy")
    with replacing_folder(folder, re.compile(r"[ab]\.npy")) as temporary:
        (temporary / "a.npy").write_text("new")
    found = {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}
    assert found == {"a.npy": "new", "mine.txt": "old"}
    assert (folder / "sub/a.npy").read_text() == "old"
    (tmp_path / "link").symlink_to(away)
    for own in (None, re.compile(".*")):
        with pytest.raises(OSError), replacing_folder(tmp_path / "link", own):  # noqa: PT011
            pass
    with pytest.raises(OSError), replacing_folder(folder):  # noqa: PT011
        pass
    assert (away / "a.npy").exists()
    assert (folder / "sub/a.npy").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["away", "clip", "link"]
