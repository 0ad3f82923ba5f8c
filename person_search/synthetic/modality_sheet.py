"""Pictures to judge modalities and styles by: people in colour beside infrared, styles in rows."""

from collections import Counter

import cv2
import numpy as np

from person_search.synthetic.market_crops import CROP_HEIGHT, CROP_WIDTH, HAND_DRAWN, cut_crops
from person_search.synthetic.market_plan import market_world
from person_search.synthetic.modality_spec import ModalitySpec, RegdbSpec, SysuSpec
from person_search.synthetic.modality_world import ModalityWorld, RegdbWorld, SysuWorld, fit_crop
from person_search.synthetic.world_spec import MarketSpec

_PAPER = 214
_GAP = 4


def modality_world(spec: ModalitySpec) -> ModalityWorld:
    """Return the world of a spec in two modalities.

    Raises:
        TypeError: The spec is of a kind that has no world.
    """
    if isinstance(spec, SysuSpec):
        return SysuWorld(spec)
    if isinstance(spec, RegdbSpec):
        return RegdbWorld(spec)
    raise TypeError(f"{spec.name} is neither a SysuSpec nor a RegdbSpec")


def modality_sheet(world: ModalityWorld, count: int, per_side: int = 6) -> np.ndarray:
    """Return (H, W, 3) uint8 BGR: one row per test identity, colour left, infrared right.

    Args:
        world: What to draw from.
        count: How many identities, at most those of the test.
        per_side: How many pictures of each modality; the cameras take turns.
    """
    first = world.spec.train_identities
    rows = []
    for identity in range(first, first + min(count, world.spec.test_identities)):
        shots = [s for s in world.shots if s.identity == identity]
        # All first pictures of its cameras, then all second ones, and so on.
        shots.sort(key=lambda s: (s.number, s.camera))
        row: list[np.ndarray] = []
        for is_infrared in (False, True):
            some = [s for s in shots if world.is_infrared(s.camera) == is_infrared][:per_side]
            cells = [fit_crop(world.crop(s.index), CROP_WIDTH, CROP_HEIGHT) for s in some]
            row += cells + [_blank()] * (per_side - len(cells))
        rows.append(row)
    return _table(rows, per_side)


def style_sheet(specs: list[MarketSpec], columns: int = 14) -> np.ndarray:
    """Return (H, W, 3) uint8 BGR: for each spec a row of test people, as JPEG left them.

    Args:
        specs: Worlds of crops.
        columns: How many people of each; one crop each, at most two of a frame.
    """
    rows = []
    for spec in specs:
        world, row = market_world(spec), list[np.ndarray]()
        for plan in world.plans[spec.train_frames :]:
            if len(row) == columns:
                break
            quality = world.scene(plan.camera).camera.jpeg_quality
            taken = Counter[int]()
            for crop in cut_crops(world, plan.index):
                is_wanted = crop.identity >= 0 and crop.number == HAND_DRAWN
                if is_wanted and crop.visible > 0.7 and len(row) < columns and taken[0] < 2:
                    row.append(_compress(crop.image, quality))
                    taken[0] += 1
        rows.append(row + [_blank()] * (columns - len(row)))
    return _table(rows, columns)


def _compress(image: np.ndarray, quality: int) -> np.ndarray:
    ok, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise RuntimeError("could not encode a crop as JPEG")
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))


def _blank() -> np.ndarray:
    return np.full((CROP_HEIGHT, CROP_WIDTH, 3), _PAPER, np.uint8)


def _table(rows: list[list[np.ndarray]], gap_after: int) -> np.ndarray:
    """Lay equal cells out in rows, with a wider gap after ``gap_after`` of them."""
    edge = cv2.BORDER_CONSTANT
    lines = []
    for row in rows:
        cells = [
            cv2.copyMakeBorder(
                cell, 0, _GAP, 0, 3 * _GAP if k + 1 == gap_after < len(row) else _GAP, edge,
                value=(_PAPER,) * 3,
            )
            for k, cell in enumerate(row)
        ]  # fmt: skip
        lines.append(np.hstack(cells))
    sheet = np.vstack(lines)
    return np.asarray(cv2.copyMakeBorder(sheet, _GAP, 0, _GAP, 0, edge, value=(_PAPER,) * 3))
