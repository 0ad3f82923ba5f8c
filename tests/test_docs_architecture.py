"""docs/architecture.md names what there is."""

import re

from helpers_docs import PAGES, blocks
from test_layering import FLOORS, ROOT

PAGE = PAGES["docs/architecture.md"]


def test_the_tree_names_every_folder_and_file_of_the_packages_roots():
    (tree,) = [block for block in blocks(PAGE, "text") if block.startswith("person_search/")]
    named = {}
    for part in tree.split("\n\n"):
        package, *lines = part.splitlines()
        named[package.rstrip("/")] = {line.split()[0] for line in lines}
    for package, floors in FLOORS.items():
        folder = ROOT / package
        rooms = {name for floor in floors for name in floor}
        assert named[package] == {f"{r}/" if (folder / r).is_dir() else f"{r}.py" for r in rooms}


def test_the_table_of_floors_is_the_law():
    rows = re.findall(r"^\| \d+ \| (.*) \| (.*?) ?\|$", PAGE, re.MULTILINE)
    for column, package in enumerate(("reid_heads", "person_search")):
        cells = [tuple(re.findall(r"`(\w+)`", row[column])) for row in rows]
        assert tuple(filter(None, cells)) == FLOORS[package]
