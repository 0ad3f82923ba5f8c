"""``person-search doctor``: say what is installed, what is missing and what to type.

The status is 0 if everything is there that index, search and serve need with the default model.
"""

import argparse
import dataclasses
import json
import platform
import sys
from collections.abc import Sequence

from person_search.commands.parts import Part, find_parts
from person_search.commands.version import describe_version

INCOMPLETE = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``person-search doctor``."""
    parser.add_argument("--json", action="store_true", help="print one JSON object, no table")


def run(args: argparse.Namespace) -> int:
    """Print what was found; return the exit status: 0, or `INCOMPLETE`."""
    parts = find_parts()
    print(parts_to_json(parts) if args.json else format_parts(parts))
    return 0 if is_ready(parts) else INCOMPLETE


def is_ready(parts: Sequence[Part]) -> bool:
    """Say whether index, search and serve find what they need."""
    return all(part.is_there for part in parts if part.is_required)


def parts_to_json(parts: Sequence[Part]) -> str:
    """Write what was found as one JSON object; docs/own_footage.md describes it."""
    content = {
        "ready": is_ready(parts),
        "version": describe_version(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "parts": [dataclasses.asdict(part) for part in parts],
    }
    return json.dumps(content, indent=2)


def format_parts(parts: Sequence[Part]) -> str:
    """Write what was found, a part a line, and what to type for each that is missing."""
    width = max(len(part.name) for part in parts)
    lines = [describe_version(), f"{platform.platform()}, {sys.executable}", ""]
    for part in parts:
        mark = "yes" if part.is_there else "NO" if part.is_required else "no"
        lines.append(f"{mark:3s}  {part.name:{width}s}  {part.detail}")
        if not part.is_there:
            lines.append(f"{'':5s}{'':{width}s}  needed for {part.needed_for}")
            if part.what_to_type is not None:
                lines.append(f"{'':5s}{'':{width}s}  type: {part.what_to_type}")
    ready = "index, search and serve have what they need"
    lines += ["", ready if is_ready(parts) else "index, search or serve lack what says NO above"]
    return "\n".join(lines)
