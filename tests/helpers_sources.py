"""The sources of our packages, each read and parsed once in a test process."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def list_sources(*packages):
    """Return every Python file of these packages, sorted."""
    return sorted(path for package in packages for path in (ROOT / package).rglob("*.py"))


@cache
def read(path):
    return path.read_text()


@cache
def parse(path):
    return ast.parse(read(path))


@cache
def list_nodes(path):
    """Return every node of a file's tree."""
    return tuple(ast.walk(parse(path)))
