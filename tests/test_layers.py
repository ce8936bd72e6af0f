"""Imports point one way, between packages and inside a paper's; docs/architecture.md draws it."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAPERS = ("evp", "eamm", "emospace")
SHARED = {"affekt.metrics", "affekt.nets", "affekt.media", "affekt.runtime"}
# Between packages: what each may import besides itself.
MAY_IMPORT = {
    "affekt.runtime": set(),
    "affekt.media": {"affekt.runtime"},
    "affekt.nets": {"affekt.media", "affekt.runtime"},
    "affekt.metrics": {"affekt.nets", "affekt.media", "affekt.runtime"},
    "affekt.evaluation": SHARED,
    "data_prep": SHARED,
    **dict.fromkeys(PAPERS, SHARED),
    "affekt.showcase": {*SHARED, *PAPERS, "data_prep", "affekt.evaluation"},
    "benchmarks": {*SHARED, *PAPERS, "data_prep", "affekt.evaluation", "affekt.showcase"},
}
# Inside a paper: rooms from the ground up; a room imports what stands before it.
ROOMS = {
    "evp": ("data", "networks", "inference", "analysis", "released"),
    "eamm": ("fomm", "a2fd", "displacement", "inference", "analysis", "released"),
    "emospace": ("data", "networks", "inference", "analysis"),
}
SCRIPTS = {path.stem for path in ROOT.glob("*.py")}


def modules(package):
    return sorted((ROOT / package.replace(".", "/")).rglob("*.py"))


def imports(path):
    """Every (line, dotted name) that a file imports, names from packages included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)


def inside(name, package):
    return f"{name}.".startswith(f"{package}.")


@pytest.mark.parametrize("package", sorted(p for p in MAY_IMPORT if modules(p)))
def test_a_package_imports_only_what_is_below_it(package):
    forbidden = (MAY_IMPORT.keys() | SCRIPTS) - MAY_IMPORT[package] - {package}
    for path in modules(package):
        for line, name in imports(path):
            wrong = [other for other in forbidden if inside(name, other)]
            assert not wrong, f"{path.relative_to(ROOT)}:{line} imports {name}"


@pytest.mark.parametrize("paper", [p for p in PAPERS if modules(p)])
def test_a_room_of_a_paper_imports_only_rooms_before_it(paper):
    rooms = ROOMS[paper]
    for position, room in enumerate(rooms):
        for path in modules(f"{paper}.{room}"):
            for line, name in imports(path):
                later = [r for r in rooms[position + 1 :] if inside(name, f"{paper}.{r}")]
                assert not later, f"{path.relative_to(ROOT)}:{line} imports {name}"


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_command_lines_are_imported_by_scripts_alone(package):
    for path in modules(package):
        if not path.stem.endswith("cli"):
            for line, name in imports(path):
                wrong = [part for part in name.split(".") if part.endswith("cli")]
                assert not wrong, f"{path.relative_to(ROOT)}:{line} imports {name}"


def test_no_junk_drawers():
    for path in ROOT.glob("*/**/*.py"):
        if ".venv" not in path.parts:
            assert path.stem not in {"utils", "util", "common", "helpers", "misc"}, path
