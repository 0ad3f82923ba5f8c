"""The list of commands; a command's module is imported only when the command is used."""

import argparse
import importlib
import importlib.util
import re
import shlex
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, entry_points, requires, version
from pathlib import Path
from typing import NamedTuple

GROUP = "person_search.commands"
"""Entry-point group by which other packages add commands."""

DISTRIBUTION = "person-search"
"""What pip installs this project as."""

BASE = {
    "av": "av",
    "cv2": "opencv-python-headless",
    "gradio": "gradio",
    "huggingface_hub": "huggingface_hub",
    "numpy": "numpy",
    "onnx": "onnx",
    "onnxruntime": "onnxruntime",
    "PIL": "pillow",
    "scipy": "scipy",
    "shtab": "shtab",
    "simsimd": "simsimd",
    "tabulate": "tabulate",
    "tqdm": "tqdm",
}
"""Top-level module to the distribution that brings it; all come without an extra."""

EXTRAS = {
    "cloudpickle": "train",
    "fiftyone": "fiftyone",
    "fvcore": "train",
    "h5py": "train",
    "hydra": "train",
    "iopath": "train",
    "matplotlib": "train",
    "omegaconf": "train",
    "onnxscript": "train",
    "pyarrow": "formats",
    "pycocotools": "train",
    "pymilvus": "milvus",
    "safetensors": "train",
    "tensorboard": "train",
    "termcolor": "train",
    "torch": "train",
    "torchvision": "train",
    "yacs": "train",
}
"""Top-level module to the extra of ``person-search`` that installs it."""

DETECTRON2 = (
    "pip install --no-build-isolation 'git+https://github.com/facebookresearch/detectron2.git'"
)
"""Not on PyPI under its own name, so that no extra can bring it. Its set-up imports torch, which a
build in isolation does not find."""


# A named tuple, as dataclasses import inspect, which takes a tenth of the time of --help.
class Command(NamedTuple):
    """A command by its name, what it does in a line, and where it is."""

    name: str
    summary: str
    module: str
    """With ``add_arguments(parser)`` and ``run(args) -> exit status``; with ``IF_STOPPED``, what to
    do after a Ctrl-C, where that is not plain."""

    def advice_if_stopped(self) -> str:
        """Say what to type after a Ctrl-C; a module that was not imported by then did nothing."""
        module = sys.modules.get(self.module)
        return str(getattr(module, "IF_STOPPED", "the same command starts again"))

    def load(self) -> tuple[Callable[[argparse.ArgumentParser], None], Callable[..., int], str]:
        """Import the module; return its ``add_arguments``, its ``run`` and its description."""
        module = importlib.import_module(self.module)
        return module.add_arguments, module.run, describe(module.__doc__ or self.summary)


