"""Removing frames and people from a gallery, by the page and its API, for admins."""

from collections.abc import Sequence
from dataclasses import dataclass

from person_search.accountability.own_pictures import deletable, delete_files
from person_search.accountability.receipts import write_receipt
from person_search.footage.frames import split_frame_name
from person_search.gallery.errors import GalleryError

from . import activity
from .pictures import forget_pictures
from .service import Gallery


@dataclass(frozen=True)
class Removal:
    """What goes, or what went and what was found afterwards."""

    frames: int
    """That go; of people, in which they were: these frames stay."""

    people: int
    left_frames: int
    """In the gallery, as the caller sees it, as long as nothing went or after it."""

    left_people: int
    files: int = 0
    """Kept by the page for the frames, and deleted with them."""


def find_frames(gallery: Gallery, camera: str, until: float | None) -> list[str]:
    """Return the names of the frames of a camera, of those with a time the ones up to then.

    Args:
        gallery: As the caller sees it.
        camera: Its name; "" stands for an unknown one.
        until: Seconds as `Match.timestamp`; None for all. A frame without a time stays then.
    """
    return [
        frame.name
        for frame in gallery.index.frames()
        if (frame.camera or "") == camera
        and (until is None or (frame.timestamp is not None and frame.timestamp <= until))
    ]


def plan(gallery: Gallery, names: Sequence[str]) -> Removal:
    """Say what would go with frames."""
    wanted, frames, people = set(names), 0, 0
    for frame in gallery.index.frames():
        if frame.name in wanted:
            frames, people = frames + 1, people + frame.num_people
    info = gallery.index.info()
    return Removal(frames, people, info.frames, info.people)


def remove_frames(gallery: Gallery, names: Sequence[str], via: str = activity.PAGE) -> Removal:
    """Remove frames with their people, log it, and read back that they are gone.

    Args:
        gallery: As the caller sees it.
        names: Of frames.
        via: See `demo.activity`.

    Raises:
        GalleryError: They could not be removed, or are still there.
        LogError: The log is on and cannot be written; then nothing was removed.
    """
    with activity.begin(gallery, "remove", via) as use:
        gone = gallery.index.remove(names=names)
        use.said(frames=gone.frames, people=gone.people)
    forget_pictures()
    if gallery.index.known_frames(list(names)):
        raise GalleryError("some of the frames are still there: look again, and remove them")
    files = _delete_own(gallery, names)
    info = gallery.index.info()
    return Removal(gone.frames, gone.people, info.frames, info.people, files)


def remove_stays(gallery: Gallery, stays: Sequence[int], via: str = activity.PAGE) -> Removal:
    """Remove all sights of a person in some stays, with a receipt, and read back; see `forget`.

    Args:
        gallery: As the caller sees it.
        stays: Ids of appearances.
        via: See `demo.activity`.

    Raises:
        GalleryError: One is not there, or the caller does not see all cameras.
        LogError: As of `remove_frames`.
    """
    with activity.begin(gallery, "forget", via) as use:
        gone = gallery.index.appearances.forget(list(stays))
        write_receipt(
            gallery.index, "forget", use, user=activity.current_user(), people=gone.people,
            frames=gone.frames, appearances=gone.appearances, judgements=gone.judgements,
        )  # fmt: skip
    forget_pictures()
    wanted = set(stays)
    if any(stay.appearance.id in wanted for stay in gallery.index.appearances.within()):
        raise GalleryError("some of the stays are still there: look again, and remove them")
    info = gallery.index.info()
    return Removal(gone.frames, gone.people, info.frames, info.people)


def _delete_own(gallery: Gallery, names: Sequence[str]) -> int:
    """Delete the files that the page keeps for frames that are gone; return how many."""
    used = {split_frame_name(frame.name)[0] for frame in gallery.index.frames()}
    gone = {split_frame_name(name)[0] for name in names} - used
    folders = [gallery.footage]
    return delete_files(deletable(gone, folders, everywhere=False), folders)
