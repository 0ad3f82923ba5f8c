"""What lies where a file of weights should, by its first bytes: a page, a pointer, an archive."""

ZIP = b"PK\x03\x04"

_OTHERS = (
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x89PNG", "a PNG picture"),
    (b"%PDF", "a PDF file"),
    (b"\x1f\x8b", "a gzip archive: unpack it"),
    (b"Rar!", "a RAR archive: unpack it"),
    (b"version https://git-lfs", "a pointer of Git LFS to the file: fetch that with git lfs pull"),
    (b"<", "a web page, perhaps one that asks to confirm the download"),
)


def name_kind(start: bytes) -> str | None:
    """Return what a file is that is no file of weights, and what to do; None if nobody knows.

    Args:
        start: its first bytes.
    """
    if not start:
        return "an empty file: copy or fetch it again"
    if start.startswith(ZIP):
        return "a zip archive: unpack it"
    start = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    return next((what for sign, what in _OTHERS if start.startswith(sign)), None)
