"""How the vectors of a gallery are indexed: exact by default, approximate where asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from person_search.gallery.errors import GalleryError

# Parameters with their defaults and limits (Milvus' own), of building and of searching.
_BUILD = {
    "HNSW": {"M": (16, 2, 2048), "efConstruction": (200, 1, 100_000)},
    "IVF_FLAT": {"nlist": (128, 1, 65_536)},
}
_SEARCH = {"HNSW": {"ef": (256, 1, 32_768)}, "IVF_FLAT": {"nprobe": (16, 1, 65_536)}}


@dataclass(frozen=True)
class IndexOptions:
    """The index of a gallery's embeddings."""

    index_type: str = "FLAT"
    """FLAT is exact. The others need a Milvus server, which builds them some time after rows are
    written (`Store.prepare` waits), and find most of the nearest: with the defaults HNSW nearly
    all, IVF_FLAT fewer of people as alike as those of `benchmarks/milvus_server.py`."""

    params: Mapping[str, int] = field(default_factory=dict)
    """Of building and of searching, complete."""

    @classmethod
    def parse(cls, approximate: Mapping[str, Any] | None) -> "IndexOptions":
        """Check ``{"index_type": "HNSW", "M": 16, "efConstruction": 200, "ef": 256}`` or
        ``{"index_type": "IVF_FLAT", "nlist": 128, "nprobe": 16}``; the numbers may be left out.

        Raises:
            GalleryError: On other kinds, names and numbers.
        """  # noqa: D205
        if approximate is None:
            return cls()
        given = dict(approximate)
        kind = given.pop("index_type", None)
        if kind not in _BUILD:
            raise GalleryError(f"index_type is {kind!r}; expected one of {', '.join(_BUILD)}")
        params = {}
        for name, (default, least, most) in {**_BUILD[kind], **_SEARCH[kind]}.items():
            value = given.pop(name, default)
            if not isinstance(value, int) or not least <= value <= most:
                raise GalleryError(f"{kind} {name} is {value!r}; expected {least} to {most}")
            params[name] = value
        if given:
            raise GalleryError(f"{kind} has no {', '.join(given)}; expected {', '.join(params)}")
        return cls(kind, params)

    def as_dict(self) -> dict[str, Any] | None:
        """Return what `parse` takes."""
        if self.index_type == "FLAT":
            return None
        return {"index_type": self.index_type, **self.params}

    def build_params(self) -> dict[str, int]:
        """Return what creating the index takes."""
        return {name: self.params[name] for name in _BUILD.get(self.index_type, ())}

    def search_params(self, limit: int) -> dict[str, int]:
        """Return what a search for ``limit`` rows takes."""
        found = {name: self.params[name] for name in _SEARCH.get(self.index_type, ())}
        if "ef" in found:
            found["ef"] = max(found["ef"], limit)  # less is an error to the server
        return found
