"""``person-search search``: find a person in a gallery.

A query is IMG:x1,y1,x2,y2 (a box in pixels), IMG#2 (the second person from the left that is found)
or IMG alone: the person who fills the picture, or the only one found; of several the people are
listed to choose from, and where nobody is found a picture taller than wide is taken whole. IMG is
a picture or a video's frame, clip.mp4#frame=30.
"""

import argparse
import sys
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from person_search.cases.blur import Blur
from person_search.commands import recorded
from person_search.commands.model_arguments import (
    add_gallery_arguments,
    add_model_arguments,
    load_finder,
)
from person_search.commands.output import (
    SORTED_BY,
    SearchAnswer,
    answer_to_json,
    choices_to_json,
    format_answer,
    format_choice,
    format_chosen,
)
from person_search.commands.pictures import (
    draw_answer,
    draw_choices,
    save_picture,
)
from person_search.commands.query_text import (
    ChosenQuery,
    OpenQuery,
    absolute_name,
    parse_query,
    resolve_query,
)
from person_search.commands.search_arguments import add_filters, check_arguments, parse_mean
from person_search.footage.time_text import parse_time
from person_search.gallery.search_options import ByContext, ByNeighbors, FrameFilter

if TYPE_CHECKING:
    from person_search.gallery.index import GalleryIndex
    from person_search.inference.finder import PersonFinder

