"""What the list says of a public model."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from person_search.inference.model_card import ModelCard
from person_search.model_list.sources import Source

FACE_DETECTOR, FACE_NET = "face detector", "face net"
KINDS = ("search", "crop", "detector", "made", FACE_DETECTOR, FACE_NET)


@dataclass(frozen=True)
class ListedModel:
    """A public file of weights, and what is known of it.

    Raises:
        ValueError: when built with a value that cannot be.
    """

    name: str
    """In the list, and of the folder of downloads."""

    purpose: str
    """What it is for, in a few words."""

    kind: str
    """What takes it: ``search``, `models import` alone; ``crop``, `models import` with a detector;
    ``detector``, `models import --detector`; ``made``, `models install`, which fetches by itself;
    ``face detector`` and ``face net``, `python -m reid_heads.faces` by --detector and --weights.
    """

    file: str
    """Name under which it is kept."""

    sources: tuple[Source, ...]
    """In the order in which they are tried."""

    licence: str
    """Of code and weights, as their makers state it."""

    trained_on: str
    """Data sets."""

    data_terms: str
    """Of the data sets; says so where only research, or nothing commercial, is allowed."""

    domain: str = "real people"
    """Whom it knows; of a detector, what it finds."""

    size: int | None = None
    """Bytes; None where nobody is known to have stated them."""

    sha256: str | None = None
    """None where it is not known; then that of the first download is recorded."""

    size_and_hash_from: str = ""
    """Who states `size` and `sha256`."""

    published: Mapping[str, float] = field(default_factory=dict)
    """Percentages that its makers publish, by a name that says on what."""

    published_in: str = ""
    """Where they stand."""

    run_by_us: str = "no"
    """``no``, or ``yes`` and where the results stand."""

    note: str = ""
    """What a user must know besides."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{self.name}: kind is {self.kind!r}; expected {', '.join(KINDS)}")
        for name in ("purpose", "licence", "trained_on", "data_terms", "run_by_us"):
            if not getattr(self, name).strip():
                raise ValueError(f"{self.name}: {name} is empty; expected text")
        if self.sha256 is not None and not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise ValueError(
                f"{self.name}: sha256 is {self.sha256!r}; expected 64 hexadecimal digits"
            )
        if bool(self.sources) == (self.kind == "made"):
            raise ValueError(f"{self.name}: expected sources, unless its kind is 'made'")

    @property
    def is_for_faces(self) -> bool:
        """Whether it finds faces or tells them apart; no model of persons is made of it then."""
        return self.kind in (FACE_DETECTOR, FACE_NET)

    @property
    def terms(self) -> str:
        """Licence of code and weights, and terms of the data, in a sentence."""
        return f"code and weights: {self.licence}; data: {self.data_terms}"

    def to_card(self) -> ModelCard:
        """Return what a model that is made of the file says of itself."""
        return ModelCard(
            name=self.name,
            domain=self.domain,
            licence=self.terms,
            trained_on=self.trained_on,
            source="; ".join(map(str, self.sources)),
            limits=self.note,
            numbers={f"published, not measured here: {k}": v for k, v in self.published.items()},
        )
