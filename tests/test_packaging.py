"""What `pip install -e .` installs: the packages with their files, nothing of a generic name."""

import ast
import re
import sys
import tomllib
from itertools import chain
from pathlib import Path

from setuptools import find_packages

from affekt.runtime import doctor

ROOT = Path(__file__).parent.parent
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = find_packages(str(ROOT), **SETTINGS["tool"]["setuptools"]["packages"]["find"])
TOP = {name.split(".")[0] for name in PACKAGES}
# Modules whose distribution has another name.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "cv2": "opencv-python",
    "dtw": "dtw-python",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}


def normal(name):
    return name.lower().replace("_", "-")


def imported(nodes_of):
    """Top-level names of other distributions that the packages import, of these nodes of a file."""
    found = set()
    for top in TOP:
        for path in (ROOT / top).rglob("*.py"):
            for node in nodes_of(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    found |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom):
                    found.add(node.module.split(".")[0])
    return found - TOP - set(sys.stdlib_module_names)


def test_the_papers_and_what_they_share_are_installed_and_nothing_else():
    assert {"affekt", "evp", "eamm", "emospace", "data_prep"} == TOP


def test_every_folder_with_modules_is_a_package():
    folders = {path.parent for top in TOP for path in (ROOT / top).rglob("*.py")}
    assert {".".join(folder.relative_to(ROOT).parts) for folder in folders} == set(PACKAGES)


def test_every_file_beside_modules_is_installed():
    patterns = SETTINGS["tool"]["setuptools"]["package-data"]["*"]
    files = {path.suffix for top in TOP for path in (ROOT / top).rglob("*") if path.is_file()}
    assert files - {".py", ".pyc", ".nbi", ".nbc"} == {
        pattern.removeprefix("*") for pattern in patterns
    }


def test_what_is_imported_is_required_and_checked_by_the_doctor():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    lines += chain.from_iterable(SETTINGS["project"]["optional-dependencies"].values())
    required = {normal(re.match(r"[\w-]+", line)[0]) for line in lines if line and line[0] != "#"}
    modules, always = imported(ast.walk), imported(ast.iter_child_nodes)
    assert {normal(DISTRIBUTIONS.get(name, name)) for name in modules} <= required
    assert always <= {*doctor.NEEDED}
    assert modules - always <= {*doctor.NEEDED, *doctor.OPTIONAL}
    assert not always & {*doctor.OPTIONAL}


def test_a_module_that_does_not_load_is_named_with_what_to_do(monkeypatch):
    assert doctor.load_problem("json") is None
    assert "make clean" in doctor.load_problem("no_such_module")

    def without_library(name):
        raise ImportError("libGL.so.1: cannot open shared object file")

    monkeypatch.setattr(doctor.importlib, "import_module", without_library)
    assert doctor.load_problem("cv2") == "cv2 needs libGL.so.1: sudo apt-get install libgl1"
