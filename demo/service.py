"""The model and the galleries that the page and its API answer from, as the caller sees them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from person_search.cases.blur import Blur
from person_search.gallery.camera_view import seen_by
from person_search.gallery.errors import GalleryError

from .door.callers import current_caller

if TYPE_CHECKING:
    from person_search.gallery.index import GalleryIndex
    from person_search.inference.finder import PersonFinder

NO_CALIBRATION = 0.5
"""Where the threshold starts for a model that was not calibrated."""


@dataclass(frozen=True)
class Gallery:
    """A gallery that the page offers."""

    label: str
    index: "GalleryIndex"
    footage: Path
    """Folder that keeps what visitors add: matches point to the frames' files."""


def still_there(gallery: Gallery, finder: "PersonFinder") -> Gallery:
    """Return a gallery that can be read: itself, or what stands in its place by now.

    Raises:
        GalleryError: it cannot; says what to do. When it can be again, this goes on.
    """
    try:
        gallery.index.known_frames([])
        return gallery
    except GalleryError as error:
        first = error
    try:
        index = type(gallery.index).open(gallery.index.uri, gallery.index.name)
    except (GalleryError, OSError):
        raise first from None
    if index.fingerprint != finder.fingerprint:
        index.close()
        raise GalleryError(
            f"the gallery {gallery.label} was replaced by one of another model; put back the one "
            "that was there, or end the server and start it with the other model"
        )
    gallery.index.close()
    return replace(gallery, index=index)


@dataclass(frozen=True)
class Service:
    """The model and the galleries, shared by all visitors."""

    finder: "PersonFinder"
    galleries: dict[str, Gallery]
    """By label, in the order shown; at least one. What is answered comes from `gallery`."""
    examples: Sequence[Path] = ()
    blur: bool = False
    """Whether pictures show nobody but the person asked for, whatever a visitor wishes."""

    def gallery(self, label: str | None) -> Gallery:
        """Return a gallery by its label, the first one for None, as far as the caller may see it.

        One whose file was replaced is opened anew.

        Raises:
            ValueError: there is no such gallery.
            GalleryError: it is gone, or another model's stands in its place.
        """
        if label is None:
            label = next(iter(self.galleries))
        if label not in self.galleries:
            raise ValueError(f"no gallery {label!r}; expected one of {list(self.galleries)}")
        gallery = self.galleries[label] = still_there(self.galleries[label], self.finder)
        caller = current_caller()
        if caller is None or caller.cameras is None:
            return gallery
        return replace(gallery, index=seen_by(gallery.index, caller.cameras))

    def is_blurred(self, is_wished: bool) -> bool:
        """Say whether pictures show nobody but the person asked for."""
        return bool(is_wished) or self.blur

    def hiding(self, label: str | None, is_wished: bool) -> Blur | None:
        """Return what hides others in a gallery's pictures; None where everybody is shown."""
        return Blur(self.gallery(label).index) if self.is_blurred(is_wished) else None

    @property
    def threshold(self) -> float:
        """The similarity above which a match is probably right: calibrated where that was done."""
        found = self.finder.threshold
        return NO_CALIBRATION if found is None else float(found)

    @property
    def threshold_at_start(self) -> float:
        """Where the field for the threshold stands at first: `threshold` in its steps."""
        return round(self.threshold, 3)

    def said_threshold(self, field: float) -> float | None:
        """Return the threshold that a visitor has set; None where the field stands as at first."""
        return None if field == self.threshold_at_start else float(field)
