"""Standing queries of ``person-search watch``: who is waited for, and how it is told."""

import argparse
import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from person_search.commands.output import format_choice, format_chosen, match_to_dict
from person_search.commands.query_text import (
    OpenQuery,
    parse_query,
    read_query_image,
    resolve_query,
)
from person_search.footage.time_text import format_time

if TYPE_CHECKING:
    from person_search.inference.finder import PersonFinder
    from person_search.live.alerts import Alert, StandingQueries, StandingQuery
    from person_search.live.delivery import Deliverer


def add_alert_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of who is waited for, and whom to tell."""
    alerts = parser.add_argument_group("alerts")
    alerts.add_argument(
        "--alert",
        action="append",
        default=[],
        metavar="NAME=QUERY",
        help="tell when this person appears, once for each stay; QUERY is written as for "
        "person-search search; several of one NAME are pictures of the same person",
    )
    alerts.add_argument(
        "--min-similarity",
        type=float,
        metavar="X",
        help="least similarity of an alert, -1..1; default: the model's calibrated threshold",
    )
    alerts.add_argument(
        "--webhook",
        action="append",
        default=[],
        metavar="URL",
        help="post each alert there, as JSON",
    )
    alerts.add_argument(
        "--run",
        action="append",
        default=[],
        dest="programs",
        metavar="CMD",
        help="run this program for each alert, without a shell; the JSON is its standard input",
    )
    alerts.add_argument(
        "--json", action="store_true", help="print each alert as one line of JSON, and nothing else"
    )


class Telling:
    """Tells of alerts on the standard output and to all targets."""

    def __init__(
        self, deliverers: "list[Deliverer]", as_json: bool, record: Callable[["Alert"], None]
    ) -> None:
        """Tell of none yet; ``record`` is called with each before anybody is told."""
        self.num_alerts = 0
        self._deliverers, self._as_json, self._record = deliverers, as_json, record

    def standing(self, queries: "list[StandingQuery]", threshold: float) -> "StandingQueries":
        """Wait for these people."""
        from person_search.live.alerts import StandingQueries

        return StandingQueries(queries, threshold, self._tell)

    def _tell(self, alert: "Alert") -> None:
        self._record(alert)
        self.num_alerts += 1
        text = json.dumps(alert_to_dict(alert))
        for deliverer in self._deliverers:
            deliverer.offer(f"{text}\n".encode())
        print(text if self._as_json else format_alert(alert), flush=True)


def alert_to_dict(alert: "Alert") -> dict[str, Any]:
    """Return an alert for a JSON object; docs/live.md describes it."""
    match = match_to_dict(alert.match)
    # Nobody has looked at it yet.
    del match["judgement"]
    return {"alert": alert.name, "threshold": round(alert.threshold, 6), **match}


def format_alert(alert: "Alert") -> str:
    """Write an alert as a line."""
    match, stay = alert.match, alert.match.appearance
    number = "" if stay is None else f", appearance {stay.id}"
    return (
        f"{format_time(match.timestamp)}  {alert.name}  {match.camera or '-'}  similarity "
        f"{match.similarity:.3f}{number}  {match.image}"
    )


def parse_alerts(args: argparse.Namespace) -> dict[str, list[str]]:
    """Read ``NAME=QUERY``, and look at the pictures, before anything slow starts.

    Raises:
        ValueError, OSError: The message says which is wrong.
    """
    alerts: dict[str, list[str]] = {}
    for text in args.alert:
        name, equals, query = text.partition("=")
        if not (name.strip() and equals and query.strip()):
            raise ValueError(f"--alert {text!r}: expected NAME=QUERY, as in anna=anna.jpg")
        read_query_image(parse_query(query))
        alerts.setdefault(name.strip(), []).append(query)
    if not alerts:
        for option, given in (
            ("--webhook", args.webhook),
            ("--run", args.programs),
            ("--json", args.json),
            ("--min-similarity", args.min_similarity is not None),
        ):
            if given:
                raise ValueError(f"{option} is for alerts; say who is waited for by --alert")
    return alerts


def resolve_alerts(
    finder: "PersonFinder", alerts: dict[str, list[str]]
) -> "list[StandingQuery] | None":
    """Embed who is waited for; None where one of several people must be chosen."""
    from person_search.gallery.ranking import fuse_embeddings
    from person_search.live.alerts import StandingQuery

    found, is_open = [], False
    for name, texts in alerts.items():
        rows = []
        for text in texts:
            query = resolve_query(finder, parse_query(text))
            if isinstance(query, OpenQuery):
                print(format_choice(query))
                is_open = True
                continue
            print(f"{name}: {format_chosen(query)}", file=sys.stderr)
            rows.append(query.person.embeddings)
        if rows:
            found.append(StandingQuery(name, fuse_embeddings(np.concatenate(rows))))
    return None if is_open else found


def alert_threshold(args: argparse.Namespace, finder: "PersonFinder") -> float:
    """Return the least similarity of an alert.

    Raises:
        ValueError: None is given, and the model has none.
    """
    least = finder.threshold if args.min_similarity is None else args.min_similarity
    if least is None:
        raise ValueError(
            "this model has no calibrated threshold; give --min-similarity, or calibrate it: "
            "person-search calibrate --help"
        )
    return float(least)
