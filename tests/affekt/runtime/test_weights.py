"""A weights file is found only where it is the right one; whatever else lies there is named."""

import argparse
import hashlib
import json
import os
import re
import shutil
import socket
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affekt.evaluation.commands import weights as command
from affekt.runtime.config import ConfigError
from affekt.runtime.weights import registry as weights
from affekt.runtime.weights.table import (
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
    "prefix", f"net-{DIGEST[:8]}.pth", "example.org", "free", (), sha256=DIGEST[:8]
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


def locked(folder):
    return json.loads((folder / "weights.lock.json").read_text())["sha256"]


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


def test_a_missing_folder_is_a_missing_file(folder):
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
@pytest.mark.parametrize("content", [b"", PAGE, POINTER])
def test_a_page_is_refused_where_no_size_is_known_and_never_locked(folder, file, content):
    (folder / file.file).write_bytes(content)
    with pytest.raises(InvalidWeightsError, match=r"empty|web page|pointer"):
        weights.find(file.key)
    assert names(folder) == [file.file]


def test_another_file_of_the_right_size_is_refused_by_its_hash(folder):
    (folder / "whole.pth").write_bytes(OTHER)
    found = hashlib.sha256(OTHER).hexdigest()
    with pytest.raises(InvalidWeightsError, match=f"has sha256 {found}, wanted {DIGEST}"):
        weights.find("whole")


def test_the_first_digits_of_a_hash_are_enough_to_refuse(folder):
    (folder / PREFIX.file).write_bytes(OTHER)
    with pytest.raises(InvalidWeightsError, match=f"wanted one that starts with {DIGEST[:8]}:"):
        weights.find("prefix")


@settings(max_examples=60, deadline=None)
@given(
    st.binary(max_size=40),
    st.integers(0, 40),
    st.sampled_from(["flip", "cut", "more"]),
    st.sampled_from(["size", "digits", "nothing"]),
)
def test_any_change_of_any_byte_is_noticed(content, place, change, known):
    content = b"\x80" + content  # as a pickle begins, and no web page does
    place %= len(content)
    changed = {
        "flip": content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :],
        "cut": content[:place],
        "more": content + b"x",
    }[change]
    digest = hashlib.sha256(content).hexdigest()
    published = {
        "size": (len(content), digest),
        "digits": (None, digest[:8]),
        "nothing": (None, ""),
    }
    file = WeightsFile("made_up", "made_up.pth", "nowhere", "", (), *published[known])
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as name:
        patch.setitem(FILES, "made_up", file)
        patch.setenv("AFFEKT_WEIGHTS", name)
        path = Path(name) / "made_up.pth"
        path.write_bytes(content)
        assert weights.find("made_up") == path
        path.write_bytes(changed)
        with pytest.raises(InvalidWeightsError):
            weights.find("made_up")


def test_a_folder_and_a_link_to_nowhere_are_no_files(folder):
    (folder / "whole.pth").mkdir()
    with pytest.raises(InvalidWeightsError, match="is a folder"):
        weights.find("whole")
    (folder / "unknown.pth").symlink_to(folder / "gone")
    with pytest.raises(InvalidWeightsError, match=r"is a link to .*gone, which does not exist"):
        weights.find("unknown")


def test_a_pipe_is_refused_and_not_waited_for(folder):
    os.mkfifo(folder / "whole.pth")
    with pytest.raises(InvalidWeightsError, match="is no plain file"):
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


# Hashes that nobody publishes


def test_an_unpublished_hash_is_locked_at_the_first_use_and_holds_from_then_on(folder):
    path = folder / "unknown.pth"
    path.write_bytes(CONTENT)
    assert weights.status("unknown").state == "ok"
    assert names(folder) == ["unknown.pth"]  # looking is no use
    weights.find("unknown")
    assert locked(folder) == {"unknown.pth": DIGEST}
    path.write_bytes(OTHER)
    for _ in range(2):
        with pytest.raises(InvalidWeightsError, match=f"but {DIGEST} when it was first used"):
            weights.find("unknown")
    assert locked(folder) == {"unknown.pth": DIGEST}
    path.write_bytes(CONTENT)
    assert weights.find("unknown") == path


def test_a_published_hash_needs_no_lock(folder):
    for file in (WHOLE, PREFIX):
        (folder / file.file).write_bytes(CONTENT)
        weights.find(file.key)
    assert not (folder / "weights.lock.json").exists()


