"""How sources are watched, and what came of it."""

from dataclasses import dataclass, field

from person_search.footage.files import FootageOptions
from person_search.live.watched_folders import SETTLED


@dataclass(frozen=True)
class WatchOptions:
    """How sources are watched.

    Raises:
        ValueError: A value is out of its range.
    """

    footage: FootageOptions = field(default_factory=FootageOptions)
    """Cameras and times of files in folders. ``every`` holds for streams and webcams, too."""

    seconds: float | None = None
    """How long to watch; None for as long as there is something to watch."""

    poll: float = 2.0
    """Seconds between two looks into a folder."""

    settled: float = SETTLED
    """Seconds that a file must not have changed to be read."""

    timeout: float = 10.0
    """Seconds to wait for a stream's connection, and for its next frame."""

    batch_size: int = 4
    """Frames that go through the model together, at most."""

    def __post_init__(self) -> None:
        for name in ("poll", "timeout"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name)} s; expected more than 0")
        if self.seconds is not None and not 0 < self.seconds < float("inf"):
            raise ValueError(f"seconds is {self.seconds}; expected more than 0, or None")
        if self.settled < 0 or self.batch_size < 1:
            raise ValueError(
                f"settled is {self.settled} s and batch_size {self.batch_size}; expected at least "
                "0 and 1"
            )


@dataclass
class WatchReport:
    """What was done."""

    frames_seen: int = 0
    """Frames of streams and webcams that the model looked at."""

    frames_dropped: int = 0
    """Frames that came while it was busy."""

    frames_added: int = 0
    """Put into the gallery: frames of cameras that show somebody, and all of new files."""

    people_added: int = 0
    appearances_added: int = 0

    frames_not_stored: int = 0
    """Frames with people for which there was no room on the disk."""

    files_broken: int = 0
    files_passed_over: int = 0
    """Files in watched folders that are neither image nor video."""

    seconds: float = 0.0
