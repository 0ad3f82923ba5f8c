"""Who reads which of this project's config keys, so that a key which nothing reads is refused.

A component that a config chooses (a loss, a margin, a head, a backbone, a meta-architecture, ROI
heads, a sampler) says where it is declared which keys it reads. What every training and evaluation
reads, and keys that another key turns on, are declared beside the keys themselves. Of several
declarations the most specific one decides: "INPUT.REID.ERASING" may be read where the probability
is above 0, and "INPUT.REID.ERASING.PROBABILITY" always.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from detectron2.config import CfgNode

Component = TypeVar("Component", bound=Callable[..., Any])


def _always(cfg: CfgNode) -> bool:
    return True


@dataclass(frozen=True)
class Reader:
    """Something that reads config keys, and when a config has it at work."""

    name: str
    """For the error: what to choose so that the keys are read."""
    keys: tuple[str, ...]
    """Full names of keys or of nodes, such as "MODEL.REID_HEAD.MGN"."""
    is_chosen: Callable[[CfgNode], bool] = _always


def reads_config(*keys: str) -> Callable[[Component], Component]:
    """Declare, on a registered class or function, which keys of this project it reads itself.

    A class reads what its base class reads too.

    Args:
        *keys: full names of keys or nodes.
    """

    def declare(component: Component) -> Component:
        inherited = getattr(component, "config_keys", ())
        component.config_keys = (*inherited, *keys)  # type: ignore[attr-defined]
        return component

    return declare


def readers_of(
    registry: Iterable[tuple[str, Any]],
    key: str,
    chosen_names: Callable[[CfgNode], Sequence[str]],
) -> list[Reader]:
    """Return a reader for each component of a registry that declares keys.

    Args:
        registry: pairs (name, component), as detectron2's registries give them.
        key: the config key that names the component, for the error.
        chosen_names: the names of the components that a config builds.
    """

    def is_named(name: str) -> Callable[[CfgNode], bool]:
        return lambda cfg: name in chosen_names(cfg)

    return [
        Reader(f"{key} {name}", component.config_keys, is_named(name))
        for name, component in registry
        if getattr(component, "config_keys", ())
    ]


def closest_readers(key: str, readers: Iterable[Reader]) -> list[Reader]:
    """Return the readers that declare a key most specifically; none where nobody declares it."""
    lengths = {
        reader: max(
            (len(name) for name in reader.keys if f"{key}.".startswith(f"{name}.")), default=0
        )
        for reader in readers
    }
    longest = max(lengths.values(), default=0)
    return [reader for reader, length in lengths.items() if length == longest > 0]


def flat_items(node: CfgNode, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each key below a node by its full name, with its value; nodes themselves are left out.

    An empty node has none.
    """
    for key, value in node.items():
        if isinstance(value, CfgNode):
            yield from flat_items(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def add_own_keys(cfg: CfgNode, add_keys: Callable[[CfgNode], None]) -> dict[str, Any]:
    """Call ``add_keys`` on a config of detectron2's; return what it added, with the defaults."""
    theirs = {name for name, _ in flat_items(cfg)}
    add_keys(cfg)
    return {name: value for name, value in flat_items(cfg) if name not in theirs}


def check_keys_are_read(cfg: CfgNode, usual: Mapping[str, Any], readers: Sequence[Reader]) -> None:
    """Refuse keys that were set although nothing that the config chooses reads them.

    Args:
        cfg: the whole config.
        usual: this project's keys with their defaults, as ``add_own_keys`` gives them.
        readers: all there are.

    Raises:
        ValueError: naming each such key, its value, and who would read it.
    """
    problems, defaults = [], []
    for key, value in flat_items(cfg):
        if key not in usual or value == usual[key]:
            continue
        closest = closest_readers(key, readers)
        if not any(reader.is_chosen(cfg) for reader in closest):
            names = " or ".join(reader.name for reader in closest) or "nobody"
            problems.append(f"{key} is {value!r}, read by {names}")
            defaults.append(f"{key} {str(usual[key]).replace(' ', '') or repr('')}")
    if problems:
        raise ValueError(
            f"the config sets what nothing in it reads: {'; '.join(problems)}. Choose what reads "
            "them, take them out of the config, or, where they come from a base file, set the "
            f"defaults again: {' '.join(defaults)}"
        )
