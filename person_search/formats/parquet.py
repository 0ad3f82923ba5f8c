"""The people of a gallery as a Parquet table, with their embeddings.

Letters: N people of a row group, D embedding size.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from person_search.footage.frames import split_frame_name
from person_search.footage.time_text import YEAR
from person_search.formats.selection import (
    EVERYTHING,
    ExportReport,
    Selection,
    identity_of,
    iterate_people,
    select_frames,
)
from person_search.gallery.rows import StoredPerson, person_id
from reid_heads.atomic_file import atomic_file, naming_full_disk

if TYPE_CHECKING:
    from person_search.gallery.index import GalleryIndex

GROUP_ROWS = 8_192
"""People of a row group, which is in memory as a whole: 16 MB of 512 numbers each."""


def export_parquet(
    index: "GalleryIndex",
    output: str | Path,
    selection: Selection = EVERYTHING,
    *,
    group_rows: int = GROUP_ROWS,
) -> ExportReport:
    """Write the people of a gallery as one Parquet table, a row a person.

    Columns: ``person``, ``image``, ``file``, ``video_frame``, ``camera``, ``time`` (of known date,
    microseconds in UTC), ``seconds`` (as `Match.timestamp`, exact), ``x1``, ``y1``, ``x2``, ``y2``
    (original pixels), ``score``, ``appearance_id``, ``person_id`` (see `selection.identity_of`)
    and ``embedding`` (a fixed-size list of D float32 of unit norm). The schema's metadata has the
    model's fingerprint. Frames without people have no row.

    Memory does not grow with the gallery: rows go out in groups, in the gallery's own order.

    Args:
        index: the gallery.
        output: file to write, whole or not at all.
        selection: whom to export.
        group_rows: people of a row group.

    Raises:
        GalleryError: The gallery cannot be read.
        ModuleNotFoundError: Without the package ``pyarrow``.
        OSError: The file cannot be written.
    """
    # Of an extra.
    import pyarrow as pa
    from pyarrow import parquet

    report = ExportReport()
    schema = _schema(pa, index)
    with (
        naming_full_disk(output),
        atomic_file(output) as file,
        parquet.ParquetWriter(file, schema, compression="zstd") as writer,
    ):
        for rows in _groups(index, selection, report, group_rows):
            writer.write_batch(_to_batch(pa, schema, rows))
    return report


def _schema(pa: Any, index: "GalleryIndex") -> Any:
    number, text = pa.float32(), pa.string()
    fields = [
        *(pa.field(name, text, nullable=False) for name in ("person", "image", "file")),
        *(("video_frame", pa.int64()), ("camera", text)),
        *(("time", pa.timestamp("us", tz="UTC")), ("seconds", pa.float64())),
        *(pa.field(name, number, nullable=False) for name in ("x1", "y1", "x2", "y2", "score")),
        *(("appearance_id", pa.int64()), ("person_id", pa.int64())),
        pa.field("embedding", pa.list_(number, index.embedding_dim), nullable=False),
    ]
    said = {"model": index.fingerprint, "gallery": index.name}
    return pa.schema(fields, {f"person_search.{key}": value for key, value in said.items()})


def _groups(
    index: "GalleryIndex", selection: Selection, report: ExportReport, size: int
) -> Iterator[list[StoredPerson]]:
    waiting: list[StoredPerson] = []
    for _, people in iterate_people(index, selection, select_frames(index, selection), report):
        waiting += people
        while len(waiting) >= size:
            yield waiting[:size]
            del waiting[:size]
    if waiting:
        yield waiting


def _to_batch(pa: Any, schema: Any, people: Sequence[StoredPerson]) -> Any:
    places = [split_frame_name(p.frame_name) for p in people]
    boxes = np.array([p.box_xyxy for p in people], np.float32)
    embeddings = np.array([p.embedding for p in people], np.float32)
    # Times since the start of a video are at no date.
    dates = [
        p.timestamp if p.timestamp is not None and p.timestamp >= YEAR else None for p in people
    ]
    columns: dict[str, Any] = {
        "person": [person_id(p.frame_name, p.number) for p in people],
        "image": [p.frame_name for p in people],
        "file": [file for file, _ in places],
        "video_frame": [number for _, number in places],
        "camera": [p.camera for p in people],
        "time": [None if t is None else round(t * 1e6) for t in dates],
        "seconds": [p.timestamp for p in people],
        **dict(zip(("x1", "y1", "x2", "y2"), boxes.T, strict=True)),
        "score": np.array([p.score for p in people], np.float32),
        "appearance_id": [None if p.appearance is None else p.appearance.id for p in people],
        "person_id": [identity_of(p) for p in people],
    }
    arrays = [pa.array(columns[f.name], f.type) for f in schema if f.name != "embedding"]
    flat = pa.array(embeddings.reshape(-1), pa.float32())
    arrays.append(pa.FixedSizeListArray.from_arrays(flat, embeddings.shape[1]))
    return pa.record_batch(arrays, schema=schema)
