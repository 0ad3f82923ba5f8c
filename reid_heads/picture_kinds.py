"""Pictures of kinds that are not read, by their first bytes."""

_SAVE = ": save it as JPEG or PNG"
_OTHERS = (
    (b"8BPS", "a Photoshop picture"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (b"P7\n", "a PAM picture"),
    (b"PF\n", "a PFM picture in colour"),
    (b"\0\0\x01\0", "an icon of Windows"),
    (b"FUJIFILMCCD-RAW", "a camera's raw picture"),
    (b"%!PS", "a PostScript file"),
)
_JPEG, _PNG = b"\xff\xd8", b"\x89PNG"
_JPEG_LS = 0xF7
_NO_FRAMES = (0xC4, 0xC8, 0xCC)
"""Markers among those of JPEG's frames that are none."""


def is_known_picture(data: bytes) -> bool:
    """Say whether a file begins as JPEG or PNG that is read does."""
    return data.startswith((_JPEG, _PNG)) and name_other_picture(data) is None


def name_other_picture(data: bytes) -> str | None:
    """Return of which kind a picture is that is not read, and what to do; None if unknown.

    Args:
        data: the file's content.

    Examples:
        >>> name_other_picture(b"8BPS and so on")
        'a Photoshop picture: save it as JPEG or PNG'
    """
    if data.startswith(_JPEG):
        kind = _name_jpeg(data)
    elif data.lstrip().startswith(b"<") and b"<svg" in data[:1024]:
        kind = "an SVG drawing"
    else:
        kind = next((what for sign, what in _OTHERS if data.startswith(sign)), None)
    return None if kind is None else kind + _SAVE


def _name_jpeg(data: bytes) -> str | None:
    """Return which kind of JPEG it is that is not read; None of others and of damaged ones."""
    place = 2
    while place + 5 <= len(data) and data[place] == 0xFF:
        marker, bits = data[place + 1], data[place + 4]
        if marker == _JPEG_LS:
            return "a JPEG-LS picture"
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAMES:
            return None if bits == 8 else f"a JPEG picture of {bits} bits a channel"
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return None
