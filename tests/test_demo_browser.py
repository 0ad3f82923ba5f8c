"""The page in a real browser, with the shipped model on a small drawn gallery."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("playwright", reason="playwright is not installed")
pytest.importorskip("gradio", reason="needs the extra demo")

from playwright.sync_api import expect, sync_playwright

from demo.app import build_app, launch_app
from demo.service import Gallery, Service
from demo.start_gallery import draw_footage
from person_search.accounts.users import Users
from person_search.footage.files import FootageOptions
from person_search.gallery.add_footage import index_footage
from person_search.gallery.index import GalleryIndex
from person_search.inference.finder import PersonFinder
from person_search.synthetic.world import World
from person_search.synthetic.world_spec import PRESETS

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine's PATH"),
]

NUM_FRAMES = 16
WAIT = 30_000
"""Milliseconds; a loaded machine is slow."""
expect.set_options(timeout=WAIT)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Serve a drawn gallery; yields (address, footage, examples, service)."""
    root = tmp_path_factory.mktemp("page")
    footage, examples = draw_footage(root / "drawn", NUM_FRAMES, num_examples=2)
    finder = PersonFinder.load()
    made = {"fingerprint": finder.fingerprint, "embedding_dim": finder.embedding_dim}
    with (
        pytest.MonkeyPatch.context() as patch,
        GalleryIndex.create(root / "g.db", **made) as index,
    ):
        patch.setenv("GRADIO_TEMP_DIR", str(root))
        options = FootageOptions(camera_from="folder", time_from="exif")
        index_footage(index, finder, [footage], options, progress=False)
        service = Service(finder, {"city": Gallery("city", index, root / "kept")}, examples)
        app = build_app(service)
        url = launch_app(app, port=None)
        yield url, footage, examples, service
        app.close()


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        # Containers run as root, where chromium's sandbox cannot start.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser, served):
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(WAIT)
    asked, broken = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: broken.append(str(error)))
    yield page
    context.close()
    outside = [u for u in asked if not u.startswith(("http://127.0.0.1:", "data:", "blob:"))]
    assert outside == [] and broken == []


def truth_of(file):
    """Return (identity, x1, y1, x2, y2) of each known person of a drawn frame."""
    index = int(Path(file).stem.rpartition("-")[2])
    people = World(PRESETS["drawn-cuhk"]).draw(index).people
    return [
        (p.identity, p.box[0], p.box[1], p.box[0] + p.box[2], p.box[1] + p.box[3])
        for p in people
        if p.identity >= 0
    ]


def overlap(first, second):
    low, high = np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:])
    inner = np.prod(np.clip(high - low, 0, None))
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (first, second)]
    return inner / (sum(areas) - inner)


def boxes_on_stage(page):
    """Return the outlined boxes in pixels of the picture, by number."""
    return page.evaluate("""() => {
      const {width, height} = document.querySelector('.ps-stage').dataset;
      const share = (text) => parseFloat(text) / 100;
      return Object.fromEntries([...document.querySelectorAll('.ps-outline')].map((o) => {
        const [x, y] = [share(o.style.left) * width, share(o.style.top) * height];
        return [o.dataset.number, [x, y, x + share(o.style.width) * width,
                                   y + share(o.style.height) * height]];
      }));
    }""")


def choose_target(page, served):
    """Return the number and identity of the largest found person whom the gallery shows, too."""
    _, footage, examples, _ = served
    in_gallery = {t[0] for file in footage.rglob("*.jpg") for t in truth_of(file)}
    known = [t for t in truth_of(examples[0]) if t[0] in in_gallery]
    pairs = [
        (truth[4] - truth[2], number, truth[0])
        for number, box in boxes_on_stage(page).items()
        for truth in known
        if overlap(np.array(box), np.array(truth[1:])) > 0.6
    ]
    _, number, identity = max(pairs)
    return number, identity


def first_match(page):
    """Open the first card; return its file's name and its box, and close it."""
    page.locator("#results .ps-card button").first.click()
    dialog = page.locator("dialog[open]")
    expect(dialog.locator("img").first).to_be_visible()
    facts = dict(
        zip(dialog.locator("dt").all_inner_texts(), dialog.locator("dd").all_inner_texts(),
            strict=True)
    )  # fmt: skip
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    return facts["File"], [float(v) for v in facts["Box"].split(", ")], facts


def open_example(page, served):
    page.goto(served[0])
    page.locator("#examples button").first.click()
    expect(page.locator("#stage .ps-chip").first).to_be_visible()


