"""What goes wrong with logs."""

from person_search.gallery.errors import GalleryError


class LogError(GalleryError):
    """A log cannot be read or written; says what to do.

    A full disk is waited out by who waits for room for a gallery, too.
    """
