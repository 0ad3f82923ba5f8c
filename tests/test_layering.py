"""The laws of docs/architecture.md about folders, read from the sources."""

import ast
import graphlib

import pytest
from helpers_sources import ROOT, list_nodes, list_sources, parse, read

PACKAGES = ("reid_heads", "person_search", "demo")
FILES = list_sources(*PACKAGES)

# Each package's rooms, folders or files of its root, the ground floor first. A room imports from
# its own and from the floors below; rooms of one floor do not see each other.
FLOORS = {
    "reid_heads": (
        (
            "config_readers",
            "deep_tiff",
            "file_kinds",
            "former_keys",
            "library_parts",
            "picture_kinds",
            "plain_pickle",
            "text_files",
            "trust",
            "unfinished",
        ),
        (
            "atomic_file",
            "config_yaml",
            "crop_description",
            "detectron2_parts",
            "distributed",
            "face_pairs",
            "labels",
            "listed_files",
            "onnx_files",
            "pictures",
            "sysu_protocol",
            "torch_file",
            "torch_parts",
            "unit_norm",
        ),
        ("augmentation", "backbones", "config_file", "data", "evaluation", "safetensors_file"),
        ("heads",),
        ("losses",),
        ("crop_reid",),
        ("config",),
        ("importers",),
        ("training",),
        ("crop_model", "inversion", "train_net"),
        ("crop_export", "evaluate", "faces", "imagenet_mobilenet", "invert", "purify"),
    ),
    "person_search": (
        ("accounts", "people", "progress", "resizing"),
        ("data", "footage", "modeling", "synthetic"),
        ("config", "drawing", "evaluation", "tracking", "transfer"),
        ("importers",),
        ("inference", "stage1"),
        ("export", "gallery", "model_list", "street_basic", "trainer"),
        ("accountability", "cases", "formats", "live", "train_net"),
        ("commands", "evaluate"),
        ("cli", "train_stage1"),
    ),
}
# Whole packages, likewise: what a module of one may import of another is every room of it.
PACKAGE_ORDER = ("reid_heads", "person_search", "demo")

PYTORCH = (
    "torch",
    "torchvision",
    "detectron2.modeling",
    "detectron2.engine",
    "person_search.modeling",
)
# For the modules under each prefix: prefixes that they must not import, nor in a function.
FORBIDDEN = {
    # What keeps, reads and draws galleries works with an exported model, without PyTorch.
    **{
        f"person_search.{room}": (*PYTORCH, "detectron2")
        for room in (
            "accounts",
            "people",
            "resizing",
            "accountability",
            "footage",
            "drawing",
            "formats",
            "gallery",
            "cases",
            "live",
            "model_list",
            "street_basic",
            "synthetic",
            "inference",
        )
    },
    # Who is the same person from frame to frame depends on what was found, not on where frames come
    # from or go to.
    "person_search.tracking": (*PYTORCH, "detectron2", "person_search.footage", "reid_heads"),
    # Scorers see arrays.
    "person_search.evaluation": PYTORCH,
    "reid_heads.evaluation": PYTORCH,
    # Model code is told sizes, it never looks at the data.
    "reid_heads.heads": ("reid_heads.data", "reid_heads.evaluation"),
    "reid_heads.losses": ("reid_heads.data", "reid_heads.evaluation"),
    "reid_heads.crop_reid": ("reid_heads.data", "reid_heads.evaluation"),
    "person_search.modeling": ("reid_heads.data", "reid_heads.evaluation"),
}
ALLOWED = {
    # detectron2's evaluators get tensors and gather them over processes.
    ("person_search.evaluation.evaluator", "torch"),
    ("reid_heads.evaluation.evaluator", "torch"),
    # The half of inference that runs a model in PyTorch; everything else there runs exports too.
    *(
        (f"person_search.inference.{name}", prefix)
        for name in ("calibration", "detectors.torch_detectors", "fingerprint", "torch_network")
        for prefix in (*PYTORCH, "detectron2")
    ),
}
# The copy is reached under detectron2's own name only.
NOWHERE = ("LabGym",)
# Entry points beside the folders commands/, whose output is what they are for.
MAY_PRINT = {
    "cli.py",
    "command.py",
    "crop_export.py",
    "evaluate.py",
    "imagenet_mobilenet.py",
    "info.py",
    "invert.py",
    "label_noise.py",
    "launch.py",
    "purify.py",
    "search_drawn_gallery.py",
    "serve.py",
    "shrink_weights.py",
    "told_errors.py",
}
MAX_LINES = 350
# Where statements, imports among them, have statements inside.
BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in FILES}


def is_below(name, prefix):
    return name == prefix or name.startswith(prefix + ".")


