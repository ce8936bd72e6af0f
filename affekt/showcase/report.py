"""The demos' page: every figure with its bar, then the sections of each system that has run."""

from pathlib import Path

from affekt.runtime.files import read_json
from affekt.showcase.bars import rows
from affekt.showcase.eamm_report import eamm_sections
from affekt.showcase.evp_report import evp_sections
from affekt.showcase.full_report import full_sections, table_1_section
from affekt.showcase.page import Section, write_page


def write_report(out: Path) -> None:
    """Write out/report.html from out/results.json and the systems' media folders.

    Raises:
        FileNotFoundError: a stage of a system's demo has not run.
    """
    results = read_json(out / "results.json")
    sections: list[Section] = []
    leads = []
    if "landmark" in results:
        minutes = results["wall_seconds"] / 60
        leads.append(f"EVP, from raw video to an edited portrait in {minutes:.0f} minutes.")
        sections += [*evp_sections(out), table_1_section(out)]
    if "eamm" in results:
        minutes = results["eamm"]["wall_seconds"] / 60
        leads.append(f"EAMM, from raw video to an animated portrait in {minutes:.0f} minutes.")
        sections += eamm_sections(out / "eamm")
    if "full" in results:
        sections += full_sections(out / "full")
    write_page(out / "report.html", "Affekt: the demos", " ".join(leads), rows(results), sections)
