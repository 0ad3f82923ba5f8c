"""What is searched and by which rules: one ``SearchRules`` for each group of search results."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from person_search.data.cuhk_sysu import FULL_GALLERY
from person_search.data.protocol import SearchProtocol
from person_search.evaluation.context import ContextMatching

STANDARD_GALLERY_SIZE = 100
STANDARD_SCORE_THRESHOLD = 0.5

ProtocolLoader = Callable[..., SearchProtocol]
"""Loads a data set's protocol; takes those of ``gallery_size``, ``subset`` and ``multi_view`` that
the data set knows."""


@dataclass(frozen=True)
class SearchRules:
    """Say what is searched and how it is ranked; the defaults are the plain protocol.

    Raises:
        ValueError: If a value is out of its range, or two galleries are chosen at once.
    """

    gallery_size: int | None = None
    """CUHK-SYSU: frames to search for each query, -1 for the full set; None is its usual 100. Other
    data sets have one gallery."""

    subset: str | None = None
    """CUHK-SYSU: ``occlusion`` or ``resolution`` to search for the queries of a subset."""

    multi_view: bool = False
    """PRW and COCO layouts: leave the query's own camera out of its gallery."""

    score_threshold: float = STANDARD_SCORE_THRESHOLD
    """Least score, 0..1, of a detection that is searched."""

    confidence_weighting: bool = False
    """Multiply similarities by the detection score (CWS in SeqNet)."""

    context: ContextMatching | None = None
    """Rerank by the people around the query; None does not."""

    by_frequency: bool = False
    """Score the queries in groups by the frequency of their identities too."""

    def __post_init__(self) -> None:
        if not 0 <= self.score_threshold <= 1:
            raise ValueError(f"score_threshold: got {self.score_threshold}, expected 0..1")
        size = self.gallery_size
        if size is not None and size < 1 and size != FULL_GALLERY:
            raise ValueError(
                f"gallery_size: got {size}, expected 1 or more frames, or {FULL_GALLERY} for the "
                "full set"
            )
        choices = {"gallery_size": size, "subset": self.subset, "multi_view": self.multi_view}
        chosen = [name for name, value in choices.items() if value not in (None, False)]
        if len(chosen) > 1:
            raise ValueError(f"{' and '.join(chosen)}: expected one choice of the gallery only")

    @property
    def name(self) -> str:
        """Return the name of this group of results, in dicts, logs, tables and JSON files.

        ``search`` is the plain protocol and nothing else: the data set's usual gallery (100 frames
        on CUHK-SYSU; every other frame of all cameras on PRW and own data), detections from a score
        of 0.5 on, ranked by their cosine similarity. What differs is told in this order:

        - the gallery: ``_g50`` (its size), ``_full``, ``_occlusion``, ``_resolution`` or
          ``_multi_view``
        - ``_score0.8``: the least score of a detection
        - ``_weighted``: similarities times the detection score
        - ``_cbgm``: context bipartite graph matching, whatever its k1 and k2
        - ``_head``, ``_middle``, ``_tail``: part of the queries, see ``summarize_by_frequency``

        What the predictions hold, such as annotated boxes in place of detections, is not told.
        """
        weighted = ["weighted"] if self.confidence_weighting else []
        reranked = ["cbgm"] if self.context is not None else []
        return "_".join(["search", *self._gallery, *self._threshold, *weighted, *reranked])

    @property
    def detection_name(self) -> str:
        """Return the name of the detection results: ``detection`` where it counts from 0.5 on."""
        return "_".join(["detection", *self._threshold])

    @property
    def _gallery(self) -> list[str]:
        if self.subset is not None:
            return [self.subset]
        if self.multi_view:
            return ["multi_view"]
        if self.gallery_size in (None, STANDARD_GALLERY_SIZE):
            return []
        return ["full" if self.gallery_size == FULL_GALLERY else f"g{self.gallery_size}"]

    @property
    def _threshold(self) -> list[str]:
        is_usual = self.score_threshold == STANDARD_SCORE_THRESHOLD
        return [] if is_usual else [f"score{self.score_threshold:g}"]

    def load_protocol(self, load: ProtocolLoader) -> SearchProtocol:
        """Load the protocol of this gallery."""
        options: dict[str, Any] = {}
        if self.gallery_size is not None:
            options["gallery_size"] = self.gallery_size
        if self.subset is not None:
            options["subset"] = self.subset
        if self.multi_view:
            options["multi_view"] = True
        return load(**options)


PLAIN = SearchRules()


def list_searches(
    galleries: Iterable[SearchRules],
    *,
    confidence_weighting: bool = False,
    context: ContextMatching | None = None,
    by_frequency: bool = False,
) -> list[SearchRules]:
    """List every search that is scored: each gallery plainly, then in the other ways asked for.

    Args:
        galleries: The galleries in the order of the results; one that is named twice counts once.
        confidence_weighting: Also weight similarities.
        context: Also rerank, the weighted similarities where they are weighted; None does not.
        by_frequency: Part the queries of the first gallery by frequency.
    """
    searches = []
    for number, gallery in enumerate({rules.name: rules for rules in galleries}.values()):
        rules = replace(gallery, by_frequency=by_frequency and number == 0)
        searches.append(rules)
        if confidence_weighting:
            rules = replace(rules, confidence_weighting=True)
            searches.append(rules)
        if context is not None:
            searches.append(replace(rules, context=context))
    return searches