def is_for_types(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def imports_of(tree, module, is_package=False, with_types=True):
    """Every module that a source imports, in functions too; ``from a import b`` gives a and a.b."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if with_types or not is_for_types(node):
            waiting.extend(statement for name in BLOCKS for statement in getattr(node, name, ()))
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


def floor_of(module):
    """The package, the number of the floor and the room that a module is in; None for a package."""
    package, _, rest = module.partition(".")
    room = rest.partition(".")[0]
    for number, rooms in enumerate(FLOORS.get(package, ())):
        if room in rooms:
            return package, number, room
    return None


def is_upward(module, name):
    """Whether ``module`` must not import ``name`` because of where both are."""
    packages = module.partition(".")[0], name.partition(".")[0]
    if packages[1] not in PACKAGE_ORDER:
        return False
    if packages[0] != packages[1]:
        return PACKAGE_ORDER.index(packages[1]) > PACKAGE_ORDER.index(packages[0])
    here, there = floor_of(module), floor_of(name)
    if here is None or there is None:
        return False
    return there[1] > here[1] or (there[1] == here[1] and there[2] != here[2])


def violations(tree, module, is_package=False):
    found = []
    for name in imports_of(tree, module, is_package):
        if any(is_below(name, prefix) for prefix in NOWHERE) or is_upward(module, name):
            found.append(name)
        for layer, forbidden in FORBIDDEN.items():
            if is_below(module, layer):
                found += [
                    name for p in forbidden if is_below(name, p) and (module, p) not in ALLOWED
                ]
    return sorted(set(found))


def test_imports_follow_the_laws():
    found = {
        module: violations(parse(path), module, path.name == "__init__.py")
        for module, path in MODULES.items()
    }
    wrong = {module: names for module, names in found.items() if names}
    assert not wrong, "these must not import what they do: see docs/architecture.md"


def test_every_room_has_a_floor():
    for package, floors in FLOORS.items():
        named = [room for rooms in floors for room in rooms]
        inside = {p.stem for p in (ROOT / package).iterdir() if (p / "__init__.py").exists()}
        inside |= {p.stem for p in (ROOT / package).glob("*.py") if p.stem != "__init__"}
        assert sorted(named) == sorted(inside), f"{package}: give the new room a floor"


def test_no_imports_go_in_a_circle():
    """Imports inside functions count too: hiding one does not open a circle."""
    graph = {}
    for module, path in MODULES.items():
        names = imports_of(parse(path), module, path.name == "__init__.py", with_types=False)
        graph[module] = {name for name in names if name in MODULES and name != module}
    # A package's front door imports its own modules, which do not import the door.
    for module in graph:
        if MODULES[module].name != "__init__.py":
            graph[module] = {n for n in graph[module] if not is_below(module, n)}
    graphlib.TopologicalSorter(graph).prepare()


@pytest.mark.parametrize(
    ("module", "source", "expected"),
    [
        ("reid_heads.losses.oim", "import person_search.data", ["person_search.data"]),
        ("reid_heads.labels", "from demo import app", ["demo", "demo.app"]),
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
        ("reid_heads.training.x", "import reid_heads.train_net", ["reid_heads.train_net"]),
        ("person_search.gallery.x", "import person_search.inference.finder", []),
        ("person_search.gallery.x", "import person_search.export.y", ["person_search.export.y"]),
        ("person_search.inference.finder", "import torch", ["torch"]),
        ("person_search.inference.torch_network", "import torch", []),
        (
            "person_search.footage.x",
            "from person_search.modeling import y",
            ["person_search.modeling", "person_search.modeling.y"],
        ),
        (
            "person_search.people",
            "from LabGym.detectron2 import y",
            ["LabGym.detectron2", "LabGym.detectron2.y"],
        ),
        ("person_search.people", "import demography", []),
    ],
)
def test_the_check_finds_what_it_should(module, source, expected):
    assert violations(ast.parse(source), module) == expected


def count_lines(path):
    return len(read(path).splitlines())


def test_files_are_short():
    long = {module: n for module, path in MODULES.items() if (n := count_lines(path)) > MAX_LINES}
    assert not long, "split them by subject"


def may_print(path):
    # By folder where a command is called as a module of the library is: store, index, search.
    return path.name in MAY_PRINT or path.parent.name == "commands"


def is_print(node):
    return isinstance(node, ast.Call) and getattr(node.func, "id", None) == "print"


def test_only_entry_points_print():
    calls = [
        f"{module}, line {node.lineno}"
        for module, path in MODULES.items()
        for node in (() if may_print(path) else list_nodes(path))
        if is_print(node)
    ]
    assert not calls, "use logging"


def is_path_edit_or_star_import(node):
    if isinstance(node, ast.ImportFrom):
        return any(alias.name == "*" for alias in node.names)
    return (
        isinstance(node, ast.Attribute)
        and node.attr == "path"
        and getattr(node.value, "id", None) == "sys"
    )


def test_no_path_edits_and_no_star_imports():
    assert not [
        f"{module}, line {node.lineno}"
        for module, path in MODULES.items()
        for node in list_nodes(path)
        if is_path_edit_or_star_import(node)
    ]


def test_init_files_are_short():
    for path in FILES:
        if path.name == "__init__.py":
            assert count_lines(path) <= 20, path


def test_tests_are_flat():
    """A tests/reid_heads/__init__.py breaks ``import reid_heads``."""
    assert not list((ROOT / "tests").rglob("__init__.py"))
