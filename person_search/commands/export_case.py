"""``person-search export-case``: write chosen matches as a folder or zip to hand on.

A case holds a report (report.html, which opens offline, and report.pdf), pictures and clips with
the person outlined, all times and boxes as CSV and JSON, the model's card, and the SHA-256 of every
file and of the sources. Other people are blurred. Matches are chosen by a query as
person-search search takes it, by the numbers of appearances, or by what one of the two printed with
--json.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from person_search.commands import recorded, search, search_arguments
from person_search.commands.chosen_matches import case_query, make_request, read_chosen
from person_search.commands.model_arguments import (
    add_gallery_arguments,
    add_model_arguments,
    load_finder,
)
from person_search.commands.output import format_choice, format_chosen
from person_search.commands.query_text import (
    ChosenQuery,
    OpenQuery,
    QueryText,
    parse_query,
    resolve_query,
)

if TYPE_CHECKING:
    from person_search.cases.contents import CaseQuery, CaseRequest
    from person_search.gallery.index import GalleryIndex

IF_STOPPED = "nothing half-written stays; the same command starts again"
NONE_FOUND = 1
"""Exit status: no match, nothing was written."""
_OF_SEARCH = ("top", "camera", "since", "until", "min_similarity", "by", "own_frame", "subject")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``person-search export-case``."""
    add_gallery_arguments(parser)
    parser.add_argument(
        "--out",
        required=True,
        type=Path,
        metavar="CASE",
        help="where to write it: a file ending in .zip, or a folder; not there yet",
    )
    chosen = parser.add_mutually_exclusive_group(required=True)
    chosen.add_argument(
        "--query",
        action="append",
        metavar="IMG[:BOX|#N]",
        help="who to look for, as in search; several are pictures of the same person",
    )
    chosen.add_argument(
        "--id",
        type=int,
        action="append",
        metavar="N",
        help="an appearance, as lists and searches number it; repeatable",
    )
    chosen.add_argument(
        "--group",
        type=int,
        action="append",
        metavar="G",
        help="all appearances of a group that person-search people lists; repeatable",
    )
    chosen.add_argument(
        "--from",
        dest="file",
        metavar="FILE.json",
        help="what search --json or appearances --json printed; - for the standard input",
    )
    parser.add_argument(
        "--show-others", action="store_true", help="do not blur other people in pictures and clips"
    )
    parser.add_argument("--no-clips", action="store_true", help="leave out the clips")
    parser.add_argument(
        "--personal-data",
        action="store_true",
        help="for the person who asks: add all that the gallery and its log know of these "
        "appearances, with embeddings, judgements and names",
    )
    parser.add_argument(
        "--full-paths",
        action="store_true",
        help="name sources by their whole paths, not below the folder that they share",
    )
    _add_search_arguments(parser)
    add_model_arguments(parser)


def _add_search_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("with --query", "as in person-search search")
    search_arguments.add_filters(
        group,
        least="only matches at least so similar, -1..1; default: the model's threshold, where it "
        "has one",
    )
    group.add_argument("--by", choices=("appearance", "frame"), help="hand on stays or frames")
    group.add_argument(
        "--own-frame", action="store_true", help="hand on the query's own frame, too"
    )
    group.add_argument(
        "--subject",
        metavar="NAME",
        help="with what person-search review says about this person; what is wrong is left out",
    )
    # What else `search.search` reads.
    parser.set_defaults(all=False, context=False, rerank=False, mean_of="1", save=None, blur=False)


def run(args: argparse.Namespace) -> int:
    """Write a case; return the exit status.

    Raises:
        ValueError: An argument is wrong, or the gallery does not hold a match any more.
        OSError: Something is there already, or cannot be written.
    """
    from person_search.cases.export import check_target, export_case
    from person_search.gallery.index import GalleryIndex

    check_target(args.out)
    _check_arguments(args)
    with GalleryIndex.open(args.gallery, args.name) as index:
        search.check_cameras(index, args.camera)
        request = _search(index, args) if args.query else read_chosen(index, args)
        if request is None:
            return search.MUST_CHOOSE
        if not request.matches:
            least = request.min_similarity
            limit = "" if least is None else f" with a similarity of at least {least:.3f}"
            print(f"no match{limit}; nothing was written")
            return NONE_FOUND
        if args.personal_data:
            request = _with_personal_data(index, request)
        recorded.begins(index, "export case", matches=len(request.matches))
        with recorded.use(index, "export case") as use:
            for query in request.queries:
                use.asked(query.picture, query.box)
            use.showed(request.matches).said(others="shown" if args.show_others else "blurred")
            use.said(personal_data=args.personal_data)
            report = export_case(index, request, args.out)
    for note in report.notes:
        print(note, file=sys.stderr)
    if args.query and len(request.matches) == args.top:
        print(f"these are the {args.top} most similar; --top takes more", file=sys.stderr)
    others = "shown" if args.show_others else "blurred"
    counts = (("match", report.matches), ("picture", report.pictures), ("clip", report.clips))
    held = ", ".join(_count(number, noun) for noun, number in counts)
    print(f"wrote {args.out}: {held}, {report.bytes / 1e6:.1f} MB; others are {others}")
    return 0


def _with_personal_data(index: "GalleryIndex", request: "CaseRequest") -> "CaseRequest":
    from person_search.accountability.personal_data import FILE, personal_data

    stays = [match.appearance.id for match in request.matches if match.appearance is not None]
    return replace(request, files={FILE: personal_data(index, stays)})


def _count(number: int, noun: str) -> str:
    plural = noun + ("es" if noun.endswith("h") else "s")
    return f"{number} {noun if number == 1 else plural}"


def _check_arguments(args: argparse.Namespace) -> None:
    if args.query:
        search_arguments.check_arguments(args, [parse_query(text) for text in args.query])
        return
    given = [
        name
        for name in _OF_SEARCH
        if getattr(args, name) not in (None, False, search_arguments.TOP)
    ]
    if given:
        option = f"--{given[0].replace('_', '-')}"
        raise ValueError(f"{option} chooses among the matches of a --query; leave it out")


def _search(index: "GalleryIndex", args: argparse.Namespace) -> "CaseRequest | None":
    """Search as `search` does; None where somebody must be chosen first: they are listed."""
    finder = load_finder(args)
    # Finds who else is in the pictures, too, who are to be blurred.
    texts = [parse_query(text) for text in args.query]
    queries = [resolve_query(finder, text, want_context=True) for text in texts]
    still_open = [query for query in queries if isinstance(query, OpenQuery)]
    if still_open:
        print("\n\n".join(format_choice(query) for query in still_open))
        return None
    chosen = [query for query in queries if isinstance(query, ChosenQuery)]
    for query in chosen:
        print(format_chosen(query), file=sys.stderr)
    if args.min_similarity is None:
        args.min_similarity = finder.threshold
    # Others are no part of the question.
    alone = [replace(query, beside=None) for query in chosen]
    answer = search.search(index, finder, alone, args)
    matches = [match for match in answer.matches if match.judgement is not False]
    return make_request(
        args,
        matches,
        [_to_case(text, query) for text, query in zip(texts, chosen, strict=True)],
        threshold=finder.threshold,
        min_similarity=args.min_similarity,
        judgements=None if args.subject is None else index.judgements.about(args.subject, matches),
    )


def _to_case(text: QueryText, query: ChosenQuery) -> "CaseQuery":
    # Where a box had to be given, the model may have missed others, too.
    beside = None if text.box is not None else query.beside
    return case_query(query.image, query.box, None if beside is None else beside.boxes)
