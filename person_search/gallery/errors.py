"""The error of a gallery."""


class GalleryError(ValueError):
    """A gallery that cannot be opened, read or written; the message says what to do."""
