"""Keep frames of live cameras as pictures, by day, camera and time."""

import hashlib
import io
from datetime import UTC, datetime
from pathlib import Path

from PIL import Image

from person_search.footage.files import Frame
from person_search.live.sources import Source
from person_search.live.streams import Shot
from reid_heads.atomic_file import atomic_file

QUALITY = 90
"""Of the JPEG files, 1..95."""
_STEP = 0.001


class KeptPictures:
    """A folder of pictures: ``2026-05-04/CAMERA/2026-05-04_08-00-02.125Z.jpg``, times in UTC.

    So named, `index_footage` finds cameras and times again (``camera_from="folder"``,
    ``time_from="name"``), and a day is removed by its folder.
    """

    def __init__(self, folder: str | Path) -> None:
        """Use a folder, which is made with the first picture."""
        self._folder = Path(folder).absolute()

    def keep(self, source: Source, shot: Shot) -> Frame:
        """Write a picture, whole or not at all.

        Returns:
            The frame as a gallery takes it; its time is in whole milliseconds, and later by some
            of them where the clock was set back and there is a picture of that time already.

        Raises:
            OSError: If it cannot be written.
        """
        encoded = io.BytesIO()
        Image.fromarray(shot.pixels).save(encoded, "JPEG", quality=QUALITY)
        data, when = encoded.getvalue(), round(shot.time, 3)
        while (path := self._path(source, when)).exists():
            when = round(when + _STEP, 3)
        with atomic_file(path) as file:
            file.write(data)
        return Frame(str(path), hashlib.sha256(data).hexdigest(), source.camera, when)

    def _path(self, source: Source, when: float) -> Path:
        moment = datetime.fromtimestamp(when, UTC)
        name = f"{moment:%Y-%m-%d_%H-%M-%S}.{moment.microsecond // 1000:03d}Z.jpg"
        return self._folder / f"{moment:%Y-%m-%d}" / source.folder_name / name
