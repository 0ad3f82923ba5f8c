"""Pictures to judge drawn faces by: people in rows."""

import dataclasses
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from person_search.synthetic.faces.spec import FaceSpec
from person_search.synthetic.faces.view import sample_shot
from person_search.synthetic.faces.world import FaceWorld, draw_face
from person_search.synthetic.palette import Stream, make_rng

_COLUMNS = 10
_FAULTLESS: dict[str, Any] = {
    name: 0.0
    for name in (
        *("yaw", "pitch", "misalignment", "expression", "occlusion"),
        *("colour_cast", "exposure", "blur", "noise"),
    )
}


def face_sheet(world: FaceWorld, count: int) -> np.ndarray:
    """Return (H, W, 3) uint8 BGR: a row for each of ``count`` test people.

    The first picture of a row is a frontal one without faults, which is not in the set; those after
    it are.
    """
    spec = world.spec
    still = dataclasses.replace(spec, **_FAULTLESS, light=0.4)
    rows = []
    for identity in range(spec.train_identities, spec.train_identities + count):
        rng = make_rng(spec.seed, Stream.PREVIEW, identity)
        face = world.face(identity)
        cells = [draw_face(still, face, sample_shot(still, face, rng), rng)]
        plans = [plan for plan in world.plans if plan.identity == identity]
        cells += [world.draw(plan.index) for plan in plans[: _COLUMNS - 1]]
        cells += [np.full_like(cells[0], 214)] * (_COLUMNS - len(cells))
        rows.append(np.hstack(cells))
    return np.vstack(rows)


def write_face_preview(spec: FaceSpec, folder: Path, count: int) -> Path:
    """Write the sheet of ``count`` people as a PNG file into a folder and return its path.

    Raises:
        ValueError: There are not so many test people.
        OSError: It cannot be written.
    """
    if not 1 <= count <= spec.test_identities:
        raise ValueError(f"--preview: got {count}, expected 1..{spec.test_identities} people")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{spec.name}.png"
    ok, data = cv2.imencode(".png", face_sheet(FaceWorld(spec), count))
    if not ok:
        raise RuntimeError(f"could not encode {path} as PNG")
    path.write_bytes(data.tobytes())
    return path
