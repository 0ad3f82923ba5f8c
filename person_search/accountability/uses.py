"""One use of a gallery, from its beginning to the entry that tells of it."""

import hashlib
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from person_search.accountability.entries import Entry
from person_search.accountability.pictures import QueryPictures
from person_search.gallery.rows import frame_id
from person_search.people import Box, Match

if TYPE_CHECKING:
    from person_search.gallery.rows import StoredAppearance

Finish = Callable[[Entry], object]


class Use:
    """A use that is going on; where the gallery is not logged, nothing becomes of it.

    What is shown must wait for `end`, which writes the entry; as a context it ends by itself, also
    after an error, whose kind it tells then.
    """

    def __init__(
        self, finish: Finish | None, begun: Entry, pictures: QueryPictures | None = None
    ) -> None:
        """Use `ActivityLog.use` instead."""
        self._finish, self._content, self._pictures = finish, begun, pictures
        self.is_logged = finish is not None

    def asked(self, picture: np.ndarray, box: Box, num_pictures: int = 1) -> Self:
        """Tell who was asked for.

        Args:
            picture: (H, W, 3) uint8 RGB; its hash is told, and what is in the box kept if the log
                is set so.
            box: Of the person, in its pixels.
            num_pictures: Of the person that the search used, with confirmed matches.
        """
        if self.is_logged:
            query: Entry = {
                "sha256": hash_picture(picture),
                "box": [round(float(v), 2) for v in box],
                "pictures": num_pictures,
            }
            if self._pictures is not None:
                query["kept"] = self._pictures.keep(picture, box)
            self._content.setdefault("queries", []).append(query)
        return self

    def showed(self, matches: Iterable[Match]) -> Self:
        """Tell which people of the gallery were shown, in that order."""
        if self.is_logged:
            self._content.setdefault("results", []).extend(map(to_result, matches))
        return self

    def showed_stays(self, stays: "Iterable[StoredAppearance]") -> Self:
        """Tell which stays were shown."""
        return self.showed(stay.best for stay in stays)

    def said(self, **said: Any) -> Self:
        """Tell more, in plain values; no name of anybody who was looked for."""
        self._content.update(said)
        return self

    def end(self) -> None:
        """Write the entry; again does nothing.

        Raises:
            LogError: It cannot be written; then nothing may be shown.
        """
        finish, self._finish = self._finish, None
        if finish is not None:
            finish(self._content)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.said(failed=kind.__name__)
        self.end()


def hash_picture(picture: np.ndarray) -> str:
    """Return the SHA-256 of a picture's size and pixels, the same whatever file it came in.

    Args:
        picture: (H, W, 3) uint8 RGB.

    Examples:
        >>> import numpy as np
        >>> hash_picture(np.zeros((2, 3, 3), np.uint8))[:12]
        'aa357d8167ae'
    """
    height, width = picture.shape[:2]
    digest = hashlib.sha256(f"{width}x{height} RGB\n".encode())
    digest.update(np.ascontiguousarray(picture, np.uint8).data)
    return digest.hexdigest()


def hash_subject(name: str) -> str:
    """Return what stands for the name of somebody who is looked for: names stay out of the log."""
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:12]


def to_result(match: Match) -> Entry:
    """Return a match as an entry has it.

    ``person`` is the id of the frame, the first 128 bits of the SHA-256 of its name, and the
    number in it where that is known: once the frame is removed, nothing leads back to its picture.
    """
    told: Entry = {
        "person": match.person or frame_id(match.image),
        "similarity": round(float(match.similarity), 6),
        "camera": match.camera,
        "time": match.timestamp,
        "stay": None if match.appearance is None else match.appearance.id,
    }
    if match.judgement is not None:
        told["judgement"] = "right" if match.judgement else "wrong"
    return told


def now() -> float:
    """Return the time, seconds since 1970 (UTC), to the millisecond."""
    return round(time.time(), 3)
