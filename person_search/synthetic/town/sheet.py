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

    The cameras take turns, each with the busiest moments of its clips. A box is red where less
    than half of the person can be seen; the number is the identity, counted from 1.
    """
    images = []
    for index, number in _busy_moments(town, count):
        frame = town.draw(index, number)
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


def _busy_moments(town: Town, count: int) -> list[tuple[int, int]]:
    """Return so many clips and frames of them."""
    margin = 2 * town.spec.rate
    moments = []
    for index, clip in enumerate(town.clips):
        for number in range(0, clip.frames, margin):
            frame = clip.first + number
            busy = sum(
                stay.walk.first + margin <= frame < stay.walk.end - margin for stay in clip.stays
            )
            moments.append((clip.camera, index, number, busy))
    chosen: list[tuple[int, int]] = []
    used = {"camera": [0] * len(town.scenes), "clip": [0] * len(town.clips)}
    for _ in range(min(count, len(moments))):
        best = min(moments, key=lambda m: (used["camera"][m[0]], used["clip"][m[1]], -m[3]))
        moments.remove(best)
        used["camera"][best[0]] += 1
        used["clip"][best[1]] += 1
        chosen.append(best[1:3])
    return chosen


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
