"""The list of commands; a command's module is imported only when the command is used."""

import argparse
import ast
import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

GROUP = "person_search.commands"
"""Entry-point group by which other packages add commands."""

EXTRAS = {
    "pymilvus": "gallery",
    "milvus_lite": "gallery",
    "gradio": "demo",
    "onnx": "export",
    "onnxruntime": "export",
    "onnxscript": "export",
}
"""Top-level module to the extra of ``person-search`` that installs it."""


@dataclass(frozen=True)
class Command:
    """A command by its name, what it does in a line, and where it is."""

    name: str
    summary: str
    module: str
    """With ``add_arguments(parser)`` and ``run(args) -> exit status``."""

    def load(self) -> tuple[Callable[[argparse.ArgumentParser], None], Callable[..., int], str]:
        """Import the module; return its ``add_arguments``, its ``run`` and its description."""
        module = importlib.import_module(self.module)
        return module.add_arguments, module.run, module.__doc__ or self.summary


BUILTIN = (
    Command(
        "index",
        "add folders, pictures and videos to a gallery",
        "person_search.commands.index",
    ),
    Command("search", "find a person in a gallery", "person_search.commands.search"),
    Command("info", "describe a gallery, or count a data set", "person_search.commands.info"),
    Command("remove", "remove frames from a gallery", "person_search.commands.remove"),
    Command("merge", "copy a gallery into another one", "person_search.commands.merge"),
    Command(
        "store",
        "serve a gallery file to several processes of this machine",
        "person_search.commands.store",
    ),
    Command(
        "calibrate",
        "find the similarity below which a person is probably not in the gallery",
        "person_search.commands.calibrate",
    ),
    Command("export", "write the model as ONNX or TorchScript", "person_search.commands.export"),
    Command(
        "draw",
        "draw a synthetic data set in a real set's layout",
        "person_search.commands.draw",
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


def name_extra(error: ModuleNotFoundError) -> str | None:
    """Say how to install the optional package that is missing; None if it is none of ours."""
    missing = (error.name or "").partition(".")[0]
    if missing not in EXTRAS:
        return None
    return f"{missing} is not installed; run: pip install 'person-search[{EXTRAS[missing]}]'"


def _read_summary(module: str) -> str:
    """Take the first line of a module's docstring, without running the module."""
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        return f"{module} (cannot be found)"
    text = ast.get_docstring(ast.parse(Path(spec.origin).read_text("utf-8"))) or module
    # "``person-search serve``: show the demo." becomes "show the demo".
    return text.splitlines()[0].rpartition("``: ")[2].rstrip(".")
