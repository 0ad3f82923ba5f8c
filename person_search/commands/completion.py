"""``person-search completion``: print what makes a shell complete commands and options.

For bash: person-search completion bash > ~/.local/share/bash-completion/completions/person-search.
For zsh: the same into _person-search in a folder of $fpath. For fish: into
~/.config/fish/completions/person-search.fish. Shells that are opened afterwards complete.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from person_search.commands.registry import Command, find_commands, name_extra

SHELLS = ("bash", "zsh", "fish")
FILE_METAVARS = {
    *("C", "F", "FILE", "FRAME", "G", "IMG", "SOURCE", "W"),
    *("FOLDER|VIDEO|IMAGE", "IMG[:BOX|#N]"),
}
"""What stands for a file in our help, where the type does not say so."""


class _Argument(argparse.Action):
    """An argument that shtab completes with the names of files where it takes one.

    It is only described, never parsed.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.type is Path or self.metavar in FILE_METAVARS:
            # As shtab calls it.
            self.complete = "file"

    def __call__(self, *_: Any) -> None:
        raise NotImplementedError("this parser is there to be described")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``person-search completion``."""
    parser.add_argument("shell", choices=SHELLS, help="whose script to print")


def run(args: argparse.Namespace) -> int:
    """Print the script; return the exit status 0.

    Raises:
        ModuleNotFoundError: shtab, which writes the script, is not installed.
    """
    import shtab  # type: ignore[import-not-found]

    print(shtab.complete(build_full_parser(find_commands()), args.shell))
    return 0


def build_full_parser(commands: Mapping[str, Command]) -> argparse.ArgumentParser:
    """Build a parser with the arguments of all commands; those that cannot be imported have none.

    Args:
        commands: by name.
    """
    parser = argparse.ArgumentParser(prog="person-search")
    parser.add_argument("--version", action="store_true", help="print the version")
    parsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in commands.items():
        subparser = parsers.add_parser(name, help=command.summary.replace("%", "%%"))
        for kind in (None, "store", "append"):
            subparser.register("action", kind, _Argument)
        try:
            add_arguments_of_command, _, _ = command.load()
        except ModuleNotFoundError as error:
            print(f"without the options of {name}: {name_extra(error) or error}", file=sys.stderr)
        else:
            add_arguments_of_command(subparser)
    return parser
