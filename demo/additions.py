"""Footage that visitors add to a gallery."""

import hashlib
import re
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from person_search.footage.files import BrokenFile, FootageOptions, list_footage
from person_search.footage.frames import split_frame_name
from person_search.footage.images import ImageError, check_pixels, read_image_size
from person_search.gallery.add_footage import IndexReport, index_footage
from person_search.gallery.errors import GalleryError

from . import activity
from .actions import MAX_PIXELS
from .service import Gallery, Service


def keep_uploads(files: Sequence[str | Path], folder: Path) -> list[Path]:
    """Move uploaded files to where the gallery keeps them, under names of their content.

    The same file twice is one file, so that indexing it again finds it unchanged.

    Args:
        files: images and videos in a temporary folder; gone afterwards.
        folder: of the gallery; made if missing.

    Returns:
        Where they are now, absolute.

    Raises:
        ValueError: a file is neither an image nor a video by its name.
        OSError: the folder cannot be written to.
    """
    gone = [Path(file).name for file in files if not Path(file).is_file()]
    if gone:
        raise ValueError(f"{gone[0]} is gone: it was uploaded too long ago; choose the files again")
    uploads = list_footage([Path(file) for file in files])
    for upload in uploads:
        _check_size(upload)
    kept = []
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for upload in uploads:
        with open(upload, "rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()[:12]
        name = re.sub(r"[^\w.-]+", "_", upload.name)[-80:]
        target = folder / f"{digest}-{name}"
        # First beside it: a name of the gallery always means a whole file.
        arriving = target.with_name(f".{target.name}.part")
        shutil.move(upload, arriving)
        arriving.replace(target)
        kept.append(target)
    return kept


def _check_size(upload: Path) -> None:
    """Refuse a picture of too many pixels; what is no picture is told when it is read.

    Raises:
        ImageError: the head says more than `MAX_PIXELS`.
    """
    try:
        width, height = read_image_size(upload)
    except ImageError:
        return
    check_pixels(width, height, upload.name, MAX_PIXELS)


def _discard_unknown(service: Service, kept: Sequence[Path]) -> None:
    """Delete the files that no gallery knows: nothing would ever remove them."""
    with suppress(GalleryError, OSError):  # who knows them cannot be found out then
        # Of all cameras, also those that the sender may not see.
        known = {
            split_frame_name(frame.name)[0]
            for gallery in service.galleries.values()
            for frame in gallery.index.frames()
        }
        discard([path for path in kept if str(path) not in known])


def discard(files: Sequence[str | Path]) -> None:
    """Delete what is left of uploaded files, after a mistake for one."""
    for file in files:
        Path(file).unlink(missing_ok=True)


def index_uploads(
    service: Service,
    gallery: Gallery,
    files: Sequence[str | Path],
    options: FootageOptions,
    on_progress: Callable[[int, int | None], None] | None = None,
    via: str = activity.PAGE,
) -> IndexReport:
    """Add uploaded images and videos to a gallery; broken ones are listed and not kept.

    Raises:
        ValueError: nothing was uploaded, or a file is neither an image nor a video.
        GalleryError: the gallery cannot be written.
    """
    if not files:
        raise ValueError("no files given; choose images or a video first")
    kept = keep_uploads(files, gallery.footage)
    try:
        with activity.begin(gallery, "import", via) as use:
            report = index_footage(
                gallery.index, service.finder, kept, options, progress=False,
                on_progress=on_progress,
            )  # fmt: skip
            use.said(frames=report.frames_added, people=report.people_added)
    except BaseException:
        _discard_unknown(service, kept)
        raise
    # A sender knows the file's name, not the one under which it was kept.
    senders = {str(path): path.name.partition("-")[2] for path in kept}
    broken = []
    for file in report.broken:
        name = senders.get(file.name, file.name)
        broken.append(BrokenFile(name, file.reason.replace(file.name, name)))
        if file.name in senders:
            Path(file.name).unlink(missing_ok=True)
    return replace(report, broken=broken)
