"""The endpoints of the API for admins; `docs/api.md` describes them."""

from collections.abc import Sequence
from typing import Any

from person_search.accountability.activity_log import ActivityLog

from . import activity, removal
from .admin_tab import WHOLE_LOG
from .frame_names import frame_label
from .inputs import parse_optional_time
from .removal import Removal
from .rights import check_sees_all
from .service import Gallery, Service


class AdminEndpoints:
    """The functions behind the endpoints; their docstrings are what clients are shown."""

    def __init__(self, service: Service):
        self.service = service

    def remove(
        self,
        gallery: str | None = None,
        camera: str | None = None,
        until: str | float | None = None,
        images: list[str] | None = None,
        stays: list[int] | None = None,
        dry_run: bool = True,
    ) -> dict[str, Any]:
        """Remove frames, or all sights of a person in stays; tells what would go unless told to."""
        chosen = self.service.gallery(gallery)
        if stays:
            if camera is not None or until is not None or images:
                raise ValueError("got stays and frames; expected one of them at a time")
            return self._remove_stays(chosen, stays, dry_run)
        names = _frames(chosen, camera, until, images)
        if dry_run or not names:
            return _to_json(removal.plan(chosen, names), is_done=False)
        return _to_json(removal.remove_frames(chosen, names, activity.API), is_done=True)

    def _remove_stays(self, gallery: Gallery, stays: list[int], dry_run: bool) -> dict[str, Any]:
        check_sees_all()
        found = [gallery.index.appearances.get(stay).appearance for stay in dict.fromkeys(stays)]
        if not dry_run:
            gone = removal.remove_stays(gallery, [one.id for one in found], activity.API)
            return _to_json(gone, is_done=True)
        info, sights = gallery.index.info(), sum(one.frames for one in found)
        return _to_json(Removal(sights, sights, info.frames, info.people), is_done=False)

    def log(self, gallery: str | None = None, last: int = 100) -> dict[str, Any]:
        """Read the last entries of the log of a gallery, and whether it is as it was written."""
        check_sees_all(WHOLE_LOG)
        if last < 0:
            raise ValueError(f"last must be 0 or more, got {last}")
        log = ActivityLog(self.service.gallery(gallery).index)
        entries = log.entries()
        if not entries:
            return {"is_on": log.is_on, "entries": [], "problems": [], "notes": [], "head": None}
        user = activity.current_user()
        log.record("log show", user=user, via=activity.API, entries=min(last, len(entries)))
        report = log.verify()
        return {
            "is_on": log.is_on,
            "entries": entries[len(entries) - min(last, len(entries)) :],
            "problems": report.problems,
            "notes": report.notes,
            "head": report.head,
        }


def _frames(
    gallery: Gallery, camera: str | None, until: str | float | None, images: Sequence[str] | None
) -> list[str]:
    """Return the names of the frames that fit all that is given.

    Raises:
        ValueError: Nothing is given, or an image is not in the gallery.
    """
    if camera is None and not images:
        raise ValueError("nothing says which frames; give camera, images or stays")
    end = parse_optional_time(until, end=True)
    frames = [
        frame
        for frame in gallery.index.frames()
        if (camera is None or (frame.camera or "") == camera)
        and (end is None or (frame.timestamp is not None and frame.timestamp <= end))
    ]
    if not images:
        return [frame.name for frame in frames]
    named: dict[str, list[str]] = {}
    for frame in frames:
        named.setdefault(frame_label(frame.name), []).append(frame.name)
    for image in images:
        if len(named.get(image, ())) != 1:
            there = "no frame" if image not in named else "several frames"
            raise ValueError(
                f"{there} that fit are called {image!r}; expected an image as search answers it"
            )
    return [named[image][0] for image in dict.fromkeys(images)]


def _to_json(removed: Removal, is_done: bool) -> dict[str, Any]:
    return {
        "removed": is_done,
        "frames": removed.frames,
        "people": removed.people,
        "files": removed.files,
        "left": {"frames": removed.left_frames, "people": removed.left_people},
    }
