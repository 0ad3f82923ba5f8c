"""docs/search_your_footage.ipynb: stored without outputs, and what its cells do."""

import ast
import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers_docs import PAGES, ROOT
from PIL import Image

NOTEBOOK = json.loads((ROOT / "docs/search_your_footage.ipynb").read_text(encoding="utf-8"))
CODE = ["".join(c["source"]) for c in NOTEBOOK["cells"] if c["cell_type"] == "code"]
TEXT = ["".join(c["source"]) for c in NOTEBOOK["cells"] if c["cell_type"] == "markdown"]
# What the last cells show below them, where a program has nothing to show it in.
KEEP = """
gallery.close()
sheet.save("sheet.png")
print(json.dumps([match.image for match in matches]))
"""


def test_it_is_a_notebook_without_outputs():
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
    cells = NOTEBOOK["cells"]
    assert len({cell["id"] for cell in cells}) == len(cells)
    for cell in cells:
        assert cell["cell_type"] in ("code", "markdown") and cell["metadata"] == {}
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None


def test_it_imports_what_the_small_installation_has():
    """Each name is where it says; of PyTorch and detectron2 the cells themselves know nothing."""
    nodes = [node for cell in CODE for node in ast.walk(ast.parse(cell))]
    assert not any(isinstance(node, ast.Import) for node in nodes)
    imports = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    assert {node.module.partition(".")[0] for node in imports} == {
        "PIL",
        "pathlib",
        "person_search",
    }
    for node in imports:
        for alias in node.names:
            assert hasattr(importlib.import_module(node.module), alias.name), node.module


def test_pages_lead_to_it_and_it_to_pages():
    assert any("(search_your_footage.ipynb)" in text for text in PAGES.values())
    links = [link for text in TEXT for link in text.split("](")[1:]]
    assert len(links) == 3
    for link in links:
        assert (ROOT / "docs" / link.partition(")")[0]).is_file(), link


@pytest.mark.slow
def test_it_finds_the_person_in_other_frames(tmp_path):
    """Its cells in their order, as one program in a folder of its own; then it is indexed again."""
    (index,) = [cell for cell in CODE if "index_footage(" in cell]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(["import json", *CODE, index, KEEP])],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"44 frames added with \d{3} people\n0 unchanged, 0 broken\n", done.stdout)
    assert "0 frames added with 0 people\n44 unchanged, 0 broken\n" in done.stdout
    # The frames that the drawn world itself says the person is in.
    there = {2004, 2006, 2009, 2013, 2018, 2024, 2027, 2030, 2032, 2033}
    numbers = [int(Path(image).stem) for image in json.loads(done.stdout.splitlines()[-1])]
    assert len(numbers) == 8
    assert numbers[0] in there and len(there & set(numbers)) >= 5
    assert Image.open(tmp_path / "sheet.png").width > 600
