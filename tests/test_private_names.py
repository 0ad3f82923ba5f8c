"""Only adapters touch private names of other libraries, which may go without a word."""

import ast
import importlib
import inspect
import re
import textwrap
from functools import cache

import pytest
from helpers_sources import ROOT, list_sources, parse

from reid_heads.library_parts import Library

PACKAGES = ("reid_heads", "person_search", "demo")
FILES = list_sources(*PACKAGES, "benchmarks")

# The one file for each library: plain functions, and a check that says what to install.
ADAPTERS = {
    "demo/gradio_parts.py",
    "demo/uvicorn_parts.py",
    "reid_heads/detectron2_parts.py",
    "reid_heads/torch_parts.py",
}
# What a subclass may define, and call on itself: made for subclasses, whatever the underscore says.
FOR_SUBCLASSES = {
    # detectron2's own examples of augmentations and transforms call these.
    *("_init", "_rand_range", "_set_attributes"),
    # Says in its docstring that subclasses may change how annotations are mapped.
    "_transform_annotations",
    # fvcore's loading in parts, each to be changed by a subclass.
    *("_load_file", "_load_model"),
    "_update_best",
    # The one way to find the boxes without what StandardROIHeads does with them afterwards.
    "_forward_box",
    # The one way to make no detection branch.
    "_init_box_head",
    # PyTorch's hook for state of older versions.
    "_load_from_state_dict",
}
# Modules without an underscore that their libraries do not document: of adapters only, too.
UNDOCUMENTED = (
    "detectron2.export.torchscript_patch",
    "gradio.components.api_component",
    "gradio.data_classes",
    "gradio.route_utils",
    "gradio_client",
    "uvicorn.protocols",
)
# Public, for all their underscores: of named tuples.
PUBLIC = {"_replace", "_asdict", "_fields", "_make"}
# Of the standard library's type stubs, which have no other name for them.
STUBS = {"_typeshed", "_Hash"}


def is_private(name):
    return name.startswith("_") and not name.startswith("__") and name != "_"


def is_set_on_itself(node):
    return isinstance(node.ctx, ast.Store) and getattr(node.value, "id", None) in ("self", "cls")


def definitions(tree):
    """Yield the private names that a source defines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and is_set_on_itself(node):
            yield node.attr


def uses(tree):
    """Yield (line, name) of each private name that a source reaches for, in text too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            yield node.lineno, node.attr
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [*(a.name for a in node.names), getattr(node, "module", None) or ""]
            parts = {part for name in names for part in name.split(".")}
            yield from ((node.lineno, part) for part in parts if is_private(part))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # As in getattr(model, "_name") and getLogger("torch.fx._symbolic_trace").
            if found := re.fullmatch(r"(?:[a-z]\w*\.)+(_[a-zA-Z]\w*)(?:\.\w+)*", node.value):
                yield node.lineno, found[1]
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "").endswith("attr"):
            texts = [a.value for a in node.args if isinstance(a, ast.Constant)]
            names = [text for text in texts if isinstance(text, str) and is_private(text)]
            yield from ((node.lineno, name) for name in names)


def foreign_names(tree, ours):
    """Name, with its line, every private name of a source that no file of ours defines."""
    allowed = ours | FOR_SUBCLASSES | PUBLIC | STUBS
    found = {(number, name) for number, name in uses(tree) if name not in allowed}
    return [f"{name} (line {number})" for number, name in sorted(found)]


@cache
def our_names():
    names = (name for path in adapter_free(FILES) for name in definitions(parse(path)))
    return {name for name in names if is_private(name)}


def adapter_free(paths):
    return [p for p in paths if p.relative_to(ROOT).as_posix() not in ADAPTERS]


def test_private_names_are_our_own():
    found = {
        path.relative_to(ROOT).as_posix(): foreign_names(parse(path), our_names())
        for path in adapter_free(FILES)
    }
    foreign = {path: names for path, names in found.items() if names}
    assert not foreign, "go through an adapter to lean on private names of another library"


def imported_modules(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_only_adapters_import_what_is_undocumented():
    for path in adapter_free(FILES):
        # Benchmarks try several versions of a library side by side.
        if "benchmarks" not in path.parts:
            for name in imported_modules(parse(path)):
                found = [m for m in UNDOCUMENTED if f"{name}.".startswith(f"{m}.")]
                assert not found, f"{path.name} imports {name}: go through an adapter"


@cache
def private_names_of(base):
    """Return the private names of a class of another library, set on its objects too."""
    names = {name for name in vars(base) if is_private(name)}
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
    except (OSError, TypeError):  # written in C
        return names
    return names | {name for name in definitions(tree) if is_private(name)}


def inherited_names(cls, tree):
    """Return the private names in a class's source that it has from another library's class."""
    bases = [b for b in cls.__mro__[1:] if b.__module__.partition(".")[0] not in PACKAGES]
    foreign = set().union(*(private_names_of(base) for base in bases if base is not object))
    own = {name for _, name in uses(tree)} | {n.name for n in tree.body if hasattr(n, "name")}
    return {name for name in own & foreign if is_private(name)}


def classes_with_private_names(path):
    """Yield the classes of a file that inherit and have a private name."""
    for node in parse(path).body:
        if isinstance(node, ast.ClassDef) and node.bases:
            names = {*(name for _, name in uses(node)), *definitions(node)}
            if any(is_private(name) for name in names):
                yield node


def test_subclasses_override_what_is_meant_for_them():
    """A name that a base of another library has too is its, even where we set it."""
    for path in adapter_free(FILES):
        for node in classes_with_private_names(path) if path.parts[-2] != "benchmarks" else ():
            name = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
            cls = getattr(importlib.import_module(name), node.name)
            found = inherited_names(cls, node) - FOR_SUBCLASSES - PUBLIC
            assert not found, f"{node.name} leans on {found} of its base: go through an adapter"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("server._p.poll()", ["_p (line 1)"]),
        ("self._servers", ["_servers (line 1)"]),
        ("super()._step()", ["_step (line 1)"]),
        ("from torch.nn.modules.batchnorm import _BatchNorm", ["_BatchNorm (line 1)"]),
        ("import torch._dynamo", ["_dynamo (line 1)"]),
        ("getattr(model, '_name', None)", ["_name (line 1)"]),
        ("x = 1\nlogger('torch.fx._trace')", ["_trace (line 2)"]),
        ("self._ours = pair._replace(a=1); x.__dict__", []),
        ("names = '_std', 'a_b.c'", []),
    ],
)
def test_the_check_finds_what_it_should(source, expected):
    assert foreign_names(ast.parse(source), {"_ours"}) == expected


def test_a_name_of_a_base_is_not_ours_by_being_set():
    from detectron2.engine import DefaultTrainer

    class Trainer(DefaultTrainer):
        def change(self):
            self._trainer = self._own = None

    tree = ast.parse(textwrap.dedent(inspect.getsource(Trainer))).body[0]
    assert inherited_names(Trainer, tree) == {"_trainer"}


@pytest.mark.parametrize("path", sorted(ADAPTERS))
def test_an_adapter_names_itself_and_the_version_that_tests_run_with(path):
    pytest.importorskip("gradio", reason="needs the extra demo")
    module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
    (library,) = [value for value in vars(module).values() if isinstance(value, Library)]
    assert library.adapter == path
    assert library.installed().startswith(library.known) and library.known[0].isdigit()
