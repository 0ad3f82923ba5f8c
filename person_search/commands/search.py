"""``person-search search``: find a person in a gallery.

A query is IMG:x1,y1,x2,y2 (a box in pixels), IMG#2 (the second person from the left that is found)
or IMG alone: the person who fills the picture, or the only one found; of several the people are
listed to choose from, and where nobody is found a picture taller than wide is taken whole. IMG is
a picture or a video's frame, clip.mp4#frame=30.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from person_search.cases.blur import Blur
from person_search.commands.model_arguments import (
    add_gallery_arguments,
    add_model_arguments,
    check_model_arguments,
    load_finder,
)
from person_search.commands.output import (
    SearchAnswer,
    answer_to_json,
    choices_to_json,
    format_answer,
    format_choice,
    format_chosen,
)
from person_search.commands.pictures import (
    check_picture_file,
    draw_answer,
    draw_choices,
    save_picture,
)
from person_search.commands.query_text import (
    ChosenQuery,
    OpenQuery,
    QueryText,
    absolute_name,
    parse_query,
    read_query_image,
    resolve_query,
)
from person_search.footage.time_text import FORMS, parse_time
from person_search.gallery.search_options import ByContext, ByNeighbors, FrameFilter
from person_search.gallery.store import is_address

if TYPE_CHECKING:
    from person_search.gallery.index import GalleryIndex
    from person_search.inference.finder import PersonFinder

NOTHING_FOUND = 1
"""Exit status: no frame searched shows anybody, or nobody similar enough."""
TOP = 10
"""How many matches are shown unless a user says otherwise."""
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


def add_filters(
    parser: "argparse.ArgumentParser | argparse._ArgumentGroup",
    least: str = "only matches at least so similar, -1..1",
) -> None:
    """Add the arguments that choose among matches.

    Args:
        parser: of a command that searches.
        least: help of ``--min-similarity``.
    """
    parser.add_argument(
        "--top", type=int, default=TOP, metavar="N", help="at most N matches (default: %(default)s)"
    )
    parser.add_argument(
        "--camera", action="append", metavar="NAME", help="only frames of this camera; repeatable"
    )
    parser.add_argument("--since", metavar="TIME", help=f"only frames from then on: {FORMS}")
    parser.add_argument(
        "--until", metavar="TIME", help="only frames up to then; a date counts to its end"
    )
    parser.add_argument("--min-similarity", type=float, metavar="X", help=least)


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
        answer = search(index, finder, chosen, args)
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
        )
    elif by_appearance:
        matches = index.appearances.search(
            embeddings,
            top=args.top,
            frames=frames,
            min_similarity=args.min_similarity,
            ranked_frames=_parse_mean(args.mean_of),
            fingerprint=finder.fingerprint,
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
        )
    return SearchAnswer(
        *(index.uri, args.name, queries, matches, finder.threshold, args.min_similarity),
        by="appearance" if by_appearance else "frame",
    )


def _context(queries: list[ChosenQuery]) -> ByContext | None:
    """Return the people beside the queries; None without any, there is no context to prefer."""
    beside = [row for query in queries if query.beside for row in query.beside.embeddings]
    return ByContext(np.stack(beside)) if beside else None


def check_arguments(args: argparse.Namespace, texts: list[QueryText]) -> None:
    """Refuse what is wrong before anything slow starts.

    Raises:
        ValueError, OSError: The message says what.
    """
    check_model_arguments(args)
    _check_ranking(args)
    times = [parse_time(args.since or "0"), parse_time(args.until or args.since or "0", end=True)]
    if args.until is not None and times[0] > times[1]:
        raise ValueError(f"--since {args.since} is after --until {args.until}; swap them")
    if args.blur and args.save is None:
        raise ValueError("--blur is for the picture of --save; give --save OUT.png, too")
    if args.save is not None:
        check_picture_file(args.save)
    for text in texts:
        read_query_image(text)


def _check_ranking(args: argparse.Namespace) -> None:
    """Refuse options that contradict each other: a setting that changes nothing is a mistake.

    Raises:
        ValueError: The message names them.
    """
    of_frames = [f"--{name}" for name in ("all", "context", "rerank") if getattr(args, name)]
    if args.by == "appearance" and of_frames:
        raise ValueError(f"{of_frames[0]} ranks frames; leave out --by appearance or it")
    is_mean = _parse_mean(args.mean_of) != 1
    if is_mean and (args.by == "frame" or of_frames):
        raise ValueError("--mean-of ranks appearances; leave it out to rank frames")
    if is_mean and is_address(args.gallery):
        raise ValueError("--mean-of ranks appearances, which a server does not keep; leave it out")
    if args.subject is not None and (is_mean or of_frames):
        said = "--mean-of" if is_mean else of_frames[0]
        raise ValueError(f"--subject has a ranking of its own; leave out {said}")
    if args.subject is not None and is_address(args.gallery):
        raise ValueError("a server keeps no judgements; leave out --subject")
    if args.by == "appearance" and is_address(args.gallery):
        raise ValueError("a server keeps no appearances; leave out --by appearance")


def _parse_mean(text: str) -> int | None:
    if text == "all":
        return None
    if not text.isdigit() or int(text) < 1:
        raise ValueError(f"--mean-of {text}: expected a number from 1 on, or all")
    return int(text)


def _show_answer(args: argparse.Namespace, answer: SearchAnswer, blur: Blur | None) -> None:
    print(answer_to_json(answer) if args.json else format_answer(answer))
    if args.save is not None:
        save_picture(draw_answer(answer, blur), args.save)


def _show_choices(args: argparse.Namespace, queries: list[OpenQuery]) -> None:
    if args.json:
        print(choices_to_json(args.gallery, args.name, queries))
    else:
        print("\n\n".join(format_choice(query) for query in queries))
    if args.blur:
        print("no picture written: nobody is chosen, whom --blur could show", file=sys.stderr)
    elif args.save is not None:
        save_picture(draw_choices(queries), args.save)
