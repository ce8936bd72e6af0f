"""A weights file is found only where it is the right one; whatever else lies there is named."""

import argparse
import hashlib
import json
import os
import re
import shutil
import socket
from pathlib import Path

import pytest

from affekt.evaluation.commands import weights as command
from affekt.runtime.config import ConfigError
from affekt.runtime.weights import registry as weights
from affekt.runtime.weights.registry import (
    FILES,
    InvalidWeightsError,
    MissingWeightsError,
    WeightsFile,
    read_table,
)

CONTENT = bytes(range(256)) * 4  # 1,024 bytes
DIGEST = hashlib.sha256(CONTENT).hexdigest()
OTHER = CONTENT[:-1] + b"?"
WHOLE = WeightsFile(
    "whole", "whole.pth", "https://example.org/whole.pth", "free", ("fid",), 1024, DIGEST
)
PREFIX = WeightsFile(
    "prefix", f"net-{DIGEST[:8]}.pth", "example.org", "free", ("raft",), sha256=DIGEST[:8]
)
UNKNOWN = WeightsFile("unknown", "unknown.pth", "a shared drive", "not stated", ("csim",))
LEVELS = (WHOLE, PREFIX, UNKNOWN)
PAGE = b"<html><body>Sign in to continue</body></html>"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1024\n"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The weights folder, and three files that it may hold: one for each level of certainty."""
    for file in LEVELS:
        monkeypatch.setitem(FILES, file.key, file)
    monkeypatch.setenv("AFFEKT_WEIGHTS", str(tmp_path / "w"))
    (tmp_path / "w").mkdir()
    return tmp_path / "w"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# Where files are


def test_the_variable_wins_over_the_configuration_and_that_over_the_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AFFEKT_WEIGHTS", "/there")
    assert weights.root(Path("config")) == Path("/there")
    monkeypatch.setenv("AFFEKT_WEIGHTS", "")
    assert weights.root(Path("config")) == tmp_path / "config"
    monkeypatch.delenv("AFFEKT_WEIGHTS")
    assert weights.root() == tmp_path / "weights"


def test_the_right_file_is_found(folder):
    for file in LEVELS:
        (folder / file.file).write_bytes(CONTENT)
        assert weights.find(file.key) == folder / file.file
        assert weights.status(file.key).sha256 == DIGEST


def test_a_file_is_found_under_its_other_published_name(folder):
    other = FILES["inception_fid"].aliases[0]
    (folder / other).write_bytes(CONTENT)
    assert weights.place("inception_fid") == folder / other
    (folder / FILES["inception_fid"].file).write_bytes(CONTENT)
    assert weights.place("inception_fid") == folder / FILES["inception_fid"].file


def test_an_unknown_key_names_the_nearest_one():
    with pytest.raises(ValueError, match="'sincnet'; nearest: 'syncnet'"):
        weights.find("sincnet")


# What is wrong with them


def test_a_missing_file_is_named_with_all_that_is_needed_to_get_it(folder, monkeypatch):
    monkeypatch.setattr(socket, "socket", None)  # nothing is fetched
    with pytest.raises(MissingWeightsError) as error:
        weights.find("syncnet")
    assert isinstance(error.value, FileNotFoundError)
    for words in (
        "syncnet",
        f"{folder / 'syncnet_v2.model'} is missing",
        "https://www.robots.ox.ac.uk/~vgg/software/lipsync/data/syncnet_v2.model",
        "54,573,114 bytes",
        "sha256 961e8696f888fce4f3f3a6c3d5b3267cf5b343100b238e79b2659bff2c605442",
        "lse_c, lse_d, sync_offset",
        "weights add syncnet FILE",
    ):
        assert words in str(error.value)
    folder.rmdir()
    with pytest.raises(MissingWeightsError, match=r"w/unknown\.pth is missing"):
        weights.find("unknown")
    assert not folder.exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (PAGE, "is a web page"),
        (b"\xef\xbb\xbf\n  <!DOCTYPE HTML>" + CONTENT, "is a web page"),
        (b"<?xml version='1.0'?><Error>AccessDenied</Error>", "is a web page"),
        (POINTER, "git LFS pointer"),
        (CONTENT[:1000], "is cut off: 1,000 bytes of 1,024"),
        (CONTENT + b"x", "is too large: 1,025 bytes, wanted 1,024"),
    ],
)
def test_a_download_that_went_wrong_is_recognised_before_it_is_hashed(
    folder, monkeypatch, content, words
):
    monkeypatch.setattr(weights, "sha256", None)
    (folder / "whole.pth").write_bytes(content)
    with pytest.raises(InvalidWeightsError, match=words):
        weights.find("whole")


@pytest.mark.parametrize("file", LEVELS[1:], ids=lambda file: file.key)
def test_a_page_is_refused_where_no_size_is_known(folder, file):
    for content in (b"", PAGE, POINTER):
        (folder / file.file).write_bytes(content)
        with pytest.raises(InvalidWeightsError, match=r"empty|web page|pointer"):
            weights.find(file.key)


