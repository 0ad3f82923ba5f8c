"""Picture files with the faces in them: read, chosen, aligned into a folder."""

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from reid_heads.atomic_file import new_folder
from reid_heads.data.datasets.crop_files import list_images
from reid_heads.data.datasets.face_folders import list_persons
from reid_heads.data.mapper import naming_unreadable
from reid_heads.faces.alignment import align_face
from reid_heads.faces.detectors import DetectedFace, Detector, choose_main_face, whole_picture
from reid_heads.pictures import read_image

FaceSource = Callable[[Path], Detector]
"""Takes the path of a picture, returns the detector that finds its faces."""

MAX_SIDE = 32766
"""Pixels; OpenCV's warp counts them in 16 bits."""

logger = logging.getLogger(__name__)


class AlignedPictures:
    """The source of pictures each of which is one aligned face."""

    def __init__(self) -> None:
        self._has_warned = False

    def __call__(self, picture: Path) -> Detector:
        """Return the detector that takes the picture for a face; warn of the first odd one."""

        def detect(image: np.ndarray) -> list[DetectedFace]:
            height, width = image.shape[:2]
            if height != width and not self._has_warned:
                self._has_warned = True
                logger.warning(
                    "%s has %d x %d pixels, so is hardly an aligned face, but is taken for one, as "
                    "are all pictures: say where the faces are by --faces, --detector or "
                    "--detector-config",
                    picture, width, height,
                )  # fmt: skip
            return whole_picture(image)

        return detect


def check_pictures(pictures: Sequence[Path]) -> None:
    """Raise FileNotFoundError unless all pictures are files."""
    for picture in pictures:
        if not picture.is_file():
            got = "is a folder" if picture.is_dir() else "is not there"
            raise FileNotFoundError(f"{picture} {got}; expected the file of a picture")


def read_picture(path: Path) -> np.ndarray:
    """Read a picture, turned upright as its EXIF data say.

    Returns:
        (H, W, 3) uint8 RGB, original pixels.

    Raises:
        OSError: If it is missing or broken, or no picture; the message names it.
        ValueError: If a side is longer than OpenCV's warp takes.
    """
    check_pictures([path])
    with naming_unreadable(str(path)):
        image = read_image(path)
    height, width = image.shape[:2]
    if max(height, width) > MAX_SIDE:
        raise ValueError(
            f"{path} has {width} x {height} pixels; expected at most {MAX_SIDE} a side: cut it up"
        )
    return image


@contextlib.contextmanager
def naming(what: str | Path) -> Iterator[None]:
    """Put what it is about before the message of a ValueError."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from error


def find_main_face(path: Path, source: FaceSource) -> tuple[np.ndarray, DetectedFace]:
    """Read a picture and choose its main face; warn where there are several.

    Returns:
        The picture (H, W, 3) uint8 RGB, and the face of the highest score, of equal ones the
        largest.

    Raises:
        OSError: If the picture is missing or broken.
        ValueError: If it shows no face.
    """
    detect, image = source(path), read_picture(path)
    with naming(path):
        faces = detect(image)
        face = choose_main_face(faces)
    if len(faces) > 1:
        box = " ".join(f"{value:.0f}" for value in face.box_xyxy)
        logger.warning("%s shows %d faces; taken is the one at %s", path, len(faces), box)
    return image, face


def list_person_pictures(people: Path) -> dict[str, list[Path]]:
    """List the pictures of each person in a folder with a folder for each.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it holds no folder, or one of them no picture.
    """
    return {
        person: [people / person / name for name in list_images(people / person)]
        for person in list_persons(people)
    }


def align_people(people: Path, output: Path, source: FaceSource) -> tuple[int, int]:
    """Align the main face of each picture of each person, into a folder of the same form.

    Args:
        people: With a folder for each person.
        output: New folder, written whole or not at all. It gets ``person/picture.png``, 112 x 112
            pixels each.
        source: Says where the faces are; each must have five points.

    Returns:
        Numbers of people and faces.

    Raises:
        FileExistsError: If the output is there already and is not an empty folder.
        OSError: If a picture is missing or broken.
        ValueError: If a folder holds nothing, a picture shows no face, or a face cannot be aligned.
    """
    pictures = list_person_pictures(people)
    with new_folder(output) as folder:
        for person, own in pictures.items():
            (folder / person).mkdir()
            for path in own:
                image, face = find_main_face(path, source)
                with naming(path):
                    aligned = align_face(image, _points_of(face))
                Image.fromarray(aligned).save(folder / person / f"{path.stem}.png")
    return len(pictures), sum(map(len, pictures.values()))


def _points_of(face: DetectedFace) -> np.ndarray:
    if face.points is None:
        raise ValueError(
            "the face has a box but not the five points that it is aligned by; expected the "
            "columns lx1,ly1 to lx5,ly5 in the list of faces, or a detector with five points"
        )
    return face.points
