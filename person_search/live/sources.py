"""What is watched, as it is written: folders, addresses of streams, webcams."""

import os
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, urlsplit

SCHEMES = ("rtsp", "rtsps", "http", "https")
MOST_NAME = 200
"""Bytes of a camera's name; file systems take 255."""
FORMS = "a folder, rtsp://…, http://…, camera:0, each also as NAME=SOURCE"

_NAMED = re.compile(r"(?P<camera>[^/\\:=?#@]+)=(?P<source>.+)", re.DOTALL)
_SECRET = re.compile(r"(?i)(pass|pwd|token|secret|user|key|auth)\w*=")


@dataclass(frozen=True)
class Source:
    """Something to watch."""

    kind: Literal["folder", "stream", "webcam"]

    address: str = field(repr=False)
    """Absolute path, address with user and password, or number of a webcam."""

    shown: str
    """The same without user and password, for messages."""

    camera: str | None
    """Name of the camera; None for a folder that was given none."""

    @property
    def folder_name(self) -> str:
        """The camera's name as that of a folder."""
        return re.sub(r"[^\w.-]", "_", self.camera or "").strip(".") or "_"


def parse_source(text: str) -> Source:
    """Read a source as it is written in the shell.

    Args:
        text: ``FOLDER``, ``rtsp://…``, ``http://…`` (also ``rtsps`` and ``https``), ``camera:0``;
            each may follow the name of the camera, as in ``gate=rtsp://10.0.0.5/stream``. A stream
            without has the name of its host and path, a webcam that of its number.

    Raises:
        ValueError: It is none of these. Whatever may be a password is not in the message.
        FileNotFoundError: There is no such folder.

    Examples:
        >>> parse_source("gate=rtsp://me:secret@10.0.0.5/live")
        Source(kind='stream', shown='rtsp://10.0.0.5/live', camera='gate')
    """
    camera, rest = None, text
    if (found := _NAMED.fullmatch(text)) and not os.path.exists(text):
        camera, rest = found["camera"].strip(), found["source"]
        is_text = not any(unicodedata.category(letter) in ("Cc", "Cs") for letter in camera)
        if not is_text or not 0 < len(camera.encode()) <= MOST_NAME:
            raise ValueError(
                f"the camera's name is {camera[:60]!r}; expected 1 to {MOST_NAME} bytes that "
                "can be printed, as it is that of a folder, too"
            )
    if rest.startswith("camera:"):
        number = rest.removeprefix("camera:")
        if not (number.isascii() and number.isdigit()):
            raise ValueError(f"{rest!r} is no webcam; expected camera:0, camera:1, …")
        return Source("webcam", number, rest, camera or f"camera-{number}")
    if "://" in rest:
        return _parse_stream(rest, camera)
    path = Path(os.path.abspath(rest))
    if not path.exists():
        raise FileNotFoundError(f"there is no folder {rest}; expected {FORMS}")
    if not path.is_dir():
        raise ValueError(f"{rest} is no folder; expected {FORMS}. Index files: person-search index")
    return Source("folder", str(path), str(path), camera)


def _parse_stream(address: str, camera: str | None) -> Source:
    hint = "in a user's name or password write @ as %40, / as %2F, # as %23, ? as %3F and : as %3A"
    try:
        parts = urlsplit(address)
        # What stands there may be half a password; nothing of it is said.
        is_whole = parts.port != 0 and "@" not in parts.path + parts.query + parts.fragment
    except ValueError:
        is_whole = False
    if not is_whole:
        raise ValueError(f"the address of a stream is malformed or has a wrong port; {hint}")
    if parts.scheme.lower() not in SCHEMES:
        raise ValueError(
            f"{parts.scheme}:// cannot be watched; expected one of {', '.join(SCHEMES)}"
        )
    if not parts.hostname:
        raise ValueError(f"the address of a stream names no host; expected {FORMS}")
    shown = show_address(parts)
    place = shown.partition("://")[2].removesuffix("?…")
    return Source("stream", address, shown, camera or _name_after(place))


def _name_after(place: str) -> str:
    """Return the name of a camera without one: host and path, as those of a folder."""
    return re.sub(r"[^\w.]+", "-", place).strip("-")[:MOST_NAME]


def show_address(parts: SplitResult) -> str:
    """Return an address without user, password, and whatever may be one."""
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    port = "" if parts.port is None else f":{parts.port}"
    path = parts.path
    # Some cameras have them in the path: /user=admin_password=1234_channel=1.
    if found := _SECRET.search(path):
        path = path[: path.rfind("/", 0, found.start()) + 1] + "…"
    return f"{parts.scheme}://{host}{port}{path}{'?…' if parts.query else ''}"


def check_sources(sources: Sequence[Source], keep: Path | None) -> None:
    """Refuse sources that cannot be watched together.

    Args:
        sources: At least one.
        keep: Folder for the pictures of streams and webcams.

    Raises:
        ValueError: The message says which and why.
    """
    if not sources:
        raise ValueError(f"nothing to watch; expected {FORMS}")
    has_cameras = any(source.kind != "folder" for source in sources)
    for number, one in enumerate(sources):
        for other in sources[:number]:
            if "folder" not in (one.kind, other.kind) and one.folder_name == other.folder_name:
                raise ValueError(
                    f"two sources are the camera {one.camera!r}: {other.shown} and {one.shown}; "
                    "name them apart, as in gate=rtsp://…"
                )
            if one.kind == other.kind and one.address == other.address:
                raise ValueError(f"{one.shown} is given twice; leave one of them out")
        if one.kind != "folder" and keep is None:
            raise ValueError(
                f"{one.shown} leaves no files, and a gallery needs some to show; say where to keep "
                "pictures (keep, or --keep)"
            )
        if (
            one.kind == "folder"
            and keep is not None
            and has_cameras
            and _is_inside(keep, Path(one.address))
        ):
            raise ValueError(
                f"pictures would be kept in {keep}, which is watched itself ({one.shown}); choose "
                "a folder elsewhere"
            )


def _is_inside(path: Path, folder: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
