"""What a model sees in pictures, in a file: ``people.npz``, or the same as JSON.

Letters: G pictures, N people in all of them, D embedding size.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from person_search.people import People
from reid_heads.atomic_file import save_arrays, save_json
from reid_heads.evaluation.named_arrays import BROKEN_FILE, read_arrays
from reid_heads.text_files import read_json

SUFFIXES = (".npz", ".json")


@dataclass(frozen=True)
class FoundPeople:
    """People of some pictures; the names of the arrays are those of ``predictions.npz``."""

    image_names: np.ndarray
    """(G,) str: the pictures, named as they were given; also those in which nobody is."""

    image_index: np.ndarray
    """(N,) int64: row of ``image_names`` of each person."""

    boxes: np.ndarray
    """(N, 4) float32, (x1, y1, x2, y2) in original pixels."""

    scores: np.ndarray
    """(N,) float32: the detector's confidence, 0..1; 1 for boxes that were given."""

    embeddings: np.ndarray
    """(N, D) float32 of unit norm."""

    @classmethod
    def gather(cls, names: Sequence[str], people: Sequence[People]) -> "FoundPeople":
        """Put the people of some pictures together, at least of one."""
        return cls(
            np.array(list(names)),
            np.repeat(np.arange(len(people)), [len(one) for one in people]),
            np.concatenate([one.boxes for one in people]).astype(np.float32),
            np.concatenate([one.scores for one in people]).astype(np.float32),
            np.concatenate([one.embeddings for one in people]).astype(np.float32),
        )

    def save(self, path: Path) -> None:
        """Write a ``.npz`` or ``.json`` file, whole or not at all.

        Raises:
            OSError: if it cannot be written.
            ValueError: if its name ends in something else.
        """
        if path.suffix not in SUFFIXES:
            raise ValueError(f"{path}: expected a name ending in {' or '.join(SUFFIXES)}")
        if path.suffix == ".npz":
            save_arrays(path, vars(self))
        else:
            save_json(path, {name: array.tolist() for name, array in vars(self).items()})


def load_boxes(path: Path) -> dict[str, np.ndarray]:
    """Read the boxes of a file that `FoundPeople.save` wrote, or of one of the same form.

    Args:
        path: a ``.npz`` or ``.json`` file with ``image_names``, ``image_index`` and ``boxes``.

    Returns:
        Each picture's boxes (n, 4) float32, by its name.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no such file; says what was expected.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file of boxes {path}")
    wanted = ("image_names", "image_index", "boxes")
    try:
        if path.suffix == ".json":
            content = read_json(path)
            missing = [name for name in wanted if name not in content]
            if missing:
                raise ValueError(f"no {', '.join(missing)}; expected {', '.join(wanted)}")
            arrays = {name: np.array(content[name]) for name in wanted}
        else:
            arrays = read_arrays(path, wanted)
        names, rows = arrays["image_names"].astype(str), arrays["image_index"].astype(np.int64)
        boxes = arrays["boxes"].astype(np.float32)
        if boxes.size and (boxes.ndim != 2 or boxes.shape[1] != 4):
            raise ValueError(f"boxes have shape {boxes.shape}; expected (N, 4): x1 y1 x2 y2 each")
        boxes = boxes.reshape(-1, 4)
        if len(rows) != len(boxes) or ((rows < 0) | (rows >= len(names))).any():
            raise ValueError(
                f"image_index has {len(rows)} rows for {len(boxes)} boxes and {len(names)} names; "
                "expected one a box, each the row of a name"
            )
        counts = Counter(names.tolist())
        if twice := [name for name, count in counts.items() if count > 1]:
            raise ValueError(
                f"image_names has {', '.join(twice[:3])} more than once, so that whose boxes are "
                "meant is not known; give each picture's path, as the command is given it"
            )
    except (*BROKEN_FILE, TypeError) as error:
        raise ValueError(f"{path} is no file of boxes: {error}") from error
    return {name: boxes[rows == row] for row, name in enumerate(names.tolist())}