NOTHING_FOUND = 1
"""Exit status: no frame searched shows anybody, or nobody similar enough."""
_SHOWN = 20  # how many cameras an error message names
MUST_CHOOSE = 3
"""Exit status: nobody was searched for, one of the people listed must be chosen first."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``person-search search``."""
    add_gallery_arguments(parser)
    parser.add_argument(
        "--query",
        required=True,
        action="append",
        metavar="IMG[:BOX|#N]",
        help="who to look for; several are pictures of the same person",
    )
    add_filters(parser)
    parser.add_argument(
        "--by",
        choices=("appearance", "frame"),
        help="rank appearances, a person's stay before one camera, or single frames. Default: "
        "appearances, where the gallery is in a file and none of the options below is given; "
        "pictures that stand alone are frames either way",
    )
    parser.add_argument(
        "--mean-of",
        metavar="N|all",
        default="1",
        help="an appearance is as similar as the mean of its N most similar frames "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--subject",
        metavar="NAME",
        help="search with what was said about this person by person-search review: right matches "
        "count as pictures of the person, wrong ones come last",
    )
    parser.add_argument(
        "--all", action="store_true", help="show everybody, not only the best match of each frame"
    )
    parser.add_argument(
        "--own-frame",
        action="store_true",
        help="show the query's own frame too, where it is in the gallery",
    )
    order = parser.add_mutually_exclusive_group()
    order.add_argument(
        "--context",
        action="store_true",
        help="prefer frames that also show the people beside the query",
    )
    order.add_argument(
        "--rerank",
        action="store_true",
        help="sort the best frames anew by their k-reciprocal neighbours",
    )
    parser.add_argument(
        "--save", type=Path, metavar="OUT.png", help="draw the ranked matches into this file"
    )
    parser.add_argument(
        "--blur",
        action="store_true",
        help="show nobody in the picture of --save but the person asked for; all around is blurred",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object, no table")
    add_model_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Search and print, or list the people to choose from.

    Returns:
        The exit status: 0, `NOTHING_FOUND` or `MUST_CHOOSE`.

    Raises:
        ValueError: An argument is wrong, a picture cannot be read, or the gallery belongs to
            another model.
        OSError: A file is missing or cannot be written.
    """
    from person_search.gallery.index import GalleryIndex

    texts = [parse_query(text) for text in args.query]
    check_arguments(args, texts)
    # The gallery first: its errors come before the seconds that a model takes to load.
    with GalleryIndex.open(args.gallery, args.name) as index:
        check_cameras(index, args.camera)
        finder = load_finder(args)
        # Who stands beside the person is looked for to be preferred, or to be blurred.
        want_context = args.context or args.blur
        queries = [resolve_query(finder, text, want_context=want_context) for text in texts]
        still_open = [query for query in queries if isinstance(query, OpenQuery)]
        if still_open:
            _show_choices(args, still_open)
            return MUST_CHOOSE
        chosen = [query for query in queries if isinstance(query, ChosenQuery)]
        if not args.json:
            for query in chosen:
                print(format_chosen(query), file=sys.stderr)
        with recorded.use(index, "search") as use:
            answer = search(index, finder, chosen, args)
            recorded.asked(use, chosen)
            use.showed(answer.matches)
        _show_answer(args, answer, Blur(index) if args.blur else None)
    return 0 if answer.matches else NOTHING_FOUND


def search(
    index: "GalleryIndex",
    finder: "PersonFinder",
    queries: list[ChosenQuery],
    args: argparse.Namespace,
) -> SearchAnswer:
    """Search a gallery for one person.

    Args:
        index: the gallery.
        finder: the model of the queries' embeddings.
        queries: at least one, all of the same person.
        args: the command's.

    Raises:
        GalleryError: The gallery is of another model, or a value is out of range.
    """
    frames = FrameFilter(
        cameras=args.camera,
        since=None if args.since is None else parse_time(args.since),
        until=None if args.until is None else parse_time(args.until, end=True),
        without=[] if args.own_frame else [absolute_name(query.image) for query in queries],
    )
    embeddings = np.concatenate([query.person.embeddings for query in queries])
    refine = ByNeighbors() if args.rerank else _context(queries) if args.context else None
    by_appearance = not (args.all or refine) and index.has_appearances and args.by != "frame"
    if args.subject is not None:
        matches = index.judgements.search(
            args.subject,
            embeddings,
            top=args.top,
            frames=frames,
            min_similarity=args.min_similarity,
            by="appearance" if by_appearance else "frame",
            fingerprint=finder.fingerprint,
            with_nobody=True,
        )
    elif by_appearance:
        matches = index.appearances.search(
            embeddings,
            top=args.top,
            frames=frames,
            min_similarity=args.min_similarity,
            ranked_frames=parse_mean(args.mean_of),
            fingerprint=finder.fingerprint,
            with_nobody=True,
        )
    else:
        matches = index.search(
            embeddings,
            top=args.top,
            frames=frames,
            min_similarity=args.min_similarity,
            one_per_frame=not args.all,
            refine=refine,
            fingerprint=finder.fingerprint,
            with_nobody=True,
        )
    people = [match for match in matches if not match.is_nobody]
    return SearchAnswer(
        *(index.uri, args.name, queries, people, finder.threshold, args.min_similarity),
        by="appearance" if by_appearance else "frame",
        not_people=len(matches) - len(people),
        order=SORTED_BY["context" if args.context else "rerank"] if refine is not None else None,
        is_part=bool(args.camera) or args.since is not None or args.until is not None,
    )


def check_cameras(index: "GalleryIndex", names: list[str] | None) -> None:
    """Refuse cameras that no frame of the gallery is of.

    Raises:
        ValueError: The message offers those that are spelt alike, or lists what there is.
    """
    known = index.info().cameras if names else {}
    for name in names or []:
        # "" stands for frames of an unknown camera.
        if not name or name in known:
            continue
        raise ValueError(
            f"no frame of the gallery is of a camera {name!r}; {_offer_cameras(name, known)}"
        )


def _offer_cameras(name: str, known: Iterable[str]) -> str:
    small = {camera.casefold(): camera for camera in known}
    if name.casefold() in small:
        return f"did you mean {small[name.casefold()]!r}?"
    near = get_close_matches(name.casefold(), small, n=3, cutoff=0.7)
    if near:
        return f"did you mean {' or '.join(repr(small[one]) for one in near)}?"
    if not small:
        return "its frames have no cameras: leave out --camera"
    names = sorted(small.values())
    more = ", …" if len(names) > _SHOWN else ""
    return f"it has {', '.join(repr(one) for one in names[:_SHOWN])}{more}"


def _context(queries: list[ChosenQuery]) -> ByContext | None:
    """Return the people beside the queries; None without any, there is no context to prefer."""
    beside = [row for query in queries if query.beside for row in query.beside.embeddings]
    return ByContext(np.stack(beside)) if beside else None


def _show_answer(args: argparse.Namespace, answer: SearchAnswer, blur: Blur | None) -> None:
    print(answer_to_json(answer) if args.json else format_answer(answer))
    if args.save is not None:
        save_picture(draw_answer(answer, blur), args.save)
        if blur is not None and answer.least is None and len(answer.matches) > 1:
            print(
                "only the best match is shown, and those called right: this model has no threshold "
                "that says who is the person; --min-similarity X shows those at least so similar",
                file=sys.stderr,
            )


def _show_choices(args: argparse.Namespace, queries: list[OpenQuery]) -> None:
    if args.json:
        print(choices_to_json(args.gallery, args.name, queries))
    else:
        print("\n\n".join(format_choice(query) for query in queries))
    if args.blur:
        print("no picture written: nobody is chosen, whom --blur could show", file=sys.stderr)
    elif args.save is not None:
        save_picture(draw_choices(queries), args.save)
