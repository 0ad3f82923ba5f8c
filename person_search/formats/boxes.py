"""Boxes out of other people's files, for a gallery that needs no detector."""

from collections.abc import Sequence
from pathlib import Path

from person_search.formats.box_files import BoxFile
from person_search.formats.coco_boxes import CocoBoxes
from person_search.formats.mot_boxes import MotBoxes


def open_boxes(
    path: str | Path, files: Sequence[Path], *, min_score: float | None = None
) -> BoxFile:
    """Read boxes that a model shall embed.

    Args:
        path: COCO JSON; or of the MOT Challenge a file of boxes, the folder of a sequence, or a
            folder of such folders.
        files: the footage, as `list_footage` gives it.
        min_score: least score, 0..1, of the boxes that are taken; None takes all.

    Returns:
        The boxes, for `index_footage`.

    Raises:
        ValueError: It is none of these, or does not fit the footage.
        OSError: It cannot be read.
    """
    place = Path(path)
    if not place.exists():
        raise FileNotFoundError(f"{place} does not exist; expected COCO JSON or MOT text")
    is_coco = place.suffix.lower() == ".json"
    boxes = (CocoBoxes if is_coco else MotBoxes)(place, min_score or 0.0)
    boxes.match(files)
    return boxes
