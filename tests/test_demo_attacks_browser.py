"""The attacker in a real browser: names that are HTML, and users who may not do what they try."""

import functools
import shutil
import ssl

import pytest
from helpers_demo import EMBEDDING_DIM, FINGERPRINT, ColorFinder, draw_colors
from PIL import Image
from PIL.ExifTags import Base

pytest.importorskip("playwright", reason="playwright is not installed")
pytest.importorskip("gradio", reason="needs the extra demo")

from helpers_door import PASSWORD, make_users, serve_page
from playwright.sync_api import expect, sync_playwright

from demo.additions import index_uploads
from person_search.footage.files import FootageOptions
from person_search.gallery.index import GalleryIndex

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine's PATH"),
]
EVIL = '"><img src=x onerror=window.hacked=1><script>window.hacked=1</script>{{7*7}}'
WAIT = 30_000


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Serve a gallery whose label, cameras, files, EXIF and people are HTML; yields its address."""
    folder = tmp_path_factory.mktemp("evil")
    made = {"fingerprint": FINGERPRINT, "embedding_dim": EMBEDDING_DIM}
    with (
        pytest.MonkeyPatch.context() as patch,
        GalleryIndex.create(folder / "g.db", **made) as index,
    ):
        patch.setenv("GRADIO_TEMP_DIR", str(folder))
        patch.setattr(ssl, "create_default_context", functools.cache(ssl.create_default_context))
        users = make_users(ann="admin", bob=("viewer", [EVIL]))
        app, service, url = serve_page(ColorFinder(), {EVIL: index}, folder, users)
        for second, colors in enumerate((["red"], ["red", "blue"])):
            file = folder / f"<img src=x onerror=window.hacked={second}>.jpg"
            exif = Image.Exif()
            exif[Base.ImageDescription] = exif[Base.Make] = EVIL
            exif.get_ifd(Base.ExifOffset)[Base.DateTimeOriginal] = f"2026:05:04 08:00:0{second}"
            Image.fromarray(draw_colors(colors)).save(file, exif=exif)
            options = FootageOptions(camera=EVIL, time_from="exif")
            index_uploads(service, service.gallery(None), [file], options)
        index.appearances.groups.refresh(0.9)
        index.appearances.groups.name(index.appearances.groups.all()[0].number, EVIL[:90])
        query = folder / '"><img src=x onerror=window.hacked=3>.png'
        Image.fromarray(draw_colors(["red"], seed=4)).save(query)
        broken = folder / '"><img src=x onerror=window.hacked=4>.png'
        broken.write_bytes(b"no picture")
        yield url, query, broken
        app.close(verbose=False)


@pytest.fixture
def page(served):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        opened = browser.new_page(viewport={"width": 1280, "height": 900})
        opened.set_default_timeout(WAIT)
        asked = []
        opened.on("request", lambda request: asked.append(request.url))
        yield opened
        assert opened.evaluate("window.hacked") is None
        browser.close()
    outside = [u for u in asked if not u.startswith(("http://127.0.0.1:", "data:", "blob:"))]
    assert outside == []


def sign_in(page, url, name):
    expect.set_options(timeout=WAIT)
    page.goto(url)
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#caller")).to_contain_text(f"Signed in as {name}")


def test_names_that_are_html_stay_text(page, served):
    url, query, broken = served
    sign_in(page, url, "ann")
    upload = page.locator("#upload input[type=file]")
    upload.set_input_files(query)
    expect(page.locator("#results .ps-card").first).to_be_visible()
    expect(page.locator("#summary")).to_contain_text("onerror")
    page.locator("#results .ps-card button").first.click()
    expect(page.locator("dialog[open] dl")).to_contain_text("onerror")
    page.keyboard.press("Escape")
    page.get_by_role("tab", name="People").click()
    expect(page.locator(".ps-group").first).to_contain_text("onerror")
    page.locator(".ps-group-open").first.click()
    expect(page.locator("dialog[open]")).to_be_visible()
    page.keyboard.press("Escape")
    page.get_by_role("tab", name="Search").click()
    page.locator("#upload input[type=file]").set_input_files(broken)
    expect(page.locator("#stage")).to_contain_text("is not a picture")
    assert page.evaluate("document.querySelectorAll('img[src=\"x\"]').length") == 0


def test_the_policy_of_the_page_stops_a_script_that_got_in(page, served):
    """Were something not escaped, it still would not run."""
    sign_in(page, served[0], "ann")
    page.evaluate("""() => {
      const place = document.createElement('div');
      place.innerHTML = '<img src="x" onerror="window.hacked=1">';
      document.body.append(place);
      const script = document.createElement('script');
      script.textContent = 'window.hacked=1';
      document.body.append(script);
      const other = document.createElement('script');
      other.src = 'data:text/javascript,window.hacked=1';
      document.body.append(other);
    }""")
    page.wait_for_timeout(500)


def test_a_viewer_is_offered_nothing_that_is_for_others_and_signs_out(page, served):
    url, query, _ = served
    sign_in(page, url, "bob")
    expect(page.locator("#caller")).to_contain_text("viewer")
    page.locator("#upload input[type=file]").set_input_files(query)
    expect(page.locator("#results .ps-card").first).to_be_visible()
    expect(page.get_by_role("button", name="Export these matches")).to_have_count(0)
    expect(page.get_by_role("tab", name="People")).to_be_visible()
    for name in ("Add footage", "Admin"):
        expect(page.get_by_role("tab", name=name)).not_to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Password")).to_be_visible()
    page.goto(url)
    expect(page.get_by_label("Password")).to_be_visible()
