"""The options of ``person-search search``, and what is refused of them before the work."""

import argparse

from person_search.commands.model_arguments import (
    check_model_arguments,
)
from person_search.commands.pictures import check_picture_file
from person_search.commands.query_text import QueryText, read_query_image
from person_search.footage.time_text import FORMS, parse_time
from person_search.gallery.store import is_address

TOP = 10
"""How many matches are shown unless a user says otherwise."""


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
    is_mean = parse_mean(args.mean_of) != 1
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


def parse_mean(text: str) -> int | None:
    """Return how many frames of an appearance ``--mean-of`` takes the mean of; None for all.

    Raises:
        ValueError: it is neither a number from 1 on nor ``all``.
    """
    if text == "all":
        return None
    if not text.isdigit() or int(text) < 1:
        raise ValueError(f"--mean-of {text}: expected a number from 1 on, or all")
    return int(text)
