"""The file ``cuhk-03.mat`` of CUHK03 (Li et al., CVPR 2014): its images and its test sets.

It is a MATLAB file of version 7.3, that is HDF5, where all axes are reversed. ``labeled`` and
``detected`` are cells of five camera pairs; each is a cell of persons x 10 images, of which the
first five are of the pair's first camera and any may be empty. ``testsets`` is a cell of 20 arrays
(100, 2) of camera pair and person, both from 1.
"""

import errno
import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import numpy as np
from PIL import Image

logger = logging.getLogger(__name__)

_IMAGES_OF_A_CAMERA = 5


def extract_images(mat_path: Path, folder: Path, boxes: str) -> None:
    """Write the images of one kind of boxes as PNG files, once.

    The names are those of the new protocol: camera pair, person in it, camera in the pair, image
    (``1_001_1_01.png``, all from 1). They are written to a folder beside, which gets the name
    ``folder`` when it is complete; a run that was interrupted is continued. Of processes that call
    this together, one writes and the others wait.

    Args:
        mat_path: ``cuhk-03.mat``.
        folder: where to; if it is there already, nothing is done.
        boxes: ``labeled`` or ``detected``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not as it should be.
        OSError: the images cannot be written, as on a full disk.
    """
    if folder.is_dir():
        return
    partial = folder.with_name(f"{folder.name}.partial")
    with (
        _explain_write_errors(mat_path, partial),
        _lock(folder.with_name(f".{folder.name}.lock")),
    ):
        if folder.is_dir():  # another process was first
            return
        logger.info("Extracting the %s images of %s to %s", boxes, mat_path, folder)
        partial.mkdir(exist_ok=True)
        count = 0
        for name, image in _iterate_images(mat_path, boxes, set(os.listdir(partial))):
            if image is not None:
                _write_png(partial / name, image)
            count += 1
        if not count:
            raise ValueError(f"{mat_path}: {boxes!r} holds no image; download the file again")
        partial.rename(folder)
        logger.info("Extracted %d images to %s", count, folder)


def read_test_sets(mat_path: Path) -> list[set[tuple[int, int]]]:
    """Read the classic test sets: (camera pair, person) of 100 people each, from 1.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not as it should be.
    """
    with _open(mat_path) as file:
        tables = [np.asarray(file[reference]).T for reference in np.ravel(file["testsets"])]
        return [{(int(pair), int(person)) for pair, person in table} for table in tables]


def _iterate_images(
    mat_path: Path, boxes: str, done: set[str]
) -> Iterator[tuple[str, np.ndarray | None]]:
    """Yield the name of each image and the image, (H, W, 3) uint8 RGB; None for those done."""
    with _open(mat_path) as file:
        for pair, pair_reference in enumerate(np.ravel(file[boxes]), start=1):
            for person, references in enumerate(np.asarray(file[pair_reference]).T, start=1):
                for number, reference in enumerate(references, start=1):
                    data = file[reference]
                    if data.ndim < 3:  # MATLAB's empty cell
                        continue
                    camera = 1 if number <= _IMAGES_OF_A_CAMERA else 2
                    name = f"{pair}_{person:03d}_{camera}_{number:02d}.png"
                    yield name, None if name in done else np.asarray(data).T


def _write_png(path: Path, image: np.ndarray) -> None:
    """Write an image such that it is either complete or not there."""
    temporary = path.with_name(f".{path.name}")
    # Three times as fast as the default level, for files a tenth larger.
    Image.fromarray(np.ascontiguousarray(image)).save(temporary, format="PNG", compress_level=1)
    temporary.replace(path)


@contextmanager
def _open(mat_path: Path) -> Iterator[Any]:
    """Open the file for reading; whatever goes wrong within names it."""
    if not mat_path.is_file():
        raise FileNotFoundError(f"{mat_path} is missing: is the root right?")
    try:
        with h5py.File(mat_path, "r") as file:
            yield file
    except (AttributeError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{mat_path} is not the HDF5 file of CUHK03 ({type(error).__name__}: {error}); "
            f"download or unpack it again"
        ) from error


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _explain_write_errors(mat_path: Path, partial: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        remedies = {
            errno.ENOSPC: "the disk is full: make room",
            errno.EDQUOT: "the disk quota is used up: make room",
            errno.EACCES: "there is no right to write: give it",
            errno.EROFS: "the disk is read-only: put the data set on another",
        }
        if error.errno not in remedies:
            raise
        raise OSError(
            error.errno,
            f"cannot extract the images of {mat_path} to {partial}; {remedies[error.errno]} and "
            f"start again, it goes on from the images that are there",
        ) from error
