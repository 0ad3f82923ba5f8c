"""What a case says in words, the same in HTML and PDF."""

from datetime import datetime

from person_search.cases.contents import Case, CaseMatch, CaseSight, Judgement
from person_search.footage.time_text import YEAR, format_time

Facts = list[tuple[str, str]]

SUMS = "SHA256SUMS"
BLURRED = (
    "Other people are blurred: everybody whom the gallery knows in a picture, and in clips "
    "everything around the person wherever the gallery did not look at each frame. Somebody whom "
    "the model did not see is not blurred in pictures: look at each before handing it on."
)
SHOWN = "Other people are shown as the cameras saw them."
MEANING = (
    "A similarity compares looks, such as clothes. It is no proof of who somebody is: two people "
    "in the same clothes may reach it, and one person in other clothes may not."
)
VERIFYING = (
    f"{SUMS} holds the SHA-256 of every file of this case but itself; in this folder, sha256sum -c "
    f"{SUMS} checks them. Sources were hashed when the case was made."
)


def iso_time(seconds: float | None) -> str | None:
    """Write a date as ISO 8601 with the offset of this machine's zone; None for none.

    Times since the start of a video are no dates.
    """
    if seconds is None or seconds < YEAR:
        return None
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="milliseconds")


def long_time(seconds: float | None) -> str:
    """Write a time for reading, with the offset where it is a date."""
    iso = iso_time(seconds)
    if iso is None:
        return "unknown" if seconds is None else f"{format_time(seconds)} into the video"
    return f"{format_time(seconds)} {iso[-6:]}"


def span(match: CaseMatch) -> str:
    """Say how long a stay lasted."""
    if match.start is None or match.end is None:
        return ""
    return f"{match.end - match.start:.1f} s"


def box_text(sight_box: tuple[float, ...]) -> str:
    """Write a box as whole pixels."""
    return ", ".join(f"{side:.0f}" for side in sight_box)


def source_of(case: Case, sight: CaseSight) -> str:
    """Return the name of the source that a sight is from."""
    return case.sources[sight.source - 1].name


def place(case: Case, sight: CaseSight) -> str:
    """Say where a sight is from: source and frame."""
    name = source_of(case, sight)
    return name if sight.frame is None else f"{name}, frame {sight.frame}"


def judgement_text(judgement: Judgement) -> str:
    """Say what somebody said of a match."""
    by = f" by {judgement.by}" if judgement.by else ""
    when = "" if judgement.time is None else f", {long_time(judgement.time)}"
    return f"{judgement.verdict}{by}{when}"


def case_facts(case: Case) -> Facts:
    """Return what is to be known of the whole case."""
    facts = [
        ("Made", f"{long_time(case.made)}, by {case.program}"),
        ("Gallery", case.gallery),
        ("Matches", str(len(case.matches))),
    ]
    if case.threshold is not None:
        facts.append(("Threshold of the model", f"similarity {case.threshold:.3f}"))
    if case.min_similarity is not None:
        facts.append(("Left out below", f"similarity {case.min_similarity:.3f}"))
    return facts


def model_facts(case: Case) -> Facts:
    """Return the model's card."""
    facts = [("Fingerprint", case.fingerprint)]
    if case.card is None:
        return [("Model", "one without a card"), *facts]
    card = case.card
    facts = [
        ("Model", card.name),
        ("Knows", card.domain),
        ("Trained on", card.trained_on),
        ("Licence", card.licence),
        *([("Source", card.source)] if card.source else []),
        *([("Limits", card.limits)] if card.limits else []),
        *facts,
    ]
    return facts + [(what, f"{number:g} %") for what, number in card.numbers.items()]


def match_facts(case: Case, match: CaseMatch) -> Facts:
    """Return what is to be known of a match."""
    facts = [("Camera", match.camera or "unknown"), ("From", long_time(match.start))]
    if len(match.sights) > 1:
        facts += [
            ("Until", long_time(match.end)),
            ("Stay", f"{span(match)}, seen in {len(match.sights)} frames"),
        ]
    if match.similarity is not None:
        facts.append(("Similarity", f"{match.similarity:.3f}"))
    best = match.best
    facts += [
        ("Best frame", f"{place(case, best)}; {long_time(best.timestamp)}"),
        ("Box", f"{box_text(best.box)} (left, top, right, bottom in pixels)"),
        ("Detector score", f"{best.score:.2f}"),
    ]
    return facts + [("Judged", judgement_text(one)) for one in match.judgements]