@pytest.mark.parametrize(
    ("file", "wanted"),
    [(WHOLE, DIGEST), (PREFIX, f"one that starts with {DIGEST[:8]}:")],
    ids=["whole", "prefix"],
)
def test_another_file_is_refused_by_its_hash_or_the_first_digits(folder, file, wanted):
    (folder / file.file).write_bytes(OTHER)
    found = hashlib.sha256(OTHER).hexdigest()
    with pytest.raises(InvalidWeightsError, match=f"has sha256 {found}, wanted {wanted}"):
        weights.find(file.key)


@pytest.mark.parametrize("file", [WHOLE, PREFIX], ids=["whole", "prefix"])
@pytest.mark.parametrize("place", [0, 1, 511, 1023])
def test_any_change_of_any_byte_is_noticed(folder, file, place):
    flipped = CONTENT[:place] + bytes([CONTENT[place] ^ 1]) + CONTENT[place + 1 :]
    for changed in (flipped, CONTENT[:place], CONTENT + b"x"):
        (folder / file.file).write_bytes(changed)
        with pytest.raises(InvalidWeightsError):
            weights.find(file.key)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (Path.mkdir, "is a folder"),
        (lambda path: path.symlink_to("gone"), "is a link to gone, which does not exist"),
        (os.mkfifo, "is no plain file"),  # and not waited for
    ],
)
def test_what_is_no_file_is_refused(folder, make, words):
    make(folder / "whole.pth")
    with pytest.raises(InvalidWeightsError, match=words):
        weights.find("whole")


def test_a_file_that_cannot_be_read_says_why(folder, monkeypatch):
    (folder / "whole.pth").write_bytes(CONTENT)

    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(weights, "sha256", refuse)
    with pytest.raises(InvalidWeightsError, match=r"cannot be read \(Permission denied\)"):
        weights.find("whole")


def test_every_file_that_is_wrong_is_named_at_once(folder):
    with pytest.raises(
        MissingWeightsError, match=r"(?s)whole\.pth is missing.*unknown\.pth is mis"
    ):
        weights.find_all(["whole", "unknown"])
    (folder / "whole.pth").write_bytes(OTHER)
    with pytest.raises(InvalidWeightsError, match=r"(?s)damaged, or another.*unknown\.pth is miss"):
        weights.find_all(["whole", "unknown"])


# Putting files in place


@pytest.mark.parametrize("file", LEVELS, ids=lambda file: file.key)
def test_a_file_of_any_name_is_put_to_its_place(folder, tmp_path, file):
    (tmp_path / "download (1)").write_bytes(CONTENT)
    assert weights.add(file.key, tmp_path / "download (1)") == folder / file.file
    assert weights.find(file.key).read_bytes() == CONTENT
    inode = (folder / file.file).stat().st_ino
    assert weights.add(file.key, folder / file.file) == folder / file.file  # it is there already
    assert (folder / file.file).stat().st_ino == inode


@pytest.mark.parametrize("content", [b"", PAGE, POINTER, CONTENT[:9], OTHER])
def test_a_wrong_file_never_takes_the_place_of_a_good_one_which_takes_its(
    folder, tmp_path, content
):
    wrong, good = tmp_path / "wrong", tmp_path / "good"
    wrong.write_bytes(content)
    good.write_bytes(CONTENT)
    with pytest.raises(InvalidWeightsError, match=re.escape(str(wrong))):
        weights.add("whole", wrong)
    assert names(folder) == []
    (folder / "whole.pth").write_bytes(content)
    weights.add("whole", good)
    with pytest.raises(InvalidWeightsError):
        weights.add("whole", wrong)
    assert weights.find("whole").read_bytes() == CONTENT


def test_of_two_files_that_nobody_publishes_the_one_in_place_stays(folder, tmp_path):
    (tmp_path / "first").write_bytes(CONTENT)
    (tmp_path / "second").write_bytes(OTHER)
    weights.add("unknown", tmp_path / "first")
    weights.add("unknown", tmp_path / "first")  # again: nothing to complain about
    with pytest.raises(ValueError, match="which of the two is right is not published; move that"):
        weights.add("unknown", tmp_path / "second")
    assert weights.find("unknown").read_bytes() == CONTENT


def test_a_copy_that_fails_leaves_no_part_of_a_file(folder, tmp_path, monkeypatch):
    (tmp_path / "given").write_bytes(CONTENT)

    def full(source, target):
        target.write_bytes(CONTENT[:100])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", full)
        with pytest.raises(OSError, match="No space left"):
            weights.add("whole", tmp_path / "given")
    assert names(folder) == []


