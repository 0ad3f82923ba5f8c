"""Cards of foreign ONNX files: what a file's numbers mean, where the file does not say so itself.

A card is a JSON object, in ``NAME.card.json`` beside ``NAME.onnx`` or in the file's metadata under
`KEY`; the one beside goes before. It may say some things only: the rest is recognised, or usual.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from person_search.inference.json_object import check_names, parse_object
from person_search.inference.model_card import card_path

KEY = "person_search_card"
"""Of the ONNX metadata property that may hold the card."""

IMAGENET_MEAN = (123.675, 116.28, 103.53)
"""RGB, of 0..255."""
IMAGENET_STD = (58.395, 57.12, 57.375)

COLORS = ("RGB", "BGR")

Card = TypeVar("Card")


def read_card(path: Path | None, metadata: Mapping[str, str], name: str) -> dict[str, Any]:
    """Read what is said about a model file.

    Args:
        path: of the model file; None if it is known as bytes only.
        metadata: of the ONNX file.
        name: of it, for messages.

    Returns:
        The card's fields, not yet checked; empty where there is no card.

    Raises:
        ValueError: if there is a card which is no JSON object.
    """
    if path is not None and card_path(path).is_file():
        return parse_object(card_path(path).read_bytes(), str(card_path(path)))
    if KEY in metadata:
        return parse_object(metadata[KEY], f"{name}: its metadata {KEY!r}")
    return {}


def fill_in(usual: Card, said: Mapping[str, Any], name: str) -> Card:
    """Return a card with what was said in place of what is usual.

    Args:
        usual: a dataclass whose ``__post_init__`` checks its values.
        said: fields of a card.
        name: of the model file, for messages.

    Raises:
        ValueError: for an unknown field, or a value that the card refuses.
    """
    check_names(dict(said), f"the card of {name}", type(usual), is_partial=True)
    values = {key: tuple(v) if isinstance(v, list) else v for key, v in said.items()}
    try:
        return dataclasses.replace(usual, **values)  # type: ignore[type-var]
    except ValueError as error:
        raise ValueError(f"the card of {name}: {error}") from error


def fingerprint_of(what: str, content: bytes, card: Any, leave_out: tuple[str, ...] = ()) -> str:
    """Return the SHA-256 (hex) of a file and of what its card says otherwise than is usual.

    Only that, so that a field which a later version adds leaves old galleries valid.

    Args:
        what: kind of file, with a version, which is raised when the same file and card come to mean
            something else, as after a changed default.
        content: of the file.
        card: a dataclass.
        leave_out: fields that decide nothing.
    """
    said = {
        field.name: _as_floats(getattr(card, field.name))
        for field in dataclasses.fields(card)
        if field.name not in leave_out and getattr(card, field.name) != field.default
    }
    digest = hashlib.sha256(f"{what}\n".encode())
    digest.update(json.dumps(said, sort_keys=True).encode() + b"\n")
    digest.update(content)
    return digest.hexdigest()


def _as_floats(value: Any) -> Any:
    """Return 1 and 1.0 as the same, also in a tuple."""
    if isinstance(value, tuple):
        return [_as_floats(one) for one in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def check_number(what: str, value: Any, low: float, high: float, whole: bool = False) -> None:
    """Refuse what is no number from ``low`` to ``high``.

    Raises:
        ValueError: names the field, the value and the range.
    """
    kinds = int if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        kind = "a whole number" if whole else "a number"
        raise ValueError(f"{what} is {value!r}; expected {kind}, {low:g} to {high:g}")


def check_choice(what: str, value: Any, choices: tuple[str, ...]) -> None:
    """Refuse what is none of the choices.

    Raises:
        ValueError: names the field, the value and the choices.
    """
    if value not in choices:
        raise ValueError(f"{what} is {value!r}; expected one of {', '.join(choices)}")


def check_pixels(color: Any, mean: Any, std: Any) -> None:
    """Refuse an order of channels, means or deviations that cannot be.

    Raises:
        ValueError: names the field and the value.
    """
    check_choice("color", color, COLORS)
    for what, values in (("mean", mean), ("std", std)):
        if not isinstance(values, tuple) or len(values) != 3:
            raise ValueError(
                f"{what} is {values!r}; expected three numbers, one a channel in the order of "
                "'color', for pixels of 0 to 255"
            )
        for value in values:
            check_number(what, value, 0 if what == "mean" else 1e-3, 255)
