"""Runs of generate.py that tests of its systems share."""

import generate


def refused(argv, folder, capsys):
    """Return the lines that a command ends with; nothing is left behind in the folder."""
    before = sorted(folder.rglob("*"))
    assert generate.main(argv) == 1
    error = capsys.readouterr().err
    assert sorted(folder.rglob("*")) == before
    assert "Traceback" not in error
    lines = [line for line in error.splitlines() if not line.startswith("frames:")]  # progress
    assert lines[-1].startswith("generate.py: ")
    return lines
