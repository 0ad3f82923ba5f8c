"""A small drawn world as a gallery to begin with: no real person, nothing downloaded.

Frames lie in folders of their cameras and carry their time as EXIF, as footage often does. Some
frames are kept out of the gallery: they are the page's example pictures.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.ExifTags import Base as Tag

from person_search.synthetic.output_folder import staged_folder
from person_search.synthetic.world import UNLABELLED, DrawnPerson, World
from person_search.synthetic.world_spec import PRESETS

BEGIN = datetime(2025, 6, 2, 8, 0, tzinfo=UTC)
"""When the first frame of the drawn footage was taken."""
MINUTES_APART = 7
NUM_FRAMES = 160
NUM_EXAMPLES = 6
RECORD = "drawn.json"
CAMERAS = ("entrance", "hall", "platform", "stairs", "street", "parking")
MIN_SEEN, MIN_HEIGHT, MIN_VISIBLE = 3, 110, 0.85
"""Of people who make a frame a good example: frames with them, pixels, share not hidden."""
FORMAT = 2
"""Raise it whenever something else would be drawn."""


def draw_footage(
    root: Path,
    num_frames: int = NUM_FRAMES,
    num_examples: int = NUM_EXAMPLES,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[Path, list[Path]]:
    """Draw the test split of the drawn world as footage; do nothing when it is there.

    Args:
        root: folder to make.
        num_frames: how many frames the gallery gets.
        num_examples: how many more become example pictures.
        on_progress: called with the frames drawn and their number.

    Returns:
        The folder of the gallery's frames, one folder a camera below it, and the example pictures.

    Raises:
        FileExistsError: ``root`` holds something else.
        OSError: it cannot be written; nothing half-drawn stays.
    """
    record = {"format": FORMAT, "frames": num_frames, "examples": num_examples}
    if root.exists() and any(root.iterdir()):
        if _read_record(root) != record:
            raise FileExistsError(
                f"{root} does not hold the drawn footage of this version: remove it"
            )
    else:
        with staged_folder(root) as staging:
            _draw(staging, num_frames, num_examples, on_progress)
            (staging / RECORD).write_text(json.dumps(record), encoding="utf-8")
    return root / "footage", sorted((root / "examples").glob("*.jpg"))


def _read_record(root: Path) -> object:
    try:
        return json.loads((root / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _draw(
    folder: Path,
    num_frames: int,
    num_examples: int,
    on_progress: Callable[[int, int], None] | None,
) -> None:
    world = World(PRESETS["drawn-cuhk"])
    plans = [plan for plan in world.plans if plan.split == "test"]
    first_camera = min(plan.camera for plan in plans)
    total = num_frames + num_examples
    files, people = [], []
    for done, plan in enumerate(plans[:total]):
        camera = CAMERAS[(plan.camera - first_camera) % len(CAMERAS)]
        file = folder / "footage" / camera / f"{camera}-{plan.index:05d}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        frame = world.draw(plan.index)
        _write(frame.image, file, BEGIN + timedelta(minutes=MINUTES_APART * done))
        files.append(file)
        people.append(frame.people)
        if on_progress is not None:
            on_progress(done + 1, total)
    (folder / "examples").mkdir()
    for place, row in enumerate(choose_examples(people, num_examples)):
        files[row].rename(folder / "examples" / f"{place + 1}-{files[row].name}")


def choose_examples(frames: Sequence[Sequence[DrawnPerson]], count: int) -> list[int]:
    """Choose frames with people who are well visible there and seen often elsewhere.

    Args:
        frames: who is in each frame.
        count: how many to choose.

    Returns:
        Their places in ``frames``, the best first; people of earlier ones count no more.
    """
    seen = Counter(person.identity for people in frames for person in people)
    chosen: list[int] = []
    shown = {UNLABELLED}

    def worth(row: int) -> int:
        return sum(
            person.identity not in shown
            and seen[person.identity] > MIN_SEEN
            and person.box[3] >= MIN_HEIGHT
            and person.visible > MIN_VISIBLE
            for person in frames[row]
        )

    while len(chosen) < min(count, len(frames)):
        best = max((row for row in range(len(frames)) if row not in chosen), key=worth)
        chosen.append(best)
        shown.update(person.identity for person in frames[best])
    return chosen


def _write(image_bgr: np.ndarray, path: Path, taken: datetime) -> None:
    exif = Image.Exif()
    tags = exif.get_ifd(Tag.ExifOffset)
    tags[Tag.DateTimeOriginal] = taken.strftime("%Y:%m:%d %H:%M:%S")
    tags[Tag.OffsetTimeOriginal] = "+00:00"
    Image.fromarray(np.ascontiguousarray(image_bgr[..., ::-1])).save(path, quality=88, exif=exif)
