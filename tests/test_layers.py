"""Imports point one way: scripts, then evp and eamm, then media, then runtime."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "runtime": set(),
    "media": {"runtime"},
    "evp": {"media", "runtime"},
    "eamm": {"media", "runtime"},
    "data_prep": {"media", "runtime"},
    "metrics": {"media", "runtime"},
    "showcase": {"evp", "eamm", "data_prep", "metrics", "media", "runtime"},
}
SCRIPTS = {path.stem for path in ROOT.glob("*.py")}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield node.lineno, (node.module or "").split(".")[0]
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[0]) for alias in node.names)


@pytest.mark.parametrize("package", sorted(p for p in MAY_IMPORT if any((ROOT / p).glob("*.py"))))
def test_a_package_imports_only_what_is_below_it(package):
    forbidden = (MAY_IMPORT.keys() | SCRIPTS) - MAY_IMPORT[package] - {package}
    for path in (ROOT / package).rglob("*.py"):
        for line, name in imports(path):
            assert name not in forbidden, f"{path.relative_to(ROOT)}:{line} imports {name}"


def test_no_junk_drawers():
    for path in ROOT.glob("*/**/*.py"):
        if ".venv" not in path.parts:
            assert path.stem not in {"utils", "util", "common", "helpers", "misc"}, path