def test_nothing_is_locked_while_another_file_is_wrong(folder):
    (folder / "unknown.pth").write_bytes(CONTENT)
    with pytest.raises(MissingWeightsError):
        weights.find_all(["unknown", "whole"])
    assert not (folder / "weights.lock.json").exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"schema": 1}',
        '{"schema": 2, "sha256": {}}',
        '{"schema": 1, "sha256": []}',
        '{"schema": 1, "sha256": {"unknown.pth": "0"}}',
    ],
)
def test_a_damaged_lock_is_an_error_and_no_licence_to_lock_again(folder, text):
    (folder / "unknown.pth").write_bytes(CONTENT)
    (folder / "weights.lock.json").write_text(text)
    with pytest.raises(InvalidWeightsError, match=r"weights\.lock\.json is damaged"):
        weights.find("unknown")
    with pytest.raises(InvalidWeightsError, match=r"weights\.lock\.json is damaged"):
        weights.add("unknown", folder / "unknown.pth", replace=True)
    assert (folder / "weights.lock.json").read_text() == text


def test_a_lock_that_cannot_be_written_is_an_error_that_says_who_can_help(folder, monkeypatch):
    (folder / "unknown.pth").write_bytes(CONTENT)

    def refuse(path, value):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(weights, "write_json", refuse)
    with pytest.raises(OSError, match=r"cannot be locked in .*run python test\.py weights verify"):
        weights.find("unknown")


def test_locks_of_several_processes_at_once_are_all_kept(folder, monkeypatch):
    keys = [f"file_{number}" for number in range(6)]
    for key in keys:
        monkeypatch.setitem(FILES, key, WeightsFile(key, key, "nowhere", "", ()))
        (folder / key).write_bytes(key.encode())
    read = weights._read_lock

    def slowly(folder):
        lock = read(folder)
        time.sleep(0.02)
        return lock

    monkeypatch.setattr(weights, "_read_lock", slowly)
    with ThreadPoolExecutor(len(keys)) as pool:
        list(pool.map(weights.find, keys))
    assert locked(folder).keys() == set(keys)


def test_of_two_processes_that_lock_one_file_the_first_wins(folder, monkeypatch):
    (folder / "unknown.pth").write_bytes(CONTENT)
    late = weights.status("unknown")
    assert weights.find("unknown")
    (folder / "unknown.pth").write_bytes(OTHER)
    with pytest.raises(InvalidWeightsError, match="when it was first used"):
        weights.require([late])
    assert locked(folder) == {"unknown.pth": DIGEST}


# Putting files in place


@pytest.mark.parametrize("file", LEVELS, ids=lambda file: file.key)
def test_a_file_of_any_name_is_put_to_its_place(folder, tmp_path, file):
    (tmp_path / "download (1)").write_bytes(CONTENT)
    assert weights.add(file.key, tmp_path / "download (1)") == folder / file.file
    assert weights.find(file.key).read_bytes() == CONTENT
    assert (folder / "weights.lock.json").exists() == (file is UNKNOWN)


@pytest.mark.parametrize("content", [b"", PAGE, POINTER, CONTENT[:9], OTHER])
def test_a_wrong_file_is_not_put_there_and_disturbs_nothing(folder, tmp_path, content):
    (tmp_path / "given").write_bytes(content)
    with pytest.raises(InvalidWeightsError, match=re.escape(str(tmp_path / "given"))):
        weights.add("whole", tmp_path / "given")
    assert names(folder) == []
    (folder / "whole.pth").write_bytes(CONTENT)
    with pytest.raises(InvalidWeightsError):
        weights.add("whole", tmp_path / "given")
    assert weights.find("whole").read_bytes() == CONTENT


def test_a_bad_file_is_replaced_by_a_good_one(folder, tmp_path):
    (tmp_path / "given").write_bytes(CONTENT)
    for bad in (b"", PAGE, CONTENT[:9], OTHER):
        (folder / "whole.pth").write_bytes(bad)
        weights.add("whole", tmp_path / "given")
        assert weights.find("whole").read_bytes() == CONTENT