def test_click_a_person_and_filter(page, served):
    open_example(page, served)
    number, identity = choose_target(page, served)
    page.locator(f".ps-outline[data-number='{number}']").click(force=True)
    cards = page.locator("#results .ps-card")
    expect(cards.first).to_be_visible()
    # Who is asked for stays in sight.
    cards.last.scroll_into_view_if_needed()
    expect(page.locator("#results .ps-asked img")).to_be_in_viewport()
    file, box, facts = first_match(page)
    found = {
        truth[0] for truth in truth_of(file) if overlap(np.array(box), np.array(truth[1:])) > 0.5
    }
    assert identity in found, "the right person is ranked first"
    assert cards.count() == 12
    # Filters: another camera than the best match's.
    cameras = sorted(p.name for p in served[1].iterdir() if p.name != facts["Camera"])
    page.get_by_role("button", name="Filters and settings").click()
    page.locator("#cameras input").fill(cameras[0])
    page.keyboard.press("Enter")
    expect(page.locator(".ps-camera", has_text=facts["Camera"])).to_have_count(0)
    assert {*page.locator(".ps-camera").all_inner_texts()} == {cameras[0]}
    # A threshold that nobody reaches.
    page.locator("#threshold input[type=number]").fill("1")
    page.keyboard.press("Tab")
    expect(page.locator("#results [role=alert]")).to_contain_text("Probably not in this gallery")


def test_a_link_opens_the_search_again(page, served):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    open_example(page, served)
    page.locator("#stage .ps-chip").first.click()
    cards = page.locator("#results .ps-card")
    expect(cards.first).to_be_visible()
    page.get_by_role("button", name="Filters and settings").click()
    page.locator("#until input").fill("2025-06-02T09:00:30")
    page.locator("#until input").dispatch_event("change")
    expect(page.locator("#results")).to_contain_text("Only until 2025-06-02 09:00:30")
    found = cards.all_inner_texts()
    page.get_by_role("button", name="Copy a link to this search").click()
    expect(page.locator("#results .ps-address")).to_contain_text("Copied")
    link = page.evaluate("navigator.clipboard.readText()")
    page.goto("about:blank")
    page.goto(link)
    expect(cards.first).to_be_visible()
    assert cards.all_inner_texts() == found
    page.get_by_role("button", name="Filters and settings").click()
    expect(page.locator("#until input")).to_have_value("2025-06-02T09:00:30")
    page.locator("#results [data-clear]").click()
    expect(page.locator("#results")).not_to_contain_text("Only until")
    expect(page.locator("#until input")).to_have_value("")
    page.goto(served[0] + "#search?gallery=attic")
    page.reload()
    expect(page.locator("#results [role=alert]")).to_contain_text("no gallery 'attic'")


def test_the_keyboard_is_enough(page, served):
    page.goto(served[0])
    page.locator("#examples button").first.focus()
    page.keyboard.press("Enter")
    chip = page.locator("#stage .ps-chip").first
    chip.focus()
    page.keyboard.press("Enter")
    expect(chip).to_have_attribute("aria-pressed", "true")
    card = page.locator("#results .ps-card button").first
    card.focus()
    page.keyboard.press("Enter")
    expect(page.locator("dialog[open]")).to_be_visible()
    page.locator("[data-same]").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#results")).to_contain_text("Searching with 2 pictures")
    page.get_by_role("button", name="Type a box").click()
    page.locator("#box input, #box textarea").fill("nowhere")
    page.keyboard.press("Enter")
    expect(page.get_by_text("expected four numbers")).to_be_visible()


def test_draw_a_box_by_two_clicks_and_by_dragging(page, served):
    open_example(page, served)
    stage = page.locator(".ps-stage")
    area = stage.bounding_box()
    corners = [(0.3, 0.4), (0.45, 0.8)]
    places = [(area["width"] * x, area["height"] * y) for x, y in corners]
    page.locator("[data-draw]").click()
    for x, y in places:
        stage.click(position={"x": x, "y": y})
    expect(page.locator("#results .ps-card").first).to_be_visible()
    expect(page.locator(".ps-band")).to_be_visible()
    first = page.locator(".ps-asked img").get_attribute("src")
    area = stage.bounding_box()
    page.mouse.move(area["x"] + area["width"] * 0.6, area["y"] + area["height"] * 0.3)
    page.mouse.down()
    page.mouse.move(area["x"] + area["width"] * 0.8, area["y"] + area["height"] * 0.9, steps=3)
    page.mouse.up()
    expect(page.locator(".ps-asked img")).not_to_have_attribute("src", first)


