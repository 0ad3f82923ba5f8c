"""YAML files that only say something: no tag in them makes a Python object or calls a function."""

import os
from typing import Any

import yaml

from reid_heads.trust import SWITCH

BASE = "_BASE_"
"""detectron2's key of the file, or the files, that a config goes on top of."""


def check_plain(config_file: str, inside: tuple[str, ...] = ()) -> None:
    """Find out whether a config, and what it goes on top of, can be read without running anything.

    A base may be any local file: it sets config keys and can do no more. One at an address would be
    fetched from wherever the config says.

    Args:
        config_file: the file.
        inside: files that lead to it.

    Raises:
        FileNotFoundError: if a base is missing.
        ValueError: for a tag, a base at an address, or a base that leads back to itself; names file
            and line.
        yaml.YAMLError: if it is no YAML.
    """
    path = os.path.abspath(config_file)
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
        check_plain(os.path.join(os.path.dirname(config_file), below), (*inside, path))


def _read(config_file: str) -> Any:
    with open(config_file, encoding="utf-8") as file:
        try:
            return yaml.safe_load(file)
        except yaml.constructor.ConstructorError as error:
            mark = error.problem_mark
            line = "" if mark is None else f", line {mark.line + 1}"
            raise ValueError(
                f"{config_file}{line}: {error.problem}; a config holds plain values only, and tags "
                "as !!python can run any code. Take the tag out, or, if you trust who made the "
                f"file as you trust a program of theirs, add {SWITCH}"
            ) from error


def _bases(content: Any) -> list[str]:
    bases = content.get(BASE, []) if isinstance(content, dict) else []
    return [str(base) for base in (bases if isinstance(bases, list) else [bases])]