def test_of_two_files_that_nobody_publishes_the_one_in_use_stays_until_told_otherwise(
    folder, tmp_path
):
    (tmp_path / "first").write_bytes(CONTENT)
    (tmp_path / "second").write_bytes(OTHER)
    weights.add("unknown", tmp_path / "first")
    weights.add("unknown", tmp_path / "first")  # again: nothing to complain about
    with pytest.raises(ValueError, match="--replace takes the new one"):
        weights.add("unknown", tmp_path / "second")
    (folder / "unknown.pth").unlink()  # the lock remains
    with pytest.raises(InvalidWeightsError, match=r"when it was first used .*--replace"):
        weights.add("unknown", tmp_path / "second")
    assert names(folder) == ["weights.lock.json"]
    weights.add("unknown", tmp_path / "second", replace=True)
    assert weights.find("unknown").read_bytes() == OTHER
    assert locked(folder) == {"unknown.pth": hashlib.sha256(OTHER).hexdigest()}


def test_a_file_put_there_by_hand_and_not_yet_used_is_not_replaced_unasked(folder, tmp_path):
    (folder / "unknown.pth").write_bytes(CONTENT)
    (tmp_path / "second").write_bytes(OTHER)
    with pytest.raises(ValueError, match="which of the two is right is not published; --replace"):
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
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", lambda source, target: target.write_bytes(OTHER))
        with pytest.raises(OSError, match="changed while it was copied"):
            weights.add("whole", tmp_path / "given")
    assert names(folder) == []


def test_a_file_that_is_in_its_place_can_be_added(folder):
    (folder / "unknown.pth").write_bytes(CONTENT)
    inode = (folder / "unknown.pth").stat().st_ino
    assert weights.add("unknown", folder / "unknown.pth") == folder / "unknown.pth"
    assert (folder / "unknown.pth").stat().st_ino == inode
    assert locked(folder) == {"unknown.pth": DIGEST}


def test_what_cannot_be_added_is_named(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        weights.add("whole", tmp_path / "nowhere")
    with pytest.raises(InvalidWeightsError, match="is a folder"):
        weights.add("whole", folder)
    (tmp_path / "given").write_bytes(CONTENT)
    (folder / "whole.pth").mkdir()
    with pytest.raises(ValueError, match=r"whole\.pth is a folder; move it away"):
        weights.add("whole", tmp_path / "given", replace=True)


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
    entry = "net: {file: net.pth, source: here, licence: free"
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


def test_the_list_shows_what_is_there_and_what_is_wrong(folder, capsys):
    (folder / "whole.pth").write_bytes(CONTENT)
    (folder / "unknown.pth").write_bytes(PAGE)
    assert run("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"weights folder: {folder}"
    cells = [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines[4:]]
    rows = {key: others for key, *others in cells}
    assert rows["whole"] == ["present", "1,024", "free", "fid"]
    assert rows["prefix"] == ["missing", "?", "free", "-"]
    assert rows["unknown"][0] == "BAD"
    assert rows["arcface"][:3] == ["missing", "174,383,860", "non-commercial"]
    assert "is a web page" in lines[-1]


def test_the_list_comes_as_json(folder, capsys):
    (folder / "whole.pth").write_bytes(CONTENT)
    assert run("list", "--json") == 0
    rows = {row["key"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows.keys() == FILES.keys()
    assert rows["whole"]["state"] == "present"
    assert rows["whole"]["sha256"] == DIGEST
    assert rows["prefix"]["state"] == "missing"
    assert rows["prefix"]["sha256"] is None
    assert rows["arcface"]["published_bytes"] == 174_383_860
    assert rows["raft"]["published_sha256"] == "ff5fadd5"


def test_verify_reads_all_that_is_there_and_tells_by_what_it_was_compared(folder, capsys):
    for file in LEVELS:
        (folder / file.file).write_bytes(CONTENT)
    assert run("verify") == 0
    out = capsys.readouterr().out
    assert f"whole: as published, sha256 {DIGEST}" in out
    assert f"prefix: as published (first 8 digits), sha256 {DIGEST}" in out
    assert f"unknown: as locked now, sha256 {DIGEST}" in out
    assert run("verify", "unknown") == 0
    assert "unknown: as locked at its first use" in capsys.readouterr().out


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
    (tmp_path / "given").write_bytes(OTHER)
    assert run("add", "unknown", tmp_path / "given", "--replace") == 0
    assert weights.find("unknown").read_bytes() == OTHER
    with pytest.raises(ValueError, match="no weights file has the key 'nothing'"):
        run("path", "nothing")