def test_upload_a_picture_of_nobody_and_no_picture(page, served, tmp_path):
    Image.new("RGB", (320, 200), (90, 110, 100)).save(tmp_path / "wall.png")
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    page.goto(served[0])
    field = page.locator("#upload input[type=file]")
    field.set_input_files(tmp_path / "wall.png")
    expect(page.locator("#stage [role=alert]")).to_contain_text("Nobody was found")
    field.set_input_files(tmp_path / "broken.png")
    expect(page.locator("#stage [role=alert]")).to_contain_text("broken.png is not a picture")


def test_a_crop_of_one_person_is_searched_at_once(page, served, tmp_path):
    _, x1, y1, x2, y2 = max(truth_of(served[2][0]), key=lambda truth: truth[4] - truth[2])
    with Image.open(served[2][0]) as image:
        image.crop((x1, y1, x2, y2)).save(tmp_path / "crop.png")
    page.goto(served[0])
    page.locator("#upload input[type=file]").set_input_files(tmp_path / "crop.png")
    expect(page.locator("#results .ps-card").first).to_be_visible()
    expect(page.locator("#stage .ps-outline.ps-chosen")).to_have_count(1)
    expect(page.locator("#stage")).to_contain_text("1 person found and searched for")


def test_index_a_new_image_and_find_it(page, served, tmp_path):
    new = tmp_path / "new.jpg"
    shutil.copy(served[2][0], new)
    page.goto(served[0])
    expect(page.locator("#summary")).to_contain_text(f"{NUM_FRAMES} frames")
    page.get_by_role("tab", name="Add footage").click()
    page.locator("#footage input[type=file]").set_input_files(new)
    page.locator("#camera input, #camera textarea").fill("yard")
    expect(page.get_by_role("cell", name="new.jpg", exact=True)).to_be_visible()
    page.locator("#add-button").click()
    expect(page.locator("#report")).to_contain_text("Added 1 frame")
    expect(page.locator("#summary")).to_contain_text(f"{NUM_FRAMES + 1} frames")
    page.get_by_role("tab", name="Search").click()
    page.locator("#examples button").first.click()
    page.locator("#stage .ps-chip").first.click()
    expect(page.locator("#results .ps-camera").first).to_have_text("yard")
    assert first_match(page)[2]["Similarity"] == "1.000"
    assert served[3].gallery("city").index.remove(camera="yard").frames == 1


def test_a_phone_sized_window_has_no_sideways_scrolling(page, served):
    page.set_viewport_size({"width": 390, "height": 844})
    open_example(page, served)
    page.locator("#stage .ps-chip").first.click()
    expect(page.locator("#results .ps-card").first).to_be_visible()
    # The picture came before: the reader is taken to the matches.
    expect(page.locator("#results .ps-asked")).to_be_in_viewport()
    for tab in ("Search", "Add footage"):
        page.get_by_role("tab", name=tab).click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_log_in_with_a_password(page, served):
    app = build_app(served[3])
    url = launch_app(app, port=None, users=Users.single("ann", "secret"))
    try:
        page.goto(url)
        name, password = page.get_by_label("Name"), page.get_by_label("Password")
        name.fill("ann")
        password.fill("guess")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_have_text("Name or password is wrong.")
        assert page.locator("#examples").count() == 0
        name.fill("ann")
        password.fill("secret")
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator("#examples button").first).to_be_visible()
    finally:
        app.close()


def test_export_the_matches_and_open_the_report_offline(page, served, tmp_path, browser):
    """What is downloaded opens without network and without scripts, and nothing stays here."""
    open_example(page, served)
    number, _ = choose_target(page, served)
    page.locator(f"#stage .ps-chip[data-number='{number}']").click()
    button = page.get_by_role("button", name="Export these matches")
    with page.expect_download() as waiting:
        button.click()
    waiting.value.save_as(tmp_path / "case.zip")
    expect(page.locator("#results .ps-export")).to_contain_text("MB; other people are blurred")
    expect(button).to_be_enabled()
    assert page.locator("#case [data-zip]").count() == 0
    assert not list(Path(served[1]).parents[1].rglob("*.zip"))
    shutil.unpack_archive(tmp_path / "case.zip", tmp_path)
    checked = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=tmp_path / "case")
    assert checked.returncode == 0
    context = browser.new_context(offline=True, java_script_enabled=False)
    report, failed = context.new_page(), []
    report.on("requestfailed", lambda request: failed.append(request.url))
    report.goto((tmp_path / "case" / "report.html").as_uri())
    expect(report.get_by_role("heading", name="Match 1", exact=True)).to_be_visible()
    report.pdf(path=tmp_path / "print.pdf")  # loads what is further down
    sizes = report.locator("img").evaluate_all("all => all.map((one) => one.naturalWidth)")
    assert len(sizes) >= 3 and min(sizes) > 0 and failed == []
    context.close()
