"""A case as one HTML page, which opens without network and without scripts, and prints well.

Every piece of text goes through `_text`: a camera or a file may have any name. The page forbids
scripts besides, so that none would run.
"""

from html import escape

from person_search.cases import wording
from person_search.cases.contents import Case, CaseMatch

_TURNING = {
    code: f"\\u{code:04x}"
    for code in (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
}
"""Marks that turn the direction of what follows: of our own words and times, too, where a name
stands before them. They are written by their number."""
POLICY = "script-src 'none'; object-src 'none'; base-uri 'none'; form-action 'none'"
STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1d2430; background: #fff; margin: 0 auto;
  max-width: 62rem; padding: 1.5rem; }
h1 { margin: 0 0 .25rem; } h2 { margin: 2.5rem 0 .75rem; border-top: 2px solid #d5dbe3;
  padding-top: 1rem; } img, video { max-width: 100%; height: auto; display: block; }
.intro { display: flex; flex-wrap: wrap; gap: 1.5rem; align-items: flex-start; }
.intro > dl { flex: 1 1 20rem; } .query { max-width: 22rem; margin: 0; }
.query img { max-height: 22rem; width: auto; }
figure { margin: 0; } figcaption { font-size: .85rem; color: #4c5768; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; margin: 0; }
dt { color: #4c5768; } dd { margin: 0; overflow-wrap: anywhere; }
.match { break-inside: avoid; } .shown { display: grid; gap: 1rem; margin: 0 0 1rem;
  grid-template-columns: minmax(0, 3fr) minmax(7rem, 1fr); }
.shown img { width: 100%; } .more { display: grid; gap: .75rem; margin: 1rem 0 0;
  grid-template-columns: repeat(3, minmax(0, 1fr)); }
video { width: 100%; max-width: 40rem; margin-top: 1rem; background: #10121a; }
.note { background: #fff4d6; border-left: 4px solid #c98a00; padding: .5rem .75rem; margin: .5rem 0;
  overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; } th, td { text-align: left;
  padding: .35rem .75rem .35rem 0; border-bottom: 1px solid #d5dbe3; vertical-align: top; }
th { white-space: nowrap; } td { overflow-wrap: break-word; } td.long { overflow-wrap: anywhere; }
.match dl { margin-top: 1rem; } code { font-size: .8rem; overflow-wrap: anywhere; }
@page { margin: 15mm; }
@media print { body { max-width: none; padding: 0; font-size: 10pt; } .clip { display: none; }
  a { color: inherit; text-decoration: none; } h2 { break-after: avoid; }
  tr { break-inside: avoid; }
  .match img { max-height: 11cm; object-fit: contain; object-position: left top; } }
@media (max-width: 40rem) { dl { grid-template-columns: 1fr; } dt { margin-top: .5rem; }
  .table { overflow-x: auto; } }
"""


def html_report(case: Case) -> str:
    """Write a case as a page."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>Person search: a case</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>Person search: a case</h1>\n{_intro(case)}\n{_summary(case)}\n"
        + "\n".join(_match(case, match) for match in case.matches)
        + f"\n{_sources(case)}\n<h2>Model</h2>\n{_facts(wording.model_facts(case))}\n"
        f"<h2>Verify</h2>\n<p>{_text(wording.VERIFYING)}</p>\n</main>\n</body>\n</html>\n"
    )


def _text(text: str) -> str:
    """Return text that is nothing but text, whichever direction it is written in."""
    return f"<bdi>{escape(text.translate(_TURNING))}</bdi>"


def _facts(facts: wording.Facts) -> str:
    rows = "\n".join(f"<dt>{escape(k)}</dt><dd>{_text(v)}</dd>" for k, v in facts)
    return f"<dl>\n{rows}\n</dl>"


def _intro(case: Case) -> str:
    pictures = "".join(
        f'<figure class="query"><img src="{q.picture}" alt="The person asked for, in a box">'
        f"<figcaption>Asked for{'' if len(case.queries) == 1 else f', picture {number}'}: "
        f"box {wording.box_text(q.box)}</figcaption></figure>"
        for number, q in enumerate(case.queries, 1)
    )
    others = wording.SHOWN if case.has_others else wording.BLURRED
    meaning = f"<p>{_text(wording.MEANING)}</p>" if case.queries else ""
    return (
        f'<div class="intro">{pictures}{_facts(wording.case_facts(case))}</div>'
        f"<p>{_text(others)}</p>{meaning}"
    )


def _summary(case: Case) -> str:
    has_query = bool(case.queries)
    similarity = "<th>Similarity</th>" if has_query else ""
    rows = []
    for match in case.matches:
        cell = f"<td>{match.similarity:.3f}</td>" if match.similarity is not None else ""
        judged = "; ".join(wording.judgement_text(one) for one in match.judgements)
        rows.append(
            f'<tr><td><a href="#match-{match.number}">{match.number}</a></td>'
            f'<td class="long">{_text(match.camera or "unknown")}</td>'
            f"<td>{_text(wording.long_time(match.start))}</td>"
            f"<td>{_text(wording.long_time(match.end))}</td>"
            f"<td>{wording.span(match)}</td>{cell}<td>{_text(judged) if judged else ''}</td></tr>"
        )
    return (
        '<h2>Matches</h2>\n<div class="table"><table>\n<thead><tr><th>Match</th><th>Camera</th>'
        f"<th>From</th><th>Until</th><th>Stay</th>{similarity}<th>Judged</th></tr></thead>\n<tbody>"
        + "\n".join(rows)
        + "</tbody></table></div>"
    )


def _match(case: Case, match: CaseMatch) -> str:
    number = match.number
    notes = "".join(f'<p class="note">{_text(note)}</p>' for note in match.notes)
    clip = _clip(match) if match.clip else ""
    return (
        f'<section class="match" id="match-{number}">\n<h2>Match {number}</h2>\n'
        f"{_pictures(case, match)}{_facts(wording.match_facts(case, match))}{notes}{clip}</section>"
    )


def _clip(match: CaseMatch) -> str:
    shown = match.pictures
    poster = f' poster="{shown[0].picture}"' if shown else ""
    label = f"The stay of match {match.number} as a clip, with a box around the person"
    return (
        f'<div class="clip"><video controls preload="none" src="{match.clip}"{poster} '
        f'aria-label="{label}"></video></div>'
    )


def _pictures(case: Case, match: CaseMatch) -> str:
    if match.person is None:
        return ""
    main, *more = match.pictures
    small = "".join(
        f'<figure><a href="{sight.picture}"><img src="{sight.picture}" alt="Another frame of the '
        f'stay, with a box around the person"></a><figcaption>'
        f"{_text(wording.long_time(sight.timestamp))}</figcaption></figure>"
        for sight in more
    )
    return (
        f'<div class="shown"><figure><a href="{main.picture}"><img src="{main.picture}" '
        f'alt="The whole frame of match {match.number}, with a box around the person"></a>'
        f"<figcaption>{_text(wording.place(case, main))}</figcaption></figure>"
        f'<img src="{match.person}" alt="The person of match {match.number}"></div>'
        + (f'<div class="more">{small}</div>' if small else "")
    )


def _sources(case: Case) -> str:
    rows = "\n".join(
        f'<tr><td>{s.number}</td><td class="long">{_text(s.name)}</td><td>{s.state}</td>'
        f'<td class="long"><code>{s.sha256 or "none"}</code></td></tr>'
        for s in case.sources
    )
    return (
        '<h2>Sources</h2>\n<div class="table"><table>\n<thead><tr><th>Source</th><th>File</th>'
        f"<th>Today</th><th>SHA-256</th></tr></thead>\n<tbody>{rows}</tbody></table></div>"
    )
