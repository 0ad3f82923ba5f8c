"""Each state of the page, looked at by axe: names, contrast, roles, what a screen reader is told.

axe-core comes with the package axe-playwright-python.
"""

import shutil
from importlib.resources import files

import pytest
from helpers_demo import ColorFinder, draw_colors
from PIL import Image

pytest.importorskip("playwright", reason="playwright is not installed")
pytest.importorskip("gradio", reason="needs the extra demo")
pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")

from playwright.sync_api import expect, sync_playwright

from demo.app import build_app, launch_app
from demo.service import Gallery, Service
from person_search.accountability.activity_log import ActivityLog
from person_search.footage.files import FootageOptions
from person_search.gallery.add_footage import index_footage
from person_search.gallery.index import GalleryIndex

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine's PATH"),
]
WAIT = 30_000
DAY = [("red", "blue"), ("red", "blue"), (), ("green",), (), ("red",), ("red",)]
RULES = {"label-content-name-mismatch": {"enabled": True}}
"""Beside those that axe looks at by itself."""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Serve a toy gallery with times; each moment is 6 s after the last."""
    root = tmp_path_factory.mktemp("axe")
    folder = root / "footage" / "gate"
    folder.mkdir(parents=True)
    for number, colors in enumerate(DAY):
        picture = Image.fromarray(draw_colors(list(colors)))
        picture.save(folder / f"2026-05-04_08-00-{6 * number:02d}.png")
    example = root / "example.png"
    Image.fromarray(draw_colors(["red", "green"])).save(example)
    finder = ColorFinder()
    made = {"fingerprint": finder.fingerprint, "embedding_dim": finder.embedding_dim}
    with (
        pytest.MonkeyPatch.context() as patch,
        GalleryIndex.create(root / "g.db", **made) as index,
    ):
        patch.setenv("GRADIO_TEMP_DIR", str(root))
        options = FootageOptions(camera_from="folder", time_from="name")
        index_footage(index, finder, [folder.parent], options, progress=False)
        index.appearances.link()
        ActivityLog(index).switch_on()
        app = build_app(Service(finder, {"toy": Gallery("toy", index, root)}, [example]))
        yield launch_app(app, port=None)
        app.close()


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def walk(page):
    """Go through the states of the page; yields the name of each."""
    expect(page.locator("#examples button").first).to_be_visible()
    expect(page.locator("#summary")).to_contain_text("frames")
    yield "start"
    page.locator("#examples button").first.click()
    expect(page.locator("#stage .ps-chip")).to_have_count(2)
    yield "picture"
    page.locator("#stage .ps-chip").first.click()
    expect(page.locator("#results .ps-timeline")).to_be_visible()
    yield "results and timeline"
    page.get_by_role("button", name="Filters and settings").click()
    page.locator("#from input").fill("2026-05-04T08:00:00")
    page.locator("#from input").dispatch_event("change")
    expect(page.locator("#results")).to_contain_text("Only from 2026-05-04 08:00")
    yield "filters"
    page.locator("#results .ps-card button").first.click()
    dialog = page.locator("#dialog dialog[open]")
    expect(dialog).to_be_visible()
    yield "dialog of a stay"
    dialog.locator(".ps-erase summary").click()
    dialog.locator("[data-play]").click()
    expect(dialog.locator("video")).to_be_visible()
    yield "clip"
    page.keyboard.press("Escape")
    page.locator("#blur input").check()
    expect(page.locator("#results")).to_contain_text("people, blurred")
    yield "blurred"
    page.locator("#blur input").uncheck()
    page.get_by_role("tab", name="People").click()
    expect(page.locator("#groups .ps-group").first).to_be_visible()
    yield "people"
    page.locator(".ps-group-open").first.click()
    expect(page.locator("#group-dialog dialog[open]")).to_be_visible()
    yield "dialog of a group"
    page.keyboard.press("Escape")
    page.get_by_role("tab", name="Add footage").click()
    expect(page.locator("#footage")).to_be_visible()
    yield "add footage"
    page.get_by_role("tab", name="Admin").click()
    page.locator("#remove-camera input").click()
    page.get_by_role("option", name="gate").click()
    page.get_by_role("button", name="Show what would go").click()
    expect(page.locator("#removal [data-remove]")).to_be_visible()
    page.get_by_role("button", name="Show the log").click()
    expect(page.locator("#log table")).to_be_visible()
    yield "administration"
    page.get_by_role("button", name="Verify").click()
    expect(page.locator("#log .ps-good")).to_be_visible()
    yield "a log that holds"
    page.locator(".ps-api summary").click()
    expect(page.locator(".ps-api pre")).to_be_visible()
    yield "API"
    page.goto(page.url.partition("#")[0] + "#search?gallery=attic")
    page.reload()
    expect(page.locator("#results [role=alert]")).to_contain_text("cannot be opened")
    yield "a link to what is gone"


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 1280), ("light", 390)])
def test_axe_finds_nothing(browser, address, theme, width):
    context = browser.new_context(
        viewport={"width": width, "height": 844}, reduced_motion="reduce", bypass_csp=True
    )
    page = context.new_page()
    page.set_default_timeout(WAIT)
    expect.set_options(timeout=WAIT)
    page.goto(f"{address}?__theme={theme}")
    script = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
    states = []
    for state in walk(page):
        page.evaluate(f"window.axe || ({{ run() {{ {script} }} }}).run()")
        options = {"resultTypes": ["violations"], "rules": RULES}
        if theme == "dark":  # nothing else differs
            options["runOnly"] = ["color-contrast"]
        found = page.evaluate("(options) => axe.run(document, options)", options)["violations"]
        told = [
            (rule["id"], node["target"], node["failureSummary"])
            for rule in found
            for node in rule["nodes"]
        ]
        assert told == [], state
        states.append(state)
    assert len(states) == 14
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()
