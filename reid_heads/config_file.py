"""Read configs with keys on top of detectron2's."""

import difflib
import os
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from pathlib import Path, PurePath

import yaml
from detectron2.config import CfgNode, get_cfg

from reid_heads.config_readers import Reader, add_own_keys, check_keys_are_read
from reid_heads.config_yaml import check_plain
from reid_heads.former_keys import add_former_keys, check_no_former_keys, take_former_keys_out
from reid_heads.trust import files_are_trusted


def find_config(config_file: str) -> str:
    """Return the path of a config file; this project's are found from any folder.

    Args:
        config_file: a path; "" stays so. One that starts with ``configs/`` and is no file here may
            be one that the wheel brought, or of the checkout that this package is in.

    Raises:
        FileNotFoundError: if there is no such file.
    """
    if not config_file or os.path.isfile(config_file):
        return config_file
    inside = PurePath(config_file)
    if inside.parts[0] == "configs":
        package = Path(str(files("reid_heads")))
        # The wheel's lie in the package, a checkout's beside it.
        for folder in (package, package.parent):
            if (found := folder.joinpath(*inside.parts)).is_file():
                return str(found)
    raise FileNotFoundError(f"there is no config file {config_file}; check --config-file")


def read_config(
    config_file: str,
    overrides: list[str] | None,
    add_keys: Callable[[CfgNode], None],
    readers: Sequence[Reader] | None = None,
) -> CfgNode:
    """Read a config with keys on top of detectron2's.

    Args:
        config_file: a YAML file, or "" for the defaults.
        overrides: alternating keys and values, as on the command line.
        add_keys: adds this project's keys to a detectron2 config.
        readers: of these keys; None for a config of another project's model, which is not asked who
            reads them.

    Returns:
        The config, not frozen.

    Raises:
        FileNotFoundError: if there is no such file.
        KeyError: for an unknown key; the message suggests the nearest known ones, or tells what a
            key of an earlier version is called now.
        ValueError: if the file is not YAML or wants to run code (see `check_plain`), a value is of
            a wrong type, ``overrides`` set a whole
            group of keys, or a key is set to something else than its default although nothing that
            the config chooses reads it.
    """
    config_file = find_config(config_file)
    cfg = get_cfg()
    usual = add_own_keys(cfg, add_keys)
    known = list(_flat_keys(cfg))
    try:
        if config_file:
            add_former_keys(cfg)
            if not files_are_trusted():
                check_plain(config_file)
            # detectron2's own default runs what YAML tags name.
            cfg.merge_from_file(config_file, allow_unsafe=files_are_trusted())
            take_former_keys_out(cfg)
        check_no_former_keys((overrides or [])[::2])
        _check_no_groups(cfg, (overrides or [])[::2])
        cfg.merge_from_list(overrides or [])
    except (KeyError, AssertionError) as error:
        name = str(error).rsplit(" ", 1)[-1].strip("'\"")
        near = difflib.get_close_matches(name, known, n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        where = config_file or "the command line"
        raise KeyError(f"in {where} or its overrides: {error.args[0]}{hint}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{config_file} is no config file in YAML: {error}") from error
    if readers is not None:
        check_keys_are_read(cfg, usual, readers)
    return cfg


def _check_no_groups(cfg: CfgNode, names: Sequence[str]) -> None:
    """Refuse names of nodes, whose whole content stood in the error of another type."""
    for name in names:
        node = cfg
        for part in name.split("."):
            node = node.get(part) if isinstance(node, CfgNode) else None
        if isinstance(node, CfgNode):
            keys = ", ".join(f"{name}.{key}" for key in list(node)[:3])
            raise ValueError(f"{name} is a group of keys; set one in it, such as {keys}")


def _flat_keys(node: CfgNode, prefix: str = "") -> Iterator[str]:
    for key, value in node.items():
        yield prefix + key
        if isinstance(value, CfgNode):
            yield from _flat_keys(value, f"{prefix}{key}.")
