"""``person-search review``: say which matches are right or wrong.

What is said is kept in the gallery for the person who was asked for, the *subject*, under a name of
your choice; ``person-search search --subject NAME`` searches with it. Without ``--right``,
``--wrong``, ``--nobody`` or ``--undo`` it is listed. ``--nobody`` is for no subject: what is no
person at all is hidden from all answers; ``person-search people undo`` takes that back.
"""

import argparse
import json
from dataclasses import replace
from typing import TYPE_CHECKING

from person_search.commands import recorded
from person_search.commands.model_arguments import add_gallery_arguments
from person_search.commands.output import match_to_dict
from person_search.footage.time_text import format_time

if TYPE_CHECKING:
    from person_search.accountability.uses import Use
    from person_search.gallery.index import GalleryIndex
    from person_search.gallery.rows import Judgement


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``person-search review``."""
    add_gallery_arguments(parser)
    parser.add_argument("--subject", metavar="NAME", help="who is asked for, such as 'yellow coat'")
    for verdict, says in (("right", "show"), ("wrong", "do not show")):
        parser.add_argument(
            f"--{verdict}",
            nargs="+",
            type=int,
            default=[],
            metavar="ID",
            help=f"appearances that {says} the subject, by the numbers that search prints",
        )
    parser.add_argument(
        "--nobody",
        nargs="+",
        type=int,
        default=[],
        metavar="ID",
        help="appearances that are not people but benches or signs; hides them everywhere",
    )
    parser.add_argument(
        "--undo",
        nargs="?",
        const="1",
        metavar="N|all",
        help="take back what was said last about the subject, or the last N, or all",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object, no table")


def run(args: argparse.Namespace) -> int:
    """Keep, take back or list judgements; return the exit status 0.

    Raises:
        ValueError: Arguments contradict each other, there is no such appearance, or the gallery
            cannot be opened or is on a server.
    """
    from person_search.gallery.index import GalleryIndex

    count = _check_arguments(args)
    with GalleryIndex.open(args.gallery, args.name) as index:
        if args.undo is not None:
            with _use(index, "undo judgements", args) as use:
                undone = index.judgements.undo(args.subject, count)
                use.said(judgements=undone)
            print(f"took back {_count(undone)}")
        elif args.nobody:
            with _use(index, "people nobody", args) as use:
                groups = index.appearances.groups.call_stays_nobody(args.nobody)
                use.said(stays=args.nobody)
            listed = f"group{'s' * (len(groups) > 1)} {', '.join(map(str, groups))}"
            print(f"called nobody, and hidden: {listed} of person-search people --nobody")
        elif args.right or args.wrong:
            print(f"kept {_count(_judge(index, args))} about {args.subject}")
        elif args.subject is None:
            _use(index, "view judgements", args).end()
            _show_subjects(index.judgements.subjects(), args.json)
        else:
            _use(index, "view judgements", args).end()
            _show_judgements(index.judgements.of(args.subject), args.json)
    return 0


def _use(index: "GalleryIndex", action: str, args: argparse.Namespace) -> "Use":
    from person_search.accountability.uses import hash_subject

    subject = None if args.subject is None else hash_subject(args.subject)
    return recorded.use(index, action).said(subject=subject)


def _check_arguments(args: argparse.Namespace) -> int | None:
    """Refuse what contradicts itself; return how many are to be taken back, None for all."""
    if args.subject is None and (args.right or args.wrong or args.undo is not None):
        raise ValueError("say who is asked for by --subject NAME")
    if args.undo is not None and (args.right or args.wrong or args.nobody):
        raise ValueError("--undo takes back; leave out --right, --wrong and --nobody, or it")
    if args.nobody and (args.subject is not None or args.right or args.wrong):
        raise ValueError("--nobody is for no subject; leave out --subject, --right and --wrong")
    if args.nobody and args.json:
        raise ValueError("--nobody prints no JSON; leave out --json")
    both = sorted(set(args.right) & set(args.wrong))
    if both:
        raise ValueError(f"appearance {both[0]} cannot be right and wrong at once")
    if args.undo in (None, "all"):
        return None
    if not args.undo.isdigit() or int(args.undo) < 1:
        raise ValueError(f"--undo {args.undo}: expected a number from 1 on, or all")
    return int(args.undo)


def _count(judgements: int) -> str:
    return f"{judgements} judgement{'s' * (judgements != 1)}"


def _judge(index: "GalleryIndex", args: argparse.Namespace) -> int:
    # All of them are looked up first: nothing is kept of a command with a mistake in it.
    found = [
        ([index.appearances.get(i).best for i in ids], is_right)
        for ids, is_right in ((args.right, True), (args.wrong, False))
    ]
    with _use(index, "judge", args) as use:
        for some, is_right in found:
            use.showed(replace(match, judgement=is_right) for match in some)
        return sum(
            index.judgements.judge(
                args.subject, some, is_right=is_right, maker=recorded.system_user()
            )
            for some, is_right in found
            if some
        )


def _show_subjects(subjects: dict[str, tuple[int, int]], as_json: bool) -> None:
    if as_json:
        content = [{"subject": s, "right": r, "wrong": w} for s, (r, w) in subjects.items()]
        print(json.dumps({"subjects": content}, indent=2))
    elif subjects:
        print(" right  wrong  subject")
        for name, (right, wrong) in subjects.items():
            print(f"{right:6d} {wrong:6d}  {name}")
    else:
        print("nothing was judged yet")


def _show_judgements(judged: "list[Judgement]", as_json: bool) -> None:
    from person_search.gallery.rows import to_match

    if as_json:
        content = [
            {
                "subject": one.subject,
                "judgement": "right" if one.is_right else "wrong",
                "made": one.made,
                "maker": one.maker,
                **{
                    key: value
                    for key, value in match_to_dict(to_match(one.person)).items()
                    if key not in ("similarity", "judgement", "appearance")
                },
            }
            for one in judged
        ]
        print(json.dumps({"judgements": content}, indent=2))
    elif judged:
        print("judgement  made                 by          camera    time                 image")
        for one in judged:
            person = one.person
            print(
                f"{'right' if one.is_right else 'wrong':9s}  {format_time(one.made):19s}  "
                f"{one.maker or '-':10s}  {person.camera or '-':8s}  "
                f"{format_time(person.timestamp):19s}  {person.frame_name}"
            )
    else:
        print("nothing was said about this subject yet")
