"""What happens on the page: thin functions between Gradio's events and `demo.actions`."""

import itertools
from dataclasses import replace
from typing import Any

import gradio as gr
import numpy as np

from person_search.drawing.clips import cut_clip
from person_search.footage.files import FootageOptions

from . import actions, additions, case_download, markup
from .actions import Query, SearchSettings, Service
from .inputs import parse_box, parse_filter, parse_optional_time
from .mistakes import plain_message, told
from .stays import Place, Stay, look_up, stay_dialog

_serials = itertools.count()


def _warn(error: Exception) -> Any:
    """Show a visitor's mistake as a warning; the page otherwise stays as it is."""
    gr.Warning(markup.escape(str(error)), title="Not done")
    return gr.skip()


def _not_exported(error: Exception) -> str:
    """Show a mistake as a warning, and make the button ready again."""
    gr.Warning(markup.escape(str(error)), title="Not exported")
    return case_download.nothing_to_download(next(_serials))


class Handlers:
    """The page's events, for one set of galleries.

    Gradio hands an event's data over by place: it comes before ``*settings``.
    """

    def __init__(self, service: Service):
        self.service = service

    # Step 1.

    @told(_warn)
    def choose_example(self, event: gr.EventData, label: str, *settings: Any) -> tuple:
        """Take one of the example pictures."""
        number = int(event.number)
        if not 0 <= number < len(self.service.examples):
            raise ValueError(f"no example {number}")
        image = actions.open_picture(self.service.examples[number])
        return self._look_at(image, label, settings)

    def take_upload(self, file: str | None, label: str, *settings: Any) -> tuple:
        """Take an uploaded picture; its file is gone afterwards.

        Returns:
            The query, the stage, the results, and None, which empties the upload field.
        """
        if file is None:
            return gr.skip(), gr.skip(), gr.skip(), gr.skip()
        try:
            image = actions.open_picture(actions.read_upload(file))
        except (ValueError, OSError) as error:
            return None, markup.note(plain_message(error), "error"), markup.NO_SEARCH, None
        return (*self._look_at(image, label, settings), None)

    def _look_at(self, image: np.ndarray, label: str, settings: tuple) -> tuple:
        """Show who is in a picture, and search for them where only one person can be meant."""
        query, results = actions.look_at(self.service.finder, image), markup.NO_SEARCH
        if query.box is not None:
            try:
                query, results = self._ask(query, label, settings)
            except ValueError as error:  # in the settings; the picture stays
                results = markup.note(plain_message(error), "error")
        return query, markup.stage(query), results

    # Step 2.

    @told(_warn)
    def pick(self, event: gr.EventData, query: Query | None, label: str, *settings: Any) -> tuple:
        """Search for one of the people found."""
        query = _needed(query)
        person = query.people.numbered(int(event.number))
        return self._ask(query.asking_for(person), label, settings)

    @told(_warn)
    def draw(self, event: gr.EventData, query: Query | None, label: str, *settings: Any) -> tuple:
        """Search for whoever is in a box drawn on the picture."""
        query = _needed(query)
        person = actions.choose_one(self.service.finder, query.image, box=event.box)
        return self._ask(query.asking_for(person), label, settings)

    @told(_warn)
    def type_box(self, query: Query | None, text: str, label: str, *settings: Any) -> tuple:
        """Search for whoever is in a box typed as numbers.

        Returns:
            The query, the results, and the stage, which shows the box.
        """
        query = _needed(query)
        person = actions.choose_one(self.service.finder, query.image, box=parse_box(text))
        chosen = query.asking_for(person)
        return (*self._ask(chosen, label, settings), markup.stage(chosen))

    # Step 3.

    @told(_warn)
    def ask_again(self, query: Query | None, label: str, *settings: Any) -> tuple:
        """Search again with other settings or in another gallery."""
        if query is None or query.box is None:
            return gr.skip(), gr.skip()
        return self._ask(query, label, settings)

    @told(_warn)
    def show(self, event: gr.EventData, query: Query | None, label: str) -> str:
        """Show the whole frame of a match, and its stay."""
        number = int(event.place)
        match = _match(query, number)
        stay = None if match.appearance is None else self._stay(label, match.appearance.id)
        return stay_dialog(match, _place(query, number), stay, next(_serials))

    @told(_warn)
    def show_stay(self, event: gr.EventData, query: Query | None, label: str) -> str:
        """Show a stay of somebody else."""
        stay = self._stay(label, int(event.stay))
        best = self.service.gallery(label).index.appearances.get(stay.appearance.id).best
        return stay_dialog(best, None, stay, next(_serials))

    @told(_warn)
    def play(self, event: gr.EventData, query: Query | None, label: str) -> str:
        """Cut a stay out of the footage, and show it as a clip."""
        index = self.service.gallery(label).index
        stay = self._stay(label, int(event.stay))
        clip = cut_clip(index.appearances.sights(stay.appearance.id))
        if event.place is None:
            match, place = index.appearances.get(stay.appearance.id).best, None
        else:
            match, place = _match(query, int(event.place)), _place(query, int(event.place))
        return stay_dialog(match, place, stay, next(_serials), clip)

    @told(_warn)
    def judge(self, event: gr.EventData, query: Query | None, label: str, *settings: Any) -> tuple:
        """Keep that a match is right or wrong, and search again."""
        query, match = _needed(query), _match(query, int(event.place))
        index = self.service.gallery(label).index
        index.judgements.judge(query.subject, [match], is_right=event.verdict == "right")
        return self._ask(query, label, settings)

    @told(_warn)
    def undo(self, event: gr.EventData, query: Query | None, label: str, *settings: Any) -> tuple:
        """Take the last judgement back, or all of them, and search again."""
        query = _needed(query)
        count = None if event.count == "all" else 1
        self.service.gallery(label).index.judgements.undo(query.subject, count)
        return self._ask(query, label, settings)

    def _stay(self, label: str, appearance: int) -> Stay:
        return look_up(self.service.gallery(label).index, appearance)

    @told(_warn)
    def add_same(
        self, event: gr.EventData, query: Query | None, label: str, *settings: Any
    ) -> tuple:
        """Search with a confirmed match, too."""
        match = _match(query, int(event.place))
        more = actions.with_match(self.service.gallery(label), _needed(query), match)
        return self._ask(more, label, settings)

    @told(_warn)
    def forget_added(self, query: Query | None, label: str, *settings: Any) -> tuple:
        """Search with the first picture alone again."""
        query = _needed(query)
        return self._ask(replace(query, embeddings=query.embeddings[:1]), label, settings)

    @told(_not_exported)
    def export(self, query: Query | None, label: str) -> str:
        """Make a case of the matches above the threshold, to be downloaded."""
        asked = case_download.ask_for_case(_needed(query), self.service.finder.threshold)
        return case_download.download(self.service.gallery(label), asked, next(_serials))

    def _ask(self, query: Query, label: str, settings: tuple) -> tuple:
        threshold, top, cameras, since, until, ranked = settings
        asked = SearchSettings(
            top=int(top),
            frames=parse_filter(cameras, since, until),
            threshold=float(threshold),
            by=str(ranked),
        )
        gallery = self.service.gallery(label)
        answer = actions.search_gallery(
            self.service, gallery, query.embeddings, asked, query.subject
        )
        query = replace(query, answer=answer)
        is_empty = not answer.matches and gallery.index.info().people == 0
        return query, markup.results(query, label, is_empty)

    # Galleries.

    def describe(self, label: str) -> tuple:
        """Return a gallery's summary and its cameras as choices."""
        try:
            info = self.service.gallery(label).index.info()
        except (ValueError, OSError) as error:  # gone while it is served
            return markup.note(plain_message(error), "error"), gr.skip()
        return markup.gallery_summary(info, label, len(self.service.galleries) == 1), gr.update(
            choices=list(info.cameras), value=[]
        )

    def add_footage(
        self,
        files: list[str] | None,
        label: str,
        camera: str,
        begins: str,
        every: float,
        # Gradio finds this default and puts the visitor's progress bar in its place.
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple:
        """Index uploaded images and videos.

        Returns:
            A report, and None, which empties the upload field.
        """
        try:
            options = FootageOptions(
                camera=camera.strip() or None,
                every=float(every or 0),
                start=parse_optional_time(begins),
                time_from="exif",
            )
            report = additions.index_uploads(
                self.service, self.service.gallery(label), files or [], options,
                lambda done, total: progress((done, total), desc="frames", unit="frames"),
            )  # fmt: skip
        except (ValueError, OSError) as error:
            return markup.note(plain_message(error), "error"), None
        finally:
            additions.discard(files or [])
        return markup.index_report(report, label), None


def _needed(query: Query | None) -> Query:
    if query is None:
        raise ValueError("choose a picture first")
    return query


def _place(query: Query | None, number: int) -> Place:
    answer = _needed(query).answer
    return Place(number, len(answer.matches) if answer is not None else 0)


def _match(query: Query | None, place: int):
    matches = query.answer.matches if query is not None and query.answer is not None else ()
    if not 0 <= place < len(matches):
        raise ValueError("this match is gone: search again")
    return matches[place]
