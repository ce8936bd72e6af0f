"""The report opens in a real browser, with every video and picture shown."""

import re
import shutil
import subprocess

import cv2
import numpy as np
import pytest

from affekt.media.video.video import VideoWriter
from affekt.showcase.report import Figure, Section, write_page
from affekt.showcase.thresholds import MetricRow

CHROMIUM = next(
    (path for name in ("chromium", "google-chrome") if (path := shutil.which(name))), ""
)
QUIET = ["--headless", "--no-sandbox", "--no-first-run"]
QUIET += [f"--disable-{x}" for x in ("gpu", "quic", "sync", "component-update")]
QUIET += ["--disable-background-networking"]


def page(folder, row=None):
    with VideoWriter(folder / "clip.mp4", (64, 48), np.zeros(16_000, np.float32)) as writer:
        for k in range(25):
            writer.write(np.full((48, 64, 3), 10 * k, np.uint8))
    cv2.imwrite(str(folder / "sheet.png"), np.zeros((8, 8, 3), np.uint8))
    figures = [Figure("a clip", folder / "clip.mp4", 6), Figure("a sheet", folder / "sheet.png", 6)]
    rows = [row or MetricRow("landmark.mouth_r", "mouth", ">= 0.85", "0.91", True)]
    path, sections = folder / "report.html", [Section("One", "", figures)]
    write_page(path, "Demo", "What <b> it did.", rows, sections)
    return path


def opened(path, profile):
    """Return the page's source after its script has run, as a headless browser prints it."""
    command = [CHROMIUM, *QUIET, f"--user-data-dir={profile}", "--virtual-time-budget=20000"]
    done = subprocess.run(
        [*command, "--dump-dom", path.as_uri()], capture_output=True, text=True, timeout=120
    )
    return done.stdout


@pytest.mark.skipif(not CHROMIUM, reason="no chromium on this machine: apt-get install chromium")
def test_a_browser_shows_every_video_and_picture(tmp_path):
    path = page(tmp_path)
    assert 'data-state="ready"' in opened(path, tmp_path / "profile")
    whole = path.read_text()
    path.write_text(re.sub(r"data:video/mp4;base64,.{60}", "data:video/mp4;base64,AAAA", whole))
    source = opened(path, tmp_path / "profile")
    assert 'data-state="broken"' in source
    assert "1 videos, 1 images, 1 not shown" in source


def test_the_page_is_self_contained_escaped_and_marks_a_missed_threshold(tmp_path):
    text = page(tmp_path, MetricRow("k", "1 < 2 & <script>", "", "3", None)).read_text()
    assert not re.search(r"(src|href)=\"(?!data:)", text)
    assert "What &lt;b&gt; it did." in text
    assert "1 &lt; 2 &amp; &lt;script&gt;" in text
    text = page(tmp_path, MetricRow("k", "w", ">= 1", "0.5", False)).read_text()
    assert '<tr class="missed"><td>k</td>' in text


def test_a_section_folds_its_numbers_away_and_has_no_table_without(tmp_path):
    rows = [MetricRow("clusters.r", "by <emotion>", "", "0.45", None)]
    for name, section in (("with", Section("s", "", rows=rows)), ("without", Section("s", ""))):
        write_page(tmp_path / f"{name}.html", "t", "", [], [section])
    whole, plain = ((tmp_path / f"{name}.html").read_text() for name in ("with", "without"))
    assert re.search(r"<summary>In numbers</summary>.*<td>0\.45</td>", whole, re.DOTALL)
    assert "by &lt;emotion&gt;" in whole
    assert "In numbers" not in plain
