"""The import table of design.md, section 1, and the limits of style.md, read from the sources."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("reid_heads", "person_search", "demo")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

CROP_PIPELINE = ("reid_heads.data", "reid_heads.evaluation", "reid_heads.train_net")
MODEL_CODE = "person_search.modeling"
GALLERY_WITHOUT_TORCH = (
    *("approximate", "crops", "drawing", "engine", "footage", "images", "index", "indexing"),
    *("match", "onnx_network", "people", "people_drawing", "ranking", "read_ahead", "rows"),
    *("searching", "store", "summary", "threshold_file", "times", "video", "writing"),
)
# For the modules under each prefix: prefixes that they must not import.
FORBIDDEN = {
    "reid_heads": ("person_search", "demo"),
    "reid_heads.heads": CROP_PIPELINE,
    "reid_heads.losses": CROP_PIPELINE,
    "reid_heads.augmentation": CROP_PIPELINE,
    "reid_heads.backbone": CROP_PIPELINE,
    "reid_heads.crop_reid": CROP_PIPELINE,
    "reid_heads.meta_learning": CROP_PIPELINE,
    "reid_heads.data": (
        "reid_heads.heads",
        "reid_heads.losses",
        "reid_heads.crop_reid",
        "reid_heads.evaluation",
        "reid_heads.train_net",
    ),
    "reid_heads.evaluation": (
        "reid_heads.heads",
        "reid_heads.losses",
        "reid_heads.crop_reid",
        "reid_heads.data",
        "reid_heads.train_net",
        "torch",
        "torchvision",
        "detectron2.modeling",
    ),
    "person_search": ("demo",),
    "person_search.modeling": (
        "person_search.data",
        "person_search.synthetic",
        "person_search.evaluation",
        "person_search.gallery",
        "person_search.train_net",
    ),
    "person_search.data": (
        "person_search.modeling",
        "person_search.evaluation",
        "person_search.gallery",
        "person_search.train_net",
    ),
    "person_search.evaluation": (
        "person_search.modeling",
        "person_search.gallery",
        "person_search.train_net",
        "torch",
        "torchvision",
        "detectron2.modeling",
    ),
    # What keeps, reads and draws galleries works with an exported model, without PyTorch.
    **{
        f"person_search.gallery.{name}": ("torch", "torchvision", "detectron2", MODEL_CODE)
        for name in GALLERY_WITHOUT_TORCH
    },
    "person_search.synthetic": (
        "person_search.modeling",
        "person_search.evaluation",
        "person_search.gallery",
        "torch",
        "detectron2",
    ),
}
ALLOWED = {
    ("person_search.evaluation.evaluator", "torch"),
    ("reid_heads.evaluation.evaluator", "torch"),
}
# The copy is reached under detectron2's own name only.
NOWHERE = ("LabGym",)
# Entry points, whose output is what they are for.
MAY_PRINT = {
    "cli.py",
    "evaluate.py",
    "info.py",
    "invert.py",
    "label_noise.py",
    "purify.py",
    "command.py",
    "search_drawn_gallery.py",
    "serve.py",
    "shrink_weights.py",
}
MAX_LINES = 350


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_below(name, prefix):
    return name == prefix or name.startswith(prefix + ".")


def imports_of(tree, module, is_package):
    """Every module that a source imports, in functions too; ``from a import b`` gives a and a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                parents = parts[: len(parts) - node.level + is_package]
                base = ".".join([*parents, base] if base else parents)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def violations(source, module, is_package=False):
    found = []
    for name in imports_of(ast.parse(source), module, is_package):
        if any(is_below(name, prefix) for prefix in NOWHERE):
            found.append(name)
        for layer, forbidden in FORBIDDEN.items():
            if not is_below(module, layer):
                continue
            found += [name for p in forbidden if is_below(name, p) and (module, p) not in ALLOWED]
    return sorted(set(found))


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_follow_the_layers(path):
    found = violations(path.read_text(), module_name(path), path.name == "__init__.py")
    assert not found, f"{module_name(path)} must not import {found} (design.md, section 1)"


@pytest.mark.parametrize(
    ("module", "source", "expected"),
    [
        ("reid_heads.losses.oim", "import person_search.data", ["person_search.data"]),
        ("reid_heads.x", "from demo import app", ["demo", "demo.app"]),
        (
            "person_search.modeling.x",
            "from ..data import y",
            ["person_search.data", "person_search.data.y"],
        ),
        (
            "person_search.modeling.x",
            "from person_search import gallery",
            ["person_search.gallery"],
        ),
        ("person_search.evaluation.search", "def f():\n import torch", ["torch"]),
        ("person_search.evaluation.evaluator", "import torch", []),
        ("reid_heads.evaluation.ranking", "import torch", ["torch"]),
        (
            "reid_heads.heads.x",
            "from reid_heads.data import y",
            ["reid_heads.data", "reid_heads.data.y"],
        ),
        ("person_search.gallery.x", "from person_search.modeling import y", []),
        (
            "person_search.x",
            "from LabGym.detectron2 import y",
            ["LabGym.detectron2", "LabGym.detectron2.y"],
        ),
        ("person_search.x", "import demography", []),
    ],
)
def test_the_check_finds_what_it_should(module, source, expected):
    assert violations(source, module) == expected


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_files_are_short(path):
    count = len(path.read_text().splitlines())
    assert count <= MAX_LINES, f"{path.name} has {count} lines; split it by subject"


def may_print(path):
    # By folder where a command is called as a module of the library is: store, index, search.
    return path.name in MAY_PRINT or path.parent.name == "commands"


@pytest.mark.parametrize("path", [path for path in FILES if not may_print(path)], ids=module_name)
def test_only_entry_points_print(path):
    calls = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "print"
    ]
    assert not calls, f"{path.name} prints in lines {calls}; use logging"


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_no_path_edits_and_no_star_imports(path):
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert all(alias.name != "*" for alias in node.names), node.lineno
        if isinstance(node, ast.Attribute) and node.attr == "path":
            assert getattr(node.value, "id", None) != "sys", f"sys.path in line {node.lineno}"


def test_init_files_are_short():
    for path in FILES:
        if path.name == "__init__.py":
            lines = len(path.read_text().splitlines())
            assert lines <= 20, f"{path}: {lines} lines"


def test_tests_are_flat():
    """A tests/reid_heads/__init__.py breaks ``import reid_heads`` (style, rule 43)."""
    assert not list((ROOT / "tests").rglob("__init__.py"))
