"""The command ``person-search``."""

import argparse
import logging
import os
import sys
from collections.abc import Mapping

from person_search.commands.registry import Command, find_commands, name_extra
from reid_heads.library_parts import MissingPartError

USER_MISTAKE = 2
STOPPED = 130


def build_parser(
    commands: Mapping[str, Command], chosen: str | None = None
) -> argparse.ArgumentParser:
    """Build the parser of all commands.

    Args:
        commands: by name.
        chosen: the command whose module is imported and whose arguments are added; the others,
            whose imports take seconds, are only listed.
    """
    parser = argparse.ArgumentParser(
        prog="person-search", description="Find a person in a gallery of panoramas."
    )
    parsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
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

    A user's mistake (a missing file, a wrong value) ends with its message and status 2, without a
    traceback.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    # No option of the whole program takes a value, so the first plain word is the command.
    chosen = next((word for word in arguments if not word.startswith("-")), None)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        args = build_parser(find_commands(), chosen).parse_args(arguments)
        status = args.run(args) or 0
        sys.stdout.flush()
        return status
    except ModuleNotFoundError as error:
        message = name_extra(error)
        if message is None:
            raise
        return _fail(chosen, message)
    except BrokenPipeError:
        # The reader of a pipe has gone, as "head" does; Python would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (OSError, ValueError, KeyError, MissingPartError) as error:
        return _fail(chosen, error.args[0] if isinstance(error, KeyError) else error)
    except KeyboardInterrupt:
        print(f"\nperson-search {chosen}: stopped", file=sys.stderr)
        return STOPPED


def _fail(command: str | None, message: object) -> int:
    print(f"person-search {command}: {message}", file=sys.stderr)
    return USER_MISTAKE


if __name__ == "__main__":
    sys.exit(main())
