"""What a gallery holds, counted."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from person_search.gallery.store import Store
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

    appearances: int | None
    """How many; None for a server, which keeps none."""

    num_bytes: int | None
    """Of the file, with all galleries in it; None for a server."""

    not_kept: int = 0
    """People of appearances who are counted and not kept; see `GalleryAppearances.keep_best`."""


def summarize(store: Store) -> GalleryInfo:
    """Count frames, people and cameras."""
    counts = store.counts()
    return GalleryInfo(
        frames=counts.frames,
        people=counts.people,
        cameras=dict(sorted(counts.cameras.items())),
        first_timestamp=counts.first_timestamp,
        last_timestamp=counts.last_timestamp,
        card=store.card,
        fingerprint=store.fingerprint,
        embedding_dim=store.embedding_dim,
        version=store.version,
        uri=store.uri,
        name=store.name,
        approximate=store.approximate,
        appearances=counts.appearances,
        not_kept=counts.not_kept,
        num_bytes=counts.num_bytes,
    )
