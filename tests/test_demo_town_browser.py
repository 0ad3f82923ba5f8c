"""The story of the drawn town, in a real browser: pick, look, reject, play, hand on."""

import csv
import re
import shutil
import subprocess
from datetime import datetime

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("playwright", reason="playwright is not installed")
pytest.importorskip("gradio", reason="needs the extra demo")

from playwright.sync_api import expect, sync_playwright

from demo.app import build_app, launch_app
from demo.service import Gallery, Service
from person_search.cli import main
from person_search.footage.frames import read_frame
from person_search.gallery.index import GalleryIndex
from person_search.inference.finder import PersonFinder
from person_search.inference.models import BUILTIN

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine's PATH"),
]
CLIP, FRAME = "2026-05-04_08-00-02", 204
"""Of the station: four people are there, two of them for the second time."""
LATE = 2.0
"""Seconds that a stay may seem to begin later than it does, as one comes in behind others."""
WAIT = 60_000


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    """Draw the small town and index it; yields its folder and the page's address."""
    root = tmp_path_factory.mktemp("town")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(root))
        assert main(["draw", "--set", "tiny-town", "--root", str(root)]) == 0
        drawn, file = root / "tiny-town", str(root / "town.db")
        asked = ["--gallery", file, "--camera-from", "folder", "--time-from", "name"]
        model = ["--every", "0.4", "--model", BUILTIN]
        assert main(["index", str(drawn / "footage"), *asked, *model]) == 0
        example = root / "station.png"
        frame = read_frame(f"{drawn}/footage/station/{CLIP}.mp4#frame={FRAME}")
        Image.fromarray(frame).save(example)
        with GalleryIndex.open(file) as index:
            gallery = Gallery("town", index, root / "kept")
            app = build_app(Service(PersonFinder.load(BUILTIN), {"town": gallery}, [example]))
            yield drawn, launch_app(app, port=None)
            app.close()


@pytest.fixture
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def stays_of(drawn, box):
    """Return when the person who truly stands in a box came to the station: local times."""
    truth = np.loadtxt(drawn / "tracks" / f"station-{CLIP}" / "gt" / "gt.txt", delimiter=",")
    there = truth[truth[:, 0] == FRAME + 1]
    centers = there[:, 2:4] + there[:, 4:6] / 2
    nearest = np.abs(centers - (box[:2] + box[2:]) / 2).sum(axis=1).argmin()
    with open(drawn / "stays.csv", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["camera"] == "station"]
    mine = [row["start"] for row in rows if int(row["identity"]) == int(there[nearest, 1])]
    return sorted(map(datetime.fromisoformat, mine))


def asked_box(page):
    """Return the box of the first person on the stage, in pixels of the picture."""
    return np.array(
        page.evaluate("""() => {
          const {width, height} = document.querySelector('.ps-stage').dataset;
          const style = document.querySelector('.ps-outline[data-number="1"]').style;
          const [x, y, w, h] = ['left', 'top', 'width', 'height']
            .map((side) => parseFloat(style[side]) / 100);
          return [x * width, y * height, (x + w) * width, (y + h) * height];
        }""")
    )


def starts_on_the_timeline(page):
    """Return when the stays above the threshold begin, from left to right."""
    bars = page.locator("#results .ps-stay:not(.ps-pale)").evaluate_all(
        "bars => bars.map((bar) => [parseFloat(bar.style.left), bar.ariaLabel])"
    )
    times = [re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", label)[0] for _, label in sorted(bars)]
    return [datetime.fromisoformat(time) for time in times]


def times_of_cards(page):
    return page.locator("#results .ps-card .ps-time").all_inner_texts()


def test_when_was_she_there(browser, town, tmp_path):
    drawn, address = town
    expect.set_options(timeout=WAIT)
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(WAIT)
    page.goto(address)
    page.locator("#examples button").first.click()
    page.locator("#stage .ps-chip").first.click()
    expect(page.locator("#results .ps-timeline")).to_be_visible()

    seen, true = starts_on_the_timeline(page), stays_of(drawn, asked_box(page))
    assert len(seen) == len(true) == 2 and seen == sorted(seen)
    for shown, came in zip(seen, true, strict=True):
        assert -1 <= (shown - came).total_seconds() <= LATE

    before = times_of_cards(page)
    page.locator("#results .ps-card button").nth(2).click()
    page.locator("dialog[open] [data-judge=wrong]").click()
    expect(page.locator("#results")).to_contain_text("Called wrong")
    after = times_of_cards(page)
    assert after != before and after[-1] == before[2] and after[:2] == before[:2]

    page.locator("#results .ps-card button").first.click()
    page.locator("dialog[open] [data-play]").click()
    page.wait_for_function("document.querySelector('dialog[open] video')?.currentTime > 0.3")
    page.keyboard.press("Escape")

    with page.expect_download() as waiting:
        page.get_by_role("button", name="Export these matches").click()
    waiting.value.save_as(tmp_path / "case.zip")
    context.close()
    shutil.unpack_archive(tmp_path / "case.zip", tmp_path)
    case = tmp_path / "case"
    assert subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=case).returncode == 0
    offline = browser.new_context(offline=True)
    report, asked = offline.new_page(), []
    offline.route("http*://**", lambda route: (asked.append(route.request.url), route.abort()))
    report.goto((case / "report.html").as_uri())
    expect(report.get_by_role("heading", name="Match 2", exact=True)).to_be_visible()
    pictures = report.locator("img")
    pictures.evaluate_all("all => all.forEach((one) => { one.loading = 'eager'; })")
    report.wait_for_function("[...document.images].every((one) => one.complete)")
    sizes = pictures.evaluate_all("all => all.map((one) => one.naturalWidth)")
    assert len(sizes) >= 5 and min(sizes) > 0 and asked == []
    offline.close()
