"""The button "Export these matches": an answer as a case, made in memory and downloaded at once."""

import base64
import time
from datetime import datetime

from person_search.cases.contents import CaseQuery, CaseRequest
from person_search.cases.export import zip_case
from person_search.inference.queries import find_beside

from .actions import Query
from .markup import count
from .service import Gallery

MOST_BYTES = 64_000_000
"""Of a case that the page hands out: it goes through the browser's memory as a whole."""


def ask_for_case(query: Query, threshold: float | None) -> CaseRequest:
    """Return what is to be handed on of an answer: the matches above the visitor's threshold.

    Args:
        query: With its answer.
        threshold: The model's calibrated similarity, None where it has none.

    Raises:
        ValueError: There is no answer, or no match above the threshold.
    """
    answer = query.answer
    if answer is None or query.box is None or not answer.num_above:
        raise ValueError("no match reaches the threshold: there is nothing to export")
    # Where the model did not find who was asked for, it may have missed others, too.
    others = None if query.number is None else find_beside(query.people, query.box).boxes
    handed = answer.matches[: answer.num_above]
    return CaseRequest(
        handed,
        [CaseQuery(query.image, query.box, others)],
        threshold=threshold,
        min_similarity=answer.threshold,
        doubtful=frozenset(
            number for number, match in enumerate(handed, 1) if not answer.shows(match)
        ),
        made=time.time(),
    )


def download(gallery: Gallery, request: CaseRequest, serial: int) -> str:
    """Return a case as a part of the page that `assets/download.js` saves; no file stays here.

    Args:
        gallery: Of the matches.
        request: What to hand on.
        serial: Another number each time, so that the same is saved twice.

    Raises:
        GalleryError, OSError: See `export_case`.
        ValueError: It is larger than `MOST_BYTES`.
    """
    content, report = zip_case(gallery.index, request)
    if len(content) > MOST_BYTES:
        raise ValueError(
            f"the case has {len(content) / 1e6:.0f} MB, more than the {MOST_BYTES / 1e6:.0f} MB "
            "that this page hands out: show fewer matches, or use person-search export-case"
        )
    made = datetime.fromtimestamp(request.made or 0.0).strftime("%Y-%m-%d_%H-%M-%S")
    counts = (("match", report.matches), ("picture", report.pictures), ("clip", report.clips))
    held = ", ".join(count(number, noun) for noun, number in counts)
    notes = report.notes
    missing = f" {count(len(notes), 'note')} in it on what could not be shown." if notes else ""
    return (
        f'<p class="ps-unseen" role="status" data-serial="{serial}" data-name="case_{made}.zip" '
        f'data-zip="{base64.b64encode(content).decode("ascii")}">Exported: {held}, '
        f"{len(content) / 1e6:.1f} MB; other people are blurred.{missing}</p>"
    )


def nothing_to_download(serial: int) -> str:
    """Return what makes the button ready again where nothing could be exported."""
    return f'<span data-serial="{serial}"></span>'
