"""Read a JSON object: a card, a calibration, the parts of a model."""

import dataclasses
import json
from typing import Any


def parse_object(text: str | bytes, source: str) -> dict[str, Any]:
    """Read the text of a JSON object.

    Raises:
        ValueError: if it is something else; names ``source``, where it is from.
    """
    try:
        content = json.loads(text)
    # The last is raised by what is nested too deeply.
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{source} is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f'{source} holds {content!r}; expected an object, {{"name": value}}')
    return content


def check_names(
    content: dict[str, Any], source: str, kind: type, is_partial: bool = False
) -> dict[str, Any]:
    """Return an object whose names are the fields of a dataclass.

    Args:
        content: of the object.
        source: where it is from, for messages.
        kind: the dataclass.
        is_partial: whether fields without a default may be missing, too.

    Raises:
        ValueError: that says which names it lacks or are unknown, and which are known.
    """
    fields, nothing = dataclasses.fields(kind), dataclasses.MISSING
    required = [x.name for x in fields if x.default is nothing and x.default_factory is nothing]
    known = [x.name for x in fields]
    missing = [] if is_partial else [name for name in required if name not in content]
    unknown = sorted(set(content) - set(known))
    problems = [f"lacks {', '.join(missing)}"] if missing else []
    problems += [f"has the unknown {', '.join(unknown)}"] if unknown else []
    if problems:
        raise ValueError(f"{source} {' and '.join(problems)}; expected {', '.join(known)}")
    return content
