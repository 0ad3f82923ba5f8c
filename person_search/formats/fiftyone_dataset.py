"""A gallery as a data set of FiftyOne, with boxes and embeddings."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from person_search.footage.frames import split_frame_name
from person_search.footage.time_text import YEAR
from person_search.formats.pictures import Picture, find_pictures
from person_search.formats.selection import (
    EVERYTHING,
    PAGE_FRAMES,
    ExportReport,
    Selection,
    by_file,
    identity_of,
    iterate_people,
    select_frames,
)
from person_search.gallery.rows import StoredFrame, StoredPerson, person_id

if TYPE_CHECKING:
    from person_search.gallery.index import GalleryIndex

PEOPLE_FIELD = "people"
"""Field of a sample that holds its detections."""


def export_fiftyone(
    index: "GalleryIndex",
    name: str,
    selection: Selection = EVERYTHING,
    *,
    frames_folder: str | Path | None = None,
) -> ExportReport:
    """Write a gallery as a data set into FiftyOne's database, where it stays.

    A sample is a picture with ``camera``, ``date`` (where known), ``seconds`` (as
    `Match.timestamp`), ``frame`` (its name in the gallery) and ``people``: detections with
    ``bounding_box`` (left, top, width, height, 0..1 of the picture), ``confidence``, ``index`` (see
    `selection.identity_of`), ``embedding`` (D float32), ``person`` (id in the gallery) and
    ``appearance_id``.

    Args:
        index: the gallery.
        name: of the new data set.
        selection: whom to export.
        frames_folder: where frames of videos are written as JPEG files; must stay there, as
            FiftyOne keeps no pictures.

    Returns:
        What was written; frames whose source is missing are left out.

    Raises:
        GalleryError: The gallery cannot be read.
        ModuleNotFoundError: Without the package ``fiftyone``.
        OSError: FiftyOne's database cannot be reached, or a picture cannot be written.
        ValueError: There is such a data set, or frames of videos are to be exported without a
            folder for them.
    """
    # Of an extra, and slow to import.
    import fiftyone

    frames = sorted(select_frames(index, selection), key=by_file)
    if frames_folder is None:
        _refuse_videos(frames)
    report = ExportReport()
    dataset = _make_dataset(fiftyone, name)
    folder = None if frames_folder is None else Path(frames_folder).absolute()
    try:
        dataset.info = {"model": index.fingerprint, "gallery": index.name}
        samples = _samples(fiftyone, index, selection, frames, folder, report)
        while some := list(islice(samples, PAGE_FRAMES)):
            dataset.add_samples(some, progress=False)
        # Only now: FiftyOne removes others by itself.
        dataset.persistent = True
    except BaseException:
        dataset.delete()
        raise
    return report


def _refuse_videos(frames: Sequence[StoredFrame]) -> None:
    videos = [f.name for f in frames if split_frame_name(f.name)[1] is not None]
    if videos:
        raise ValueError(
            f"{len(videos)} of {len(frames)} frames are of videos, such as {videos[0]}, and "
            "FiftyOne shows pictures; say by frames_folder (--frames) where to write them"
        )


def _make_dataset(fiftyone: Any, name: str) -> Any:
    try:
        is_there = fiftyone.dataset_exists(name)
    # Its own, pymongo's, and those of the server that it starts.
    except Exception as error:
        raise OSError(
            f"FiftyOne's database cannot be reached ({str(error).strip()}); see "
            "FIFTYONE_DATABASE_URI in its manual"
        ) from error
    if is_there:
        raise ValueError(
            f"FiftyOne has a data set {name!r} already; choose another name, or run: fiftyone "
            f"datasets delete {name}"
        )
    return fiftyone.Dataset(name)


def _samples(
    fiftyone: Any,
    index: "GalleryIndex",
    selection: Selection,
    frames: Sequence[StoredFrame],
    folder: Path | None,
    report: ExportReport,
) -> Iterator[Any]:
    pictures = find_pictures(frames, folder, report)
    found = iterate_people(index, selection, frames, report)
    for picture, (_, people) in zip(pictures, found, strict=True):
        if picture.size is None:
            report.frames -= 1
            report.people -= len(people)
            report.without_id -= sum(identity_of(person) is None for person in people)
        else:
            yield _sample(fiftyone, picture, picture.size, people)


def _sample(
    fiftyone: Any, picture: Picture, size: tuple[int, int], people: Sequence[StoredPerson]
) -> Any:
    (width, height), frame = size, picture.frame
    sample = fiftyone.Sample(
        picture.file, metadata=fiftyone.ImageMetadata(width=width, height=height)
    )
    sample["frame"], sample["camera"], sample["seconds"] = frame.name, frame.camera, frame.timestamp
    if frame.timestamp is not None and frame.timestamp >= YEAR:
        sample["date"] = datetime.fromtimestamp(frame.timestamp, UTC)
    sample[PEOPLE_FIELD] = fiftyone.Detections(
        detections=[_detection(fiftyone, person, width, height) for person in people]
    )
    return sample


def _detection(fiftyone: Any, person: StoredPerson, width: int, height: int) -> Any:
    x1, y1, x2, y2 = person.box_xyxy
    found = fiftyone.Detection(
        label="person",
        bounding_box=[x1 / width, y1 / height, (x2 - x1) / width, (y2 - y1) / height],
        confidence=person.score,
        index=identity_of(person),
        embedding=person.embedding,
    )
    found["person"] = person_id(person.frame_name, person.number)
    if person.appearance is not None:
        found["appearance_id"] = person.appearance.id
    return found
