"""Put footage into a gallery: read, find the people, store; skip what is there already."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from person_search.footage.files import (
    BrokenFile,
    FootageOptions,
    Frame,
    has_valid_name,
    is_video,
    iterate_files,
    list_footage,
)
from person_search.footage.frames import split_frame_name
from person_search.footage.listing import Listed
from person_search.footage.read_ahead import Loaded, ReadAhead, batch_same_size
from person_search.footage.video import estimate_num_samples
from person_search.gallery.known_boxes import Embedding, KnownBoxes
from person_search.gallery.rows import Thinned
from person_search.people import People
from person_search.progress import Progress

if TYPE_CHECKING:
    from person_search.gallery.index import GalleryIndex
    from person_search.inference.finder import PersonFinder

NAMES_A_QUESTION = 1000
"""Names that the gallery is asked for at once."""


@dataclass
class IndexReport:
    """What `index_footage` did."""

    frames_added: int = 0
    """New and changed frames, with people or without, that the gallery had when read back."""

    people_added: int = 0
    """Likewise."""

    frames_unchanged: int = 0
    """Frames that the gallery held already, by name and content."""

    broken: list[BrokenFile] = field(default_factory=list)
    """What could not be read, and why."""

    seconds: float = 0.0

    appearances_added: int = 0
    """Appearances that began in frames that were linked now."""

    thinned: Thinned = field(default_factory=Thinned)
    """People of stays who were not kept, see `GalleryAppearances.keep_best`."""

    left_out: list[BrokenFile] = field(default_factory=list)
    """What known boxes say nothing of, or cannot be used for, and why."""

    frames_without_time: int = 0
    """Of those added, whose time was asked for and not found; the command counts them."""


def index_footage(
    index: "GalleryIndex",
    finder: "PersonFinder",
    paths: Sequence[str | Path] | Listed,
    options: FootageOptions | None = None,
    *,
    batch_size: int = 4,
    progress: bool = True,
    on_progress: Callable[[int, int | None], None] | None = None,
    link: bool = True,
    boxes: KnownBoxes | None = None,
    on_stored: Callable[[Sequence[tuple[Frame, People]]], None] | None = None,
) -> IndexReport:
    """Find the people in images and videos and put them into a gallery.

    May be stopped at any moment, by Ctrl-C or a kill: what was put stays, and the same call later
    does the rest. Frames whose name and content are in the gallery are skipped, and keep the camera
    and time that they were put with. Where a video's content has changed, all its earlier frames
    are removed. Files that cannot be read are listed in the report.

    Args:
        index: the gallery, made with the same model.
        finder: finds and embeds the people.
        paths: files and folders, as for `list_footage`; or what `list_files` found in them, of
            which files that are gone meanwhile, or links to nothing, are broken ones.
        options: cameras, times and sampling; the defaults where None.
        batch_size: images of one size that go through the model, and into the gallery, together.
        progress: show how far it is: a bar with frames per second and the time left on a
            terminal, else a line every few seconds.
        on_progress: called with the frames done and how many there are: of videos an estimate,
            None where a video does not say.
        link: link the people into appearances at the end, where the gallery is in a file; see
            `GalleryAppearances.link`.
        boxes: where people are, such as `person_search.formats.boxes.open_boxes` reads; the
            model only embeds them, and frames of which they say nothing are left out. None lets the
            model find people.
        on_stored: called with frames and their people after each batch was put; what it raises ends
            the indexing.

    Raises:
        ValueError: if the gallery was made with another model, nothing is to index (see
            `list_footage`), or the batch size is not positive; as a `GalleryError` if the store is
            lost or its disk full: what was put before stays.
        OSError: if a path does not exist.
    """
    _check_asked(index, finder, batch_size)
    started = time.perf_counter()
    options = options or FootageOptions()
    files = paths.files if isinstance(paths, Listed) else list_footage(paths)
    report = IndexReport()
    embedding = None
    if boxes is not None:
        embedding = Embedding(finder, boxes, report.broken)
        files = embedding.choose(files)
    known = _KnownFrames(index, files)
    total = _count_frames(files, options.every)
    with (
        _Progress(total, progress, on_progress, report, known) as shown,
        ReadAhead(iterate_files(files, options, known)) as frames,
    ):
        readable = _set_broken_aside(frames, report, shown)
        for batch in batch_same_size(readable, batch_size):
            known.forget_changed_videos()
            entries = _find_people(finder, embedding, batch)
            stored = index.put(entries)
            report.frames_added += stored.frames
            report.people_added += stored.people
            shown.update()
            if on_stored is not None:
                on_stored(entries)
    if link:
        report.appearances_added = link_people(index, progress)
    if report.frames_added:
        index.prepare()
    if embedding is not None:
        report.left_out += embedding.left_out()
    report.frames_unchanged = known.num_unchanged
    report.seconds = time.perf_counter() - started
    return report


def _check_asked(index: "GalleryIndex", finder: "PersonFinder", batch_size: int) -> None:
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; expected at least 1")
    if index.fingerprint != finder.fingerprint:
        name = "" if index.card is None else f" {index.card.name}"
        raise ValueError(
            f"the gallery was made with model{name} {index.fingerprint[:12]}, this model is "
            f"{finder.fingerprint[:12]}; embeddings of different models cannot be compared: "
            "use the gallery's model or make a new gallery"
        )


def _find_people(
    finder: "PersonFinder", embedding: Embedding | None, batch: Sequence[Loaded]
) -> list[tuple[Frame, People]]:
    """Return frames, without the file's bytes or pixels, with their people."""
    people: Sequence[People | None]
    if embedding is None:
        people = finder.find([pixels for _, pixels in batch], batch_size=len(batch))
    else:
        people = embedding.embed(batch)
    return [
        (replace(frame, source=None), found)
        for (frame, _), found in zip(batch, people, strict=True)
        if found is not None
    ]


