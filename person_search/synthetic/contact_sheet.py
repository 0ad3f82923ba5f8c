"""Pictures to judge a drawn world by: frames, people seen from all sides, and crops."""

from pathlib import Path

import cv2
import numpy as np

from person_search.synthetic.canvas import Light
from person_search.synthetic.market_crops import (
    CROP_HEIGHT,
    CROP_WIDTH,
    DISTRACTOR,
    HAND_DRAWN,
    JUNK,
    Crop,
    cut_crops,
)
from person_search.synthetic.market_plan import market_world
from person_search.synthetic.modality_sheet import modality_sheet, modality_world
from person_search.synthetic.modality_spec import ModalitySpec
from person_search.synthetic.palette import Stream, make_rng
from person_search.synthetic.people.figure import paint_person
from person_search.synthetic.people.pose import sample_pose
from person_search.synthetic.places.paste import cast_shadow, make_shadow, paste
from person_search.synthetic.world import World
from person_search.synthetic.world_spec import MarketSpec, WorldSpec

_YAWS = (0, 45, 90, 135, 180, 225, 270, 315)
_COLUMNS = 3
_FIGURE_PX = 190
"""Height of a person of 1.8 m on the sheet of identities."""


def frame_sheet(world: World, count: int) -> np.ndarray:
    """Return (H, W, 3) uint8 BGR: ``count`` frames spread over the world, three in a row.

    Args:
        world: What to draw from.
        count: How many frames, at least 1.
    """
    total = len(world.plans)
    frames = [world.draw(k * total // count).image for k in range(count)]
    return _grid(frames, min(_COLUMNS, count))


def identity_sheet(world: World, count: int) -> np.ndarray:
    """Return (H, W, 3) uint8 BGR: one row per identity, eight views and two small sizes each."""
    rows = []
    for identity in range(count):
        person = world.identity(
            identity % (world.spec.train_identities + world.spec.test_identities)
        )
        cells = []
        for column, (yaw, size) in enumerate([(y, 1.0) for y in _YAWS] + [(30, 0.4), (210, 0.15)]):
            rng = make_rng(world.spec.seed, Stream.PREVIEW, identity, column)
            cell = np.full((round(_FIGURE_PX * 1.3), round(_FIGURE_PX * 0.8), 3), 214, np.uint8)
            tall = _FIGURE_PX * size * (0.55 + 0.45 * person.height_m / 1.8)
            x, y = cell.shape[1] // 2, round(_FIGURE_PX * 1.2)
            frame = (cell.shape[1], cell.shape[0])
            cast_shadow(cell, make_shadow(frame, x, y, 0.4 * tall, 0.14 * tall, Light(0.8, 0.4)))
            pose = sample_pose(rng, float(yaw))
            paste(cell, paint_person(person, pose, tall, Light(0.8, 0.6)), x, y)
            cells.append(cell)
        rows.append(np.hstack(cells))
    return np.vstack(rows)


def crop_sheet(world: World, count: int) -> np.ndarray:
    """Return (H, W, 3) uint8 BGR: crops of test people, then of distractors, then junk.

    One row per identity with two columns per camera: a frame that the identity is planned for
    fills one. An empty cell is a camera that it does not pass, or a miss.

    Args:
        world: One with a ``MarketSpec``.
        count: How many identities; also how many rows of distractors and junk in all, at most 6.
    """
    first, cameras = world.spec.train_identities, world.spec.train_cameras
    cells: dict[tuple[int, int], np.ndarray] = {}
    others: dict[int, list[np.ndarray]] = {DISTRACTOR: [], JUNK: []}
    drawn: dict[int, list[Crop]] = {}
    for row in range(min(count, world.spec.test_identities)):
        seen = [0] * cameras
        for plan in world.plans:
            if first + row not in plan.people or seen[plan.camera] == 2:
                continue
            if plan.index not in drawn:
                drawn[plan.index] = cut_crops(world, plan.index)
            for crop in drawn[plan.index]:
                if crop.identity == first + row and crop.number != HAND_DRAWN:
                    cells[row, 2 * plan.camera + seen[plan.camera]] = crop.image
                    seen[plan.camera] += 1
    for crop in (crop for crops in drawn.values() for crop in crops if crop.identity < 0):
        others[crop.identity].append(crop.image)
    rows = max(row for row, _ in cells) + 1 if cells else 0
    for images in others.values():
        height = min(-(-len(images) // (2 * cameras)), max(1, min(3, count // 2)))
        for k, image in enumerate(images[: height * 2 * cameras]):
            cells[rows + k // (2 * cameras), k % (2 * cameras)] = image
        rows += height
    return _crop_table(cells, max(rows, 1), 2 * cameras)


def _crop_table(cells: dict[tuple[int, int], np.ndarray], rows: int, columns: int) -> np.ndarray:
    step_y, step_x = CROP_HEIGHT + 4, CROP_WIDTH + 4
    sheet = np.full((rows * step_y, columns * step_x, 3), 214, np.uint8)
    for (row, column), image in cells.items():
        y, x = row * step_y + 2, column * step_x + 2
        sheet[y : y + CROP_HEIGHT, x : x + CROP_WIDTH] = image
    return sheet


def _grid(images: list[np.ndarray], columns: int) -> np.ndarray:
    blank = np.zeros_like(images[0])
    images = images + [blank] * (-len(images) % columns)
    rows = [np.hstack(images[k : k + columns]) for k in range(0, len(images), columns)]
    return np.vstack(rows)


def _sheets(spec: WorldSpec, count: int) -> dict[str, np.ndarray]:
    world: World
    if isinstance(spec, ModalitySpec):
        world = modality_world(spec)
        crops = {"crops": modality_sheet(world, count)}
    elif isinstance(spec, MarketSpec):
        world = market_world(spec)
        crops = {"crops": crop_sheet(world, count)}
    else:
        world, crops = World(spec), {}
    frames, people = frame_sheet(world, count), identity_sheet(world, count)
    return {"frames": frames, "people": people} | crops


def write_preview(spec: WorldSpec, root: Path, count: int) -> list[Path]:
    """Write ``<name>-frames.png`` and ``<name>-people.png`` into ``root`` and return their paths.

    Of a world that is handed on as crops also ``<name>-crops.png``.

    Raises:
        ValueError: ``count`` is not within 1..60.
        OSError: A picture cannot be written.
    """
    if not 1 <= count <= 60:
        raise ValueError(f"--preview must be within 1..60, got {count}")
    root.mkdir(parents=True, exist_ok=True)
    sheets = _sheets(spec, count)
    paths = []
    for kind, sheet in sheets.items():
        path = root / f"{spec.name}-{kind}.png"
        ok, data = cv2.imencode(".png", sheet)
        if not ok:
            raise OSError(f"could not encode {path} as PNG")
        path.write_bytes(data.tobytes())
        paths.append(path)
    return paths
