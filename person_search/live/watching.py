"""Watch folders, streams and webcams, and put whoever is seen into a gallery.

One thread a camera reads; the thread that runs the watch has the model, the gallery and the
folders. It takes the newest frame of each camera whenever it has time, so that nothing piles up.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from person_search.footage.files import FootageOptions, Frame
from person_search.gallery.add_footage import index_footage, link_people
from person_search.gallery.errors import GalleryError
from person_search.live.alerts import StandingQueries
from person_search.live.cameras import CameraReader
from person_search.live.clock import Clock
from person_search.live.full_disk import FullDisk
from person_search.live.keeping import KeptPictures
from person_search.live.sources import Source, check_sources
from person_search.live.streams import Shot, read_shots
from person_search.live.watch_options import WatchOptions, WatchReport
from person_search.live.watched_folders import WatchedFolder
from person_search.people import People

if TYPE_CHECKING:
    from person_search.gallery.index import GalleryIndex
    from person_search.inference.finder import PersonFinder

LINK_EVERY = 1.0
"""Seconds between two rounds of linking; so late is an alert."""
DROPS_SAID_EVERY = 60.0
_IDLE = 0.1
_BREAK = 10
"""Times as long as a look or a linking took, until the next: neither takes the model's time where a
folder is huge, or much is linked anew after the clock was set back."""
_END_SECONDS = 2.0
"""For the reading threads to end; one whose stream has just stalled is left behind."""


class _Stopped(Exception):
    """Ends the indexing of a long video."""


class Watch:
    """Watches until it is stopped, or nothing is left to watch.

    Example:
        watch = Watch(index, finder, [parse_source("gate=rtsp://10.0.0.5/live")], keep="pictures")
        report = watch.run()
    """

    def __init__(
        self,
        index: "GalleryIndex",
        finder: "PersonFinder",
        sources: Sequence[Source],
        *,
        keep: str | Path | None = None,
        options: WatchOptions | None = None,
        standing: StandingQueries | None = None,
        say: Callable[[str], None] = lambda text: None,
        clock: Clock | None = None,
    ) -> None:
        """Connect nothing yet; see `run`.

        Args:
            index: The gallery, made with the same model.
            finder: Finds and embeds the people.
            sources: See `parse_source`.
            keep: Folder for the frames of streams and webcams that show people; see `KeptPictures`.
            options: The defaults where None.
            standing: Who is waited for; needs a gallery in a file.
            say: Told in a sentence what happens to sources, clock and disk. Called by any thread.
            clock: Of streams and webcams; this machine's where None.

        Raises:
            ValueError: If the sources cannot be watched together, or the gallery is of another
                model or keeps no appearances, by which alerts are told.
        """
        check_sources(sources, None if keep is None else Path(keep))
        if index.fingerprint != finder.fingerprint:
            raise GalleryError(
                f"the gallery was made with model {index.fingerprint[:12]}, this model is "
                f"{finder.fingerprint[:12]}; use the gallery's model or make a new gallery"
            )
        if standing is not None and not index.has_appearances:
            raise GalleryError(
                f"alerts are told once for each appearance, and {index.uri} keeps none; use a "
                "gallery in a file"
            )
        self._index, self._finder, self._standing, self._say = index, finder, standing, say
        self._options = options = options or WatchOptions()
        self._kept = None if keep is None else KeptPictures(keep)
        self._stop, self._news = threading.Event(), threading.Event()
        clock = clock or Clock(say)
        self._readers = [
            CameraReader(source, self._reading(source, clock), say, self._stop, self._news)
            for source in sources
            if source.kind != "folder"
        ]
        self._folders = [
            (WatchedFolder(source.address, say, options.settled), self._footage_of(source))
            for source in sources
            if source.kind == "folder"
        ]
        self._report, self._full = WatchReport(), FullDisk(say)
        self._is_asked_to_stop = self._is_unlinked = False
        self._next_look = self._next_link = self._next_word = 0.0
        self._ends: float | None = None
        self._dropped_before = 0

    def stop(self) -> None:
        """Let `run` end; to be called by any thread or a signal handler."""
        # A handler may interrupt a thread that holds the lock of an event; a flag has none.
        self._is_asked_to_stop = True

    def run(self) -> WatchReport:
        """Watch.

        Raises:
            GalleryError: If the gallery can no longer be written, but for a full disk, which is
                waited out. What was stored before stays.
        """
        started = time.monotonic()
        if self._options.seconds is not None:
            self._ends = started + self._options.seconds
        self._next_word = started + DROPS_SAID_EVERY
        for reader in self._readers:
            reader.start()
        try:
            while not self._is_over():
                self._step()
            self._link()
        except _Stopped:
            self._link()
        finally:
            self._stop.set()
            self._say_dropped()
            deadline = time.monotonic() + _END_SECONDS
            for reader in self._readers:
                reader.join(max(0.0, deadline - time.monotonic()))
            self._report.frames_dropped = sum(reader.num_dropped for reader in self._readers)
            self._report.seconds = time.monotonic() - started
        return self._report

    @property
    def report(self) -> WatchReport:
        """What was done so far."""
        return self._report

    def _is_over(self) -> bool:
        is_time = self._ends is not None and time.monotonic() >= self._ends
        has_sources = self._folders or not all(reader.is_done for reader in self._readers)
        for reader in self._readers:
            if reader.error is not None:
                raise reader.error
        return self._is_asked_to_stop or is_time or not has_sources

    def _step(self) -> None:
        self._news.clear()
        is_busy = self._serve_cameras()
        if (now := time.monotonic()) >= self._next_look:
            for folder, footage in self._folders:
                self._serve_folder(folder, footage)
            self._next_look = _later(now, self._options.poll)
        if not is_busy:
            self._news.wait(_IDLE)

    def _serve_cameras(self) -> bool:
        """Take the newest frames through the model; return whether there were any."""
        shots = [(r.source, shot) for r in self._readers if (shot := r.take()) is not None]
        sizes: dict[tuple[int, ...], list[tuple[Source, Shot]]] = {}
        for source, shot in shots:
            sizes.setdefault(shot.pixels.shape, []).append((source, shot))
        size = self._options.batch_size
        for some in sizes.values():
            for batch in (some[place : place + size] for place in range(0, len(some), size)):
                people = self._finder.find([shot.pixels for _, shot in batch], batch_size=size)
                self._report.frames_seen += len(batch)
                self._store(
                    [
                        (source, shot, found)
                        for (source, shot), found in zip(batch, people, strict=True)
                        if len(found)
                    ]
                )
        for reader in self._readers:
            reader.notice_silence(2 * self._options.timeout)
        now = time.monotonic()
        if self._is_unlinked and now >= self._next_link:
            self._link()
        if now >= self._next_word:
            self._say_dropped()
        return bool(shots)

    def _store(self, seen: Sequence[tuple[Source, Shot, People]]) -> None:
        assert self._kept is not None or not seen
        entries: list[tuple[Frame, People]] = []
        for source, shot, people in seen:
            self._report.frames_not_stored += 1
            with self._full.waiting():
                entries.append((self._kept.keep(source, shot), people))  # type: ignore[union-attr]
        if not entries:
            return
        try:
            with self._full.waiting():
                stored = self._index.put(entries)
                self._full.is_over()
                self._report.frames_added += stored.frames
                self._report.people_added += stored.people
                self._report.frames_not_stored -= len(entries)
                self._note_stored(entries)
                entries = []
        finally:
            for frame, _ in entries:  # what the gallery does not know is of no use
                Path(frame.name).unlink(missing_ok=True)

    def _note_stored(self, entries: Sequence[tuple[Frame, People]]) -> None:
        self._is_unlinked = True
        if self._standing is not None:
            self._standing.look(entries)

    def _link(self) -> None:
        """Link what is new, so that it is found as appearances, and tell of who was waited for."""
        started = time.monotonic()
        with self._full.waiting():
            self._report.appearances_added += link_people(self._index, progress=False)
            self._is_unlinked = False
            if self._standing is not None:
                self._standing.settle(self._index)
        self._next_link = _later(started, LINK_EVERY)

    def _serve_folder(self, folder: WatchedFolder, footage: FootageOptions) -> None:
        files = folder.ready()
        self._report.files_passed_over = sum(len(one.passed_over) for one, _ in self._folders)
        if not files:
            return

        def note(entries: Sequence[tuple[Frame, People]]) -> None:
            self._full.is_over()
            self._report.frames_added += len(entries)
            self._report.people_added += sum(len(people) for _, people in entries)
            self._note_stored(entries)
            # A video may take hours, and the cameras go on.
            self._serve_cameras()
            if self._is_over():
                raise _Stopped

        with self._full.waiting():
            try:
                report = index_footage(
                    self._index,
                    self._finder,
                    files,
                    footage,
                    batch_size=self._options.batch_size,
                    progress=False,
                    link=False,
                    on_stored=note,
                )
            except FileNotFoundError:  # gone since it was seen; the others are tried again
                return
            for broken in folder.done(files, report.broken):
                self._report.files_broken += 1
                self._say(f"broken: {broken}")

    def _say_dropped(self) -> None:
        self._next_word = time.monotonic() + DROPS_SAID_EVERY
        dropped = sum(reader.num_dropped for reader in self._readers)
        if dropped > self._dropped_before:
            self._say(
                f"{dropped - self._dropped_before} frames were dropped, as the model is slower "
                "than they come; a larger every takes fewer"
            )
        self._dropped_before = dropped

    def _reading(self, source: Source, clock: Clock) -> Callable[[], Iterator[Shot]]:
        options = self._options
        return lambda: read_shots(
            source, self._stop, clock, every=options.footage.every, timeout=options.timeout
        )

    def _footage_of(self, source: Source) -> FootageOptions:
        footage = self._options.footage
        if source.camera is None:
            return footage
        return FootageOptions(
            source.camera, every=footage.every, start=footage.start, time_from=footage.time_from
        )


def _later(started: float, pause: float) -> float:
    """Return when to do again what was begun then and has just been done."""
    now = time.monotonic()
    return now + max(pause, _BREAK * (now - started))
