"""What happens in the dialogs of matches and stays."""

import itertools
from typing import Any

import gradio as gr

from person_search.cases.blur import Blur
from person_search.drawing.clips import cut_clip
from person_search.people import Match

from . import activity
from .actions import Query
from .markup import escape
from .mistakes import told
from .pictures import show_person
from .service import Service
from .stays import Place, Stay, look_up, stay_dialog

serials = itertools.count()
"""Numbers of what is shown, so that the same is shown twice."""


def warn(error: Exception) -> Any:
    """Show a visitor's mistake as a warning; the page otherwise stays as it is."""
    gr.Warning(escape(str(error)), title="Not done")
    return gr.skip()


class Dialogs:
    """The events that open or change a dialog. Without a switch for it others are shown."""

    def __init__(self, service: Service):
        self.service = service

    @told(warn)
    def show(
        self, event: gr.EventData, query: Query | None, label: str, is_blurred: bool = False
    ) -> str:
        """Show the whole frame of a match, and its stay."""
        number = int(event.place)
        match = match_at(query, number, label)
        stay = None if match.appearance is None else self._stay(label, match.appearance.id)
        blur = self._blur_of(query, match, label, is_blurred)
        self._tell("view frame", label, match, stay)
        return stay_dialog(
            match, _place(query, number), stay, next(serials),
            asked=_asked(query, blur), blur=blur,
        )  # fmt: skip

    @told(warn)
    def show_stay(
        self, event: gr.EventData, query: Query | None, label: str, is_blurred: bool = False
    ) -> str:
        """Show a stay of somebody else."""
        stay = self._stay(label, int(event.stay))
        best = self.service.gallery(label).index.appearances.get(stay.appearance.id).best
        blur = self.service.hiding(label, is_blurred)
        self._tell("view stay", label, best, stay)
        return stay_dialog(best, None, stay, next(serials), blur=blur and blur.nobody())

    @told(warn)
    def play(
        self, event: gr.EventData, query: Query | None, label: str, is_blurred: bool = False
    ) -> str:
        """Cut a stay out of the footage, and show it as a clip."""
        index = self.service.gallery(label).index
        stay, blur = self._stay(label, int(event.stay)), self.service.hiding(label, is_blurred)
        match, place = index.appearances.get(stay.appearance.id).best, None
        blur = blur and blur.nobody()
        if event.place is not None:
            match, place = match_at(query, int(event.place), label), _place(query, int(event.place))
            blur = self._blur_of(query, match, label, is_blurred)
            if match.appearance is None or match.appearance.id != stay.appearance.id:
                raise ValueError("this match is gone: search again")
        sights = index.appearances.sights(stay.appearance.id)
        clip = cut_clip(sights, hide=None if blur is None else blur.clip(sights))
        asked = "" if place is None else _asked(query, blur)
        self._tell("clip", label, match, stay)
        return stay_dialog(match, place, stay, next(serials), clip, asked=asked, blur=blur)

    def _tell(self, action: str, label: str, match: Match, stay: Stay | None) -> None:
        """Log who is about to be shown: the match, and the stays around its own."""
        use = activity.begin(self.service.gallery(label), action).showed([match])
        use.showed_stays(() if stay is None else stay.around()).end()

    def _stay(self, label: str, appearance: int) -> Stay:
        return look_up(self.service.gallery(label).index, appearance)

    def _blur_of(
        self, query: Query | None, match: Match, label: str, is_wished: bool
    ) -> Blur | None:
        """Return what hides others in a match's pictures: everybody where it is somebody else."""
        blur, answer = self.service.hiding(label, is_wished), needed(query).answer
        return blur and blur.only(answer is not None and answer.shows(match))


def _asked(query: Query | None, blur: Blur | None) -> str:
    """Return the address of the picture of the person asked for."""
    if query is None or query.box is None:
        return ""
    return show_person(query.picture(blur is not None), query.box)


def needed(query: Query | None) -> Query:
    """Refuse what needs a picture before there is one."""
    if query is None:
        raise ValueError("choose a picture first")
    return query


def _place(query: Query | None, number: int) -> Place:
    answer = needed(query).answer
    if answer is None:
        return Place(number, 0)
    return Place(number, len(answer.matches), answer.threshold)


def match_at(query: Query | None, place: int, label: str) -> Match:
    """Return a match of the answer by its place, from 0.

    Raises:
        ValueError: It is not there any more, or the answer is another gallery's, in whose log and
            under whose rules it would be shown.
    """
    answer = None if query is None else query.answer
    if answer is None or answer.gallery != label or not 0 <= place < len(answer.matches):
        raise ValueError("this match is gone: search again")
    return answer.matches[place]
