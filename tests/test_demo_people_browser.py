"""People nobody asked about, in a real browser."""

import shutil

import pytest
from helpers_demo import ColorFinder, draw_colors
from PIL import Image

pytest.importorskip("playwright", reason="playwright is not installed")
pytest.importorskip("gradio", reason="needs the extra demo")

from playwright.sync_api import expect, sync_playwright

from demo.actions import Gallery, Service
from demo.app import build_app, launch_app
from person_search.footage.files import FootageOptions
from person_search.gallery.add_footage import index_footage
from person_search.gallery.index import GalleryIndex

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine's PATH"),
]
DAY = [("red", "blue"), ("red", "blue"), ("red",), (), ("green",), (), ("red",), ("red",)]


@pytest.fixture
def page(tmp_path, monkeypatch):
    """Red comes with blue, and comes again; each moment is 6 s after the last."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    folder = tmp_path / "footage" / "gate"
    folder.mkdir(parents=True)
    for number, colors in enumerate(DAY):
        picture = Image.fromarray(draw_colors(list(colors)))
        picture.save(folder / f"2026-05-04_08-00-{6 * number:02d}.png")
    finder = ColorFinder()
    made = {"fingerprint": finder.fingerprint, "embedding_dim": finder.embedding_dim}
    with GalleryIndex.create(tmp_path / "g.db", **made) as index, sync_playwright() as playwright:
        options = FootageOptions(camera_from="folder", time_from="name")
        index_footage(index, finder, [folder.parent], options, progress=False)
        index.appearances.link()
        app = build_app(Service(finder, {"toy": Gallery("toy", index, tmp_path)}))
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        opened = browser.new_page(viewport={"width": 390, "height": 844})
        opened.set_default_timeout(30_000)
        broken = []
        opened.on("pageerror", lambda error: broken.append(str(error)))
        opened.goto(launch_app(app, port=None))
        yield opened
        browser.close()
        app.close()
    assert broken == []


def test_name_somebody_look_at_a_stay_and_merge_by_keyboard(page):
    expect.set_options(timeout=30_000)
    page.get_by_role("tab", name="People").click()
    rows = page.locator(".ps-group")
    expect(rows).to_have_count(3)
    expect(rows.first).to_contain_text("2 stays, 5 frames")
    expect(rows.first).to_contain_text("with Group 1 (1)")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    rows.first.locator(".ps-group-open").focus()
    page.keyboard.press("Enter")
    name = page.locator("dialog[open] [data-name]")
    name.fill("Anna <b>")
    page.keyboard.press("Enter")
    expect(page.locator("dialog[open] h2")).to_have_text("Anna <b>")
    page.locator("dialog[open] [data-stay]").first.click()
    expect(page.locator("dialog[open] h2")).to_have_text("Another stay")
    expect(page.locator("dialog[open]")).to_contain_text("Who else was there")
    page.keyboard.press("Escape")
    expect(rows.first).to_contain_text("Anna <b>")
    merge = page.get_by_role("button", name="Merge chosen")
    expect(merge).to_be_disabled()
    for row in (0, 1):
        rows.nth(row).locator("[data-choose]").focus()
        page.keyboard.press("Space")
    merge.click()
    expect(rows).to_have_count(2)
    page.get_by_role("button", name="Undo").click()
    expect(rows).to_have_count(3)
    # A part of the stays goes out, and back in.
    rows.first.locator(".ps-group-open").click()
    page.locator("dialog[open] [data-part]").first.check()
    page.get_by_role("button", name="Split chosen").click()
    expect(page.locator("dialog[open] [data-part]")).to_have_count(1)
    expect(rows).to_have_count(4)
    page.locator("dialog[open] [data-part]").check()
    page.locator("[data-target]").select_option(label="Group 4")
    page.get_by_role("button", name="Move chosen there").click()
    expect(page.locator("dialog[open] h2")).to_have_text("Group 4")
    expect(page.locator("dialog[open] [data-part]")).to_have_count(2)


def test_what_is_not_a_person_is_hidden_and_brought_back_by_keyboard(page):
    expect.set_options(timeout=30_000)
    page.get_by_role("tab", name="People").click()
    rows = page.locator(".ps-group")
    expect(rows).to_have_count(3)
    not_people = page.locator("#groups").get_by_role("button", name="Chosen are not people")
    expect(not_people).to_be_disabled()
    rows.nth(1).locator("[data-choose]").focus()
    page.keyboard.press("Space")
    not_people.focus()
    page.keyboard.press("Enter")
    expect(rows).to_have_count(2)
    expect(page.locator("#groups")).to_contain_text("1 group is not a person, and hidden.")
    rows.first.locator(".ps-group-open").click()
    page.locator("dialog[open] [data-part]").last.check()
    page.locator("dialog[open]").get_by_role("button", name="Chosen are not people").click()
    expect(rows.first).to_contain_text("1 stay")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Show", exact=True).click()
    back = page.locator("dialog[open] [data-somebody]")
    expect(back).to_have_count(2)
    back.first.focus()
    page.keyboard.press("Enter")
    expect(back).to_have_count(1)
    page.keyboard.press("Escape")
    expect(rows).to_have_count(3)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
