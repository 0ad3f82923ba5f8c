"""MkDocs hook: links from pages to files of the repository lead somewhere in the site too.

A page links to a source, a config or a table of results by its relative path, so that the link
works in an editor and on a code host. For the site, each file linked so becomes a page below
``repository/``, and the link is turned to it. A link to what is not there stays as it is: MkDocs
refuses it, as it refuses other dead links.
"""

import posixpath
import re
from collections.abc import Callable
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
FOLDER = "repository"
# In the navigation, whether or not a page links to them.
ALWAYS = ("CONTRIBUTING.md", "CHANGELOG.md", "LICENSE")
LANGUAGES = {".json": "json", ".py": "python", ".sh": "bash", ".toml": "toml", ".yaml": "yaml"}
LINK = re.compile(r"(?<=\]\()([^)\s#]+)(#[^)\s]*)?(?=\))")
# Found by the pages that lead to them, not by words.
FRONT_MATTER = "---\nsearch:\n  exclude: true\n---\n\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each file of the repository that pages link to, and that these link to."""
    pages = {file.src_uri: file.content_string for file in files.documentation_pages()}
    waiting = [*ALWAYS]
    for uri, text in pages.items():
        waiting += linked_files(text, posixpath.join("docs", posixpath.dirname(uri)))
    done = set()
    while waiting:
        name = waiting.pop()
        if name in done:
            continue
        done.add(name)
        text = page_text(name)
        files.append(File.generated(config, page_uri(name), content=FRONT_MATTER + text))
        if name.endswith(".md"):
            waiting += linked_files(text, posixpath.dirname(name))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn the page's links to files of the repository to their pages; keep numbers in one line."""
    markdown = re.sub(r"(?<=\d) ± (?=\d)", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}", markdown)
    uri = page.file.src_uri
    folder = posixpath.dirname(uri)
    if uri.startswith(f"{FOLDER}/"):
        if page_uri(uri.removeprefix(f"{FOLDER}/")) != uri:
            return markdown  # No Markdown file: a source, whose brackets are no links.
        base = folder.removeprefix(FOLDER).lstrip("/")
    else:
        base = posixpath.join("docs", folder)

    def turn(link: re.Match[str]) -> str:
        name = name_in_repository(link[1], base)
        if name is None:
            return link[0]
        inside = name.removeprefix("docs/")
        target = inside if inside != name else page_uri(name)
        return posixpath.relpath(target, folder or ".") + (link[2] or "")

    return map_links(markdown, turn)


def linked_files(text: str, base: str) -> list[str]:
    """Return the files outside ``docs/``, from the root on, that a text of a folder links to."""
    found: list[str] = []

    def note(link: re.Match[str]) -> str:
        name = name_in_repository(link[1], base)
        if name is not None and not name.startswith("docs/"):
            found.append(name)
        return link[0]

    map_links(text, note)
    return found


def map_links(text: str, change: Callable[[re.Match[str]], str]) -> str:
    """Replace what is in the round brackets of each link, code blocks aside."""
    parts = re.split(r"(?ms)(^ *(?:```|~~~).*?^ *(?:```|~~~) *$)", text)
    return "".join(
        part if number % 2 else LINK.sub(change, part) for number, part in enumerate(parts)
    )


def name_in_repository(link: str, base: str) -> str | None:
    """Return the path, from the root on, that a link means, or None if there is no such file."""
    if re.match(r"[a-z]+:|/", link):
        return None
    name = posixpath.normpath(posixpath.join(base, link))
    return name if not name.startswith("..") and (ROOT / name).exists() else None


def page_uri(name: str) -> str:
    """Return the page that a file or folder of the repository has in the site."""
    return f"{FOLDER}/{name}" if name.endswith(".md") else f"{FOLDER}/{name}.md"


def page_text(name: str) -> str:
    """Return a file as Markdown: text as it is, sources as code, of folders the list."""
    path = ROOT / name
    if path.is_dir():
        entries = sorted(p.name + "/" * p.is_dir() for p in path.iterdir() if p.name[0] not in "._")
        return f"# {name}/\n\n" + "".join(f"- `{entry}`\n" for entry in entries)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return f"# {name}\n\nA file of {path.stat().st_size:,} bytes in the repository.\n"
    if name.endswith(".md"):
        return text
    language = LANGUAGES.get(path.suffix, "text")
    return f"# {name}\n\n~~~~~~{language}\n{text.rstrip()}\n~~~~~~\n"
