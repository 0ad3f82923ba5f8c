"""What is in a case: plain data, before it is written as JSON, CSV, HTML and PDF."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from person_search.inference.model_card import ModelCard
from person_search.people import Box, Match


@dataclass(frozen=True)
class CaseQuery:
    """A picture of the person asked for."""

    picture: np.ndarray
    """(H, W, 3) uint8 RGB."""

    box: Box
    """Where the person stands, in pixels of the picture."""

    others: np.ndarray | None = None
    """(N, 4) boxes of everybody else in it; None where nobody looked: then everything around the
    person is blurred."""

    file: str | None = None
    """Picture or video that it was taken from, to be hashed; None where it is gone."""

    frame: int | None = None
    """Number in a video, from 0."""


@dataclass(frozen=True)
class Judgement:
    """What somebody said of a match after looking at it."""

    verdict: str
    """``right`` or ``wrong``."""

    by: str = ""
    """Who said it, where known."""

    time: float | None = None
    """When, in seconds since 1970 (UTC)."""


@dataclass(frozen=True)
class CaseRequest:
    """What to hand on, and how."""

    matches: Sequence[Match]
    """In the order in which they are to be numbered. The stay of a match is handed on whole."""

    queries: Sequence[CaseQuery] = ()
    """Pictures of the person asked for; none where nobody was: similarities then mean nothing and
    are left out."""

    threshold: float | None = None
    """The model's calibrated similarity, where it has one."""

    min_similarity: float | None = None
    """Below which matches were left out, where any were."""

    judgements: Mapping[int, Sequence[Judgement]] = field(default_factory=dict)
    """Of matches, by number from 1."""

    doubtful: frozenset[int] = frozenset()
    """Numbers from 1 of matches that may well be somebody else, see `shown_as_asked`: unless others
    are shown, there are no pictures and no clips of them."""

    show_others: bool = False
    """Whether people other than the one asked for stay recognizable."""

    clips: bool = True
    """Whether stays are cut out of the footage as clips."""

    full_paths: bool = False
    """Whether sources are named by their absolute paths, which tell of the machine they lie on,
    rather than below the folder that they share."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    """More that is put into the case as it is, by name."""

    made: float | None = None
    """The date of the case, seconds since 1970 (UTC); None for now. With the same date, the same
    case is the same bytes."""


@dataclass(frozen=True)
class Source:
    """A picture or video that matches or a query were taken from."""

    number: int
    """From 1."""

    name: str
    sha256: str | None
    """In hex, of today's file; None where it is gone."""

    state: str
    """``as indexed``, ``changed``, ``gone``, or ``not indexed`` of a query that is not in the
    gallery."""


@dataclass(frozen=True)
class CaseSight:
    """The person in one frame."""

    source: int
    """Number of the `Source`."""

    frame: int | None
    """Number in a video, from 0; None for a picture."""

    timestamp: float | None
    """See `Match.timestamp`."""

    box: Box
    """In original pixels."""

    score: float
    picture: str | None = None
    """File in the case; None where none was written."""


@dataclass(frozen=True)
class CaseMatch:
    """One match with its stay."""

    number: int
    """From 1."""

    camera: str | None
    similarity: float | None
    """Of its most similar sight or sights; None without a query."""

    start: float | None
    end: float | None
    """First and last sight, see `Match.timestamp`."""

    best: CaseSight
    """The sight that the search returned."""

    sights: Sequence[CaseSight]
    """All of the stay, by time, `best` among them."""

    person: str | None
    """File in the case with the picture of the person alone."""

    clip: str | None
    """File in the case."""

    notes: Sequence[str]
    """What is missing, and why."""

    judgements: Sequence[Judgement] = ()

    @property
    def pictures(self) -> list[CaseSight]:
        """The sights of which there are pictures, `best` first, then by time."""
        others = [s for s in self.sights if s.picture and s.picture != self.best.picture]
        return ([self.best] if self.best.picture else []) + others


@dataclass(frozen=True)
class QueryRecord:
    """A query as it is written."""

    picture: str
    """File in the case."""

    box: Box
    source: int | None
    """Number of the `Source`; None where it is not known."""

    frame: int | None


@dataclass(frozen=True)
class Case:
    """Everything that a case says."""

    made: float
    program: str
    """Name and version."""

    gallery: str
    """Name of the gallery, and of its file."""

    fingerprint: str
    """Of the model."""

    card: ModelCard | None
    queries: Sequence[QueryRecord]
    threshold: float | None
    min_similarity: float | None
    has_others: bool
    """Whether people other than the one asked for are recognizable."""

    matches: Sequence[CaseMatch]
    sources: Sequence[Source]
