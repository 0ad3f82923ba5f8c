"""What a gallery holds, counted."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from person_search.gallery.store import VERSION, Store
from person_search.inference.model_card import ModelCard


@dataclass(frozen=True)
class GalleryInfo:
    """What a gallery holds."""

    frames: int
    people: int
    cameras: Mapping[str, int]
    """Frames of each camera, by name; frames of an unknown camera are not in it."""

    first_timestamp: float | None
    last_timestamp: float | None
    card: ModelCard | None
    """Of its model, where that had one when the gallery was made."""

    fingerprint: str
    embedding_dim: int
    version: int
    uri: str
    name: str
    approximate: Mapping[str, Any] | None
    """The approximate index, None if searches are exact."""

    num_bytes: int | None
    """Of the file, with all galleries in it; None for a server."""


def summarize(store: Store, name: str, uri: str, num_bytes: int | None) -> GalleryInfo:
    """Count frames, people and cameras; people of incomplete frames are not counted."""
    cameras: Counter[str] = Counter()
    times: list[float] = []
    frames = people = 0
    for frame in store.all_frames():
        frames += 1
        people += frame.num_people
        if frame.camera is not None:
            cameras[frame.camera] += 1
        if frame.timestamp is not None:
            times.append(frame.timestamp)
    return GalleryInfo(
        frames=frames,
        people=people,
        cameras=dict(sorted(cameras.items())),
        first_timestamp=min(times, default=None),
        last_timestamp=max(times, default=None),
        card=store.card,
        fingerprint=store.fingerprint,
        embedding_dim=store.embedding_dim,
        version=VERSION,
        uri=uri,
        name=name,
        approximate=store.options.as_dict(),
        num_bytes=num_bytes,
    )
