"""The command ``person-search``."""

import argparse
import logging
import sys

from person_search.data import info
from person_search.synthetic import command as draw

COMMANDS = {
    "info": (info, "count a data set's images, boxes, identities and queries"),
    "draw": (draw, "draw a synthetic data set in a real set's layout"),
}


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="person-search", description="Find a person in a gallery of panoramas."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (module, summary) in COMMANDS.items():
        module.add_arguments(commands.add_parser(name, help=summary, description=module.__doc__))
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return its exit status.

    A user's mistake (a missing file, a wrong value) ends with its message and status 2, without a
    traceback.
    """
    args = build_parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        COMMANDS[args.command][0].run(args)
    except (OSError, ValueError, KeyError) as error:
        message = error.args[0] if isinstance(error, KeyError) else error
        print(f"person-search {args.command}: {message}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
