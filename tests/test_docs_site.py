"""The site of docs/: every module is in its reference, and it builds without a dead link."""

import re
import subprocess
import sys

import pytest
from helpers_docs import PAGES, ROOT
from test_layering import FLOORS

# Whose text is their --help.
COMMANDS = {"person_search.cli", "person_search.commands"}
# Attributes that make a browser ask another host before anybody clicks.
REQUEST = re.compile(
    r"<(?:script|link|img|iframe|source|video)\b[^>]*?(?:src|href)=\"(?:https?:)?//[^\"]*"
)


def test_every_room_has_a_reference():
    shown = {
        name
        for page, text in PAGES.items()
        if page.startswith("docs/reference/")
        for name in re.findall(r"^::: ([\w.]+)$", text, re.MULTILINE)
    }
    rooms = {f"{p}.{room}" for p, floors in FLOORS.items() for floor in floors for room in floor}
    assert shown == rooms - COMMANDS


def test_every_page_is_reached():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in PAGES:
        if page.startswith("docs/"):
            assert page.removeprefix("docs/") in navigation, page


@pytest.mark.slow
def test_the_site_builds_and_asks_nobody(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    pages = [*(tmp_path / "site").rglob("*.html")]
    assert len(pages) > 60
    for page in pages:
        assert not REQUEST.findall(page.read_text(encoding="utf-8")), page
    for style in (tmp_path / "site").rglob("*.css"):
        assert not re.search(r"url\(['\"]?(?:https?:)?//", style.read_text(encoding="utf-8")), style
    # A page for each file that the pages link to, and links to them.
    config = tmp_path / "site/repository/reid_heads/config.py.html"
    assert "CROP_REID" in config.read_text(encoding="utf-8")
    text = (tmp_path / "site/reference/index.html").read_text(encoding="utf-8")
    assert 'href="../repository/reid_heads/config.py.html"' in text


@pytest.mark.slow
@pytest.mark.parametrize(
    "line", ["[gone](../reid_heads/gone.py)", "[gone](results.md#gone)", "[gone][reid_heads.gone]"]
)
def test_a_dead_link_fails_the_build(tmp_path, line):
    """A small site with the same settings."""
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    settings = re.sub(r"(?s)\nnav:\n.*?(?=\nnot_in_nav)", "\n", settings)
    settings = settings.replace("docs/repository_pages.py", str(ROOT / "docs/repository_pages.py"))
    settings = settings.replace("docs/griffe_packages.py", str(ROOT / "docs/griffe_packages.py"))
    (tmp_path / "mkdocs.yml").write_text(settings, encoding="utf-8")
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "results.md").write_text("# Results\n", encoding="utf-8")
    (docs / "index.md").write_text(f"# Start\n\n{line}\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0 and "gone" in done.stderr, done.stderr
