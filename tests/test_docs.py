"""What README and docs point to is there, and their tables can be read."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
WIDEST = 120  # characters of a cell
FILE = re.compile(r"`([\w./-]+/[\w.-]+\.(?:py|yaml|md|csv))`")


def changes():
    """The rows of architecture.md's table of where to change what: (what, files)."""
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    table = text.partition("## I want to change X")[2]
    return re.findall(r"^\| (?!I want)([^|]+) \| (`[^|]+`) \|$", table, re.MULTILINE)


def test_architecture_names_the_place_of_twenty_changes_and_more():
    assert len(changes()) >= 20


@pytest.mark.parametrize(("what", "files"), changes())
def test_a_place_to_change_exists(what, files):
    for name in re.findall(r"`([^`]+)`", files):
        assert (ROOT / name).is_file(), f"{what}: {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_files_exist(page):
    text = page.read_text(encoding="utf-8")
    for link, anchor in re.findall(r"\]\((?!http)([^)#]*)(?:#([^)]+))?\)", text):
        target = page.parent / link if link else page
        assert target.is_file(), link
        titles = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8", errors="ignore"), re.M)
        slugs = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
        assert not anchor or anchor in slugs, f"{link}#{anchor}"
    for name in FILE.findall(text):
        if name.split("/")[0] in {"runs", "data", "weights", "results"}:
            continue  # made by a user
        places = [ROOT / where / name for where in ("", "configs", "configs/evp", "configs/eamm")]
        assert any(place.is_file() for place in places), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_cells_of_tables_are_short(page):
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("|"):
            for cell in line.strip("|").split(" | "):
                assert len(cell.strip()) <= WIDEST, cell