BUILTIN = (
    Command(
        "index",
        "add folders, pictures and videos to a gallery",
        "person_search.commands.index",
    ),
    Command(
        "watch",
        "put whoever a camera or a growing folder shows into a gallery, and tell who appears",
        "person_search.commands.watch",
    ),
    Command("search", "find a person in a gallery", "person_search.commands.search"),
    Command(
        "appearances",
        "list who stayed how long before which camera, and cut clips",
        "person_search.commands.appearances",
    ),
    Command(
        "review",
        "say which matches are right or wrong, for searches to come",
        "person_search.commands.review",
    ),
    Command(
        "export-case",
        "write chosen matches as a folder or zip to hand on, with others blurred",
        "person_search.commands.export_case",
    ),
    Command(
        "people",
        "list who was here, how often and with whom, without a query",
        "person_search.commands.people",
    ),
    Command("find", "say whom a model sees in pictures", "person_search.commands.find"),
    Command("info", "describe a gallery, or count a data set", "person_search.commands.info"),
    Command("remove", "remove frames from a gallery", "person_search.commands.remove"),
    Command(
        "log",
        "say who asked what of a gallery, and verify that nobody changed the log",
        "person_search.commands.log",
    ),
    Command(
        "retain",
        "remove what a gallery has kept for long enough, now and from now on",
        "person_search.commands.retain",
    ),
    Command(
        "forget",
        "remove one person from a gallery, and leave everybody else",
        "person_search.commands.forget",
    ),
    Command("merge", "copy a gallery into another one", "person_search.commands.merge"),
    Command("check", "verify a gallery file, and repair it", "person_search.commands.check"),
    Command("backup", "copy a gallery file while it is in use", "person_search.commands.backup"),
    Command(
        "calibrate",
        "find the similarity below which a person is probably not in the gallery",
        "person_search.commands.calibrate",
    ),
    Command(
        "models",
        "list, fetch, check, import, pack and push models",
        "person_search.commands.models",
    ),
    Command(
        "export-gallery",
        "write a gallery as COCO, MOT, Parquet or a FiftyOne data set",
        "person_search.commands.export_gallery",
    ),
    Command("export", "write the model as ONNX or TorchScript", "person_search.commands.export"),
    Command(
        "draw",
        "draw a synthetic data set in a real set's layout",
        "person_search.commands.draw",
    ),
    Command(
        "user",
        "say who may use the page, and what each may do and see",
        "person_search.commands.user",
    ),
    Command(
        "doctor",
        "say what is installed, what is missing and what to type",
        "person_search.commands.doctor",
    ),
    Command(
        "completion",
        "let a shell complete commands and options",
        "person_search.commands.completion",
    ),
)


def find_commands() -> dict[str, Command]:
    """Return every command by name: the built-in ones, then those of installed packages.

    A package cannot replace a built-in command.
    """
    commands = {command.name: command for command in BUILTIN}
    for point in sorted(entry_points(group=GROUP)):
        if point.name not in commands:
            summary = _read_summary(point.value)
            commands[point.name] = Command(point.name, summary, point.value)
    return commands


def describe(docstring: str) -> str:
    """Turn a module's docstring into help without markup, "``program x``: do." into "Do."."""
    _, prefix, text = docstring.partition("``: ")
    plain = (text if prefix else docstring).replace("`", "")
    return plain[:1].upper() + plain[1:]


def name_extra(error: ModuleNotFoundError) -> str | None:
    """Say how to install the package that is missing; None if it is none of ours."""
    missing = (error.name or "").partition(".")[0]
    line = install_line(missing)
    return None if line is None else f"{missing} is not installed; run: {line}"


def install_line(module: str) -> str | None:
    """Return what to type where a top-level module is missing; None if it is none of ours."""
    if module == "detectron2":
        return DETECTRON2
    if module in EXTRAS:
        return f"pip install '{_project()}[{EXTRAS[module]}]'"
    return f"pip install {shlex.quote(_requirement(BASE[module]))}" if module in BASE else None


def _project() -> str:
    """Return what pip installs this project from: as installed, or from these sources.

    By its name an index would be asked for one that is not installed.
    """
    try:
        version(DISTRIBUTION)
    except PackageNotFoundError:
        return str(Path(__file__).resolve().parents[2])
    return DISTRIBUTION


def _requirement(distribution: str) -> str:
    """Return the distribution with the versions that this project takes, if it is installed."""
    try:
        declared = requires(DISTRIBUTION) or []
    except PackageNotFoundError:
        declared = []
    for requirement in declared:
        # "numpy<2.5,>=2.0", or with a marker behind ";".
        found = re.match(r"[\w.-]+", requirement)
        if found is not None and re.sub(r"[_.]", "-", found[0]).lower() == distribution:
            return requirement.partition(";")[0].strip()
    return distribution


def _read_summary(module: str) -> str:
    """Take the first line of a module's docstring, without running the module."""
    import ast  # no command of ours needs it

    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        return f"{module} (cannot be found)"
    match ast.parse(Path(spec.origin).read_text("utf-8")).body:
        # Not ast.get_docstring, which imports inspect.
        case [ast.Expr(ast.Constant(str(text))), *_]:
            # "``person-search serve``: show the demo." becomes "show the demo".
            return text.splitlines()[0].rpartition("``: ")[2].replace("`", "").rstrip(".")
    return module
