"""The command ``person-search``."""

import argparse
import os
import re
import sys
from collections.abc import Mapping
from typing import Any

from person_search.commands.ending import EndedError, ending_by_signals
from person_search.commands.registry import BASE, Command, find_commands, name_extra
from person_search.commands.version import describe_version
from reid_heads.library_parts import MissingPartError
from reid_heads.trust import trusted_files

FAILURE = 2
STOPPED = 130
PIPE_CLOSED = 141
"""As of a program that SIGPIPE ends: 1 would say that nothing was found."""


class _ShowVersion(argparse.Action):
    """Print the version; argparse's own would have to know it before it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        print(describe_version())
        parser.exit()


class _CommandParser(argparse.ArgumentParser):
    """A command's parser, which refuses itself what it does not know.

    Otherwise the program's parser does, and shows the program's usage, not the command's.
    """

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            # An address may have a password in it.
            shown = re.sub(r"://\S+", "://…", " ".join(unknown))
            self.error(f"unrecognized arguments: {shown}")
        return found, unknown


def build_parser(
    commands: Mapping[str, Command], chosen: str | None = None
) -> argparse.ArgumentParser:
    """Build the parser of all commands.

    Args:
        commands: by name.
        chosen: the command whose module is imported and whose arguments are added; the others,
            whose imports take seconds, are only listed.

    Its epilog says what the exit statuses mean.
    """
    parser = argparse.ArgumentParser(
        prog="person-search",
        description="Find a person in a gallery of panoramas.",
        epilog="Exit status: 0 done, 1 nothing found, 2 wrong use or failure, 3 one of the people "
        "listed must be chosen, 130 stopped by Ctrl-C, 143 by SIGTERM. Results go to the standard "
        "output, all else to the standard error.",
    )
    parser.add_argument(
        "--version", action=_ShowVersion, nargs=0, help="print the version and where it runs from"
    )
    parsers = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", parser_class=_CommandParser
    )
    for name, command in commands.items():
        # argparse reads "%" in help texts as a placeholder.
        subparser = parsers.add_parser(name, help=command.summary.replace("%", "%%"))
        if name == chosen:
            add_arguments, run, subparser.description = command.load()
            add_arguments(subparser)
            subparser.set_defaults(run=run)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return its exit status.

    It is 0 for done, 1 for nothing found, `FAILURE` or `STOPPED`, or `EndedError.status`; a command
    may have more. A user's mistake (a missing file, a wrong value) ends with its message alone, a
    mistake of ours with a traceback.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    # No option of the whole program takes a value, so the first plain word is the command.
    chosen = next((word for word in arguments if not word.startswith("-")), None)
    commands = find_commands()
    if chosen is not None:
        import logging  # a tenth of the time of --help, which logs nothing

        logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        args = build_parser(commands, chosen).parse_args(arguments)
        with ending_by_signals(), trusted_files(getattr(args, "trust_this_file", False)):
            status = args.run(args) or 0
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # The reader of a pipe has gone, as "head" does; Python would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except KeyboardInterrupt as stop:
        advice = commands[chosen].advice_if_stopped() if chosen in commands else "nothing was done"
        if isinstance(stop, EndedError):
            print(f"person-search {chosen}: stopped by {stop}; {advice}", file=sys.stderr)
            return stop.status
        print(f"\nperson-search {chosen}: stopped; {advice}", file=sys.stderr)
        return STOPPED
    except Exception as error:
        message = explain(error)
        if message is None:
            import traceback

            traceback.print_exc()
            message = "failed; the lines above say where"
        print(f"person-search {chosen}: {message}", file=sys.stderr)
        return FAILURE


def explain(error: Exception) -> str | None:
    """Return what to tell a user of an error; None for a mistake of ours."""
    if isinstance(error, ModuleNotFoundError):
        return name_extra(error)
    if isinstance(error, ImportError) and (error.name or "").partition(".")[0] in BASE:
        # Such as compiled code that asks for a newer glibc.
        return f"{error.name} cannot be loaded ({error}); run: person-search doctor"
    if isinstance(error, PermissionError) and error.filename is not None:
        place = f"{error.filename}: {error.strerror}"
        return f"{place}; choose a file or folder that you may read and write"
    if isinstance(error, KeyError):
        return str(error.args[0]) if error.args else None
    if isinstance(error, OSError | ValueError | MissingPartError):
        return str(error)
    return None


if __name__ == "__main__":
    sys.exit(main())
