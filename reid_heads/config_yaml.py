"""YAML files that only say something: no tag in them makes a Python object or calls a function."""

import math
import os
from typing import Any, TextIO

import yaml

from reid_heads.trust import SWITCH

MOST_VALUES = 100_000
"""Of a config, with what its aliases repeat: a kilobyte of them can stand for billions."""
MOST_DEPTH = 100
"""Of a value inside others."""
MOST_FILES = 100
"""That one config is read from: files that each name another twice are read ever more often."""
BASE = "_BASE_"
"""detectron2's key of the file, or the files, that a config goes on top of."""


def check_plain(config_file: str) -> None:
    """Find out whether a config, and what it goes on top of, can be read without running anything.

    A base may be any local file: it sets config keys and can do no more. One at an address would be
    fetched from wherever the config says.

    Args:
        config_file: the file.

    Raises:
        FileNotFoundError: if a base is missing.
        ValueError: for a tag, aliases that stand for too much or for themselves, a base at an
            address, one that leads back to itself, or too many; names file and line.
        yaml.YAMLError: if it is no YAML.
    """
    _check(config_file, (), [])


def _check(config_file: str, inside: tuple[str, ...], read: list[str]) -> None:
    """Check a file, to which some lead, after others that were read."""
    path = os.path.abspath(config_file)
    read.append(path)
    if len(read) > MOST_FILES:
        raise ValueError(
            f"{read[0]}: its {BASE} names more than {MOST_FILES} files, with what those name; "
            "expected a few"
        )
    if path in inside:
        raise ValueError(f"{config_file}: its {BASE} leads back to itself; expected an end of it")
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{inside[-1]}: there is no {config_file}, which {BASE} names")
    for base in _bases(_read(config_file)):
        if "://" in base:
            raise ValueError(
                f"{config_file}: {BASE} is the address {base}; save that file here and name it, or "
                f"add {SWITCH} if you trust both"
            )
        below = os.path.expanduser(base) if base.startswith("~") else base
        _check(os.path.join(os.path.dirname(config_file), below), (*inside, path), read)


def _read(config_file: str) -> Any:
    with open(config_file, encoding="utf-8") as file:
        _check_depth(config_file, file)
        file.seek(0)
        loader = yaml.SafeLoader(file)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            if _count(node, {}) > MOST_VALUES:
                raise ValueError(
                    f"{config_file}: its aliases (*) stand for more than {MOST_VALUES:,} values, "
                    "or for themselves; write out what it has to say"
                )
            return loader.construct_document(node)
        except yaml.constructor.ConstructorError as error:
            mark = error.problem_mark
            line = "" if mark is None else f", line {mark.line + 1}"
            raise ValueError(
                f"{config_file}{line}: {error.problem}; a config holds plain values only, and tags "
                "as !!python can run any code. Take the tag out, or, if you trust who made the "
                f"file as you trust a program of theirs, add {SWITCH}"
            ) from error
        finally:
            loader.dispose()


def _check_depth(config_file: str, file: TextIO) -> None:
    """Refuse a file before what is written in C puts it together, which would crash."""
    depth = 0
    for event in yaml.parse(file, yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_DEPTH:
            raise ValueError(f"{config_file} is nested deeper than {MOST_DEPTH}, unlike a config")


def _count(node: yaml.Node, counted: dict[yaml.Node, float]) -> float:
    """Count the values that a part of a file stands for, each alias as often as it is used."""
    if node not in counted:
        counted[node] = math.inf  # until it is known: what holds itself has no end
        parts: list[yaml.Node] = []
        if isinstance(node, yaml.SequenceNode):
            parts = node.value
        elif isinstance(node, yaml.MappingNode):
            parts = [part for pair in node.value for part in pair]
        counted[node] = 1 + sum(_count(part, counted) for part in parts)
    return counted[node]


def _bases(content: Any) -> list[str]:
    bases = content.get(BASE, []) if isinstance(content, dict) else []
    return [str(base) for base in (bases if isinstance(bases, list) else [bases])]
