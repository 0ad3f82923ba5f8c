"""Pictures to judge a drawn world by: frames, and people seen from all sides."""

from pathlib import Path

import cv2
import numpy as np

from .canvas import Light
from .figure import paint_person
from .palette import Stream, make_rng
from .paste import cast_shadow, paste
from .pose import sample_pose
from .world import World
from .world_spec import WorldSpec

_YAWS = (0, 45, 90, 135, 180, 225, 270, 315)
_COLUMNS = 3
_BOX_COLOURS = {True: (80, 200, 60), False: (60, 170, 240)}
"""BGR by whether the person has an identity."""


def frame_sheet(world: World, count: int, *, draws_boxes: bool = False) -> np.ndarray:
    """Return (H, W, 3) uint8 BGR: ``count`` frames spread over the world, three in a row.

    Args:
        world: What to draw from.
        count: How many frames, at least 1.
        draws_boxes: Outline the annotated boxes.
    """
    total = len(world.plans)
    frames = []
    for k in range(count):
        frame = world.draw(k * total // count)
        image = frame.image
        if draws_boxes:
            for person in frame.people:
                x, y, w, h = person.box
                colour = _BOX_COLOURS[person.identity >= 0]
                cv2.rectangle(image, (x, y), (x + w - 1, y + h - 1), colour, 1)
        frames.append(image)
    return _grid(frames, min(_COLUMNS, count))


def identity_sheet(world: World, count: int, height_px: int = 190) -> np.ndarray:
    """Return (H, W, 3) uint8 BGR: one row per identity, eight views and two small sizes each."""
    rows = []
    for identity in range(count):
        person = world.identity(
            identity % (world.spec.train_identities + world.spec.test_identities)
        )
        cells = []
        for column, (yaw, size) in enumerate([(y, 1.0) for y in _YAWS] + [(30, 0.4), (210, 0.15)]):
            rng = make_rng(world.spec.seed, Stream.PREVIEW, identity, column)
            cell = np.full((round(height_px * 1.3), round(height_px * 0.8), 3), 214, np.uint8)
            tall = height_px * size * (0.55 + 0.45 * person.height_m / 1.8)
            x, y = cell.shape[1] // 2, round(height_px * 1.2)
            cast_shadow(cell, x, y, 0.4 * tall, 0.14 * tall, Light(0.8, 0.4))
            pose = sample_pose(rng, float(yaw))
            paste(cell, paint_person(person, pose, tall, Light(0.8, 0.6)), x, y)
            cells.append(cell)
        rows.append(np.hstack(cells))
    return np.vstack(rows)


def _grid(images: list[np.ndarray], columns: int) -> np.ndarray:
    blank = np.zeros_like(images[0])
    images = images + [blank] * (-len(images) % columns)
    rows = [np.hstack(images[k : k + columns]) for k in range(0, len(images), columns)]
    return np.vstack(rows)


def write_preview(spec: WorldSpec, root: Path, count: int) -> list[Path]:
    """Write ``<name>-frames.png`` and ``<name>-people.png`` into ``root`` and return their paths.

    Raises:
        ValueError: ``count`` is not within 1..60.
        OSError: A picture cannot be written.
    """
    if not 1 <= count <= 60:
        raise ValueError(f"--preview must be within 1..60, got {count}")
    root.mkdir(parents=True, exist_ok=True)
    world = World(spec)
    sheets = {"frames": frame_sheet(world, count), "people": identity_sheet(world, count)}
    paths = []
    for kind, sheet in sheets.items():
        path = root / f"{spec.name}-{kind}.png"
        ok, data = cv2.imencode(".png", sheet)
        if not ok:
            raise OSError(f"could not encode {path} as PNG")
        path.write_bytes(data.tobytes())
        paths.append(path)
    return paths