def test_what_cannot_be_added_is_named(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        weights.add("whole", tmp_path / "nowhere")
    with pytest.raises(InvalidWeightsError, match="is a folder"):
        weights.add("whole", folder)
    (tmp_path / "given").write_bytes(CONTENT)
    (folder / "whole.pth").mkdir()
    with pytest.raises(ValueError, match=r"whole\.pth is a folder; move it away"):
        weights.add("whole", tmp_path / "given")


# The registry


REAL = tuple(FILES.values())


@pytest.mark.parametrize("file", REAL, ids=lambda file: file.key)
def test_an_entry_is_well_formed(file):
    assert re.fullmatch(r"[a-z][a-z0-9_]*", file.key)
    assert re.fullmatch(r"(?:[0-9a-f]{8,63}|[0-9a-f]{64})?", file.sha256)
    assert file.size is None or file.size > 0
    assert file.source
    assert file.licence
    for name in (file.file, *file.aliases):
        assert Path(name).name == name
        digits = re.search(r"-([0-9a-f]{8,})\.", name)  # torch's naming rule
        if digits:
            assert file.sha256.startswith(digits[1])
        elif file.sha256:
            assert len(file.sha256) == 64, "a prefix that no name shows"


def test_no_two_entries_are_one_file():
    every = [name.lower() for file in REAL for name in (file.file, *file.aliases)]
    hashes = [file.sha256 for file in REAL if file.sha256]
    assert len(set(every)) == len(every)
    assert len(set(hashes)) == len(hashes)
    assert all(FILES[file.key] is file for file in REAL)


def test_a_table_with_a_wrong_field_is_refused_by_name(tmp_path):
    entry = "net: {file: net.pth, source: here, licence: free, needed_by: [fid]"
    for more, words in (
        (", sice: 3}", "did you mean 'size'"),
        (", size: big}", "net.size is 'big'"),
    ):
        (tmp_path / "table.yaml").write_text(entry + more)
        with pytest.raises(ConfigError, match=words):
            read_table(tmp_path / "table.yaml")


def test_the_files_that_metrics_take_are_known():
    blocked = {metric for file in REAL for metric in file.needed_by}
    assert {"fid", "kid", "lse_c", "lse_d", "sync_offset", "csim"} <= blocked


# The command


def run(*words):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.main(parser.parse_args([str(word) for word in words]))


def test_the_list_shows_what_is_there_and_what_is_wrong_as_json_too(folder, capsys):
    (folder / "whole.pth").write_bytes(CONTENT)
    (folder / "unknown.pth").write_bytes(PAGE)
    assert run("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"weights folder: {folder}"
    cells = [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines[4:]]
    rows = {key: others for key, *others in cells}
    assert rows["whole"] == ["present", "1,024", "free", "fid"]
    assert rows["prefix"] == ["missing", "?", "free", "raft"]
    assert rows["unknown"][0] == "BAD"
    assert rows["arcface"][:3] == ["missing", "174,383,860", "non-commercial"]
    assert "is a web page" in lines[-1]
    assert run("list", "--json") == 0
    table = {row["file"]["key"]: row for row in json.loads(capsys.readouterr().out)}
    assert table.keys() == FILES.keys()
    assert (table["whole"]["state"], table["whole"]["sha256"]) == ("ok", DIGEST)
    assert (table["prefix"]["state"], table["prefix"]["sha256"]) == ("missing", "")
    assert table["arcface"]["file"]["size"] == 174_383_860
    assert table["raft"]["file"]["sha256"] == "ff5fadd5"


def test_verify_reads_all_that_is_there_and_tells_by_what_it_was_compared(folder, capsys):
    for file in LEVELS:
        (folder / file.file).write_bytes(CONTENT)
    assert run("verify") == 0
    out = capsys.readouterr().out
    assert f"whole: as published, sha256 {DIGEST}" in out
    assert f"prefix: as published (first 8 digits), sha256 {DIGEST}" in out
    assert f"unknown: nothing is published, sha256 {DIGEST}" in out


def test_verify_tells_missing_from_wrong_by_its_exit_code(folder, capsys):
    assert run("verify") == 0  # nothing is there, nothing was asked for
    assert run("verify", "whole") == 2
    (folder / "whole.pth").write_bytes(OTHER)
    assert run("verify", "whole", "prefix") == 4
    assert run("verify", "prefix", "whole") == 4
    out = capsys.readouterr().out
    assert "damaged, or another file" in out
    assert f"{PREFIX.file} is missing" in out


def test_path_and_add(folder, tmp_path, capsys):
    (tmp_path / "given").write_bytes(CONTENT)
    assert run("add", "whole", tmp_path / "given") == 0
    assert run("path", "whole") == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(folder / "whole.pth")
    with pytest.raises(MissingWeightsError):
        run("path", "unknown")
    assert run("add", "unknown", tmp_path / "given") == 0
    with pytest.raises(ValueError, match="no weights file has the key 'nothing'"):
        run("path", "nothing")
