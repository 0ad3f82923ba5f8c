"""A picture to judge a drawn town by."""

from pathlib import Path

import cv2
import numpy as np

from person_search.synthetic.town.spec import TownSpec
from person_search.synthetic.town.town import Town

_COLUMNS = 3
_GREEN, _RED = (60, 200, 60), (40, 40, 220)


def town_sheet(town: Town, count: int) -> np.ndarray:
    """Return (H, W, 3) uint8 BGR: ``count`` frames, three in a row, with the true boxes.

    The frames are taken evenly from all clips. A box is red where less than half of the person
    can be seen; the number is the identity, counted from 1.
    """
    lengths = [clip.frames for clip in town.clips]
    ends = np.cumsum(lengths)
    images = []
    for k in range(count):
        place = (2 * k + 1) * int(ends[-1]) // (2 * count)
        index = int(np.searchsorted(ends, place, side="right"))
        frame = town.draw(index, place - int(ends[index]) + lengths[index])
        images.append(frame.image)
        for person in frame.people:
            x, y, w, h = person.box
            colour = _GREEN if person.visible >= 0.5 else _RED
            cv2.rectangle(frame.image, (x, y), (x + w - 1, y + h - 1), colour)
            cv2.putText(frame.image, str(person.identity + 1), (x, y - 3), 0, 0.4, colour)
    columns = min(_COLUMNS, count)
    images += [np.zeros_like(images[0])] * (-len(images) % columns)
    rows = [np.hstack(images[k : k + columns]) for k in range(0, len(images), columns)]
    return np.vstack(rows)


def write_town_preview(spec: TownSpec, root: Path, count: int) -> Path:
    """Write ``<name>-frames.png`` into ``root`` and return its path.

    Raises:
        ValueError: ``count`` is not within 1..60.
        OSError: The picture cannot be written.
    """
    if not 1 <= count <= 60:
        raise ValueError(f"--preview must be within 1..60, got {count}")
    root.mkdir(parents=True, exist_ok=True)
    path = root / f"{spec.name}-frames.png"
    ok, data = cv2.imencode(".png", town_sheet(Town(spec), count))
    if not ok:
        raise OSError(f"could not encode {path} as PNG")
    path.write_bytes(data.tobytes())
    return path