def link_people(index: "GalleryIndex", progress: bool = True) -> int:
    """Link the people of a gallery into appearances; return how many began.

    Args:
        index: the gallery; one on a server keeps no appearances.
        progress: show how far it is where it takes long.

    Raises:
        GalleryError: see `GalleryAppearances.link`.
    """
    if not index.has_appearances:
        return 0
    with Progress("linking", None, is_shown=progress) as shown:
        linked = index.appearances.link(
            on_progress=lambda done: shown.update(done.frames, f"{done.appearances} appearances")
        )
    return linked.appearances


class _KnownFrames:
    """Answers whether the gallery holds a frame, asking it for many at once.

    Called from the reading thread, with the frames in the files' order.
    """

    def __init__(self, index: "GalleryIndex", files: Sequence[Path]) -> None:
        self.num_unchanged = 0
        self._index = index
        self._images = [str(f) for f in files if not is_video(f) and has_valid_name(f)]
        self._places = {name: place for place, name in enumerate(self._images)}
        self._asked: set[str] = set()
        self._hashes: dict[str, str] = {}
        self._changed: set[str] = set()

    def __call__(self, frame: Frame) -> bool:
        if frame.name not in self._asked:
            names = self._names_from(frame.name)
            self._asked, self._hashes = set(names), dict(self._index.known_frames(names))
        stored = self._hashes.get(frame.name)
        if stored == frame.content_hash:
            self.num_unchanged += 1
            return True
        if stored is not None:
            file, number = split_frame_name(frame.name)
            if number is not None:
                self._changed.add(file)
        return False

    def forget_changed_videos(self) -> None:
        """Remove every stored frame of the videos found changed since the last call.

        A new version may sample fewer or other frames, and the old ones would stay for ever. Before
        its first frame is put, so that a kill in between leaves frames to add, not wrong ones.
        """
        while self._changed:
            # The name of a video stands for all its frames.
            self._index.remove(names=[self._changed.pop()], purge=False)

    def _names_from(self, name: str) -> list[str]:
        place = self._places.get(name)
        if place is not None:
            return self._images[place : place + NAMES_A_QUESTION]
        file, number = split_frame_name(name)
        if number is None:
            return [name]
        return [f"{file}#frame={n}" for n in range(number, number + NAMES_A_QUESTION)]


class _Progress:
    """Shows how far the indexing is, and tells a callback."""

    def __init__(
        self,
        total: int | None,
        is_shown: bool,
        on_progress: Callable[[int, int | None], None] | None,
        report: IndexReport,
        known: _KnownFrames,
    ) -> None:
        self._total = total
        self._on_progress = on_progress
        self._report = report
        self._known = known
        self._shown = Progress("indexing", total, is_shown=is_shown)

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            # An estimate of a video's frames may have been off by a few.
            self._total = self._shown.total = self._num_done()
            self.update()
        self._shown.__exit__(kind, error, trace)

    def update(self) -> None:
        done = self._num_done()
        broken = len(self._report.broken)
        self._shown.update(done, f"{self._report.people_added} people, {broken} broken")
        if self._on_progress is not None:
            self._on_progress(done, self._total)

    def _num_done(self) -> int:
        report = self._report
        return report.frames_added + self._known.num_unchanged + len(report.broken)


def _set_broken_aside(
    frames: Iterable[Loaded | BrokenFile], report: IndexReport, shown: _Progress
) -> Iterator[Loaded]:
    for item in frames:
        if isinstance(item, BrokenFile):
            report.broken.append(item)
            shown.update()
        else:
            yield item


def _count_frames(files: Sequence[Path], every: float) -> int | None:
    """Count images and estimate the sampled frames of videos; None if a video does not say."""
    total = 0
    for file in files:
        count: int | None = 1
        if is_video(file):
            count = estimate_num_samples(file, every)
        if count is None:
            return None
        total += count
    return total
